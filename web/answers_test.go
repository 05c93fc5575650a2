package web

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"corun/collab"
	"corun/store"
)

// finish waits until a run has ended.
func (s *site) finish(room, token string, n int) (run store.Run) {
	s.t.Helper()
	for run.State != store.RunFinished { // ends with the test's own time
		status, _, data := s.call("GET", fmt.Sprintf("%s/runs/%d", room, n), token, "")
		if status != http.StatusOK {
			s.t.Fatalf("run %d: %d %s", n, status, data)
		}
		must(s.t, json.Unmarshal(data, &run))
	}
	return run
}

// What the server really says is what openapi.yaml promises.
func TestAnswersKeepToTheirSchemas(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	must(t, err)
	s := newSite(t)
	// valid makes a call and holds its answer against the schema of an operation.
	valid := func(method, path, described, token, body string, want int) []byte {
		t.Helper()
		status, header, data := s.call(method, path, token, body)
		if status != want {
			t.Fatalf("%s %s: %d %s", method, path, status, data)
		}
		op := doc.Paths.Value(described).GetOperation(method)
		answer := op.Responses.Status(status)
		if answer == nil {
			answer = op.Responses.Default()
		}
		media := answer.Value.Content.Get(header.Get("Content-Type"))
		if media == nil {
			t.Errorf("%s %s: no %d of type %q is described", method, described, status, header.Get("Content-Type"))
			return data
		}
		var v any
		must(t, json.Unmarshal(data, &v))
		if err := media.Schema.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
			t.Errorf("%s %s: %v\n%s", method, described, err, data)
		}
		return data
	}
	var a createRoomAnswer
	created := valid("POST", "/api/v1/rooms", "/rooms", "", `{"language":"bash","files":[{"path":"main.sh","content":"echo hi"}]}`, 201)
	must(t, json.Unmarshal(created, &a))
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	valid("GET", room, "/rooms/{room}", host, "", 200)
	valid("GET", room+"/runs", "/rooms/{room}/runs", host, "", 200)
	valid("GET", room+"/files", "/rooms/{room}/files", host, "", 200)
	valid("POST", room+"/runs", "/rooms/{room}/runs", host, `{"mode":"pipes"}`, 202)
	s.finish(room, host, 1)
	valid("GET", room+"/runs/1", "/rooms/{room}/runs/{n}", host, "", 200)
	valid("GET", room+"/runs", "/rooms/{room}/runs", host, "", 200)
	valid("POST", room+"/runs/1/stop", "/rooms/{room}/runs/{n}/stop", host, "", 200)
	valid("GET", room, "/rooms/{room}", host, "", 200)
	valid("PATCH", room, "/rooms/{room}", host, `{"locked":true}`, 200)
	valid("POST", room+"/tokens/guest/rotate", "/rooms/{room}/tokens/{role}/rotate", host, "", 200)
	valid("GET", "/api/v1/languages", "/languages", "", "", 200)
	valid("GET", room, "/rooms/{room}", "", "", 401)
	valid("GET", room, "/rooms/{room}", "x", "", 404)
	valid("POST", "/api/v1/rooms", "/rooms", "", `{"x":1}`, 400)
	if _, header, data := s.call("GET", "/api/v1/openapi.yaml", "", ""); header.Get("Content-Type") != "application/yaml" || !bytes.Equal(data, openAPI) {
		t.Errorf("the description is served as %s", header.Get("Content-Type"))
	}
}

func TestOneRunAtATime(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"read x"}]}`)
	room, guest := "/api/v1/rooms/"+a.ID, a.Tokens["guest"]
	if status, header, data := s.call("POST", room+"/runs", guest, `{"mode":"pipes"}`); status != 202 || header.Get("Location") != room+"/runs/1" {
		t.Fatalf("%d %s %s", status, header.Get("Location"), data)
	}
	if status, _, data := s.call("POST", room+"/runs", a.Tokens["host"], `{}`); status != http.StatusConflict || !bytes.Contains(data, []byte("a run is active")) {
		t.Errorf("a second run: %d %s", status, data)
	}
	status, _, data := s.call("POST", room+"/runs/1/stop", guest, "")
	var run store.Run
	must(t, json.Unmarshal(data, &run))
	if status != 200 || run.State != store.RunFinished || run.Status != store.StatusStopped {
		t.Errorf("stopped: %d %s", status, data)
	}
	if status, _, again := s.call("POST", room+"/runs/1/stop", guest, ""); status != 200 || !bytes.Contains(again, []byte(`"stopped"`)) {
		t.Errorf("stopped twice: %d %s", status, again)
	}
	// To end or delete a room ends its run.
	if status, _, _ := s.call("POST", room+"/runs", guest, `{"mode":"pipes"}`); status != 202 {
		t.Fatalf("run: %d", status)
	}
	if status, _, data := s.call("PATCH", room, a.Tokens["host"], `{"ended":true}`); status != 200 {
		t.Fatalf("end: %d %s", status, data)
	}
	if run := s.finish(room, guest, 2); run.Status != store.StatusStopped {
		t.Errorf("the run of an ended room: %+v", run)
	}
	if status, _, _ := s.call("POST", room+"/runs", guest, `{}`); status != http.StatusConflict {
		t.Errorf("a run in an ended room: %d", status)
	}
}

// Files of a moment are those of then, whatever was edited since.
func TestFilesOfAMoment(t *testing.T) {
	s := newSite(t)
	before := time.Now().Add(-time.Hour)
	a := s.room(`{"language":"python","files":[{"path":"main.py","content":"1"},{"path":"sub/data.txt","content":"ä\n"}]}`)
	room, viewer := "/api/v1/rooms/"+a.ID, a.Tokens["viewer"]
	for _, tt := range []struct {
		query string
		files int
	}{
		{"", 2},
		{"?at=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339Nano)), 2},
		{"?at=" + url.QueryEscape(before.Format(time.RFC3339)), 0},
	} {
		var files filesAnswer
		status, _, data := s.call("GET", room+"/files"+tt.query, viewer, "")
		must(t, json.Unmarshal(data, &files))
		if status != 200 || len(files.Files) != tt.files || files.Files == nil {
			t.Errorf("files%s: %d %s", tt.query, status, data)
		}
	}
	for query, want := range map[string]int{"?run=1": 404, "?run=0": 400, "?run=x": 400, "?at=2026": 400} {
		for _, path := range []string{"/files", "/archive.zip"} {
			if status, _, _ := s.call("GET", room+path+query, viewer, ""); status != want {
				t.Errorf("%s%s: %d, want %d", path, query, status, want)
			}
		}
	}
	_, header, data := s.call("GET", room+"/archive.zip", viewer, "")
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	got := map[string]string{}
	for _, f := range archive.File {
		r, err := f.Open()
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		got[f.Name] = string(content)
	}
	if len(got) != 2 || got["main.py"] != "1" || got["sub/data.txt"] != "ä\n" || !strings.Contains(header.Get("Content-Disposition"), a.ID) {
		t.Errorf("the archive has %q (%s)", got, header.Get("Content-Disposition"))
	}
}

func TestTemplatesAndDefaults(t *testing.T) {
	s := newSite(t)
	for body, want := range map[string]string{
		``:                                       "main.txt",
		`{}`:                                     "main.txt",
		`{"language":"python"}`:                  "main.py",
		`{"language":"py","template":"starter"}`: "main.py",
		`{"files":[{"path":"a.txt"}],"title":" "}`: "a.txt",
	} {
		a := s.room(body)
		var files filesAnswer
		_, _, data := s.call("GET", "/api/v1/rooms/"+a.ID+"/files", a.Tokens["guest"], "")
		must(t, json.Unmarshal(data, &files))
		found := false
		for _, f := range files.Files {
			found = found || f.Path == want && f.ID == "main" && (f.Content != "") == strings.Contains(body, "starter")
		}
		if !found {
			t.Errorf("a room of %s has %s", body, data)
		}
	}
}

// Text that is no UTF-8 is refused, not quietly changed.
func TestBodiesAreText(t *testing.T) {
	s := newSite(t)
	for body, want := range map[string]int{
		"{\"files\":[{\"path\":\"x\",\"content\":\"\xff\"}]}": 400,
		`{"title":"a\u2028b"}`:                                400,
		`{"title":"a\nb"}`:                                    400,
		`[]`:                                                  400,
		`"x"`:                                                 400,
		`{"files":[{"path":5}]}`:                              400,
		`{"files":[{"path":"x","mode":7}]}`:                   400,
		`{"files":[{"path":"/x"}]}`:                           400,
		`{"template":"starter"}`:                              400,
	} {
		status, header, data := s.call("POST", "/api/v1/rooms", "", body)
		if status != want || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %d %s", body, status, data)
		}
	}
}

func TestAPITokensMakeRooms(t *testing.T) {
	var st *store.Store
	s := newSite(t, func(c *Config) { c.AnyoneMayCreate, st = false, c.Store })
	token, hash := store.NewToken()
	id, err := st.CreateAPIToken(t.Context(), "test", hash, time.Time{})
	must(t, err)
	if status, _, data := s.call("POST", "/api/v1/rooms", token, `{}`); status != 201 {
		t.Errorf("with an API token: %d %s", status, data)
	}
	must(t, st.RevokeAPIToken(t.Context(), id))
	if status, _, _ := s.call("POST", "/api/v1/rooms", token, `{}`); status != 401 {
		t.Errorf("with a revoked one: %d", status)
	}
	if status, _, _ := s.call("POST", "/api/v1/rooms", "", `{}`, "Authorization", "Basic eDp5"); status != 401 {
		t.Errorf("with another scheme: %d", status)
	}
}

func TestOpenRooms(t *testing.T) {
	s := newSite(t, func(c *Config) { c.OpenRooms = true })
	closed := s.room(`{}`)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/api/v1/rooms/my-room_1.x", 200},
		{"GET", "/api/v1/rooms/" + strings.Repeat("x", 129), 401},
		{"GET", "/api/v1/rooms/no%20spaces", 401},
		{"GET", "/api/v1/rooms/" + closed.ID, 404},
		{"DELETE", "/api/v1/rooms/my-room_1.x", 403},
	} {
		if status, _, data := s.call(tt.method, tt.path, "", ""); status != tt.want {
			t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.path, status, tt.want, data)
		}
	}
}

// Every answer carries the headers, refusals and bytes of a program too.
func TestEveryAnswerIsGuarded(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/r/x", "/api/v1/languages", "/api/v1/rooms/x", "/api/v1/nothing", "/assets/none.js", "/healthz", "/sync/x", "/nothing"} {
		status, header, _ := s.call("GET", path, "", "")
		if header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'none'") ||
			header.Get("Referrer-Policy") != "no-referrer" || header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s (%d) has %v", path, status, header)
		}
		if strings.HasPrefix(path, "/api/") && header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached: %q", path, header.Get("Cache-Control"))
		}
		if header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s is open to other origins", path)
		}
	}
	if status, header, _ := s.call("PUT", "/api/v1/languages", "", ""); status != 405 || header.Get("Allow") != "GET" {
		t.Errorf("a wrong method: %d, Allow %q", status, header.Get("Allow"))
	}
}

// A document that cannot be had for the moment is worth another try.
func TestWithoutRoomsTheAnswerIsTryLater(t *testing.T) {
	var rooms *collab.Hub
	s := newSite(t, func(c *Config) { rooms = c.Rooms })
	a := s.room(`{}`)
	must(t, rooms.Close(t.Context()))
	status, header, data := s.call("GET", "/api/v1/rooms/"+a.ID+"/files", a.Tokens["guest"], "")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, data)
	}
}
