package collab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"corun/collab/ycrdt"
	"corun/store"
)

// past is a room with a history, and what it was after each update.
type past struct {
	updates [][]byte
	files   [][]File // by the number of the last update; 0 is before the first
}

// longPast makes the history of two people who type, delete and make files without always
// seeing each other's edits at once.
func longPast(t testing.TB, n int) *past {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	server := ycrdt.New(ycrdt.Options{})
	people := []*ycrdt.Doc{ycrdt.New(ycrdt.Options{}), ycrdt.New(ycrdt.Options{})}
	seen := make([]int, len(people))
	p := &past{files: [][]File{FilesOf(server)}}
	for len(p.updates) < n {
		who := rng.IntN(len(people))
		for ; seen[who] < len(p.updates) && rng.IntN(10) > 0; seen[who]++ {
			if err := people[who].ApplyUpdate(p.updates[seen[who]]); err != nil {
				t.Fatal(err)
			}
		}
		update, err := people[who].Transact(func(tx *ycrdt.Txn) error {
			id := fmt.Sprint("f", rng.IntN(3))
			if rng.IntN(20) == 0 || len(p.updates) == 0 {
				return tx.Map(rootFiles).Set(id, ycrdt.Object{{Key: "path", Value: fmt.Sprintf("%s-%d.txt", id, len(p.updates))}})
			}
			length := people[who].Root(filePrefix + id).Len()
			if length > 30 && rng.IntN(3) == 0 {
				return tx.Text(filePrefix+id).Delete(rng.IntN(length-20), 20)
			}
			return tx.Text(filePrefix+id).Insert(rng.IntN(length+1), fmt.Sprint("w", rng.IntN(100), " "))
		})
		if err != nil {
			t.Fatal(err)
		}
		p.updates = append(p.updates, update)
		if err := server.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, FilesOf(server))
	}
	return p
}

// keep stores a history, an update a second, so many of them at once.
func (p *past) keep(t testing.TB, path string, atOnce int) {
	t.Helper()
	at := time.Unix(0, 0)
	st, err := store.Open(t.Context(), "sqlite:"+path, store.Options{
		Durability: store.DurableProcess, Now: func() time.Time { at = at.Add(time.Second); return at },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.CreateRoom(t.Context(), store.NewRoom{ID: "r"}); err != nil { // at second 1
		t.Fatal(err)
	}
	done := make(chan error, atOnce)
	for i := 0; i < len(p.updates); i += atOnce {
		some := p.updates[i:min(i+atOnce, len(p.updates))]
		for k, u := range some {
			st.Updates().Append(store.Update{Room: "r", Seq: int64(i + k + 1), Author: "a", Data: u}, func(err error) { done <- err })
		}
		for range some {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// second is when an update was stored; 0 is a moment before the first.
func second(update int) time.Time { return time.Unix(int64(update)+1, 0) }

// check sees that every moment since one is as it was, that none before is, and that the room
// is loaded as it was left.
func (p *past) check(t *testing.T, hub *Hub, since int) {
	t.Helper()
	for n := 0; n <= len(p.updates); n += 1 + n/7 {
		files, _, err := hub.FilesAt(t.Context(), "r", second(n).Add(time.Second-1))
		bySeq, _, errSeq := hub.FilesAtSeq(t.Context(), "r", int64(n))
		var gone *store.HistoryGoneError
		switch {
		case n < since:
			if !errors.As(err, &gone) || !gone.Since.Equal(second(since)) || !errors.As(errSeq, &gone) {
				t.Errorf("update %d: %v, %v, want it gone since %v", n, err, errSeq, second(since))
			}
		case err != nil || errSeq != nil || !slices.Equal(files, p.files[n]) || !slices.Equal(bySeq, p.files[n]):
			t.Errorf("update %d: %v, %v\nby time   %.300v\nby number %.300v\nwant      %.300v", n, err, errSeq, files, bySeq, p.files[n])
		}
	}
	room, err := hub.Acquire(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	defer room.Release()
	files, _, seq, err := room.Files(t.Context())
	if err != nil || seq != int64(len(p.updates)) || !slices.Equal(files, p.files[len(p.updates)]) {
		t.Errorf("loaded as of update %d, %v: %.300v", seq, err, files)
	}
}

func openPast(t *testing.T, p *past, atOnce int) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "db")}
	p.keep(t, w.path, atOnce)
	w.open(HubOptions{})
	t.Cleanup(w.close)
	return w
}

// However often a history is shortened, what is left of it is exact.
func TestShortenedHistoryIsExact(t *testing.T) {
	p := longPast(t, 400)
	for _, atOnce := range []int{1, 7} { // as many at most are in a row, which stays whole
		w := openPast(t, p, atOnce)
		p.check(t, w.hub, 0)
		for _, cutoff := range []int{-1, 1, 2, 150, 150, 399, 400, 1000} {
			w.hub.trim(t.Context(), second(cutoff))
			base, err := w.st.Base(t.Context(), "r")
			if err != nil {
				t.Fatal(err)
			}
			since := 0
			if base != nil {
				since = int(base.Seq)
			}
			if want := min(cutoff, 400); since > max(want, 0) || since <= want-atOnce {
				t.Errorf("shortened up to %d, want %d", since, want)
			}
			p.check(t, w.hub, since)
			w.close() // and with nothing in memory
			w.open(HubOptions{})
			p.check(t, w.hub, since)
		}
		if files, _, err := w.hub.FilesAt(t.Context(), "r", time.Now()); err != nil || !slices.Equal(files, p.files[400]) {
			t.Errorf("now: %v", err)
		}
	}
}

// The history of a room in use is shortened, and nobody there notices.
func TestShortenedInUse(t *testing.T) {
	w := newWorld(t, HubOptions{})
	a, b := w.join(store.RoleHost), w.join(store.RoleGuest)
	for i := range 30 {
		a.typed(0, fmt.Sprint(i, " "))
		if i%10 == 9 {
			b.sync()
			w.hub.trim(t.Context(), time.Now().Add(time.Hour))
		}
	}
	b.sync()
	if !strings.HasPrefix(b.text(), "29 28 27") || b.text() != a.text() {
		t.Errorf("seen is %q", b.text())
	}
	old, err := w.st.OldUpdates(t.Context(), "r", time.Now().Add(time.Hour), 0)
	if err != nil || old != nil {
		t.Errorf("left to fold: %+v, %v", old, err)
	}
	a.typed(0, "last ")
	b.sync()
	if !strings.HasPrefix(b.text(), "last 29") {
		t.Errorf("seen is %q", b.text())
	}
	text := b.text()
	w.close()
	w.open(HubOptions{})
	if files, _, _, err := w.acquire().Files(t.Context()); err != nil || files[0].Content != text {
		t.Errorf("loaded %v, %v, want %q", files, err, text)
	}
}

// A history that somebody reads in pieces stays as it is meanwhile.
func TestHeldHistoryStays(t *testing.T) {
	p := longPast(t, 20)
	w := openPast(t, p, 1)
	release, err := w.hub.HoldHistory(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.hub.HoldHistory(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	again()
	w.hub.trim(t.Context(), second(10))
	p.check(t, w.hub, 0)
	release()
	w.hub.trim(t.Context(), second(10))
	p.check(t, w.hub, 10)
	// One that comes while it is being shortened waits for that.
	ok, err := w.hub.shorten("r", func() error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.hub.HoldHistory(ctx, "r")
		return err
	})
	if !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("held while it was shortened: %v, %v", ok, err)
	}
}

// A history that cannot be read is not shortened, and those of other rooms are.
func TestDamagedHistoryStays(t *testing.T) {
	var log bytes.Buffer
	p := longPast(t, 20)
	w := &world{t: t, path: filepath.Join(t.TempDir(), "db")}
	p.keep(t, w.path, 1)
	w.open(HubOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	t.Cleanup(w.close)
	if _, err := w.st.CreateRoom(t.Context(), store.NewRoom{ID: "bad", InitialUpdate: []byte{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	w.hub.trim(t.Context(), time.Now().Add(time.Hour))
	if !strings.Contains(log.String(), "fold old updates of room bad") {
		t.Errorf("the log is %s", log.String())
	}
	p.check(t, w.hub, 20)
	if old, err := w.st.OldUpdates(t.Context(), "bad", time.Now().Add(time.Hour), 0); err != nil || old == nil || len(old.Updates) != 1 {
		t.Errorf("of the damaged one is left %+v, %v", old, err)
	}
}

// Close ends what keeps histories short, wherever it is.
func TestCloseEndsTrimming(t *testing.T) {
	p := longPast(t, 50)
	w := openPast(t, p, 1)
	w.close()
	w.open(HubOptions{KeepHistory: time.Hour}) // goleak sees what it leaves
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.hub.trim(ctx, second(10))
	p.check(t, w.hub, 0)
}

const (
	// trimPath and trimFrom make this test's executable shorten a history, and say how far it is.
	trimPath = "CORUN_TEST_TRIM"
	trimFrom = "CORUN_TEST_TRIM_FROM"
)

// trimForever is what a process does that is to be killed.
func trimForever(path, from string) {
	st, err := store.Open(context.Background(), "sqlite:"+path, store.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	hub := NewHub(st, HubOptions{})
	var cutoff int
	if _, err := fmt.Sscan(from, &cutoff); err != nil {
		fmt.Println(err)
		return
	}
	for ; ; cutoff++ {
		hub.trim(context.Background(), second(cutoff))
		fmt.Println(cutoff)
	}
}

// A process that is killed while it shortens a history leaves it whole, as far as it said.
func TestKilledWhileShortening(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := longPast(t, 300)
	path := filepath.Join(t.TempDir(), "db")
	p.keep(t, path, 1)
	done := 1
	for kill := range 12 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), trimPath+"="+path, fmt.Sprint(trimFrom, "=", done))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + kill { // the next one is being folded when it dies
			if !lines.Scan() {
				t.Fatal("the process has ended by itself")
			}
			if _, err := fmt.Sscan(lines.Text(), &done); err != nil {
				t.Fatal(lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before
			if _, err := fmt.Sscan(lines.Text(), &done); err != nil {
				t.Fatal(lines.Text())
			}
		}
		_ = cmd.Wait() // it was killed
		w := &world{t: t, path: path}
		w.open(HubOptions{})
		base, err := w.st.Base(t.Context(), "r")
		if err != nil || base == nil || base.Seq < int64(min(done, 300)) || base.Seq > int64(done+1) {
			t.Fatalf("killed after %d: %+v, %v", done, base, err)
		}
		p.check(t, w.hub, int(base.Seq))
		w.close()
	}
}

// A large document is made again for its snapshot, and a small one is not: what is stored is
// the same.
func TestSnapshotsLargeAndSmall(t *testing.T) {
	for _, size := range []int{1 << 10, 2 * maxEncodedAtOnce} {
		w := newWorld(t, HubOptions{})
		a := w.join(store.RoleHost)
		for sent := 0; sent < size; sent += 1 << 19 {
			a.typed(0, strings.Repeat("text", min(size-sent, 1<<19)/4))
		}
		for range snapshotEvery {
			a.typed(0, "x")
		}
		a.sync()
		room := w.acquire()
		for stored := false; !stored; { // ends with the test's own time
			err := room.call(t.Context(), func() error {
				if stored = room.sinceSnapshot < snapshotEvery; stored {
					room.snapshots.Wait()
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var got []byte
		err := w.st.ReplayUntilSeq(t.Context(), "r", 1<<40, func(u []byte) error {
			if got == nil {
				got = u
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		doc := ycrdt.New(ycrdt.Options{})
		if err := doc.ApplyUpdate(got); err != nil {
			t.Fatal(err)
		}
		if n := len(doc.Text("file/main")); n < size+snapshotEvery/2 || doc.Text("file/main")[n-6:] != "start\n" {
			t.Errorf("of a document of %d bytes the snapshot has %d", size, n)
		}
		var bound, exact int
		if err := room.call(t.Context(), func() error { bound, exact = room.size, room.doc.EncodedSize(); return nil }); err != nil {
			t.Fatal(err)
		}
		if bound < exact || bound > exact+64*snapshotEvery {
			t.Errorf("a document of %d bytes is taken for %d", exact, bound)
		}
		room.Release()
	}
}

// BenchmarkFilesAt replays a history of 100,000 updates.
//
//	go test -run '^$' -bench FilesAt ./collab
func BenchmarkFilesAt(b *testing.B) {
	p := &past{}
	doc := ycrdt.New(ycrdt.Options{})
	for i := range 100_000 {
		update, err := doc.Transact(func(tx *ycrdt.Txn) error {
			if i == 0 {
				return tx.Map(rootFiles).Set("main", ycrdt.Object{{Key: "path", Value: "main.py"}})
			}
			return tx.Text("file/main").Insert(min(doc.Root("file/main").Len(), i%50), "x")
		})
		if err != nil {
			b.Fatal(err)
		}
		p.updates = append(p.updates, update)
	}
	for rows, atOnce := range map[string]int{"packed": 50, "single": 1} {
		path := filepath.Join(b.TempDir(), "db")
		p.keep(b, path, atOnce)
		w := &world{t: b, path: path}
		w.open(HubOptions{})
		for _, at := range []int{1000, 50_000, 100_000} {
			b.Run(fmt.Sprint(rows, "/", at), func(b *testing.B) {
				for b.Loop() {
					if _, _, err := w.hub.FilesAtSeq(b.Context(), "r", int64(at)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(rows+"/time", func(b *testing.B) {
			for b.Loop() {
				if _, _, err := w.hub.FilesAt(b.Context(), "r", second(50_000)); err != nil {
					b.Fatal(err)
				}
			}
		})
		w.close()
	}
}
