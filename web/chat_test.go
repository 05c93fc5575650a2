package web

import (
	"fmt"
	"strings"
	"testing"

	"corun/collab/live"
	"corun/store"
)

// What was said is told to all and to who comes later, also when the room was forgotten in
// between; what a host removes is nowhere any more.
func TestChat(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"echo hi"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	ann, hello := s.join(a, a.Tokens["guest"], "Ann")
	viewer, _ := s.join(a, a.Tokens["viewer"], "V")
	if chat := hello["chat"].([]any); len(chat) != 0 {
		t.Errorf("a new room's chat is %v", chat)
	}
	ann.say(`{"type":"run.start","mode":"pipes"}`)
	ann.wait("run.exited")
	for _, refused := range []struct {
		by        *peer
		say, code string
	}{
		{viewer, `{"type":"chat","text":"x","ref":1}`, "not_allowed"},
		{viewer, `{"type":"chat.remove","id":"x","ref":1}`, "not_allowed"},
		{ann, `{"type":"chat.remove","id":"x","ref":1}`, "not_allowed"},
		{ann, `{"type":"chat","ref":1}`, "bad_message"},
		{ann, `{"type":"chat","text":"x","links":[{"run":"1"}],"ref":1}`, "bad_message"},
		{ann, `{"type":"chat","text":"x","links":[{"run":2}],"ref":1}`, "not_found"},
	} {
		refused.by.say(refused.say)
		if m := refused.by.wait("error"); m["code"] != refused.code || m["ref"] != 1.0 {
			t.Errorf("%s is answered %v", refused.say, m)
		}
	}
	ann.say(`{"type":"chat","text":"it works","links":[{"run":1},{"file":"main","line":1,"anchor":"AQI="}],"ref":2}`)
	if m := ann.wait("chat"); m["ref"] != 2.0 {
		t.Errorf("who said it is told %v", m)
	}
	told := viewer.wait("chat")["message"].(map[string]any)
	if told["text"] != "it works" || told["by"].(map[string]any)["name"] != "Ann" || fmt.Sprint(told["links"]) != "[map[run:1] map[anchor:AQI= file:main line:1]]" {
		t.Errorf("the others are told %v", told)
	}
	ann.say(`{"type":"chat","text":"a secret"}`)
	secret := viewer.wait("chat")["message"].(map[string]any)["id"].(string)
	fast := 0
	for range 20 {
		ann.say(`{"type":"chat","text":"again","ref":"fast"}`)
	}
	ann.say(`{"type":"ping"}`)
	for m := map[string]any(nil); m["type"] != "pong"; {
		if m = ann.any(); m["code"] == "too_fast" {
			fast++
		}
	}
	if fast < 5 {
		t.Errorf("%d of 20 at once were too many", fast)
	}
	// The room is forgotten, and read from the log again.
	ann.say(`{"type":"driver.release"}`) // or it is kept for her
	ann.wait("driver.changed")
	must(t, ann.ws.Close())
	must(t, viewer.ws.Close())
	for left := 0; left < 2; { // ends with the test's own time
		left = len(s.log(room, host, "/history?kind=leave").Events)
	}
	server := s.Config.Handler.(*Server)
	for loaded := true; loaded; { // as above
		loaded = false
		server.live.Peek(a.ID, func(*live.Room) { loaded = true })
	}
	boss, hello := s.join(a, host, "Boss")
	chat := hello["chat"].([]any)
	if len(chat) < 3 || fmt.Sprint(chat[0]) != fmt.Sprint(told) {
		t.Errorf("restored is %v, want %v first", chat, told)
	}
	boss.say(`{"type":"chat.remove","id":"m_none","ref":3}`)
	if m := boss.wait("error"); m["code"] != "not_found" || m["ref"] != 3.0 {
		t.Errorf("to remove what is not there is answered %v", m)
	}
	boss.say(`{"type":"chat.remove","id":"` + secret + `","ref":4}`)
	if m := boss.wait("chat.removed"); m["id"] != secret || m["ref"] != 4.0 {
		t.Errorf("to remove a message is answered %v", m)
	}
	if status, _, data := s.call("DELETE", room+"/participants/"+told["by"].(map[string]any)["id"].(string)+"/name", host, ""); status != 204 {
		t.Fatalf("erase a name: %d %s", status, data)
	}
	_, hello = s.join(a, a.Tokens["viewer"], "Late")
	_, _, log := s.call("GET", room+"/history?kind=chat,join,run", host, "")
	for where, text := range map[string]string{"hello": fmt.Sprint(hello["chat"]), "the log": string(log)} {
		if strings.Contains(text, "a secret") || strings.Contains(text, "Ann") || !strings.Contains(text, "it works") {
			t.Errorf("%s has %s", where, text)
		}
	}
}

// The log tells a reader of it when people change, and that nobody was there before.
func TestTheLogOfPeople(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	ann, _ := s.join(a, a.Tokens["host"], "Ann")
	ann.say(`{"type":"participant.update","name":"Anne"}`)
	ann.say(`{"type":"participant.update","name":"Anne"}`)
	ann.say(`{"type":"driver.rotate","minutes":5}`)
	ann.wait("driver.rotation")
	s.join(a, a.Tokens["viewer"], "V")
	var kinds []string
	for _, e := range s.log("/api/v1/rooms/"+a.ID, a.Tokens[store.RoleHost], "/history?kind=open,join,rename,rotation").Events {
		kinds = append(kinds, e.Kind)
		if e.Kind == "rename" && e.Data["participant"].(map[string]any)["name"] != "Anne" {
			t.Errorf("renamed: %v", e.Data)
		}
	}
	if got := strings.Join(kinds, " "); got != "open join rename rotation join" {
		t.Errorf("the log has %q", got)
	}
}
