package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"corun/collab/live"
	"corun/runner"
	"corun/store"
)

const (
	// maxTestsBody admits a mebibyte of cases in JSON, in which a character may be six.
	maxTestsBody = 8 << 20
	// liveOutput is how much of what was printed for a case is told on /live, where it must not
	// pile up before who reads slowly. GET …/runs/{n}/tests has what is kept of it.
	liveOutput = 4 << 10
)

// testsBody is a room's test cases, as a host gives them.
type testsBody struct {
	Cases []store.TestCase `json:"cases"`
}

// caseInShort is what everybody is told of a case that changed, and all that others than hosts
// may know of one that is hidden.
type caseInShort struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Points float64 `json:"points"`
	Hidden bool    `json:"hidden"`
}

// hiddenResult is all that others than hosts may know of what became of a hidden case.
type hiddenResult struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Hidden bool    `json:"hidden"`
	Passed bool    `json:"passed"`
	Points float64 `json:"points"`
}

func shorten(c *store.TestCase) caseInShort { return caseInShort{c.ID, c.Name, c.Points, c.Hidden} }

// viewCases gives what a role sees of cases.
func viewCases(cases []store.TestCase, role store.Role) []any {
	views := make([]any, len(cases))
	for i := range cases {
		views[i] = &cases[i]
		if cases[i].Hidden && role != store.RoleHost {
			views[i] = shorten(&cases[i])
		}
	}
	return views
}

// viewResult gives what a role sees of a result, with at most so many bytes of each stream.
func viewResult(res store.TestResult, role store.Role, output int) any {
	if res.Hidden && role != store.RoleHost {
		return hiddenResult{res.ID, res.Name, true, res.Passed, res.Points}
	}
	for _, text := range []*string{&res.Stdout, &res.Stderr} {
		if len(*text) > output {
			*text = strings.ToValidUTF8((*text)[:output], "") // what was cut within a character
		}
	}
	return res
}

func (s *Server) getTests(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	cases, err := s.cfg.Store.Tests(r.Context(), a.room.ID)
	if err != nil {
		return err
	}
	return s.sendJSON(w, r, map[string]any{"cases": viewCases(cases, a.role)})
}

// putTests replaces a room's cases and tells everybody there that they have changed.
func (s *Server) putTests(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	var body testsBody
	if err := readJSON(w, r, maxTestsBody, &body); err != nil {
		return err
	}
	if body.Cases == nil {
		return badField("cases", "cases is missing: give a list, which may be empty")
	}
	complete(body.Cases)
	if err := store.CheckTests(body.Cases); err != nil {
		return err
	}
	if err := s.cfg.Runner.CheckTests(body.Cases); err != nil {
		return err
	}
	if err := s.setTests(r, a.room.ID, body.Cases); err != nil {
		return err
	}
	return s.sendJSON(w, r, map[string]any{"cases": viewCases(body.Cases, a.role)})
}

// setTests stores cases and tells of them: one after the other, so that who hears of them last
// hears of those that are stored.
func (s *Server) setTests(r *http.Request, room string, cases []store.TestCase) error {
	s.settings.Lock()
	defer s.settings.Unlock()
	if err := s.cfg.Store.SetTests(r.Context(), room, cases); err != nil {
		return err
	}
	short, hidden := make([]caseInShort, len(cases)), 0
	for i := range cases {
		if short[i] = shorten(&cases[i]); short[i].Hidden {
			hidden++
		}
	}
	s.events.add(room, live.Event{Kind: kindTests, Data: map[string]any{"total": len(cases), "hidden": hidden}})
	s.live.Peek(room, func(room *live.Room) {
		room.Broadcast(map[string]any{"type": "tests.updated", "cases": short})
	})
	return nil
}

// complete gives cases what was left out of them.
func complete(cases []store.TestCase) {
	taken := make(map[string]bool)
	for _, c := range cases {
		taken[c.ID] = true
	}
	free := 0
	for i := range cases {
		c := &cases[i]
		for c.ID == "" {
			free++
			if id := fmt.Sprintf("t%d", free); !taken[id] {
				c.ID = id
			}
		}
		if c.Name = strings.TrimSpace(c.Name); c.Name == "" {
			c.Name = fmt.Sprintf("Test %d", i+1)
		}
		if c.Match == "" {
			c.Match = store.MatchTrimmed
		}
		if c.Args == nil {
			c.Args = []string{}
		}
	}
}

// getTestResults gives what became of the cases of a run, so far.
func (s *Server) getTestResults(w http.ResponseWriter, r *http.Request) error {
	a, run, err := s.runOf(r)
	if err != nil {
		return err
	}
	if run.Mode != runner.ModeTests {
		return newProblem(http.StatusNotFound, "run %d was in the mode %s, and has no results of tests", run.Number, run.Mode)
	}
	results, err := s.cfg.Store.TestResults(r.Context(), a.room.ID, run.Number)
	if err != nil {
		return err
	}
	var size int64
	for _, res := range results {
		size += int64(len(res.Stdout) + len(res.Stderr))
	}
	head, err := json.Marshal(run.Tests)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	// One after the other: what was printed may be six times as long in JSON.
	return s.send(w, r, size, func(out io.Writer) error {
		w.Header().Set("Content-Type", "application/json")
		if _, err := fmt.Fprintf(out, `{"run":%d,"tests":%s,"results":[`, run.Number, head); err != nil {
			return err
		}
		for i, res := range results {
			data, err := json.Marshal(viewResult(res, a.role, len(res.Stdout)+len(res.Stderr)))
			if err != nil {
				return fmt.Errorf("encode answer: %w", err)
			}
			if i > 0 {
				data = append([]byte(","), data...)
			}
			if _, err := out.Write(data); err != nil {
				return err
			}
		}
		_, err := io.WriteString(out, "]}\n")
		return err
	})
}
