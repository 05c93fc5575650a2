// Command run measures what pressing Run costs, against the same programs on the bare
// machine: from run.start, sent on /live by a stock WebSocket client, to the first byte of
// stdout there (pipes mode), by a real server; and beside it from fork and exec of the
// plain command to the first byte in its pipe. The plain commands are the image's own, so
// that versions are equal, in a clean environment, without any sandbox. All take turns, so
// that what disturbs the machine disturbs all alike, and everything that is printed is
// checked for a token of its own.
//
// Then it measures runs a second by the execute API under load, against bare fork and exec
// as many at a time, in turns; how much longer a keystroke takes to another's screen while a
// program floods; and what memory Python boxes take that wait for a program. It takes root.
//
//	go run ./bench/run [-n 200] [-only python,c] [-own] [-saturate 10000] [-keystrokes 1000] [-boxes 100] [-image-dir DIR] [-corun bin/corun]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"corun/runner/image"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/run: ")
	var o options
	flag.IntVar(&o.n, "n", 200, "how often each is done, after a tenth of that to warm up; 0 leaves the first output out")
	flag.StringVar(&o.only, "only", "", "measure the first output of these languages alone, with commas between: "+strings.Join(languageNames(), ", "))
	flag.BoolVar(&o.own, "own", false, "time the machine's own commands too, where it has them; their versions are other ones")
	flag.IntVar(&o.saturate, "saturate", 1000, "runs under load, all together; 0 leaves them out")
	flag.IntVar(&o.keys, "keystrokes", 1000, "keystrokes beside a flood, and as many without; 0 leaves them out")
	flag.IntVar(&o.boxes, "boxes", 100, "Python boxes that wait, to measure their memory; 0 leaves them out")
	flag.StringVar(&o.imageDir, "image-dir", os.Getenv("CORUN_IMAGE_DIR"), "where images are; the default one is built if it is not there")
	flag.StringVar(&o.corun, "corun", "bin/corun", "the server's binary (make build)")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%q is no flag, and nothing else is wanted", flag.Arg(0))
	}
	if err := ownMounts(); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		log.Fatal(err)
	}
}

type options struct {
	n, saturate           int
	keys, boxes           int
	only, imageDir, corun string
	own                   bool
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	if o.n < 0 || o.saturate < 0 || o.keys < 0 || o.boxes < 0 {
		return errors.New("-n, -saturate, -keystrokes and -boxes must be at least 0")
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "corun-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if o.imageDir == "" {
		o.imageDir = filepath.Join(scratch, "images")
	}
	recipe, err := image.DefaultRecipe()
	if err != nil {
		return err
	}
	img, err := image.Build(ctx, recipe, o.imageDir, os.Stderr)
	if err != nil {
		return err
	}
	h, err := openHost(img.Rootfs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	s, err := startServer(ctx, o.corun, o.imageDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if o.n > 0 {
		if err := raceAll(ctx, out, chosen, h, s, o); err != nil {
			return err
		}
	}
	if o.saturate > 0 {
		if err := saturate(ctx, out, h, s, o.saturate); err != nil {
			return err
		}
	}
	if o.keys > 0 {
		if err := keystrokes(ctx, out, s, o.keys); err != nil {
			return err
		}
	}
	if o.boxes > 0 {
		if err := weigh(ctx, out, img, o.boxes); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "\n%s, %d CPUs, image %s.\n", cpu(), runtime.NumCPU(), img.Name)
	return err
}

// raceAll has the programs that were chosen take turns.
func raceAll(ctx context.Context, out io.Writer, chosen []*program, h *host, s *server, o options) (err error) {
	// One that has room for no box that waits.
	cold, err := startServer(ctx, o.corun, o.imageDir, "--pool-memory", "1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cold.stop()) }()
	rest := func(ctx context.Context) error { return errors.Join(s.quiet(ctx), cold.quiet(ctx)) }
	return race(ctx, out, contestantsOf(chosen, h, s, cold, o.own), o.n, rest)
}

// contestant is one way to have a program say something.
type contestant struct {
	program *program
	how     string
	again   bool // its source stays the same
	// bare is the contestant to be measured by; nil for one that is bare itself.
	bare *contestant
	own  *contestant // of one that is bare: the same by the machine's own commands, or nil
	// goal and goalP99 are multiples of what bare takes (its median), or 0.
	goal, goalP99 float64
	// prepare does what is not measured, for a program with the token in its source.
	prepare func(ctx context.Context, token string) error
	// first gives how long it took to the first byte, and all that was printed.
	first func(ctx context.Context, arg string) (time.Duration, string, error)

	times []float64 // ms
}

// same is the token of sources that do not change.
const same = "same"

// contestantsOf lists who takes part, each program bare first.
func contestantsOf(programs []*program, h *host, s, cold *server, withOwn bool) (all []*contestant) {
	for _, p := range programs {
		bare := bareContestant(p, h, false)
		all = append(all, bare)
		if withOwn && hasOwn(p) {
			bare.own = bareContestant(p, h, true)
			all = append(all, bare.own)
		}
		for _, w := range p.ways {
			at := s
			if w.cold {
				at = cold
			}
			c := &contestant{program: p, how: w.how, again: w.again, bare: bare, goal: w.goal, goalP99: w.goalP99}
			var in *room
			c.prepare = func(ctx context.Context, token string) (err error) {
				switch {
				case w.again && in != nil:
					return nil
				case w.again:
					token = same
				case in != nil:
					in.leave()
				}
				in, err = at.enter(ctx, p, token)
				if err == nil && w.again && p.compiled() { // so that it is known
					_, _, err = in.first("before")
				}
				return err
			}
			c.first = func(_ context.Context, arg string) (time.Duration, string, error) { return in.first(arg) }
			all = append(all, c)
		}
	}
	return all
}

// bareContestant is a program by plain commands: the image's, or the machine's own.
func bareContestant(p *program, h *host, owned bool) *contestant {
	c := &contestant{program: p, how: "bare"}
	if owned {
		c.how = "the machine's own"
	}
	dir := ""
	c.prepare = func(_ context.Context, token string) (err error) {
		dir, err = h.place(p, token, owned)
		return err
	}
	c.first = func(ctx context.Context, arg string) (time.Duration, string, error) {
		return h.first(ctx, dir, p, arg, owned)
	}
	return c
}

// race has everybody do it n times and prints what it took. Before each turn rest waits
// until nothing else goes on: a pool that refills itself would slow down whoever is next.
func race(ctx context.Context, out io.Writer, all []*contestant, n int, rest func(context.Context) error) error {
	for round := -max(n/10, 1); round < n; round++ {
		token := fmt.Sprintf("t%d", round)
		for _, c := range all {
			if err := c.prepare(ctx, token); err != nil {
				return fmt.Errorf("prepare %s, %s: %w", c.program.title, c.how, err)
			}
		}
		for i := range all {
			c := all[(i+max(round, 0))%len(all)] // nobody always comes after the same one
			arg := fmt.Sprintf("a%d-%d", round, i)
			if err := rest(ctx); err != nil {
				return err
			}
			took, said, err := c.first(ctx, arg)
			want := token + " " + arg + "\n"
			if c.again {
				want = same + " " + arg + "\n"
			}
			if err == nil && said != want {
				err = fmt.Errorf("it printed %q and not %q", said, want)
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.program.title, c.how, err)
			}
			if round >= 0 {
				c.times = append(c.times, float64(took.Microseconds())/1000)
			}
		}
	}
	fmt.Fprintln(out, "| to the first byte | bare p50 | bare p99 | machine's own p50 | corun p50 | corun p99 | least–most | corun ÷ bare | goal | met |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, c := range all {
		slices.Sort(c.times)
	}
	for _, c := range all {
		if c.bare != nil {
			fmt.Fprintln(out, c.row())
		}
	}
	_, err := fmt.Fprintf(out, "\n%d rounds in turns; p99 is held against bare's p50 too.\n", n)
	return err
}

// row is a contestant's line of the table.
func (c *contestant) row() string {
	p50, p99, bare := quantile(c.times, 0.5), quantile(c.times, 0.99), quantile(c.bare.times, 0.5)
	ratio := fmt.Sprintf("%.3f", p50/bare)
	goal, met := "–", "–"
	if c.goal > 0 {
		goal = fmt.Sprintf("≤ %.3g", c.goal)
		ok := p50 <= c.goal*bare
		if c.goalP99 > 0 {
			goal += fmt.Sprintf(", p99 ≤ %.3g", c.goalP99)
			ratio += fmt.Sprintf(", p99 %.3f", p99/bare)
			ok = ok && p99 <= c.goalP99*bare
		}
		met = yes(ok)
	}
	own := "–"
	if o := c.bare.own; o != nil {
		own = fmt.Sprintf("%.2f ms", quantile(o.times, 0.5))
	}
	return fmt.Sprintf("| %s, %s | %.2f ms | %.2f ms | %s | %.2f ms | %.2f ms | %.2f–%.2f ms | %s | %s | %s |", c.program.title, c.how,
		bare, quantile(c.bare.times, 0.99), own, p50, p99, c.times[0], c.times[len(c.times)-1], ratio, goal, met)
}

// quantile of sorted figures.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if _, name, ok := strings.Cut(line, "model name\t: "); ok {
			return strings.TrimSpace(name)
		}
	}
	return runtime.GOARCH
}
