package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t testing.TB) *Store {
	s := open(t, filepath.Join(t.TempDir(), "a b?.db")) // a path that needs escaping
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func addRoom(t testing.TB, s *Store, id string) {
	t.Helper()
	if _, err := s.CreateRoom(context.Background(), NewRoom{ID: id}); err != nil {
		t.Fatal(err)
	}
}

// appendWait appends an update and waits for what the writer says of it.
func appendWait(s *Store, u Update) error {
	done := make(chan error, 1)
	s.Updates().Append(u, func(err error) { done <- err })
	return <-done
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "sqlite:", "postgres://x/y", "/a/path"} {
		if s, err := Open(context.Background(), url, Options{}); err == nil {
			t.Errorf("%q was opened", url)
			_ = s.Close()
		}
	}
	if _, err := Open(context.Background(), "sqlite:"+t.TempDir()+"/x", Options{Durability: "hope"}); err == nil {
		t.Error("an unknown durability was taken")
	}
}

func TestRoomsAndTokens(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	hosts, host := NewToken()
	_, guest := NewToken()
	id := NewRoomID()
	if len(id) != 26 {
		t.Errorf("room id %q has %d characters", id, len(id))
	}
	if HashToken(hosts) != host {
		t.Error("a token's hash is not that of HashToken")
	}
	room := NewRoom{ID: id, Title: "T", TokenHashes: map[Role][32]byte{RoleHost: host, RoleGuest: guest}}
	if _, err := s.CreateRoom(ctx, room); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateRoom(ctx, room); !errors.Is(err, ErrExists) {
		t.Errorf("second room of that id: %v", err)
	}
	if got, err := s.GrantByToken(ctx, id, guest); got != (Grant{Role: RoleGuest}) || err != nil {
		t.Errorf("guest token: %v, %v", got, err)
	}
	_, next := NewToken()
	if old, err := s.RotateToken(ctx, id, RoleGuest, next, nil); old != guest || err != nil {
		t.Errorf("rotate: %v", err)
	}
	if _, err := s.GrantByToken(ctx, id, guest); !errors.Is(err, ErrNotFound) {
		t.Errorf("a rotated token still opens: %v", err)
	}
	if _, err := s.GrantByToken(ctx, "other", host); !errors.Is(err, ErrNotFound) {
		t.Errorf("a token opens another room: %v", err)
	}
	yes, title := true, "U"
	got, err := s.UpdateRoom(ctx, id, RoomPatch{Locked: &yes, DriverOnly: &yes, Title: &title})
	if err != nil || !got.Locked || !got.DriverOnly || got.Title != "U" || !got.RunsEnabled || got.Ended {
		t.Errorf("patched room: %+v, %v", got, err)
	}
	if err := s.DeleteRoom(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"delete": s.DeleteRoom(ctx, id, nil),
		"load":   second(s.LoadDocument(ctx, id)),
		"until":  second(until(s, id, time.Now())),
		"seq":    second(untilSeq(s, id, 9)),
		"token":  second(s.GrantByToken(ctx, id, host)),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of a deleted room: %v", what, err)
		}
	}
}

// until and untilSeq gather what is replayed.
func until(s *Store, room string, at time.Time) (all [][]byte, err error) {
	err = s.ReplayUntil(context.Background(), room, at, func(u []byte) error { all = append(all, u); return nil })
	return all, err
}

func untilSeq(s *Store, room string, seq int64) (all [][]byte, err error) {
	err = s.ReplayUntilSeq(context.Background(), room, seq, func(u []byte) error { all = append(all, u); return nil })
	return all, err
}

func second[T any](_ T, err error) error { return err }

func TestTokensExpire(t *testing.T) {
	ctx, at := t.Context(), time.UnixMilli(1e12)
	s, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "db"), Options{Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, hash := NewToken()
	if _, err := s.CreateRoom(ctx, NewRoom{ID: "r", TokenHashes: map[Role][32]byte{RoleGuest: hash}}); err != nil {
		t.Fatal(err)
	}
	good := func(when string, hash [32]byte, want time.Time, ok bool) {
		t.Helper()
		got, err := s.GrantByToken(ctx, "r", hash)
		if ok && (err != nil || !got.Expires.Equal(want) || got.Role != RoleGuest) || !ok && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	rotate := func(expires *time.Time) (hash [32]byte) {
		t.Helper()
		_, hash = NewToken()
		if _, err := s.RotateToken(ctx, "r", RoleGuest, hash, expires); err != nil {
			t.Error(err)
		}
		return hash
	}
	end, never := at.Add(time.Hour), time.Time{}
	good("one that does not", hash, never, true)
	hash = rotate(&end)
	good("in time", hash, end, true)
	hash = rotate(nil)
	good("another with the same end", hash, end, true)
	_, api := NewToken()
	if _, err := s.CreateAPIToken(ctx, "t", api, end); err != nil {
		t.Error(err)
	}
	if ok, err := s.APITokenValid(ctx, api); !ok || err != nil {
		t.Errorf("API token in time: %v, %v", ok, err)
	}
	at = end
	good("at its end", hash, end, false)
	if ok, err := s.APITokenValid(ctx, api); ok || err != nil {
		t.Errorf("API token at its end: %v, %v", ok, err)
	}
	if all, err := s.APITokens(ctx); err != nil || !all[0].Expires.Equal(end) {
		t.Errorf("listed: %v, %v", all, err)
	}
	hash = rotate(&never)
	good("a new one that does not", hash, never, true)
}

func TestUpdatesSurviveReopening(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	addRoom(t, s, "r")
	for seq := range int64(5) {
		if err := appendWait(s, Update{Room: "r", Seq: seq + 1, Data: []byte{byte(seq)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveSnapshot(ctx, "r", 3, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveSnapshot(ctx, "r", 2, []byte("older")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := appendWait(s, Update{Room: "r", Seq: 6}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	s = open(t, path)
	defer s.Close()
	doc, err := s.LoadDocument(ctx, "r")
	if err != nil || string(doc.Snapshot) != "whole" || doc.LastSeq != 5 || len(doc.Updates) != 2 || doc.Updates[0][0] != 3 {
		t.Errorf("loaded %+v, %v", doc, err)
	}
}

// One transaction holds many rooms' updates: a deleted room's must not take the
// others with them, and each room hears of its own in order.
func TestGroupCommitKeepsRoomsApart(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	const rooms, each = 8, 200
	for i := range rooms {
		addRoom(t, s, fmt.Sprint(i))
	}
	var wg sync.WaitGroup
	next := make([]int64, rooms) // written by the writer's goroutine alone
	for i := range rooms {
		for seq := int64(1); seq <= each; seq++ {
			for _, room := range []string{fmt.Sprint(i), "gone"} {
				wg.Add(1)
				s.Updates().Append(Update{Room: room, Seq: seq, Data: []byte("x")}, func(err error) {
					defer wg.Done()
					if room == "gone" {
						if err == nil {
							t.Error("an update of no room was stored")
						}
						return
					}
					if next[i]++; next[i] != seq || err != nil {
						t.Errorf("room %d: told of %d in place %d: %v", i, seq, next[i], err)
					}
				})
			}
		}
	}
	wg.Wait()
	for i := range rooms {
		if doc, err := s.LoadDocument(ctx, fmt.Sprint(i)); err != nil || len(doc.Updates) != each {
			t.Errorf("room %d: %v", i, err)
		}
	}
	if err := s.Ping(ctx); err != nil {
		t.Errorf("a refused room made the store ill: %v", err)
	}
}

// A full disk: all is refused, nothing is half-written, and it recovers.
func TestFullDiskRecovers(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	addRoom(t, s, "r")
	if err := appendWait(s, Update{Room: "r", Seq: 1, Data: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	s.write.MustExec(`PRAGMA max_page_count = 1`) // is raised to what the file has
	if err := appendWait(s, Update{Room: "r", Seq: 2, Data: make([]byte, 1<<20)}); err == nil {
		t.Fatal("a full database took an update")
	}
	s.write.MustExec(`PRAGMA query_only = on`)
	if err := s.Ping(ctx); err == nil {
		t.Error("Ping is content though nothing can be written")
	}
	s.write.MustExec(`PRAGMA query_only = off`)
	s.write.MustExec(`PRAGMA max_page_count = 1000000`)
	if err := s.Ping(ctx); err != nil {
		t.Errorf("recovered, but Ping says: %v", err)
	}
	if err := appendWait(s, Update{Room: "r", Seq: 2, Data: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if doc, err := s.LoadDocument(ctx, "r"); err != nil || len(doc.Updates) != 2 {
		t.Errorf("after recovery: %v", err)
	}
}

// While the disk stands still, memory does not fill; what was refused is told in
// its turn.
func TestQueueIsBounded(t *testing.T) {
	s := fresh(t)
	addRoom(t, s, "r")
	stall, err := s.write.Beginx() // takes the one writing connection
	if err != nil {
		t.Fatal(err)
	}
	const n = 80
	results := make(chan error, n)
	data := make([]byte, 1<<20)
	for seq := int64(1); seq <= n; seq++ {
		s.Updates().Append(Update{Room: "r", Seq: seq, Data: data}, func(err error) { results <- err })
	}
	s.updates.mu.Lock()
	waiting := s.updates.bytes
	s.updates.mu.Unlock()
	if waiting > maxQueuedBytes+n*queuedOverhead {
		t.Errorf("%d bytes wait", waiting)
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	var refused []string
	for i := range n {
		if err := <-results; errors.Is(err, ErrOverloaded) {
			refused = append(refused, fmt.Sprint(i))
		} else if err != nil {
			t.Error(err)
		}
	}
	if len(refused) != n-63 || refused[0] != "63" {
		t.Errorf("refused: %s", strings.Join(refused, " "))
	}
}

// What one room floods the store with is written in parts, in order, and others' updates are in
// the next part.
func TestFloodLeavesOthersTheirTurn(t *testing.T) {
	s := fresh(t)
	addRoom(t, s, "flood")
	addRoom(t, s, "other")
	stall, err := s.write.Beginx() // takes the one writing connection
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	order := make(chan string, n+3)
	add := func(room string, seq int64, size int) {
		s.Updates().Append(Update{Room: room, Seq: seq, Data: make([]byte, size)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			order <- fmt.Sprint(room, seq)
		})
	}
	for seq := int64(1); seq <= n; seq++ {
		add("flood", seq, roomShare/2)
	}
	add("flood", n+1, 3*roomShare) // more than a share, and written all the same
	add("other", 1, 10)
	add("other", 2, 10)
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	var others []int
	next := 1
	for i := range n + 3 {
		switch got := <-order; got {
		case "other1", "other2":
			others = append(others, i)
		case fmt.Sprint("flood", next):
			next++
		default:
			t.Fatalf("%s comes before flood%d", got, next)
		}
	}
	if len(others) != 2 || others[1] > 10 {
		t.Errorf("others' updates were written at places %d of %d", others, n+3)
	}
	if doc, err := s.LoadDocument(context.Background(), "flood"); err != nil || len(doc.Updates) != n+1 {
		t.Errorf("loaded: %v", err)
	}
}

// An update that opens a room makes it once, and is refused by one that is not open; others in
// the same transaction are not concerned.
func TestOpens(t *testing.T) {
	ctx := context.Background()
	s := fresh(t)
	addRoom(t, s, "private")
	for _, tt := range []struct {
		room string
		seq  int64
		want error
	}{{"new", 1, nil}, {"new", 2, nil}, {"private", 1, ErrRefused}, {"new", 2, ErrRefused}} {
		if err := appendWait(s, Update{Room: tt.room, Seq: tt.seq, Data: []byte("x"), Opens: true}); !errors.Is(err, tt.want) {
			t.Errorf("update %d of %s: %v", tt.seq, tt.room, err)
		}
	}
	if doc, err := s.LoadDocument(ctx, "new"); err != nil || len(doc.Updates) != 2 || !doc.Room.Open {
		t.Errorf("the open room: %+v, %v", doc, err)
	}
	if doc, err := s.LoadDocument(ctx, "private"); err != nil || len(doc.Updates) != 0 || doc.Room.Open {
		t.Errorf("the private room: %+v, %v", doc, err)
	}
	stall, err := s.write.Beginx() // takes the one writing connection
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 3)
	for _, room := range []string{"a", "private", "b"} {
		s.Updates().Append(Update{Room: room, Seq: 1, Data: []byte("x"), Opens: true}, func(err error) { results <- err })
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	var refused int
	for range 3 {
		if err := <-results; errors.Is(err, ErrRefused) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d of three were refused", refused)
	}
}

func TestHistoryIgnoresClockSetBack(t *testing.T) {
	ctx := context.Background()
	var mu sync.Mutex
	at := time.Unix(1000, 0)
	s, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "db"), Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addRoom(t, s, "r")
	for i, second := range []int64{1000, 2000, 1500} {
		mu.Lock()
		at = time.Unix(second, 0)
		mu.Unlock()
		if err := appendWait(s, Update{Room: "r", Seq: int64(i + 1), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	for second, want := range map[int64]int{999: 0, 1000: 1, 1400: 1, 1500: 3, 2000: 3} {
		if got, err := until(s, "r", time.Unix(second, 0)); len(got) != want || err != nil {
			t.Errorf("at %d: %d updates, want %d, %v", second, len(got), want, err)
		}
	}
}

func TestRunsAndOutput(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	addRoom(t, s, "r")
	for want := 1; want <= 2; want++ {
		run := &Run{Room: "r", State: RunRunning, Stage: "run", CreatedAt: time.Unix(1, 0), DocSeq: 7}
		if err := s.CreateRun(ctx, run); err != nil || run.Number != want {
			t.Fatalf("run %d, want %d: %v", run.Number, want, err)
		}
	}
	if _, err := s.AppendOutput(ctx, "r", 1, 0, []Chunk{{Stream: Stdout, Data: []byte("a")}, {Stream: Stderr, Data: []byte("bc")}}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.MarkLostRuns(ctx); n != 2 || err != nil {
		t.Errorf("lost %d: %v", n, err)
	}
	run, err := s.Run(ctx, "r", 1)
	if err != nil || run.Status != StatusLost || run.State != RunFinished || run.DocSeq != 7 || run.Usage.OutputBytes != 3 || run.Output.Stderr != 2 {
		t.Errorf("lost run: %+v, %v", run, err)
	}
	if runs, err := s.Runs(ctx, "r", 10); len(runs) != 2 || runs[0].Number != 2 || err != nil {
		t.Errorf("runs: %v, %v", runs, err)
	}
	if err := s.UpdateRun(ctx, &Run{Room: "r", Number: 9, State: RunFinished}); !errors.Is(err, ErrNotFound) {
		t.Errorf("update of no run: %v", err)
	}
	if n, err := s.MarkLostRuns(ctx); n != 0 || err != nil {
		t.Errorf("lost again %d: %v", n, err)
	}
	// The log has the end of each, once.
	var ends []string
	events, err := s.Events(ctx, "r", 0, 10)
	for _, e := range events {
		var data struct {
			Run           int
			Event, Status string
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, fmt.Sprint(e.Kind, " ", data.Run, " ", data.Event, " ", data.Status))
	}
	if want := []string{"run 1 exited lost", "run 2 exited lost"}; !slices.Equal(ends, want) || err != nil {
		t.Errorf("the log has %q (%v), want %q", ends, err, want)
	}
}

func TestEvents(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	addRoom(t, s, "r")
	in := []Event{{RoomID: "r", Kind: "a", Data: []byte(`{}`)}, {RoomID: "gone", Kind: "x", Data: []byte(`{}`)}, {RoomID: "r", Kind: "b", Data: []byte(`1`)}}
	if err := s.AppendEvents(ctx, in); err != nil {
		t.Fatal(err)
	}
	all, err := s.Events(ctx, "r", 0, 10)
	if err != nil || len(all) != 2 || all[1].Kind != "b" {
		t.Fatalf("events: %+v, %v", all, err)
	}
	if rest, err := s.Events(ctx, "r", all[0].ID, 10); len(rest) != 1 || err != nil {
		t.Errorf("rest: %+v, %v", rest, err)
	}
}

// What is stored without a flush leaves the connection as it was for what must be flushed,
// whether it was stored or refused.
func TestLightTx(t *testing.T) {
	s := fresh(t)
	level := func(db interface {
		GetContext(context.Context, any, string, ...any) error
	}) (n int) {
		t.Helper()
		if err := db.GetContext(t.Context(), &n, "PRAGMA synchronous"); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const normal, full = 1, 2
	canceled, cancel := context.WithCancel(t.Context())
	defer cancel()
	refusal := errors.New("refused")
	for _, c := range []struct {
		name string
		ctx  context.Context
		do   func() error
		want error
	}{
		{"stored", t.Context(), func() error { return nil }, nil},
		{"refused", t.Context(), func() error { return refusal }, refusal},
		{"given up", canceled, func() error { cancel(); return canceled.Err() }, context.Canceled},
	} {
		err := s.lightTx(c.ctx, func(tx *sqlx.Tx) error {
			if got := level(tx); got != normal {
				t.Errorf("%s: synchronous is %d meanwhile, want %d", c.name, got, normal)
			}
			return c.do()
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if got := level(s.write); got != full {
			t.Errorf("%s: synchronous is %d afterwards, want %d", c.name, got, full)
		}
	}
}

func TestIsDiskError(t *testing.T) {
	s := fresh(t)
	_, err := s.write.ExecContext(t.Context(), `PRAGMA max_page_count=1`) // no more than there are
	if err != nil {
		t.Fatal(err)
	}
	addRoomErr := func() error {
		for {
			if _, err := s.CreateRoom(t.Context(), NewRoom{ID: NewRoomID(), Title: strings.Repeat("x", 100)}); err != nil {
				return err
			}
		}
	}
	if err := addRoomErr(); !IsDiskError(err) {
		t.Errorf("of a full disk: %v", err)
	}
	if _, err := s.Room(t.Context(), "none"); IsDiskError(err) {
		t.Errorf("of no room: %v", err)
	}
}
