// Command collab holds the document server against y-websocket and Hocuspocus, both with
// storage, and against the limit: a server in Go that holds no document and stores nothing.
// With it stands what it would take to save, too: the same with a journal that is flushed, as a
// file and as a table in SQLite.
// All do the same in one run, scenario by scenario, each with a server that was just started
// on a processor of its own; this program is the clients, on another one. It prints a table
// in Markdown, and fails if Corun loses anything.
//
//	go run ./bench/collab [-only rooms-50,idle] [-peers corun,limit] [-sec 10] [-quick] [-corun bin/corun]
//
// "Added by saving" is how much longer a keystroke takes by Corun than by the limit, to
// another client's screen, in 50 rooms: it has the disk's flush in it, and the document.
//
// Node has to be there; bench/collab/package.json has the peers' versions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/collab: ")
	b := &bench{warm: 2 * time.Second, idle: 10_000, rooms: 5000, waves: 5, wavesWithin: time.Minute, joins: 3, kills: 4}
	only := flag.String("only", "", "do these alone, with commas between: "+strings.Join(scenarioNames(), ", "))
	who := flag.String("peers", "", "measure these alone, with commas between: "+strings.Join(peerNames(), ", "))
	sec := flag.Float64("sec", 10, "how long people type, in seconds")
	quick := flag.Bool("quick", false, "do less of everything")
	flag.StringVar(&b.dir, "dir", "bench/collab", "where gen.mjs and peers.mjs are")
	flag.StringVar(&b.cache, "cache", ".test/collab", "where what is typed is kept")
	flag.StringVar(&b.data, "data", "", "where servers have their data; by default where temporary files are, which must be on a disk")
	flag.StringVar(&b.corun, "corun", "bin/corun", "the server's binary (make build)")
	flag.StringVar(&b.durability, "durability", "fsync", "of Corun")
	flag.StringVar(&b.image, "image", "default", "the image that Corun's boxes would have")
	flag.StringVar(&b.imageDir, "image-dir", os.Getenv("CORUN_IMAGE_DIR"), "where images are")
	flag.StringVar(&b.profiles, "profiles", "", "write profiles of Corun to a folder: of the processor while people type, of the heap where memory is measured")
	flag.BoolVar(&b.pin, "pin", true, "give servers and clients a processor each; otherwise the kernel may run both on one, where to wake the other costs less")
	limitAddr := flag.String("serve-limit", "", "be the limit, on an address")
	limitFile := flag.String("save-to", "", "have the limit save to a file, in SQLite if it ends with .db")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%q is no flag, and nothing else is wanted", flag.Arg(0))
	}
	if err := allFiles(); err != nil {
		log.Fatal(err)
	}
	if *limitAddr != "" {
		log.Fatal(serveLimit(*limitAddr, *limitFile))
	}
	chosen, err1 := choose(scenarios, *only, "scenario", scenarioNames())
	contestants, err2 := choose(peers, *who, "peer", peerNames())
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	if b.pin {
		if err := takeProcessor(); err != nil {
			log.Fatal(err)
		}
	}
	b.measured = time.Duration(*sec * float64(time.Second))
	if *quick {
		b.measured, b.warm, b.idle, b.rooms, b.waves, b.wavesWithin, b.joins, b.kills = min(b.measured, 2*time.Second), time.Second, 2000, 500, 2, 0, 1, 3
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx, os.Stdout, chosen, contestants); err != nil {
		log.Fatal(err)
	}
}

// bench has what is typed, and how much is done.
type bench struct {
	dir, cache, data, corun, image, imageDir, durability string
	self                                                 string // this program
	profiles                                             string // folder, or ""
	pin                                                  bool

	measured, warm     time.Duration
	idle               int // connections
	rooms, waves       int
	wavesWithin        time.Duration
	joins, kills       int
	short, long, small []stream
	b4, b4x10          stream
	doing              string // for progress
}

// allFiles lets this process have as many files open as it may.
func allFiles() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("set the limit of open files: %w", err)
	}
	return nil
}

// takeProcessor begins again, in the same process, on this program's processor.
func takeProcessor() error {
	var now, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil {
		return fmt.Errorf("read processors: %w", err)
	}
	one.Set(ownProcessor)
	if now == one {
		return nil
	}
	if !now.IsSet(serverProcessor) || !now.IsSet(ownProcessor) {
		return fmt.Errorf("processors %d and %d are needed", serverProcessor, ownProcessor)
	}
	runtime.LockOSThread() // until the exec, which goes on with what this thread has
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("take processor %d: %w", ownProcessor, err)
	}
	return fmt.Errorf("start again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

func (s scenario) called() string { return s.name }
func (p *peer) called() string    { return p.name }

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func peerNames() (names []string) {
	for _, p := range peers {
		names = append(names, p.name)
	}
	return names
}

// choose finds what a flag names; a wrong name must not pass for a benchmark in which
// nothing is wrong.
func choose[T interface{ called() string }](all []T, only, kind string, names []string) ([]T, error) {
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("no %s is called %q; there are %s", kind, name, strings.Join(names, ", "))
		}
	}
	var chosen []T
	for _, v := range all {
		if slices.Contains(wanted, v.called()) {
			chosen = append(chosen, v)
		}
	}
	return chosen, nil
}

// progress tells what was found beside what the table has.
func (b *bench) progress(format string, args ...any) {
	log.Printf(b.doing+": "+format, args...)
}

// load reads what is typed, which is made if it is not there.
func (b *bench) load(ctx context.Context) error {
	for _, f := range []struct {
		name string
		into *[]stream
		one  *stream
	}{{"small.bin", &b.small, nil}, {"b4.bin", nil, &b.b4}, {"b4x10.bin", nil, &b.b4x10}, {"short.bin", &b.short, nil}, {"long.bin", &b.long, nil}} {
		file := filepath.Join(b.cache, f.name)
		all, err := readStreams(file)
		if errors.Is(err, fs.ErrNotExist) {
			log.Print("what is typed is being made, once")
			gen := exec.CommandContext(ctx, "node", filepath.Join(b.dir, "gen.mjs"), b.cache, filepath.Join(b.dir, "../engine/testdata/b4-doc-v1.bin"))
			gen.Stderr = os.Stderr
			if err := gen.Run(); err != nil {
				return fmt.Errorf("%s (npm ci in %s installs what it needs): %w", gen, b.dir, err)
			}
			all, err = readStreams(file)
		}
		if err != nil {
			return err
		}
		if f.into != nil {
			*f.into = all
		} else {
			*f.one = all[0]
		}
	}
	return nil
}

// figureKey is one figure of one peer.
type figureKey struct{ scenario, figure, peer string }

func (b *bench) run(ctx context.Context, out io.Writer, chosen []scenario, contestants []*peer) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := b.load(ctx); err != nil {
		return err
	}
	figures := make(map[figureKey]float64)
	var remarks []string
	var failed error
	for _, s := range chosen {
		for _, p := range contestants {
			if s.stores && !p.stores {
				continue
			}
			b.doing = s.name + ", " + p.title
			runtime.GC()
			res, err := s.run(ctx, b, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				res.figures, res.faults = nil, append(res.faults, err.Error())
			}
			for _, r := range append(res.faults, res.remarks...) {
				b.progress("%s", r)
				r, _, _ = strings.Cut(r, "\n") // what a server has logged may follow
				remarks = append(remarks, b.doing+": "+r+".")
			}
			if p.name == "corun" && (len(res.faults) > 0 || res.figures["lost"] > 0) {
				failed = errors.New("something failed with Corun: see above")
			}
			for name, v := range res.figures {
				figures[figureKey{s.name, name, p.name}] = v
			}
		}
	}
	for _, name := range []string{"p50", "p99"} {
		ours, ok1 := figures[figureKey{"rooms-50", name, "corun"}]
		limits, ok2 := figures[figureKey{"rooms-50", name, "limit"}]
		if ok1 && ok2 {
			figures[figureKey{"saving", name, "corun"}] = max(ours-limits, 0)
		}
	}
	b.table(out, figures)
	for _, r := range remarks {
		fmt.Fprintln(out, "\n"+r)
	}
	where := "Servers had one processor, the clients another."
	if !b.pin {
		where = "Servers and clients shared the processors."
	}
	fmt.Fprintf(out, "\n%s %s, %d CPUs, Linux %s; %s, %s.\n", where, cpu(), processors(), kernel(), runtime.Version(), b.versions(ctx))
	return failed
}

// row is one line of the table.
type row struct {
	scenario, figure string
	title            string // with the words that sizes are put in for
	unit             string
	goal             float64
	least            bool // goal is a least value
}

func (b *bench) rows() []row {
	idle, rooms := strconv.Itoa(b.idle), strconv.Itoa(b.rooms)
	return []row{
		{"rooms-50", "cpu", "processor time of a million deliveries: 50 rooms × 4", "s", 50, false},
		{"cursors", "cpu", "the same with cursors", "s", 20, false},
		{"rooms-200", "cpu", "200 rooms × 4", "s", 24, false},
		{"room-500", "cpu", "1 room × 500", "s", 11, false},
		{"saturate-20", "per-core", "deliveries in a second of the processor, 20 rooms × 4", "", 150e3, true},
		{"saturate-1", "per-core", "1 room × 50", "", 1.1e6, true},
		{"idle", "each", "memory of an idle connection, of " + idle, "KiB", 8, false},
		{"rooms", "left", "resident after " + strconv.Itoa(b.waves) + " times " + rooms + " rooms", "MiB", 25, false},
		{"rooms", "grown", "grown since the second time", "MiB", 1, false},
		{"rooms", "rate", "rooms opened in a second", "", 2000, true},
		{"join", "ms", "join the B4 document, of a server just started", "ms", 50, false},
		{"join-x10", "ms", "join one of ten times the length", "ms", 200, false},
		{"kill", "lost", "most keystrokes lost of those that were seen, by kill -9", "", 0, false},
		{"rooms-50", "p50", "a keystroke to another's screen, 50 rooms × 4, p50", "ms", -1, false},
		{"rooms-50", "p99", "p99", "ms", -1, false},
		{"saving", "p50", "added by saving, p50", "ms", 1, false},
		{"saving", "p99", "p99", "ms", 5, false},
	}
}

func (b *bench) table(out io.Writer, figures map[figureKey]float64) {
	fmt.Fprintln(out, "| figure | y-websocket | Hocuspocus | limit | limit with a journal | limit with SQLite | Corun | Corun ÷ best peer | Corun ÷ limit with SQLite | goal | met |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range b.rows() {
		of := func(peer string) (float64, bool) {
			v, ok := figures[figureKey{r.scenario, r.figure, peer}]
			return v, ok
		}
		cells, any := []string{r.title}, false
		for _, peer := range []string{"y-websocket", "hocuspocus", "limit", "saving", "sqlite", "corun"} {
			v, ok := of(peer)
			if any = any || ok; ok {
				cells = append(cells, strings.TrimSpace(figure(v)+" "+r.unit))
			} else {
				cells = append(cells, "–")
			}
		}
		if !any {
			continue
		}
		ours, ok := of("corun")
		ratio := func(others ...float64) string {
			if !ok || len(others) == 0 {
				return "–"
			}
			best := slices.Min(others)
			if r.least {
				best = slices.Max(others)
			}
			if best == 0 {
				return "–"
			}
			return fmt.Sprintf("%.2f", ours/best)
		}
		var rivals, limits []float64
		for _, peer := range []string{"y-websocket", "hocuspocus"} {
			if v, ok := of(peer); ok {
				rivals = append(rivals, v)
			}
		}
		if v, ok := of("sqlite"); ok {
			limits = append(limits, v)
		}
		goal, met := "–", "–"
		switch {
		case r.goal < 0:
		case r.least:
			goal, met = "≥ "+figure(r.goal), yes(ours >= r.goal)
		default:
			goal, met = strings.TrimSpace("≤ "+figure(r.goal)+" "+r.unit), yes(ours <= r.goal)
		}
		if !ok {
			met = "–"
		}
		cells = append(cells, ratio(rivals...), ratio(limits...), goal, met)
		fmt.Fprintln(out, "| "+strings.Join(cells, " | ")+" |")
	}
}

// figure writes a number with three digits, or in thousands or millions.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1e3:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fmt.Sprintf("%.3g", v)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// processors counts the machine's; this process has one of them.
func processors() int {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0
	}
	return strings.Count("\n"+string(info), "\nprocessor\t")
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (b *bench) versions(ctx context.Context) string {
	text, err := exec.CommandContext(ctx, "node", filepath.Join(b.dir, "peers.mjs"), "versions").Output()
	if err != nil {
		return "Node's versions are not known"
	}
	return strings.TrimSpace(string(text))
}
