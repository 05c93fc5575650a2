package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"corun/runner"
)

// begun is a call whose body has come in part.
type begun struct {
	t    testing.TB
	conn net.Conn
}

// begin makes a call from an address, of which sent is the first part of a body of n bytes.
func (s *site) begin(path, from, sent string, n int) *begun {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	must(s.t, conn.SetDeadline(time.Now().Add(soon)))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, from, n, sent)
	must(s.t, err)
	return &begun{s.t, conn}
}

// answer gives the answer, and whether the connection was closed after it.
func (b *begun) answer() (res *http.Response, p problem, closed bool) {
	b.t.Helper()
	in := bufio.NewReader(b.conn)
	res, err := http.ReadResponse(in, nil)
	must(b.t, err)
	data, err := io.ReadAll(res.Body)
	must(b.t, err)
	if res.Header.Get("Content-Type") == "application/problem+json" {
		must(b.t, json.Unmarshal(data, &p))
	}
	if res.Close {
		_, err = in.ReadByte()
	}
	return res, p, res.Close && err != nil
}

// holds waits until what is held is as much.
func (b *budget) holds(t *testing.T, want int64) {
	t.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		held, callers := b.held, len(b.callers)
		b.mu.Unlock()
		if held == want && (held > 0 || callers == 0) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of %d callers are held, want %d", held, callers, want)
		}
	}
}

// Bodies that have begun to come take a bounded amount of memory: of all together, and of one
// address.
func TestBodiesAreBounded(t *testing.T) {
	s := newSite(t, func(c *Config) { c.TrustProxy = true })
	bodies := s.Config.Handler.(*Server).bodies
	part := `{"language":"` + strings.Repeat("x", 300<<10)
	for _, path := range []string{"/api/v1/rooms", "/api/v2/piston/execute"} {
		t.Run(path, func(t *testing.T) {
			refused := func(c *begun, want int) {
				t.Helper()
				res, p, closed := c.answer()
				if res.StatusCode != want || p.Status != want || res.Header.Get("Retry-After") != "5" || !closed {
					t.Errorf("%d %+v %v, closed: %v; want %d", res.StatusCode, p, res.Header, closed, want)
				}
			}
			bodies.mu.Lock()
			bodies.most, bodies.share = 1000<<10, 400<<10
			bodies.mu.Unlock()
			n := int64(len(part))
			first := s.begin(path, "192.0.2.1", part, 8<<20)
			bodies.holds(t, n)
			refused(s.begin(path, "192.0.2.1", part, 8<<20), 429)
			bodies.holds(t, n)
			s.begin(path, "192.0.2.2", part, 8<<20)
			bodies.holds(t, 2*n)
			s.begin(path, "127.0.0.1", part, 8<<20) // has no share
			bodies.holds(t, 3*n)
			refused(s.begin(path, "127.0.0.1", part, 8<<20), 503)
			refused(s.begin(path, "192.0.2.3", part, 8<<20), 503)
			bodies.holds(t, 3*n)
			small := s.begin(path, "192.0.2.3", `{"x":1}`, 7) // there is room for it
			if res, p, _ := small.answer(); res.StatusCode != 400 || p.Field != "x" {
				t.Errorf("a small one: %d %+v", res.StatusCode, p)
			}
			// It is counted until the call is over.
			bodies.mu.Lock()
			bodies.most, bodies.share = 16<<20, 16<<20
			bodies.mu.Unlock()
			_, err := io.WriteString(first.conn, strings.Repeat(" ", 8<<20-len(part)))
			must(t, err)
			if _, p, _ := first.answer(); p.Status != 400 {
				t.Errorf("a string without an end: %+v", p)
			}
			bodies.holds(t, 2*n)
			s.CloseClientConnections()
			bodies.holds(t, 0)
		})
	}
}

// A body is not read before its caller may have something run.
func TestQuotaComesBeforeTheBody(t *testing.T) {
	var run *runner.Runner
	s := newSite(t, func(c *Config) { run, c.TrustProxy = c.Runner, true })
	a := s.room(`{"language":"bash"}`)
	const from = "192.0.2.9"
	for range 1000 { // faster than the quota comes back
		_, err := run.Execute(t.Context(), runner.ExecuteRequest{Language: "bash", Files: []runner.File{{Path: "main.sh"}}, Stdin: make([]string, 100), IP: from})
		if err != nil {
			break
		}
	}
	if err := run.Admits(from); err == nil {
		t.Fatal("the quota is not used up")
	}
	for range 3 {
		res, p, closed := s.begin("/api/v1/execute", from, "", 8<<20).answer()
		if res.StatusCode != 429 || !strings.Contains(p.Message, "60 a minute") || res.Header.Get("Retry-After") == "" || !closed {
			t.Errorf("%d %+v %v", res.StatusCode, p, res.Header)
		}
	}
	if status, _, data := s.call("POST", "/api/v1/rooms/"+a.ID+"/runs", a.Tokens["guest"], "{", "X-Forwarded-For", from); status != 429 {
		t.Errorf("a run: %d %s", status, data)
	}
	if status, _, data := s.call("POST", "/api/v1/execute", "", "{", "X-Forwarded-For", "192.0.2.10"); status != 400 {
		t.Errorf("of another address: %d %s", status, data)
	}
}

func TestSlowBodies(t *testing.T) {
	s := newSite(t)
	bodies := s.Config.Handler.(*Server).bodies
	bodies.slack = 300 * time.Millisecond
	res, p, closed := s.begin("/api/v1/execute", "", `{"language":`, 1<<20).answer()
	if res.StatusCode != 408 || !strings.Contains(p.Detail, "too slowly") || !closed {
		t.Errorf("%d %+v, closed: %v", res.StatusCode, p, closed)
	}
	bodies.holds(t, 0)
	// The pace is no deadline of what goes on when all has come.
	if a := s.executed(`{"language":"bash","version":"*","files":[{"content":"sleep 1; echo out"}]}`); a.Run.Stdout != "out\n" {
		t.Errorf("%+v", a)
	}
	// Who sends as fast as it must has more time.
	began := time.Now()
	if got := bodies.pace(began, 10*leastSpeed).Sub(began); got != 10*time.Second+bodies.slack {
		t.Errorf("ten seconds' worth may take %v", got)
	}
}

// Messages on /live count as well.
func TestMessagesAreBounded(t *testing.T) {
	s := newSite(t)
	bodies := s.Config.Handler.(*Server).bodies
	a := s.room(`{}`)
	p, _ := s.join(a, a.Tokens["guest"], "Ann")
	bodies.most = 100 << 10
	half, err := p.ws.NextWriter(websocket.TextMessage)
	must(t, err)
	_, err = half.Write([]byte(strings.Repeat(" ", 200<<10)))
	must(t, err)
	if code := p.closed(); code != websocket.CloseTryAgainLater {
		t.Errorf("it was closed with %d", code)
	}
	bodies.holds(t, 0)
}
