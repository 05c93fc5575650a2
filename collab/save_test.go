package collab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"corun/collab/yproto"
	"corun/store"
)

// The database refuses writes: nothing that it refused is seen by anybody, the
// clients are sent off to come again, and when it has recovered they bring it.
func TestNothingUnsavedIsSeen(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	other, err := sqlx.Connect("sqlite3", "file:"+w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Exec(`CREATE TRIGGER full BEFORE INSERT ON updates BEGIN SELECT RAISE(FAIL, 'disk is full'); END`); err != nil {
		t.Fatal(err)
	}
	a.typed(0, "lost? ")
	for _, c := range []*client{a, b} {
		if end := c.ended(); end.Code != CloseTryAgain {
			t.Errorf("closed with %v", end)
		}
	}
	if files, _, _, err := a.room.Files(t.Context()); err != nil || files[0].Content != "start\n" {
		t.Errorf("what was not saved is shown: %v, %v", files, err)
	}
	if _, err := other.Exec(`DROP TRIGGER full`); err != nil {
		t.Fatal(err)
	}
	a.connect(store.RoleHost)
	a.sync()
	b.connect(store.RoleGuest)
	if b.text() != "lost? start\n" {
		t.Errorf("after recovery: %q", b.text())
	}
}

// While the store stands still, answers and files wait; they never run ahead.
func TestAnswersWaitForTheStore(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	other, err := sqlx.Connect("sqlite3", "file:"+w.path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stall := other.MustBegin()
	a.typed(0, "x")
	b.give(yproto.AppendSync(nil, yproto.SyncStep1, []byte{0}))
	// A call runs after both, so that their effect is there to be seen.
	if err := a.room.call(t.Context(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	b.conn.mu.Lock()
	queued := len(b.conn.frames)
	b.conn.mu.Unlock()
	if queued != 0 {
		t.Errorf("%d frames left before the commit", queued)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.room.Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("snapshot before the commit: %v", err)
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	if s, err := a.room.Snapshot(t.Context()); err != nil || s.Files[0].Content != "xstart\n" {
		t.Errorf("snapshot: %v, %v", s, err)
	}
}

// However many people send however much while the store stands still, what waits
// is bounded; their senders wait, and all of it is there in the end.
func TestMailboxIsBoundedInBytes(t *testing.T) {
	w := newWorld(t, HubOptions{})
	const people, size = 30, 1 << 19
	var clients []*client
	for range people {
		clients = append(clients, w.join(store.RoleGuest))
	}
	other, err := sqlx.Connect("sqlite3", "file:"+w.path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stall := other.MustBegin()
	room := clients[0].room
	done := make(chan error, people)
	for _, c := range clients {
		frame := yproto.AppendSync(nil, yproto.SyncUpdate, c.edit(0, strings.Repeat("x", size)))
		go func() { done <- c.conn.Receive(frame) }()
	}
	// The first that went through show that the others are on their way.
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	room.frames.mu.Lock()
	waiting := room.frames.bytes
	room.frames.mu.Unlock()
	if waiting > mailboxBytes+size+64 {
		t.Errorf("%d bytes wait", waiting)
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range people - 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	files, _, _, err := room.Files(t.Context())
	if err != nil || len(files[0].Content) != people*size+len("start\n") {
		t.Errorf("the file has %d bytes, %v", len(files[0].Content), err)
	}
}

// A copy of the database's files, taken while the process lives, is what a
// killed one leaves behind: all that another participant saw is in it.
func TestSeenSurvivesAKill(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	for i := range 20 {
		a.typed(0, fmt.Sprint(i, " "))
	}
	for !strings.HasPrefix(b.text(), "19 ") {
		b.take()
	}
	left := filepath.Join(t.TempDir(), "left")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(w.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(left+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := b.text()
	w.close()
	w.path = left
	w.open(HubOptions{})
	if files, _, _, err := w.acquire().Files(t.Context()); err != nil || files[0].Content != seen {
		t.Errorf("after the kill: %v, %v, want %q", files, err, seen)
	}
}
