package runner

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"corun/runner/lang"
	"corun/store"
)

// same is a program that must do the same whether its runtime was started ahead or not.
type same struct {
	name  string
	text  string   // of the language's usual entry
	files []File   // beside it
	entry string   // another first file, one of files
	args  []string //
	// typed is what people type, each after the program has printed something: "after" may
	// be empty. eof ends what can be read then.
	typed []typed
	eof   bool
	// resize is done before the first is typed.
	resize bool
	only   string // the one mode in which it is run; "" for both
	// prints is something of what it prints, so that two failures are not taken for two
	// successes.
	prints string
}

type typed struct{ after, text string }

// Each program is run once by the plain command and once in a runtime that waited: what it
// prints and how it ends must be the same, byte for byte.
func TestPreloaded(t *testing.T) {
	for _, language := range []string{"java", "javascript", "typescript", "r", "ruby", "python"} { // the longest first
		t.Run(language, func(t *testing.T) {
			t.Parallel() // most of it is waiting for a runtime
			r := testRunner(t, func(c *Config) {
				c.Languages, c.Quotas = []string{language}, &Quotas{100000, 100000, 100000, 100000}
			})
			needs(t, r, language)
			p, _ := r.langs.Find(language)
			if p.Warm == nil || r.image.Usr != "" {
				t.Skip("this image has no runtime that waits")
			}
			r.keepOne(p)
			for _, c := range preloaded[language] {
				t.Run(c.name, func(t *testing.T) {
					for _, mode := range []string{ModePipes, ModeTerminal} {
						if p.Warm.Heavy && c.only == "" && mode == ModeTerminal {
							continue // nothing but the streams differs, and each start takes seconds
						}
						if c.only == "" || c.only == mode {
							comparePreloaded(t, r, language, mode, c)
						}
					}
				})
			}
		})
	}
}

// keepOne has one runtime of a language wait for each mode, also of those that wait only
// where there is demand.
func (r *Runner) keepOne(p *lang.Profile) {
	r.pools.mu.Lock()
	defer r.pools.mu.Unlock()
	for _, mode := range []string{ModePipes, ModeTerminal} {
		r.pools.kinds[r.warmKind(p, mode)].least = 1
	}
	r.pools.resize()
}

func comparePreloaded(t *testing.T, r *Runner, language, mode string, c same) {
	t.Helper()
	req := program(language, c.text)
	req.Mode, req.Args = mode, c.args
	if c.text == "" {
		req.Files = nil
	}
	req.Files = append(req.Files, c.files...)
	req.Entry = c.entry

	p, _ := r.langs.Find(language)
	k := r.warmKind(p, mode)
	eventually(t, "a runtime of "+language, func() bool { return r.pools.of(k).Ready > 0 })
	taken := r.pools.of(k).Taken
	warm := c.run(t, r, req)
	if got := r.pools.of(k).Taken; got != taken+1 {
		t.Fatalf("%s: the program was not given to a runtime that waited", mode)
	}
	// Boxes of other limits have none.
	less := r.limits.forLanguage(p).Box.MemoryBytes - 1<<20
	req.Limits = &Lower{MemoryBytes: less}
	cold := c.run(t, r, req)
	if got := r.pools.of(k).Taken; got != taken+1 {
		t.Fatalf("%s: a runtime that waited was taken for the plain command", mode)
	}
	if warm != cold {
		t.Errorf("%s: not the same:\n%s", mode, differences(warm.String(), cold.String()))
	}
	if !strings.Contains(cold.stdout+cold.stderr+cold.terminal, c.prints) {
		t.Errorf("%s: %q is not in what is printed:\n%s", mode, c.prints, cold)
	}
}

// outcome is all that can be told of a run.
type outcome struct {
	stdout, stderr, terminal string
	status                   store.Status
	code                     int
	signal                   string
	message                  string
}

func (o outcome) String() string {
	return fmt.Sprintf("stdout: %s\nstderr: %s\nterminal: %s\n%s, code %d, signal %q: %s",
		o.stdout, o.stderr, o.terminal, o.status, o.code, o.signal, o.message)
}

// differences are the lines in which two texts differ.
func differences(warm, cold string) string {
	a, b := strings.Split(warm, "\n"), strings.Split(cold, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return fmt.Sprintf("started ahead: %.4000q\nplain:         %.4000q", a, b)
}

// addresses and the names of temporary folders differ from start to start of the plain
// command too.
var addresses = regexp.MustCompile(`Rtmp\w{6}|0x[0-9a-f]{6,}|@[0-9a-f]{6,8}\b`)

func (c same) run(t *testing.T, r *Runner, req Request) outcome {
	t.Helper()
	rec := start(t, r, req)
	stream := store.Stdout
	if req.Mode == ModeTerminal {
		stream = store.PTY
	}
	for i, in := range c.typed {
		rec.wait(in.after, func() bool { return contains(rec.streams[stream], in.after) || rec.over() })
		if i == 0 && c.resize && req.Mode == ModeTerminal {
			check(t, rec.run.Resize(91, 33))
		}
		// An error says that the program has ended, which the comparison will tell.
		_ = rec.run.Stdin("ann", []byte(in.text))
	}
	if c.eof {
		_ = rec.run.StdinEOF()
	}
	row := rec.end()
	said := func(stream store.Stream) string { return addresses.ReplaceAllString(rec.output(stream), "0x0") }
	o := outcome{said(store.Stdout), said(store.Stderr), said(store.PTY), row.Status, -1, "", row.Message}
	if row.ExitCode != nil {
		o.code = *row.ExitCode
	}
	if row.Signal != nil {
		o.signal = *row.Signal
	}
	return o
}

// over tells whether the run has ended; mu is held.
func (c *recorder) over() bool {
	n := len(c.events)
	return n > 0 && c.events[n-1].Kind == EventExited
}

// preloaded are the programs, by language.
var preloaded = map[string][]same{
	"python":     preloadedPython,
	"javascript": preloadedNode,
	"typescript": preloadedTypeScript,
	"java":       preloadedJava,
	"ruby":       preloadedRuby,
	"r":          preloadedR,
}
