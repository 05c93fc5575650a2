package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestAdmission(t *testing.T) {
	a := newAdmission(Limits{Sockets: 6, SocketsPerAddress: 3, Handshakes: 1000, HandshakesPerAddress: 1})
	enter := func(address string, want int) func() {
		t.Helper()
		leave, err := a.enter(address)
		var p *problem
		errors.As(err, &p)
		if (err == nil) != (want == 0) || (p != nil && (p.Status != want || p.retryAfter == 0)) {
			t.Errorf("%s: %v, want %d", address, err, want)
		}
		return leave
	}
	first := enter("192.0.2.1", 0)
	enter("192.0.2.1", 0)
	enter("192.0.2.1", 0)
	enter("192.0.2.1", http.StatusTooManyRequests)
	first()
	first() // counts once
	enter("192.0.2.1", 0)
	enter("192.0.2.1", http.StatusTooManyRequests)
	for range 3 { // of this machine's own there may be more
		enter("127.0.0.1", 0)
	}
	enter("::1", http.StatusServiceUnavailable) // but not in all
	enter("192.0.2.2", http.StatusServiceUnavailable)
	if a.open != 6 {
		t.Errorf("%d are open, want 6", a.open)
	}
}

func TestHandshakesAreBounded(t *testing.T) {
	a := newAdmission(Limits{Handshakes: 30, HandshakesPerAddress: 1})
	count := func(address string, want int) {
		t.Helper()
		n := 0
		for range want + 5 {
			leave, err := a.enter(address)
			if err != nil {
				break
			}
			leave()
			n++
		}
		if n < want || n > want+2 { // some more come in while this is counted
			t.Errorf("%s opened %d, want %d", address, n, want)
		}
	}
	count("192.0.2.1", 10) // ten times a second's at once
	count("127.0.0.1", 19) // what is left for all, less the one that was refused
}

func TestAddressesAreForgotten(t *testing.T) {
	a := newAdmission(Limits{Handshakes: 1 << 20, HandshakesPerAddress: 1 << 20})
	leave, err := a.enter("192.0.2.1")
	must(t, err)
	gone, err := a.enter("192.0.2.2")
	must(t, err)
	gone()
	a.mu.Lock()
	defer a.mu.Unlock()
	for deadline := time.Now().Add(soon); len(a.callers) > 1 && time.Now().Before(deadline); {
		a.sweep() // its tokens come back at a million a second
	}
	if _, kept := a.callers["192.0.2.1"]; !kept || len(a.callers) != 1 {
		t.Errorf("%d addresses are kept", len(a.callers))
	}
	_ = leave
}

// The heartbeat pings, and ends sockets that say nothing, that never finish a message and
// that do not read.
func TestHeartbeat(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	server := s.Config.Handler.(*Server)
	heart := server.heart
	for name, tt := range map[string]struct {
		silent func(*syncSocket) // makes it look so
		ends   bool
	}{
		"lively":           {func(*syncSocket) {}, false},
		"silent":           {func(c *syncSocket) { c.heard.Store(time.Now().Add(-2 * pongWait).UnixNano()) }, true},
		"half a message":   {func(c *syncSocket) { c.message.Store(time.Now().Add(-2 * stuckAfter).UnixNano()) }, true},
		"reads nothing":    {func(c *syncSocket) { c.writing.Store(time.Now().Add(-2 * stuckAfter).UnixNano()) }, true},
		"has just spoken":  {func(c *syncSocket) { c.message.Store(time.Now().UnixNano()) }, false},
		"has just written": {func(c *syncSocket) { c.writing.Store(time.Now().UnixNano()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.dial("/sync/" + a.ID + "?token=" + a.Tokens["guest"])
			pinged := make(chan struct{}, 8)
			p.ws.SetPingHandler(func(string) error { pinged <- struct{}{}; return nil })
			_, _, err := p.ws.ReadMessage() // it has joined
			must(t, err)
			ended := make(chan error, 1)
			go func() {
				for {
					if _, _, err := p.ws.ReadMessage(); err != nil {
						ended <- err
						return
					}
				}
			}()
			heart.mu.Lock()
			for c := range heart.sockets {
				tt.silent(c)
			}
			heart.mu.Unlock()
			now := time.Now()
			heart.beat(now)
			if !tt.ends {
				heart.mu.Lock()
				for c := range heart.sockets {
					c.pingedAt = now.Add(-pingEvery)
				}
				heart.mu.Unlock()
				heart.beat(now)
				select {
				case <-pinged:
				case err := <-ended:
					t.Errorf("it was ended: %v", err)
				}
				_ = p.ws.Close()
			}
			<-ended
			server.sockets.Wait()
			if len(heart.sockets) != 0 {
				t.Errorf("%d sockets are still looked after", len(heart.sockets))
			}
		})
	}
}

// Who came by a link that expires is let go when it does, and it opens nothing any more.
func TestLinksExpire(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	server := s.Config.Handler.(*Server)
	rotate := func(role, body string) (status int, answer struct{ Token string }) {
		t.Helper()
		status, _, data := s.call("POST", "/api/v1/rooms/"+a.ID+"/tokens/"+role+"/rotate", a.Tokens["host"], body)
		if status == http.StatusOK {
			must(t, json.Unmarshal(data, &answer))
		}
		return status, answer
	}
	for _, bad := range [][2]string{
		{"host", `{"expires_in": 60}`}, {"guest", `{"expires_in": 0}`}, {"guest", `{"expires_in": -1}`},
		{"guest", `{"expires_in": 1e300}`}, {"guest", `{"expires_in": "1h"}`}, {"guest", `{"expires": 1}`},
	} {
		if status, _ := rotate(bad[0], bad[1]); status != http.StatusBadRequest {
			t.Errorf("%s %s: %d", bad[0], bad[1], status)
		}
	}
	status, link := rotate("guest", `{"expires_in": 1.5}`)
	if status != http.StatusOK {
		t.Fatalf("rotate: %d", status)
	}
	doc := s.dial("/sync/" + a.ID + "?token=" + link.Token)
	person, _ := s.join(a, link.Token, "Ann")
	if code := person.closed(); code != 4403 {
		t.Errorf("/live was closed with %d", code)
	}
	server.heart.beat(time.Now())
	if code := doc.closed(); code != 4403 {
		t.Errorf("/sync was closed with %d", code)
	}
	if status, _, _ := s.call("GET", "/api/v1/rooms/"+a.ID, link.Token, ""); status != http.StatusNotFound {
		t.Errorf("a link that has expired: %d", status)
	}
	status, _ = rotate("guest", "")
	if status != http.StatusOK {
		t.Errorf("rotate again: %d", status)
	}
}
