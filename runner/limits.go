package runner

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"corun/runner/lang"
	"corun/runner/sandbox"
)

// Limits bound one run. The box's are the kernel's to keep, the others are kept
// from outside by the goroutine that supervises the run.
type Limits struct {
	// Box is what the cgroup, the mounts and the rlimits of the box enforce.
	Box sandbox.Limits
	// CPUTime is by the cgroup's accounting, all processes together.
	CPUTime time.Duration
	// WallPipes is for runs without a terminal, from exec to the end.
	WallPipes time.Duration
	// WallTerminal is for runs with one, in which people take their time.
	WallTerminal time.Duration
	// Idle ends a run with a terminal in which nobody typed and nothing was
	// printed for so long.
	Idle time.Duration
	// OutputBytes is how much is kept, all streams together; the run ends when
	// the program prints more.
	OutputBytes int64
	// OutputRate is how many bytes a second are taken from the program, which
	// waits while it prints faster.
	OutputRate int64
	// SourceBytes and SourceFiles bound the snapshot that is run.
	SourceBytes int64
	SourceFiles int
	// ArtefactBytes and ArtefactFiles bound what a program leaves in /work/out.
	ArtefactBytes int64
	ArtefactFiles int
	// Compile bounds the compile stage, which comes before all of these.
	Compile CompileLimits
}

// CompileLimits bound a compile stage.
type CompileLimits struct {
	Box     sandbox.Limits
	CPUTime time.Duration
	Wall    time.Duration
	// MessageBytes is how much a compiler may print; ResultBytes is the size of what it
	// makes.
	MessageBytes int64
	ResultBytes  int64
}

// DefaultLimits are those of CONTRACT.md §6.
func DefaultLimits() Limits {
	return Limits{
		Box:          sandbox.DefaultLimits(),
		CPUTime:      10 * time.Second,
		WallPipes:    10 * time.Second,
		WallTerminal: 10 * time.Minute,
		Idle:         2 * time.Minute,
		OutputBytes:  8 << 20,
		OutputRate:   16 << 20,
		SourceBytes:  4 << 20,
		SourceFiles:  200,

		ArtefactBytes: 8 << 20,
		ArtefactFiles: 100,
		Compile: CompileLimits{
			// Compilers take as many processors as there are, and write large files beside
			// what they make.
			Box: sandbox.Limits{
				CPUs: min(2, float64(runtime.NumCPU())), MemoryBytes: 1 << 30, Processes: 64,
				ScratchBytes: 256 << 20, ScratchInodes: 16384, FileBytes: 64 << 20, OpenFiles: 1024,
			},
			CPUTime: 10 * time.Second, Wall: 20 * time.Second,
			MessageBytes: 1 << 20, ResultBytes: 64 << 20,
		},
	}
}

// forLanguage gives l with what a language needs to be other than usual.
func (l Limits) forLanguage(p *lang.Profile) Limits {
	if p.Limits.MemoryBytes > 0 {
		l.Box.MemoryBytes = p.Limits.MemoryBytes
	}
	if p.Limits.Processes > 0 {
		l.Box.Processes = p.Limits.Processes
	}
	if p.Compile != nil && p.Compile.MemoryBytes > 0 {
		l.Compile.Box.MemoryBytes = p.Compile.MemoryBytes
	}
	return l
}

// ofCompile gives the limits of the compile stage in the form of a program's.
func (l Limits) ofCompile() Limits {
	c := l.Compile
	return Limits{
		Box: c.Box, CPUTime: c.CPUTime, WallPipes: c.Wall, WallTerminal: c.Wall, Idle: c.Wall,
		OutputBytes: c.MessageBytes, OutputRate: l.OutputRate,
	}
}

// Lower are limits that a request asks for; zero leaves the operator's. A value
// above the operator's is refused.
type Lower struct {
	CPUTime     time.Duration
	Wall        time.Duration
	MemoryBytes int64
	Processes   int
	OutputBytes int64
	// ArtefactBytes is of what a program leaves in /work/out.
	ArtefactBytes int64
}

// minMemoryBytes is the least memory a request may ask for: below it not even
// the box itself can be built.
const minMemoryBytes = 16 << 20

// lowered gives l with what a request asks for, of the program and of the compile stage.
func (l Limits) lowered(run, compile *Lower) (Limits, error) {
	if compile != nil {
		c, err := l.ofCompile().lower("compile_limits", compile)
		if err != nil {
			return l, err
		}
		l.Compile.Box, l.Compile.CPUTime, l.Compile.Wall, l.Compile.MessageBytes = c.Box, c.CPUTime, c.WallPipes, c.OutputBytes
	}
	if run == nil {
		return l, nil
	}
	return l.lower("limits", run)
}

// lower gives l with what a request asks for in a field.
func (l Limits) lower(field string, by *Lower) (Limits, error) {
	wallMost := max(l.WallPipes, l.WallTerminal)
	for _, c := range []struct {
		field              string
		asked, least, most int64
		words              func(int64) string
	}{
		{".cpu_time", int64(by.CPUTime), 1, int64(l.CPUTime), durationWords},
		{".wall_time", int64(by.Wall), 1, int64(wallMost), durationWords},
		{".memory", by.MemoryBytes, minMemoryBytes, l.Box.MemoryBytes, byteWords},
		{".processes", int64(by.Processes), 1, int64(l.Box.Processes), countWords},
		{".output", by.OutputBytes, 1, l.OutputBytes, byteWords},
		{".artefacts", by.ArtefactBytes, 1, l.ArtefactBytes, byteWords},
	} {
		if c.asked != 0 && (c.asked < c.least || c.asked > c.most) {
			return l, outOfRange(field+c.field, c.asked, c.least, c.most, c.words)
		}
	}
	l.CPUTime = atMost(l.CPUTime, by.CPUTime)
	l.WallPipes = atMost(l.WallPipes, by.Wall)
	l.WallTerminal = atMost(l.WallTerminal, by.Wall)
	l.Idle = atMost(l.Idle, by.Wall)
	l.Box.MemoryBytes = atMost(l.Box.MemoryBytes, by.MemoryBytes)
	l.Box.Processes = atMost(l.Box.Processes, by.Processes)
	l.OutputBytes = atMost(l.OutputBytes, by.OutputBytes)
	l.ArtefactBytes = atMost(l.ArtefactBytes, by.ArtefactBytes)
	return l, nil
}

// outOfRange refuses a limit that is not between least and most.
func outOfRange(field string, asked, least, most int64, words func(int64) string) *InputError {
	return &InputError{field, fmt.Sprintf("%s is not possible: a run can lower this limit to %s at the least, and %s is the most here",
		words(asked), words(least), words(most))}
}

func atMost[N int | int64 | time.Duration](limit, asked N) N {
	if asked > 0 && asked < limit {
		return asked
	}
	return limit
}

// wall gives the wall clock of a mode.
func (l Limits) wall(mode string) time.Duration {
	if mode == ModeTerminal {
		return l.WallTerminal
	}
	return l.WallPipes
}

// byteWords writes a count of bytes as people do: "256 MiB".
func byteWords(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return strconv.FormatFloat(math.Round(value*10)/10, 'f', -1, 64) + " " + units[unit]
}

// durationWords writes a duration as people do: "10 s", "2 min".
func durationWords(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d >= time.Minute && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	case d >= time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	}
	return strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10) + " ms"
}

func countWords(n int64) string { return strconv.FormatInt(n, 10) }
