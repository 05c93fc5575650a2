package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what all callers together, and one address, may take of a server. A zero
// field means the default.
type Limits struct {
	// Sockets is how many web sockets may be open (default 50,000), and
	// SocketsPerAddress how many of one address (default 500).
	Sockets, SocketsPerAddress int
	// Handshakes is how many web sockets may be opened in a second (default 5,000), and
	// HandshakesPerAddress by one address (default 50; ten times as many at once).
	Handshakes, HandshakesPerAddress int
	// MessageBytes is the largest message on /sync (default 1 MiB).
	MessageBytes int
}

const (
	// joinsAtOnce is how many clients may be shown a document at the same time: of those
	// who all come back after a pause the others wait.
	joinsAtOnce = 64
	// maxCallers is how many addresses are remembered.
	maxCallers = 1 << 16
)

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value *int
		usual int
	}{{&l.Sockets, 50_000}, {&l.SocketsPerAddress, 500}, {&l.Handshakes, 5000}, {&l.HandshakesPerAddress, 50}, {&l.MessageBytes, 1 << 20}} {
		if *f.value == 0 {
			*f.value = f.usual
		}
	}
	return l
}

// admission counts web sockets in and out. Addresses of this machine are not counted one by
// one: they are programs of the operator's, or a proxy behind which everybody is.
type admission struct {
	limits     Limits
	handshakes *rate.Limiter
	joins      chan struct{} // holds one for each client that is joining

	mu      sync.Mutex // guards below
	open    int
	callers map[string]*caller
}

// caller is one address.
type caller struct {
	open       int
	handshakes *rate.Limiter
}

func newAdmission(l Limits) *admission {
	l = l.withDefaults()
	return &admission{
		limits: l, handshakes: rate.NewLimiter(rate.Limit(l.Handshakes), l.Handshakes),
		joins: make(chan struct{}, joinsAtOnce), callers: make(map[string]*caller),
	}
}

// enter counts a web socket of an address in; leave counts it out. The error is a problem
// with the time to wait.
func (a *admission) enter(address string) (leave func(), err error) {
	refuse := func(status int, wait time.Duration, format string, args ...any) (func(), error) {
		p := newProblem(status, format, args...)
		p.retryAfter = wait
		return nil, p
	}
	if !a.handshakes.Allow() {
		return refuse(http.StatusServiceUnavailable, time.Second, "too many connect at once: try again in a second")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= a.limits.Sockets {
		return refuse(http.StatusServiceUnavailable, 10*time.Second, "the server has all the %d connections it takes: try again later", a.limits.Sockets)
	}
	if isLocal(address) {
		a.open++
		return sync.OnceFunc(func() { a.leave("") }), nil
	}
	c, ok := a.callers[address]
	if !ok {
		if len(a.callers) >= maxCallers {
			a.sweep()
		}
		if len(a.callers) >= maxCallers {
			return refuse(http.StatusServiceUnavailable, 10*time.Second, "too many addresses connect at once: try again later")
		}
		c = &caller{handshakes: rate.NewLimiter(rate.Limit(a.limits.HandshakesPerAddress), 10*a.limits.HandshakesPerAddress)}
		a.callers[address] = c
	}
	if !c.handshakes.Allow() {
		return refuse(http.StatusTooManyRequests, time.Second, "your address opens connections too fast: at most %d a second", a.limits.HandshakesPerAddress)
	}
	if c.open >= a.limits.SocketsPerAddress {
		return refuse(http.StatusTooManyRequests, 10*time.Second, "your address has %d connections open, which is all it may", c.open)
	}
	c.open++
	a.open++
	return sync.OnceFunc(func() { a.leave(address) }), nil
}

func (a *admission) leave(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if c := a.callers[address]; c != nil {
		c.open--
	}
}

// sweep forgets addresses that have nothing open and have not come lately. mu is held.
func (a *admission) sweep() {
	for address, c := range a.callers {
		if c.open == 0 && c.handshakes.Tokens() >= float64(c.handshakes.Burst()) {
			delete(a.callers, address)
		}
	}
}

// join waits until one more client may be shown a document; done ends that.
func (a *admission) join(ctx context.Context) (done func(), err error) {
	select {
	case a.joins <- struct{}{}:
		return func() { <-a.joins }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
