package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"corun/runner/sandbox"
)

const (
	// buildWithin bounds one building of a box, which takes milliseconds.
	buildWithin = 10 * time.Second
	// destroyWithin bounds the end of a box.
	destroyWithin = 5 * time.Second
	// refillPause lets the program that a box was taken for begin before its
	// replacement is built: both take processor time, and somebody waits for the
	// program.
	refillPause = 20 * time.Millisecond
	// Pauses between failed attempts to build: each is twice the former.
	firstBackoff = 100 * time.Millisecond
	mostBackoff  = 10 * time.Second
)

// errPoolClosed says that no box is to be had any more.
var errPoolClosed = errors.New("the pool is closed")

// pool keeps boxes of one kind ready: built, filtered and waiting for their one
// command. One goroutine fills it; one per ready box watches that it lives.
//
// A kind is what a box was made with. There is one now, which serves every
// language; runtimes that wait already loaded will each be a pool of their own
// kind with its own build function, beside this one.
type pool struct {
	// Static after open.
	size  int
	build func(context.Context) (*sandbox.Box, error)
	log   *slog.Logger
	// refill holds a token when a box was taken or died.
	refill chan struct{}
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	owned  sync.WaitGroup

	mu      sync.Mutex // guards below
	ready   []*readyBox
	closed  bool
	failure error // of the last attempt to build, nil when it went well
	cold    int64 // boxes that were built because none was ready
	died    int64 // boxes that died while they waited
}

// readyBox is a box in the pool.
type readyBox struct {
	box   *sandbox.Box
	taken chan struct{} // closed when it left the pool
}

// openPool starts to fill a pool. close ends it.
func openPool(size int, build func(context.Context) (*sandbox.Box, error), log *slog.Logger) *pool {
	p := &pool{size: size, build: build, log: log, refill: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.owned.Add(1)
	go p.fill()
	return p
}

// take gives a box that is alive: one that waits, the oldest first, or one
// built at once when none does. The caller destroys it.
func (p *pool) take(ctx context.Context) (*sandbox.Box, error) {
	if box := p.pop(); box != nil {
		return box, nil
	}
	if p.ctx.Err() != nil {
		return nil, errPoolClosed
	}
	p.mu.Lock()
	p.cold++
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, buildWithin)
	defer cancel()
	return p.build(ctx)
}

func (p *pool) pop() *sandbox.Box {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) > 0 {
		next := p.ready[0]
		p.ready = p.ready[1:]
		close(next.taken)
		signal(p.refill)
		select {
		case <-next.box.Exited():
			p.died++
			p.discard(next.box) // its watcher has not noticed yet
		default:
			return next.box
		}
	}
	return nil
}

// fill builds boxes one after another until there are enough, and again
// whenever one has left.
func (p *pool) fill() {
	defer p.owned.Done()
	backoff := firstBackoff
	for {
		if p.missing() == 0 {
			select {
			case <-p.refill:
				p.rest(refillPause)
				continue
			case <-p.ctx.Done():
				return
			}
		}
		err := p.addOne()
		if p.ctx.Err() != nil {
			return
		}
		p.note(err)
		if err == nil {
			backoff = firstBackoff
			continue
		}
		p.log.Error("build box ahead", "error", err, "retry_in", backoff)
		p.rest(backoff)
		backoff = min(2*backoff, mostBackoff)
	}
}

// rest waits, or until the pool is closed.
func (p *pool) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}

func (p *pool) addOne() error {
	ctx, cancel := context.WithTimeout(p.ctx, buildWithin)
	defer cancel()
	box, err := p.build(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.discard(box)
		return errPoolClosed
	}
	next := &readyBox{box, make(chan struct{})}
	p.ready = append(p.ready, next)
	p.owned.Add(1)
	go p.watch(next)
	return nil
}

// watch replaces a box that dies while it waits.
func (p *pool) watch(r *readyBox) {
	defer p.owned.Done()
	select {
	case <-r.taken:
		return
	case <-r.box.Exited():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.ready {
		if other == r {
			p.ready = append(p.ready[:i:i], p.ready[i+1:]...)
			p.died++
			p.log.Warn("a waiting box died; it is replaced")
			p.discard(r.box)
			signal(p.refill)
			return
		}
	}
}

// discard destroys a box in the background. mu is held, and the pool's
// goroutine or a watcher's is counted or closed is false, so that close waits.
func (p *pool) discard(box *sandbox.Box) {
	p.owned.Add(1)
	go func() {
		defer p.owned.Done()
		if err := destroy(box); err != nil {
			p.log.Error("destroy box", "error", err)
		}
	}()
}

func destroy(box *sandbox.Box) error {
	ctx, cancel := context.WithTimeout(context.Background(), destroyWithin)
	defer cancel()
	return box.Destroy(ctx)
}

func (p *pool) missing() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.size-len(p.ready))
}

func (p *pool) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
}

// state tells how many boxes wait and why the last could not be built.
func (p *pool) state() (ready int, cold int64, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready), p.cold, p.failure
}

// close destroys the boxes that wait and ends every goroutine of the pool.
func (p *pool) close() error {
	p.mu.Lock()
	boxes := p.ready
	p.ready, p.closed = nil, true
	for _, r := range boxes {
		close(r.taken)
	}
	p.mu.Unlock()
	p.cancel()
	errs := make([]error, len(boxes))
	var all sync.WaitGroup
	for i, r := range boxes {
		all.Go(func() { errs[i] = destroy(r.box) })
	}
	all.Wait()
	p.owned.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("destroy waiting boxes: %w", err)
	}
	return nil
}
