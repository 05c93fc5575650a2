package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Box is one sandbox: ready after Build, used by one Start, gone after Destroy.
// Its methods are safe for concurrent use.
type Box struct {
	// Static after Build.
	ends
	id   string
	uid  int // init's on the host; the program's is the next
	keep keeper

	ended   chan struct{} // closed when the program has ended
	watch   sync.WaitGroup
	destroy sync.Once

	mu      sync.Mutex // guards below
	warmed  bool       // a runtime was started
	started bool
	process *Process      // once it runs, or its runtime
	before  time.Duration // processor time of the runtime until it was ready
	exit    *Exit         // of the program
	refused int           // forks, where a guest has said so
	gone    error         // from Destroy
}

// ends are a box's descriptors on the host. Who has them talks to the box, and
// needs no privilege for that.
type ends struct {
	control *os.File // to init
	command *os.File // to the stub
	master  *os.File // of the terminal
}

func (e ends) close() {
	for _, f := range []*os.File{e.control, e.command, e.master} {
		if f != nil {
			_ = f.Close() // nothing is buffered
		}
	}
}

// keeper has what takes root: the box's first process and its cgroup. They are
// this process's own (custody) or another's (remote).
type keeper interface {
	usage() (Usage, error)
	// weigh has the box stand back behind others, or not, where processors are short.
	weigh(background bool) error
	kill() error
	exited() <-chan struct{} // closed when nothing runs in the box any more
	oom() <-chan struct{}    // closed when the kernel killed for lack of memory
	// collect kills the box, waits until it is empty and reads what its program left,
	// as readCollected expects it.
	collect(ctx context.Context, limits CollectLimits) (*os.File, error)
	// remove kills the box, waits until it is empty and removes all of it.
	remove(ctx context.Context) error
}

// Exit is how a program ended.
type Exit struct {
	Code   int            // when Signal is 0
	Signal syscall.Signal // that killed it, or 0
}

var (
	// ErrUsed says that a box has had its command.
	ErrUsed = errors.New("a box takes one command")
	// ErrBoxGone says that the box ended before what was asked.
	ErrBoxGone = errors.New("the box is gone")
)

// Build makes a box and returns once it has said, from inside, that it is ready.
// Whatever goes wrong, also the end of ctx, leaves nothing behind.
func (l *Launcher) Build(ctx context.Context, spec Spec) (*Box, error) {
	b := &Box{ended: make(chan struct{})}
	var err error
	if l.remote != nil {
		b.id, b.uid, b.ends, b.keep, err = l.remote.build(ctx, spec)
	} else {
		var c *custody
		if c, b.ends, err = l.make(ctx, spec); err == nil {
			b.id, b.uid, b.keep = c.id, c.uid, c
		}
	}
	if err != nil {
		return nil, fmt.Errorf("build box: %w", err)
	}
	b.watch.Add(1)
	go b.watchControl() // ends with init
	return b, nil
}

// awaitStub waits for a report on the command socket.
func (e ends) awaitStub() error {
	buf := make([]byte, reportSize)
	n, err := io.ReadFull(e.command, buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the box: %w", err)
	}
	return checkReady(buf[:n])
}

func checkReady(b []byte) error {
	if len(b) != reportSize {
		return fmt.Errorf("%w: its first process ended", ErrBoxGone)
	}
	r := decodeReport(b)
	if r.kind != reportReady {
		return fmt.Errorf("%s: %w", r.step, syscall.Errno(r.value))
	}
	return nil
}

// hangUp ends all waiting for the other side of sockets.
func hangUp(sockets ...*os.File) {
	past := time.Unix(1, 0)
	for _, f := range sockets {
		_ = f.SetDeadline(past) // fails only on a closed one
	}
}

// watchControl reads init's reports until init is gone.
func (b *Box) watchControl() {
	defer b.watch.Done()
	defer close(b.ended)
	buf := make([]byte, reportSize)
	for {
		if _, err := io.ReadFull(b.control, buf); err != nil {
			return
		}
		r := decodeReport(buf)
		if r.kind == reportRefused {
			b.mu.Lock()
			b.refused = r.value
			b.mu.Unlock()
		}
		if r.kind != reportExited {
			continue
		}
		status := syscall.WaitStatus(r.value)
		exit := Exit{}
		if status.Signaled() {
			exit.Signal = status.Signal()
		} else {
			exit.Code = status.ExitStatus()
		}
		b.mu.Lock()
		b.exit = &exit
		b.mu.Unlock()
		return
	}
}

// Usage reads what the box has used so far; after Destroy, what it had used then.
// Processor time of a runtime that was started ahead is left out.
func (b *Box) Usage() (Usage, error) {
	u, err := b.keep.usage()
	if err != nil {
		return u, fmt.Errorf("read usage of %s: %w", b.id, err)
	}
	b.mu.Lock()
	u.ForksRefused += b.refused
	u.CPU = max(0, u.CPU-b.before)
	b.mu.Unlock()
	return u, nil
}

// OOM is closed when the kernel killed for lack of memory; the box then dies as
// a whole.
func (b *Box) OOM() <-chan struct{} { return b.keep.oom() }

// Ended is closed when the program, or a runtime that waits for one, has ended.
func (b *Box) Ended() <-chan struct{} { return b.ended }

// Exited is closed when nothing runs in the box any more, whether that was
// wanted or not.
func (b *Box) Exited() <-chan struct{} { return b.keep.exited() }

// Kill ends everything in the box, at once. What the program wrote before can
// still be read. It does not wait; Exited does.
func (b *Box) Kill() error {
	if err := b.keep.kill(); err != nil {
		return fmt.Errorf("kill %s: %w", b.id, err)
	}
	return nil
}

// Destroy kills the box, waits until it is empty and removes all of it. It is
// idempotent; the error says what could not be removed before ctx ended. Readers
// of the program's output must have ended: the pipes and the terminal are closed.
func (b *Box) Destroy(ctx context.Context) error {
	b.destroy.Do(func() {
		err := b.tearDown(ctx)
		b.mu.Lock()
		b.gone = err
		b.mu.Unlock()
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone
}

func (b *Box) tearDown(ctx context.Context) error {
	err := b.keep.remove(ctx)
	b.ends.close()
	b.mu.Lock()
	process := b.process
	b.mu.Unlock()
	if process != nil {
		process.closePipes()
	}
	b.watch.Wait()
	if err != nil {
		return fmt.Errorf("destroy %s: %w", b.id, err)
	}
	return nil
}

// appendString writes a string as the stub reads it, with its terminating zero.
func appendString(b []byte, s string) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(len(s)+1))
	return append(append(b, s...), 0)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}
