package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"
)

// pack makes rows of updates, each that many microseconds after the epoch.
func pack(at []int64, updates ...Update) []row {
	rows := rowsOf{at: make(map[string]int)}
	for i, u := range updates {
		rows.add(&queued{update: u, at: at[i]})
	}
	return rows.list
}

func TestRows(t *testing.T) {
	large := bytes.Repeat([]byte("x"), maxRowBytes)
	update := func(seq int64, author, data string) Update {
		return Update{Room: "r", Seq: seq, Author: author, Data: []byte(data)}
	}
	for _, tt := range []struct {
		name    string
		at      []int64
		updates []Update
		rows    int
		times   []int64 // that come back; nil for at
	}{
		{"one", []int64{7}, []Update{update(1, "a", "x")}, 1, nil},
		{"several", []int64{7, 7, 9}, []Update{update(1, "a", "x"), update(2, "", "yy"), update(3, "c", "z")}, 1, nil},
		{"nothing in them", []int64{1, 2}, []Update{update(4, "", ""), update(5, "", "")}, 1, nil},
		{"the clock set back", []int64{9, 5, 11}, []Update{update(1, "a", "x"), update(2, "a", "y"), update(3, "a", "z")}, 1, []int64{9, 9, 11}},
		{"before 1970", []int64{-9, -5}, []Update{update(1, "a", "x"), update(2, "a", "y")}, 1, nil},
		{"one is left out", []int64{1, 2, 3}, []Update{update(1, "a", "x"), update(3, "b", "y"), update(4, "b", "z")}, 2, nil},
		{"a large one", []int64{1, 2, 3}, []Update{update(1, "a", "x"), update(2, "b", string(large)), update(3, "c", "y")}, 3, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := pack(tt.at, tt.updates...)
			if len(rows) != tt.rows {
				t.Errorf("%d rows, want %d", len(rows), tt.rows)
			}
			if tt.times == nil {
				tt.times = tt.at
			}
			var got []Stored
			for _, r := range rows {
				all, err := r.updates()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, all...)
			}
			if len(got) != len(tt.updates) {
				t.Fatalf("%d updates come back, want %d", len(got), len(tt.updates))
			}
			for i, u := range tt.updates {
				want := Stored{u.Seq, fromMicros(tt.times[i]), u.Author, u.Data}
				if !reflect.DeepEqual(got[i], want) {
					t.Errorf("%d: %+v, want %+v", i, got[i], want)
				}
			}
		})
	}
}

// Updates of several rooms in one transaction get rows of their own.
func TestRowsOfRooms(t *testing.T) {
	rows := pack([]int64{1, 1, 2, 2}, Update{Room: "a", Seq: 1, Author: "", Data: []byte("x")}, Update{Room: "b", Seq: 8, Author: "", Data: []byte("y")}, Update{Room: "a", Seq: 2, Author: "", Data: []byte("z")}, Update{Room: "b", Seq: 9, Author: "", Data: []byte("w")})
	if len(rows) != 2 || rows[0].room != "a" || rows[0].n != 2 || rows[1].seq != 9 || rows[1].n != 2 {
		t.Errorf("%+v", rows)
	}
}

func TestDamagedRows(t *testing.T) {
	good := pack([]int64{7, 8}, Update{Room: "r", Seq: 1, Author: "ab", Data: []byte("xyz")}, Update{Room: "r", Seq: 2, Author: "c", Data: []byte("w")})[0]
	for name, damage := range map[string]func(*row){
		"no updates":           func(r *row) { r.n = 0 },
		"fewer than none":      func(r *row) { r.n = math.MinInt64 },
		"more than there are":  func(r *row) { r.n, r.seq = 3, 3 },
		"fewer than there are": func(r *row) { r.n = 2; r.data = append(bytes.Clone(r.data), 0, 0, 0) },
		"far too many":         func(r *row) { r.n = math.MaxInt64 },
		"numbers below 1":      func(r *row) { r.seq = 1 },
		"nothing there":        func(r *row) { r.data = nil },
		"an endless number":    func(r *row) { r.data = bytes.Repeat([]byte{0x80}, 40) },
		"a length beyond it":   func(r *row) { r.data = []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f, 'x'} },
		"a time beyond all": func(r *row) {
			r.data = append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, r.data[1:]...)
		},
		"its end is missing":    func(r *row) { r.data = r.data[:len(r.data)-1] },
		"its beginning is gone": func(r *row) { r.data = r.data[1:] },
	} {
		r := good
		damage(&r)
		if all, err := r.updates(); !errors.Is(err, errBadRow) {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
}

// A damaged row is an error of whoever reads it, and never a shorter history.
func TestDamagedRowIsTold(t *testing.T) {
	s := fresh(t)
	addRoom(t, s, "r")
	r := pack([]int64{7, 8}, Update{Room: "r", Seq: 1, Author: "ab", Data: []byte("xyz")}, Update{Room: "r", Seq: 2, Author: "c", Data: []byte("w")})[0]
	s.write.MustExec(`INSERT INTO updates (room_id, seq, n, at, author, data) VALUES ('r', 2, 2, 7, '', ?)`, r.data[:len(r.data)-1])
	for what, err := range map[string]error{
		"load":  second(s.LoadDocument(t.Context(), "r")),
		"until": second(until(s, "r", time.Now())),
		"seq":   second(untilSeq(s, "r", 2)),
	} {
		if !errors.Is(err, errBadRow) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzRow(f *testing.F) {
	r := pack([]int64{7, 8}, Update{Room: "r", Seq: 1, Author: "ab", Data: []byte("xyz")}, Update{Room: "r", Seq: 2, Author: "c", Data: []byte("w")})[0]
	f.Add(r.seq, r.n, r.at, r.data)
	f.Add(int64(1), int64(1), int64(0), []byte("one"))
	f.Add(int64(9), int64(3), int64(-1), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, seq, n, at int64, data []byte) {
		all, err := (&row{seq: seq, n: n, at: at, data: data}).updates()
		if err != nil {
			return
		}
		if int64(len(all)) != n || all[n-1].Seq != seq {
			t.Fatalf("%d updates up to %d, want %d up to %d", len(all), all[len(all)-1].Seq, n, seq)
		}
		if n == 1 {
			return
		}
		// What was read is packed as it was, but for numbers that were not as short as can be.
		b := []byte{}
		for _, u := range all {
			b = appendUpdate(b, u.At.UnixMicro()-at, u.Author, u.Data)
		}
		if len(b) > len(data) {
			t.Fatalf("%d bytes become %d", len(data), len(b))
		}
		again, err := (&row{seq: seq, n: n, at: at, data: b}).updates()
		if err != nil || !reflect.DeepEqual(all, again) {
			t.Fatalf("%+v is read again as %+v, %v", all, again, err)
		}
	})
}

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(micros int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = fromMicros(micros)
}

// timed is a store with a clock.
func timed(t testing.TB) (*Store, *clock) {
	t.Helper()
	c := &clock{at: fromMicros(0)}
	s, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "db"), Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

// together appends updates of a room, from a number on, at these times, in one transaction.
func together(t testing.TB, s *Store, c *clock, room string, seq int64, at ...int64) {
	t.Helper()
	stall, err := s.write.Beginx() // takes the one writing connection
	if err != nil {
		t.Fatal(err)
	}
	// The first makes the writer wait for the connection, with a batch of its own.
	done := make(chan error, len(at)+1)
	s.Updates().Append(Update{Room: "none", Seq: 1}, func(error) { done <- nil })
	for {
		s.updates.mu.Lock()
		taken := len(s.updates.queue) == 0
		s.updates.mu.Unlock()
		if taken {
			break
		}
	}
	for i, at := range at {
		c.set(at)
		s.Updates().Append(Update{Room: room, Seq: seq + int64(i), Author: fmt.Sprint("at ", at), Data: fmt.Append(nil, seq+int64(i))}, func(err error) { done <- err })
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range len(at) + 1 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// A moment within a row has what was there then, and no more.
func TestMomentWithinARow(t *testing.T) {
	s, c := timed(t)
	addRoom(t, s, "r")
	together(t, s, c, "r", 1, 100, 100, 110, 120)
	together(t, s, c, "r", 5, 200, 190, 210, 205) // the clock is set back twice
	together(t, s, c, "r", 9, 150, 160)           // and by much
	var rows int
	if err := s.read.Get(&rows, `SELECT COUNT(*) FROM updates`); err != nil || rows != 3 {
		t.Fatalf("%d rows, want 3 (%v)", rows, err)
	}
	for _, tt := range []struct {
		at   int64
		want int
	}{
		{0, 0}, {99, 0}, {100, 2}, {109, 2}, {110, 3}, {119, 3}, {120, 4}, {149, 4},
		// From here on the last row counts: what it builds on is there, whatever its time.
		{150, 9}, {159, 9}, {160, 10}, {199, 10}, {1000, 10},
	} {
		got, err := until(s, "r", fromMicros(tt.at))
		if err != nil || len(got) != tt.want {
			t.Errorf("at %d: %d updates, want %d, %v", tt.at, len(got), tt.want, err)
		}
		for i, u := range got {
			if string(u) != fmt.Sprint(i+1) {
				t.Errorf("at %d: update %d is %q", tt.at, i+1, u)
			}
		}
	}
	s.write.MustExec(`DELETE FROM updates WHERE seq = 10`) // the row set back
	for at, want := range map[int64]int{189: 4, 199: 4, 200: 6, 204: 6, 205: 8, 209: 8, 210: 8} {
		if got, err := until(s, "r", fromMicros(at)); err != nil || len(got) != want {
			t.Errorf("at %d: %d updates, want %d, %v", at, len(got), want, err)
		}
	}
	for seq := range int64(9) {
		want := min(int(seq), 8)
		if got, err := untilSeq(s, "r", seq); err != nil || len(got) != want {
			t.Errorf("update %d: %d updates, want %d, %v", seq, len(got), want, err)
		}
	}
}
