package runner

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"corun/store"
)

// Exec runs a program once, without a room and without keeping anything, by the
// same path as any other run: the result is as the row of one. stdin is the
// program's input unless the request has its own; output goes to stdout and
// stderr, a terminal's to stdout. The run is stopped when ctx ends.
//
// A Read of stdin that nobody answers is left behind when the program ends
// first, as it cannot be called off.
func (r *Runner) Exec(ctx context.Context, req Request, stdin io.Reader, stdout, stderr io.Writer) (store.Run, error) {
	var (
		mu      sync.Mutex
		failure error
		run     *Run
	)
	events := req.Events
	req.Events = func(e Event) {
		if events != nil {
			events(e)
		}
		if e.Kind != EventOutput {
			return
		}
		w := stdout
		if e.Stream == store.Stderr {
			w = stderr
		}
		if _, err := w.Write(e.Data); err != nil {
			mu.Lock()
			failure = errors.Join(failure, err)
			mu.Unlock()
			_ = run.Stop()
		}
	}
	j, err := prepare(req, r.langs, r.limits)
	if err != nil {
		return store.Run{}, err
	}
	run = newRun(r, j, time.Now())
	if req.Began != nil {
		req.Began(run)
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	if req.Stdin == nil {
		go func() {
			if err := run.input.readFrom(reading, stdin); err != nil {
				r.log.Warn("read input for program", "error", err)
			}
		}()
	}
	if err := r.see(ctx, run); err != nil {
		return store.Run{}, err
	}
	mu.Lock()
	defer mu.Unlock()
	return run.Snapshot(), failure
}

// enroll counts a run that belongs to no room, unless the runner closes.
func (r *Runner) enroll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.active.Add(1)
	return nil
}
