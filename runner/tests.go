package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"corun/runner/lang"
	"corun/runner/sandbox"
	"corun/store"
)

// This file is about runs in ModeTests. The program is compiled once, as in any run, and then
// executed for each case in a box of its own, which is a run of its own that nobody is told of.
// What it printed is compared here, outside of all boxes: what a case expects is in none.

const (
	// resultBytes is how much of each stream is kept of a case.
	resultBytes = 64 << 10
	// checkerWords is how much of what a checker says is kept.
	checkerWords = 4 << 10
	// fullRetry is when a case tries again to get into a queue that is full: its run was
	// accepted, so that it is no reason to end it.
	fullRetry = 200 * time.Millisecond
	// Files that a checker finds beside its own.
	checkerInput  = "input.txt"  // what the program was given
	checkerOutput = "output.txt" // what it printed
)

// testCase is a case with everything worked out.
type testCase struct {
	store.TestCase
	job     *job           // its program's; what is built comes later
	expr    *regexp.Regexp // of store.MatchRegex
	checker *checker       // of store.MatchChecker
}

// checker is a program that judges the output of others. Cases with the same one share it.
type checker struct {
	mu sync.Mutex // guards below; held while it is compiled
	// job is copied for each case: only what is built stays in it.
	job *job
	// fault says in words why it cannot be run, once that is known.
	fault string
}

// CheckTests tells, with an *InputError, which of a room's test cases cannot be on this server:
// limits that are no lower than its own, and checkers that it cannot run. What else is wrong with
// cases the store tells.
func (r *Runner) CheckTests(cases []store.TestCase) error {
	most := r.limits
	for _, p := range r.langs.All() {
		most.Box.MemoryBytes = max(most.Box.MemoryBytes, r.limits.forLanguage(p).Box.MemoryBytes)
	}
	for i := range cases {
		c := &cases[i]
		within := func(field string, err error) error {
			var refused *InputError
			if errors.As(err, &refused) {
				return &InputError{fmt.Sprintf("cases[%d].%s%s", i, field, refused.Field), refused.Detail}
			}
			return err
		}
		if err := checkArgs(c.Args); err != nil {
			return within("", err)
		}
		if err := checkCaseLimits(c.Limits, most); err != nil {
			return within("", err)
		}
		if c.Checker != nil {
			if _, err := checkerJob(c.Checker, r.langs, r.limits); err != nil {
				return within("checker.", err)
			}
		}
	}
	return nil
}

func checkCaseLimits(by *store.CaseLimits, most Limits) error {
	if by == nil {
		return nil
	}
	for _, l := range []struct {
		field              string
		asked, least, most float64
		words              func(int64) string
	}{
		{"wall_ms", by.WallMS * 1e6, 1, float64(most.WallPipes), durationWords},
		{"cpu_ms", by.CPUMS * 1e6, 1, float64(most.CPUTime), durationWords},
		{"memory_bytes", float64(by.MemoryBytes), minMemoryBytes, float64(most.Box.MemoryBytes), byteWords},
	} {
		if l.asked != 0 && (l.asked < l.least || l.asked > l.most) {
			return outOfRange("limits."+l.field, int64(min(l.asked, 1<<62)), int64(l.least), int64(l.most), l.words)
		}
	}
	return nil
}

// forCase gives l as low as a case asks for. One that came with a bundle may ask for more than
// there is here, and gets that.
func (l Limits) forCase(by *store.CaseLimits) Limits {
	l.ArtefactBytes = 0 // nobody asks for what a test leaves
	if by == nil {
		return l
	}
	ms := func(n float64) time.Duration { return time.Duration(min(n*float64(time.Millisecond), 1<<62)) }
	l.WallPipes = atMost(l.WallPipes, ms(by.WallMS))
	l.CPUTime = atMost(l.CPUTime, ms(by.CPUMS))
	if by.MemoryBytes > 0 {
		l.Box.MemoryBytes = atMost(l.Box.MemoryBytes, max(by.MemoryBytes, minMemoryBytes))
	}
	return l
}

// prepareTests works out the cases of a request whose own job is good already.
func prepareTests(j *job, langs *lang.Set, limits Limits) ([]*testCase, error) {
	if len(j.Cases) == 0 {
		return nil, &InputError{"mode", "there are no tests: give at least one case"}
	}
	if err := store.CheckTests(j.Cases); err != nil {
		return nil, fmt.Errorf("prepare tests: %w", err)
	}
	checkers := make(map[string]*checker)
	tests := make([]*testCase, len(j.Cases))
	for i, c := range j.Cases {
		t := &testCase{TestCase: c}
		req := j.Request
		req.Cases, req.Events, req.Began, req.Stdin, req.Args = nil, nil, nil, &c.Stdin, c.Args
		if err := checkArgs(c.Args); err != nil {
			return nil, err
		}
		t.job = &job{Request: req, profile: j.profile, limits: j.limits.forCase(c.Limits)}
		switch c.Match {
		case store.MatchRegex:
			t.expr, _ = store.CompileExpected(c.Expected) // it was checked
		case store.MatchChecker:
			key, err := json.Marshal(c.Checker)
			if err != nil {
				return nil, fmt.Errorf("encode checker: %w", err)
			}
			if checkers[string(key)] == nil {
				checkers[string(key)] = newChecker(c.Checker, req, langs, limits)
			}
			t.checker = checkers[string(key)]
		}
		tests[i] = t
	}
	return tests, nil
}

// newChecker makes a checker. What is wrong with it is a fault of its own, not one of the request
// of somebody who cannot change it.
func newChecker(c *store.Checker, req Request, langs *lang.Set, limits Limits) *checker {
	j, err := checkerJob(c, langs, limits)
	if err != nil {
		return &checker{fault: err.Error()}
	}
	j.Room, j.By, j.IP = req.Room, req.By, req.IP
	return &checker{job: j}
}

func checkerJob(c *store.Checker, langs *lang.Set, limits Limits) (*job, error) {
	p, ok := langs.Find(c.Language)
	if !ok {
		return nil, unknownLanguage(c.Language, langs)
	}
	req := Request{Language: c.Language, Mode: ModePipes, Stdin: new(string)}
	for _, f := range c.Files {
		if top, _, _ := strings.Cut(f.Path, "/"); top == checkerInput || top == checkerOutput {
			return nil, &InputError{"files", fmt.Sprintf("%q is where the checker finds what the program was given or printed: call it otherwise", top)}
		}
		req.Files = append(req.Files, File(f))
	}
	if len(c.Files) == 0 {
		req.Files = []File{{p.Entry, c.Source}}
	}
	j, err := prepare(req, langs, limits)
	if err != nil {
		return nil, err
	}
	j.limits.ArtefactBytes = 0
	return j, nil
}

// testing tells whether the current stage is that of the tests.
func (s *supervisor) testing() bool { return s.run.job.tests != nil && s.current.name == stageRun }

// test runs all cases and reports what becomes of each.
func (s *supervisor) test() {
	run, r := s.run, s.run.runner
	s.usage = store.Usage{}
	s.current.end.began = true
	// The cases have places of their own, and not this one besides.
	run.discarded.Wait()
	s.leaveQueue()
	r.running.Add(-1)
	defer r.running.Add(1)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	results := make(chan store.TestResult)
	go run.runTests(ctx, results) // ends by closing results
	shutdown := r.ctx.Done()
	for {
		select {
		case res, more := <-results:
			if more {
				s.keepTest(res)
				continue
			}
			if s.row.Tests.Done < s.row.Tests.Total && s.current.end.cause == causeNone {
				s.current.end.cause = causeShutdown // and its notice came later
			}
			return
		case <-run.stop:
			s.current.end.cause = causeStopped
			cancel()
		case <-shutdown:
			shutdown = nil
			s.current.end.cause = causeShutdown
			cancel()
		}
	}
}

// keepTest counts, stores and reports what became of a case.
func (s *supervisor) keepTest(res store.TestResult) {
	run := s.run
	sum := *s.row.Tests // a copy: the row's was given out
	sum.Done++
	if res.Passed {
		sum.Passed++
	} else {
		sum.Failed++
	}
	sum.Points += res.Points
	// Everybody sees the run's usage, and nobody but hosts what a hidden case used: a program
	// could say by it what it was given.
	if !res.Hidden {
		s.usage.WallMS += res.Usage.WallMS
		s.usage.CPUMS += res.Usage.CPUMS
		s.usage.MemoryPeakBytes = max(s.usage.MemoryPeakBytes, res.Usage.MemoryPeakBytes)
	}
	s.change(func(row *store.Run) { row.Tests, row.Usage = &sum, s.usage })
	if run.kept {
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		err := run.runner.store.AddTestResult(ctx, &s.row, &res)
		cancel()
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			run.runner.log.Error("store test result", "room", run.job.Room, "run", s.row.Number, "error", err)
			s.unsaved = append(s.unsaved, res)
		}
	}
	run.report(Event{Kind: EventTest, Run: s.row, Test: &res})
}

// ofTests makes the verdict over a run of tests of that over its last stage.
func (v verdict) ofTests(sum store.TestSummary, why cause) verdict {
	switch {
	case sum.Done == sum.Total:
		return verdict{status: store.StatusExited, message: fmt.Sprintf("%d of %d tests passed.", sum.Passed, sum.Total)}
	case why == causeStopped:
		v.message = fmt.Sprintf("Stopped when %d of %d tests had ended; %d passed.", sum.Done, sum.Total, sum.Passed)
	case why == causeShutdown:
		v.message = fmt.Sprintf("The server ended when %d of %d tests had; %d passed.", sum.Done, sum.Total, sum.Passed)
	}
	return v
}

// runTests gives what becomes of the cases, as many at a time as there are processors: a program
// that has to share one would meet its limits sooner. Those that have not ended when ctx ends
// give nothing.
func (run *Run) runTests(ctx context.Context, results chan<- store.TestResult) {
	defer close(results)
	var all sync.WaitGroup
	next := make(chan *testCase)
	for range min(runtime.NumCPU(), len(run.job.tests)) {
		all.Go(func() {
			for c := range next {
				if res, ended := run.runTest(ctx, c); ended {
					results <- res
				}
			}
		})
	}
	for _, c := range run.job.tests {
		if ctx.Err() != nil {
			break
		}
		next <- c
	}
	close(next)
	all.Wait()
}

// runTest runs the program for one case and judges it, unless ctx ends.
func (run *Run) runTest(ctx context.Context, c *testCase) (res store.TestResult, ended bool) {
	if b := run.job.built; b != nil {
		c.job.built = &built{program: b.program} // its messages were told
	}
	stages, err := run.runChild(ctx, newRun(run.runner, c.job, time.Now()))
	if err != nil {
		return res, false
	}
	stage := stages[len(stages)-1]
	res = store.TestResult{
		ID: c.ID, Name: c.Name, Hidden: c.Hidden, MaxPoints: c.Points,
		Verdict: store.Verdict(stage.Status), Message: stage.Message, ExitCode: stage.Code, Signal: stage.Signal,
		Usage: store.Usage{
			WallMS: milliseconds(stage.Wall), CPUMS: milliseconds(stage.CPU), MemoryPeakBytes: stage.MemoryPeak,
			OutputBytes: int64(len(stage.Stdout) + len(stage.Stderr)),
		},
		Stdout: beginOf(stage.Stdout, resultBytes), Stderr: beginOf(stage.Stderr, resultBytes),
	}
	switch {
	case stage.Status != store.StatusExited:
	case *stage.Code != 0:
		res.Verdict = store.VerdictRuntimeError
	case c.Match == store.MatchChecker:
		if res.Verdict, res.Message, err = run.check(ctx, c, stage.Stdout); err != nil {
			return res, false
		}
	default:
		ok, why := matches(&c.TestCase, c.expr, stage.Stdout)
		res.Verdict, res.Message = store.VerdictWrongOutput, why
		if ok {
			res.Verdict, res.Message = store.VerdictPassed, "Passed."
		}
	}
	if res.Verdict == store.VerdictPassed {
		res.Passed, res.Points = true, c.Points
	}
	return res, true
}

// check has the case's checker judge an output. The error is ctx's, or ErrClosed.
func (run *Run) check(ctx context.Context, c *testCase, output []byte) (v store.Verdict, message string, err error) {
	k := c.checker
	failed := func(why string) (store.Verdict, string, error) {
		return store.VerdictCheckerFailed, "The checker failed: " + why, nil
	}
	k.mu.Lock()
	if k.fault != "" {
		defer k.mu.Unlock()
		return failed(k.fault)
	}
	j := *k.job
	j.given = []sandbox.File{
		{Path: checkerInput, Content: []byte(c.Stdin), Mode: 0o644}, {Path: checkerOutput, Content: output, Mode: 0o644},
	}
	compiles := j.profile.Compile != nil && j.built == nil
	if !compiles {
		k.mu.Unlock()
	}
	child := newRun(run.runner, &j, time.Now())
	stages, err := run.runChild(ctx, child)
	if compiles {
		if err == nil {
			k.compiled(&j, stages)
		}
		k.mu.Unlock()
	}
	if err != nil {
		return "", "", err
	}
	stage := stages[len(stages)-1]
	said := strings.TrimSpace(beginOf(stage.Stdout, checkerWords))
	switch {
	case stage.stage == stageCompile:
		return failed(k.fault)
	case stage.Status == store.StatusExited && *stage.Code == 0:
		if said == "" {
			said = "Passed."
		}
		return store.VerdictPassed, said, nil
	case stage.Status == store.StatusExited && *stage.Code == 1:
		if said == "" {
			said = "The checker found the output wrong."
		}
		return store.VerdictWrongOutput, said, nil
	}
	return failed(strings.TrimSpace(stage.Message + " " + beginOf(stage.Stderr, checkerWords)))
}

// compiled notes what the compile stage of a checker has come to. mu is held.
func (k *checker) compiled(j *job, stages []StageResult) {
	k.job.built = j.built
	if j.built == nil {
		last := stages[len(stages)-1]
		k.fault = strings.TrimSpace(last.Message + " " + beginOf(last.Output, checkerWords))
	}
}

// runChild sees a run through that is a part of this one. This one is not done before the child's
// boxes are gone. The error is ctx's, or ErrClosed: then nothing is known of the child.
func (run *Run) runChild(ctx context.Context, child *Run) ([]StageResult, error) {
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err := run.runner.see(ctx, child)
		var full *LimitError
		if err == nil {
			run.discarded.Go(func() { <-child.done })
			return child.stages(), ctx.Err()
		}
		if !errors.As(err, &full) {
			return nil, err
		}
		select {
		case <-time.After(fullRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// beginOf gives the begin of what was printed as text.
func beginOf(data []byte, most int) string {
	if len(data) > most {
		data = data[:most]
		for back := 1; back < utf8.UTFMax; back++ { // not within a character
			if c := data[len(data)-back:]; utf8.RuneStart(c[0]) {
				if !utf8.FullRune(c) {
					data = data[:len(data)-back]
				}
				break
			}
		}
	}
	return strings.ToValidUTF8(string(data), "\uFFFD")
}
