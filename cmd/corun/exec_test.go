package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"corun/web"
)

// asMain makes the test's executable be corun: what is tested are its exit codes and
// streams, and what it does to a terminal.
const asMain = "CORUN_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// corun is a command that runs corun in a folder.
func corun(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("programs need boxes, and boxes need root")
	}
	self, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), self, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), asMain+"=1", "CORUN_IMAGE=host", "CORUN_DATA_DIR="+filepath.Join(dir, "data"), "CORUN_IMAGE_DIR=")
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a folder of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	return dir
}

func codeOf(err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	return -1
}

func TestExec(t *testing.T) {
	dir := write(t, map[string]string{
		"hello.py":      "import sys\nprint('hello', sys.argv[1:])",
		"fails.py":      "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)",
		"reads.py":      "print(input()[::-1])",
		"src/main.py":   "import util\nprint(__file__, util.x, open('data/n').read())",
		"src/util.py":   "x = 7",
		"src/.git/x.py": "",
		"data/n":        "5",
		"segv.sh":       "kill -SEGV $$",
		"sleeps.sh":     "printf part; sleep 1000",
		"yes.sh":        "while :; do echo y; done",
		"tree.sh":       "find . -type f | sort",
		"leaves.sh":     "mkdir -p out/d; echo 1 >out/d/a; echo 2 >out/b",
		"input":         "from a file\n",
		"what.xyz":      "",
	})
	elsewhere := write(t, map[string]string{"p/main.sh": "find . -type f | sort", "p/lib/a": "", "q": ""})
	tests := []struct {
		name, args, stdin string
		code              int
		out, errs         string // errs is a part of it; "" means nothing at all
	}{
		{"a file", "hello.py", "", 0, "hello []\n", ""},
		{"arguments", "hello.py -a 1 -- 2 --x -", "", 0, "hello ['1', '2', '--x', '-']\n", ""},
		{"an exit code", "fails.py", "", 3, "out\n", "err\n"},
		{"its input", "reads.py", "word\n", 0, "drow\n", ""},
		{"a file as its input", "reads.py --stdin input", "word\n", 0, "elif a morf\n", ""},
		{"a program on standard input", "-l py", "print(1)", 0, "1\n", ""},
		{"with files, input and arguments", "- src/util.py -l python --stdin input -- x", "import sys\nprint(input(), sys.argv, open('src/util.py').read())", 0, "from a file ['main.py', 'x'] x = 7\n", ""},
		{"without input", "-l python -", "import sys\nprint(repr(sys.stdin.read()))", 0, "''\n", ""},
		{"folders", "src/main.py src/util.py data", "", 0, "/work/src/main.py 7 5\n", ""},
		{"a folder that holds the program", "src/main.py src data", "", 0, "/work/src/main.py 7 5\n", ""},
		{"hidden files are left out", "tree.sh src", "", 0, "./src/main.py\n./src/util.py\n./tree.sh\n", ""},
		{"files elsewhere", filepath.Join(elsewhere, "p/main.sh") + " " + filepath.Join(elsewhere, "p/lib") + " " + filepath.Join(elsewhere, "q"), "", 0, "./lib/a\n./main.sh\n./q\n", ""},
		{"a signal", "segv.sh", "", 128 + 11, "", "SIGSEGV"},
		{"a signal, quietly", "-q segv.sh", "", 128 + 11, "", ""},
		{"a limit", "sleeps.sh --time 200ms", "", 125, "part", "\ncorun: The program had not ended after 200 ms"},
		{"words", "-v hello.py", "", 0, "hello []\n", "exit code 0."},
		{"files that are left", "leaves.sh", "", 0, "", "--out DIR"},
		{"files that are kept", "leaves.sh --out kept/here", "", 0, "", ""},

		{"no file", "none.py", "", 1, "", "none.py: no such file"},
		{"an unknown extension", "what.xyz", "", 1, "", "say it with --language"},
		{"an unknown language", "-l cobol what.xyz", "", 1, "", "use one of bash"},
		{"no language", "", "print(1)", 1, "", "say it with --language"},
		{"a folder alone", "src", "", 1, "", "src is a folder"},
		{"standard input in the middle", "hello.py - -l py", "", 1, "", "as the first file"},
		{"no terminal", "-t hello.py", "", 1, "", "it is none"},
		{"a terminal and a file", "-t hello.py --stdin input", "", 1, "", "leave --stdin out"},
		{"a terminal and JSON", "-t --json hello.py", "", 1, "", "leave --terminal or --json out"},
		{"more time", "--time 11s hello.py", "", 1, "", "--time: 11 s is not possible"},
		{"more memory", "--memory 1TiB hello.py", "", 1, "", "--memory: 1 TiB is not possible"},
		{"no size", "--memory lots hello.py", "", 1, "", "no size"},
	}
	started := make(map[string]bool)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := corun(t, dir, append([]string{"exec"}, strings.Fields(tt.args)...)...)
			var out, errs bytes.Buffer
			c.Stdin, c.Stdout, c.Stderr = strings.NewReader(tt.stdin), &out, &errs
			code := codeOf(c.Run())
			started[strconv.Itoa(c.Process.Pid)] = true
			if code != tt.code || out.String() != tt.out || !strings.Contains(errs.String(), tt.errs) || tt.errs == "" && errs.Len() > 0 {
				t.Errorf("exit code %d, %q and %q; want %d, %q and %q", code, out.String(), errs.String(), tt.code, tt.out, tt.errs)
			}
		})
	}
	for name, want := range map[string]string{"kept/here/d/a": "1\n", "kept/here/b": "2\n"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); string(data) != want {
			t.Errorf("%s is %q, %v", name, data, err)
		}
	}
	t.Run("a reader that has enough", func(t *testing.T) {
		c := corun(t, dir, "exec", "yes.sh")
		var errs bytes.Buffer
		c.Stderr = &errs
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		_, err = io.ReadFull(out, make([]byte, 4))
		must(t, err)
		must(t, out.Close())
		started[strconv.Itoa(c.Process.Pid)] = true
		if code := codeOf(c.Wait()); code != 128+13 || errs.Len() > 0 {
			t.Errorf("exit code %d, %q", code, errs.String())
		}
	})
	t.Run("Ctrl+C", func(t *testing.T) {
		c := corun(t, dir, "exec", "-q", "sleeps.sh")
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		_, err = io.ReadFull(out, make([]byte, 4))
		must(t, err)
		must(t, c.Process.Signal(os.Interrupt))
		started[strconv.Itoa(c.Process.Pid)] = true
		if code := codeOf(c.Wait()); code != 128+2 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("JSON", func(t *testing.T) {
		c := corun(t, dir, "exec", "--json", "fails.py")
		out, err := c.Output()
		var a web.ExecuteAnswer
		must(t, json.Unmarshal(out, &a))
		if codeOf(err) != 3 || a.Language != "python" || a.Run.Stdout != "out\n" || a.Run.Stderr != "err\n" || *a.Run.Code != 3 || a.Runs != nil {
			t.Errorf("%v, %s", err, out)
		}
		c = corun(t, dir, "exec", "--json", "reads.py", "--stdin", "input", "--out", "json")
		if out, err = c.Output(); err != nil || !strings.Contains(string(out), `"stdout": "elif a morf\n"`) {
			t.Errorf("%v, %s", err, out)
		}
	})
	// By the two versions' hierarchies. Others' are others' matter.
	for _, pattern := range []string{"/sys/fs/cgroup/corun-exec-*", "/sys/fs/cgroup/*/corun-exec-*"} {
		left, err := filepath.Glob(pattern)
		must(t, err)
		for _, group := range left {
			if pid := strings.TrimPrefix(filepath.Base(group), "corun-exec-"); started[pid] {
				t.Errorf("%s is left", group)
			}
		}
	}
}

// screen is a terminal with a corun in it.
type screen struct {
	t    *testing.T
	cmd  *exec.Cmd
	pty  *os.File
	text string
}

func inTerminal(t *testing.T, cmd *exec.Cmd, size *pty.Winsize) *screen {
	t.Helper()
	f, err := pty.StartWithSize(cmd, size)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return &screen{t: t, cmd: cmd, pty: f}
}

// until reads what is shown until it holds a text.
func (s *screen) until(text string) {
	s.t.Helper()
	buf := make([]byte, 4<<10)
	for !strings.Contains(s.text, text) {
		n, err := s.pty.Read(buf)
		s.text += string(buf[:n])
		if err != nil && !strings.Contains(s.text, text) {
			s.t.Fatalf("waited for %q: %v; there is %q", text, err, s.text)
		}
	}
}

func (s *screen) keys(keys string) {
	s.t.Helper()
	_, err := s.pty.WriteString(keys)
	must(s.t, err)
}

func TestExecInATerminal(t *testing.T) {
	dir := write(t, map[string]string{
		"sizes.py": `
import os, select, signal, sys
def show(*_):
    size = os.get_terminal_size()
    print(f"<{size.columns}x{size.lines} {sys.stdin.isatty()} {os.environ['TERM']}>", flush=True)
signal.signal(signal.SIGWINCH, show)
# input() alone would not see a signal that comes just before it reads.
signals, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
show()
try:
    while True:
        ready = select.select([sys.stdin, signals], [], [])[0]
        if signals in ready:
            os.read(signals, 100)
        if sys.stdin in ready:
            print("<" + input()[::-1] + ">", flush=True)
except KeyboardInterrupt:
    print("<interrupted>")
    sys.exit(7)
`,
		"deaf.py": "import signal, time\nfor s in signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP: signal.signal(s, signal.SIG_IGN)\nprint('<ready>', flush=True)\nwhile True: time.sleep(1)",
	})
	s := inTerminal(t, corun(t, dir, "exec", "-t", "sizes.py"), &pty.Winsize{Cols: 101, Rows: 31})
	s.until("<101x31 True xterm-256color>\r\n")
	during, err := unix.IoctlGetTermios(int(s.pty.Fd()), unix.TCGETS)
	must(t, err)
	if during.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Error("the terminal does itself what the program's is to do")
	}
	must(t, pty.Setsize(s.pty, &pty.Winsize{Cols: 120, Rows: 40}))
	s.until("<120x40 True xterm-256color>\r\n") // to its end, or the echo comes in between
	s.keys("abc\r")
	s.until("abc\r\n<cba>\r\n") // the program's terminal echoes
	s.keys("\x03")
	s.until("<interrupted>")
	after, err := unix.IoctlGetTermios(int(s.pty.Fd()), unix.TCGETS)
	for err == nil && after.Lflag&unix.ICANON == 0 { // ends with the test's own time
		after, err = unix.IoctlGetTermios(int(s.pty.Fd()), unix.TCGETS)
	}
	if code := codeOf(s.cmd.Wait()); code != 7 {
		t.Errorf("exit code %d; there is %q", code, s.text)
	}

	s = inTerminal(t, corun(t, dir, "exec", "--terminal", "deaf.py"), &pty.Winsize{Cols: 80, Rows: 24})
	s.until("<ready>")
	s.keys("\x03\x1c\x1a\x1d")
	s.until("corun: Stopped.")
	if code := codeOf(s.cmd.Wait()); code != 130 {
		t.Errorf("exit code %d; there is %q", code, s.text)
	}
}

func TestCutArguments(t *testing.T) {
	for _, tt := range []struct{ args, ours, programs string }{
		{"exec a.py", "exec a.py", ""},
		{"exec a.py -- -x --", "exec a.py", "-x --"},
		{"--data-dir d exec -- x", "--data-dir d exec", "x"},
		{"room delete -- exec", "room delete -- exec", ""},
	} {
		ours, programs := cutArguments(strings.Fields(tt.args))
		if strings.Join(ours, " ") != tt.ours || strings.Join(programs, " ") != tt.programs {
			t.Errorf("%q is cut into %q and %q", tt.args, ours, programs)
		}
	}
}
