package collab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"corun/collab/yproto"
	"corun/store"
)

// joinAs is join with a session.
func (w *world) joinAs(role store.Role, session string) *client {
	w.t.Helper()
	c := w.join(role)
	c.conn.Close()
	peer := c.peer(role)
	peer.Session = session
	var err error
	if c.conn, err = c.room.Join(w.t.Context(), peer); err != nil {
		w.t.Fatal(err)
	}
	c.sync()
	w.t.Cleanup(c.conn.Close)
	return c
}

// tries types something and tells whether it was taken in. What was not stays in the client.
func (c *client) tries(text string) bool {
	c.t.Helper()
	before := len(c.denied)
	c.typed(0, text)
	c.sync()
	for _, said := range c.denied[before:] {
		if said != "permission denied: only the driver edits" {
			c.t.Errorf("refused with %q", said)
		}
	}
	files, _, _, err := c.room.Files(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	taken := strings.Contains(files[0].Content, text)
	if taken != (len(c.denied) == before) {
		c.t.Errorf("%q is in the document: %v; told %q", text, taken, c.denied[before:])
	}
	return taken
}

func TestOnlyTheDriverEdits(t *testing.T) {
	w := newWorld(t, HubOptions{})
	const annsSecret, bobsSecret = "ann-ann-ann-ann-", "bob-bob-bob-bob-"
	r := w.acquire()
	defer r.Release()
	steps := []struct {
		name          string
		do            func()
		ann, bob, old bool // whose edits are taken
	}{
		{"everybody", func() {}, true, true, true},
		{"nobody drives", func() { r.SetDriverOnly(true) }, false, false, false},
		{"a driver of whom nothing is known", func() { r.SetDriver("p_ann") }, false, false, false},
		{"whose session becomes known", func() { r.SetSession("p_ann", annsSecret) }, true, false, false},
		{"another is known", func() { r.SetSession("p_bob", bobsSecret) }, true, false, false},
		{"and gets the seat", func() { r.SetDriver("p_bob") }, false, true, false},
		{"the former one leaves", func() { r.SetSession("p_ann", "") }, false, true, false},
		{"the driver leaves", func() { r.SetSession("p_bob", "") }, false, false, false},
		{"and comes back by another page", func() { r.SetSession("p_bob", annsSecret) }, true, false, false},
		{"two have the same session", func() { r.SetSession("p_ann", annsSecret) }, true, false, false},
		{"one of them leaves", func() { r.SetSession("p_ann", "") }, true, false, false},
		{"nobody drives again", func() { r.SetDriver("") }, false, false, false},
		{"the room is everybody's again", func() { r.SetDriverOnly(false) }, true, true, true},
	}
	for i, s := range steps {
		// Afresh each time: what was refused before is not brought up again.
		ann, bob, old := w.joinAs(store.RoleHost, annsSecret), w.joinAs(store.RoleGuest, bobsSecret), w.join(store.RoleHost)
		s.do()
		for _, who := range []struct {
			name string
			*client
			want bool
		}{{"ann", ann, s.ann}, {"bob", bob, s.bob}, {"a stock client", old, s.old}} {
			if got := who.tries(fmt.Sprint(i, " ", who.name, " ")); got != who.want {
				t.Errorf("%s: the edit of %s is taken: %v", s.name, who.name, got)
			}
			who.conn.Close()
		}
		viewer := w.joinAs(store.RoleViewer, annsSecret)
		viewer.typed(0, "viewer")
		viewer.sync()
		if !slices.Equal(viewer.denied, []string{"permission denied"}) {
			t.Errorf("%s: a viewer is told %q", s.name, viewer.denied)
		}
		viewer.conn.Close()
	}
}

// What was on its way when the seat changed hands is refused, and is asked for when its author
// drives again; nothing that is typed then waits for it in vain.
func TestWhatWasRefusedComesWithTheSeat(t *testing.T) {
	w := newWorld(t, HubOptions{})
	const secret = "0123456789abcdef"
	c := w.joinAs(store.RoleGuest, secret)
	c.room.SetSession("p_a", secret)
	c.room.SetDriverOnly(true)
	if c.tries("too early ") {
		t.Error("an edit is taken before the seat")
	}
	c.room.SetDriver("p_a")
	if !c.tries("now ") {
		t.Error("an edit is refused after the hand-over")
	}
	for c.sync(); !strings.Contains(w.content(c.room), "now too early start"); c.sync() { // ends with the test's own time
	}
	// Nobody is told of a refusal who has nothing that the room lacks.
	other := w.joinAs(store.RoleGuest, "another-one-than")
	all, err := other.doc.EncodeStateAsUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	other.give(yproto.AppendSync(nil, yproto.SyncStep2, all))
	other.sync()
	if len(other.denied) > 0 {
		t.Errorf("who is in step is told %q", other.denied)
	}
	// The lock brings what it has refused as well.
	other.room.SetLocked(true)
	other.typed(0, "locked out ")
	other.room.SetDriverOnly(false)
	other.room.SetLocked(false)
	for other.sync(); !strings.Contains(w.content(c.room), "locked out now"); other.sync() { // as above
	}
}

// A room that is set so is so when it is loaded again.
func TestDriverOnlyIsStored(t *testing.T) {
	w := newWorld(t, HubOptions{})
	yes := true
	if _, err := w.st.UpdateRoom(t.Context(), "r", store.RoomPatch{DriverOnly: &yes}); err != nil {
		t.Fatal(err)
	}
	if w.join(store.RoleHost).tries("no ") {
		t.Error("a host edits who does not drive")
	}
}

func (w *world) content(r *Room) string {
	w.t.Helper()
	files, _, _, err := r.Files(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return files[0].Content
}

// Edits are by a person where the session tells by whom, else by a role.
func TestAuthors(t *testing.T) {
	w := newWorld(t, HubOptions{})
	const secret = "0123456789abcdef"
	known, stock := w.joinAs(store.RoleGuest, secret), w.join(store.RoleHost)
	known.tries("a")
	known.room.SetSession("p_known", secret)
	known.tries("b")
	stock.tries("c")
	known.room.SetSession("p_same", secret) // another page of theirs, say
	known.tries("d")
	known.room.SetDriver("p_known")
	known.tries("e")
	known.room.SetDriver("")
	known.room.SetSession("p_known", "")
	known.tries("f")
	known.room.SetSession("p_same", "")
	known.tries("g")
	page, err := w.st.Log(t.Context(), "r", store.LogQuery{Edits: true, EachUpdate: true, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var authors []string
	for _, e := range page.Entries {
		authors = append(authors, e.Edit.Author)
	}
	if want := []string{"create", "guest", "p_known", "host", "p_same", "p_known", "p_same", "guest"}; !slices.Equal(authors, want) {
		t.Errorf("the authors are %q, want %q", authors, want)
	}
}
