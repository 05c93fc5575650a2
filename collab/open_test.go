package collab

import (
	"errors"
	"testing"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

// visit joins an open room as a stock client does.
func (w *world) visit(name string) *client {
	w.t.Helper()
	r, err := w.hub.AcquireOpen(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &client{t: w.t, room: r, doc: ycrdt.New(ycrdt.Options{}), aware: yproto.NewAwareness()}
	c.connect(store.RoleGuest)
	w.t.Cleanup(c.conn.Close)
	return c
}

func (w *world) stored(name string) *store.Room {
	w.t.Helper()
	r, err := w.st.Room(w.t.Context(), name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Fatal(err)
	}
	return r
}

func TestOpenRoomIsMadeByItsFirstEdit(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.visit("new"), w.visit("new")
	if !a.room.Public() {
		t.Error("an open room is not public")
	}
	if r := w.stored("new"); r != nil {
		t.Errorf("to look at a name has made %+v", r)
	}
	a.typed(0, "first ")
	for b.text() == "" {
		b.take()
	}
	if r := w.stored("new"); r == nil || !r.Open || !r.RunsEnabled || r.Ended || r.CreatedAt.IsZero() {
		t.Errorf("what was seen is in the room %+v", r)
	}
	b.typed(6, "second")
	b.sync()
	w.close()
	w.open(HubOptions{})
	if c := w.visit("new"); c.text() != "first second" {
		t.Errorf("loaded again it has %q", c.text())
	}
}

// A name is made by the API and by an edit at once, or by an edit of a room that another
// way was looked for before.
func TestOpenRoomIsMadeOnce(t *testing.T) {
	w := newWorld(t, HubOptions{})
	if _, err := w.hub.Acquire(t.Context(), "new"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("acquired, but not as one that is open: %v", err)
	}
	a := w.visit("new")
	if _, err := w.st.CreateRoom(t.Context(), store.NewRoom{ID: "new", Open: true, Title: "by the API"}); err != nil {
		t.Fatal(err)
	}
	a.typed(0, "x")
	a.sync()
	if r := w.stored("new"); r == nil || r.Title != "by the API" {
		t.Errorf("the room is %+v", r)
	}
}

// What could not be saved leaves no room, and is saved when it can be.
func TestOpenRoomThatCannotBeSaved(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a := w.visit("new")
	recover := fullDisk(t)
	a.typed(0, "x")
	a.sync()
	if r := w.stored("new"); r != nil {
		t.Errorf("made, though nothing can be written: %+v", r)
	}
	recover()
	for w.stored("new") == nil {
		a.sync() // in which the room asks for what it lacks
	}
	if b := w.visit("new"); b.text() != "x" {
		t.Errorf("in the room is %q", b.text())
	}
}

// Another document of the name, which was deleted, is known from the beginning.
func TestOpenRoomRemembersWhatWasDeleted(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a := w.visit("new")
	a.typed(0, "old")
	a.sync()
	if err := w.hub.Delete(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	a.room.Release()
	r, err := w.hub.AcquireOpen(t.Context(), "new")
	if err != nil {
		t.Fatal(err)
	}
	a.room = r
	if a.conn, err = r.Join(t.Context(), a.peer(store.RoleGuest)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.conn.Close)
	a.give(yproto.AppendSync(nil, yproto.SyncStep1, a.doc.StateVector()))
	if end := a.ended(); end.Code != ClosePast {
		t.Errorf("who has the old document is closed with %v", end)
	}
	if r := w.stored("new"); r != nil {
		t.Errorf("made by who was refused: %+v", r)
	}
}

func TestUnloadIdle(t *testing.T) {
	w := newWorld(t, HubOptions{})
	used, idle := w.visit("used"), w.visit("idle")
	idle.conn.Close()
	idle.room.Release()
	w.hub.UnloadIdle()
	if n := w.hub.Loaded(); n != 1 {
		t.Errorf("%d rooms are loaded", n)
	}
	used.typed(0, "x")
	used.sync()
}

// A room of the name is made by another way, with tokens, while strangers look at an empty
// document: they are sent away, and nothing that they write gets in.
func TestOpenRoomBecomesPrivate(t *testing.T) {
	for name, writes := range map[string]bool{"somebody comes": false, "the stranger writes": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, HubOptions{})
			stranger := w.visit("new")
			update, err := InitialDocument(Initial{Files: []File{{ID: "main", Path: "main.py", Content: "secret"}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.st.CreateRoom(t.Context(), store.NewRoom{ID: "new", InitialUpdate: update}); err != nil {
				t.Fatal(err)
			}
			if writes {
				stranger.typed(0, "stranger")
			} else {
				r, err := w.hub.Acquire(t.Context(), "new")
				if err != nil {
					t.Fatal(err)
				}
				defer r.Release()
			}
			if end := stranger.ended(); end.Code != CloseTryAgain {
				t.Errorf("the stranger is closed with %v", end)
			}
			stranger.conn.Close()
			stranger.room.Release()
			if stranger.text() != "stranger" && stranger.text() != "" {
				t.Errorf("the stranger has %q", stranger.text())
			}
			r, err := w.hub.Acquire(t.Context(), "new")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Release()
			if files, _, _, err := r.Files(t.Context()); err != nil || len(files) != 1 || files[0].Content != "secret" {
				t.Errorf("in the room is %v, %v", files, err)
			}
			if r.Public() {
				t.Error("it is public")
			}
		})
	}
}

func TestPrivateRoomIsNotLoadedForStrangers(t *testing.T) {
	w := newWorld(t, HubOptions{})
	if _, err := w.hub.AcquireOpen(t.Context(), "r"); !errors.Is(err, ErrPrivate) {
		t.Errorf("acquired: %v", err)
	}
	if n := w.hub.Loaded(); n != 0 {
		t.Errorf("%d rooms are loaded", n)
	}
	w.acquire() // it stays as it is for whoever may enter
	if r, err := w.hub.AcquireOpen(t.Context(), "r"); err != nil || r.Public() {
		t.Errorf("one in memory: %v, and it is public", err)
	}
}

// Who deletes an open room behind the server's back does not make it come to life again.
func TestOpenRoomThatIsGoneStaysGone(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a := w.visit("new")
	a.typed(0, "x")
	a.sync()
	if err := w.st.DeleteRoom(t.Context(), "new", nil); err != nil {
		t.Fatal(err)
	}
	a.typed(0, "y")
	if end := a.ended(); end.Code != CloseTryAgain {
		t.Errorf("closed with %v", end)
	}
	if r := w.stored("new"); r != nil {
		t.Errorf("made again: %+v", r)
	}
}
