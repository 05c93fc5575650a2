package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corun/bundle"
	"corun/store"
)

func TestServeAddress(t *testing.T) {
	tests := []struct {
		addr, port, want string
	}{
		{"", "", "127.0.0.1:8080"},
		{"", "9000", "127.0.0.1:9000"},
		{"0.0.0.0:7000", "9000", "0.0.0.0:7000"},
		{"0.0.0.0", "9000", "0.0.0.0:9000"},
		{"0.0.0.0", "", "0.0.0.0:8080"},
	}
	for _, tt := range tests {
		if got := (&serveCmd{Addr: tt.addr, Port: tt.port}).addr(); got != tt.want {
			t.Errorf("--addr %q with PORT=%q listens on %q, want %q", tt.addr, tt.port, got, tt.want)
		}
	}
}

func TestCommandLineRefuses(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"serve", "--bogus"}, "unknown flag --bogus"},
		{"unknown command", []string{"fly"}, "fly"},
		{"bad durability", []string{"serve", "--durability", "hope"}, "fsync"},
		{"open rooms for everybody", []string{"serve", "--addr", "0.0.0.0:0", "--open-rooms"}, "--open-rooms-anywhere"},
		{"no time to keep history", []string{"serve", "--keep-history", "5s"}, "forever"},
		{"another database", []string{"room", "list", "--database-url", "mysql:x"}, "sqlite:"},
		{"an unknown language", []string{"room", "create", "--language", "cobol"}, "cobol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			err := run(t.Context(), append(tt.args, "--data-dir", t.TempDir()), &out, &errs)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestToolsShareTheDataDirectory(t *testing.T) {
	t.Setenv("CORUN_DATA_DIR", t.TempDir()) // every flag has a twin
	say := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err != nil {
			t.Fatalf("corun %s: %v", strings.Join(args, " "), err)
		}
		return out.String()
	}
	if links := say("room", "create", "--language", "python", "--title", "Maths"); strings.Count(links, "/r/") != 3 {
		t.Errorf("room create prints %q, want three links", links)
	}
	if list := say("room", "list"); !strings.Contains(list, "Maths") {
		t.Errorf("room list prints %q", list)
	}
	token := strings.TrimSpace(say("token", "create", "--name", "ci"))
	list := say("token", "list")
	if len(token) < 22 || !strings.Contains(list, "ci") || strings.Contains(list, token) {
		t.Errorf("token %q, list %q", token, list)
	}
	id := strings.Fields(strings.Split(list, "\n")[1])[0]
	say("token", "revoke", id)
	if list := say("token", "list"); strings.Contains(list, id) {
		t.Errorf("a revoked token is listed: %q", list)
	}
}

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CORUN_DATA_DIR", filepath.Join(dir, "data"))
	say := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		err := run(t.Context(), args, &out, &errs)
		return out.String(), err
	}
	backup := filepath.Join(dir, "backup")
	if _, err := say("backup", backup); err == nil {
		t.Error("there was nothing to back up")
	}
	if _, err := say("room", "create", "--title", "Maths"); err != nil {
		t.Fatal(err)
	}
	if out, err := say("backup", backup); err != nil || !strings.Contains(out, backup) {
		t.Fatal(out, err)
	}
	if _, err := say("backup", backup); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("a second backup of that name: %v", err)
	}
	if _, err := say("room", "create", "--title", "Physics"); err != nil {
		t.Fatal(err)
	}
	if _, err := say("restore", backup); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("restored over a database: %v", err)
	}
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "data", "corun.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := say("restore", "--force", backup); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("restored to a database in use: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := say("restore", "--force", backup)
	if err != nil || !strings.Contains(out, "the former database is") {
		t.Fatal(out, err)
	}
	if list, err := say("room", "list"); err != nil || !strings.Contains(list, "Maths") || strings.Contains(list, "Physics") {
		t.Errorf("restored are %q, %v", list, err)
	}
	t.Setenv("CORUN_DATA_DIR", filepath.Join(dir, "new", "data"))
	if out, err := say("restore", backup); err != nil {
		t.Error(out, err)
	}
	if list, err := say("room", "list"); err != nil || !strings.Contains(list, "Maths") {
		t.Errorf("restored are %q, %v", list, err)
	}
}

func TestRoomImport(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CORUN_DATA_DIR", dir)
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "corun.db"), store.Options{})
	must(t, err)
	defer st.Close()
	id := store.NewRoomID()
	_, err = st.CreateRoom(t.Context(), store.NewRoom{ID: id, Title: "Maths"})
	must(t, err)
	file := filepath.Join(dir, "room.zip")
	f, err := os.Create(file)
	must(t, err)
	must(t, bundle.Write(t.Context(), st, id, f))
	must(t, f.Close())
	say := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		err := run(t.Context(), append([]string{"room", "import", file}, args...), &out, &errs)
		return out.String(), err
	}
	if out, err := say("--base-url", "https://x.example/"); err != nil || strings.Count(out, "https://x.example/r/") != 3 || strings.Contains(out, id) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := say("--id"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second room of an id: %v", err)
	}
	must(t, st.DeleteRoom(t.Context(), id, nil))
	if out, err := say("--id", "--json"); err != nil || !strings.Contains(out, `"id":"`+id+`"`) || !strings.Contains(out, `"title":"Maths"`) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := say("--max-size", "100"); err == nil || !strings.Contains(err.Error(), "--max-size") {
		t.Errorf("a large bundle: %v", err)
	}
	must(t, os.WriteFile(file, []byte("no bundle"), 0o600))
	if _, err := say(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no bundle: %v", err)
	}
}
