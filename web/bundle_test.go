package web

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"corun/bundle"
	"corun/store"
)

// The host, and nobody else, gets the whole room, which another can be made of.
func TestBundle(t *testing.T) {
	var st *store.Store
	s := newSite(t, func(c *Config) { st = c.Store })
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"echo hi; mkdir out; echo x > out/x.txt"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	if status, _, data := s.call("POST", room+"/runs", host, `{"mode":"pipes"}`); status != http.StatusAccepted {
		t.Fatalf("run: %d %s", status, data)
	}
	run := s.finish(room, host, 1)
	if len(run.Artefacts) != 1 {
		t.Fatalf("the run is %+v", run)
	}
	for ended, err := st.EndedRuns(t.Context(), a.ID, 0, 1); len(ended) == 0; ended, err = st.EndedRuns(t.Context(), a.ID, 0, 1) {
		must(t, err) // it is stored a moment after it is told; ends with the test's own time
	}
	for token, want := range map[string]int{a.Tokens["guest"]: 403, a.Tokens["viewer"]: 403, "": 401, "x": 404} {
		if status, header, _ := s.call("GET", room+"/bundle", token, ""); status != want || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("with the token %q: %d", token, status)
		}
	}
	status, header, data := s.call("GET", room+"/bundle", host, "")
	if status != 200 || header.Get("Content-Type") != "application/zip" || !strings.Contains(header.Get("Content-Disposition"), a.ID) {
		t.Fatalf("%d %v", status, header)
	}
	b, err := bundle.Open(bytes.NewReader(data), int64(len(data)), 1<<20)
	must(t, err)
	token, hash := store.NewToken()
	id := store.NewRoomID()
	must(t, b.Store(t.Context(), st, id, map[store.Role][32]byte{store.RoleViewer: hash}))
	copied := "/api/v1/rooms/" + id
	for _, path := range []string{"/files", "/files?run=1", "/runs/1/output", "/runs/1/artefacts/x.txt"} {
		_, _, want := s.call("GET", room+path, host, "")
		status, _, got := s.call("GET", copied+path, token, "")
		if status != 200 || !bytes.Equal(got, want) {
			t.Errorf("%s: %d %s, want %s", path, status, got, want)
		}
	}
	if status, _, _ := s.call("GET", copied, host, ""); status != http.StatusNotFound {
		t.Errorf("the token of the one opens the other: %d", status)
	}
}

// A moment that is gone is told to be, and since when.
func TestMomentsThatAreGone(t *testing.T) {
	var st *store.Store
	s := newSite(t, func(c *Config) { st = c.Store })
	a := s.room(`{"files":[{"path":"main.txt","content":"1"}]}`)
	old, err := st.OldUpdates(t.Context(), a.ID, time.Now().Add(time.Hour), 0)
	must(t, err)
	must(t, st.Fold(t.Context(), old, old.Updates[0]))
	room, viewer := "/api/v1/rooms/"+a.ID, a.Tokens["viewer"]
	since := old.At.Format(time.RFC3339Nano)
	for path, want := range map[string]int{
		"/files?at=2026-01-01T00:00:00Z": 410, "/archive.zip?at=2026-01-01T00:00:00Z": 410, "/files?at=" + since: 200, "/files": 200,
	} {
		status, _, data := s.call("GET", room+path, viewer, "")
		if status != want || (want == 410) != strings.Contains(string(data), "kept from "+since) {
			t.Errorf("%s: %d %s, want %d", path, status, data, want)
		}
	}
}

// deaf is a caller that is gone when the first bytes come.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) SetWriteDeadline(time.Time) error { return nil }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("gone") }

// What breaks off in the middle is never taken for the whole.
func TestBundleBreaksOff(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"files":[{"path":"main.txt","content":"1"}]}`)
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/rooms/"+a.ID+"/bundle", nil)
	req.Header.Set("Authorization", "Bearer "+a.Tokens["host"])
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the connection goes on")
		}
	}()
	s.Config.Handler.ServeHTTP(deaf{httptest.NewRecorder()}, req)
}
