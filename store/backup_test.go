package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

// rows gives all that is in a database, by table.
func rows(t *testing.T, path string) map[string][]string {
	t.Helper()
	db, err := sqlx.Connect("sqlite3", uri(path, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tables []string
	if err := db.Select(&tables, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`); err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, table := range tables {
		found, err := db.Queryx(`SELECT * FROM ` + table)
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			row, err := found.SliceScan()
			if err != nil {
				t.Fatal(err)
			}
			all[table] = append(all[table], fmt.Sprintf("%q", row))
		}
		if err := errors.Join(found.Err(), found.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// furnish stores one of everything.
func furnish(t *testing.T, s *Store, c *clock) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, host := NewToken()
	_, err := s.CreateRoom(ctx, NewRoom{ID: "r", Title: "T", TokenHashes: map[Role][32]byte{RoleHost: host}, InitialUpdate: []byte("first")})
	check(err)
	together(t, s, c, "r", 2, 100, 110)
	together(t, s, c, "r", 4, 200, 210)
	check(s.SaveSnapshot(ctx, "r", 5, []byte("whole")))
	old, err := s.OldUpdates(ctx, "r", fromMicros(150), 0)
	check(err)
	check(s.Fold(ctx, old, []byte("base")))
	run := &Run{Room: "r", State: RunFinished, CreatedAt: fromMicros(220), DocSeq: 4, Artefacts: []ArtefactInfo{{"a/b.png", 3}}}
	check(s.CreateRun(ctx, run))
	_, err = s.AppendOutput(ctx, "r", 1, 0, []Chunk{{Stream: Stdout, Data: []byte("out\x00")}, {Stream: Stderr, Data: []byte("err")}})
	check(err)
	check(s.AddArtefacts(ctx, "r", 1, []Artefact{{"a/b.png", []byte("png")}}))
	check(s.AppendEvents(ctx, []Event{{RoomID: "r", At: fromMicros(230), Kind: "join", Data: json.RawMessage(`{"id":"x"}`)}}))
	_, api := NewToken()
	_, err = s.CreateAPIToken(ctx, "ci", api, time.Time{})
	check(err)
	addRoom(t, s, "gone")
	check(s.DeleteRoom(ctx, "gone", []byte{1, 2}))
}

// restore is Restore of a file.
func restore(t *testing.T, rawURL, file string, force bool) (aside string, err error) {
	t.Helper()
	backup, err := OpenBackup(file)
	if err != nil {
		return "", err
	}
	defer backup.Close()
	return Restore(t.Context(), rawURL, backup, force)
}

func TestBackupAndRestore(t *testing.T) {
	s, c := timed(t)
	furnish(t, s, c)
	dir := t.TempDir()
	backup, restored := filepath.Join(dir, "a b?.backup"), filepath.Join(dir, "new", "corun.db")
	var from string
	if err := s.read.Get(&from, `SELECT file FROM pragma_database_list WHERE name = 'main'`); err != nil {
		t.Fatal(err)
	}
	want := rows(t, from)
	for _, table := range []string{"rooms", "room_tokens", "api_tokens", "updates", "snapshots", "bases", "runs", "run_output", "run_artefacts", "events", "past_documents"} {
		if len(want[table]) == 0 {
			t.Errorf("there is nothing in %s to be tested", table)
		}
	}
	if err := Backup(t.Context(), "sqlite:"+from, backup); err != nil { // while it is open
		t.Fatal(err)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode() != 0o600 {
		t.Errorf("the backup has the mode %v, %v", info.Mode(), err)
	}
	if err := Backup(t.Context(), "sqlite:"+from, backup); !errors.Is(err, ErrExists) {
		t.Errorf("a second backup of that name: %v", err)
	}
	if err := os.Mkdir(filepath.Dir(restored), 0o700); err != nil {
		t.Fatal(err)
	}
	if aside, err := restore(t, "sqlite:"+restored, backup, false); err != nil || aside != "" {
		t.Fatal(aside, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) != 2 { // and the lock
		t.Errorf("in the folders are %q, %v", left, err)
	}
	for i, path := range []string{backup, restored} {
		if got := rows(t, path); !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %v\nwant %v", i, got, want)
		}
	}
	// It is used, and goes on, and then is replaced.
	again := open(t, restored)
	if err := appendWait(again, Update{Room: "r", Seq: 6, Data: []byte("more")}); err != nil {
		t.Fatal(err)
	}
	for _, force := range []bool{false, true} {
		if _, err := restore(t, "sqlite:"+restored, backup, force); !errors.Is(err, ErrInUse) {
			t.Errorf("restored to a database in use: %v", err)
		}
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	after := rows(t, restored)
	if _, err := restore(t, "sqlite:"+restored, backup, false); !errors.Is(err, ErrExists) {
		t.Errorf("restored over a database: %v", err)
	}
	aside, err := restore(t, "sqlite:"+restored, backup, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := rows(t, aside); !reflect.DeepEqual(got, after) {
		t.Errorf("put aside is %v\nwant %v", got, after)
	}
	if got := rows(t, restored); !reflect.DeepEqual(got, want) {
		t.Errorf("restored is %v\nwant %v", got, want)
	}
}

// A database that died with a log, or is no database any more, is put aside with what it has.
func TestRestoreAfterADeath(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "corun.db"), filepath.Join(dir, "backup")
	s := open(t, path)
	addRoom(t, s, "r")
	if err := Backup(t.Context(), "sqlite:"+path, backup); err != nil {
		t.Fatal(err)
	}
	if err := appendWait(s, Update{Room: "r", Seq: 1, Data: []byte("in the log")}); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} { // as a killed process leaves them
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "dead.db"+suffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, "sqlite:"+filepath.Join(dir, "other.db"), filepath.Join(dir, "dead.db"), false); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("restored from a database with a log: %v", err)
	}
	dead := filepath.Join(dir, "dead.db")
	aside, err := restore(t, "sqlite:"+dead, backup, true)
	if err != nil {
		t.Fatal(err)
	}
	if was := rows(t, aside); len(was["updates"]) != 1 {
		t.Errorf("put aside is %v", was)
	}
	if is := rows(t, dead); len(is["updates"]) != 0 || len(is["rooms"]) != 1 {
		t.Errorf("restored is %v", is)
	}
	if err := os.WriteFile(dead, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dead+"-wal", []byte("no log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if aside, err = restore(t, "sqlite:"+dead, backup, true); err != nil {
		t.Fatal(err)
	}
	if was, err := os.ReadFile(aside); err != nil || !strings.HasPrefix(string(was), "no database") {
		t.Errorf("put aside is %.20q, %v", was, err)
	}
	if is := rows(t, dead); len(is["rooms"]) != 1 {
		t.Errorf("restored is %v", is)
	}
}

// What is no sound backup changes nothing.
func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "corun.db")
	s := open(t, source)
	addRoom(t, s, "r")
	if err := appendWait(s, Update{Room: "r", Seq: 1, Data: make([]byte, 1<<16)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sqlOf := func(statements ...string) func(string) error {
		return func(path string) error {
			db, err := sqlx.Connect("sqlite3", uri(path, "rw")+"&_journal_mode=DELETE")
			if err != nil {
				return err
			}
			for _, statement := range statements {
				if _, err := db.Exec(statement); err != nil {
					return err
				}
			}
			return db.Close()
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(path string) error
		want   string
	}{
		{"an empty file", func(path string) error { return os.Truncate(path, 0) }, "no database of Corun's"},
		{"text", func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("text", 5000)), 0o600) }, "no database"},
		{"half of it", func(path string) error { return os.Truncate(path, 1<<16) }, "damaged"},
		{"another's database", sqlOf(`DROP TABLE goose_db_version`), "no database of Corun's"},
		{"a newer one", sqlOf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`), "newer version"},
		{"one table too many", sqlOf(`CREATE TABLE x (y)`), "other tables"},
		{"a trigger", sqlOf(`CREATE TRIGGER x AFTER INSERT ON rooms BEGIN DELETE FROM rooms; END`), "other tables"},
		{"one table too few", sqlOf(`DROP TABLE events`), "other tables"},
		{"rows of no room", sqlOf(`PRAGMA foreign_keys = off`, `DELETE FROM rooms`), "missing"},
		{"nothing", os.Remove, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := t.TempDir()
			backup := filepath.Join(dir, "backup")
			if err := Backup(t.Context(), "sqlite:"+source, backup); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(backup)
			if err := tt.damage(backup); err != nil {
				t.Fatal(err)
			}
			_, err := restore(t, "sqlite:"+filepath.Join(target, "corun.db"), backup, true)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want one that says %q", err, tt.want)
			}
			if left, _ := filepath.Glob(filepath.Join(target, "corun.db*")); len(left) > 1 || len(left) == 1 && !strings.HasSuffix(left[0], ".lock") {
				t.Errorf("left are %q", left)
			}
		})
	}
	if err := Backup(t.Context(), "sqlite:"+filepath.Join(dir, "none.db"), filepath.Join(dir, "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a backup of nothing: %v", err)
	}
}

// A backup of an older version is brought up to date.
func TestRestoreOlderSchema(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "old.db")
	db, err := connect(t.Context(), path, "FULL", "rwc")
	if err != nil {
		t.Fatal(err)
	}
	if err := migrateTo(t.Context(), db, 1); err != nil {
		t.Fatal(err)
	}
	db.MustExec(`INSERT INTO rooms (id, title, language, created_at) VALUES ('r', '', '', 1)`)
	db.MustExec(`INSERT INTO updates (room_id, seq, at, author, data) VALUES ('r', 1, 1, 'a', x'01')`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), "sqlite:"+path, filepath.Join(dir, "backup")); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(dir, "new.db")
	if _, err := restore(t, "sqlite:"+restored, filepath.Join(dir, "backup"), false); err != nil {
		t.Fatal(err)
	}
	s := open(t, restored)
	defer s.Close()
	if doc, err := s.LoadDocument(t.Context(), "r"); err != nil || doc.LastSeq != 1 {
		t.Errorf("%+v, %v", doc, err)
	}
}

// A backup is of one moment, whatever is written meanwhile.
func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "corun.db")
	s := open(t, path)
	defer s.Close()
	addRoom(t, s, "a")
	addRoom(t, s, "b")
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for seq := int64(1); ; seq++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			// a's is stored before b's is given to the store.
			for _, room := range []string{"a", "b"} {
				if err := appendWait(s, Update{Room: room, Seq: seq, Data: make([]byte, 3000)}); err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	for i := range 5 {
		file := filepath.Join(dir, fmt.Sprint("backup", i))
		if err := Backup(t.Context(), "sqlite:"+path, file); err != nil {
			t.Fatal(err)
		}
		copied := open(t, file)
		a, errA := copied.LastSeq(t.Context(), "a")
		b, errB := copied.LastSeq(t.Context(), "b")
		if errA != nil || errB != nil || a < b || a > b+1 {
			t.Errorf("the backup has update %d of one room and %d of the other: %v, %v", a, b, errA, errB)
		}
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
