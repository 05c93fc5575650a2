package runner

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"corun/runner/sandbox"
)

// kind is what boxes were made with: those of one kind can stand for each other.
type kind struct {
	seccomp string // the profile's name
	limits  sandbox.Limits
	// language is whose runtime was started in it, with the streams of mode. Without one
	// mode says what the box is for.
	language, mode string
}

const (
	// demandOver is the time over which arrivals are counted, with less weight to older
	// ones.
	demandOver = 30 * time.Second
	// headroom is how many times the arrivals in one rebuilding are kept ready: they do
	// not come evenly.
	headroom = 3
	// mostReady is the most of one kind: more than that nobody starts at once.
	mostReady = 128
	// governEvery is how often sizes follow a demand that falls.
	governEvery = 2 * time.Second
	// Guesses of what a box has of memory, before there was one.
	guessPlain, guessWarm = 2 << 20, 48 << 20
)

// pools are the pools of all kinds. How many boxes of each wait follows how often they
// are asked for and how long it takes to build one, within one budget of memory for all.
type pools struct {
	// Static after open.
	budget int64 // bytes
	build  func(context.Context, kind) (*sandbox.Box, error)
	turns  chan struct{} // to start a runtime, which takes a processor for a while
	log    *slog.Logger
	now    func() time.Time
	done   chan struct{} // closed by close
	owned  sync.WaitGroup

	mu     sync.Mutex // guards below; a pool's own may be taken while it is held
	kinds  map[kind]*demand
	closed bool
	cold   int64 // boxes that were built while somebody waited
}

// demand is for the boxes of one pool.
type demand struct {
	pool  *pool
	least int // that wait when nobody asks
	rate  float64
	at    time.Time // when rate was right
}

func openPools(budget int64, build func(context.Context, kind) (*sandbox.Box, error), log *slog.Logger, now func() time.Time) *pools {
	ps := &pools{budget: budget, build: build, log: log, now: now, done: make(chan struct{}), kinds: make(map[kind]*demand)}
	ps.turns = make(chan struct{}, runtime.NumCPU())
	for range cap(ps.turns) {
		ps.turns <- struct{}{}
	}
	ps.owned.Go(ps.govern)
	return ps
}

// keep has at least so many boxes of a kind wait from now on, if there is memory.
func (ps *pools) keep(k kind, least int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed || ps.kinds[k] != nil {
		return
	}
	turns := ps.turns
	if k.language == "" {
		turns = nil
	}
	build := func(ctx context.Context) (*sandbox.Box, error) { return ps.build(ctx, k) }
	ps.kinds[k] = &demand{pool: openPool(k, build, turns, ps.log), least: least, at: ps.now()}
	ps.resize()
}

// ready gives a box of the kind that waits, or nil.
func (ps *pools) ready(k kind) *sandbox.Box {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	d := ps.kinds[k]
	if d == nil || ps.closed {
		return nil
	}
	d.arrive(ps.now())
	box := d.pool.take()
	ps.resize()
	return box
}

// take gives a box of the kind: one that waits, or one that is built at once. The caller
// destroys it.
func (ps *pools) take(ctx context.Context, k kind) (*sandbox.Box, error) {
	if box := ps.ready(k); box != nil {
		return box, nil
	}
	ps.mu.Lock()
	closed := ps.closed
	ps.cold++
	ps.mu.Unlock()
	if closed {
		return nil, errPoolClosed
	}
	ctx, cancel := context.WithTimeout(ctx, buildWithin)
	defer cancel()
	return ps.build(ctx, k)
}

// arrive counts that somebody asked.
func (d *demand) arrive(now time.Time) {
	d.rate = d.decayed(now) + 1/demandOver.Seconds()
	d.at = now
}

// decayed is the rate of arrivals now, a second.
func (d *demand) decayed(now time.Time) float64 {
	return d.rate * math.Exp(-max(0, now.Sub(d.at).Seconds())/demandOver.Seconds())
}

// govern lets sizes fall with the demand.
func (ps *pools) govern() {
	tick := time.NewTicker(governEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ps.mu.Lock()
			ps.resize()
			ps.mu.Unlock()
		case <-ps.done:
			return
		}
	}
}

// want is how many boxes of a kind should wait, and what they cost.
type want struct {
	boxes int
	least int
	bytes int64 // each
	rate  float64
}

// resize gives every pool its size. mu is held.
func (ps *pools) resize() {
	now := ps.now()
	all := make([]*demand, 0, len(ps.kinds))
	wants := make([]want, 0, len(ps.kinds))
	for k, d := range ps.kinds {
		s := d.pool.stats()
		w := want{least: d.least, bytes: s.Bytes, rate: d.decayed(now)}
		if w.bytes == 0 {
			if w.bytes = guessPlain; k.language != "" {
				w.bytes = guessWarm
			}
		}
		// How many are asked for until one is there again.
		meanwhile := w.rate * (s.BuildTime + refillPause).Seconds()
		w.boxes = d.least
		if meanwhile > 0.01 { // one arrival in a long time is no reason for another box
			w.boxes = min(d.least+int(math.Ceil(meanwhile*headroom)), mostReady)
		}
		all, wants = append(all, d), append(wants, w)
	}
	for i, n := range share(ps.budget, wants) {
		all[i].pool.resize(n)
	}
}

// share divides the memory: a box for each kind, then another, in rounds; what is asked
// for most comes first in each, and then what costs least. What everybody should have in
// any case comes before what demand adds.
func share(budget int64, wants []want) []int {
	order := make([]int, len(wants))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(wants[b].rate, wants[a].rate), cmp.Compare(wants[a].bytes, wants[b].bytes), cmp.Compare(a, b))
	})
	sizes := make([]int, len(wants))
	for _, most := range []func(want) int{
		func(w want) int { return min(w.least, w.boxes) },
		func(w want) int { return w.boxes },
	} {
		for again := true; again; {
			again = false
			for _, i := range order {
				if sizes[i] < most(wants[i]) && wants[i].bytes <= budget {
					sizes[i]++
					budget -= wants[i].bytes
					again = true
				}
			}
		}
	}
	return sizes
}

// stats tells of all pools, by language and mode, and how many boxes were built while
// somebody waited.
func (ps *pools) stats() (all []PoolStats, cold int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, d := range ps.kinds {
		all = append(all, d.pool.stats())
	}
	slices.SortFunc(all, func(a, b PoolStats) int {
		return cmp.Or(cmp.Compare(a.Language, b.Language), cmp.Compare(a.Mode, b.Mode))
	})
	return merged(all), ps.cold
}

// merged adds up kinds that people know by one name: those without a runtime, which differ
// in limits and system calls. all is sorted by name.
func merged(all []PoolStats) []PoolStats {
	var out []PoolStats
	for _, p := range all {
		if n := len(out); n == 0 || out[n-1].Language != p.Language || out[n-1].Mode != p.Mode {
			out = append(out, p)
			continue
		}
		sum := &out[len(out)-1]
		sum.Wanted, sum.Ready, sum.Building = sum.Wanted+p.Wanted, sum.Ready+p.Ready, sum.Building+p.Building
		sum.Taken, sum.Missed, sum.Died, sum.Built = sum.Taken+p.Taken, sum.Missed+p.Missed, sum.Died+p.Died, sum.Built+p.Built
		sum.BuildTimes += p.BuildTimes
		sum.BuildTime, sum.Bytes = max(sum.BuildTime, p.BuildTime), max(sum.Bytes, p.Bytes)
		if sum.Failure == nil {
			sum.Failure = p.Failure
		}
	}
	return out
}

// of tells of one kind's pool.
func (ps *pools) of(k kind) PoolStats {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if d := ps.kinds[k]; d != nil {
		return d.pool.stats()
	}
	return PoolStats{}
}

// close destroys all boxes that wait and ends every goroutine.
func (ps *pools) close() error {
	ps.mu.Lock()
	if ps.closed {
		ps.mu.Unlock()
		return nil
	}
	ps.closed = true
	var all []*pool
	for _, d := range ps.kinds {
		all = append(all, d.pool)
	}
	ps.mu.Unlock()
	close(ps.done)
	ps.owned.Wait()
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, p := range all {
		closing.Go(func() { errs[i] = p.close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}
