package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"corun/runner/lang"
	"corun/store"
)

// needs skips a test of a language that the image has not.
func needs(t testing.TB, r *Runner, languages ...string) {
	t.Helper()
	for _, name := range languages {
		if _, ok := r.Language(name); !ok {
			t.Skipf("there is no %s here", name)
		}
	}
}

const helloC = `#include <stdio.h>
int main(void) { char name[99] = "nobody"; scanf("%98s", name); printf("hello %s\n", name); return 3; }
`

func TestCompileAndRun(t *testing.T) {
	r := testRunner(t)
	needs(t, r, "c")
	for _, mode := range []string{ModePipes, ModeTerminal} {
		t.Run(mode, func(t *testing.T) {
			req := program("c", helloC)
			req.Mode = mode
			rec := start(t, r, req)
			check(t, rec.run.Stdin("ann", []byte("Ada\n"))) // while it is compiled
			run := rec.end()
			stream := store.Stdout
			if mode == ModeTerminal {
				stream = store.PTY
			}
			if run.Status != store.StatusExited || *run.ExitCode != 3 || !strings.Contains(rec.output(stream), "hello Ada") {
				t.Errorf("got %s, %q; printed %q", run.Status, run.Message, rec.output(stream))
			}
			var stages []string
			for _, e := range rec.events {
				if e.Kind == EventStarted || e.Kind == EventStage {
					stages = append(stages, e.Run.Stage)
				}
			}
			if want := []string{"compile", "compile", "run"}; !slices.Equal(stages, want) {
				t.Errorf("stages %v, want %v", stages, want)
			}
			if c := run.Compile; c == nil || c.Status != store.StatusExited || c.Cached || c.Usage.CPUMS <= 0 {
				t.Errorf("of compiling is said: %+v", c)
			}
		})
	}
}

// Where nothing can be read of what a box leaves, a compiler hands over what it made.
func TestSealedCompile(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Sealed = true })
	needs(t, r, "c")
	for _, mode := range []string{ModePipes, ModeTerminal} {
		req := program("c", "#warning careful\n"+helloC)
		req.Mode = mode
		rec := start(t, r, req)
		check(t, rec.run.Stdin("ann", []byte("Ada\n")))
		run := rec.end()
		stdout, stderr := rec.output(store.Stdout), rec.output(store.Stderr)
		if mode == ModeTerminal {
			stdout, stderr = rec.output(store.PTY), rec.output(store.PTY)
			if strings.Contains(strings.ReplaceAll(stdout, "\r\n", ""), "\n") {
				t.Errorf("lines end as in no terminal: %q", stdout)
			}
		}
		if run.Status != store.StatusExited || *run.ExitCode != 3 || !strings.Contains(stdout, "hello Ada") || !strings.Contains(stderr, "careful") {
			t.Errorf("%s: got %s, %q, %q", mode, run.Status, run.Message, stdout+stderr)
		}
		rec = start(t, r, program("c", "int main("))
		if run := rec.end(); run.Status != store.StatusCompileFailed || *run.ExitCode != 1 {
			t.Errorf("%s: got %s, %q", mode, run.Status, run.Message)
		}
	}
}

func TestCompileFails(t *testing.T) {
	r := testRunner(t)
	needs(t, r, "c")
	for name, c := range map[string]struct {
		text, printed, message string
		status                 store.Status
	}{
		"an error":          {"int main(void) { return x; }", "main.c:1:", "The compiler ended with exit code 1.", store.StatusCompileFailed},
		"no main":           {"int f(void) { return 0; }", "main", "The compiler ended", store.StatusCompileFailed},
		"too many messages": {strings.Repeat("#warning "+strings.Repeat("x", 1000)+"\n", 3000), "#warning", "The compiler printed more than the 1 MiB", store.StatusOutputLimit},
		"too large":         {"char all[100 << 20] = {1}; int main(void) { return all[5]; }", "", "The compiler", store.StatusCompileFailed},
	} {
		t.Run(name, func(t *testing.T) {
			rec := start(t, r, program("c", c.text))
			run := rec.end()
			all := rec.output(store.Stdout) + rec.output(store.Stderr)
			if run.Status != c.status || !strings.Contains(all, c.printed) || !strings.HasPrefix(run.Message, c.message) {
				t.Errorf("got %s, %q, %.300q", run.Status, run.Message, all)
			}
			if run.Compile == nil || run.Compile.Status != c.status {
				t.Errorf("of compiling is said: %+v", run.Compile)
			}
			for _, e := range rec.events {
				if e.Run.Stage == stageRun {
					t.Error("what was not compiled was run")
				}
			}
		})
	}
}

// A program that takes for ever to compile is ended, by its clock or by people.
func TestCompileEnds(t *testing.T) {
	r := testRunner(t, func(c *Config) {
		limits := DefaultLimits()
		limits.Compile.CPUTime = 2 * time.Second
		c.Limits = &limits
	})
	needs(t, r, "cpp")
	endless := program("cpp", "#define A(x) x x x x x x x x x x\n#define B(x) A(A(A(x)))\nint main() { int i = 0; B(B(B(i++;))) return i; }\n")
	t.Run("by people", func(t *testing.T) {
		rec := start(t, r, endless)
		rec.wait("the compiler", func() bool {
			return slices.ContainsFunc(rec.events, func(e Event) bool { return e.Kind == EventStage })
		})
		check(t, rec.run.Stop())
		if run := rec.end(); run.Status != store.StatusStopped || run.Compile == nil {
			t.Errorf("got %s, %q, %+v", run.Status, run.Message, run.Compile)
		}
	})
	t.Run("by its clock", func(t *testing.T) {
		run := start(t, r, endless).end()
		if run.Status != store.StatusCPULimit && run.Status != store.StatusMemoryLimit || !strings.HasPrefix(run.Message, "The compiler") {
			t.Errorf("got %s, %q", run.Status, run.Message)
		}
	})
}

// The same files are compiled once, and warnings are shown each time.
func TestCompileCache(t *testing.T) {
	r := testRunner(t)
	needs(t, r, "c")
	req, none := program("c", "#warning look here\n"+helloC), ""
	req.Stdin = &none
	req.Files = append(req.Files, File{"other.h", "int x;"})
	first := start(t, r, req)
	before := first.end()
	again := start(t, r, req)
	after := again.end()
	if before.Compile.Cached || !after.Compile.Cached {
		t.Errorf("cached: %v, then %v", before.Compile.Cached, after.Compile.Cached)
	}
	for _, rec := range []*recorder{first, again} {
		if !strings.Contains(rec.output(store.Stderr), "look here") || rec.output(store.Stdout) != "hello nobody\n" {
			t.Errorf("got %q, %q", rec.output(store.Stdout), rec.output(store.Stderr))
		}
	}
	req.Files[1].Content = "int y;"
	if run := start(t, r, req).end(); run.Compile.Cached {
		t.Error("another header was not compiled")
	}
}

// What a program does to its own file changes nothing for the next one.
func TestCompiledIsNotChanged(t *testing.T) {
	r := testRunner(t)
	needs(t, r, "c")
	req := program("c", `#include <stdio.h>
#include <unistd.h>
#include <fcntl.h>
int main(int argc, char **argv) {
	unlink(argv[0]);
	int fd = open(argv[0], O_WRONLY | O_CREAT, 0755);
	dprintf(fd, "#!/bin/sh\necho broken\n");
	puts("whole");
}`)
	for range 3 {
		rec := start(t, r, req)
		if rec.end(); rec.output(store.Stdout) != "whole\n" {
			t.Errorf("got %q", rec.output(store.Stdout))
		}
	}
}

func TestCacheForgets(t *testing.T) {
	all, err := profileSet()
	check(t, err)
	c := newCache("image", 1000)
	jobOf := func(text string) *job {
		p, _ := all.Find("c")
		return &job{Request: program("c", text), profile: p}
	}
	for i := range 10 {
		c.add(jobOf(fmt.Sprint(i)), &built{program: make([]byte, 200)})
		c.find(jobOf("0"), 80) // used again and again
	}
	if _, _, bytes := c.stats(); bytes > 1000 {
		t.Errorf("%d bytes are kept", bytes)
	}
	if c.find(jobOf("0"), 80) == nil || c.find(jobOf("9"), 80) == nil || c.find(jobOf("5"), 80) != nil {
		t.Error("the least used must go first")
	}
	c.add(jobOf("large"), &built{program: make([]byte, 900)})
	if c.find(jobOf("large"), 80) != nil {
		t.Error("one program drives out all others")
	}
	// What differs in any way is another program.
	one, other := jobOf(""), jobOf("")
	one.Files = []File{{"a", "bc"}}
	other.Files = []File{{"ab", "c"}}
	if c.key(one) == c.key(other) {
		t.Error("two lists of files have the same key")
	}
	// A linker heeds their order.
	one.Files = []File{{"a", ""}, {"b", ""}}
	other.Files = []File{{"b", ""}, {"a", ""}}
	if c.key(one) == c.key(other) {
		t.Error("two orders of files have the same key")
	}
}

// Messages were made for a terminal's width.
func TestCacheAndWidth(t *testing.T) {
	all, err := profileSet()
	check(t, err)
	c := newCache("image", 1000)
	p, _ := all.Find("c")
	j := &job{Request: program("c", ""), profile: p}
	quiet := &built{program: []byte("1"), cols: 20}
	c.add(j, quiet)
	if c.find(j, 200) != quiet {
		t.Error("a compiler that said nothing has said it for any width")
	}
	c = newCache("image", 1000)
	narrow, wide := &built{program: []byte("1"), cols: 20, messages: []piece{{data: []byte("narrow")}}}, &built{program: []byte("1"), cols: 200, messages: []piece{{data: []byte("wide")}}}
	c.add(j, narrow)
	if c.find(j, 20) != narrow || c.find(j, 200) != nil {
		t.Error("messages are for the width that they were made for")
	}
	c.add(j, wide)
	if c.find(j, 200) != wide || c.find(j, 20) != nil {
		t.Error("the last width is what is kept")
	}
	if _, _, bytes := c.stats(); bytes != wide.bytes() {
		t.Errorf("%d bytes are kept, of %d", bytes, wide.bytes())
	}
}

func TestWarmIsUsed(t *testing.T) {
	r := testRunner(t)
	needs(t, r, "python")
	p, _ := r.langs.Find("python")
	if p.Warm == nil || r.image.Usr != "" {
		t.Skip("this image has no runtime that waits")
	}
	k := r.warmKind(p, ModePipes)
	eventually(t, "a runtime", func() bool { return r.pools.of(k).Ready > 0 })
	before := r.pools.of(k)
	rec := start(t, r, program("python", "import sys; print(sys.argv)"))
	if rec.end(); rec.output(store.Stdout) != "['main.py']\n" {
		t.Errorf("got %q", rec.output(store.Stdout))
	}
	if got := r.pools.of(k); got.Taken != before.Taken+1 {
		t.Errorf("%d were taken before, %d after", before.Taken, got.Taken)
	}
	// One with another first file, or other limits, begins in a box without.
	req := program("python", "print(1)")
	req.Files[0].Path = "other.py"
	start(t, r, req).end()
	req = program("python", "print(1)")
	req.Limits = &Lower{MemoryBytes: 64 << 20}
	start(t, r, req).end()
	if got := r.pools.of(k); got.Taken != before.Taken+1 {
		t.Errorf("%d were taken before, %d after", before.Taken, got.Taken)
	}
}

// A runtime that cannot be started is said of, and programs run all the same.
func TestRuntimeFails(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Languages, c.NoPool = []string{"python"}, true })
	needs(t, r, "python")
	p, _ := r.langs.Find("python")
	p.Warm = &lang.Warm{Command: []string{"/bin/false"}}
	p.Limits.Processes = 33 // boxes of a kind of their own, which are not kept yet
	k := r.warmKind(p, ModePipes)
	r.pools.keep(k, 1)
	eventually(t, "a second failure", func() bool { return r.pools.of(k).Failure != nil })
	if l, _ := r.Language("python"); !strings.Contains(l.Problem, "ended before it was ready") {
		t.Errorf("the problem is %q", l.Problem)
	}
	rec := start(t, r, program("python", "print('all the same')"))
	if rec.end(); rec.output(store.Stdout) != "all the same\n" {
		t.Errorf("got %q", rec.output(store.Stdout))
	}
}

func TestArtefacts(t *testing.T) {
	r := testRunner(t)
	needs(t, r, "python")
	rec := start(t, r, program("python", `
import os
os.makedirs("out/deep")
open("out/plot.png", "wb").write(b"\x89PNG")
open("out/deep/empty", "w")
open("elsewhere", "w").write("x")
os.symlink("/etc/passwd", "out/link")
open(b"out/bad\xff", "w").write("x")
`))
	run := rec.end()
	want := []store.ArtefactInfo{{Path: "deep/empty", Size: 0}, {Path: "plot.png", Size: 4}}
	if !slices.Equal(run.Artefacts, want) || !strings.Contains(run.Message, "2 could not be kept") {
		t.Errorf("got %+v, %q", run.Artefacts, run.Message)
	}
	for path, text := range map[string]string{"plot.png": "\x89PNG", "deep/empty": ""} {
		if data, err := r.store.Artefact(t.Context(), run.Room, run.Number, path); err != nil || string(data) != text {
			t.Errorf("%s: got %q, %v", path, data, err)
		}
	}
	if _, err := r.store.Artefact(t.Context(), run.Room, run.Number, "link"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a link was kept: %v", err)
	}
	t.Run("too much", func(t *testing.T) {
		run := start(t, r, program("python", "import os; os.mkdir('out'); open('out/a', 'wb').truncate(8 * 2**20 + 1)")).end()
		if len(run.Artefacts) != 0 || !strings.Contains(run.Message, "8 MiB") || run.Status != store.StatusExited {
			t.Errorf("got %+v, %s, %q", run.Artefacts, run.Status, run.Message)
		}
	})
	t.Run("of one that was killed", func(t *testing.T) {
		run := start(t, r, program("python", "import os; os.mkdir('out'); open('out/a', 'w').write('a'); os.kill(os.getpid(), 9)")).end()
		if len(run.Artefacts) != 1 || run.Status != store.StatusSignaled {
			t.Errorf("got %+v, %s", run.Artefacts, run.Status)
		}
	})
}

func TestExecute(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Quotas = &Quotas{1000, 1000, 1000, 1000} })
	needs(t, r, "c", "python")
	t.Run("a batch", func(t *testing.T) {
		var inputs []string
		for i := range 20 {
			inputs = append(inputs, fmt.Sprintf("n%d\n", i))
		}
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "c", Files: []File{{"main.c", "#warning once\n" + helloC}}, Stdin: inputs})
		if err != nil {
			t.Fatal(err)
		}
		if got.Compile == nil || got.Compile.Status != store.StatusExited || !strings.Contains(string(got.Compile.Stderr), "once") {
			t.Errorf("compiled: %+v", got.Compile)
		}
		if len(got.Runs) != len(inputs) {
			t.Fatalf("%d results", len(got.Runs))
		}
		for i, res := range got.Runs {
			if want := fmt.Sprintf("hello n%d\n", i); string(res.Stdout) != want || len(res.Stderr) != 0 || *res.Code != 3 || res.Wall <= 0 {
				t.Errorf("%d: got %+v", i, res)
			}
		}
	})
	t.Run("compiled before", func(t *testing.T) {
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "c", Files: []File{{"main.c", "#warning once\n" + helloC}}, Stdin: []string{""}})
		if err != nil || got.Compile == nil || *got.Compile.Code != 0 || !strings.Contains(string(got.Compile.Stderr), "once") || string(got.Runs[0].Stdout) != "hello nobody\n" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("not to be compiled", func(t *testing.T) {
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "c", Files: []File{{"main.c", "int main("}}, Stdin: []string{"", ""}})
		if err != nil || got.Compile == nil || got.Compile.Status != store.StatusCompileFailed || *got.Compile.Code != 1 || len(got.Runs) != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("streams", func(t *testing.T) {
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "python", Stdin: []string{"in"}, Args: []string{"a b"}, Run: &Lower{Wall: 5 * time.Second},
			Files: []File{{"main.py", "import sys, os, util\nprint(sys.argv[1:], input(), util.x)\nprint('e', file=sys.stderr)\nos.mkdir('out'); open('out/f', 'w').write('f')\nsys.exit(4)"}, {"util.py", "x = 7"}}})
		if err != nil {
			t.Fatal(err)
		}
		res := got.Runs[0]
		if got.Compile != nil || string(res.Stdout) != "['a b'] in 7\n" || string(res.Stderr) != "e\n" || len(res.Output) != 15 || *res.Code != 4 || len(res.Artefacts) != 1 || res.MemoryPeak == 0 {
			t.Errorf("got %+v", res)
		}
	})
	t.Run("a limit", func(t *testing.T) {
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "python", Stdin: []string{""}, Files: []File{{"main.py", "print('x', flush=True)\nwhile True: pass"}}, Run: &Lower{Wall: 300 * time.Millisecond}})
		if err != nil || got.Runs[0].Status != store.StatusTimeout || string(got.Runs[0].Stdout) != "x\n" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("nobody waits", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := r.Execute(ctx, ExecuteRequest{Language: "python", Stdin: []string{"", "", ""}, Files: []File{{"main.py", "input(); input()\nimport time; time.sleep(1000)"}}}); err == nil {
			_, err = r.Execute(ctx, ExecuteRequest{Language: "python", Stdin: []string{"", ""}, Files: []File{{"main.py", "import time; time.sleep(1000)"}}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
	})
	for name, req := range map[string]ExecuteRequest{
		"no input":   {Language: "python", Files: []File{{"main.py", ""}}},
		"too many":   {Language: "python", Files: []File{{"main.py", ""}}, Stdin: make([]string, 101)},
		"no file":    {Language: "python", Stdin: []string{""}},
		"a limit up": {Language: "python", Files: []File{{"main.py", ""}}, Stdin: []string{""}, Run: &Lower{MemoryBytes: 1 << 40}},
		"compile up": {Language: "c", Files: []File{{"main.c", ""}}, Stdin: []string{""}, Compile: &Lower{CPUTime: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			var refused *InputError
			if _, err := r.Execute(t.Context(), req); !errors.As(err, &refused) {
				t.Errorf("got %v", err)
			}
		})
	}
}
