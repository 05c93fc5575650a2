package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/websocket"

	"corun/collab"
	"corun/runner"
	"corun/runner/image"
	"corun/runner/sandbox"
	"corun/store"
)

// site is a whole server for tests, with real boxes.
type site struct {
	*httptest.Server
	t testing.TB
}

func newSite(t *testing.T, configure ...func(*Config)) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("runs need boxes, and boxes need root")
	}
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "corun.db"), store.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	launcher, err := sandbox.Open(t.Context(), sandbox.Config{Name: "corun-web-test-" + strings.ToLower(store.NewRoomID()[:8]), Log: log})
	must(t, err)
	t.Cleanup(func() { must(t, launcher.Close()) })
	img, err := image.Host(dir)
	must(t, err)
	run, err := runner.Open(t.Context(), runner.Config{Store: st, Launcher: launcher, Image: img, PoolSize: 1, Languages: []string{"bash", "c", "javascript", "python"}, Log: log})
	must(t, err)
	var server *Server
	rooms := collab.NewHub(st, collab.HubOptions{Log: log, OnSaved: func(id string) { server.Saved(id) }, Frame: Frame})
	cfg := Config{Store: st, Rooms: rooms, Runner: run, Log: log, AnyoneMayCreate: true}
	for _, c := range configure {
		c(&cfg)
	}
	server = New(cfg)
	s := &site{httptest.NewServer(server), t}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		must(t, run.Close(ctx))
		must(t, rooms.Close(ctx))
		must(t, server.Close(ctx))
		s.Close()
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call makes a request and gives the status, the headers and the body.
func (s *site) call(method, path, token, body string, headers ...string) (int, http.Header, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	must(s.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.Client().Do(req)
	must(s.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(s.t, err)
	return res.StatusCode, res.Header, data
}

func (s *site) room(body string) createRoomAnswer {
	s.t.Helper()
	status, _, data := s.call("POST", "/api/v1/rooms", "", body)
	if status != http.StatusCreated {
		s.t.Fatalf("POST /rooms: %d %s", status, data)
	}
	var a createRoomAnswer
	must(s.t, json.Unmarshal(data, &a))
	return a
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	a, b := s.room(`{"language":"python"}`), s.room(`{"language":"bash"}`)
	host, guest, viewer := a.Tokens["host"], a.Tokens["guest"], a.Tokens["viewer"]
	room := "/api/v1/rooms/" + a.ID
	tests := []struct {
		name, method, path, token, body string
		status                          int
		field                           string
	}{
		{"unknown field", "POST", "/api/v1/rooms", "", `{"bogus":1}`, 400, "bogus"},
		{"wrong type", "POST", "/api/v1/rooms", "", `{"title":5}`, 400, "title"},
		{"no JSON", "POST", "/api/v1/rooms", "", `{`, 400, ""},
		{"two values", "POST", "/api/v1/rooms", "", `{} {}`, 400, ""},
		{"path out of the folder", "POST", "/api/v1/rooms", "", `{"files":[{"path":"../x"}]}`, 400, "files"},
		{"two files of one path", "POST", "/api/v1/rooms", "", `{"files":[{"path":"x"},{"path":"x"}]}`, 400, "files"},
		{"unknown language", "POST", "/api/v1/rooms", "", `{"language":"cobol"}`, 400, "language"},
		{"unknown template", "POST", "/api/v1/rooms", "", `{"language":"python","template":"x"}`, 400, "template"},
		{"long title", "POST", "/api/v1/rooms", "", `{"title":"` + strings.Repeat("x", 201) + `"}`, 400, "title"},
		{"too large", "POST", "/api/v1/rooms", "", `{"title":"` + strings.Repeat("x", maxRoomBody) + `"}`, 413, ""},
		{"wrong method", "PUT", "/api/v1/rooms", "", "", 405, ""},
		{"no such call", "GET", "/api/v1/x", "", "", 404, ""},
		{"no token", "GET", room, "", "", 401, ""},
		{"wrong token", "GET", room, "x", "", 404, ""},
		{"token of another room", "GET", room, b.Tokens["host"], "", 404, ""},
		{"no such room", "GET", "/api/v1/rooms/" + strings.Repeat("0", 26), host, "", 404, ""},
		{"a guest changes the room", "PATCH", room, guest, `{"title":"x"}`, 403, ""},
		{"a guest deletes the room", "DELETE", room, guest, "", 403, ""},
		{"a guest rotates", "POST", room + "/tokens/viewer/rotate", guest, "", 403, ""},
		{"unknown role", "POST", room + "/tokens/king/rotate", host, "", 404, ""},
		{"a viewer runs", "POST", room + "/runs", viewer, `{}`, 403, ""},
		{"a viewer stops", "POST", room + "/runs/1/stop", viewer, "", 403, ""},
		{"no such run", "GET", room + "/runs/7", host, "", 404, ""},
		{"no number", "GET", room + "/runs/x", host, "", 400, "run"},
		{"no such entry", "POST", room + "/runs", guest, `{"entry":"no.py"}`, 400, "entry"},
		{"no such mode", "POST", room + "/runs", guest, `{"mode":"x"}`, 400, "mode"},
		{"no such size", "POST", room + "/runs", guest, `{"cols":-1}`, 400, "cols"},
		{"no time", "GET", room + "/files?at=yesterday", host, "", 400, "at"},
		{"both moments", "GET", room + "/files?at=x&run=1", host, "", 400, "at"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := s.call(tt.method, tt.path, tt.token, tt.body)
			var p problem
			if err := json.Unmarshal(body, &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %s %s", status, header.Get("Content-Type"), body)
			}
			if status != tt.status || p.Status != status || p.Field != tt.field || p.Detail == "" {
				t.Errorf("%d %+v, want %d and field %q", status, p, tt.status, tt.field)
			}
		})
	}
	if status, _, _ := s.call("POST", "/api/v1/rooms", "", `{}`, "Content-Type", "text/plain"); status != http.StatusUnsupportedMediaType {
		t.Errorf("a body of text is answered with %d", status)
	}
}

func TestRoomsAndRuns(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"py","title":"Maths","files":[{"path":"main.py","content":"import sys\nprint(input())\nprint('e', file=sys.stderr)\nsys.exit(3)"},{"path":"d/x.txt","content":"x"}]}`)
	if a.Language != "python" || a.Title != "Maths" || len(a.Links) != 3 || !strings.Contains(a.Links["guest"], "/r/"+a.ID+"#t="+a.Tokens["guest"]) {
		t.Fatalf("%+v", a)
	}
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	get := func(path string, v any) {
		t.Helper()
		status, _, data := s.call("GET", path, a.Tokens["viewer"], "")
		if status != http.StatusOK {
			t.Fatalf("GET %s: %d %s", path, status, data)
		}
		must(t, json.Unmarshal(data, v))
	}
	var files filesAnswer
	get(room+"/files", &files)
	if len(files.Files) != 2 || files.Files[0].Path != "d/x.txt" || files.Files[1].ID != "main" || files.StateVector == "" {
		t.Errorf("files are %+v", files)
	}
	status, _, data := s.call("POST", room+"/runs", host, `{"stdin":"word\n"}`)
	if status != http.StatusAccepted {
		t.Fatalf("POST runs: %d %s", status, data)
	}
	if status, _, data = s.call("POST", room+"/runs/1/stop", a.Tokens["guest"], ""); status != http.StatusOK {
		t.Fatalf("stop: %d %s", status, data)
	}
	if status, _, data = s.call("POST", room+"/runs", host, `{"stdin":"word\n","mode":"pipes"}`); status != http.StatusAccepted {
		t.Fatalf("POST runs: %d %s", status, data)
	}
	var run store.Run
	for run.State != store.RunFinished { // ends with the test's own time
		get(room+"/runs/2", &run)
	}
	if run.Status != store.StatusExited || run.ExitCode == nil || *run.ExitCode != 3 || run.StartedBy != "api" {
		t.Errorf("the run is %+v", run)
	}
	// The streams come by two pipes, so that their order among each other is not known.
	if _, _, out := s.call("GET", room+"/runs/2/output", host, ""); len(out) != len("word\ne\n") {
		t.Errorf("all output is %q", out)
	}
	for stream, want := range map[string]string{"?stream=stdout": "word\n", "?stream=stderr": "e\n", "?stream=pty": ""} {
		if _, _, out := s.call("GET", room+"/runs/2/output"+stream, host, ""); string(out) != want {
			t.Errorf("output%s is %q, want %q", stream, out, want)
		}
	}
	var runs []store.Run
	get(room+"/runs", &runs)
	if len(runs) != 2 || runs[0].Number != 2 {
		t.Errorf("runs are %+v", runs)
	}
	get(room+"/files?run=2", &files)
	if len(files.Files) != 2 {
		t.Errorf("files of the run are %+v", files)
	}
	if status, header, data := s.call("GET", room+"/archive.zip", host, ""); status != 200 || header.Get("Content-Type") != "application/zip" || !bytes.HasPrefix(data, []byte("PK")) {
		t.Errorf("archive: %d %q", status, header)
	}
	var state roomAnswer
	status, _, data = s.call("PATCH", room, host, `{"title":"Physics","runs_enabled":false}`)
	must(t, json.Unmarshal(data, &state))
	if status != 200 || state.Title != "Physics" || state.RunsEnabled || state.Run == nil || state.Run.Number != 2 {
		t.Errorf("patched room is %s", data)
	}
	if status, _, _ = s.call("POST", room+"/runs", host, `{}`); status != http.StatusConflict {
		t.Errorf("a run where runs are off is answered with %d", status)
	}
	var rotated struct{ Token, Link string }
	status, _, data = s.call("POST", room+"/tokens/viewer/rotate", host, "")
	must(t, json.Unmarshal(data, &rotated))
	if old, _, _ := s.call("GET", room, a.Tokens["viewer"], ""); status != 200 || old != 404 {
		t.Errorf("rotate: %d, and the old token gives %d", status, old)
	}
	if now, _, _ := s.call("GET", room, rotated.Token, ""); now != 200 {
		t.Errorf("the new token gives %d", now)
	}
	if status, _, _ = s.call("DELETE", room, host, ""); status != http.StatusNoContent {
		t.Errorf("delete: %d", status)
	}
	if status, _, _ = s.call("GET", room, host, ""); status != http.StatusNotFound {
		t.Errorf("a deleted room is answered with %d", status)
	}
}

func TestWhoMayCreate(t *testing.T) {
	s := newSite(t, func(c *Config) { c.AnyoneMayCreate = false })
	if status, header, _ := s.call("POST", "/api/v1/rooms", "", `{}`); status != 401 || header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %d", status)
	}
	if status, _, _ := s.call("POST", "/api/v1/rooms", "wrong", `{}`); status != 401 {
		t.Errorf("with a wrong token: %d", status)
	}
}

func TestHeadersAndOrigin(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Origins = []string{"https://friend.example"} })
	_, header, _ := s.call("GET", "/", "", "")
	for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"} {
		if header.Get(name) == "" {
			t.Errorf("the page has no %s", name)
		}
	}
	if status, _, _ := s.call("POST", "/api/v1/rooms", "", "", "Origin", "https://evil.example"); status != http.StatusForbidden {
		t.Errorf("a page of another origin makes a room: %d", status)
	}
	if status, _, _ := s.call("POST", "/api/v1/rooms", "", "", "Origin", s.URL); status != http.StatusCreated {
		t.Errorf("our own page makes no room: %d", status)
	}
	a := s.room(`{}`)
	address := "ws" + strings.TrimPrefix(s.URL, "http") + "/sync/" + a.ID + "?token=" + a.Tokens["guest"]
	for origin, want := range map[string]int{"": 101, s.URL: 101, "https://friend.example": 101, "https://evil.example": 403, "null": 403} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), address, h)
		if res == nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("origin %q is answered with %d, want %d", origin, res.StatusCode, want)
		}
		if ws != nil {
			must(t, ws.Close())
		}
	}
}

func TestOpenAPIDescribesTheRoutes(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	must(t, err)
	must(t, doc.Validate(t.Context()))
	var described []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" /api/v1"+path)
		}
	}
	var served []string
	for pattern := range (&Server{}).handlers() {
		if strings.Contains(pattern, " /api/v1/") {
			// A description has no sign for a path that may hold slashes.
			served = append(served, strings.ReplaceAll(pattern, "...}", "}"))
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}
