package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
)

// This file keeps the tests of a room: what its host defines, and what became of each.

// Match is how what a program printed is compared with what is expected.
type Match string

const (
	MatchExact   Match = "exact"   // byte by byte
	MatchTrimmed Match = "trimmed" // but for spaces at the ends of lines and empty lines at the end
	MatchRegex   Match = "regex"   // all of it, by RE2
	MatchNumeric Match = "numeric" // word by word, numbers within a tolerance
	MatchChecker Match = "checker" // by a program of the host's
)

// TestCase is one test of a room's program: what it is given, and what it should print. Its JSON
// is what hosts see.
type TestCase struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Hidden cases are known to guests by name and points, and by whether they passed.
	Hidden   bool     `json:"hidden"`
	Points   float64  `json:"points"`
	Stdin    string   `json:"stdin"`
	Args     []string `json:"args"`
	Match    Match    `json:"match"`
	Expected string   `json:"expected"` // no program ever sees it
	// Tolerance is of MatchNumeric: the most that a number may differ by, or by that part of it.
	Tolerance float64     `json:"tolerance,omitempty"`
	Checker   *Checker    `json:"checker,omitempty"`
	Limits    *CaseLimits `json:"limits,omitempty"`
}

// Checker is a program that judges what another printed. It is one file, or several.
type Checker struct {
	Language string        `json:"language"` // name or alias
	Source   string        `json:"source,omitempty"`
	Files    []CheckerFile `json:"files,omitempty"`
}

// CheckerFile is a file of such a program.
type CheckerFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

// CaseLimits lower the limits of a run for one case; zero leaves them.
type CaseLimits struct {
	WallMS      float64 `json:"wall_ms,omitempty"`
	CPUMS       float64 `json:"cpu_ms,omitempty"`
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
}

// Verdict is what became of a case: one of those below, or the Status of its run where that was
// ended, or could not begin.
type Verdict string

const (
	VerdictPassed        Verdict = "passed"
	VerdictWrongOutput   Verdict = "wrong_output"
	VerdictRuntimeError  Verdict = "runtime_error" // it ended with another exit code than 0
	VerdictCheckerFailed Verdict = "checker_failed"
)

// TestResult is what became of one case in a run. Its JSON is what hosts see. It says itself
// what the case was, which may be another by now, or none.
type TestResult struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Hidden    bool    `json:"hidden"`
	Passed    bool    `json:"passed"`
	Points    float64 `json:"points"` // that it got
	MaxPoints float64 `json:"max_points"`
	Verdict   Verdict `json:"verdict"`
	Message   string  `json:"message"` // the verdict in words
	ExitCode  *int    `json:"exit_code"`
	Signal    *string `json:"signal"`
	Usage     Usage   `json:"usage"`
	// Stdout and Stderr are the begin of what the program printed, with U+FFFD for what is not
	// UTF-8. Usage has how much it was.
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

// TestSummary is what a run of tests has come to so far.
type TestSummary struct {
	Total     int     `json:"total"`
	Done      int     `json:"done"` // that have ended
	Passed    int     `json:"passed"`
	Failed    int     `json:"failed"`
	Points    float64 `json:"points"`
	MaxPoints float64 `json:"max_points"`
}

// Limits of what a host can define.
const (
	maxCases      = 100
	maxCasesBytes = 1 << 20
	maxCaseName   = 200
	maxRegexBytes = 4 << 10
	// maxRegexSteps bounds the work for each character of a program's output: without it a few
	// characters could stand for millions of steps.
	maxRegexSteps = 10_000
	maxPoints     = 1e9
)

// TestsError refuses test cases. Field names the wrong one as in JSON, such as cases[2].name.
type TestsError struct {
	Field  string
	Detail string // what was wrong and what would be right
}

func (e *TestsError) Error() string { return e.Field + ": " + e.Detail }

// CheckTests tells, with a *TestsError, what is wrong with a room's test cases, but for what
// depends on the languages and limits of a server.
func CheckTests(cases []TestCase) error {
	if len(cases) > maxCases {
		return &TestsError{"cases", fmt.Sprintf("there are %d: %d is the most", len(cases), maxCases)}
	}
	ids, size := make(map[string]int, len(cases)), 0
	for i := range cases {
		c := &cases[i]
		field, detail := c.fault()
		first, taken := ids[c.ID]
		switch {
		case detail != "":
		case taken:
			field, detail = "id", fmt.Sprintf("cases[%d] has the id %q as well: give each its own, or none", first, c.ID)
		default:
			ids[c.ID] = i
			size += c.size()
			continue
		}
		return &TestsError{fmt.Sprintf("cases[%d].%s", i, field), detail}
	}
	if size > maxCasesBytes {
		return &TestsError{"cases", fmt.Sprintf("they have %d bytes together: %d is the most", size, maxCasesBytes)}
	}
	return nil
}

var (
	caseID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	matches = map[Match]bool{MatchExact: true, MatchTrimmed: true, MatchRegex: true, MatchNumeric: true, MatchChecker: true}
)

// fault gives the first field of a case that is wrong, and how.
func (c *TestCase) fault() (field, detail string) {
	switch {
	case !caseID.MatchString(c.ID):
		return "id", fmt.Sprintf("it is %.100q: use 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, or leave it out", c.ID)
	case len(c.Name) > maxCaseName, !isOneLine(c.Name):
		return "name", fmt.Sprintf("it must be one line of at most %d bytes", maxCaseName)
	case !(c.Points >= 0 && c.Points <= maxPoints):
		return "points", fmt.Sprintf("it is %v: use a number from 0 to %.0f", c.Points, float64(maxPoints))
	case !matches[c.Match]:
		return "match", fmt.Sprintf("it is %.50q: use exact, trimmed, regex, numeric or checker", c.Match)
	case !(c.Tolerance >= 0) || math.IsInf(c.Tolerance, 0):
		return "tolerance", fmt.Sprintf("it is %v: use a number that is not below 0", c.Tolerance)
	case c.Tolerance > 0 && c.Match != MatchNumeric:
		return "tolerance", fmt.Sprintf("it is for the match numeric, and this is %s: leave it out", c.Match)
	case (c.Checker != nil) != (c.Match == MatchChecker):
		return "checker", "a program goes with the match checker, and only with that"
	case c.Args == nil:
		return "args", "they are missing: use a list, which may be empty"
	}
	for _, text := range []struct{ field, text string }{{"stdin", c.Stdin}, {"expected", c.Expected}, {"args", strings.Join(c.Args, "")}} {
		if !utf8.ValidString(text.text) {
			return text.field, "it is not UTF-8"
		}
	}
	if l := c.Limits; l != nil {
		for _, n := range []struct {
			field string
			value float64
		}{{"wall_ms", l.WallMS}, {"cpu_ms", l.CPUMS}, {"memory_bytes", float64(l.MemoryBytes)}} {
			if !(n.value >= 0) || math.IsInf(n.value, 0) {
				return "limits." + n.field, fmt.Sprintf("it is %v: use a number above 0, or leave it out", n.value)
			}
		}
	}
	if c.Match == MatchRegex {
		if _, err := CompileExpected(c.Expected); err != nil {
			return "expected", err.Error()
		}
	}
	if k := c.Checker; k != nil && (k.Source == "") == (len(k.Files) == 0) {
		return "checker", "give its source, or its files; not both"
	}
	return "", ""
}

// CompileExpected compiles the expression that all of an output must match. It is Go's RE2.
func CompileExpected(expr string) (*regexp.Regexp, error) {
	if len(expr) > maxRegexBytes {
		return nil, fmt.Errorf("the expression has %d bytes: %d is the most", len(expr), maxRegexBytes)
	}
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("it is no expression of RE2, as Go has it: %w", err)
	}
	if regexSteps(parsed) > maxRegexSteps {
		return nil, fmt.Errorf("the expression is too much work: it comes to more than %d steps for each character, by its repetitions", maxRegexSteps)
	}
	// It is good by itself, so that no bracket that it lacks is one of ours. What it quotes may
	// go on to its end.
	whole, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		whole, err = regexp.Compile(`\A(?:` + expr + `\E)\z`)
	}
	if err != nil {
		return nil, fmt.Errorf("it is no expression of RE2, as Go has it: %w", err)
	}
	return whole, nil
}

// regexSteps is about how many instructions an expression has when its repetitions are written
// out.
func regexSteps(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+regexSteps(sub), maxRegexSteps+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxRegexSteps+1)
}

func isOneLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.In(c, unicode.Zl, unicode.Zp) })
}

// size is how many bytes a case has.
func (c *TestCase) size() int {
	n := len(c.ID) + len(c.Name) + len(c.Stdin) + len(c.Expected)
	for _, a := range c.Args {
		n += len(a) + 1
	}
	if k := c.Checker; k != nil {
		n += len(k.Language) + len(k.Source)
		for _, f := range k.Files {
			n += len(f.Path) + len(f.Content)
		}
	}
	return n
}

// SetTests replaces a room's test cases, or refuses with a *TestsError. A room that is not there
// is ErrNotFound.
func (s *Store) SetTests(ctx context.Context, room string, cases []TestCase) error {
	if err := CheckTests(cases); err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := getRoom(ctx, tx, room); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM test_cases WHERE room_id = ?`, room); err != nil {
			return fmt.Errorf("delete test cases: %w", err)
		}
		for i := range cases {
			record, err := json.Marshal(&cases[i])
			if err != nil {
				return fmt.Errorf("encode test case: %w", err)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO test_cases (room_id, position, id, record) VALUES (?, ?, ?, ?)`, room, i, cases[i].ID, string(record)); err != nil {
				return fmt.Errorf("store test case %q: %w", cases[i].ID, err)
			}
		}
		return nil
	})
}

// Tests gives a room's test cases in their order.
func (s *Store) Tests(ctx context.Context, room string) ([]TestCase, error) {
	var records [][]byte
	if err := s.read.SelectContext(ctx, &records, `SELECT record FROM test_cases WHERE room_id = ? ORDER BY position`, room); err != nil {
		return nil, fmt.Errorf("read test cases: %w", err)
	}
	cases := make([]TestCase, len(records))
	for i, record := range records {
		if err := json.Unmarshal(record, &cases[i]); err != nil {
			return nil, fmt.Errorf("decode stored test case: %w", err)
		}
	}
	return cases, nil
}

// AddTestResult stores what became of a case together with its run, which counts it already. A
// run whose room was deleted meanwhile is ErrNotFound.
func (s *Store) AddTestResult(ctx context.Context, run *Run, res *TestResult) error {
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		if err := updateRun(ctx, tx, run); err != nil {
			return err
		}
		return addTestResult(ctx, tx, run, res)
	})
}

func addTestResult(ctx context.Context, tx *sqlx.Tx, run *Run, res *TestResult) error {
	short := *res
	short.Stdout, short.Stderr = "", ""
	record, err := json.Marshal(&short)
	if err != nil {
		return fmt.Errorf("encode test result: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO test_results (room_id, number, seq, record, stdout, stderr)
		SELECT ?, ?, COALESCE(MAX(seq) + 1, 0), ?, ?, ? FROM test_results WHERE room_id = ? AND number = ?`,
		run.Room, run.Number, string(record), res.Stdout, res.Stderr, run.Room, run.Number)
	if err != nil {
		return fmt.Errorf("store result of test %q of run %d: %w", res.ID, run.Number, err)
	}
	return nil
}

// TestResults gives what became of a run's cases, in the order in which they ended.
func (s *Store) TestResults(ctx context.Context, room string, number int) ([]TestResult, error) {
	var rows []struct {
		Record []byte `db:"record"`
		Stdout string `db:"stdout"`
		Stderr string `db:"stderr"`
	}
	err := s.read.SelectContext(ctx, &rows, `SELECT record, stdout, stderr FROM test_results WHERE room_id = ? AND number = ? ORDER BY seq`, room, number)
	if err != nil {
		return nil, fmt.Errorf("read test results: %w", err)
	}
	results := make([]TestResult, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Record, &results[i]); err != nil {
			return nil, fmt.Errorf("decode stored test result: %w", err)
		}
		results[i].Stdout, results[i].Stderr = row.Stdout, row.Stderr
	}
	return results, nil
}
