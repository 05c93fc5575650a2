package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// joined folds updates in the tests' way: a state is what was in it, with plus signs.
func joined(old *OldUpdates) []byte {
	var parts [][]byte
	if old.Base != nil {
		parts = append(parts, old.Base)
	}
	return bytes.Join(append(parts, old.Updates...), []byte("+"))
}

// flat is a history, whether or not something of it was folded.
func flat(updates [][]byte) string { return string(bytes.Join(updates, []byte("+"))) }

// Of a history that is folded all is as before from the cutoff on, and what is before it is
// told to be gone.
func TestFold(t *testing.T) {
	s, c := timed(t)
	ctx := t.Context()
	addRoom(t, s, "r")
	together(t, s, c, "r", 1, 100, 110)
	together(t, s, c, "r", 3, 200)
	together(t, s, c, "r", 4, 300, 310, 320)
	together(t, s, c, "r", 7, 400)
	for _, n := range []int64{2, 5} {
		run := &Run{Room: "r", State: RunFinished, CreatedAt: fromMicros(100 * n), DocSeq: n}
		if err := s.CreateRun(ctx, run); err != nil {
			t.Fatal(err)
		}
	}
	moments := []int64{0, 99, 100, 109, 110, 199, 200, 299, 300, 310, 320, 399, 400, 1000}
	was := make(map[int64]string)
	for _, at := range moments {
		all, err := until(s, "r", fromMicros(at))
		if err != nil {
			t.Fatal(err)
		}
		was[at] = flat(all)
	}
	if rooms, err := s.RoomsWithUpdatesUntil(ctx, fromMicros(99), "", 10); err != nil || len(rooms) != 0 {
		t.Errorf("rooms with something to fold: %q, %v", rooms, err)
	}
	have := int64(0)
	for _, tt := range []struct {
		cutoff int64
		seq    int64 // the last that is folded
		since  int64
	}{
		{99, 0, 0},
		{109, 0, 0}, // in the middle of a row, which stays whole
		{110, 2, 110},
		{310, 3, 200},
		{399, 3, 200}, // the run at 500 is of update 5, in the middle of a row
		{499, 3, 200},
		{500, 7, 400},
		{5000, 7, 400},
	} {
		old, err := s.OldUpdates(ctx, "r", fromMicros(tt.cutoff), 0)
		if err != nil {
			t.Fatal(err)
		}
		if old != nil {
			if old.From != have {
				t.Errorf("cutoff %d: it begins after %d, want %d", tt.cutoff, old.From, have)
			}
			if err := s.SaveSnapshot(ctx, "r", old.Seq, []byte(was[1000])); err != nil {
				t.Fatal(err)
			}
			if err := s.Fold(ctx, old, joined(old)); err != nil {
				t.Fatal(err)
			}
			have = old.Seq
			if err := s.Fold(ctx, old, joined(old)); err == nil {
				t.Errorf("cutoff %d: it was folded twice", tt.cutoff)
			}
			if err := s.SaveSnapshot(ctx, "r", old.Seq, []byte("late")); err != nil {
				t.Fatal(err)
			}
		}
		if have != tt.seq {
			t.Errorf("cutoff %d: folded up to %d, want %d", tt.cutoff, have, tt.seq)
		}
		doc, err := s.LoadDocument(ctx, "r")
		if err != nil || doc.LastSeq != 7 {
			t.Fatalf("cutoff %d: loaded up to %d, %v", tt.cutoff, doc.LastSeq, err)
		}
		whole := doc.Updates
		if doc.Snapshot != nil {
			whole = slices.Insert(whole, 0, doc.Snapshot)
		}
		if flat(whole) != was[1000] {
			t.Errorf("cutoff %d: loaded %q, want %q", tt.cutoff, flat(whole), was[1000])
		}
		if last, err := s.LastSeq(ctx, "r"); err != nil || last != 7 {
			t.Errorf("cutoff %d: the last update is %d, %v", tt.cutoff, last, err)
		}
		for _, at := range moments {
			all, err := until(s, "r", fromMicros(at))
			var gone *HistoryGoneError
			if have > 0 && at < tt.since {
				if !errors.As(err, &gone) || gone.Since.UnixMicro() != tt.since {
					t.Errorf("cutoff %d: at %d there is %q, %v, want it gone since %d", tt.cutoff, at, flat(all), err, tt.since)
				}
			} else if err != nil || flat(all) != was[at] {
				t.Errorf("cutoff %d: at %d there is %q, %v, want %q", tt.cutoff, at, flat(all), err, was[at])
			}
		}
		for seq := int64(1); seq <= 7; seq++ {
			all, err := untilSeq(s, "r", seq)
			var gone *HistoryGoneError
			if errors.As(err, &gone) != (seq < have) || (err != nil && gone == nil) || (err == nil && !strings.HasSuffix(flat(all), fmt.Sprint(seq))) {
				t.Errorf("cutoff %d: of update %d there is %q, %v", tt.cutoff, seq, flat(all), err)
			}
		}
	}
	base, err := s.Base(ctx, "r")
	if err != nil || base == nil || base.Seq != 7 || base.At.UnixMicro() != 400 || string(base.State) != was[1000] {
		t.Errorf("base is %+v, %v", base, err)
	}
	// What comes now has the next number, and is there when the room is loaded.
	together(t, s, c, "r", 8, 5001)
	if doc, err := s.LoadDocument(ctx, "r"); err != nil || doc.LastSeq != 8 || len(doc.Updates) != 1 || string(doc.Snapshot) != was[1000] {
		t.Errorf("loaded %+v, %v", doc, err)
	}
	if err := s.DeleteRoom(ctx, "r", nil); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := s.read.Get(&left, `SELECT COUNT(*) FROM bases`); err != nil || left != 0 {
		t.Errorf("%d bases are left of a deleted room, %v", left, err)
	}
}

// A run that has not ended, or was started after the cutoff, keeps what it was made from.
func TestFoldKeepsWhatRunsNeed(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  Run
		want int64
	}{
		{"an old run", Run{State: RunFinished, CreatedAt: fromMicros(10), DocSeq: 2}, 4},
		{"a new run", Run{State: RunFinished, CreatedAt: fromMicros(900), DocSeq: 2}, 2},
		{"a run that goes on", Run{State: RunRunning, CreatedAt: fromMicros(10), DocSeq: 3}, 3},
		{"a run of nothing", Run{State: RunQueued, CreatedAt: fromMicros(10)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := timed(t)
			addRoom(t, s, "r")
			for seq := int64(1); seq <= 4; seq++ {
				together(t, s, c, "r", seq, seq)
			}
			tt.run.Room = "r"
			if err := s.CreateRun(t.Context(), &tt.run); err != nil {
				t.Fatal(err)
			}
			old, err := s.OldUpdates(t.Context(), "r", fromMicros(500), 0)
			if err != nil || (old == nil) != (tt.want == 0) || (old != nil && old.Seq != tt.want) {
				t.Errorf("%+v would be folded, want up to %d, %v", old, tt.want, err)
			}
		})
	}
}

// Where the clock was set back, what was stored after the cutoff by number stays.
func TestFoldWithClockSetBack(t *testing.T) {
	s, c := timed(t)
	addRoom(t, s, "r")
	for i, at := range []int64{100, 900, 200, 300} {
		together(t, s, c, "r", int64(i+1), at)
	}
	if old, err := s.OldUpdates(t.Context(), "r", fromMicros(500), 0); err != nil || old == nil || old.Seq != 1 {
		t.Errorf("%+v would be folded, %v", old, err)
	}
	old, err := s.OldUpdates(t.Context(), "r", fromMicros(900), 0)
	if err != nil || old == nil || old.Seq != 4 || old.At.UnixMicro() != 900 {
		t.Fatalf("%+v would be folded, %v", old, err)
	}
	if err := s.Fold(t.Context(), old, joined(old)); err != nil {
		t.Fatal(err)
	}
	together(t, s, c, "r", 5, 400) // set back again: still, this moment is known
	for at, want := range map[int64]string{300: "", 400: "1+2+3+4+5", 899: "1+2+3+4+5", 900: "1+2+3+4+5"} {
		all, err := until(s, "r", fromMicros(at))
		if flat(all) != want || (err == nil) != (want != "") {
			t.Errorf("at %d: %q, %v, want %q", at, flat(all), err, want)
		}
	}
}

// A snapshot that is not past the moment is what a replay begins with.
func TestReplayBeginsWithASnapshot(t *testing.T) {
	s, c := timed(t)
	addRoom(t, s, "r")
	for seq := int64(1); seq <= 6; seq++ {
		together(t, s, c, "r", seq, 10*seq)
	}
	if err := s.SaveSnapshot(t.Context(), "r", 4, []byte("1-4")); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]string{39: "1+2+3", 40: "1-4", 50: "1-4+5", 1000: "1-4+5+6"} {
		if all, err := until(s, "r", fromMicros(at)); err != nil || flat(all) != want {
			t.Errorf("at %d: %q, %v, want %q", at, flat(all), err, want)
		}
	}
	enough := errors.New("enough")
	if err := s.ReplayUntil(t.Context(), "r", fromMicros(60), func([]byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a replay that was ended: %v", err)
	}
}

func TestUpdatesAfter(t *testing.T) {
	s, c := timed(t)
	addRoom(t, s, "r")
	for seq := int64(1); seq <= 40; seq++ {
		c.set(seq)
		if err := appendWait(s, Update{Room: "r", Seq: seq, Author: fmt.Sprint(seq), Data: make([]byte, 100<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	last, pages := int64(0), 0
	for {
		page, err := s.UpdatesAfter(t.Context(), "r", last, 39)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		pages++
		for _, u := range page {
			if last++; u.Seq != last || u.Author != fmt.Sprint(last) || u.At.UnixMicro() != last || len(u.Data) != 100<<10 {
				t.Fatalf("in place %d there is %d of %q", last, u.Seq, u.Author)
			}
		}
	}
	if last != 39 || pages != 4 {
		t.Errorf("%d updates on %d pages", last, pages)
	}
	old, err := s.OldUpdates(t.Context(), "r", fromMicros(20), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fold(t.Context(), old, []byte("x")); err != nil {
		t.Fatal(err)
	}
	var gone *HistoryGoneError
	if _, err := s.UpdatesAfter(t.Context(), "r", 19, 40); !errors.As(err, &gone) {
		t.Errorf("a page with a hole: %v", err)
	}
	if page, err := s.UpdatesAfter(t.Context(), "r", 20, 40); err != nil || len(page) == 0 || page[0].Seq != 21 {
		t.Errorf("the page after the base: %v", err)
	}
	if _, err := s.UpdatesAfter(t.Context(), "none", 0, 40); !errors.Is(err, ErrNotFound) {
		t.Errorf("updates of no room: %v", err)
	}
}

// What is folded at once is bounded, so that nobody who writes waits for long.
func TestFoldIsBounded(t *testing.T) {
	s, c := timed(t)
	addRoom(t, s, "r")
	const n = 30
	for seq := int64(1); seq <= n; seq++ {
		c.set(seq)
		if err := appendWait(s, Update{Room: "r", Seq: seq, Data: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	have, steps := int64(0), 0
	for {
		old, err := s.OldUpdates(t.Context(), "r", fromMicros(n), have)
		if err != nil {
			t.Fatal(err)
		}
		if old == nil {
			break
		}
		if old.From != have || old.Base != nil || len(old.Updates) > foldBytes>>20 {
			t.Errorf("%d updates after %d, with a base of %d bytes", len(old.Updates), old.From, len(old.Base))
		}
		if err := s.Fold(t.Context(), old, []byte("state")); err != nil {
			t.Fatal(err)
		}
		have = old.Seq
		steps++
	}
	if have != n || steps != 4 {
		t.Errorf("folded up to %d in %d steps", have, steps)
	}
}

func TestTrimEvents(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	addRoom(t, s, "r")
	var in []Event
	for i := range trimmedEvents + 10 {
		in = append(in, Event{RoomID: "r", At: fromMicros(int64(i)), Kind: "a", Data: []byte(`{}`)})
	}
	in = append(in, Event{RoomID: "r", At: time.Now(), Kind: "now", Data: []byte(`{}`)})
	if err := s.AppendEvents(ctx, in); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{trimmedEvents, 9, 0} {
		if n, err := s.TrimEvents(ctx, fromMicros(trimmedEvents+8)); n != want || err != nil {
			t.Errorf("%d events were deleted, want %d, %v", n, want, err)
		}
	}
	if left, err := s.Events(ctx, "r", 0, 10); err != nil || len(left) != 2 || left[1].Kind != "now" {
		t.Errorf("left are %+v, %v", left, err)
	}
}
