package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTestsAreKept(t *testing.T) {
	s := fresh(t)
	addRoom(t, s, "r")
	addRoom(t, s, "other")
	cases := []TestCase{
		{ID: "b", Name: "B", Hidden: true, Points: 0.1, Stdin: "in\x00\n", Args: []string{"x"}, Match: MatchNumeric, Expected: "1", Tolerance: 1e-9, Limits: &CaseLimits{WallMS: 1.5, MemoryBytes: 1 << 30}},
		{ID: "a", Name: "A", Args: []string{}, Match: MatchChecker, Checker: &Checker{Language: "python", Files: []CheckerFile{{"main.py", "<x>"}}}},
	}
	if err := s.SetTests(t.Context(), "r", cases); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Tests(t.Context(), "r"); err != nil || !reflect.DeepEqual(got, cases) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Tests(t.Context(), "other"); err != nil || len(got) != 0 {
		t.Errorf("of another room: %+v, %v", got, err)
	}
	if err := s.SetTests(t.Context(), "none", cases); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no room: %v", err)
	}
	var refused *TestsError
	if err := s.SetTests(t.Context(), "r", []TestCase{{ID: "a"}}); !errors.As(err, &refused) || refused.Field != "cases[0].match" {
		t.Errorf("a bad case: %v", err)
	}
	if err := s.SetTests(t.Context(), "r", cases[1:]); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Tests(t.Context(), "r"); err != nil || len(got) != 1 || got[0].ID != "a" {
		t.Errorf("replaced: %+v, %v", got, err)
	}

	run := &Run{Room: "r", Mode: "tests", State: RunRunning, CreatedAt: time.Now(), Tests: &TestSummary{Total: 2}}
	if err := s.CreateRun(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	code := 3
	want := []TestResult{
		{ID: "b", Name: "B", Hidden: true, Verdict: VerdictRuntimeError, Message: "m", ExitCode: &code, Usage: Usage{CPUMS: 1}, Stdout: "a\x00<ä>", Stderr: "e"},
		{ID: "a", Name: "A", Passed: true, Points: 1, MaxPoints: 1, Verdict: VerdictPassed},
	}
	for i := range want {
		run.Tests = &TestSummary{Total: 2, Done: i + 1}
		if err := s.AddTestResult(t.Context(), run, &want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.TestResults(t.Context(), "r", 1); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// The server dies: what had ended is still counted.
	if _, err := s.MarkLostRuns(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Run(t.Context(), "r", 1); err != nil || got.Status != StatusLost || got.Tests.Done != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.DeleteRoom(t.Context(), "r", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddTestResult(t.Context(), run, &want[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a room that is gone: %v", err)
	}
	for _, table := range []string{"test_cases", "test_results"} {
		var n int
		if err := s.read.GetContext(t.Context(), &n, `SELECT COUNT(*) FROM `+table+` WHERE room_id = 'r'`); err != nil || n != 0 {
			t.Errorf("%d rows are left in %s (%v)", n, table, err)
		}
	}
}

// An expression matches all of an output or nothing, and cannot be larger than it looks.
func TestCompileExpected(t *testing.T) {
	for expr, ok := range map[string]bool{
		"": true, "a|b": true, `\d{1,1000}`: true, "[a-z]{1000}": true, `\Qa.b`: true, `\Qa.b\Ex`: true, `\\Q`: true, "(?:a{100}){100}": false, "((a{30}){30}){30}": false,
		"a)(b": false, "(": false, "a{1001}": false, `\1`: false, "(?=a)": false, strings.Repeat("a", maxRegexBytes+1): false,
	} {
		re, err := CompileExpected(expr)
		if (err == nil) != ok {
			t.Errorf("%.50q: %v", expr, err)
		}
		if err == nil && expr == `\Qa.b` && (re.MatchString("axb") || !re.MatchString("a.b")) {
			t.Errorf("%s matches otherwise", expr)
		}
		if err == nil && expr == "a|b" && (re.MatchString("ab") || !re.MatchString("b")) {
			t.Errorf("%s matches a part", expr)
		}
	}
}
