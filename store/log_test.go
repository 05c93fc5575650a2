package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// line is an entry in a few letters.
func line(e Entry) string {
	switch {
	case e.Edit != nil:
		return fmt.Sprintf("%d edit %s %d-%d", e.At.UnixMicro(), e.Edit.Author, e.Edit.From, e.Edit.To)
	case e.Output != nil:
		return fmt.Sprintf("%d out %d %s@%d %s", e.At.UnixMicro(), e.Output.Run, e.Output.Stream, e.Output.Offset, e.Output.Data)
	}
	return fmt.Sprintf("%d %s", e.At.UnixMicro(), e.Event.Kind)
}

func lines(entries []Entry) (all []string) {
	for _, e := range entries {
		all = append(all, line(e))
	}
	return all
}

// busyRoom is a room with something of everything. Its clock is in microseconds.
func busyRoom(t *testing.T) *Store {
	s, _ := timed(t)
	ctx := t.Context()
	addRoom(t, s, "r")
	addRoom(t, s, "other")
	event := func(at int64, kind, data string) Event {
		return Event{RoomID: "r", At: fromMicros(at), Kind: kind, Data: json.RawMessage(data)}
	}
	events := []Event{
		event(100, "open", `{}`), event(101, "join", `{"participant":{"id":"p_a","name":"Ann"}}`),
		event(300, "run", `{"run":1,"started_by":"p_a","started_by_name":"Ann"}`), event(355, "stdin", `{"run":1,"by":"p_a","data":"p_a"}`),
		event(400, "leave", `{"participant":{"id":"p_a","name":"Ann"},"text":"Ann"}`),
		{RoomID: "other", At: fromMicros(350), Kind: "join", Data: json.RawMessage(`{"participant":{"id":"p_a","name":"Ann"}}`)},
	}
	if err := s.AppendEvents(ctx, events); err != nil {
		t.Fatal(err)
	}
	var updates []Stored
	for i, at := range []int64{200, 210, 310, 200 + 2*editPause.Microseconds(), 300 + 2*editPause.Microseconds()} {
		updates = append(updates, Stored{int64(i + 1), fromMicros(at), "x", []byte{byte(i)}})
	}
	if err := s.ImportUpdates(ctx, "r", updates); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		run := &Run{Room: "r", State: RunFinished, CreatedAt: fromMicros(int64(300 + 1000*n)), StartedBy: "p_a", StartedByName: "Ann", DocSeq: 2}
		if err := s.CreateRun(ctx, run); err != nil {
			t.Fatal(err)
		}
		_, err := s.AppendOutput(ctx, "r", n+1, 0, []Chunk{
			{Stdout, fromMicros(int64(350 + 1000*n)), 0, []byte("ab")}, {Stderr, fromMicros(int64(360 + 1000*n)), 0, []byte("e")},
			{Stdout, fromMicros(int64(370 + 1000*n)), 2, []byte("c")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var busy = []string{
	"100 open", "101 join", "200 edit x 1-2", "300 run", "310 edit x 3-3", "350 out 1 stdout@0 ab", "355 stdin", "360 out 1 stderr@0 e",
	"370 out 1 stdout@2 c", "400 leave", "1350 out 2 stdout@0 ab", "1360 out 2 stderr@0 e", "1370 out 2 stdout@2 c", "4000200 edit x 4-5",
}

// Whatever the size of its pages, a log is the same, and each entry is there once.
func TestLogPages(t *testing.T) {
	s := busyRoom(t)
	for limit := 1; limit <= len(busy)+1; limit++ {
		q := LogQuery{Edits: true, Output: true, Limit: limit}
		var all []string
		for {
			page, err := s.Log(t.Context(), "r", q)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, lines(page.Entries)...)
			if len(page.Entries) > limit || page.More && len(page.Entries) == 0 {
				t.Fatalf("a page of %d has %d entries", limit, len(page.Entries))
			}
			if q.After, err = ParsePosition(page.Next.String()); err != nil || q.After != page.Next {
				t.Fatalf("the position %v is read as %v (%v)", page.Next, q.After, err)
			}
			if !page.More {
				break
			}
		}
		if !slices.Equal(all, busy) {
			t.Errorf("in pages of %d:\n%s\nwant\n%s", limit, strings.Join(all, "\n"), strings.Join(busy, "\n"))
		}
	}
}

func TestLogQueries(t *testing.T) {
	s := busyRoom(t)
	for name, tt := range map[string]struct {
		q    LogQuery
		want []string
	}{
		"kinds":       {LogQuery{Kinds: []string{"join", "leave"}}, []string{"101 join", "400 leave"}},
		"edits":       {LogQuery{Kinds: []string{}, Edits: true}, []string{"200 edit x 1-3", "4000200 edit x 4-5"}},
		"each update": {LogQuery{Kinds: []string{}, Edits: true, EachUpdate: true}, []string{"200 edit x 1-1", "210 edit x 2-2", "310 edit x 3-3", "4000200 edit x 4-4", "4000300 edit x 5-5"}},
		"output":      {LogQuery{Kinds: []string{}, Output: true, After: Position{Run: 1, Rows: 2}}, []string{"370 out 1 stdout@2 c", "1350 out 2 stdout@0 ab", "1360 out 2 stderr@0 e", "1370 out 2 stdout@2 c"}},
		"until":       {LogQuery{Edits: true, Output: true, Until: fromMicros(350)}, busy[:6]},
	} {
		t.Run(name, func(t *testing.T) {
			tt.q.Limit = 100
			page, err := s.Log(t.Context(), "r", tt.q)
			if err != nil || page.More || !slices.Equal(lines(page.Entries), tt.want) {
				t.Errorf("%q, more %v (%v), want %q", lines(page.Entries), page.More, err, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "1.2.3", "1.2.3.4.5", "a.0.0.0", "-1.0.0.0", "0.0.9999999999.0", "0.0.0.99999999999999999999"} {
		if p, err := ParsePosition(bad); err == nil {
			t.Errorf("%q is the position %v", bad, p)
		}
	}
}

// From each moment on, what is left of the log is what is later.
func TestMoments(t *testing.T) {
	s := busyRoom(t)
	span, err := s.LogSpan(t.Context(), "r")
	if err != nil || span.Start != fromMicros(100) || span.End != fromMicros(4000300) {
		t.Errorf("the log is from %v to %v (%v)", span.Start, span.End, err)
	}
	for at, want := range map[int64]int{0: 0, 99: 0, 100: 1, 199: 2, 210: 3, 309: 4, 349: 5, 350: 6, 365: 8, 1299: 10, 1355: 11, 5000000: len(busy)} {
		m, err := s.MomentAt(t.Context(), "r", fromMicros(at))
		if err != nil {
			t.Fatal(err)
		}
		page, err := s.Log(t.Context(), "r", LogQuery{Edits: true, Output: true, After: m.Position, Limit: 100})
		if err != nil || !slices.Equal(lines(page.Entries), busy[want:]) {
			t.Errorf("after %d: %q (%v), want %q", at, lines(page.Entries), err, busy[want:])
		}
	}
	if m, err := s.MomentAt(t.Context(), "r", fromMicros(1365)); err != nil || m.Sizes != (OutputSizes{Stdout: 2, Stderr: 1}) || m.Run != 2 {
		t.Errorf("output until then: %+v (%v)", m, err)
	}
	people, err := s.EventsUntil(t.Context(), "r", m4(t, s, 399), "open", []string{"open", "join", "leave"})
	if err != nil || len(people) != 2 || people[1].Kind != "join" {
		t.Errorf("who was there: %+v (%v)", people, err)
	}
}

func m4(t *testing.T, s *Store, at int64) int64 {
	m, err := s.MomentAt(t.Context(), "r", fromMicros(at))
	if err != nil {
		t.Fatal(err)
	}
	return m.Event
}

// A name is taken out of all of its room, and out of nothing else.
func TestErase(t *testing.T) {
	s := busyRoom(t)
	before, err := s.Run(t.Context(), "r", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), "r", "p_a", "Somebody"); err != nil {
		t.Fatal(err)
	}
	page, err := s.Log(t.Context(), "r", LogQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, e := range page.Entries {
		all += string(e.Event.Data) + "\n"
	}
	if strings.Count(all, `"name":"Somebody"`) != 2 || strings.Count(all, `"started_by_name":"Somebody"`) != 1 ||
		strings.Count(all, "Ann") != 1 || !strings.Contains(all, `"data":"p_a"`) {
		t.Errorf("the log is now\n%s", all)
	}
	if run, err := s.Run(t.Context(), "r", 2); err != nil || run.StartedByName != "Somebody" || run.StartedBy != "p_a" {
		t.Errorf("the run is %+v (%v)", run, err)
	}
	// Who has the run from before, as one that goes on, does not bring the name back.
	before.Message = "as it ended"
	if err := s.UpdateRun(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if run, err := s.Run(t.Context(), "r", 2); err != nil || run.StartedByName != "Somebody" || run.Message != "as it ended" {
		t.Errorf("the run is then %+v (%v)", run, err)
	}
	other, err := s.Events(t.Context(), "other", 0, 10)
	if err != nil || len(other) != 1 || !strings.Contains(string(other[0].Data), "Ann") {
		t.Errorf("the other room has %+v (%v)", other, err)
	}
}

// Of a log that is cut at what is folded the rest is as it was.
func TestLogAfterFold(t *testing.T) {
	s := busyRoom(t)
	old, err := s.OldUpdates(t.Context(), "r", fromMicros(250), 0)
	if err != nil || old == nil || old.Seq != 2 {
		t.Fatalf("%+v (%v)", old, err)
	}
	if err := s.Fold(t.Context(), old, []byte("x")); err != nil {
		t.Fatal(err)
	}
	page, err := s.Log(t.Context(), "r", LogQuery{Edits: true, Kinds: []string{}, Limit: 10})
	if err != nil || !slices.Equal(lines(page.Entries), []string{"310 edit x 3-3", "4000200 edit x 4-5"}) {
		t.Errorf("%q (%v)", lines(page.Entries), err)
	}
	if _, err := s.MomentAt(t.Context(), "r", fromMicros(50)); err == nil {
		t.Error("a moment that is gone was found")
	}
	if _, err := s.MomentAt(t.Context(), "r", time.Now()); err != nil {
		t.Error(err)
	}
}
