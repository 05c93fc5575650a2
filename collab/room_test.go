package collab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(trimPath); path != "" {
		trimForever(path, os.Getenv(trimFrom))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// world is a hub over a store in a temporary folder.
type world struct {
	t    testing.TB
	path string
	st   *store.Store
	hub  *Hub
}

func newWorld(t testing.TB, opts HubOptions) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "db")}
	w.open(opts)
	t.Cleanup(func() { w.close() })
	update, err := InitialDocument(Initial{Files: []File{{ID: "main", Path: "main.py", Content: "start\n"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.st.CreateRoom(t.Context(), store.NewRoom{ID: "r", InitialUpdate: update}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) open(opts HubOptions) {
	w.t.Helper()
	st, err := store.Open(context.Background(), "sqlite:"+w.path, store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	opts.Frame = func(message []byte) []byte {
		return append(binary.AppendUvarint(nil, uint64(len(message))), message...)
	}
	w.st, w.hub = st, NewHub(st, opts)
}

func (w *world) close() {
	if w.hub == nil {
		return
	}
	if err := errors.Join(w.hub.Close(context.Background()), w.st.Close()); err != nil {
		w.t.Error(err)
	}
	w.hub = nil
}

func (w *world) acquire() *Room {
	w.t.Helper()
	r, err := w.hub.Acquire(w.t.Context(), "r")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// client is a stock client in small: a document, a connection, and what it saw.
type client struct {
	t      testing.TB
	room   *Room
	conn   *SyncConn
	doc    *ycrdt.Doc
	denied []string
	aware  *yproto.Awareness
	synced int           // answers to its step 1
	shown  int           // updates
	ready  chan struct{} // holds one token when there is something to read
}

// peer is how the client joins.
func (c *client) peer(role store.Role) Peer {
	ready := make(chan struct{}, 1)
	c.ready = ready
	return Peer{Role: role, Ready: func(*SyncConn) { ready <- struct{}{} }}
}

// next waits for frames.
func (c *client) next() (frames [][]byte, err error) {
	select {
	case <-c.ready:
	case <-c.t.Context().Done():
		return nil, c.t.Context().Err()
	}
	var wire bytes.Buffer
	err = c.conn.Flush(&wire)
	for wire.Len() > 0 {
		n, sizeErr := binary.ReadUvarint(&wire)
		frame := wire.Next(int(n))
		if sizeErr != nil || len(frame) != int(n) {
			c.t.Fatalf("a frame is torn: %v", sizeErr)
		}
		frames = append(frames, bytes.Clone(frame))
	}
	return frames, err
}

func (w *world) join(role store.Role) *client {
	w.t.Helper()
	c := &client{t: w.t, room: w.acquire(), doc: ycrdt.New(ycrdt.Options{}), aware: yproto.NewAwareness()}
	c.connect(role)
	w.t.Cleanup(c.conn.Close)
	return c
}

func (c *client) connect(role store.Role) {
	c.t.Helper()
	var err error
	if c.conn, err = c.room.Join(c.t.Context(), c.peer(role)); err != nil {
		c.t.Fatal(err)
	}
	c.sync()
}

// sync asks for what it lacks and waits for the answer, which follows all that
// the room has shown it before.
func (c *client) sync() {
	c.t.Helper()
	c.give(yproto.AppendSync(nil, yproto.SyncStep1, c.doc.StateVector()))
	for want := c.synced + 1; c.synced < want; {
		c.take()
	}
}

func (c *client) give(frame []byte) {
	c.t.Helper()
	if err := c.conn.Receive(frame); err != nil {
		c.t.Fatal(err)
	}
}

// take waits for frames and takes them in.
func (c *client) take() {
	c.t.Helper()
	frames, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range frames {
		c.frame(f)
	}
}

func (c *client) frame(f []byte) {
	c.t.Helper()
	if f[0] == 2 { // auth, which only servers send
		c.denied = append(c.denied, string(f[3:]))
		return
	}
	m, err := yproto.Decode(f)
	if err != nil {
		c.t.Fatal(err)
	}
	switch m.Kind {
	case yproto.SyncStep1:
		missing, err := c.doc.EncodeStateAsUpdate(m.Payload)
		if err != nil {
			c.t.Fatal(err)
		}
		// A connection that was closed meanwhile shows in the next call.
		_ = c.conn.Receive(yproto.AppendSync(nil, yproto.SyncStep2, missing))
	case yproto.SyncStep2, yproto.SyncUpdate:
		if m.Kind == yproto.SyncStep2 {
			c.synced++
		} else {
			c.shown++
		}
		if err := c.doc.ApplyUpdate(m.Payload); err != nil {
			c.t.Fatal(err)
		}
	case yproto.AwarenessState:
		var changes []yproto.AwarenessChange
		if err := yproto.DecodeAwareness(m.Payload, func(ch yproto.AwarenessChange) { changes = append(changes, ch) }); err != nil {
			c.t.Fatal(err)
		}
		c.aware.Apply(changes)
	}
}

// edit inserts text and gives the update.
func (c *client) edit(at int, text string) []byte {
	c.t.Helper()
	update, err := c.doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("file/main").Insert(at, text) })
	if err != nil {
		c.t.Fatal(err)
	}
	return update
}

func (c *client) typed(at int, text string) {
	c.t.Helper()
	c.give(yproto.AppendSync(nil, yproto.SyncUpdate, c.edit(at, text)))
}

// ended waits for the connection's end and gives its code.
func (c *client) ended() *CloseError {
	c.t.Helper()
	for {
		_, err := c.next()
		var end *CloseError
		if errors.As(err, &end) {
			return end
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *client) text() string { return c.doc.Text("file/main") }

func TestClientsConverge(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, HubOptions{})
	clients := []*client{w.join(store.RoleHost), w.join(store.RoleGuest), w.join(store.RoleGuest)}
	for i := range 300 {
		c := clients[rnd.IntN(len(clients))]
		c.typed(rnd.IntN(len(c.text())+1), fmt.Sprint(i, " "))
		if rnd.IntN(10) == 0 {
			c.sync()
		}
	}
	for range 2 { // the second round brings what the others gave in the first
		for _, c := range clients {
			c.sync()
		}
	}
	files, _, _, err := clients[0].room.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if c.text() != files[0].Content {
			t.Fatalf("a client has %q, the room %q", c.text(), files[0].Content)
		}
	}
	// What is in the store alone is the same.
	w.close()
	w.open(HubOptions{})
	files2, _, _, err := w.acquire().Files(t.Context())
	if err != nil || files2[0] != files[0] {
		t.Errorf("after reopening: %v, %v", files2, err)
	}
}

func TestBroadcastIsTheReceivedBytes(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleViewer)
	frame := yproto.AppendSync(nil, yproto.SyncUpdate, a.edit(0, "x"))
	a.give(frame)
	frames, err := b.next()
	if err != nil || len(frames) != 1 || !bytes.Equal(frames[0], frame) {
		t.Errorf("got %v, %v: want the very bytes", frames, err)
	}
	// Repeated, it is not news: neither stored nor shown.
	_, _, before, _ := a.room.Files(t.Context())
	a.give(bytes.Clone(frame))
	a.give([]byte{0, 2, 2, 0, 0})
	if _, _, after, err := a.room.Files(t.Context()); after != before || err != nil {
		t.Errorf("a repeated update was stored: %d, %d, %v", before, after, err)
	}
}

func TestRolesAndLock(t *testing.T) {
	w := newWorld(t, HubOptions{})
	host, viewer := w.join(store.RoleHost), w.join(store.RoleViewer)
	viewer.typed(0, "no")
	viewer.sync()
	if len(viewer.denied) != 1 || !strings.Contains(viewer.denied[0], "permission denied") {
		t.Errorf("a viewer's edit was answered by %q", viewer.denied)
	}
	viewer.give(awareness(7, 1, `{"name":"V"}`))
	for len(host.aware.All()) == 0 {
		host.take()
	}
	host.room.SetLocked(true)
	host.typed(0, "no")
	host.sync()
	if len(host.denied) != 1 || !strings.Contains(host.denied[0], "locked") {
		t.Errorf("an edit of a locked room was answered by %q", host.denied)
	}
	files, _, _, err := host.room.Files(t.Context())
	if err != nil || files[0].Content != "start\n" {
		t.Errorf("files: %v, %v", files, err)
	}
}

// Nobody is refused who only answers the question what the room lacks, though all that was
// ever deleted is in the answer.
func TestReadersAreNotRefused(t *testing.T) {
	w := newWorld(t, HubOptions{})
	host := w.join(store.RoleHost)
	host.typed(0, "to be deleted")
	deletion, err := host.doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("file/main").Delete(0, 5) })
	if err != nil {
		t.Fatal(err)
	}
	host.give(yproto.AppendSync(nil, yproto.SyncUpdate, deletion))
	host.sync()
	viewer := w.join(store.RoleViewer)
	answer := func() {
		t.Helper()
		all, err := viewer.doc.EncodeStateAsUpdate(viewer.doc.StateVector())
		if err != nil || len(all) < 4 || all[0] != 0 {
			t.Fatalf("an answer of deletions alone is %v, %v", all, err)
		}
		viewer.give(yproto.AppendSync(nil, yproto.SyncStep2, all))
		viewer.sync()
	}
	answer()
	if len(viewer.denied) > 0 {
		t.Errorf("a viewer who is in step is told %q", viewer.denied)
	}
	edit := viewer.edit(0, "typed without a connection")
	viewer.give(yproto.AppendSync(nil, yproto.SyncStep2, edit))
	viewer.sync()
	if len(viewer.denied) != 1 {
		t.Errorf("a viewer's edit in an answer is told %q", viewer.denied)
	}
}

func awareness(client, clock uint64, state string) []byte {
	return yproto.AppendAwareness(nil, yproto.EncodeAwareness([]yproto.AwarenessChange{{Client: client, Clock: clock, State: []byte(state)}}))
}

func TestAwarenessOfTheDepartedIsRemoved(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	a.give(awareness(1, 1, `{}`))
	for len(b.aware.All()) != 1 {
		b.take()
	}
	a.conn.Close()
	for len(b.aware.All()) != 0 {
		b.take()
	}
}

// Bad frames end their own connection, and nobody else notices.
func TestBadFrames(t *testing.T) {
	big := `"` + strings.Repeat("x", MaxAwarenessBytes*2/3) + `"`
	for name, tc := range map[string]struct {
		frames [][]byte
		code   int
	}{
		"empty":            {[][]byte{{}}, CloseBadData},
		"cut":              {[][]byte{{0, 2, 9, 1}}, CloseBadData},
		"empty update":     {[][]byte{{0, 2, 0}}, CloseBadData},
		"no update":        {[][]byte{{0, 2, 3, 255, 255, 255}}, CloseBadData},
		"endless varint":   {[][]byte{bytes.Repeat([]byte{255}, 40)}, CloseBadData},
		"bad vector":       {[][]byte{{0, 0, 2, 255, 255}}, CloseBadData},
		"awareness":        {[][]byte{{1, 3, 1, 1, 1}}, CloseBadData},
		"much awareness":   {[][]byte{awareness(1, 1, big+strings.Repeat(" ", MaxAwarenessBytes))}, CloseTooLarge},
		"awareness in sum": {[][]byte{awareness(1, 1, big), awareness(2, 1, big)}, CloseTooLarge},
		"awareness that is older in the same message": {[][]byte{
			yproto.AppendAwareness(nil, yproto.EncodeAwareness([]yproto.AwarenessChange{
				{Client: 1, Clock: 5, State: []byte(big)}, {Client: 1, Clock: 3, State: []byte("1")},
			})), awareness(2, 1, big),
		}, CloseTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, HubOptions{})
			good, evil := w.join(store.RoleHost), w.join(store.RoleGuest)
			for _, f := range tc.frames {
				evil.give(f)
			}
			if end := evil.ended(); end.Code != tc.code {
				t.Errorf("closed with %v, want %d", end, tc.code)
			}
			good.typed(0, "fine ")
			good.sync()
			if files, _, _, err := good.room.Files(t.Context()); err != nil || files[0].Content != "fine start\n" {
				t.Errorf("the room has %v, %v", files, err)
			}
		})
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 2, 2, 0, 0})
	f.Add([]byte{0, 0, 1, 0})
	f.Add(awareness(1, 1, `{}`))
	f.Add([]byte{3})
	w := newWorld(f, HubOptions{})
	room := w.acquire()
	f.Fuzz(func(t *testing.T, frame []byte) {
		c, err := room.Join(t.Context(), Peer{Role: store.RoleGuest})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.Receive(frame)
		if _, err := room.StateVector(t.Context()); err != nil {
			t.Fatalf("the room broke: %v", err)
		}
	})
}

func TestCorruptDocumentIsNotEmpty(t *testing.T) {
	w := newWorld(t, HubOptions{})
	if _, err := w.st.CreateRoom(t.Context(), store.NewRoom{ID: "bad", InitialUpdate: []byte{9, 9, 9}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.hub.Acquire(t.Context(), "bad"); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("a corrupt document: %v", err)
		}
	}
	if _, err := w.hub.Acquire(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no room: %v", err)
	}
	if _, _, err := w.hub.FilesAt(t.Context(), "none", time.Now()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("history of no room: %v", err)
	}
	if n := w.hub.Loaded(); n != 0 {
		t.Errorf("%d rooms are loaded", n)
	}
}

func TestSlowReaderIsDropped(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, slow := w.join(store.RoleHost), w.join(store.RoleViewer)
	for range 2 + maxOwedBytes/60_000 {
		a.typed(0, strings.Repeat("x", 60_000))
	}
	a.sync()
	if end := slow.ended(); end.Code != CloseTryAgain {
		t.Errorf("closed with %v", end)
	}
}

func TestFullRoomAndEnd(t *testing.T) {
	w := newWorld(t, HubOptions{})
	first := w.join(store.RoleHost)
	for range MaxParticipants - 1 {
		w.join(store.RoleViewer)
	}
	if _, err := first.room.Join(t.Context(), Peer{}); !errors.Is(err, ErrRoomFull) {
		t.Errorf("one too many: %v", err)
	}
	first.room.DisconnectToken([32]byte{1}, 4403, "nobody")
	first.room.SetEnded(true)
	if end := first.ended(); end.Code != CloseEnded {
		t.Errorf("closed with %v", end)
	}
	var end *CloseError
	if _, err := first.room.Join(t.Context(), Peer{}); !errors.As(err, &end) || end.Code != CloseEnded {
		t.Errorf("join of an ended room: %v", err)
	}
}

func TestDeleteWithPeopleInIt(t *testing.T) {
	w := newWorld(t, HubOptions{})
	c := w.join(store.RoleHost)
	c.typed(0, "x")
	if err := w.hub.Delete(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if end := c.ended(); end.Code != CloseEnded {
		t.Errorf("closed with %v", end)
	}
	if _, err := w.hub.Acquire(t.Context(), "r"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted room: %v", err)
	}
	if err := w.hub.Delete(t.Context(), "r"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted again: %v", err)
	}
	if _, _, _, err := c.room.Files(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("files of a deleted room: %v", err)
	}
	c.room.Release()
}

// Rooms are unloaded and loaded while others come, edit and go: every edit that
// was saved is there at the end.
func TestUnloadRaces(t *testing.T) {
	w := newWorld(t, HubOptions{UnloadAfter: time.Nanosecond})
	const people, edits = 8, 25
	errs := make(chan error, people)
	for range people {
		go func() {
			for range edits {
				room, err := w.hub.Acquire(t.Context(), "r")
				if err == nil {
					err = room.Edit(t.Context(), "t", func(tx *ycrdt.Txn) error { return tx.Text("file/main").Insert(0, "x") })
					room.Release()
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range people {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	files, _, _, err := w.acquire().Files(t.Context())
	if err != nil || files[0].Content != strings.Repeat("x", people*edits)+"start\n" {
		t.Errorf("files: %v, %v", files, err)
	}
}

func TestCheckFiles(t *testing.T) {
	for _, tc := range []struct {
		paths []string
		want  string // in the error; "" for none
	}{
		{[]string{"main.py", "a/b.py", "a/c.py", "ü.py"}, ""},
		{[]string{""}, "empty"},
		{[]string{"/etc/passwd"}, "slash"},
		{[]string{"a/../b"}, `".."`},
		{[]string{"a//b"}, `""`},
		{[]string{"./a"}, `"."`},
		{[]string{"a\nb"}, "control"},
		{[]string{`a\b`}, "backslash"},
		{[]string{"a\xff"}, "UTF-8"},
		{[]string{strings.Repeat("a", 256)}, "255"},
		{[]string{"a", "a"}, `two files have the path "a"`},
		{[]string{"a", "a/b/c"}, `"a" is a file`},
		{make([]string, 201), "201 files"},
	} {
		files := make([]File, len(tc.paths))
		for i, p := range tc.paths {
			files[i].Path = p
			if len(files) > MaxFiles {
				files[i].Path = fmt.Sprint(i)
			}
		}
		err := CheckFiles(files)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.40q: %v, want %q", tc.paths, err, tc.want)
		}
	}
	if err := CheckFiles([]File{{Path: "a", Content: strings.Repeat("x", MaxFilesBytes+1)}}); err == nil {
		t.Error("too many bytes were taken")
	}
}
