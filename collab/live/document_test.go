package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

// document notes what it is told.
type document struct {
	said []string
	seen func() int // messages that wait for somebody
}

func (d *document) SetDriver(id string) {
	d.said = append(d.said, fmt.Sprintf("driver %s (%d)", id, d.seen()))
}

func (d *document) SetSession(id, session string) {
	d.said = append(d.said, fmt.Sprintf("session %s %s", id, session))
}

// The document knows who drives before anybody on /live does, and by which session each is
// known as long as they are there, or may come back to the seat.
func TestTheDocumentIsToldFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		doc := &document{seen: func() int { return 0 }}
		join := func(session, resume string) *Member {
			t.Helper()
			m, err := r.Join(JoinRequest{Role: store.RoleHost, Session: session, Resume: resume, Document: doc}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		a := join("sa", "")
		doc.seen = func() int { return len(a.queue) }
		b := join("sb", "")
		ida, idb := a.You().ID, b.You().ID
		replace := map[string]string{ida: "a", idb: "b"}
		expect := func(want ...string) {
			t.Helper()
			var got []string
			for _, s := range doc.said {
				for id, name := range replace {
					s = strings.ReplaceAll(s, id, name)
				}
				got = append(got, s)
			}
			if !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
			doc.said = nil
		}
		expect("session a sa", "driver  (0)", "session b sb", "driver  (1)")
		drain(t, a)
		if err := a.TakeSeat(); err != nil {
			t.Fatal(err)
		}
		expect("driver a (0)") // while nothing waits for anybody
		if err := a.GiveSeat(idb); err != nil {
			t.Fatal(err)
		}
		expect("driver b (1)")
		a.Leave()
		expect("session a ")
		b.Leave()
		expect()
		b = join("sb2", r.hub.resumeToken("room", idb, [32]byte{}))
		expect("session b sb2", "driver b (2)")
		b.Leave()
		time.Sleep(DriverGrace + time.Millisecond)
		synctest.Wait()
		expect("driver  (2)", "session b ")
		if r.document != nil {
			t.Error("a room without people holds the document")
		}
	})
}
