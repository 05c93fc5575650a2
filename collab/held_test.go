package collab

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

// typist is somebody who types without a connection: what each edit is, as an update.
func typist(t *testing.T, id uint64, file string, words ...string) (updates [][]byte) {
	t.Helper()
	doc := ycrdt.New(ycrdt.Options{ClientID: id})
	for _, word := range words {
		update, err := doc.Transact(func(tx *ycrdt.Txn) error {
			text := tx.Text(file)
			if word == "" { // all of it is deleted
				return text.Delete(0, len(doc.Text(file)))
			}
			return text.Insert(len(doc.Text(file)), word)
		})
		if err != nil {
			t.Fatal(err)
		}
		updates = append(updates, update)
	}
	return updates
}

func merged(t *testing.T, updates ...[]byte) []byte {
	t.Helper()
	update, err := ycrdt.MergeUpdates(updates...)
	if err != nil {
		t.Fatal(err)
	}
	return update
}

func (c *client) update(update []byte) {
	c.t.Helper()
	c.give(yproto.AppendSync(nil, yproto.SyncUpdate, update))
}

// sees is all that a client has been shown by updates alone: how many they were, and a file.
// Nothing of them waits.
func (c *client) sees(shown int, file, want string) {
	c.t.Helper()
	c.barrier()
	if c.shown != shown {
		c.t.Errorf("shown %d updates instead of %d", c.shown, shown)
	}
	if structs, deletes := c.doc.Pending(); structs || deletes {
		c.t.Error("something that was shown waits")
	}
	if got := c.doc.Text(file); got != want {
		c.t.Errorf("%s has %q instead of %q", file, got, want)
	}
}

// barrier waits until the room has done what it was given, and takes in what it showed.
func (c *client) barrier() {
	c.t.Helper()
	for _, f := range c.waiting() {
		c.frame(f)
	}
}

// waiting gives what there is to be read once the room has done what it was given. An answer
// would not do, as all that is deleted is in each.
func (c *client) waiting() (frames [][]byte) {
	c.t.Helper()
	if err := c.room.whenSaved(c.t.Context(), func() error { return nil }); err != nil {
		c.t.Fatal(err)
	}
	c.conn.mu.Lock()
	queued := c.conn.out != nil
	c.conn.mu.Unlock()
	if !queued {
		return nil
	}
	frames, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return frames
}

// An update whose past is missing is stored and shown to nobody; once its past has come,
// from whomever, it is shown to everybody, once.
func TestWhatWaitsIsShownOnce(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b, c := w.join(store.RoleHost), w.join(store.RoleGuest), w.join(store.RoleViewer)
	u := typist(t, 7, "t", "one ", "two ", "three ")
	_, _, seq, err := a.room.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.update(u[2])
	a.update(u[1])
	for _, who := range []*client{a, b, c} {
		who.sees(0, "t", "")
	}
	if _, _, now, err := a.room.Files(t.Context()); err != nil || now != seq+2 {
		t.Errorf("%d of 2 updates are stored: %v", now-seq, err)
	}
	b.update(u[0]) // not from who sent the others
	for _, who := range []*client{a, b, c} {
		who.sees(1, "t", "one two three ")
	}
	// All of it again is nothing, and what follows comes as it is.
	for _, again := range u {
		a.update(again)
	}
	next := typist(t, 8, "t2", "x")[0]
	a.update(next)
	c.sees(2, "t2", "x")
	a.sees(1, "t", "one two three ")
}

// Deletions that wait are held, too: of what is not there at all, and of what is there in part.
func TestDeletionsThatWait(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	u := typist(t, 7, "t", "one ", "two ", "", "three ")
	a.update(u[2])
	b.sees(0, "t", "")
	a.update(u[0]) // a part of what is deleted
	b.sees(1, "t", "")
	a.update(u[3])
	b.sees(1, "t", "")
	a.update(u[1])
	b.sees(2, "t", "three ")
	a.sees(2, "t", "three ")
}

// Of an update that waits in part the rest is shown at once. Its sender has it already, but
// what goes to all goes to it as well.
func TestAPartWaits(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	u, v := typist(t, 7, "t", "one ", "two "), typist(t, 8, "t2", "x", "y", "z")
	a.update(merged(t, u[0], v[1]))
	b.sees(1, "t", "one ")
	b.sees(1, "t2", "")
	// This fills the one gap and leaves another.
	a.update(merged(t, v[0], typist(t, 9, "t3", "p", "q")[1]))
	b.sees(2, "t2", "xy")
	b.sees(2, "t3", "")
	a.update(v[2])
	a.update(u[1])
	b.sees(4, "t", "one two ")
	b.sees(4, "t2", "xyz")
	a.sees(2, "t2", "xy")
}

// A struct that waits for two things is shown when it has both.
func TestWaitsForOneAfterAnother(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	first, second, third := typist(t, 7, "t", "one ", "two "), [][]byte(nil), []byte(nil)
	doc := ycrdt.New(ycrdt.Options{ClientID: 8})
	for i := range 2 {
		update, err := doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("t2").Insert(0, fmt.Sprint(i)) })
		if err != nil {
			t.Fatal(err)
		}
		second = append(second, update)
	}
	for _, u := range first {
		if err := doc.ApplyUpdate(u); err != nil {
			t.Fatal(err)
		}
	}
	third, err := doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("t").Insert(4, "and ") })
	if err != nil {
		t.Fatal(err)
	}
	a.update(third)
	a.update(second[1])
	a.update(first[1])
	a.update(second[0])
	b.sees(1, "t2", "10")
	b.sees(1, "t", "")
	a.update(first[0])
	b.sees(2, "t", "one and two ")
}

// An empty deletion is nothing, but stock clients fail at one of what they do not have.
func TestEmptyDeletionsAreNotShown(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	empty := []byte{0, 1, 77, 1, 100, 0}
	a.update(empty)
	b.sees(0, "t", "")
	u := typist(t, 7, "t", "one ")[0]
	a.update(append(bytes.Clone(u[:len(u)-1]), empty[1:]...))
	want := yproto.AppendSync(nil, yproto.SyncUpdate, u)
	if frames := b.waiting(); len(frames) != 1 || !bytes.Equal(frames[0], want) {
		t.Errorf("shown %x instead of %x", frames, want)
	}
}

// Who joins gets nothing that waits. The store keeps it, in its log and in its snapshots.
func TestWhatWaitsOutlivesTheRoom(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a := w.join(store.RoleHost)
	u := typist(t, 7, "t", "one ", "two ", "")
	a.update(u[1])
	a.update(u[2])
	check := func() {
		t.Helper()
		b := w.join(store.RoleGuest) // which asks for everything
		if structs, deletes := b.doc.Pending(); structs || deletes || b.text() != "start\n" {
			t.Errorf("who joins has %q, and waiting: %v, %v", b.text(), structs, deletes)
		}
		b.sync() // and this is what it lacks
		if structs, deletes := b.doc.Pending(); structs || deletes {
			t.Errorf("who asks again has waiting: %v, %v", structs, deletes)
		}
	}
	check()
	for _, snapshot := range []bool{false, true} {
		if snapshot {
			room := w.acquire()
			if err := room.whenSaved(t.Context(), func() error { room.saveSnapshot(true); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		w.close()
		w.open(HubOptions{})
		check()
	}
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	b.update(u[0])
	b.update(typist(t, 8, "t2", "x")[0])
	a.sees(2, "t", "")
	a.sees(2, "t2", "x")
	if room := a.room; room.call(t.Context(), func() error {
		if structs, deletes := room.doc.Pending(); structs || deletes {
			t.Errorf("still waiting: %v, %v", structs, deletes)
		}
		return nil
	}) != nil {
		t.Error("the room has ended")
	}
}

// What has waited is as much in the document as all else: it is shown when it is saved, and
// not if something that the document had is not. Then everybody is given the document.
func TestWhatWaitedIsSavedFirst(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	other, err := sqlx.Connect("sqlite3", "file:"+w.path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i, fails := range []bool{false, true} {
		file := fmt.Sprint("t", i)
		u := typist(t, uint64(7+i), file, "one ", "two ")
		b.barrier()
		shown, synced := b.shown, b.synced
		stall := other.MustBegin()
		a.update(u[1])
		a.update(u[0])
		if err := a.room.call(t.Context(), func() error {
			if fails {
				a.room.fail(errors.New("as if another commit had failed"))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		b.conn.mu.Lock()
		queued := b.conn.out
		b.conn.mu.Unlock()
		if queued != nil {
			t.Errorf("%q left before the commit", queued.frames)
		}
		if err := stall.Rollback(); err != nil {
			t.Fatal(err)
		}
		b.barrier()
		if got := b.doc.Text(file); got != "one two " {
			t.Errorf("shown %q", got)
		}
		if byAnswer := b.synced > synced; byAnswer != fails || (b.shown > shown) == fails {
			t.Errorf("shown by %d updates and %d answers", b.shown-shown, b.synced-synced)
		}
	}
}

// However much of what has waited comes at once, nobody is too slow to be told.
func TestMuchThatWaited(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	words := []string{"begin "}
	for range 6 {
		words = append(words, strings.Repeat("x", 1<<20))
	}
	u := typist(t, 7, "t", words...)
	for _, update := range u[1:] {
		a.update(update)
	}
	b.sees(0, "t", "")
	a.update(u[0])
	b.sees(1, "t", strings.Join(words, ""))
}

// Many updates whose past never comes are a matter between their sender and the room.
func TestMissingPastIsNoMatterOfOthers(t *testing.T) {
	w := newWorld(t, HubOptions{})
	evil, a, b := w.join(store.RoleGuest), w.join(store.RoleHost), w.join(store.RoleGuest)
	u := typist(t, 7, "t", strings.Split(strings.Repeat("x ", 3000), " ")[:3000]...)
	for _, update := range u[1:] {
		evil.update(update)
	}
	b.sees(0, "t", "")
	a.typed(0, "still ")
	b.sees(1, "file/main", "still start\n")
	if late := w.join(store.RoleViewer); late.text() != "still start\n" {
		t.Errorf("who joins has %q", late.text())
	}
}
