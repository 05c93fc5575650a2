package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"corun/collab/live"
	"corun/collab/ycrdt"
	"corun/store"
)

// logged is an entry of the log as a caller reads it.
type logged struct {
	At   time.Time
	Kind string
	Data map[string]any
}

type logPage struct {
	Events   []logged
	Next     string
	More     bool
	Start    time.Time
	End      time.Time
	Keyframe *struct {
		At           time.Time
		State        []byte
		Participants []live.Participant
		Driver       *string
		Run          *struct {
			Number int
			State  store.RunState
			Output store.OutputSizes
		}
	}
}

func (s *site) log(room, token, query string) (page logPage) {
	s.t.Helper()
	status, _, data := s.call("GET", room+query, token, "")
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", query, status, data)
	}
	must(s.t, json.Unmarshal(data, &page))
	return page
}

// All that happens in a room is in its log, in order, with who did it; and from the log alone
// the room can be shown again.
func TestHistory(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"echo begin; read x; echo got $x; printf '\\xff'; sleep 0.1; echo end"}]}`)
	room, viewer := "/api/v1/rooms/"+a.ID, a.Tokens["viewer"]
	ann, hello := s.join(a, a.Tokens["guest"], "Ann")
	id := hello["you"].(map[string]any)["id"].(string)
	ann.say(`{"type":"run.start","mode":"pipes","args":["1"]}`)
	ann.wait("run.stage")
	ann.say(`{"type":"stdin","run":1,"data":"one\n"}`)
	ann.wait("run.exited")
	must(t, ann.ws.Close())
	all := s.log(room, viewer, "/history?limit=1000")
	for len(s.log(room, viewer, "/history?kind=leave").Events) == 0 { // ends with the test's own time
		all = s.log(room, viewer, "/history?limit=1000")
	}
	all = s.log(room, viewer, "/history?limit=1000")
	var kinds []string
	printed := map[any]string{}
	for i, e := range all.Events {
		kind := e.Kind
		if e.Kind == "run" {
			kind += " " + e.Data["event"].(string)
		}
		if e.Kind == "output" {
			text, _ := e.Data["data"].(string)
			if coded, ok := e.Data["base64"].(string); ok {
				raw, err := base64.StdEncoding.DecodeString(coded)
				must(t, err)
				text = string(raw)
			}
			printed[e.Data["stream"]] += text
		} else {
			kinds = append(kinds, kind)
		}
		if i > 0 && e.At.Before(all.Events[i-1].At) {
			t.Errorf("entry %d is before the one before it", i)
		}
		switch kind {
		case "join":
			if p := e.Data["participant"].(map[string]any); p["id"] != id || p["name"] != "Ann" {
				t.Errorf("joined: %v", e.Data)
			}
		case "stdin":
			if e.Data["by"] != id || e.Data["data"] != "one\n" || e.Data["bytes"] != 4.0 || e.Data["run"] != 1.0 {
				t.Errorf("typed: %v", e.Data)
			}
		case "run queued":
			if e.Data["started_by"] != id || e.Data["started_by_name"] != "Ann" || e.Data["language"] != "bash" || fmt.Sprint(e.Data["args"]) != "[1]" {
				t.Errorf("queued: %v", e.Data)
			}
		case "run exited":
			if e.Data["status"] != "exited" || e.Data["stdin_bytes"].(map[string]any)[id] != 4.0 {
				t.Errorf("exited: %v", e.Data)
			}
		}
	}
	kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == "open" })
	if want := []string{"edit", "join", "run queued", "driver", "run started", "run stage", "stdin", "run exited", "leave"}; !slices.Equal(sorted(kinds), sorted(want)) {
		t.Errorf("the log has %q, want %q", kinds, want)
	}
	if printed["stdout"] != "begin\ngot one\n\xffend\n" {
		t.Errorf("the log's output is %q", printed)
	}
	// In pages of two it is the same.
	var paged []logged
	for next, more := "0.0.0.0", true; more; {
		page := s.log(room, viewer, "/history?limit=2&after="+next)
		paged, next, more = append(paged, page.Events...), page.Next, page.More
	}
	if len(paged) != len(all.Events) {
		t.Errorf("in pages the log has %d entries, else %d", len(paged), len(all.Events))
	}
	status, header, data := s.call("GET", room+"/history?format=jsonl", viewer, "")
	if status != 200 || header.Get("Content-Type") != "application/jsonl" || bytes.Count(data, []byte("\n")) != len(all.Events) {
		t.Errorf("as lines: %d %v %s", status, header, data)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var e logged
		must(t, json.Unmarshal(line, &e))
	}
	from := func(e logged) string { return "/playback?from=" + url.QueryEscape(e.At.Format(time.RFC3339Nano)) }
	at := slices.IndexFunc(all.Events, func(e logged) bool { return e.Kind == "stdin" })
	show := s.log(room, viewer, from(all.Events[at]))
	k := show.Keyframe
	if k == nil || len(k.Participants) != 1 || k.Participants[0].ID != id || k.Driver == nil || *k.Driver != id || k.Run == nil ||
		k.Run.State != store.RunRunning || k.Run.Output.Stdout > int64(len("begin\n")) || len(show.Events) != len(all.Events)-at-1 {
		t.Errorf("from stdin on: %+v of %d entries", show, len(all.Events))
	}
	if !show.Start.Equal(all.Events[0].At) || !show.End.Equal(all.Events[len(all.Events)-1].At) {
		t.Errorf("the log is from %v to %v", show.Start, show.End)
	}
	doc := ycrdt.New(ycrdt.Options{})
	must(t, doc.ApplyUpdate(k.State))
	_, _, files := s.call("GET", room+"/files", viewer, "")
	if text, err := json.Marshal(doc.Text("file/main")); err != nil || !bytes.Contains(files, text) {
		t.Errorf("the keyframe's text is %s", text)
	}
	end := s.log(room, viewer, "/playback?from="+url.QueryEscape(show.End.Format(time.RFC3339Nano))).Keyframe
	if len(end.Participants) != 0 || end.Run.State != store.RunFinished || end.Run.Output.Stdout == 0 {
		t.Errorf("in the end: %+v", end)
	}
	begin := s.log(room, viewer, "/playback")
	if begin.Keyframe == nil || len(begin.Events) < len(all.Events)-1 || s.log(room, viewer, "/playback?after="+begin.Next).Keyframe != nil {
		t.Errorf("from the beginning: %+v", begin)
	}
}

// How old what a run ran is, is told.
func TestEditsSince(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"cat"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	if status, _, data := s.call("POST", room+"/runs", host, `{"mode":"pipes","stdin":"x"}`); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, data)
	}
	s.finish(room, host, 1)
	for want := range 3 {
		var run struct {
			Stdin      string
			Attempt    int
			EditsSince *int64 `json:"edits_since"`
		}
		_, _, data := s.call("GET", room+"/runs/1", host, "")
		must(t, json.Unmarshal(data, &run))
		if run.EditsSince == nil || *run.EditsSince != int64(want) || run.Stdin != "given" || run.Attempt != 1 {
			t.Errorf("after %d edits: %s", want, data)
		}
		if status, _, data := s.call("PATCH", room, host, fmt.Sprintf(`{"title":"%d"}`, want)); status != 200 {
			t.Fatalf("%d %s", status, data)
		}
	}
}

// What a room was can be run again.
func TestRunOfAMoment(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"echo one"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	first := s.log(room, host, "/history?kind=edit").Events[0].At.Format(time.RFC3339Nano)
	s.write("/sync/" + a.ID + "?token=" + host).types("echo two; ")
	for n, c := range []struct{ body, prints string }{{`{"mode":"pipes"}`, "two\none\n"}, {`{"mode":"pipes","at":"` + first + `"}`, "one\n"}} {
		if status, _, data := s.call("POST", room+"/runs", host, c.body); status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", c.body, status, data)
		}
		run := s.finish(room, host, n+1)
		if _, _, out := s.call("GET", fmt.Sprintf("%s/runs/%d/output", room, n+1), host, ""); string(out) != c.prints || run.DocSeq != 0 {
			t.Errorf("%s printed %q", c.body, out)
		}
		_, _, files := s.call("GET", fmt.Sprintf("%s/files?run=%d", room, n+1), host, "")
		if bytes.Contains(files, []byte("two")) != (n == 0) {
			t.Errorf("run %d was of %s", n+1, files)
		}
	}
	if status, _, data := s.call("POST", room+"/runs", host, `{"at":"x"}`); status != http.StatusBadRequest || !bytes.Contains(data, []byte(`"field":"at"`)) {
		t.Errorf("of no moment: %d %s", status, data)
	}
}

func sorted(all []string) []string { return slices.Sorted(slices.Values(all)) }

// A host can have a name erased, of somebody who has left.
func TestEraseName(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	ann, hello := s.join(a, a.Tokens["guest"], "Ann Marie")
	path := room + "/participants/" + hello["you"].(map[string]any)["id"].(string) + "/name"
	if status, _, data := s.call("DELETE", path, host, ""); status != http.StatusConflict {
		t.Errorf("while she is there: %d %s", status, data)
	}
	must(t, ann.ws.Close())
	for len(s.log(room, host, "/history?kind=leave").Events) == 0 { // ends with the test's own time
	}
	if status, _, _ := s.call("DELETE", path, a.Tokens["guest"], ""); status != http.StatusForbidden {
		t.Errorf("a guest: %d", status)
	}
	if status, _, data := s.call("DELETE", path, host, ""); status != http.StatusNoContent {
		t.Errorf("%d %s", status, data)
	}
	if _, _, data := s.call("GET", room+"/history", host, ""); bytes.Contains(data, []byte("Marie")) || !bytes.Contains(data, []byte(`"erased"`)) {
		t.Errorf("the log has %s", data)
	}
}

// A run of theirs that goes on does not bring the name back, neither while it does nor at its end.
func TestEraseNameOfActiveRun(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"read x"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	ann, hello := s.join(a, a.Tokens["guest"], "Ann Marie")
	bob, _ := s.join(a, host, "Bob")
	ann.say(`{"type":"run.start","mode":"pipes"}`)
	bob.wait("run.stage")
	must(t, ann.ws.Close())
	bob.wait("participant.left")
	if status, _, data := s.call("DELETE", room+"/participants/"+hello["you"].(map[string]any)["id"].(string)+"/name", host, ""); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, data)
	}
	clean := func(when string) {
		t.Helper()
		for _, path := range []string{"", "/runs", "/runs/1", "/history", "/playback"} {
			if _, _, data := s.call("GET", room+path, host, ""); bytes.Contains(data, []byte("Marie")) {
				t.Errorf("%s %q has %s", when, path, data)
			}
		}
		if _, hello := s.join(a, a.Tokens["viewer"], "Eve"); strings.Contains(fmt.Sprint(hello), "Marie") {
			t.Errorf("%s hello has %v", when, hello)
		}
	}
	clean("meanwhile")
	bob.say(`{"type":"run.stop","run":1}`)
	if m := bob.wait("run.exited"); strings.Contains(fmt.Sprint(m), "Marie") {
		t.Errorf("it ended with %v", m)
	}
	clean("later")
}

// What an event has for hosts is for nobody else.
func TestHostsPart(t *testing.T) {
	var server *Server
	s := newSite(t, func(c *Config) {})
	server = s.Config.Handler.(*Server)
	a := s.room(`{}`)
	server.events.add(a.ID, live.Event{Kind: "test", Data: map[string]any{"run": 1, "host": map[string]any{"expected": "secret"}}})
	for role, sees := range map[string]bool{"host": true, "guest": false, "viewer": false} {
		for _, path := range []string{"/history", "/history?format=jsonl", "/playback"} {
			_, _, data := s.call("GET", "/api/v1/rooms/"+a.ID+path, a.Tokens[store.Role(role)], "")
			if bytes.Contains(data, []byte("secret")) != sees || !bytes.Contains(data, []byte(`"test"`)) {
				t.Errorf("%s as %s: %s", path, role, data)
			}
		}
	}
}

// Years before and after all others are times like any.
func TestHistoryOfFarTimes(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"files":[{"path":"main.txt","content":"x"}]}`)
	room, viewer := "/api/v1/rooms/"+a.ID, a.Tokens["viewer"]
	for query, some := range map[string]bool{
		"until=0000-01-01T00:00:00Z": false, "until=0001-01-01T00:00:00Z": false, "until=9999-12-31T23:59:59Z": true,
		"since=0000-01-01T00:00:00Z": true, "since=0001-01-01T00:00:00Z": true, "since=9999-12-31T23:59:59Z": false,
	} {
		if page := s.log(room, viewer, "/history?"+query); (len(page.Events) > 0) != some {
			t.Errorf("%s: %d entries", query, len(page.Events))
		}
	}
}

// A password that is typed in a terminal is shown to nobody, and only hosts can read it later.
func TestTypedSecrets(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"stty -echo; echo ready; read x; echo got ${#x}"}]}`)
	room := "/api/v1/rooms/" + a.ID
	ann, _ := s.join(a, a.Tokens["guest"], "Ann")
	ann.say(`{"type":"run.start","mode":"terminal"}`)
	for { // ends with the test's own time
		if _, _, data := s.call("GET", room+"/runs/1/output", a.Tokens["host"], ""); bytes.Contains(data, []byte("ready")) {
			break
		}
	}
	ann.say(`{"type":"stdin","run":1,"data":"hunter2\r"}`)
	ann.wait("run.exited")
	for role, sees := range map[store.Role]bool{store.RoleHost: true, store.RoleGuest: false, store.RoleViewer: false} {
		for _, path := range []string{"/history", "/playback"} {
			_, _, data := s.call("GET", room+path, a.Tokens[role], "")
			if bytes.Contains(data, []byte("hunter2")) != sees || !bytes.Contains(data, []byte(`"bytes":8`)) {
				t.Errorf("%s as %s: %s", path, role, data)
			}
		}
	}
}

func TestHistoryRefusals(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	room, viewer := "/api/v1/rooms/"+a.ID, a.Tokens["viewer"]
	for query, field := range map[string]string{
		"/history?limit=0": "limit", "/history?limit=1001": "limit", "/history?limit=x": "limit", "/history?kind=": "kind", "/history?kind=a,,b": "kind",
		"/history?after=x": "after", "/history?since=x": "since", "/history?until=x": "until", "/history?format=xml": "format",
		"/history?after=0.0.0.0&since=2026-01-01T00:00:00Z": "after", "/playback?from=x": "from", "/playback?from=2026-01-01T00:00:00Z&after=0.0.0.0": "from",
		"/playback?since=2026-01-01T00:00:00Z": "since",
	} {
		status, _, data := s.call("GET", room+query, viewer, "")
		if status != http.StatusBadRequest || !strings.Contains(string(data), `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s", query, status, data)
		}
	}
}

// Who holds what an answer takes does not wait for more of it: others would do the same, and all
// would wait for each other.
func TestHistoryHoldsOnce(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"files":[{"path":"main.txt","content":"` + strings.Repeat("x", 2*smallAnswer) + `"}]}`)
	room, viewer := "/api/v1/rooms/"+a.ID, a.Tokens["viewer"]
	ann, _ := s.join(a, a.Tokens["host"], "Ann")
	ann.say(`{"type":"run.start","mode":"pipes","language":"bash","stdin":"` + strings.Repeat("z", smallAnswer) + `"}`)
	ann.wait("run.exited")
	answers := s.Config.Handler.(*Server).answers
	answers.slack = 50 * time.Millisecond
	for path, held := range map[string]int64{"/playback": bundleBytes, "/history": logHolds, "/history?format=jsonl": logHolds} {
		answers.most = held + 1
		if status, _, data := s.call("GET", room+path, viewer, ""); status != http.StatusOK {
			t.Errorf("%s: %d %.300s", path, status, data)
		}
	}
}

// What is typed for a program that has closed its input goes nowhere, and is not kept without end.
func TestHistoryKeepsLittleInput(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"exec 0<&-; echo closed; sleep 1000"}]}`)
	ann, _ := s.join(a, a.Tokens["guest"], "Ann")
	ann.say(`{"type":"run.start","mode":"pipes"}`)
	ann.wait("run.stage")
	const each = 400_000
	for range 4 {
		ann.say(`{"type":"stdin","data":"` + strings.Repeat("k", each) + `"}`)
		ann.wait("run.stdin")
	}
	ann.say(`{"type":"run.stop"}`)
	ann.wait("run.exited")
	kept := 0
	for next, more := "0.0.0.0", true; more; {
		page := s.log("/api/v1/rooms/"+a.ID, a.Tokens["viewer"], "/history?kind=stdin&after="+next)
		for _, e := range page.Events {
			text, _ := e.Data["data"].(string)
			kept += len(text)
		}
		next, more = page.Next, page.More
	}
	if kept != 2*each {
		t.Errorf("%d bytes are kept, want %d: no more than %d", kept, 2*each, maxKeptInput)
	}
}
