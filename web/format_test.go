package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What is wrong with a wish to have a file formatted is said before any formatter is asked: the
// host of these tests has none. test/e2e/format.test.mjs has the rest.
func TestFormatRefusals(t *testing.T) {
	s := newSite(t)
	room := s.room(`{"language": "python", "files": [{"path": "main.py", "content": "x"}, {"path": "notes.txt", "content": "x"}]}`)
	other := s.room(`{"language": "python"}`)
	path := "/api/v1/rooms/" + room.ID + "/format"
	main := `{"file": "main.py"}`
	for name, c := range map[string]struct {
		token, body string
		status      int
		field, says string
	}{
		"no token":           {"", main, 401, "", ""},
		"a wrong token":      {"wrong", main, 404, "", ""},
		"another room's":     {other.Tokens["host"], main, 404, "", ""},
		"a viewer":           {room.Tokens["viewer"], main, 403, "", "host or guest"},
		"no body":            {room.Tokens["guest"], "", 400, "file", "missing"},
		"no file":            {room.Tokens["guest"], `{}`, 400, "file", "missing"},
		"no JSON":            {room.Tokens["guest"], `{`, 400, "", "not valid JSON"},
		"a number":           {room.Tokens["guest"], `{"file": 1}`, 400, "file", "give a string"},
		"an unknown field":   {room.Tokens["guest"], `{"file": "main.py", "style": "k&r"}`, 400, "style", "no field"},
		"a file not there":   {room.Tokens["guest"], `{"file": "other.py"}`, 404, "file", "no file"},
		"a path out of it":   {room.Tokens["guest"], `{"file": "../main.py"}`, 404, "file", "no file"},
		"no language":        {room.Tokens["guest"], `{"file": "notes.txt"}`, 409, "file", "no language"},
		"no formatter":       {room.Tokens["host"], main, 409, "file", "no formatter for python"},
		"a body of 9 MiB":    {room.Tokens["guest"], `{"file": "main.py", "content": "` + strings.Repeat("x", 9<<20) + `"}`, 413, "", "larger"},
		"what is not UTF-8":  {room.Tokens["guest"], "{\"file\": \"\xff\"}", 400, "", "UTF-8"},
		"content of no text": {room.Tokens["guest"], `{"file": "main.py", "content": 1}`, 400, "content", "give a string"},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, data := s.call("POST", path, c.token, c.body)
			var p problem
			if err := json.Unmarshal(data, &p); err != nil {
				t.Fatalf("%d %s: %v", status, data, err)
			}
			if status != c.status || p.Field != c.field || !strings.Contains(p.Detail, c.says) || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %.300s, want %d, field %q, %q", status, data, c.status, c.field, c.says)
			}
		})
	}
	if status, _, data := s.call("PATCH", "/api/v1/rooms/"+room.ID, room.Tokens["host"], `{"locked": true}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, data)
	}
	if status, _, data := s.call("POST", path, room.Tokens["host"], main); status != http.StatusConflict || !strings.Contains(string(data), "locked") {
		t.Errorf("locked: %d %s", status, data)
	}
}
