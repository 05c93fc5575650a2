package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestCrowd(t *testing.T) {
	c := &crowd{most: 6, share: 2, callers: make(map[string]int)}
	enter := func(address string, want bool) {
		t.Helper()
		if c.enter(address) != want {
			t.Errorf("%s is let in: %v", address, !want)
		}
	}
	enter("192.0.2.1", true)
	enter("192.0.2.1", true)
	enter("192.0.2.1", false)
	enter("192.0.2.2", true)
	for range 3 { // of this machine's own there may be more
		enter("127.0.0.1", true)
	}
	enter("::1", false) // but not in all
	enter("192.0.2.3", false)
	c.leave("192.0.2.1")
	enter("192.0.2.1", true)
	for address, n := range map[string]int{"192.0.2.1": 2, "192.0.2.2": 1, "127.0.0.1": 3} {
		for range n {
			c.leave(address)
		}
	}
	if c.open != 0 || len(c.callers) != 0 {
		t.Errorf("%d of %v are open", c.open, c.callers)
	}
}

// Descriptors are left for what is no connection, and no address has most of the others.
func TestConnectionLimits(t *testing.T) {
	for _, tt := range []struct {
		descriptors uint64
		limits      Limits
		most, share int
	}{
		{1024, Limits{}, 768, 192},
		{20_000, Limits{}, 15_904, 2000},
		{1 << 20, Limits{}, 60_000, 2000},
		{^uint64(0), Limits{SocketsPerAddress: 5000}, 60_000, 15_000},
		{1 << 20, Limits{Sockets: 100, SocketsPerAddress: 10}, 10_100, 40},
	} {
		if c := newCrowd(tt.limits.withDefaults(), tt.descriptors); c.most != tt.most || c.share != tt.share {
			t.Errorf("with %d: %d, %d of an address; want %d and %d", tt.descriptors, c.most, c.share, tt.most, tt.share)
		}
	}
}

// Connections beyond the bound are closed at once, and count until they are closed, also as
// web sockets.
func TestConnectionsAreBounded(t *testing.T) {
	s := newSite(t)
	server := s.Config.Handler.(*Server)
	server.connections.most = 3
	front := httptest.NewUnstartedServer(server)
	front.Listener = server.Limit(front.Listener)
	front.Start()
	defer front.Close()
	dial := func() (net.Conn, bool) {
		t.Helper()
		conn, err := net.Dial("tcp", front.Listener.Addr().String())
		if errors.Is(err, syscall.ECONNRESET) { // closed before the dialer has looked
			return nil, false
		}
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(soon)))
		if _, err = fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return conn, false
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return conn, false
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return conn, true
	}
	again := func() net.Conn { // once the server has noticed that others have gone
		for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
			if conn, ok := dial(); ok {
				return conn
			}
		}
		t.Fatal("nobody is let in any more")
		return nil
	}
	a := s.room(`{}`)
	ws, _, err := websocket.DefaultDialer.Dial("ws"+front.URL[len("http"):]+"/sync/"+a.ID+"?token="+a.Tokens["guest"], nil)
	must(t, err)
	defer ws.Close()
	for ready := false; !ready; { // ends with the test's own time
		server.heart.mu.Lock()
		for c := range server.heart.sockets {
			_, half := c.socket.(interface{ CloseWrite() error })
			if _, raw := c.socket.(syscall.Conn); !raw || !half || c.raw == nil {
				t.Error("the socket is less than a TCP connection")
			}
			ready = true
		}
		server.heart.mu.Unlock()
	}
	first := again()
	again()
	if _, ok := dial(); ok {
		t.Error("a fourth is let in")
	}
	_ = first.Close()
	again()
	if _, ok := dial(); ok {
		t.Error("a fourth is let in when one has gone and one has come")
	}
	_ = ws.Close()
	again()
}

// Connections are let in a few at a time, and who asks for nothing keeps nobody out.
func TestConnectionsComeInTurn(t *testing.T) {
	server := newSite(t).Config.Handler.(*Server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	l := server.Limit(listener).(*limited)
	l.fresh, l.newFor = make(chan struct{}, 2), time.Hour
	for range 8 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		must(t, err)
		defer conn.Close()
	}
	accept := func() net.Conn {
		conn, err := l.Accept()
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	first, second := accept(), accept()
	third := make(chan net.Conn)
	go func() {
		conn, _ := l.Accept()
		third <- conn
	}()
	select {
	case <-third:
		t.Fatal("a third is let in before one was answered")
	case <-time.After(20 * time.Millisecond): // wrong code may pass, right code cannot fail
	}
	_, err = first.Write([]byte("x"))
	must(t, err)
	defer (<-third).Close()
	_ = second.Close()
	fourth := accept()
	for _, conn := range []net.Conn{first, second, fourth, fourth} { // each counts once
		_ = conn.Close()
	}
	if len(l.fresh) != 1 {
		t.Errorf("%d are new, want the third", len(l.fresh))
	}
	l.newFor = time.Millisecond
	for range 4 {
		accept()
	}
}

// Behind a proxy requests count, by the address that it gives.
func TestRequestsAreBoundedBehindAProxy(t *testing.T) {
	s := newSite(t, func(c *Config) { c.TrustProxy = true })
	server := s.Config.Handler.(*Server)
	server.requests.share = 2
	s.begin("/api/v1/execute", "192.0.2.1", "{", 100)
	s.begin("/api/v1/execute", "192.0.2.1", "{", 100)
	server.bodies.holds(t, 2)
	if status, header, data := s.call("GET", "/healthz", "", "", "X-Forwarded-For", "192.0.2.1"); status != 429 || header.Get("Retry-After") == "" {
		t.Errorf("a third: %d %s", status, data)
	}
	if status, _, data := s.call("GET", "/healthz", "", "", "X-Forwarded-For", "192.0.2.2"); status != 200 {
		t.Errorf("another address: %d %s", status, data)
	}
	s.CloseClientConnections()
	server.bodies.holds(t, 0)
}
