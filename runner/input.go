package runner

import (
	"context"
	"fmt"
	"io"
	"maps"
	"sync"
)

const (
	// maxInputBytes bounds what was typed and not yet read by the program. A
	// paste of 1 MiB fits while another waits.
	maxInputBytes = 2 << 20
	// inputWriteBytes is how much is written to the program at once.
	inputWriteBytes = 16 << 10
	// endOfTransmission is what Ctrl+D sends to a terminal.
	endOfTransmission = 0x04
)

// input is what was typed and the program has not read: a bounded queue
// between whoever types, who never waits, and the one goroutine that writes to
// the program, which waits for it to read.
type input struct {
	// wake holds a token when there is something for the writer.
	wake chan struct{}
	// space holds a token when some was written.
	space chan struct{}

	mu     sync.Mutex // guards below
	buf    []byte
	given  bool // some was given to the program, or thrown away
	open   bool // the last line that was typed has no end yet
	eof    bool // nothing comes after buf
	closed bool // the program reads no more
	counts map[string]int64
}

func newInput() *input {
	return &input{wake: make(chan struct{}, 1), space: make(chan struct{}, 1), counts: make(map[string]int64)}
}

// add queues p for the program. Once the program has closed its stdin, input is
// accepted and goes nowhere, as it does in a pipe that nobody reads.
func (in *input) add(by string, p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.eof:
		return &InputError{"stdin", "the end of the input was sent: nothing can follow it"}
	case len(p) == 0:
		return nil
	case in.closed:
		in.given = true
		in.counts[by] += int64(len(p)) // it was typed all the same, and what is kept of that has a limit
		return nil
	case len(in.buf)+len(p) > maxInputBytes:
		return &InputError{"stdin", fmt.Sprintf("the program has not read %s of input yet: wait until it has, %s is the most that can wait",
			byteWords(int64(len(in.buf))), byteWords(maxInputBytes))}
	}
	in.buf = append(in.buf, p...)
	in.counts[by] += int64(len(p))
	in.open = p[len(p)-1] != '\n' && p[len(p)-1] != '\r'
	signal(in.wake)
	return nil
}

// finishLine does what Ctrl+D does in a terminal, whose input goes on after it:
// it hands over an unfinished line first, and only at a line's start is it the
// end.
func (in *input) finishLine() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.open {
		in.buf = append(in.buf, endOfTransmission)
	}
	in.buf = append(in.buf, endOfTransmission)
	in.open = false
	signal(in.wake)
}

// finish says that nothing follows.
func (in *input) finish() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.eof = true
	signal(in.wake)
}

// by counts the bytes that each participant sent.
func (in *input) by() map[string]int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.counts)
}

// typed counts all bytes that were sent.
func (in *input) typed() (n int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, each := range in.counts {
		n += each
	}
	return n
}

// next gives what to write now, or says that the end has come.
func (in *input) next() (p []byte, eof bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := min(len(in.buf), inputWriteBytes)
	p = in.buf[:n:n]
	in.buf = in.buf[n:]
	in.given = in.given || n > 0
	if len(in.buf) == 0 {
		in.buf = nil
	}
	signal(in.space)
	return p, n == 0 && in.eof
}

// close throws away what waits and all that comes.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.given = in.given || len(in.buf) > 0
	in.closed, in.buf = true, nil
	signal(in.space)
}

// revive makes the input that of another program, after the one that it was for is gone. If
// some of it is gone, too, it cannot.
func (in *input) revive() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.given {
		return false
	}
	in.closed = false
	return true
}

// writeTo writes to the program until the input's end, the program's or ctx's.
func (in *input) writeTo(ctx context.Context, w io.Writer) {
	defer in.close()
	for {
		p, eof := in.next()
		switch {
		case eof:
			return
		case len(p) == 0:
			select {
			case <-in.wake:
			case <-ctx.Done():
				return
			}
		default:
			if _, err := w.Write(p); err != nil {
				return // the program closed its stdin, or is gone
			}
		}
	}
}

// readFrom queues all that r has, waiting for the program to read, and then the
// end.
func (in *input) readFrom(ctx context.Context, r io.Reader) error {
	buf := make([]byte, inputWriteBytes)
	for {
		n, err := r.Read(buf)
		for n > 0 {
			if in.add("", buf[:n]) == nil {
				break
			}
			select {
			case <-in.space:
			case <-ctx.Done():
				return nil
			}
		}
		switch {
		case err == io.EOF:
			in.finish()
			return nil
		case err != nil:
			in.finish()
			return fmt.Errorf("read input: %w", err)
		case ctx.Err() != nil:
			return nil
		}
	}
}

// signal puts a token into a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
