package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// budget bounds memory that callers have the server hold: of all together, and of each address,
// so that one does not have it all. Addresses of this machine have no share, as in admission.
type budget struct {
	what        string // in words
	most, share int64
	slack       time.Duration // see pace

	mu      sync.Mutex // guards below
	held    int64
	callers map[string]int64
	freed   chan struct{} // closed when there is more room; nil if nobody waits
	waiting *budget       // bounds what waits for its turn; nil where nothing does
}

const (
	// maxBodies is how much of the bodies of requests is held together: decoding makes a few
	// times as much of it, for a moment.
	maxBodies = 128 << 20
	// maxBodiesAddress is two of the largest.
	maxBodiesAddress = 2 * maxExecuteBody
	// leastSpeed is how fast a caller must send or read, in bytes a second, and paceSlack how
	// long it may do neither.
	leastSpeed = 128 << 10
	paceSlack  = 10 * time.Second
	// heldFor is when to try again: what is held is there for about as long.
	heldFor = 5 * time.Second
)

func newBudget(what string, most, share int64) *budget {
	return &budget{what: what, most: most, share: share, slack: paceSlack, callers: make(map[string]int64)}
}

// pace is until when n bytes and the next ones must have gone.
func (b *budget) pace(began time.Time, n int64) time.Time {
	return began.Add(b.slack + time.Duration(n)*time.Second/leastSpeed)
}

// take counts n bytes of an address in; give counts them out. The error is a problem.
func (b *budget) take(address string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	refuse := func(status int, format string, args ...any) error {
		p := newProblem(status, format, args...)
		p.retryAfter, p.closes = heldFor, true
		return p
	}
	switch {
	case b.held+n > b.most:
		return refuse(http.StatusServiceUnavailable, "the server holds all the %s it can, %d MiB: try again later", b.what, b.most>>20)
	case !isLocal(address) && b.callers[address]+n > b.share:
		return refuse(http.StatusTooManyRequests, "the server holds %s of your address with %d MiB, which is all it may: wait until some are done", b.what, b.share>>20)
	}
	b.held += n
	b.callers[address] += n
	return nil
}

// wait is take for what waits for its turn, but no longer than a caller may pause.
func (b *budget) wait(ctx context.Context, address string, n int64) error {
	err := b.take(address, n)
	if err == nil || b.waiting.take(address, n) != nil {
		return err
	}
	defer b.waiting.give(address, n)
	over := time.NewTimer(b.slack)
	defer over.Stop()
	for {
		b.mu.Lock()
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		if err = b.take(address, n); err == nil {
			return nil
		}
		select {
		case <-freed:
		case <-over.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) give(address string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.callers[address] -= n; b.callers[address] == 0 {
		delete(b.callers, address)
	}
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// isLocal tells an address of this machine.
func isLocal(address string) bool {
	ip := net.ParseIP(address)
	return ip != nil && ip.IsLoopback()
}

// counted is what somebody sends, as it arrives. It counts until release: most of it is kept
// until then, in one form or another.
type counted struct {
	src     io.Reader
	budget  *budget
	address string
	held    int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if n > 0 {
		if err := c.budget.take(c.address, int64(n)); err != nil {
			return 0, err
		}
		c.held += int64(n)
	}
	return n, err
}

func (c *counted) release() {
	if c.held > 0 {
		c.budget.give(c.address, c.held)
	}
}

// requestBody is a request's body, which must arrive at a certain pace.
type requestBody struct {
	counted
	io.Closer
	control *http.ResponseController
	began   time.Time
	err     error // the end, or why there is no more
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err // to set a deadline after the end would end the call
	}
	if b.began.IsZero() {
		b.began = time.Now()
	}
	_ = b.control.SetReadDeadline(b.budget.pace(b.began, b.held)) // fails for what is no connection
	n, err := b.counted.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p := newProblem(http.StatusRequestTimeout, "the body came too slowly: send at least %d KiB a second", leastSpeed>>10)
		p.closes, err = true, p
	}
	b.err = err
	return n, err
}

// withBody gives a request whose body is counted until done is called.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request) (_ *http.Request, done func()) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, func() {}
	}
	b := &requestBody{
		counted: counted{src: r.Body, budget: s.bodies, address: s.remoteIP(r)},
		Closer:  r.Body, control: http.NewResponseController(w),
	}
	// A copy: net/http looks at the body of its own.
	own := *r
	own.Body = b
	return &own, b.release
}
