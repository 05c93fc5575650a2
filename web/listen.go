package web

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// crowd counts what is open, in all and of each address. Addresses of this machine have no
// share, as in admission.
type crowd struct {
	most, share int

	mu      sync.Mutex // guards below
	open    int
	callers map[string]int
}

func (c *crowd) enter(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.most || (!isLocal(address) && c.callers[address] >= c.share) {
		return false
	}
	c.open++
	c.callers[address]++
	return true
}

func (c *crowd) leave(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.callers[address]--; c.callers[address] == 0 {
		delete(c.callers, address)
	}
}

const (
	// plainConnections is how many connections there may be that are no web sockets.
	plainConnections = 10_000
	// maxReserve is how many descriptors at most are kept for runs, the store and the
	// launcher: a quarter, where there are few.
	maxReserve = 4096
	// connectionsPerSocket is how many connections of an address go with each web socket it
	// may have: browsers keep some for a while.
	connectionsPerSocket = 4
)

// newCrowd bounds connections by the descriptors that there may be. No address has more than
// a quarter.
func newCrowd(l Limits, descriptors uint64) *crowd {
	free := descriptors - min(descriptors/4, maxReserve)
	most := int(min(free, uint64(l.Sockets+plainConnections)))
	return &crowd{most: most, share: min(connectionsPerSocket*l.SocketsPerAddress, max(most/4, 1)), callers: make(map[string]int)}
}

// descriptors is how many this process may have: Go has raised it as far as it may.
func descriptors() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return l.Cur
}

const (
	// newAtOnce is how many connections are let in before one of them has been answered. Each
	// has a goroutine that wants a processor at once, and Go's scheduler takes them in turn: a
	// thousand that come together would stand before everybody's keystrokes.
	newAtOnce = 16
	// newFor is how long a connection counts as new at most: one that asks for nothing is not
	// to keep others out.
	newFor = 5 * time.Millisecond
)

// Limit gives a listener that lets connections in a few at a time, and closes at once what is
// too much: a runner without descriptors can run nothing. Behind a proxy all connections are
// the proxy's, and requests are counted by address instead.
func (s *Server) Limit(l net.Listener) net.Listener {
	return &limited{Listener: l, server: s, fresh: make(chan struct{}, newAtOnce), newFor: newFor}
}

type limited struct {
	net.Listener
	server *Server
	fresh  chan struct{} // holds one for each connection that is new
	newFor time.Duration
}

func (l *limited) Accept() (net.Conn, error) {
	l.fresh <- struct{}{} // waits newFor at most
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.fresh
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			<-l.fresh
			return conn, nil
		}
		address := "127.0.0.1" // as good as the proxy's
		if peer, ok := tcp.RemoteAddr().(*net.TCPAddr); ok && !l.server.cfg.TrustProxy {
			address = whose(peer.IP.String())
		}
		if !l.server.connections.enter(address) {
			_ = tcp.SetLinger(0) // nothing of it is to stay
			_ = tcp.Close()
			continue
		}
		isNew := time.AfterFunc(l.newFor, func() { <-l.fresh })
		return &countedConn{TCPConn: tcp, crowd: l.server.connections, address: address, fresh: l.fresh, isNew: isNew}, nil
	}
}

// countedConn is all that a connection is, and is counted out when it is closed. It is new
// until something is written.
type countedConn struct {
	*net.TCPConn
	crowd   *crowd
	address string
	once    sync.Once
	fresh   chan struct{}
	isNew   *time.Timer // runs as long as it is
}

func (c *countedConn) settle() {
	if c.isNew.Stop() {
		<-c.fresh
	}
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.settle()
	return c.TCPConn.Write(p)
}

func (c *countedConn) Close() error {
	c.settle()
	err := c.TCPConn.Close()
	c.once.Do(func() { c.crowd.leave(c.address) })
	return err
}

// counting counts requests behind a proxy by the address that it gives.
func (s *Server) counting(next http.Handler) http.Handler {
	if !s.cfg.TrustProxy {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address := s.remoteIP(r)
		if !s.requests.enter(address) {
			p := newProblem(http.StatusTooManyRequests, "your address has %d requests open, which is all it may: try again later", s.requests.share)
			p.retryAfter, p.closes = 10*time.Second, true
			writeProblem(w, p)
			return
		}
		defer s.requests.leave(address)
		next.ServeHTTP(w, r)
	})
}
