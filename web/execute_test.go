package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"corun/runner"
	"corun/store"
)

// executed runs a program and gives what became of it, which is held against its schema.
func (s *site) executed(body string) ExecuteAnswer {
	s.t.Helper()
	status, header, data := s.call("POST", "/api/v1/execute", "", body)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("POST /execute %.300s: %d %s", body, status, data)
	}
	holds(s.t, "Executed", data)
	var a ExecuteAnswer
	must(s.t, json.Unmarshal(data, &a))
	return a
}

// holds holds an answer against a schema of openapi.yaml.
func holds(t testing.TB, schema string, data []byte) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	must(t, err)
	var v any
	must(t, json.Unmarshal(data, &v))
	if err := doc.Components.Schemas[schema].Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
		t.Errorf("not what %s promises: %v\n%.1000s", schema, err, data)
	}
}

// python is a request for a program of one file, with more fields.
func python(code, more string) string {
	return `{"language":"python","version":"*","files":[{"content":` + inJSON(code) + `}]` + more + `}`
}

func TestExecuteRefuses(t *testing.T) {
	s := newSite(t)
	python := func(more string) string { return python("print(1)", more) }
	files := func(list string) string {
		return `{"language":"python","version":"*","files":` + list + `}`
	}
	mib := strings.Repeat("x", 1<<20)
	tests := []struct {
		name, body string
		status     int
		field      string
		says       string
	}{
		{"nothing", ``, 400, "language", "python"},
		{"no JSON", `{`, 400, "", "not valid JSON"},
		{"a list", `[]`, 400, "", "send an object"},
		{"an unknown field", python(`,"stdio":""`), 400, "stdio", "openapi.yaml"},
		{"an unknown field of a file", files(`[{"content":"","path":"x"}]`), 400, "path", "openapi.yaml"},
		{"no language", `{"version":"*","files":[{"content":""}]}`, 400, "language", "python"},
		{"an unknown language", `{"language":"cobol","version":"*","files":[{"content":""}]}`, 400, "language", "use one of bash"},
		{"a language that is a number", `{"language":3}`, 400, "language", "give a string"},
		{"no version", `{"language":"python","files":[{"content":""}]}`, 400, "version", "* for any"},
		{"a version that is not there", `{"language":"python","version":"2.7.18","files":[{"content":""}]}`, 400, "version", "use 3."},
		{"a range that is not there", `{"language":"python","version":">=4","files":[{"content":""}]}`, 400, "version", "use 3."},
		{"no version at all", `{"language":"python","version":"the new one","files":[{"content":""}]}`, 400, "version", "such as 3."},
		{"a long version", `{"language":"python","version":"` + strings.Repeat("1", 300) + `","files":[{"content":""}]}`, 400, "version", "longer"},
		{"a version that is a number", `{"language":"python","version":3,"files":[{"content":""}]}`, 400, "version", "give a string"},
		{"no files", `{"language":"python","version":"*"}`, 400, "files", "at least the program"},
		{"empty files", files(`[]`), 400, "files", "at least the program"},
		{"files that are a string", files(`"print(1)"`), 400, "files", "give a list"},
		{"a file that is a string", files(`["print(1)"]`), 400, "files", "give an object"},
		{"no content", files(`[{"name":"main.py"}]`), 400, "files[0].content", "give it as a string"},
		{"content that is null", files(`[{"content":"1"},{"content":null}]`), 400, "files[1].content", "files[1]"},
		{"content that is a number", files(`[{"content":5}]`), 400, "content", "give a string"},
		{"an unknown encoding", files(`[{"content":"1","encoding":"latin1"}]`), 400, "files[0].encoding", "utf8, base64 or hex"},
		{"no base64", files(`[{"content":"print(1)","encoding":"base64"}]`), 400, "files[0].content", "not base64"},
		{"half a base64", files(`[{"content":"cHJpb","encoding":"base64"}]`), 400, "files[0].content", "not base64"},
		{"no hex", files(`[{"content":"7","encoding":"hex"}]`), 400, "files[0].content", "not hex"},
		{"a program that is not UTF-8", files(`[{"content":"/w==","encoding":"base64"}]`), 400, "files[0].content", "UTF-8"},
		{"a module that is not UTF-8", files(`[{"content":""},{"name":"m.py","content":"ff","encoding":"hex"}]`), 400, "files[1].content", `"m.py"`},
		{"a body that is not UTF-8", "{\"language\":\"python\",\"version\":\"*\",\"files\":[{\"content\":\"\xff\"}]}", 400, "", "UTF-8"},
		{"a way out", files(`[{"name":"../main.py","content":""}]`), 400, "files", "relative"},
		{"an absolute path", files(`[{"name":"/etc/main.py","content":""}]`), 400, "files", "relative"},
		{"a control character", files(`[{"name":"a\nb.py","content":""}]`), 400, "files", "control"},
		{"a long name", files(`[{"name":"` + strings.Repeat("x", 256) + `","content":""}]`), 400, "files", "255"},
		{"a name twice", files(`[{"name":"a.py","content":""},{"name":"a.py","content":""}]`), 400, "files", `"a.py"`},
		{"the usual name twice", files(`[{"content":""},{"name":"main.py","content":""}]`), 400, "files", `"main.py"`},
		{"a file that is a folder", files(`[{"name":"a","content":""},{"name":"a/b.py","content":""}]`), 400, "files", `"a/b.py"`},
		{"too many files", files(`[` + strings.Repeat(`{"content":""},`, 200) + `{"content":""}]`), 400, "files", "200"},
		{"5 MiB of source", files(`[{"content":"` + strings.Repeat(mib, 5) + `"}]`), 413, "", "4 MiB"},
		{"5 MiB in two files", files(`[{"content":"` + strings.Repeat(mib, 3) + `"},{"content":"` + strings.Repeat(mib, 2) + `"}]`), 413, "", "4 MiB"},
		{"5 MiB in base64", files(`[{"encoding":"base64","content":"` + base64.StdEncoding.EncodeToString(make([]byte, 5<<20)) + `"}]`), 413, "", "4 MiB"},
		{"a body without end", files(`[{"content":"` + strings.Repeat(mib, 16) + `"}]`), 413, "", "larger than"},
		{"stdin that is a number", python(`,"stdin":5`), 400, "stdin", "list of strings"},
		{"stdin that is an object", python(`,"stdin":{}`), 400, "stdin", "list of strings"},
		{"inputs that are numbers", python(`,"stdin":["1",2]`), 400, "stdin", "list of strings"},
		{"inputs that are null", python(`,"stdin":["1",null]`), 400, "stdin", "list of strings"},
		{"no inputs", python(`,"stdin":[]`), 400, "stdin", "from 1 to 100"},
		{"too many inputs", python(`,"stdin":["1"` + strings.Repeat(`,"1"`, 100) + `]`), 400, "stdin", "from 1 to 100"},
		{"too long an input", python(`,"stdin":["","` + mib + `x"]`), 400, "stdin", "1 MiB"},
		{"args that are a string", python(`,"args":"x"`), 400, "args", "give a list"},
		{"args that are numbers", python(`,"args":[1]`), 400, "args", "give a string"},
		{"too many args", python(`,"args":["1"` + strings.Repeat(`,"1"`, 128) + `]`), 400, "args", "128"},
		{"a NUL", python(`,"args":["a\u0000"]`), 400, "args", "NUL"},
		{"an unknown output encoding", python(`,"output_encoding":"hex"`), 400, "output_encoding", "utf8 or base64"},
		{"more time", python(`,"run_timeout":10001`), 400, "run_timeout", "10 s is the most"},
		{"more time to compile", python(`,"compile_timeout":1e5`), 400, "compile_timeout", "20 s is the most"},
		{"more processor time", python(`,"run_cpu_time":1e300`), 400, "run_cpu_time", "10 s is the most"},
		{"more processor time to compile", python(`,"compile_cpu_time":20000`), 400, "compile_cpu_time", "10 s is the most"},
		{"more memory", python(`,"run_memory_limit":1073741824`), 400, "run_memory_limit", "256 MiB is the most"},
		{"more memory to compile", python(`,"compile_memory_limit":1e300`), 400, "compile_memory_limit", "1 GiB is the most"},
		{"hardly any memory", python(`,"run_memory_limit":1000`), 400, "run_memory_limit", "16 MiB at the least"},
		{"negative memory", python(`,"run_memory_limit":-2`), 400, "run_memory_limit", "-1 for the server's"},
		{"negative time", python(`,"run_timeout":-0.5`), 400, "run_timeout", "above 0"},
		{"time that is a string", python(`,"run_timeout":"3 s"`), 400, "run_timeout", "give a number"},
		{"time beyond numbers", python(`,"run_timeout":1e999`), 400, "run_timeout", "give a number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := s.call("POST", "/api/v1/execute", "", tt.body)
			var p problem
			if err := json.Unmarshal(body, &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %s %.300s", status, header.Get("Content-Type"), body)
			}
			holds(t, "Problem", body)
			if status != tt.status || p.Status != status || p.Field != tt.field || !strings.Contains(p.Detail, tt.says) {
				t.Errorf("%d %+v, want %d, field %q and %q", status, p, tt.status, tt.field, tt.says)
			}
			if p.Message != p.Detail {
				t.Errorf("clients of Piston see %q", p.Message)
			}
		})
	}
	for kind, want := range map[string]int{"application/json; charset=utf-8": 200, "text/plain;charset=UTF-8": 200, "application/x-www-form-urlencoded": 415, "x": 415} {
		if status, _, data := s.call("POST", "/api/v1/execute", "", python(""), "Content-Type", kind); status != want {
			t.Errorf("a body of %s: %d %s", kind, status, data)
		}
	}
	if status, _, data := s.call("POST", "/api/v1/execute", "", python(""), "Content-Type", "text/plain", "Origin", "https://evil.example"); status != 403 {
		t.Errorf("a page of another origin runs a program: %d %s", status, data)
	}
	if status, header, _ := s.call("GET", "/api/v2/piston/execute", "", ""); status != 405 || header.Get("Allow") != "POST" {
		t.Errorf("a wrong method: %d, Allow %q", status, header.Get("Allow"))
	}
}

func TestExecute(t *testing.T) {
	s := newSite(t)
	tests := []struct {
		name, body string
		want       StageAnswer // without usage, message and output
	}{
		{"streams and code", python("import sys\nprint(input())\nprint('e', file=sys.stderr)\nsys.exit(3)", `,"stdin":"word\n"`),
			StageAnswer{Stdout: "word\n", Stderr: "e\n", Code: new(3), Status: store.StatusExited}},
		{"no input", python("import sys\nprint(repr(sys.stdin.read()))", ""), StageAnswer{Stdout: "''\n", Code: new(0), Status: store.StatusExited}},
		{"no limits", python("print(1)", `,"stdin":null,"args":null,"run_timeout":0,"compile_timeout":-1,"run_cpu_time":null,"run_memory_limit":-1,"compile_memory_limit":-1`),
			StageAnswer{Stdout: "1\n", Code: new(0), Status: store.StatusExited}},
		{"arguments", python("import sys\nprint(sys.argv)", `,"args":["a b","","--x"]`), StageAnswer{Stdout: "['main.py', 'a b', '', '--x']\n", Code: new(0), Status: store.StatusExited}},
		{"names that are left out", `{"language":"py","version":"3.x","files":[{"content":"import os\nprint(sorted(os.listdir()))"},{"content":""},{"name":"d/x.txt","content":""},{"content":""}]}`,
			StageAnswer{Stdout: "['d', 'file1.py', 'file3.py', 'main.py']\n", Code: new(0), Status: store.StatusExited}},
		{"the first file", `{"language":"python","version":"3","files":[{"name":"a.py","content":"import main"},{"name":"main.py","content":"print(__name__)"}]}`,
			StageAnswer{Stdout: "main\n", Code: new(0), Status: store.StatusExited}},
		{"data before the program", `{"language":"python","version":"3","files":[{"name":"data","content":"/wA=","encoding":"base64"},{"content":"print(open('data', 'rb').read())","name":"x"}]}`,
			StageAnswer{Stdout: "b'\\xff\\x00'\n", Code: new(0), Status: store.StatusExited}},
		{"a program in base64", `{"language":"python","version":"3","files":[{"content":"cHJpbnQoMSkK","encoding":"base64"},{"name":"data","content":""}]}`,
			StageAnswer{Stdout: "1\n", Code: new(0), Status: store.StatusExited}},
		{"base64 in lines, without padding", `{"language":"python","version":"3","files":[{"content":"cHJp\r\nbnQoMTIp\n","encoding":"base64"},{"name":"d","content":"eA","encoding":"base64"}]}`,
			StageAnswer{Stdout: "12\n", Code: new(0), Status: store.StatusExited}},
		{"a program in hex", `{"language":"python","version":"3","files":[{"content":"7072696e74283129","encoding":"hex"}]}`,
			StageAnswer{Stdout: "1\n", Code: new(0), Status: store.StatusExited}},
		{"a signal", `{"language":"bash","version":"*","files":[{"content":"echo out; kill -SEGV $$"}]}`,
			StageAnswer{Stdout: "out\n", Signal: new("SIGSEGV"), Status: store.StatusSignaled}},
		{"too long", `{"language":"bash","version":"*","run_timeout":300.5,"files":[{"content":"echo out; sleep 1000"}]}`,
			StageAnswer{Stdout: "out\n", Signal: new("SIGKILL"), Status: store.StatusTimeout}},
		{"too much processor time", python("print(1, flush=True)\nwhile True: pass", `,"run_cpu_time":2e2`),
			StageAnswer{Stdout: "1\n", Signal: new("SIGKILL"), Status: store.StatusCPULimit}},
		{"too much memory", python("print(1, flush=True)\nx = b'x' * 2**27", `,"run_memory_limit":67108864`),
			StageAnswer{Stdout: "1\n", Signal: new("SIGKILL"), Status: store.StatusMemoryLimit}},
		{"no UTF-8", python(`import sys; sys.stdout.buffer.write(b"a\xff\xc3\x28\xe2\x82")`, ""),
			StageAnswer{Stdout: "a\ufffd\ufffd(\ufffd\ufffd", Code: new(0), Status: store.StatusExited}},
		{"base64", python(`import sys; sys.stdout.buffer.write(b"a\xff")`, `,"output_encoding":"base64"`),
			StageAnswer{Stdout: "Yf8=", Encoding: "base64", Code: new(0), Status: store.StatusExited}},
		{"files", python("import os\nos.makedirs('out/d')\nopen('out/d/x', 'wb').write(b'\\xff')\nopen('out/empty', 'w')", ""),
			StageAnswer{Code: new(0), Status: store.StatusExited, Files: []LeftFile{{"d/x", []byte{255}, "base64"}, {"empty", []byte{}, "base64"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.executed(tt.body)
			got := a.Run
			if got.Message == "" || got.WallTime < 1 || got.Memory < 1 || len(got.Output) != len(got.Stdout)+len(got.Stderr) {
				t.Errorf("%+v", got)
			}
			got.Message, got.Output, got.CPUTime, got.WallTime, got.Memory = "", "", 0, 0, 0
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %s\nwant %s", inJSON(got), inJSON(tt.want))
			}
			if a.Language == "" || a.Version == "" || a.Runs != nil || a.Compile != nil {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestExecuteBatch(t *testing.T) {
	s := newSite(t)
	var inputs []string
	for i := range 20 {
		inputs = append(inputs, fmt.Sprintf("%d\n", i))
	}
	// The later ones are quicker: they end in another order than they began.
	a := s.executed(python("import time\nn = int(input())\ntime.sleep((20 - n) / 100)\nprint(n * n)", `,"stdin":`+inJSON(inputs)))
	if len(a.Runs) != len(inputs) || !reflect.DeepEqual(a.Run, a.Runs[0]) {
		t.Fatalf("%d runs, the first of which is %+v", len(a.Runs), a.Run)
	}
	for i, run := range a.Runs {
		if want := fmt.Sprintf("%d\n", i*i); run.Stdout != want || run.Code == nil || *run.Code != 0 {
			t.Errorf("run %d is %+v, want %q", i, run, want)
		}
	}
	if a := s.executed(python("print(1)", `,"stdin":[""]`)); len(a.Runs) != 1 {
		t.Errorf("a batch of one is %+v", a)
	}
	// One that fails is no other's matter.
	a = s.executed(python("print(1 // int(input()))", `,"stdin":["1","0","1"]`))
	if *a.Runs[0].Code != 0 || *a.Runs[1].Code != 1 || *a.Runs[2].Code != 0 {
		t.Errorf("%+v", a.Runs)
	}
	// All together print no more than fits into one answer.
	a = s.executed(python("import os\nos.write(1, b'x' * 2**20)", `,"stdin":`+inJSON(make([]string, 100))))
	total := 0
	for _, run := range a.Runs {
		total += len(run.Stdout)
		if run.Status != store.StatusOutputLimit || run.Signal == nil || !strings.Contains(run.Message, "163.8 KiB") {
			t.Fatalf("%s %s", run.Status, run.Message)
		}
	}
	if total > batchBytes {
		t.Errorf("a batch printed %d bytes", total)
	}
}

// What did not compile is shown as clients of Piston look for it.
func TestAnswerWithoutRuns(t *testing.T) {
	compile := runner.StageResult{Stderr: []byte("no\n"), Output: []byte("no\n"), Code: new(1), Status: store.StatusCompileFailed, Message: "It failed.", CPU: 1500 * time.Microsecond}
	a := AnswerOf(&runner.ExecuteResult{Language: "c", Version: "12.2.0", Compile: &compile}, false)
	data := inJSON(a)
	holds(t, "Executed", []byte(data))
	if a.Compile == nil || !reflect.DeepEqual(a.Run, *a.Compile) || *a.Run.Code != 1 || a.Run.CPUTime != 2 || !strings.Contains(data, `"runs":[]`) {
		t.Errorf("%s", data)
	}
	compile = runner.StageResult{Status: store.StatusTimeout}
	if a := AnswerOf(&runner.ExecuteResult{Compile: &compile}, false); a.Run.Signal == nil || *a.Run.Signal != "SIGKILL" {
		t.Errorf("%+v", a)
	}
	compile = runner.StageResult{Status: store.StatusFailed}
	if a := AnswerOf(&runner.ExecuteResult{Compile: &compile}, false); a.Run.Signal != nil {
		t.Errorf("%+v", a)
	}
}

func TestSelects(t *testing.T) {
	for _, tt := range []struct {
		version       string
		meets, misses []string
	}{
		{"3.11.2", []string{"3.11.2", "*", "x", "3", "3.x", "3.11", "3.11.x", ">=3.9", "^3.9.0", "~3.11.0", ">=3 <4", ">=3.9, <3.12", "2.7.x || 3.x", "3.9 - 3.12", "v3.11.2", "=3.11.2", "!=3.12.0"},
			[]string{"3.11.3", "3.12", "2", "<3.11", "^4", "~3.10.0", "3.11.2-rc1"}},
		{"5.2.15", []string{"5.2.15", "5.x", "~5.2"}, []string{"5.1.0"}},
		{"12.2", []string{"12.2", "12", "12.2.0", ">=12"}, []string{"12.2.1", "13"}},
		{"6.8.0.105", []string{"6.8.0.105", "6.8.0", "6", "*"}, []string{"7"}},
		{"17.0.013", []string{"17.0.013", "17.0.13"}, []string{"17.0.12"}},
	} {
		for _, selector := range tt.meets {
			if ok, err := selects(selector, tt.version); !ok || err != nil {
				t.Errorf("%q does not select %s: %v", selector, tt.version, err)
			}
		}
		for _, selector := range tt.misses {
			if ok, err := selects(selector, tt.version); ok || err != nil {
				t.Errorf("%q selects %s (%v)", selector, tt.version, err)
			}
		}
	}
	for _, selector := range []string{"latest", ">=", "3..1", "../..", "6.8.0.106", "\x00"} {
		if ok, err := selects(selector, "6.8.0.105"); ok || err == nil {
			t.Errorf("%q is a selector", selector)
		}
	}
}

func TestRuntimes(t *testing.T) {
	s := newSite(t)
	for _, root := range executeRoots {
		status, _, data := s.call("GET", root+"/runtimes", "", "")
		var all []runtimeAnswer
		must(t, json.Unmarshal(data, &all))
		found := false
		for _, r := range all {
			found = found || r.Language == "python" && strings.HasPrefix(r.Version, "3.") && len(r.Aliases) > 0
		}
		if status != 200 || !found {
			t.Errorf("%s/runtimes: %d %s", root, status, data)
		}
		status, _, data = s.call("POST", root+"/execute", "", python("print(7)", ""))
		if status != 200 || !strings.Contains(string(data), `"stdout":"7\n"`) {
			t.Errorf("%s/execute: %d %s", root, status, data)
		}
	}
}

func TestWhoMayExecute(t *testing.T) {
	var st *store.Store
	s := newSite(t, func(c *Config) { c.AnyoneMayCreate, st = false, c.Store })
	for _, token := range []string{"", "wrong"} {
		status, header, data := s.call("POST", "/api/v1/execute", token, python("print(1)", ""))
		if status != 401 || header.Get("WWW-Authenticate") == "" || !strings.Contains(string(data), "API token") {
			t.Errorf("with token %q: %d %s", token, status, data)
		}
	}
	token, hash := store.NewToken()
	_, err := st.CreateAPIToken(t.Context(), "test", hash, time.Time{})
	must(t, err)
	if status, _, data := s.call("POST", "/api/v1/execute", token, python("print(1)", "")); status != 200 {
		t.Errorf("with an API token: %d %s", status, data)
	}
	if status, _, _ := s.call("GET", "/api/v1/runtimes", "", ""); status != 200 {
		t.Errorf("the runtimes without a token: %d", status)
	}
}

func TestExecuteQuota(t *testing.T) {
	s := newSite(t)
	// Not faster than the quota comes back, on any machine that runs the others.
	for range 10 * runner.DefaultQuotas().PerMinuteIP {
		status, header, data := s.call("POST", "/api/v1/execute", "", python("", ""))
		if status == http.StatusOK {
			continue
		}
		if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" || !strings.Contains(string(data), `"message":"people at your address`) {
			t.Errorf("%d %v %s", status, header, data)
		}
		return
	}
	t.Error("nobody was refused")
}

// The server's deadlines are for calls that are answered at once.
func TestExecuteOutlastsDeadlines(t *testing.T) {
	s := newSite(t)
	short := httptest.NewUnstartedServer(s.Config.Handler)
	short.Config.ReadTimeout, short.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	short.Start()
	defer short.Close()
	body := `{"language":"bash","version":"*","files":[{"content":"sleep 1; echo out"}]}`
	res, err := short.Client().Post(short.URL+"/api/v1/execute", "application/json", strings.NewReader(body))
	must(t, err)
	defer res.Body.Close()
	var a ExecuteAnswer
	must(t, json.NewDecoder(res.Body).Decode(&a))
	if res.StatusCode != 200 || a.Run.Stdout != "out\n" {
		t.Errorf("%d %+v", res.StatusCode, a)
	}
}

// A client that goes away takes its run with it.
func TestExecuteEndsWithItsClient(t *testing.T) {
	var run *runner.Runner
	s := newSite(t, func(c *Config) { run = c.Runner })
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/api/v1/execute", strings.NewReader(`{"language":"bash","version":"*","files":[{"content":"sleep 9"}]}`))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	gone := make(chan error, 1)
	go func() {
		_, err := s.Client().Do(req)
		gone <- err
	}()
	for run.Stats().Running == 0 { // ends with the test's own time
	}
	began := time.Now()
	cancel()
	if err := <-gone; err == nil {
		t.Fatal("the call was answered")
	}
	for run.Stats().Running > 0 {
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the run went on for %v", took)
	}
}
