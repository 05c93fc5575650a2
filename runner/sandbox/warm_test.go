package sandbox

import (
	"io"
	"os"
	"strings"
	"testing"
)

// A runtime in three lines: it says that it is ready, reads to the end of the socket
// and becomes what it was told.
const shRuntime = `printf r >&255
read -r -d '' entry <&255
args=()
while read -r -d '' arg <&255; do args+=("$arg"); done
exec 255>&-
exec /bin/bash "$entry" "${args[@]}"`

func TestWarm(t *testing.T) {
	for name, terminal := range map[string]*Size{"pipes": nil, "terminal": {Cols: 40, Rows: 10}} {
		t.Run(name, func(t *testing.T) {
			box := build(t, spec())
			runtime := Command{Args: []string{"/bin/bash", "-c", shRuntime}, Env: []string{"PATH=/usr/bin:/bin", "A=1"}, Terminal: terminal}
			check(t, box.Warm(t.Context(), runtime))
			if err := box.Warm(t.Context(), runtime); err == nil {
				t.Error("a box took a second runtime")
			}
			program := Command{
				Args: []string{"main.sh", "x y", ""}, Terminal: terminal,
				Files: []File{{Path: "main.sh", Content: []byte(`echo "$A $# $1"; cat lib/data; ls -A /proc/self/fd | wc -l; ps -e -o comm= | sort -u | tr '\n' ' '; exit 3`)},
					{Path: "lib/data", Content: []byte("data\n")}},
			}
			if terminal != nil {
				program.Terminal = &Size{Cols: 50, Rows: 11}
				program.Files[0].Content = []byte(`echo "$A $# $1"; cat lib/data; stty size; exit 3`)
			}
			p, err := box.Start(t.Context(), program)
			check(t, err)
			var out []byte
			if terminal == nil {
				check(t, p.Stdin().Close())
				out, err = io.ReadAll(p.Stdout())
				check(t, err)
			}
			exit, err := p.Wait(t.Context())
			check(t, err)
			if exit.Code != 3 {
				t.Errorf("exit %+v", exit)
			}
			if terminal != nil {
				check(t, box.Kill())
				<-box.Exited()
				out, err = io.ReadAll(p.PTY())
				check(t, err)
			}
			got := strings.ReplaceAll(string(out), "\r", "")
			// Of processes there is init, which is invisible, and the program with what it runs.
			want := map[bool]string{true: "1 2 x y\ndata\n11 50\n", false: "1 2 x y\ndata\n4\nbash ps sort tr "}[terminal != nil]
			if os.Getenv("CORUN_RUNSC") != "" {
				got = strings.Replace(got, "bash init ps", "bash ps", 1) // of gVisor's kernel
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if _, err := box.Start(t.Context(), program); err == nil {
				t.Error("a box took a second program")
			}
		})
	}
}

// A program gets no terminal beside the box's, also where it comes to a runtime.
func TestWarmHasNoOtherTerminal(t *testing.T) {
	for name, terminal := range map[string]*Size{"pipes": nil, "terminal": {Cols: 40, Rows: 10}} {
		t.Run(name, func(t *testing.T) {
			box := build(t, spec())
			check(t, box.Warm(t.Context(), Command{Args: []string{"/bin/bash", "-c", shRuntime}, Env: testEnv, Terminal: terminal}))
			p, err := box.Start(t.Context(), Command{Args: []string{"main.sh"}, Terminal: terminal, Files: []File{{Path: "main.sh", Content: []byte(
				"exec 0<&- 1>&- 2>&-; for i in 1 2 3; do { : 3<>/dev/ptmx; } && exit 1; done; exit 0")}}})
			check(t, err)
			if exit, err := p.Wait(t.Context()); err != nil || exit != (Exit{}) {
				t.Errorf("ended with %+v, %v", exit, err)
			}
		})
	}
}

func TestWarmFails(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"it ends at once":        {"exit 0", "ended before it was ready"},
		"it says why":            {"echo no such file >&2; exit 1", "no such file"},
		"there is no such thing": {"", "execute"},
	} {
		t.Run(name, func(t *testing.T) {
			box := build(t, spec())
			cmd := Command{Args: []string{"/bin/bash", "-c", c.script}}
			if c.script == "" {
				cmd.Args = []string{"/no/such/runtime"}
			}
			if err := box.Warm(t.Context(), cmd); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

// A runtime that dies while it waits is noticed.
func TestWarmDies(t *testing.T) {
	box := build(t, spec())
	check(t, box.Warm(t.Context(), Command{Args: []string{"/bin/bash", "-c", "printf r >&255; read -r -d '' -t 0.05 <&255; exit 1"}}))
	<-box.Ended()
	if p, err := box.Start(t.Context(), Command{Args: []string{"main.sh"}}); err == nil {
		if exit, err := p.Wait(t.Context()); err != nil || exit.Code != 1 {
			t.Errorf("ended with %+v, %v", exit, err)
		}
	}
}

// Its own processor time is no run's.
func TestWarmUsage(t *testing.T) {
	box := build(t, spec())
	check(t, box.Warm(t.Context(), Command{Args: []string{"/bin/bash", "-c", "while [ $SECONDS -lt 2 ]; do :; done; " + shRuntime}}))
	p, err := box.Start(t.Context(), Command{Args: []string{"main.sh"}, Files: []File{{Path: "main.sh", Content: []byte("exit 0")}}})
	check(t, err)
	_, err = p.Wait(t.Context())
	check(t, err)
	used, err := box.Usage()
	check(t, err)
	if used.CPU <= 0 || used.CPU.Seconds() > 0.5 {
		t.Errorf("the program used %v", used.CPU)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
