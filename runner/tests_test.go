package runner

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"corun/store"
)

// kase is a visible case of a point.
func kase(id, stdin, expected string) store.TestCase {
	return store.TestCase{ID: id, Name: "case " + id, Points: 1, Stdin: stdin, Args: []string{}, Match: store.MatchTrimmed, Expected: expected}
}

// tested is a request for the tests of one file.
func tested(language, text string, cases ...store.TestCase) Request {
	req := program(language, text)
	req.Mode, req.Cases = ModeTests, cases
	return req
}

// results gives what was reported of each case, by its id.
func (c *recorder) results() map[string]*store.TestResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]*store.TestResult)
	for _, e := range c.events {
		if e.Kind != EventTest {
			continue
		}
		if all[e.Test.ID] != nil {
			c.t.Errorf("the case %s was reported twice", e.Test.ID)
		}
		all[e.Test.ID] = e.Test
		if e.Run.Tests.Done != len(all) {
			c.t.Errorf("%d cases have ended, and the run tells of %d", len(all), e.Run.Tests.Done)
		}
	}
	return all
}

// expect compares verdicts with those of the cases.
func (c *recorder) expect(want map[string]store.Verdict) map[string]*store.TestResult {
	c.t.Helper()
	got := c.results()
	for id, verdict := range want {
		if got[id] == nil || got[id].Verdict != verdict {
			c.t.Errorf("case %s: got %+v, want %s", id, got[id], verdict)
		}
	}
	if len(got) != len(want) {
		c.t.Errorf("there are %d results, want %d", len(got), len(want))
	}
	return got
}

func TestMatches(t *testing.T) {
	tests := []struct {
		match     store.Match
		tolerance float64
		got, want string
		ok        bool
	}{
		{store.MatchExact, 0, "a\n", "a\n", true},
		{store.MatchExact, 0, "a", "a\n", false},
		{store.MatchExact, 0, "", "", true},
		{store.MatchTrimmed, 0, "a \r\nb\n\n", "a\nb", true},
		{store.MatchTrimmed, 0, "a\nb", "a\r\nb\t\r\n\r\n", true},
		{store.MatchTrimmed, 0, " a", "a", false},
		{store.MatchTrimmed, 0, "a\n\nb", "a\nb", false},
		{store.MatchTrimmed, 0, "a\nb", "a", false},
		{store.MatchTrimmed, 0, "a", "a\nb", false},
		{store.MatchTrimmed, 0, "\n\n", "", true},
		{store.MatchRegex, 0, "12 apples\n", `\d+ apples\s*`, true},
		{store.MatchRegex, 0, "12 apples and more", `\d+ apples`, false},
		{store.MatchRegex, 0, "b", `a|b`, true},
		{store.MatchRegex, 0, "ab", `a|b`, false},
		{store.MatchRegex, 0, "a\nb", `(?s)a.b`, true},
		{store.MatchRegex, 0, "a\nx", `(?m)^a$`, false},
		{store.MatchRegex, 0, "\xff", `.`, true},
		{store.MatchNumeric, 0.01, "3.14159\n", "3.1416", true},
		{store.MatchNumeric, 0.01, "3.2", "3.1416", false},
		{store.MatchNumeric, 1e-6, "1000000.5", "1e6", true}, // as a part of it
		{store.MatchNumeric, 0, "1.0 2", "1 2.00", true},
		{store.MatchNumeric, 0, "x = 1.0", "x = 1", true},
		{store.MatchNumeric, 0, "y = 1.0", "x = 1", false},
		{store.MatchNumeric, 1, "1 2", "1", false},
		{store.MatchNumeric, 1, "1", "1 2", false},
		{store.MatchNumeric, 0, "9007199254740993", "9007199254740992", false},
		{store.MatchNumeric, 1, "9007199254740993", "9007199254740992", true},
		{store.MatchNumeric, 0, "9007199254740993.0", "9007199254740992", false},
		{store.MatchNumeric, 0, "100000000000000000001", "1e20", false},
		{store.MatchNumeric, 0, "0.12345678901234567891", "0.12345678901234567890", false},
		{store.MatchNumeric, 0, "1.00000000000000000000", "+1.e0", true},
		{store.MatchNumeric, 1e-9, "0.3333333333333333333", "0.33333333333", true},
		{store.MatchNumeric, 1e-9, "0.0000000000000000000e999999999", "-0", true},
		{store.MatchNumeric, 1e-9, "1.0000000000000000e-999999999", "1.0000000000000000e-999999998", true},
		{store.MatchNumeric, 1e300, "nan", "1", false},
		{store.MatchNumeric, 1e300, "inf", "1", false},
		{store.MatchNumeric, 1e300, "1e999", "1", false},
		{store.MatchNumeric, 0, "0x10", "16", false},
		{store.MatchNumeric, 0, "NaN", "NaN", true},
		{store.MatchNumeric, 0, strings.Repeat("9", 1<<20), strings.Repeat("9", 1<<20) + "0", false},
		{store.MatchNumeric, 0, "", " \n", true},
	}
	for _, tt := range tests {
		c := &store.TestCase{Match: tt.match, Expected: tt.want, Tolerance: tt.tolerance}
		var expr *regexp.Regexp
		if tt.match == store.MatchRegex {
			var err error
			if expr, err = store.CompileExpected(tt.want); err != nil {
				t.Fatal(err)
			}
		}
		ok, why := matches(c, expr, []byte(tt.got))
		if ok != tt.ok || ok != (why == "") {
			t.Errorf("%s %.40q against %.40q: %v %q", tt.match, tt.got, tt.want, ok, why)
		}
	}
}

// An expression that would be at work for minutes is called off.
func TestRegexIsCalledOff(t *testing.T) {
	expr, err := store.CompileExpected(`[ab]*a[ab]{900}c`)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ok, why := matchRegex(expr, []byte(strings.Repeat("ab", 4<<20)), 50*time.Millisecond)
	if ok || !strings.Contains(why, "more than 50 ms") || time.Since(began) > 5*time.Second {
		t.Errorf("%v %q after %v", ok, why, time.Since(began))
	}
}

func TestCases(t *testing.T) {
	r := testRunner(t)
	text := `import sys
n = int(sys.stdin.readline())
if n == 1: print(n * n)
if n == 2: print("no")
if n == 3: print(9); sys.exit(4)
if n == 4: 
    while True: pass
if n == 5: x = bytearray(1 << 30)
if n == 6: print(sys.argv[1:])
if n == 7: import os; os.kill(os.getpid(), 11)
if n == 8: print("x" * 100000)
if n == 9: import time; time.sleep(1000)
if n == 10:
    while True: sys.stdout.write("x" * 65536)
if n == 11:
    import os
    if os.fork() == 0:
        while True: pass
    print(121)
`
	cases := []store.TestCase{
		kase("right", "1\n", "1"), kase("wrong", "2\n", "4"), kase("code", "3\n", "9"), kase("spins", "4\n", "16"),
		kase("memory", "5\n", ""), kase("args", "6\n", "['a b', '']"), kase("signal", "7\n", ""), kase("long", "8\n", "y"),
		kase("sleeps", "9\n", ""), kase("floods", "10\n", ""), kase("leaves", "11\n", "121"), kase("little", "1\n", "1"),
	}
	cases[0].Hidden, cases[0].Points = true, 2.5
	cases[3].Limits = &store.CaseLimits{CPUMS: 200}
	cases[5].Args = []string{"a b", ""}
	cases[8].Limits = &store.CaseLimits{WallMS: 300}
	cases[11].Limits = &store.CaseLimits{MemoryBytes: 32 << 20, WallMS: 1e18} // as a bundle may have it
	rec := start(t, r, tested("python", text, cases...))
	run := rec.end()
	got := rec.expect(map[string]store.Verdict{
		"right": store.VerdictPassed, "wrong": store.VerdictWrongOutput, "code": store.VerdictRuntimeError, "spins": "cpu_limit",
		"memory": "memory_limit", "args": store.VerdictPassed, "signal": "signaled", "long": store.VerdictWrongOutput,
		"sleeps": "timeout", "floods": "output_limit", "leaves": store.VerdictPassed, "little": store.VerdictPassed,
	})
	if run.Status != store.StatusExited || run.Mode != ModeTests || run.ExitCode != nil || run.Message != "4 of 12 tests passed." ||
		*run.Tests != (store.TestSummary{Total: 12, Done: 12, Passed: 4, Failed: 8, Points: 5.5, MaxPoints: 13.5}) {
		t.Errorf("the run is %+v, %+v", run, run.Tests)
	}
	if c := got["code"]; c.ExitCode == nil || *c.ExitCode != 4 || c.Stdout != "9\n" || c.Passed || c.Points != 0 || c.MaxPoints != 1 {
		t.Errorf("exit code 4 gives %+v", c)
	}
	if c := got["signal"]; c.Signal == nil || *c.Signal != "SIGSEGV" {
		t.Errorf("a signal gives %+v", c)
	}
	if c := got["long"]; len(c.Stdout) != resultBytes || c.Usage.OutputBytes != 100001 {
		t.Errorf("of the long output %d bytes are kept, %+v", len(c.Stdout), c.Usage)
	}
	if c := got["sleeps"]; !strings.Contains(c.Message, "300 ms") {
		t.Errorf("the case that sleeps gives %q", c.Message)
	}
	if c := got["right"]; !c.Passed || !c.Hidden || c.Points != 2.5 || c.Usage.CPUMS <= 0 || c.Message != "Passed." {
		t.Errorf("the right one gives %+v", c)
	}
	// What is hidden is in no sum that everybody sees.
	var cpu float64
	for id, c := range got {
		if id != "right" {
			cpu += c.Usage.CPUMS
		}
	}
	if diff := run.Usage.CPUMS - cpu; diff > 0.01 || diff < -0.01 || run.Usage.OutputBytes != 0 {
		t.Errorf("the run used %+v, and its visible cases %v ms", run.Usage, cpu)
	}
	kept, err := r.store.TestResults(t.Context(), run.Room, run.Number)
	check(t, err)
	if len(kept) != 12 || !slices.ContainsFunc(kept, func(k store.TestResult) bool { return k.ID == "long" && k.Stdout == got["long"].Stdout }) {
		t.Errorf("%d results are kept", len(kept))
	}
}

// A program is compiled once, and what its compiler says is the run's output; cases run at once.
func TestCasesOfCompiled(t *testing.T) {
	r := testRunner(t)
	text := `#include <stdio.h>
#include <unistd.h>
int unused() { int x; }
int main() { int n; if (scanf("%d", &n) != 1) return 9; printf("%d\n", n + 1); fflush(stdout); return 0; }`
	var cases []store.TestCase
	want := make(map[string]store.Verdict)
	for i := range 6 {
		id := fmt.Sprint("c", i)
		cases = append(cases, kase(id, fmt.Sprint(i), fmt.Sprint(i+1)))
		want[id] = store.VerdictPassed
	}
	rec := start(t, r, tested("c", text, cases...))
	run := rec.end()
	rec.expect(want)
	if run.Status != store.StatusExited || run.Compile == nil || run.Message != "6 of 6 tests passed." {
		t.Errorf("the run is %+v", run)
	}
	if s := r.Stats().Compiles; s.Tries != 1 {
		t.Errorf("the program was compiled, or looked for, %d times", s.Tries)
	}
	t.Run("again", func(t *testing.T) {
		rec := start(t, r, tested("c", text, cases[0]))
		if run := rec.end(); !run.Compile.Cached || run.Tests.Passed != 1 {
			t.Errorf("the run is %+v", run)
		}
	})
	t.Run("does not compile", func(t *testing.T) {
		rec := start(t, r, tested("c", "int main() { return x; }", cases...))
		run := rec.end()
		rec.expect(nil)
		if run.Status != store.StatusCompileFailed || run.Tests.Done != 0 || run.Tests.Total != 6 || !strings.Contains(rec.output(store.Stderr), "undeclared") {
			t.Errorf("the run is %+v, its output %q", run, rec.output(store.Stderr))
		}
	})
}

func TestCheckers(t *testing.T) {
	r := testRunner(t)
	cases := make([]store.TestCase, 0, 6)
	add := func(id, stdin string, c store.Checker) {
		k := kase(id, stdin, "SECRET-EXPECTED")
		k.Match, k.Checker, k.Hidden = store.MatchChecker, &c, true
		cases = append(cases, k)
	}
	python := store.Checker{Language: "python", Files: []store.CheckerFile{{Path: "main.py", Content: `import sys, helper
a, b = open("input.txt").read(), open("output.txt").read()
print("given", a.strip(), "got", b.strip())
sys.exit(helper.judge(a, b))`}, {Path: "helper.py", Content: `def judge(a, b):
    return 3 if a == "odd" else 0 if b.strip() == a[::-1] else 1`}}}
	c := store.Checker{Language: "c", Source: `#include <stdio.h>
#include <string.h>
int main() { char a[99] = "", b[99] = ""; FILE *f = fopen("input.txt", "r"), *g = fopen("output.txt", "r");
if (!fgets(a, 99, f) || !fgets(b, 99, g)) return 5; return strlen(a) + 1 == strlen(b) ? 0 : 1; }`}
	add("right", "abc", python)
	add("wrong", "aXc", python)
	add("odd", "odd", python)
	add("inC", "abc", c)
	add("inC2", "abcd", c)
	add("broken", "abc", store.Checker{Language: "c", Source: "int main() { return y; }"})
	add("broken2", "abc", store.Checker{Language: "c", Source: "int main() { return y; }"})
	add("unknown", "abc", store.Checker{Language: "cobol", Source: "x"})
	rec := start(t, r, tested("python", `print(input().replace("X", "Y")[::-1])`, cases...))
	run := rec.end()
	got := rec.expect(map[string]store.Verdict{
		"right": store.VerdictPassed, "wrong": store.VerdictWrongOutput, "odd": store.VerdictCheckerFailed, "inC": store.VerdictPassed, "inC2": store.VerdictPassed,
		"broken": store.VerdictCheckerFailed, "broken2": store.VerdictCheckerFailed, "unknown": store.VerdictCheckerFailed,
	})
	for id, message := range map[string]string{
		"right": "given abc got cba", "wrong": "given aXc got cYa", "odd": "ended with exit code 3", "inC": "Passed.",
		"broken": "undeclared", "unknown": "there is no language",
	} {
		if !strings.Contains(got[id].Message, message) {
			t.Errorf("case %s: %q", id, got[id].Message)
		}
	}
	if s := r.Stats().Compiles; s.Tries != 2 { // one in C that works, and one that does not
		t.Errorf("checkers were compiled, or looked for, %d times", s.Tries)
	}
	if run.Tests.Passed != 3 || run.Tests.Failed != 5 {
		t.Errorf("the run is %+v", run.Tests)
	}
}

// Nothing that a case expects, and nothing of other cases, is in the box of a program.
func TestExpectedIsInNoBox(t *testing.T) {
	r := testRunner(t)
	const marker = "MARKER-4711"
	// Spelled so that the program itself does not hold it.
	text := `m=MARKER-$((4000+711))
grep -rlIs --exclude-dir=sys --exclude-dir=proc --exclude-dir=usr -- "$m" / 2>/dev/null
for p in /proc/[0-9]*; do for f in environ cmdline comm status maps; do tr '\0' '\n' <$p/$f 2>/dev/null | grep -c -- "$m" | grep -v '^0$'; done; done
env | grep -- "$m"
echo "$@" | grep -- "$m"
cat | grep -- "$m"
echo done`
	cases := []store.TestCase{kase("a", "x", marker), kase(marker, marker+"-of-another", "done"), kase("c", "", marker)}
	cases[0].Hidden, cases[0].Name = true, marker
	cases[2].Match, cases[2].Checker = store.MatchChecker, &store.Checker{Language: "bash", Source: text + "\n# $(cat input.txt output.txt)\nexit 1"}
	rec := start(t, r, tested("bash", text, cases...))
	rec.end()
	got := rec.results()
	if got["a"].Stdout != "done\n" || got["c"].Stdout != "done\n" {
		t.Errorf("the program found %q and %q", got["a"].Stdout, got["c"].Stdout)
	}
	if got["c"].Message != "done" {
		t.Errorf("the checker found %q", got["c"].Message)
	}
	if want := marker + "-of-another\ndone\n"; got[marker].Stdout != want { // the search finds what there is
		t.Errorf("with the marker as its input the program found %q", got[marker].Stdout)
	}
	if rec.output(store.Stdout) != "" {
		t.Errorf("the run's output is %q", rec.output(store.Stdout))
	}
}

func TestStopTests(t *testing.T) {
	r := testRunner(t)
	var cases []store.TestCase
	for i := range 20 {
		cases = append(cases, kase(fmt.Sprint("c", i), fmt.Sprint(i), "ok"))
	}
	text := `read n; [ "$n" = 0 ] || sleep 1000; echo ok`
	room := newRoom(t, r)
	req := tested("bash", text, cases...)
	req.Room = room
	rec := start(t, r, req)
	rec.wait("a result", func() bool { return slices.ContainsFunc(rec.events, func(e Event) bool { return e.Kind == EventTest }) })
	if r.Active(room) == nil {
		t.Error("the run is not active")
	}
	if err := rec.run.Stdin("ann", []byte("x")); err == nil {
		t.Error("a run of tests took input")
	}
	check(t, rec.run.Stop())
	run := rec.end()
	rec.expect(map[string]store.Verdict{"c0": store.VerdictPassed})
	if run.Status != store.StatusStopped || run.Tests.Done != 1 || run.Message != "Stopped when 1 of 20 tests had ended; 1 passed." {
		t.Errorf("the run is %+v", run)
	}
	if s := r.Stats(); s.Running != 0 || s.Queued != 0 || s.Leftovers.Total() != 0 {
		t.Errorf("left is %+v", s)
	}
	r.quotas.mu.Lock()
	defer r.quotas.mu.Unlock()
	if len(r.quotas.active) != 0 {
		t.Errorf("quotas have %v", r.quotas.active)
	}
}

// When the server ends, so do all cases, and what had ended is kept.
func TestTestsAreLost(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, tested("bash", `read n; [ "$n" = 0 ] || sleep 1000; echo ok`, kase("a", "0", "ok"), kase("b", "1", "ok"), kase("c", "2", "ok")))
	rec.wait("a result", func() bool { return slices.ContainsFunc(rec.events, func(e Event) bool { return e.Kind == EventTest }) })
	check(t, r.Close(t.Context()))
	run := rec.end()
	if run.Status != store.StatusLost || run.Message != "The server ended when 1 of 3 tests had; 1 passed." {
		t.Errorf("the run is %+v", run)
	}
	rec.expect(map[string]store.Verdict{"a": store.VerdictPassed})
}

// With one place for all the cases of several rooms go through, one after the other; a queue that
// is full ends none of them.
func TestTestsWaitForPlaces(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.MaxRunning, c.MaxQueued = 1, 1 })
	cases := []store.TestCase{kase("a", "", "ok"), kase("b", "", "ok"), kase("c", "", "ok")}
	first := start(t, r, tested("bash", "sleep 0.1; echo ok", cases...))
	req := tested("bash", "sleep 0.1; echo ok", cases...)
	req.By = "bob"
	second := newRecorder(t)
	req.Room, req.Events = newRoom(t, r), second.event
	for second.run == nil { // the queue may be full just now
		run, err := r.Start(t.Context(), req)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		second.run = run
	}
	for _, rec := range []*recorder{first, second} {
		if run := rec.end(); run.Message != "3 of 3 tests passed." {
			t.Errorf("the run is %+v", run)
		}
	}
}

func TestTestsRefused(t *testing.T) {
	r := testRunner(t)
	input := ""
	for name, change := range map[string]func(*Request){
		"no cases": func(q *Request) { q.Cases = nil },
		"stdin":    func(q *Request) { q.Stdin = &input },
		"args":     func(q *Request) { q.Args = []string{"x"} },
	} {
		req := tested("bash", "echo", kase("a", "", ""))
		req.Room, req.By = newRoom(t, r), "ann"
		change(&req)
		if _, err := r.Start(t.Context(), req); err == nil {
			t.Errorf("%s: was started", name)
		}
	}
	for field, c := range map[string]store.TestCase{
		"cases[0].limits.wall_ms":      {Limits: &store.CaseLimits{WallMS: 10_001}},
		"cases[0].limits.cpu_ms":       {Limits: &store.CaseLimits{CPUMS: 1e300}},
		"cases[0].limits.memory_bytes": {Limits: &store.CaseLimits{MemoryBytes: 1}},
		"cases[0].checker.language":    {Checker: &store.Checker{Language: "cobol", Source: "x"}},
		"cases[0].checker.files":       {Checker: &store.Checker{Language: "bash", Files: []store.CheckerFile{{Path: "input.txt"}, {Path: "main.sh"}}}},
		"cases[0].checker.entry":       {Checker: &store.Checker{Language: "bash", Files: []store.CheckerFile{{Path: "x.txt"}}}},
		"cases[0].args":                {Args: []string{"\x00"}},
	} {
		err := r.CheckTests([]store.TestCase{c})
		if err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
	check(t, r.CheckTests([]store.TestCase{{Limits: &store.CaseLimits{WallMS: 10_000, CPUMS: 0.5, MemoryBytes: 64 << 20}}}))
}
