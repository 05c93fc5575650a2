package web

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/websocket"

	"corun/store"
)

// tape records every byte that a socket is sent.
type tape struct {
	mu   sync.Mutex
	all  strings.Builder
	msgs []map[string]any
	more chan struct{}
}

// record reads a socket until it is closed.
func (p *peer) record() *tape {
	rec := &tape{more: make(chan struct{}, 1)}
	go func() { // ends with the socket
		for {
			kind, data, err := p.ws.ReadMessage()
			if err != nil {
				return
			}
			rec.mu.Lock()
			rec.all.Write(data)
			var m map[string]any
			if kind == websocket.TextMessage && json.Unmarshal(data, &m) == nil {
				rec.msgs = append(rec.msgs, m)
			}
			rec.mu.Unlock()
			select {
			case rec.more <- struct{}{}:
			default:
			}
		}
	}()
	return rec
}

// of gives the messages of a type so far.
func (r *tape) of(kind string) (found []map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.msgs {
		if m["type"] == kind {
			found = append(found, m)
		}
	}
	return found
}

// wait returns when there are so many messages of a type.
func (r *tape) wait(t *testing.T, kind string, n int) []map[string]any {
	t.Helper()
	late := time.After(soon)
	for {
		if found := r.of(kind); len(found) >= n {
			return found
		}
		select {
		case <-r.more:
		case <-late:
			t.Fatalf("waited in vain for %d of %s", n, kind)
		}
	}
}

func (r *tape) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

// What a hidden case is given, prints and expects reaches none but hosts, by no socket and no
// call; they get all of it.
func TestHiddenCases(t *testing.T) {
	s := newSite(t)
	// The program makes its case's input longer, so that what it prints can be told from it.
	program := `read x; echo "said-$x"; echo "moaned-$x" >&2; case $x in *-3) exit 7;; esac`
	files, err := json.Marshal([]newFile{{"main.sh", program}})
	must(t, err)
	a := s.room(`{"language":"bash","files":` + string(files) + `}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	hosts, _ := s.join(a, host, "Hanna")
	tapes := map[store.Role]*tape{"host": hosts.record()}
	for _, role := range []store.Role{"guest", "viewer"} {
		p, _ := s.join(a, a.Tokens[role], string(role))
		tapes[role] = p.record()
		if role == "guest" {
			defer p.say(`{"type":"ping"}`) // keeps p in use until the end
		}
	}
	cases := `{"cases":[
		{"id":"open","name":"Open","points":1,"stdin":"x\n","expected":"said-x"},
		{"id":"h1","name":"One","hidden":true,"points":2.5,"stdin":"SECRET-IN-1\n","args":["SECRET-ARG"],"expected":"said-SECRET-IN-1\n","match":"exact"},
		{"name":"Two","hidden":true,"points":4,"stdin":"SECRET-IN-2\n","expected":"SECRET-WANT-2","match":"exact"},
		{"name":"Three","hidden":true,"stdin":"SECRET-IN-3\n","expected":"SECRET-WANT-3"},
		{"name":"Four","hidden":true,"stdin":"SECRET-IN-4\n","match":"checker","checker":{"language":"bash","source":"echo SECRET-CHECK; echo SECRET-MOAN >&2; exit 1"}}]}`
	if status, _, data := s.call("PUT", room+"/tests", a.Tokens["guest"], cases); status != http.StatusForbidden {
		t.Errorf("a guest set tests: %d %s", status, data)
	}
	if status, _, data := s.call("POST", room+"/runs", a.Tokens["guest"], `{"mode":"tests"}`); status != http.StatusConflict || !strings.Contains(string(data), "no tests") {
		t.Errorf("without tests: %d %s", status, data)
	}
	hosts.say(`{"type":"run.start","mode":"tests","ref":1}`)
	if m := tapes["host"].wait(t, "error", 1)[0]; m["code"] != "no_tests" || m["ref"] != 1.0 {
		t.Errorf("without tests: %v", m)
	}
	status, _, data := s.call("PUT", room+"/tests", host, cases)
	if status != http.StatusOK || !strings.Contains(string(data), `"id":"t1"`) {
		t.Fatalf("PUT tests: %d %s", status, data)
	}
	for role, rec := range tapes {
		m := rec.wait(t, "tests.updated", 1)[0]
		if n := len(m["cases"].([]any)); n != 5 {
			t.Errorf("%s was told of %d cases", role, n)
		}
	}
	if status, _, _ := s.call("POST", room+"/runs", a.Tokens["viewer"], `{"mode":"tests"}`); status != http.StatusForbidden {
		t.Errorf("a viewer ran tests: %d", status)
	}
	if status, _, data := s.call("POST", room+"/runs", a.Tokens["guest"], `{"mode":"tests"}`); status != http.StatusAccepted || !strings.Contains(string(data), `"mode":"tests"`) {
		t.Fatalf("POST runs: %d %s", status, data)
	}
	for role, rec := range tapes {
		end := rec.wait(t, "run.exited", 1)[0]["run"].(map[string]any)
		if end["status"] != "exited" || end["message"] != "2 of 5 tests passed." || end["tests"].(map[string]any)["points"] != 3.5 {
			t.Errorf("%s was told of %v", role, end)
		}
		results := rec.of("test.result")
		if len(results) != 5 {
			t.Fatalf("%s was told of %d results", role, len(results))
		}
		for _, m := range results {
			c, run := m["case"].(map[string]any), m["run"].(map[string]any)
			if run["number"] != 1.0 || run["tests"].(map[string]any)["total"] != 5.0 {
				t.Errorf("the result is of %v", run)
			}
			switch want := []string{"hidden", "id", "name", "passed", "points"}; {
			case role == "host" || c["hidden"] == false:
				if c["verdict"] == nil || c["usage"] == nil || c["stdout"] == nil {
					t.Errorf("%s was told %v", role, c)
				}
			case !slices.Equal(keys(c), want):
				t.Errorf("%s was told %v", role, c)
			}
		}
	}

	// Everything that can be asked for.
	var asked strings.Builder
	for _, path := range []string{"", "/tests", "/runs", "/runs/1", "/runs/1/tests", "/runs/1/output", "/history", "/history?format=jsonl", "/playback", "/files", "/bundle"} {
		for _, role := range []store.Role{"guest", "viewer"} {
			status, _, data := s.call("GET", room+path, a.Tokens[role], "")
			if want := 200; status != want && path != "/bundle" {
				t.Errorf("GET %s: %d", path, status)
			}
			asked.Write(data)
		}
	}
	late, hello := s.join(a, a.Tokens["guest"], "Late")
	if hello["run"].(map[string]any)["tests"].(map[string]any)["done"] != 5.0 {
		t.Errorf("who came late was told %v", hello)
	}
	must(t, late.ws.Close())
	leak := func(where, text string) {
		t.Helper()
		for _, secret := range []string{"SECRET", "said-S", "moaned-S", "exit code 7", "wrong_output", "runtime_error"} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s has %.100q", where, text[max(0, i-60):])
			}
		}
		if where != "host" && !strings.Contains(text, "said-x") { // of the visible case
			t.Errorf("%s has nothing of what is visible", where)
		}
	}
	leak("the guest's socket", tapes["guest"].text())
	leak("the viewer's socket", tapes["viewer"].text())
	leak("the API", asked.String())

	// The host sees all.
	_, _, results := s.call("GET", room+"/runs/1/tests", host, "")
	_, _, defined := s.call("GET", room+"/tests", host, "")
	_, _, log := s.call("GET", room+"/history?kind=test,tests", host, "")
	for text, all := range map[string]string{
		"SECRET-WANT-2": string(defined), "SECRET-ARG": string(defined), "echo SECRET-CHECK": string(defined),
		"said-SECRET-IN-2": string(results), `"SECRET-CHECK"`: string(results), "moaned-SECRET-IN-4": string(results), "exit code 7": string(results),
		"wrong_output": string(log), "runtime_error": string(log),
	} {
		if !strings.Contains(all, text) {
			t.Errorf("the host does not see %s in %s", text, all)
		}
	}
	if strings.Contains(string(log), "said-") {
		t.Errorf("the log has output: %s", log)
	}
	if _, _, output := s.call("GET", room+"/runs/1/output", host, ""); len(output) != 0 {
		t.Errorf("the run's output is %q", output)
	}
}

func keys(m map[string]any) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// Output is cut where it would pile up, and not within a character.
func TestResultsAreCut(t *testing.T) {
	res := store.TestResult{Stdout: "aä" + strings.Repeat("x", 100), Stderr: "short"}
	if got := viewResult(res, store.RoleGuest, 2).(store.TestResult); got.Stdout != "a" || got.Stderr != "sh" || len(res.Stdout) != 103 {
		t.Errorf("%+v", got)
	}
}

func TestCasesAreChecked(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	must(t, err)
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"read x; echo $x; yes | head -c 100000"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	put := func(body string) (int, problem, []byte) {
		t.Helper()
		status, _, data := s.call("PUT", room+"/tests", host, body)
		var p problem
		must(t, json.Unmarshal(data, &p))
		return status, p, data
	}
	long := strings.Repeat("x", 1<<19)
	for field, body := range map[string]string{
		"cases":                        `{}`,
		"case":                         `{"case":[]}`,
		"cases[1].id":                  `{"cases":[{"id":"a"},{"id":"a"}]}`,
		"cases[0].id":                  `{"cases":[{"id":"a b"}]}`,
		"cases[0].name":                `{"cases":[{"name":"a\nb"}]}`,
		"cases[2].name":                `{"cases":[{},{},{"name":"` + strings.Repeat("x", 201) + `"}]}`,
		"cases[0].points":              `{"cases":[{"points":-1}]}`,
		"cases[0].match":               `{"cases":[{"match":"glob"}]}`,
		"cases[0].expected":            `{"cases":[{"match":"regex","expected":"("}]}`,
		"cases[1].expected":            `{"cases":[{},{"match":"regex","expected":"(?:(?:a{999}){9}){9}"}]}`,
		"cases[0].tolerance":           `{"cases":[{"match":"numeric","tolerance":-0.1}]}`,
		"cases[1].tolerance":           `{"cases":[{},{"tolerance":1}]}`,
		"cases[0].limits.wall_ms":      `{"cases":[{"limits":{"wall_ms":3600000}}]}`,
		"cases[0].limits.cpu_ms":       `{"cases":[{"limits":{"cpu_ms":-1}}]}`,
		"cases[0].limits.memory_bytes": `{"cases":[{"limits":{"memory_bytes":1073741824}}]}`,
		"cases[0].checker":             `{"cases":[{"match":"checker"}]}`,
		"cases[1].checker":             `{"cases":[{},{"match":"checker","checker":{"language":"bash"}}]}`,
		"cases[0].checker.language":    `{"cases":[{"match":"checker","checker":{"language":"cobol","source":"x"}}]}`,
		"cases[0].checker.files":       `{"cases":[{"match":"checker","checker":{"language":"bash","files":[{"path":"../main.sh"}]}}]}`,
		"cases[0].args":                `{"cases":[{"args":["\u0000"]}]}`,
		"cases ":                       `{"cases":[{"stdin":"` + long + `"},{"expected":"` + long + `"}]}`,
		"cases  ":                      `{"cases":[` + strings.TrimSuffix(strings.Repeat("{},", 101), ",") + `]}`,
	} {
		if status, p, data := put(body); status != 400 || p.Field != strings.TrimSpace(field) || p.Detail == "" {
			t.Errorf("%.100s: %d %.300s", body, status, data)
		}
	}
	if status, _, data := put(`{"cases":[{"id":"t2"},{"stdin":"\u0000é\n","match":"regex","expected":"(?s).*"},{"hidden":true}]}`); status != 200 {
		t.Fatalf("%d %s", status, data)
	}
	// What is answered is what is described.
	valid := func(path, described string, token string) []byte {
		t.Helper()
		status, header, data := s.call("GET", room+path, token, "")
		media := doc.Paths.Value(described).Get.Responses.Status(status).Value.Content.Get(header.Get("Content-Type"))
		var v any
		must(t, json.Unmarshal(data, &v))
		if err := media.Schema.Value.VisitJSON(v, openapi3.MultiErrors()); status != 200 || err != nil {
			t.Errorf("%s: %d %v %.300s", path, status, err, data)
		}
		return data
	}
	if status, _, data := s.call("POST", room+"/runs", host, `{"mode":"tests"}`); status != 202 {
		t.Fatalf("%d %s", status, data)
	}
	s.finish(room, host, 1)
	for _, role := range store.Roles {
		cases := valid("/tests", "/rooms/{room}/tests", a.Tokens[role])
		if !strings.Contains(string(cases), `"t1"`) || !strings.Contains(string(cases), `"t2"`) || !strings.Contains(string(cases), `"t3"`) {
			t.Errorf("ids in %s", cases)
		}
		data := valid("/runs/1/tests", "/rooms/{room}/runs/{n}/tests", a.Tokens[role])
		if n := strings.Count(string(data), `y\n`); n < 60_000 || n > 120_000 {
			t.Errorf("of two large outputs %d lines are kept", n)
		}
		if !strings.Contains(string(data), `"\u0000é`) && !strings.Contains(string(data), `"stdout":"é`) { // bash drops NULs
			t.Errorf("%.300s", data)
		}
		valid("/runs/1", "/rooms/{room}/runs/{n}", a.Tokens[role])
	}
	if status, _, data := put(`{"cases":[]}`); status != 200 || string(data) != "{\"cases\":[]}\n" {
		t.Errorf("%d %s", status, data)
	}
	for body, want := range map[string]int{`{"mode":"tests"}`: 409, `{"mode":"pipes","stdin":""}`: 202} {
		if status, _, data := s.call("POST", room+"/runs", host, body); status != want {
			t.Errorf("%s: %d %s", body, status, data)
		}
	}
	s.finish(room, host, 2)
	if status, _, data := s.call("GET", room+"/runs/2/tests", host, ""); status != 404 {
		t.Errorf("results of a run in pipes: %d %s", status, data)
	}
}

// While tests run nothing else does, and input is refused; who stops them stops all of them.
func TestTestsOnLive(t *testing.T) {
	s := newSite(t)
	a := s.room(`{"language":"bash","files":[{"path":"main.sh","content":"read x; [ $x = 0 ] || sleep 1000; echo ok"}]}`)
	room, host := "/api/v1/rooms/"+a.ID, a.Tokens["host"]
	var cases []string
	for i := range 8 {
		cases = append(cases, fmt.Sprintf(`{"stdin":"%d\n","expected":"ok"}`, i))
	}
	if status, _, data := s.call("PUT", room+"/tests", host, `{"cases":[`+strings.Join(cases, ",")+`]}`); status != 200 {
		t.Fatalf("%d %s", status, data)
	}
	ann, _ := s.join(a, a.Tokens["guest"], "Ann")
	ann.say(`{"type":"run.start","mode":"tests","stdin":"x","ref":1}`)
	if m := ann.wait("error"); m["code"] != "bad_request" || !strings.Contains(m["message"].(string), "its own stdin") {
		t.Errorf("with input: %v", m)
	}
	ann.say(`{"type":"run.start","mode":"tests","ref":2}`)
	if m := ann.wait("run.queued"); m["ref"] != 2.0 || m["run"].(map[string]any)["tests"].(map[string]any)["total"] != 8.0 {
		t.Errorf("told %v", m)
	}
	if c := ann.wait("test.result")["case"].(map[string]any); c["id"] != "t1" || c["passed"] != true || c["stdout"] != "ok\n" {
		t.Errorf("told %v", c)
	}
	ann.say(`{"type":"run.start","ref":3}`)
	if m := ann.wait("error"); m["code"] != "run_active" {
		t.Errorf("a second run: %v", m)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, 1)
	must(t, ann.ws.WriteMessage(websocket.BinaryMessage, append(frame, 'x')))
	if m := ann.wait("error"); m["code"] != "bad_request" {
		t.Errorf("input: %v", m)
	}
	ann.say(`{"type":"run.stop","run":1}`)
	end := ann.wait("run.exited")["run"].(map[string]any)
	if end["status"] != "stopped" || end["tests"].(map[string]any)["done"] != 1.0 {
		t.Errorf("ended with %v", end)
	}
}
