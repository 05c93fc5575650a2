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
	// warmWithin bounds one with the start of a runtime, in the background of a busy
	// machine.
	warmWithin = 2 * time.Minute
	// destroyWithin bounds the end of a box.
	destroyWithin = 5 * time.Second
	// refillPause lets the program that a box was taken for begin before its
	// replacement is built: both take processor time, and somebody waits for the
	// program.
	refillPause = 20 * time.Millisecond
	// Pauses between failed attempts to build: each is twice the former.
	firstBackoff = 100 * time.Millisecond
	mostBackoff  = time.Minute
)

// errPoolClosed says that no box is to be had any more.
var errPoolClosed = errors.New("the pool is closed")

// pool keeps boxes of one kind ready: built, filtered and waiting for their one
// command, maybe with a runtime that was started ahead. One goroutine fills it to the
// size that its keeper (pools) wants; one per ready box watches that it lives.
type pool struct {
	// Static after open.
	kind  kind
	build func(context.Context) (*sandbox.Box, error)
	// within bounds one building.
	within time.Duration
	// turns holds as many tokens as boxes may be built at once; nil for no bound.
	turns chan struct{}
	log   *slog.Logger
	// wake holds a token when a box was taken or died, or another size is wanted.
	wake   chan struct{}
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	owned  sync.WaitGroup

	mu     sync.Mutex // guards below
	size   int        // how many are wanted
	ready  []*readyBox
	closed bool
	PoolStats
}

// PoolStats is what became of the boxes of one kind, or of all that have one name.
type PoolStats struct {
	Language string // whose runtime was started in them; "" for none
	Mode     string // of that runtime; of others what they are for, run or compile
	Wanted   int
	Ready    int
	Building int
	Taken    int64
	// Missed counts how often one was wanted and none was ready.
	Missed int64
	Died   int64 // while they waited
	Built  int64
	// BuildTime is how long the last one took; BuildTimes all together.
	BuildTime, BuildTimes time.Duration
	// Bytes is what one had of memory when it was ready, at most.
	Bytes int64
	// Failure of the last attempt to build, nil when it went well.
	Failure error
}

// readyBox is a box in the pool.
type readyBox struct {
	box   *sandbox.Box
	taken chan struct{} // closed when it left the pool
}

// openPool starts to fill a pool of no size, as yet. close ends it.
func openPool(k kind, build func(context.Context) (*sandbox.Box, error), turns chan struct{}, log *slog.Logger) *pool {
	p := &pool{kind: k, build: build, within: buildWithin, turns: turns, log: log, wake: make(chan struct{}, 1)}
	if k.language != "" {
		p.within = warmWithin
	}
	p.Language, p.Mode = k.language, k.mode
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.owned.Add(1)
	go p.fill()
	return p
}

// take gives a box that is alive, the oldest that waits, or nil. The caller destroys it.
func (p *pool) take() *sandbox.Box {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) > 0 {
		next := p.leave()
		signal(p.wake)
		if next.alive() {
			p.Taken++
			return next.box
		}
		p.Died++
		p.discard(next.box) // its watcher has not noticed yet
	}
	p.Missed++
	return nil
}

// leave takes the oldest out of the pool. mu is held.
func (p *pool) leave() *readyBox {
	next := p.ready[0]
	p.ready = p.ready[1:]
	close(next.taken)
	return next
}

func (r *readyBox) alive() bool {
	select {
	case <-r.box.Exited():
		return false
	case <-r.box.Ended():
		return false
	default:
		return true
	}
}

// resize says how many boxes should wait.
func (p *pool) resize(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size != size {
		p.size = size
		signal(p.wake)
	}
}

// fill builds boxes one after another until there are enough, and again
// whenever one has left. Of too many it gives up the oldest.
func (p *pool) fill() {
	defer p.owned.Done()
	backoff := firstBackoff
	for {
		if !p.short() {
			select {
			case <-p.wake:
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
		if err == nil {
			backoff = firstBackoff
			continue
		}
		p.log.Error("build box ahead", "language", p.Language, "mode", p.Mode, "error", err, "retry_in", backoff)
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

// short tells whether boxes are missing.
func (p *pool) short() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) > p.size && !p.closed {
		p.discard(p.leave().box)
	}
	return len(p.ready) < p.size
}

func (p *pool) addOne() (err error) {
	if p.turns != nil {
		select {
		case <-p.turns:
			defer func() { p.turns <- struct{}{} }()
		case <-p.ctx.Done():
			return errPoolClosed
		}
	}
	p.count(func() { p.Building++ })
	defer p.count(func() { p.Building--; p.Failure = err })
	ctx, cancel := context.WithTimeout(p.ctx, p.within)
	defer cancel()
	began := time.Now()
	box, err := p.build(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	bytes := p.stats().Bytes
	if bytes == 0 { // one is much like another
		usage, err := box.Usage()
		if err != nil {
			return errors.Join(err, destroy(box))
		}
		bytes = max(usage.MemoryPeak, 1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.discard(box)
		return errPoolClosed
	}
	p.Built++
	p.BuildTime, p.BuildTimes, p.Bytes = took, p.BuildTimes+took, bytes
	next := &readyBox{box, make(chan struct{})}
	p.ready = append(p.ready, next)
	p.owned.Add(1)
	go p.watch(next)
	return nil
}

func (p *pool) count(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// watch replaces a box that dies while it waits, or whose runtime does.
func (p *pool) watch(r *readyBox) {
	defer p.owned.Done()
	select {
	case <-r.taken:
		return
	case <-r.box.Exited():
	case <-r.box.Ended():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.ready {
		if other == r {
			p.ready = append(p.ready[:i:i], p.ready[i+1:]...)
			p.Died++
			p.log.Warn("a waiting box died; it is replaced", "language", p.Language, "mode", p.Mode)
			p.discard(r.box)
			signal(p.wake)
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

// stats tells what there is and was.
func (p *pool) stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.PoolStats
	s.Ready, s.Wanted = len(p.ready), p.size
	return s
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
