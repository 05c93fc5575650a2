package runner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPrepare(t *testing.T) {
	langs, err := profileSet()
	if err != nil {
		t.Fatal(err)
	}
	text := "x"
	python := []File{{"main.py", ""}, {"a.py", ""}, {"dir/b.js", ""}}
	for name, c := range map[string]struct {
		req         Request
		entry, mode string
	}{
		"everything open":          {Request{Language: "python", Files: python}, "main.py", ModeTerminal},
		"an alias":                 {Request{Language: "PY", Files: python}, "main.py", ModeTerminal},
		"an entry":                 {Request{Language: "python", Files: python, Entry: "a.py"}, "a.py", ModeTerminal},
		"the room's entry":         {Request{Language: "python", Files: python, DefaultEntry: "a.py"}, "a.py", ModeTerminal},
		"the room's, of another":   {Request{Language: "javascript", Files: python, DefaultEntry: "a.py"}, "dir/b.js", ModeTerminal},
		"an entry of another":      {Request{Language: "javascript", Files: python, Entry: "a.py"}, "a.py", ModeTerminal},
		"stdin means pipes":        {Request{Language: "python", Files: python, Stdin: &text}, "main.py", ModePipes},
		"stdin and a terminal":     {Request{Language: "python", Files: python, Stdin: &text, Mode: ModeTerminal}, "main.py", ModeTerminal},
		"pipes, of its own accord": {Request{Language: "python", Files: python, Mode: ModePipes}, "main.py", ModePipes},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := prepare(c.req, langs, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if j.Entry != c.entry || j.Mode != c.mode {
				t.Errorf("got %s in %s, want %s in %s", j.Entry, j.Mode, c.entry, c.mode)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	langs, err := profileSet()
	if err != nil {
		t.Fatal(err)
	}
	good := func(change func(*Request)) Request {
		r := Request{Language: "python", Files: []File{{"main.py", ""}}}
		change(&r)
		return r
	}
	files := func(paths ...string) Request {
		return good(func(r *Request) {
			r.Files = nil
			for _, p := range paths {
				r.Files = append(r.Files, File{p, ""})
			}
		})
	}
	limit := func(l Lower) Request { return good(func(r *Request) { r.Limits = &l }) }
	long := strings.Repeat("x", maxStdinBytes+1)
	deep := []string{"main.py"}
	for i := range 199 {
		deep = append(deep, fmt.Sprint(i)+strings.Repeat("/d", 100)+"/f")
	}
	for name, c := range map[string]struct {
		req          Request
		field, wants string
	}{
		"no language":          {good(func(r *Request) { r.Language = "" }), "language", "bash, c, "},
		"an unknown language":  {good(func(r *Request) { r.Language = "cobol" }), "language", `"cobol"`},
		"too many folders":     {files(deep...), "files", "with the folders"},
		"an unknown mode":      {good(func(r *Request) { r.Mode = "tty" }), "mode", "terminal, pipes or tests"},
		"an unknown entry":     {good(func(r *Request) { r.Entry = "x.py" }), "entry", `"x.py"`},
		"nothing to run":       {files("notes.txt"), "entry", "main.py"},
		"no files":             {files(), "files", "none"},
		"a path twice":         {files("main.py", "main.py"), "files", `"main.py"`},
		"a file and a folder":  {files("main.py", "a", "a/b/c.py"), "files", `"a/b/c.py"`},
		"an absolute path":     {files("main.py", "/etc/passwd"), "files", `"/etc/passwd"`},
		"a way out":            {files("main.py", "a/../../b"), "files", `"a/../../b"`},
		"a dot":                {files("main.py", "./a"), "files", `"./a"`},
		"an empty path":        {files("main.py", ""), "files", `""`},
		"a control character":  {files("main.py", "a\nb"), "files", `"a\nb"`},
		"not UTF-8":            {files("main.py", "\xff"), "files", `"\xff"`},
		"a long path":          {files("main.py", strings.Repeat("a", 256)), "files", "255"},
		"too many files":       {good(func(r *Request) { r.Files = make([]File, 201) }), "files", "200"},
		"too much source":      {good(func(r *Request) { r.Files[0].Content = strings.Repeat("x", 4<<20+1) }), "files", "4 MiB"},
		"a NUL argument":       {good(func(r *Request) { r.Args = []string{"a\x00b"} }), "args", "NUL"},
		"too many arguments":   {good(func(r *Request) { r.Args = make([]string, 200) }), "args", "128"},
		"too much stdin":       {good(func(r *Request) { r.Stdin = &long }), "stdin", "1 MiB"},
		"no columns":           {good(func(r *Request) { r.Rows = 24 }), "cols", "1 to 1000"},
		"too many rows":        {good(func(r *Request) { r.Cols, r.Rows = 80, 70000 }), "rows", "70000"},
		"more CPU time":        {limit(Lower{CPUTime: 11 * time.Second}), "limits.cpu_time", "10 s"},
		"more wall time":       {limit(Lower{Wall: 11 * time.Minute}), "limits.wall_time", "10 min"},
		"more than pipes have": {good(func(r *Request) { r.Mode, r.Limits = ModePipes, &Lower{Wall: 11 * time.Second} }), "limits.wall_time", "10 s"},
		"more artefacts":       {limit(Lower{ArtefactBytes: 9 << 20}), "limits.artefacts", "8 MiB"},
		"more memory":          {limit(Lower{MemoryBytes: 257 << 20}), "limits.memory", "256 MiB"},
		"hardly any memory":    {limit(Lower{MemoryBytes: 1 << 20}), "limits.memory", "16 MiB"},
		"more processes":       {limit(Lower{Processes: 65}), "limits.processes", "64"},
		"more output":          {limit(Lower{OutputBytes: 9 << 20}), "limits.output", "8 MiB"},
		"less than nothing":    {limit(Lower{OutputBytes: -1}), "limits.output", "8 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prepare(c.req, langs, DefaultLimits())
			var refused *InputError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want an InputError", err)
			}
			if refused.Field != c.field || !strings.Contains(refused.Detail, c.wants) {
				t.Errorf("got %v, want %s with %q", err, c.field, c.wants)
			}
		})
	}
}

func TestLowered(t *testing.T) {
	all := DefaultLimits()
	got, err := all.lowered(&Lower{CPUTime: time.Second, Wall: time.Minute, MemoryBytes: 64 << 20, Processes: 3, OutputBytes: 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := all
	want.CPUTime, want.WallTerminal, want.Idle, want.OutputBytes = time.Second, time.Minute, time.Minute, 10
	want.Box.MemoryBytes, want.Box.Processes = 64<<20, 3
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWords(t *testing.T) {
	for ns, want := range map[time.Duration]string{
		10 * time.Second: "10 s", 1500 * time.Millisecond: "1.5 s", 2 * time.Minute: "2 min",
		90 * time.Second: "90 s", 300 * time.Millisecond: "300 ms", time.Microsecond: "1 ms",
	} {
		if got := durationWords(int64(ns)); got != want {
			t.Errorf("durationWords(%v) is %q, want %q", ns, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 8 << 20: "8 MiB", 1536: "1.5 KiB", 3 << 40: "3 TiB"} {
		if got := byteWords(n); got != want {
			t.Errorf("byteWords(%d) is %q, want %q", n, got, want)
		}
	}
}
