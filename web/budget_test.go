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

// What is written piece by piece is what encoding/json makes of the whole.
func TestExecutedIsWrittenAsJSON(t *testing.T) {
	texts := [][]byte{nil, []byte("hi\n"), []byte("\"\\<&>\u2028\x00\"\"")}
	for _, unit := range []string{"ä", "€", "𝄞", "\xff", "\xe2\x82", "\xf0\x9f\x92", "\"", "\x80\x80\x80\x80"} {
		for shift := range 4 { // across the ends of pieces
			texts = append(texts, []byte(strings.Repeat("x", shift)+strings.Repeat(unit, textPiece/len(unit)+2)))
		}
	}
	for i, text := range texts {
		stage := runner.StageResult{
			Stdout: text, Stderr: texts[(i+1)%len(texts)], Output: text, Status: "exited", Message: "It <ended>.", Code: new(i),
			Artefacts: []runner.Artefact{{Path: "a\"b", Data: text}, {Path: "e"}}[:i%3],
		}
		for _, r := range []*runner.ExecuteResult{
			{Language: "a", Version: "1", Runs: []runner.StageResult{stage}},
			{Language: "a", Version: "1", Runs: []runner.StageResult{stage, {Signal: new("SIGSEGV")}}},
			{Language: "c", Version: "2", Compile: &stage},
			{Language: "c", Version: "2", Compile: &stage, Runs: []runner.StageResult{{Status: "timeout"}}},
		} {
			for n := range 4 {
				batch, asBase64 := n&1 > 0, n&2 > 0
				want := AnswerOf(r, asBase64)
				if !batch {
					want.Runs = nil
				}
				var out strings.Builder
				must(t, writeExecuted(&out, r, asBase64, batch))
				if got := strings.ReplaceAll(out.String(), `"content":""`, `"content":null`); got != strings.ReplaceAll(inJSON(want), `"content":""`, `"content":null`)+"\n" {
					t.Fatalf("text %d, batch %v, base64 %v: %.300q\nwant %.300q", i, batch, asBase64, got, inJSON(want))
				}
			}
		}
	}
}

// Answers that are not read hold a bounded amount of memory. Others wait for their turn, and
// for as long as it is sensible.
func TestAnswersAreBounded(t *testing.T) {
	s := newSite(t, func(c *Config) { c.TrustProxy = true })
	answers := s.Config.Handler.(*Server).answers
	answers.most, answers.share, answers.slack = 24<<20, 10<<20, 100*time.Millisecond
	*answers.waiting = *newBudget("answers", answers.most, answers.share)
	for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
		must(t, answers.take(from, 10<<20))
	}
	flood := `{"language":"bash","version":"*","files":[{"content":"head -c 5000000 /dev/zero"}]}`
	refused := func(from string, want int) {
		t.Helper()
		status, header, data := s.call("POST", "/api/v1/execute", "", flood, "X-Forwarded-For", from)
		if status != want || header.Get("Retry-After") != "5" || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %.300s, want %d", from, status, data, want)
		}
	}
	refused("192.0.2.3", 503)
	answers.give("192.0.2.2", 10<<20)
	refused("192.0.2.1", 429)
	answers.slack = soon // now it is worth to wait
	answered := make(chan int)
	go func() {
		req, _ := http.NewRequest("POST", s.URL+"/api/v1/execute", strings.NewReader(flood))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", "192.0.2.1")
		res, err := s.Client().Do(req)
		if err != nil {
			answered <- 0
			return
		}
		n, _ := io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if n < 5_000_000 {
			t.Errorf("only %d bytes were answered", n)
		}
		answered <- res.StatusCode
	}()
	answers.waiting.holds(t, 10_000_000)
	answers.give("192.0.2.1", 10<<20)
	if status := <-answered; status != 200 {
		t.Errorf("the one that waited: %d", status)
	}
	answers.holds(t, 0)
	// Who does not read is let go, whatever it asked for.
	answers.slack = 300 * time.Millisecond
	slow := s.begin("/api/v1/execute", "192.0.2.4", flood, len(flood))
	must(t, slow.conn.(*net.TCPConn).SetReadBuffer(4096))
	answers.holds(t, 10_000_000)
	answers.holds(t, 0)
}
