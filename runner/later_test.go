package runner

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"corun/store"
)

// What cannot be stored when a run ends, as on a full disk, is stored when it can be: everybody
// was told the verdict, and it must not become another one.
func TestStoredLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "corun.db")
	r := testRunner(t, func(c *Config) {
		st, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		check(t, err)
		t.Cleanup(func() { check(t, st.Close()) })
		c.Store = st
	})
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=10000")
	check(t, err)
	defer func() { check(t, db.Close()) }()
	swap := func(from, to string) {
		t.Helper()
		for _, table := range []string{"runs", "run_output", "test_results"} {
			_, err := db.ExecContext(t.Context(), `ALTER TABLE `+table+from+` RENAME TO `+table+to)
			check(t, err)
		}
	}
	plain := start(t, r, inTerminal("bash", "echo begin; read x; echo end"))
	plain.waitOutput(store.PTY, "begin")
	tests := start(t, r, tested("bash", `read n; [ "$n" = 0 ] || sleep 2; echo ok`, kase("a", "0", "ok"), kase("b", "1", "ok"), kase("c", "2", "no")))
	tests.wait("a result", func() bool {
		return slices.ContainsFunc(tests.events, func(e Event) bool { return e.Kind == EventTest })
	})
	swap("", "_away")
	check(t, plain.run.Stdin("ann", []byte("x\n")))
	for _, rec := range []*recorder{plain, tests} {
		rec.wait("the verdict", func() bool { return rec.events[len(rec.events)-1].Kind == EventExited })
		if last := rec.events[len(rec.events)-1].Run; last.Status != store.StatusExited || !strings.Contains(last.Message, "saved yet") {
			t.Errorf("it ended as %+v", last)
		}
	}
	swap("_away", "")
	for _, rec := range []*recorder{plain, tests} {
		var kept *store.Run
		for deadline := time.Now().Add(soon); ; time.Sleep(50 * time.Millisecond) {
			kept, err = r.store.Run(t.Context(), rec.run.job.Room, 1)
			check(t, err)
			if kept.State == store.RunFinished || time.Now().After(deadline) {
				break
			}
		}
		if strings.Contains(kept.Message, "saved") {
			t.Errorf("the store has the message %q", kept.Message)
		}
		rec.end() // compares
	}
	results, err := r.store.TestResults(t.Context(), tests.run.job.Room, 1)
	check(t, err)
	if len(results) != 3 || results[0].ID != "a" {
		t.Errorf("the results are %+v", results)
	}
}
