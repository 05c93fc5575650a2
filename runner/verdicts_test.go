package runner

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"corun/store"
)

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }

// What programs do, and what people are told of it. All run in one runner, one
// after another: what one does must not reach the next.
func TestVerdicts(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Quotas = &Quotas{1000, 1000, 1000, 1000} })
	const mib = 1 << 20
	for name, c := range map[string]struct {
		req    Request
		limits Lower
		want   store.Status
		code   int    // where the status is exited
		says   string // the message
		prints string // stdout or the terminal
	}{
		"exit 0":                {program("python", "print('hi')"), Lower{}, store.StatusExited, 0, "exit code 0", "hi\n"},
		"exit 7":                {program("bash", "exit 7"), Lower{}, store.StatusExited, 7, "exit code 7", ""},
		"exit 137 of its own":   {program("bash", "exit 137"), Lower{}, store.StatusExited, 137, "137", ""},
		"an exception":          {program("python", "1/0"), Lower{}, store.StatusExited, 1, "exit code 1", ""},
		"JavaScript":            {program("javascript", "console.log([1,2].map(x => x * 2).join())"), Lower{}, store.StatusExited, 0, "0", "2,4\n"},
		"arguments":             {withArgs(program("bash", `printf '%s|' "$@"`), "a b", "", "-x"), Lower{}, store.StatusExited, 0, "0", "a b||-x|"},
		"other files":           {withFile(program("python", "import lib.a; print(lib.a.x)"), "lib/a.py", "x = 'imported'"), Lower{}, store.StatusExited, 0, "0", "imported\n"},
		"a segmentation fault":  {program("python", "import os,signal; os.kill(os.getpid(), signal.SIGSEGV)"), Lower{}, store.StatusSignaled, 0, "SIGSEGV", ""},
		"killed by itself":      {program("bash", "echo before; kill -9 $$"), Lower{}, store.StatusSignaled, 0, "SIGKILL", "before\n"},
		"a sleeper":             {program("bash", "echo early; sleep 1000"), Lower{Wall: 500 * time.Millisecond}, store.StatusTimeout, 0, "500 ms", "early\n"},
		"a sleeper, terminal":   {inTerminal("bash", "echo early; sleep 1000"), Lower{Wall: 500 * time.Millisecond}, store.StatusTimeout, 0, "500 ms", "early\r\n"},
		"a spinner":             {program("python", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('spin')\nwhile True: pass"), Lower{CPUTime: 500 * time.Millisecond}, store.StatusCPULimit, 0, "500 ms", "spin\n"},
		"a spinner in children": {program("bash", "for i in 1 2 3; do (while :; do :; done) & done; wait"), Lower{CPUTime: 500 * time.Millisecond}, store.StatusCPULimit, 0, "500 ms", ""},
		"a memory bomb":         {program("python", "print('eat')\nx = []\nwhile True: x.append(bytearray(1 << 20))"), Lower{MemoryBytes: 64 * mib}, store.StatusMemoryLimit, 0, "64 MiB", "eat\n"},
		"memory of a child":     {program("bash", "echo eat; python3 -c 'x = bytearray(200 << 20)'; echo survived > /dev/null; sleep 1000"), Lower{MemoryBytes: 64 * mib}, store.StatusMemoryLimit, 0, "64 MiB", "eat\n"},
		"memory, 256 MiB":       {program("javascript", "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1));"), Lower{}, store.StatusMemoryLimit, 0, "256 MiB", ""},
		"a fork bomb":           {program("bash", "bomb() { bomb | bomb & }; bomb; sleep 1000"), Lower{Wall: 2 * time.Second}, store.StatusTimeout, 0, "2 s", ""},
		"a fork bomb, Python":   {program("python", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"), Lower{CPUTime: time.Second}, store.StatusCPULimit, 0, "1 s", ""},
		"a daemon":              {program("bash", "(setsid sleep 1000 &) ; echo gone"), Lower{}, store.StatusExited, 0, "0", "gone\n"},
		"no network":            {program("python", "import socket\ntry: socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError as e: print('refused')"), Lower{}, store.StatusExited, 0, "0", "refused\n"},
		"output just kept":      {program("bash", "head -c 1048576 /dev/zero"), Lower{OutputBytes: mib}, store.StatusExited, 0, "0", strings.Repeat("\x00", mib)},
		"output, a byte more":   {program("bash", "head -c 1048577 /dev/zero"), Lower{OutputBytes: mib}, store.StatusOutputLimit, 0, "1 MiB", strings.Repeat("\x00", mib)},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.Limits = &c.limits
			rec := start(t, r, c.req)
			run := rec.end()
			if run.Status != c.want || !strings.Contains(run.Message, c.says) {
				t.Errorf("got %s, %q; want %s with %q; stderr: %.500q", run.Status, run.Message, c.want, c.says, rec.output(store.Stderr))
			}
			if c.want == store.StatusExited && (run.ExitCode == nil || *run.ExitCode != c.code) {
				t.Errorf("exit code %v, want %d", run.ExitCode, c.code)
			}
			if got := rec.output(store.Stdout) + rec.output(store.PTY); got != c.prints {
				t.Errorf("printed %d bytes %.100q, want %d bytes %.100q", len(got), got, len(c.prints), c.prints)
			}
			if run.StartupMS <= 0 || run.Usage.WallMS <= 0 || run.Usage.CPUMS <= 0 || run.Usage.MemoryPeakBytes <= 0 {
				t.Errorf("not measured: startup %v, usage %+v", run.StartupMS, run.Usage)
			}
		})
	}
	after := start(t, r, program("python", "print(6 * 7)"))
	if run := after.end(); run.Status != store.StatusExited || after.output(store.Stdout) != "42\n" {
		t.Errorf("the run after all these: %s, %q", run.Status, after.output(store.Stdout))
	}
}

func withArgs(req Request, args ...string) Request {
	req.Args = args
	return req
}

func withFile(req Request, path, content string) Request {
	req.Files = append(req.Files, File{path, content})
	return req
}

// Both clocks allow as much by default; a program that spins is told so.
func TestSpinnerReachesCPULimitFirst(t *testing.T) {
	r := testRunner(t, func(c *Config) {
		limits := DefaultLimits()
		limits.CPUTime, limits.WallPipes = 2*time.Second, 2*time.Second
		c.Limits = &limits
	})
	var run store.Run
	for range 5 {
		run = start(t, r, program("bash", "while :; do :; done")).end()
		// On a busy machine it does not get the processor that it spins on.
		if run.Status != store.StatusTimeout || run.Usage.CPUMS > 0.95*run.Usage.WallMS {
			break
		}
	}
	if run.Status == store.StatusTimeout && run.Usage.CPUMS <= 0.95*run.Usage.WallMS {
		t.Skipf("the machine is too busy: %v ms of CPU time in %v ms", run.Usage.CPUMS, run.Usage.WallMS)
	}
	if run.Status != store.StatusCPULimit {
		t.Errorf("got %s, %q, after %+v", run.Status, run.Message, run.Usage)
	}
}

func TestFlood(t *testing.T) {
	r := testRunner(t)
	for name, req := range map[string]Request{
		"pipes":    program("bash", "exec yes 0123456789"),
		"stderr":   program("bash", "exec yes 0123456789 >&2"),
		"terminal": inTerminal("bash", "exec yes 0123456789"),
		"both":     program("bash", "yes 0123456789 >&2 & exec yes 0123456789"),
	} {
		t.Run(name, func(t *testing.T) {
			rec := start(t, r, req)
			run := rec.end()
			if run.Status != store.StatusOutputLimit || !strings.Contains(run.Message, "8 MiB") {
				t.Errorf("got %s, %q", run.Status, run.Message)
			}
			if run.Usage.OutputBytes != 8<<20 || total(run.Output) != 8<<20 {
				t.Errorf("kept %d bytes", run.Usage.OutputBytes)
			}
			t.Logf("%d events, %.0f ms", len(rec.events), run.Usage.WallMS)
		})
	}
}

// A program that prints faster than it may is held back, rather than ended or
// let go on: at this rate it cannot reach its output limit before the wall
// clock's end.
func TestFlowHoldsBack(t *testing.T) {
	r := testRunner(t, func(c *Config) {
		limits := DefaultLimits()
		limits.OutputRate, limits.OutputBytes, limits.WallPipes = 64<<10, 4<<20, time.Second
		c.Limits = &limits
	})
	run := start(t, r, program("bash", "exec yes")).end()
	if run.Status != store.StatusTimeout {
		t.Errorf("got %s, %q", run.Status, run.Message)
	}
	// What the rate allows, and what was in the pipe; without the rate 4 MiB take no moment.
	if got := run.Usage.OutputBytes; got == 0 || got > 2<<20 {
		t.Errorf("%d bytes came through", got)
	}
}

// A program that alternates between its streams byte by byte must not make a
// row or an event of each.
func TestAlternatingStreams(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, program("python", "import os\nfor i in range(20000): os.write(1 + i % 2, b'x')"))
	run := rec.end()
	if run.Output != (store.OutputSizes{Stdout: 10000, Stderr: 10000}) {
		t.Errorf("kept %+v", run.Output)
	}
	t.Logf("%d events", len(rec.events))
}
