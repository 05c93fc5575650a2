package web

import (
	"database/sql"
	"encoding/json"
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
