package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

// writer is a client's document on /sync.
type writer struct {
	*peer
	doc    *ycrdt.Doc
	denied []string
}

func (s *site) write(path string) *writer {
	s.t.Helper()
	w := &writer{peer: s.dial(path), doc: ycrdt.New(ycrdt.Options{})}
	w.sync()
	return w
}

// sync asks for what the document lacks, and takes in what comes until the answer.
func (w *writer) sync() {
	w.t.Helper()
	must(w.t, w.ws.WriteMessage(websocket.BinaryMessage, yproto.AppendSync(nil, yproto.SyncStep1, w.doc.StateVector())))
	for {
		_, frame, err := w.ws.ReadMessage()
		must(w.t, err)
		if frame[0] == 2 {
			w.denied = append(w.denied, string(frame[3:]))
			continue
		}
		m, err := yproto.Decode(frame)
		must(w.t, err)
		switch m.Kind {
		case yproto.SyncStep1:
			missing, err := w.doc.EncodeStateAsUpdate(m.Payload)
			must(w.t, err)
			must(w.t, w.ws.WriteMessage(websocket.BinaryMessage, yproto.AppendSync(nil, yproto.SyncStep2, missing)))
		case yproto.SyncStep2, yproto.SyncUpdate:
			must(w.t, w.doc.ApplyUpdate(m.Payload))
			if m.Kind == yproto.SyncStep2 {
				return
			}
		}
	}
}

// types inserts text and gives what the server said to it, if anything.
func (w *writer) types(text string) (denied []string) {
	w.t.Helper()
	update, err := w.doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("file/main").Insert(0, text) })
	must(w.t, err)
	must(w.t, w.ws.WriteMessage(websocket.BinaryMessage, yproto.AppendSync(nil, yproto.SyncUpdate, update)))
	w.denied = nil
	w.sync()
	return w.denied
}

func (s *site) content(a createRoomAnswer) string {
	s.t.Helper()
	_, _, data := s.call("GET", "/api/v1/rooms/"+a.ID+"/files", a.Tokens[store.RoleHost], "")
	var files filesAnswer
	must(s.t, json.Unmarshal(data, &files))
	return files.Files[0].Content
}

func TestSessionsAreChecked(t *testing.T) {
	s := newSite(t)
	a := s.room(`{}`)
	for session, want := range map[string]int{
		"": 400, "short": 400, strings.Repeat("x", 65): 400, "with%20a%20space%20in%20it": 400, "colons:colons:colons": 400,
		strings.Repeat("x", 16): 101, strings.Repeat("-_aZ", 16): 101,
	} {
		for _, socket := range []string{"/live/", "/sync/"} {
			path := socket + a.ID + "?token=" + a.Tokens["guest"] + "&session=" + session
			ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+path, nil)
			if res == nil || res.StatusCode != want {
				t.Errorf("%s: %v, %v; want %d", path, res, err, want)
			}
			if ws != nil {
				must(t, ws.Close())
			}
		}
	}
}

// Where only the driver edits, the seat decides from the moment on at which somebody hears of
// it; and each edit has its person.
func TestOnlyTheDriverEdits(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"files":[{"path":"main.txt","content":""}]}`)
	room, host, guest := "/api/v1/rooms/"+a.ID, a.Tokens["host"], a.Tokens["guest"]
	const annsSecret, bobsSecret = "ann_ann_ann_ann_ann", "bob-bob-bob-bob-bob"
	bobDoc := s.write("/sync/" + a.ID + "?token=" + host + "&session=" + bobsSecret) // before /live knows
	ann := s.dial("/live/" + a.ID + "?token=" + guest + "&name=Ann&session=" + annsSecret)
	bob := s.dial("/live/" + a.ID + "?token=" + host + "&name=Bob&session=" + bobsSecret)
	annHello := ann.wait("hello")
	id := func(hello map[string]any) string { return hello["you"].(map[string]any)["id"].(string) }
	annID, bobID := id(annHello), id(bob.wait("hello"))
	annDoc := s.write("/sync/" + a.ID + "?token=" + guest + "&session=" + annsSecret)
	stock := s.write("/sync/" + a.ID + "?token=" + host)
	for name, w := range map[string]*writer{"ann": annDoc, "bob": bobDoc, "stock": stock} {
		if denied := w.types(name + " "); denied != nil {
			t.Errorf("in an ordinary room %s is told %q", name, denied)
		}
	}
	ann.say(`{"type":"room.update","driver_only":true,"ref":1}`)
	if m := ann.wait("error"); m["code"] != "not_allowed" {
		t.Errorf("a guest sets a room: %v", m)
	}
	bob.say(`{"type":"room.update","driver_only":true}`)
	if m := ann.wait("room.updated"); m["room"].(map[string]any)["driver_only"] != true {
		t.Errorf("told %v", m)
	}
	refused := func(name string, w *writer) {
		t.Helper()
		if denied := w.types("NO " + name + " "); len(denied) != 1 || denied[0] != "permission denied: only the driver edits" {
			t.Errorf("%s is told %q", name, denied)
		}
	}
	refused("stock", s.write("/sync/"+a.ID+"?token="+host))
	refused("nobody drives", s.write("/sync/"+a.ID+"?token="+host+"&session="+bobsSecret))
	ann.say(`{"type":"driver.take"}`)
	// From hand to hand: whoever has heard of it edits, and whoever heard that it was given
	// away does not.
	people := []struct {
		name string
		live *peer
		doc  *writer
		id   string
	}{{"ann", ann, annDoc, annID}, {"bob", bob, bobDoc, bobID}}
	for i := range 40 {
		now, other := people[i%2], people[(i+1)%2]
		if m := now.live.wait("driver.changed"); m["driver"] != now.id {
			t.Fatalf("told %v", m)
		}
		if denied := now.doc.types(fmt.Sprint(now.name, i, " ")); denied != nil {
			t.Fatalf("%s drives and is told %q", now.name, denied)
		}
		other.live.wait("driver.changed")
		if i%10 == 0 {
			refused(other.name, s.write("/sync/"+a.ID+"?token="+host+"&session="+map[string]string{"ann": annsSecret, "bob": bobsSecret}[other.name]))
		}
		now.live.say(`{"type":"driver.give","to":"` + other.id + `"}`)
	}
	if text := s.content(a); strings.Contains(text, "NO") || strings.Count(text, "ann") != 21 || strings.Count(text, "bob") != 21 {
		t.Errorf("the document is %q", text)
	}
	// By whom, the log knows; the sessions nobody.
	by := map[any]int{}
	page := s.log(room, guest, "/history?kind=edit,driver&limit=1000")
	for _, e := range page.Events {
		if e.Kind == "edit" {
			by[e.Data["by"]]++
		}
	}
	if by[annID] < 20 || by[bobID] < 20 || by["host"] != 1 || by["guest"] != 0 {
		t.Errorf("edits are by %v", by)
	}
	for _, path := range []string{"", "/history?limit=1000", "/playback"} {
		if _, _, data := s.call("GET", room+path, host, ""); strings.Contains(string(data), annsSecret) || strings.Contains(string(data), bobsSecret) {
			t.Errorf("GET %s tells a session", path)
		}
	}
	if hello, err := json.Marshal(annHello); err != nil || strings.Contains(string(hello), annsSecret) {
		t.Errorf("hello tells a session: %s, %v", hello, err)
	}
	// Who lost /live alone keeps the seat for a while, and goes on.
	must(t, ann.ws.Close())
	bob.wait("participant.left")
	if denied := annDoc.types("alone "); denied != nil {
		t.Errorf("a driver who comes back to /live is told %q", denied)
	}
	if status, _, data := s.call("PATCH", room, host, `{"driver_only":false}`); status != http.StatusOK || !strings.Contains(string(data), `"driver_only":false`) {
		t.Fatalf("%d %s", status, data)
	}
	if denied := stock.types("everybody "); denied != nil {
		t.Errorf("when everybody may edit again a stock client is told %q", denied)
	}
	for begin := time.Now(); !strings.Contains(s.content(a), "alone ") || !strings.Contains(s.content(a), "everybody "); {
		if time.Since(begin) > soon {
			t.Fatalf("the document is %q", s.content(a))
		}
	}
}
