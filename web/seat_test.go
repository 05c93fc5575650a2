package web

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"corun/store"
)

// fighter is a client that wants the seat and types whether it has it or not.
type fighter struct {
	*peer
	number int
	all    []string     // the ids of those who fight
	epoch  atomic.Int64 // hand-overs that it has heard of
	denied atomic.Int64 // refusals of what it typed
	ended  chan struct{}
}

// listen reads on until the answer to the last ping.
func (f *fighter) listen() {
	defer close(f.ended)
	for {
		_, data, err := f.ws.ReadMessage()
		if err != nil {
			f.t.Errorf("fighter %d: %v", f.number, err)
			return
		}
		var m struct{ Type, Code, Ref string }
		_ = json.Unmarshal(data, &m) // output is no JSON
		switch {
		case m.Type == "driver.changed":
			f.epoch.Add(1)
		case m.Code == "not_driver" && m.Ref == "typed":
			f.denied.Add(1)
		case m.Type == "pong":
			return
		}
	}
}

// fight asks for the seat, takes it and gives it away, and types all the while. Every piece
// that it types is another one, and says who typed it and when.
func (f *fighter) fight(rounds int) {
	for i := range rounds {
		other := f.all[rand.IntN(len(f.all))]
		moves := []string{
			`{"type":"driver.take"}`, `{"type":"driver.request"}`, `{"type":"driver.request","withdraw":true}`,
			`{"type":"driver.give","to":"` + other + `"}`, `{"type":"driver.grant","to":"` + other + `"}`,
			`{"type":"driver.deny","to":"` + other + `"}`, `{"type":"driver.release"}`,
		}
		for _, text := range []string{
			moves[rand.IntN(len(moves))],
			fmt.Sprintf(`{"type":"stdin","ref":"typed","run":1,"data":"%d %d %d\n"}`, f.number, f.epoch.Load(), i),
		} {
			if err := f.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
				f.t.Errorf("fighter %d: %v", f.number, err)
				return
			}
		}
	}
	if err := f.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)); err != nil {
		f.t.Errorf("fighter %d: %v", f.number, err)
	}
	<-f.ended
}

// While twenty fight for the seat, a program gets what was typed by whoever had it at that
// moment, all of it and in that order, and nothing else.
func TestOnlyTheDriversInputArrives(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"cat"}]}`)
	room := "/api/v1/rooms/" + a.ID
	watcher, _ := s.join(a, a.Tokens["viewer"], "Watcher")
	var fighters []*fighter
	numbers := map[string]int{}
	var ids []string
	for n := range 20 {
		role := store.RoleGuest
		if n < 2 {
			role = store.RoleHost
		}
		p, hello := s.join(a, a.Tokens[role], fmt.Sprint("F", n))
		id := hello["you"].(map[string]any)["id"].(string)
		numbers[id], ids = n, append(ids, id)
		fighters = append(fighters, &fighter{peer: p, number: n, ended: make(chan struct{})})
	}
	host := fighters[0]
	host.say(`{"type":"run.start","mode":"pipes"}`)
	host.wait("run.stage")
	host.say(`{"type":"driver.rotate","minutes":0.05}`)
	host.wait("driver.rotation")
	var wg sync.WaitGroup
	for _, f := range fighters {
		f.all = ids
		go f.listen()
		wg.Go(func() { f.fight(60) })
	}
	wg.Wait()
	host.say(`{"type":"driver.take"}`)
	host.say(`{"type":"stdin.eof","run":1}`)
	// The watcher saw it all in the order in which it happened.
	var driver any
	var typed strings.Builder
	handovers, pieces := 0, map[string]bool{}
	check := func(where string, by any, data string) {
		var n, epoch, i int
		if _, err := fmt.Sscanf(data, "%d %d %d\n", &n, &epoch, &i); err != nil || by != driver || numbers[by.(string)] != n || pieces[where+data] {
			t.Errorf("%s: %q of %v arrived while %v had the seat (%v)", where, data, by, driver, err)
		}
		pieces[where+data] = true
	}
	for ended := false; !ended; {
		kind, data, err := watcher.ws.ReadMessage()
		must(t, err)
		if kind == websocket.BinaryMessage {
			watcher.out[data[0]] += string(data[13:])
			continue
		}
		var m map[string]any
		must(t, json.Unmarshal(data, &m))
		switch m["type"] {
		case "driver.changed":
			driver = m["driver"]
			handovers++
		case "run.stdin":
			check("told", m["by"], m["data"].(string))
			typed.WriteString(m["data"].(string))
		case "run.exited":
			ended = true
		}
	}
	if watcher.out[1] != typed.String() {
		t.Errorf("the program read %d bytes, and the drivers typed %d", len(watcher.out[1]), typed.Len())
	}
	denied := int64(0)
	for _, f := range fighters {
		denied += f.denied.Load()
	}
	if typed.Len() == 0 || handovers < 20 || denied < 100 {
		t.Errorf("no fight: %d bytes were typed, %d hand-overs, %d refusals", typed.Len(), handovers, denied)
	}
	t.Logf("%d pieces arrived, %d hand-overs, %d refusals", len(pieces), handovers, denied)
	// The log has the same.
	driver, logged := nil, ""
	for next, more := "0.0.0.0", true; more; {
		page := s.log(room, a.Tokens["viewer"], "/history?kind=driver,stdin&limit=1000&after="+next)
		for _, e := range page.Events {
			if e.Kind == "driver" {
				driver = e.Data["driver"]
				continue
			}
			data, _ := e.Data["data"].(string)
			check("logged", e.Data["by"], data)
			logged += data
		}
		next, more = page.Next, page.More
	}
	if logged != typed.String() {
		t.Errorf("the log has %d bytes that were typed, want %d", len(logged), typed.Len())
	}
}
