package runner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"corun/store"
)

func TestExec(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Store = nil })
	var stdout, stderr bytes.Buffer
	req := program("python", "import sys\nprint(sys.stdin.read().upper())\nprint('oops', file=sys.stderr)\nsys.exit(4)")
	run, err := r.Exec(t.Context(), req, strings.NewReader("some input"), &stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != store.StatusExited || *run.ExitCode != 4 || stdout.String() != "SOME INPUT\n" || stderr.String() != "oops\n" {
		t.Errorf("got %+v, %q, %q", run, stdout.String(), stderr.String())
	}
	if _, err := r.Start(t.Context(), req); err == nil {
		t.Error("a run was accepted that nobody keeps")
	}
}

func TestExecEnds(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Store = nil })
	t.Run("with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		run, err := r.Exec(ctx, program("bash", "echo ready; sleep 1000"), strings.NewReader(""), writerFunc(func([]byte) { cancel() }), io.Discard)
		if err != nil || run.Status != store.StatusStopped {
			t.Errorf("got %s, %v", run.Status, err)
		}
	})
	t.Run("with its reader", func(t *testing.T) {
		_, err := r.Exec(t.Context(), program("bash", "exec yes"), strings.NewReader(""), brokenWriter{}, io.Discard)
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Every language works, in pipes and in a terminal: given its input, its template prints
// what the profile says.
func TestLanguages(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Quotas, c.Languages = &Quotas{1000, 1000, 1000, 1000}, nil })
	all, err := profileSet()
	check(t, err)
	works := make(map[string]bool)
	for _, l := range r.Languages() {
		works[l.Name] = true
		if l.Version == "" || l.Entry == "" || len(l.Extensions) == 0 || l.Limits.MemoryBytes < 256<<20 || l.Limits.WallMS != 10_000 {
			t.Errorf("incomplete: %+v", l)
		}
	}
	for _, p := range all.All() {
		if !works[p.Name] {
			if os.Getenv("CORUN_IMAGE_DIR") != "" {
				t.Errorf("%s does not work", p.Name)
			}
			continue
		}
		for _, mode := range []string{ModePipes, ModeTerminal} {
			t.Run(p.Name+" "+mode, func(t *testing.T) {
				req := Request{Language: p.Name, Mode: mode, Files: r.Template(p.Name)}
				stream, want := store.PTY, p.Output
				if mode == ModePipes {
					req.Stdin, stream = &p.Input, store.Stdout
				}
				rec := start(t, r, req)
				if mode == ModeTerminal { // which shows what is typed
					check(t, rec.run.Stdin("ann", []byte(p.Input)))
					check(t, rec.run.StdinEOF())
				}
				run := rec.end()
				got := strings.ReplaceAll(rec.output(stream), "\r", "")
				last := want[strings.LastIndex(strings.TrimSpace(want), "\n")+1:]
				if run.Status != store.StatusExited || *run.ExitCode != 0 || mode == ModePipes && got != want || !strings.Contains(got, last) {
					t.Errorf("%s, %s: got %q and %q, want %q", run.Status, run.Message, got, rec.output(store.Stderr), want)
				}
				if (p.Compile != nil) != (run.Compile != nil) {
					t.Errorf("of compiling is said: %+v", run.Compile)
				}
			})
		}
	}
	if l, ok := r.Language("PY"); !ok || l.Name != "python" {
		t.Errorf("got %+v by alias", l)
	}
	if _, ok := r.Language("cobol"); ok || r.Template("cobol") != nil {
		t.Error("a language that is not there")
	}
}

// The environment is exactly what is documented.
func TestEnvironment(t *testing.T) {
	r := testRunner(t)
	t.Setenv("SECRET_OF_THE_SERVER", "x")
	for mode, want := range map[string]string{
		ModePipes:    "HOME=/work LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin TERM=dumb USER=runner",
		ModeTerminal: "COLORTERM=truecolor HOME=/work LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin TERM=xterm-256color USER=runner",
	} {
		req := program("bash", `cat /proc/self/environ | tr '\0' '\n' | grep -v '^\(_\|SHLVL\|PWD\|OLDPWD\)=' | sort | tr '\n' ' '`)
		req.Mode = mode
		rec := start(t, r, req)
		rec.end()
		if got := strings.TrimSpace(rec.output(store.Stdout) + rec.output(store.PTY)); got != want {
			t.Errorf("in %s: %q", mode, got)
		}
	}
}
