package web

import (
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab/yproto"
)

// hocuspocus says what a provider would, by hand.
func hocuspocus(name string, message ...byte) []byte {
	return append(yproto.HocuspocusPrefix(name), message...)
}

func token(name, token string) []byte {
	return append(append(hocuspocus(name, 2, 0), byte(len(token))), token...)
}

func (p *peer) sends(frame []byte) {
	p.t.Helper()
	must(p.t, p.ws.WriteMessage(websocket.BinaryMessage, frame))
}

// hears gives the next message that begins so.
func (p *peer) hears(begin []byte) string {
	p.t.Helper()
	for {
		_, data, err := p.ws.ReadMessage()
		if err != nil {
			p.t.Fatalf("waited for %q: %v", begin, err)
		}
		if strings.HasPrefix(string(data), string(begin)) {
			return string(data)
		}
	}
}

func (p *peer) closesWith(code int) {
	p.t.Helper()
	for {
		if _, _, err := p.ws.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, code) {
				p.t.Fatalf("closed with %v, want %d", err, code)
			}
			return
		}
	}
}

func TestHocuspocusRefuses(t *testing.T) {
	s := newSite(t)
	a, b := s.room(`{"language":"python"}`), s.room(`{"language":"python","lobby":true}`)
	for _, tt := range []struct {
		name   string
		frames [][]byte
		code   int
	}{
		{"no name", [][]byte{{}}, 1007},
		{"half a name", [][]byte{{5, 'a'}}, 1007},
		{"no message", [][]byte{hocuspocus("x")}, 1007},
		{"half a token", [][]byte{hocuspocus("x", 2, 0, 9, 'a')}, 1007},
		{"a server's message", [][]byte{hocuspocus("x", 2, 2, 0)}, 1007},
		{"a long name", [][]byte{token(strings.Repeat("x", maxName+1), "t")}, 1007},
		{"bad data in a document", [][]byte{token(a.ID, a.Tokens["guest"]), hocuspocus(a.ID, 0, 2, 1, 9)}, 1007},
		{"before the host has begun", [][]byte{token(b.ID, b.Tokens["guest"])}, websocket.CloseTryAgainLater},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := s.dial("/hocuspocus")
			p.t = t
			for _, frame := range tt.frames {
				p.sends(frame)
			}
			p.closesWith(tt.code)
		})
	}
	p := s.dial("/hocuspocus")
	denied := hocuspocus(a.ID, 2, 1)
	for _, frame := range [][]byte{hocuspocus(a.ID, 0, 0, 1, 0), token(a.ID, "wrong")} {
		p.sends(frame)
		if got := p.hears(hocuspocus(a.ID)); !strings.HasPrefix(got, string(denied)) {
			t.Errorf("%q is answered with %q", frame, got)
		}
	}
	p.sends(hocuspocus(a.ID, 0, 0, 1, 0))
	p.sends(hocuspocus(a.ID, 5, 1, 'x')) // means nothing here
	p.sends(hocuspocus(a.ID, 7))
	p.sends(token(a.ID, a.Tokens["guest"])) // the right one may follow
	if got := p.hears(hocuspocus(a.ID)); !strings.HasPrefix(got, string(hocuspocus(a.ID, 2, 2))) {
		t.Errorf("the right token is answered with %q", got)
	}
	p.sends(hocuspocus(a.ID, 0, 0, 1, 0))
	p.hears(hocuspocus(a.ID, 0, 1))
	s.call("DELETE", "/api/v1/rooms/"+a.ID, a.Tokens["host"], "")
	p.closesWith(4410)
}

// Who is in no document is told when the server goes, and is sent away after a while.
func TestHocuspocusWithoutDocument(t *testing.T) {
	s := newSite(t)
	server := s.Config.Handler.(*Server)
	a := s.room(`{"language":"python"}`)
	p := s.dial("/hocuspocus")
	p.sends(token(a.ID, a.Tokens["guest"]))
	p.hears(hocuspocus(a.ID, 2, 2))
	server.heart.beat(time.Now().Add(pongWait / 2)) // pings
	p.sends(hocuspocus(a.ID, 7))
	p.sends(token(a.ID, "wrong"))
	p.hears(hocuspocus(a.ID, 2, 1)) // it has left, then
	server.heart.mu.Lock()
	for c := range server.heart.sockets {
		c.many.empty.Store(time.Now().Add(-2 * pongWait).UnixNano())
	}
	server.heart.mu.Unlock()
	server.heart.beat(time.Now())
	if _, _, err := p.ws.ReadMessage(); err == nil {
		t.Error("a socket without a document stays")
	}
	q := s.dial("/hocuspocus")
	q.sends(token(a.ID, "wrong"))
	q.hears(hocuspocus(a.ID, 2, 1))
	server.heart.dismiss()
	q.closesWith(websocket.CloseGoingAway)
	s.dial("/hocuspocus").closesWith(websocket.CloseGoingAway)
}
