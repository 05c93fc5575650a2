package web

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// soon bounds what must happen, however busy the machine is.
const soon = 60 * time.Second

// peer is one web socket client.
type peer struct {
	t   testing.TB
	ws  *websocket.Conn
	out [4]string // output so far, by stream
}

func (s *site) dial(path string) *peer {
	s.t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(s.t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+path, nil)
	if err != nil {
		s.t.Fatalf("%s: %v (%v)", path, err, res)
	}
	must(s.t, ws.SetReadDeadline(time.Now().Add(soon)))
	s.t.Cleanup(func() { _ = ws.Close() }) // often closed already
	return &peer{t: s.t, ws: ws}
}

func (s *site) join(a createRoomAnswer, token, name string) (p *peer, hello map[string]any) {
	s.t.Helper()
	p = s.dial("/live/" + a.ID + "?token=" + token + "&name=" + url.QueryEscape(name) + "&hue=7")
	return p, p.wait("hello")
}

func (p *peer) say(text string) {
	p.t.Helper()
	must(p.t, p.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

// wait gives the next message of a type, keeping the output before it.
func (p *peer) wait(kind string) map[string]any {
	p.t.Helper()
	return p.next("waited for "+kind, func(m map[string]any) bool { return m["type"] == kind })
}

// any gives the next message, keeping the output before it.
func (p *peer) any() map[string]any {
	p.t.Helper()
	return p.next("waited", func(map[string]any) bool { return true })
}

func (p *peer) next(what string, wanted func(map[string]any) bool) map[string]any {
	p.t.Helper()
	for {
		frame, data, err := p.ws.ReadMessage()
		if err != nil {
			p.t.Fatalf("%s: %v", what, err)
		}
		if frame == websocket.BinaryMessage {
			stream := data[0]
			if at := binary.BigEndian.Uint64(data[5:]); at != uint64(len(p.out[stream])) {
				p.t.Errorf("stream %d goes on at %d after %d bytes", stream, at, len(p.out[stream]))
			}
			p.out[stream] += string(data[13:])
			continue
		}
		var m map[string]any
		must(p.t, json.Unmarshal(data, &m))
		if wanted(m) {
			return m
		}
	}
}

// closed reads on until the server closes and gives its code.
func (p *peer) closed() int {
	p.t.Helper()
	for {
		_, _, err := p.ws.ReadMessage()
		var end *websocket.CloseError
		if errors.As(err, &end) {
			return end.Code
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

func TestSocketsRefuseBeforeTheyOpen(t *testing.T) {
	s := newSite(t)
	a, b := s.room(`{}`), s.room(`{}`)
	for path, want := range map[string]int{
		"/live/" + a.ID: 401,
		"/sync/" + a.ID: 401,
		"/live/" + a.ID + "?token=" + b.Tokens["host"]:                    404,
		"/sync/" + a.ID + "?token=" + b.Tokens["host"]:                    404,
		"/live/" + a.ID + "?token=" + a.Tokens["host"] + "&hue=360":       400,
		"/live/" + a.ID + "?token=" + a.Tokens["host"] + "&hue=x":         400,
		"/live/" + a.ID + "?token=" + a.Tokens["host"] + "&name=%0A.%0Ax": 400,
	} {
		ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+path, nil)
		if ws != nil || res == nil {
			t.Errorf("%s: opened, or no answer (%v)", path, err)
			continue
		}
		if res.StatusCode != want || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", path, res.StatusCode, res.Header.Get("Content-Type"), want)
		}
	}
	if status, header, _ := s.call("GET", "/live/"+a.ID+"?token="+a.Tokens["host"], "", ""); status != 400 || header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a plain request: %d", status)
	}
}

func TestLiveRun(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"read x; echo got $x; echo err >&2; read y; echo $y; exit 4"}]}`)
	ann, hello := s.join(a, a.Tokens["guest"], "Ann")
	you := hello["you"].(map[string]any)
	if hello["protocol"] != 1.0 || you["name"] != "Ann" || you["hue"] != 7.0 || you["role"] != "guest" || hello["run"] != nil || len(hello["languages"].([]any)) == 0 {
		t.Errorf("hello is %v", hello)
	}
	bob, _ := s.join(a, a.Tokens["viewer"], "Bob")
	if m := ann.wait("participant.joined"); m["participant"].(map[string]any)["name"] != "Bob" {
		t.Errorf("told %v", m)
	}
	for _, refused := range []struct{ say, code string }{
		{`{"type":"run.start","ref":1}`, "not_allowed"},
		{`{"type":"stdin","run":1,"data":"x","ref":1}`, "not_driver"},
		{`{"type":"driver.take","ref":1}`, "not_allowed"},
		{`{"type":"run.stop","ref":1}`, "not_allowed"},
		{`{"type":"room.update","title":"x","ref":1}`, "not_allowed"},
		{`{"type":"participant.remove","id":"x","ref":1}`, "not_allowed"},
		{`{"type":"bogus","ref":1}`, "unknown_type"},
		{`{"type":"participant.update","hue":400,"ref":1}`, "bad_message"},
	} {
		bob.say(refused.say)
		if m := bob.wait("error"); m["code"] != refused.code || m["ref"] != 1.0 || m["message"] == "" {
			t.Errorf("%s is answered %v", refused.say, m)
		}
	}
	ann.say(`{"type":"run.start","mode":"pipes","ref":"go"}`)
	if m := ann.wait("run.queued"); m["ref"] != "go" {
		t.Errorf("queued is %v", m)
	}
	ann.wait("run.started")
	ann.say(`{"type":"run.start","ref":2}`)
	if m := ann.wait("error"); m["code"] != "run_active" {
		t.Errorf("a second run is answered %v", m)
	}
	ann.say(`{"type":"stdin","run":1,"data":"one\n"}`)
	if m := bob.wait("driver.changed"); m["driver"] != you["id"] || m["reason"] != "granted" {
		t.Errorf("told %v", m)
	}
	if m := bob.wait("run.stdin"); m["by"] != you["id"] || m["data"] != "one\n" {
		t.Errorf("told %v", m)
	}
	must(t, ann.ws.WriteMessage(websocket.BinaryMessage, []byte("\x00\x00\x00\x00\x01two\n")))
	must(t, ann.ws.WriteMessage(websocket.BinaryMessage, []byte("\x07")))
	if m := ann.wait("error"); m["code"] != "bad_message" {
		t.Errorf("a bad frame is answered %v", m)
	}
	for _, p := range []*peer{ann, bob} {
		run := p.wait("run.exited")["run"].(map[string]any)
		if run["status"] != "exited" || run["exit_code"] != 4.0 || p.out[1] != "got one\ntwo\n" || p.out[2] != "err\n" {
			t.Errorf("the run is %v after %q", run, p.out)
		}
	}
	late, hello := s.join(a, a.Tokens["host"], "Late")
	if hello["run"].(map[string]any)["number"] != 1.0 || len(hello["participants"].([]any)) != 3 {
		t.Errorf("hello is %v", hello)
	}
	late.say(`{"type":"saved?","ref":3}`)
	m := late.wait("saved")
	if sv, err := base64.StdEncoding.DecodeString(m["state_vector"].(string)); err != nil || len(sv) == 0 || m["ref"] != 3.0 {
		t.Errorf("saved is %v", m)
	}
	if late.out[1] != "got one\ntwo\n" || late.out[2] != "err\n" {
		t.Errorf("who came late has %q", late.out)
	}
}

// Removal closes the way back for whoever held the link, and leaves the others
// one.
func TestRemovalClosesTheWayBack(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	host, _ := s.join(a, a.Tokens["host"], "Host")
	bad, hello := s.join(a, a.Tokens["guest"], "Bad")
	good, _ := s.join(a, a.Tokens["guest"], "Good")
	doc := s.dial("/sync/" + a.ID + "?token=" + a.Tokens["guest"])
	must(t, doc.ws.WriteMessage(websocket.BinaryMessage, []byte{0, 0, 1, 0}))
	if _, _, err := doc.ws.ReadMessage(); err != nil { // in the room, so that it can be put out
		t.Fatal(err)
	}
	id := hello["you"].(map[string]any)["id"].(string)
	host.say(`{"type":"participant.remove","id":"` + id + `","ref":1}`)
	for name, p := range map[string]*peer{"the removed": bad, "their document": doc} {
		if code := p.closed(); code != 4403 {
			t.Errorf("%s is closed with %d", name, code)
		}
	}
	token, _ := good.wait("token.rotated")["token"].(string)
	if m := host.wait("token.rotated"); m["token"] != token {
		t.Errorf("the host is told %v", m)
	}
	for tok, want := range map[string]int{a.Tokens["guest"]: 404, token: 200} {
		if status, _, _ := s.call("GET", "/api/v1/rooms/"+a.ID, tok, ""); status != want {
			t.Errorf("the token gives %d, want %d", status, want)
		}
	}
	good.say(`{"type":"ping","ref":5}`)
	good.wait("pong")
}

func TestSocketsAreClosedWithTheirReason(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	viewer, _ := s.join(a, a.Tokens["viewer"], "V")
	if status, _, _ := s.call("POST", room+"/tokens/viewer/rotate", host, ""); status != http.StatusOK {
		t.Fatalf("rotate: %d", status)
	}
	if code := viewer.closed(); code != 4403 {
		t.Errorf("after rotation: %d", code)
	}
	for name, tt := range map[string]struct {
		frame []byte
		kind  int
		code  int
	}{
		"undecodable": {[]byte{0, 2, 200}, websocket.BinaryMessage, 1007},
		"text":        {[]byte("x"), websocket.TextMessage, 1007},
		"too large":   {make([]byte, 1<<20+1), websocket.BinaryMessage, 1009},
	} {
		p := s.dial("/sync/" + a.ID + "?token=" + host)
		must(t, p.ws.WriteMessage(tt.kind, tt.frame))
		if code := p.closed(); code != tt.code {
			t.Errorf("%s: closed with %d, want %d", name, code, tt.code)
		}
	}
	guest, _ := s.join(a, a.Tokens["guest"], "G")
	if status, _, _ := s.call("PATCH", room, host, `{"ended":true}`); status != http.StatusOK {
		t.Fatalf("end: %d", status)
	}
	if code := guest.closed(); code != 4410 {
		t.Errorf("at the end: %d", code)
	}
	for _, path := range []string{"/live/", "/sync/"} {
		if code := s.dial(path + a.ID + "?token=" + host).closed(); code != 4410 {
			t.Errorf("%s of an ended room: %d", path, code)
		}
	}
}

// What answers a ping must not end the connection when the deadline of that answer has
// passed: some clients ping every few seconds.
func TestPingedSocketGoesOn(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	path := "/sync/" + a.ID + "?token=" + a.Tokens["guest"]
	pings, other := s.dial(path), s.dial(path)
	pongs := 0
	pings.ws.SetPongHandler(func(data string) error {
		if data != "are you there" {
			t.Errorf("the pong says %q", data)
		}
		pongs++
		return nil
	})
	must(t, pings.ws.WriteMessage(websocket.PingMessage, []byte("are you there")))
	// Until long after gorilla's deadline for control messages, a second.
	for begin, clock := time.Now(), byte(1); time.Since(begin) < 1500*time.Millisecond; clock++ {
		state := []byte{1, 7, 1, 5, clock, 3, '"', 'x', '"'} // awareness of client 5
		must(t, other.ws.WriteMessage(websocket.BinaryMessage, state))
		for {
			_, frame, err := pings.ws.ReadMessage()
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(begin), err)
			}
			if frame[0] == 1 {
				break
			}
		}
		time.Sleep(20 * time.Millisecond) // lets the deadline come
	}
	if pongs != 1 {
		t.Errorf("%d pongs for one ping", pongs)
	}
}

// Who goes on pinging after the goodbye, and does not read it, is not kept.
func TestGoodbyeEndsThosePinging(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	p := s.dial("/sync/" + a.ID + "?token=" + a.Tokens["guest"])
	s.call("DELETE", "/api/v1/rooms/"+a.ID, a.Tokens["host"], "")
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		if p.ws.WriteControl(websocket.PingMessage, nil, deadline) != nil {
			return
		}
		time.Sleep(time.Millisecond) // or it would be a flood
	}
	t.Error("the socket is still open")
}
