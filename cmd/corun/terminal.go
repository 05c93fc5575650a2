package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/term"

	"corun/runner"
)

// escapeKey ends a run in a terminal: Ctrl+], as in telnet. All other keys are the
// program's.
const escapeKey = 0x1d

// terminal is the one we were started in, lent to the program.
type terminal struct {
	fd     int
	before *term.State
	sizes  chan os.Signal
	over   chan struct{}
}

// lendTerminal takes the terminal out of line mode, so that the program's own terminal
// does all that one does: echo, editing, signals.
func lendTerminal(req *runner.Request) (*terminal, error) {
	t := &terminal{fd: int(os.Stdin.Fd()), sizes: make(chan os.Signal, 1), over: make(chan struct{})}
	cols, rows, err := term.GetSize(t.fd)
	if err == nil && cols > 0 && rows > 0 {
		req.Cols, req.Rows = cols, rows
	}
	if t.before, err = term.MakeRaw(t.fd); err != nil {
		return nil, fmt.Errorf("lend the terminal to the program: %w", err)
	}
	signal.Notify(t.sizes, syscall.SIGWINCH)
	return t, nil
}

// follow gives the run's terminal the size that ours has.
func (t *terminal) follow(run *runner.Run) {
	for {
		select {
		case <-t.sizes:
			// A size that cannot be had or used leaves the program the one before.
			if cols, rows, err := term.GetSize(t.fd); err == nil {
				_ = run.Resize(cols, rows)
			}
		case <-t.over:
			return
		}
	}
}

// close gives the terminal back.
func (t *terminal) close() {
	close(t.over)
	signal.Stop(t.sizes)
	_ = term.Restore(t.fd, t.before) // it may have gone
}

// escapeReader reads keys and calls leave at the escape key, which nobody gets.
type escapeReader struct {
	io.Reader
	leave func()
}

func (r *escapeReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if i := slices.Index(p[:n], escapeKey); i >= 0 {
		r.leave()
		return i, io.EOF
	}
	return n, err
}
