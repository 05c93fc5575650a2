package collab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jmoiron/sqlx"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

// The database refuses writes: nothing that it refused is seen by anybody, who edits is told
// so, and when it has recovered all of it is there, without anybody's doing.
func TestNothingUnsavedIsSeen(t *testing.T) {
	storage := make(chan bool, 16)
	w := newWorld(t, HubOptions{OnStorage: func(ok bool) { storage <- ok }})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	recover := fullDisk(t)
	a.typed(0, "lost? ")
	if <-storage {
		t.Error("the first that is told of the storage is that it works")
	}
	a.typed(0, "what else? ")
	a.sync()
	if len(a.denied) == 0 || !strings.Contains(a.denied[0], "cannot be saved") {
		t.Errorf("who edits is told %q", a.denied)
	}
	if files, _, _, err := a.room.Files(t.Context()); err != nil || files[0].Content != "start\n" {
		t.Errorf("what was not saved is shown: %v, %v", files, err)
	}
	if err := a.room.Edit(t.Context(), "api", func(*ycrdt.Txn) error { return nil }); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an edit of the server's: %v", err)
	}
	b.sync()
	if b.text() != "start\n" {
		t.Errorf("seen, but not saved: %q", b.text())
	}
	recover()
	for b.text() != "what else? lost? start\n" {
		select {
		case <-a.ready: // the room asks who has what it lacks
			a.ready <- struct{}{}
			a.take()
		case <-b.ready:
			b.ready <- struct{}{}
			b.take()
		}
	}
	if !<-storage {
		t.Error("that the storage works again is not told")
	}
}

// fullDisk makes every write to a file fail until recover is called.
func fullDisk(t *testing.T) (recover func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(limit syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: 0, Max: was.Max})
	recover = func() { set(was) }
	t.Cleanup(recover)
	return recover
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
	queued := b.conn.out
	b.conn.mu.Unlock()
	if queued != nil {
		t.Errorf("%q left before the commit", queued.frames)
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
	var readers sync.WaitGroup
	for _, c := range clients {
		readers.Go(func() { // or it is let go as too slow
			for {
				if _, err := c.next(); err != nil {
					return
				}
			}
		})
	}
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
		readers.Wait()
	}()
	// The first that went through show that the others are on their way.
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	room.mail.mu.Lock()
	waiting := room.mail.bytes
	room.mail.mu.Unlock()
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

// A commit that fails takes nothing from those who only read: they get what is saved.
func TestReadersOutliveAFailedCommit(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleViewer)
	other, err := sqlx.Connect("sqlite3", "file:"+w.path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stall := other.MustBegin()
	a.typed(0, "x")
	b.give(yproto.AppendSync(nil, yproto.SyncStep1, []byte{0}))
	files, _, _, err := a.room.Files(t.Context()) // returns when the store has given up
	if err != nil || files[0].Content != "start\n" {
		t.Errorf("files: %v, %v", files, err)
	}
	for want := b.synced + 1; b.synced < want; {
		b.take() // fails if it is closed
	}
	if b.text() != "start\n" {
		t.Errorf("the viewer sees %q", b.text())
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
}
