package runner

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"corun/store"
)

// A program that draws the whole screen has the driver's size, hears of a new one (SIGWINCH)
// and gets keys as keys.
func TestFullScreen(t *testing.T) {
	r := testRunner(t)
	req := inTerminal("python", `
import curses
def main(screen):
    key = ''
    screen.timeout(200) # curses overlooks a signal that comes just before it begins to wait
    while True:
        rows, cols = screen.getmaxyx()
        screen.clear()
        screen.addstr(0, 0, 'size %dx%d, key %s' % (cols, rows, key))
        screen.addstr(rows - 1, 0, 'bottom')
        screen.refresh()
        code = -1
        while code == -1: code = screen.getch()
        if code == ord('q'): return
        key = curses.keyname(code).decode()
curses.wrapper(main)
print('over')
`)
	req.Cols, req.Rows = 100, 30
	rec := start(t, r, req)
	bottom := func(row int) { // where the cursor is sent to, in one of two ways
		rec.wait("the last row", func() bool {
			return contains(rec.streams[store.PTY], fmt.Sprintf("\r\x1b[%ddbottom", row)) || contains(rec.streams[store.PTY], fmt.Sprintf("\x1b[%d;1Hbottom", row))
		})
	}
	rec.waitOutput(store.PTY, "size 100x30, key")
	bottom(30)
	check(t, rec.run.Resize(120, 40))
	rec.waitOutput(store.PTY, "size 120x40, key KEY_RESIZE")
	bottom(40)
	check(t, rec.run.Stdin("ann", []byte("\x1bOA")))
	rec.waitOutput(store.PTY, "size 120x40, key KEY_UP")
	check(t, rec.run.Resize(50, 12))
	rec.waitOutput(store.PTY, "size 50x12, key KEY_RESIZE")
	check(t, rec.run.Stdin("ann", []byte("q")))
	if run := rec.end(); run.Status != store.StatusExited || !strings.HasSuffix(rec.output(store.PTY), "over\r\n") {
		t.Errorf("got %s, %q", run.Status, rec.output(store.PTY))
	}
}

// What a terminal does with its control characters reaches a program that knows of none.
func TestControlCharacters(t *testing.T) {
	r := testRunner(t)
	t.Run("Ctrl+C", func(t *testing.T) {
		rec := start(t, r, inTerminal("python", "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nprint('ready')\nwhile True: time.sleep(1)\n"))
		rec.waitOutput(store.PTY, "ready")
		check(t, rec.run.Stdin("ann", []byte{3}))
		if run := rec.end(); run.Status != store.StatusSignaled || run.Signal == nil || *run.Signal != "SIGINT" || !strings.Contains(rec.output(store.PTY), "^C") {
			t.Errorf("got %s, %v, %q", run.Status, run.Signal, rec.output(store.PTY))
		}
	})
	t.Run("Ctrl+D", func(t *testing.T) {
		rec := start(t, r, inTerminal("bash", "stty -echo; echo ready; cat; echo end; read -r x; echo then $x"))
		rec.waitOutput(store.PTY, "ready")
		// The first hands over what has no end yet; the second, at the start of a line, ends.
		check(t, rec.run.Stdin("ann", []byte("line\nhalf\x04")))
		rec.waitOutput(store.PTY, "line\r\nhalf")
		check(t, rec.run.Stdin("ann", []byte("\x04")))
		rec.waitOutput(store.PTY, "halfend")
		check(t, rec.run.Stdin("ann", []byte("more\n")))
		if rec.end(); rec.output(store.PTY) != "ready\r\nline\r\nhalfend\r\nthen more\r\n" {
			t.Errorf("got %q", rec.output(store.PTY))
		}
	})
}

// A paste waits for a program that reads slowly, up to a bound, and arrives whole; what is more
// is refused, in words, and leaves nothing behind.
func TestPaste(t *testing.T) {
	const slow = `
import hashlib, os, signal, sys, time
if os.isatty(0):
    import tty
    tty.setraw(0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.write(1, b'ready\n')
signal.sigwait([signal.SIGINT])
got = hashlib.sha256()
left = None
while left != 0:
    piece = os.read(0, 4096 if left is None else min(4096, left))
    if not piece: break
    if left is None: # the first line says how much there is
        head, _, piece = piece.partition(b'\n')
        left = int(head)
    got.update(piece)
    left -= len(piece)
    time.sleep(0.0005)
os.write(1, ('sum ' + got.hexdigest() + '\n').encode())
`
	const megabyte = 1_000_000
	r := testRunner(t)
	for _, mode := range []string{ModePipes, ModeTerminal} {
		t.Run(mode, func(t *testing.T) {
			req := program("python", slow)
			req.Mode = mode
			rec := start(t, r, req)
			stream := store.Stdout
			if mode == ModeTerminal {
				stream = store.PTY
			}
			rec.waitOutput(stream, "ready")
			// A megabyte that repeats nowhere, so that no piece can be taken for another.
			paste := new(bytes.Buffer)
			for i := 0; paste.Len() < megabyte; i++ {
				fmt.Fprintf(paste, "%07d\n", i)
			}
			whole := paste.Bytes()[:megabyte]
			check(t, rec.run.Stdin("ann", fmt.Appendf(nil, "%d\n", len(whole))))
			check(t, rec.run.Stdin("ann", whole))
			// Nobody reads: another one still waits with it, no third does.
			var refused *InputError
			extra := 0
			for range 3 {
				err := rec.run.Stdin("ann", bytes.Repeat([]byte("x"), megabyte))
				if err == nil {
					extra++
				} else if !errors.As(err, &refused) {
					t.Fatal(err)
				}
			}
			if refused == nil || extra != 1 || !strings.Contains(refused.Detail, "the program has not read") || !strings.Contains(refused.Detail, "2 MiB is the most that can wait") {
				t.Errorf("%d more were taken, refused with %v", extra, refused)
			}
			check(t, rec.run.Signal("INT")) // now it reads
			rec.waitOutput(stream, fmt.Sprintf("sum %x", sha256.Sum256(whole)))
			if run := rec.end(); run.Status != store.StatusExited {
				t.Errorf("got %s, %q", run.Status, run.Message)
			}
		})
	}
}

// Two pipes are two streams, each whole and in order; and what is printed on one after an
// answer to the other is told after it.
func TestPipesApart(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, program("python", `
import sys
for i in range(5000):
    print('out', i)
    print('err', i, file=sys.stderr)
for line in sys.stdin:
    print('heard', line.strip(), file=sys.stderr if 'err' in line else sys.stdout, flush=True)
`))
	var out, err strings.Builder
	for i := range 5000 {
		fmt.Fprintln(&out, "out", i)
		fmt.Fprintln(&err, "err", i)
	}
	var order strings.Builder
	for i := range 20 {
		to, stream, all := "out", store.Stdout, &out
		if i%3 == 0 {
			to, stream, all = "err", store.Stderr, &err
		}
		line := fmt.Sprintf("heard %s %d\n", to, i)
		all.WriteString(line)
		order.WriteString(line)
		check(t, rec.run.Stdin("ann", fmt.Appendf(nil, "%s %d\n", to, i)))
		rec.waitOutput(stream, line)
	}
	check(t, rec.run.StdinEOF())
	rec.end()
	if rec.output(store.Stdout) != out.String() || rec.output(store.Stderr) != err.String() {
		t.Errorf("stdout has %d of %d bytes, stderr %d of %d, or others", len(rec.output(store.Stdout)), out.Len(), len(rec.output(store.Stderr)), err.Len())
	}
	// A line may come in pieces, but nothing of the next one before it is whole.
	var all, told strings.Builder
	for _, e := range rec.events {
		if e.Kind == EventOutput {
			all.Write(e.Data)
		}
	}
	for line := range strings.Lines(all.String()) {
		if strings.HasPrefix(line, "heard") {
			told.WriteString(line)
		}
	}
	if told.String() != order.String() {
		t.Errorf("told was %q", told.String())
	}
}
