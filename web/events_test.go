package web

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"corun/collab/live"
	"corun/store"
)

// What happens while nothing can be stored is in the log afterwards, once and in order; until
// then nobody waits for it but who would change what is there.
func TestEventsAreStoredLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "corun.db")
	st, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	must(t, err)
	defer func() { must(t, st.Close()) }()
	_, err = st.CreateRoom(t.Context(), store.NewRoom{ID: "r"})
	must(t, err)
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=10000")
	must(t, err)
	defer func() { must(t, db.Close()) }()
	do := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		must(t, err)
	}
	l := newEventLog(st, slog.New(slog.DiscardHandler))
	add := func(n int) { l.add("r", live.Event{Kind: "test", Data: n}) }
	add(1)
	must(t, l.stored(t.Context()))
	do(`ALTER TABLE events RENAME TO events_away`)
	for n := 2; n <= 5; n++ {
		add(n)
		must(t, l.flush(t.Context()))
		if l.stored(t.Context()) == nil {
			t.Errorf("%d is said to be stored", n)
		}
	}
	do(`ALTER TABLE events_away RENAME TO events`)
	for deadline := time.Now().Add(soon); l.stored(t.Context()) != nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	add(6)
	must(t, l.close(t.Context()))
	events, err := st.Events(t.Context(), "r", 0, 100)
	must(t, err)
	var got []int
	for _, e := range events {
		var n int
		must(t, json.Unmarshal(e.Data, &n))
		got = append(got, n)
	}
	if len(got) != 6 || got[0] != 1 || got[5] != 6 {
		t.Errorf("the log has %v", got)
	}
	if l.bytes != 0 {
		t.Errorf("%d bytes are still counted", l.bytes)
	}
}

// Events of a room are in order by time as they are by number, whatever times they come with;
// other rooms have nothing to do with it, and are not remembered for ever.
func TestEventsAreInOrder(t *testing.T) {
	l := &eventLog{wake: make(chan struct{}, 1), last: make(map[string]time.Time)}
	at := time.Unix(1000, 0)
	for _, e := range []struct {
		room  string
		after time.Duration
	}{{"a", 5}, {"a", 3}, {"b", 4}, {"a", 6}} {
		l.add(e.room, live.Event{Kind: "k", At: at.Add(e.after)})
	}
	var got []string
	for _, e := range l.waiting {
		got = append(got, fmt.Sprint(e.RoomID, int(e.At.Sub(at))))
	}
	if want := "[a5 a5 b4 a6]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for i := range 3 * rememberedRooms {
		l.add(fmt.Sprint(i), live.Event{Kind: "k", At: at.Add(time.Duration(i) * time.Second)})
	}
	if len(l.last) > rememberedRooms+1 {
		t.Errorf("%d rooms are remembered", len(l.last))
	}
}
