package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"corun/store"
)

func TestEventsInOrder(t *testing.T) {
	r := testRunner(t)
	req := program("python", "print('hi')")
	req.StateVector, req.DocSeq, req.ByName = []byte{1, 2}, 17, "Ann"
	rec := start(t, r, req)
	run := rec.end()
	var kinds []EventKind
	for _, e := range rec.events {
		kinds = append(kinds, e.Kind)
	}
	// One line can come in several pieces.
	kinds = slices.Compact(kinds)
	if want := []EventKind{EventQueued, EventStarted, EventStage, EventOutput, EventExited}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
	if s := rec.events[1].Run; s.State != store.RunRunning || s.Stage != "run" || s.StartedAt == nil || s.StartupMS <= 0 {
		t.Errorf("started with %+v", s)
	}
	if run.Number != 1 || run.Language != "python" || run.Entry != "main.py" || run.Stage != "" || run.DocSeq != 17 ||
		!bytes.Equal(run.StateVector, req.StateVector) || run.StartedBy != "ann" || run.StartedByName != "Ann" || run.FinishedAt == nil {
		t.Errorf("the row is %+v", run)
	}
	if r.Active(run.Room) != nil {
		t.Error("the room still has an active run")
	}
}

// What is printed is seen when it is printed, and not when the program ends.
func TestOutputAtOnce(t *testing.T) {
	r := testRunner(t)
	for language, text := range map[string]string{
		"python":     "for i in range(3): print(i, input())",
		"bash":       "for i in 0 1 2; do read x; echo $i $x; done",
		"javascript": "let i = 0; process.stdin.on('data', d => { console.log(i++ + ' ' + String(d).trim()); if (i == 3) process.exit() })",
	} {
		t.Run(language, func(t *testing.T) {
			rec := start(t, r, program(language, text))
			for i := range 3 {
				check(t, rec.run.Stdin("ann", []byte("line\n")))
				rec.waitOutput(store.Stdout, fmt.Sprintf("%d line\n", i))
			}
			if run := rec.end(); run.Status != store.StatusExited {
				t.Errorf("got %s, %q", run.Status, run.Message)
			}
			if got := rec.events[len(rec.events)-1].Input["ann"]; got != 15 {
				t.Errorf("%d bytes of input counted", got)
			}
		})
	}
}

func TestStdin(t *testing.T) {
	r := testRunner(t)
	t.Run("whole", func(t *testing.T) {
		req, text := program("bash", "sort; echo end"), "b\na\n"
		req.Stdin = &text
		rec := start(t, r, req)
		if run := rec.end(); run.Status != store.StatusExited || rec.output(store.Stdout) != "a\nb\nend\n" {
			t.Errorf("got %s, %q", run.Status, rec.output(store.Stdout))
		}
	})
	t.Run("none", func(t *testing.T) {
		req, text := program("bash", "cat; echo end"), ""
		req.Stdin = &text
		rec := start(t, r, req)
		if run := rec.end(); run.Status != store.StatusExited || rec.output(store.Stdout) != "end\n" {
			t.Errorf("got %s, %q", run.Status, rec.output(store.Stdout))
		}
	})
	t.Run("end of a pipe", func(t *testing.T) {
		rec := start(t, r, program("bash", "cat; echo end"))
		check(t, rec.run.Stdin("ann", []byte("no newline")))
		check(t, rec.run.StdinEOF())
		if rec.end(); rec.output(store.Stdout) != "no newlineend\n" {
			t.Errorf("got %q", rec.output(store.Stdout))
		}
	})
	t.Run("end in a terminal", func(t *testing.T) {
		rec := start(t, r, inTerminal("bash", "stty -echo; echo ready; cat; echo end"))
		rec.waitOutput(store.PTY, "ready")
		check(t, rec.run.Stdin("ann", []byte("no newline")))
		check(t, rec.run.StdinEOF())
		if rec.end(); rec.output(store.PTY) != "ready\r\nno newlineend\r\n" {
			t.Errorf("got %q", rec.output(store.PTY))
		}
	})
	t.Run("a large paste", func(t *testing.T) {
		rec := start(t, r, program("bash", "wc -c"))
		check(t, rec.run.Stdin("ann", bytes.Repeat([]byte("0123456789\n"), 1<<20/11)))
		check(t, rec.run.StdinEOF())
		if rec.end(); strings.TrimSpace(rec.output(store.Stdout)) != fmt.Sprint(1<<20/11*11) {
			t.Errorf("got %q", rec.output(store.Stdout))
		}
	})
	t.Run("a large paste into a terminal", func(t *testing.T) {
		rec := start(t, r, inTerminal("bash", "stty -echo; echo ready; head -n 95325 | wc -c"))
		rec.waitOutput(store.PTY, "ready")
		check(t, rec.run.Stdin("ann", bytes.Repeat([]byte("0123456789\n"), 95325)))
		if rec.end(); !strings.Contains(rec.output(store.PTY), fmt.Sprint(95325*11)) {
			t.Errorf("got %q", rec.output(store.PTY))
		}
	})
	t.Run("nobody reads", func(t *testing.T) {
		rec := start(t, r, program("bash", "echo ready; sleep 1000"))
		rec.waitOutput(store.Stdout, "ready")
		var refused *InputError
		for range 4 {
			err := rec.run.Stdin("ann", make([]byte, 1<<20))
			if err != nil && !errors.As(err, &refused) {
				t.Fatal(err)
			}
		}
		if refused == nil {
			t.Error("input was taken without end")
		}
		check(t, rec.run.Stop())
		rec.end()
	})
	t.Run("nobody reads in a terminal", func(t *testing.T) {
		rec := start(t, r, inTerminal("bash", "echo ready; sleep 1000"))
		rec.waitOutput(store.PTY, "ready")
		check(t, rec.run.Stdin("ann", bytes.Repeat([]byte("line\n"), 1<<18)))
		check(t, rec.run.Stop())
		if run := rec.end(); run.Status != store.StatusStopped {
			t.Errorf("got %s", run.Status)
		}
	})
	t.Run("closed by the program", func(t *testing.T) {
		rec := start(t, r, program("bash", "exec < /dev/null; echo closed; sleep 0.1; echo end"))
		rec.waitOutput(store.Stdout, "closed")
		check(t, rec.run.Stdin("ann", make([]byte, 1<<20)))
		if run := rec.end(); run.Status != store.StatusExited {
			t.Errorf("got %s", run.Status)
		}
	})
}

func TestTerminal(t *testing.T) {
	r := testRunner(t)
	req := inTerminal("bash", `trap 'echo now $(stty size); resized=1' WINCH; tty; stty size; echo ready; until [ "$resized" ]; do sleep 0.05; done; read -r line; echo "got $line"`)
	req.Cols, req.Rows = 100, 30
	rec := start(t, r, req)
	rec.waitOutput(store.PTY, "ready")
	if got := rec.output(store.PTY); !strings.Contains(got, "30 100\r\n") || !strings.Contains(got, "/dev/pts/") {
		t.Errorf("the terminal is %q", got)
	}
	check(t, rec.run.Resize(120, 40))
	rec.waitOutput(store.PTY, "now 40 120")
	var refused *InputError
	if err := rec.run.Resize(0, 40); !errors.As(err, &refused) {
		t.Errorf("a terminal without columns: got %v", err)
	}
	check(t, rec.run.Stdin("ann", []byte("hello\r")))
	rec.waitOutput(store.PTY, "got hello")
	rec.end()
	if got := rec.output(store.PTY); !strings.Contains(got, "hello\r\ngot hello") {
		t.Errorf("the terminal does not echo: %q", got)
	}
	check(t, rec.run.Resize(80, 24)) // after the end
}

func TestSignals(t *testing.T) {
	r := testRunner(t)
	const waits = "trap 'echo INT; exit 3' INT; trap 'echo TERM; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
	for name, c := range map[string]struct {
		req    Request
		send   func(*Run) error
		status store.Status
		prints string
	}{
		"INT":                  {program("bash", waits), func(run *Run) error { return run.Signal("INT") }, store.StatusExited, "INT"},
		"TERM":                 {program("bash", waits), func(run *Run) error { return run.Signal("TERM") }, store.StatusExited, "TERM"},
		"KILL":                 {program("bash", waits), func(run *Run) error { return run.Signal("KILL") }, store.StatusSignaled, ""},
		"INT in a terminal":    {inTerminal("bash", waits), func(run *Run) error { return run.Signal("INT") }, store.StatusExited, "INT"},
		"TERM in a terminal":   {inTerminal("bash", waits), func(run *Run) error { return run.Signal("TERM") }, store.StatusExited, "TERM"},
		"KILL in a terminal":   {inTerminal("bash", waits), func(run *Run) error { return run.Signal("KILL") }, store.StatusSignaled, ""},
		"Ctrl+C in a terminal": {inTerminal("bash", waits), func(run *Run) error { return run.Stdin("ann", []byte{3}) }, store.StatusExited, "INT"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := start(t, r, c.req)
			rec.wait("the program", func() bool {
				return contains(rec.streams[store.Stdout], "ready") || contains(rec.streams[store.PTY], "ready")
			})
			check(t, c.send(rec.run))
			run := rec.end()
			if run.Status != c.status {
				t.Errorf("got %s, %q", run.Status, run.Message)
			}
			if got := rec.output(store.Stdout) + rec.output(store.PTY); !strings.Contains(got, c.prints) {
				t.Errorf("printed %q", got)
			}
		})
	}
	t.Run("unknown", func(t *testing.T) {
		rec := start(t, r, program("bash", "read x"))
		var refused *InputError
		if err := rec.run.Signal("HUP"); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
		check(t, rec.run.Stop())
		rec.end()
		if err := rec.run.Signal("INT"); !errors.As(err, &refused) {
			t.Errorf("after the end: got %v", err)
		}
	})
	// Who signals, or resizes, before the end of a box was noticed is told the same.
	t.Run("to a box that is gone", func(t *testing.T) {
		rec := start(t, r, inTerminal("bash", "echo ready; exec sleep 1236"))
		rec.waitOutput(store.PTY, "ready")
		rec.run.mu.Lock()
		unnoticed := &Run{job: rec.run.job, process: rec.run.process}
		rec.run.mu.Unlock()
		eventually(t, "the program", func() bool { return killBoxOf(t, "sleep\x001236\x00") })
		rec.end()
		var refused *InputError
		if err := unnoticed.Signal("INT"); !errors.As(err, &refused) {
			t.Errorf("signal: got %v", err)
		}
		if err := unnoticed.Resize(90, 30); err != nil {
			t.Errorf("resize: got %v", err)
		}
	})
}

func TestStop(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, program("bash", "trap '' TERM INT HUP; echo ready; sleep 1000"))
	rec.waitOutput(store.Stdout, "ready")
	for range 3 {
		check(t, rec.run.Stop())
	}
	if run := rec.end(); run.Status != store.StatusStopped || rec.output(store.Stdout) != "ready\n" {
		t.Errorf("got %s, %q", run.Status, rec.output(store.Stdout))
	}
	check(t, rec.run.Stop())
}

// A run that waits can be stopped, its position is told, and input that was
// typed ahead arrives.
func TestQueued(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.MaxRunning, c.MaxQueued = 1, 2 })
	first := start(t, r, program("bash", "echo ready; read x"))
	first.waitOutput(store.Stdout, "ready")
	second := start(t, r, program("bash", "echo second"))
	third := start(t, r, program("bash", "read x; echo got $x"))
	third.wait("its place", func() bool { return len(third.events) > 0 && third.events[0].Position == 1 })
	check(t, third.run.Stdin("ben", []byte("typed ahead\n")))

	var full *LimitError
	req := program("bash", "echo no")
	req.Room, req.By = newRoom(t, r), "ann"
	if _, err := r.Start(t.Context(), req); !errors.As(err, &full) || !full.Global || full.RetryAfter <= 0 {
		t.Errorf("a full queue: got %v", err)
	}
	if got := r.Stats(); got.Running != 1 || got.Queued != 2 {
		t.Errorf("stats are %+v", got)
	}

	check(t, second.run.Stop())
	if run := second.end(); run.Status != store.StatusStopped || run.StartedAt != nil {
		t.Errorf("stopped in the queue: %+v", run)
	}
	third.wait("the news that it is next", func() bool {
		last := third.events[len(third.events)-1]
		return last.Kind == EventQueued && last.Position == 0
	})
	check(t, first.run.Stdin("ann", []byte("\n")))
	first.end()
	if third.end(); third.output(store.Stdout) != "got typed ahead\n" {
		t.Errorf("got %q", third.output(store.Stdout))
	}
}

func TestClose(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.MaxRunning = 1 })
	rec := start(t, r, program("bash", "echo before; sleep 1000"))
	rec.waitOutput(store.Stdout, "before")
	waits := start(t, r, program("bash", "echo never"))
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if run := rec.end(); run.Status != store.StatusLost || rec.output(store.Stdout) != "before\n" {
		t.Errorf("got %s, %q", run.Status, rec.output(store.Stdout))
	}
	if run := waits.end(); run.Status != store.StatusLost || run.StartedAt != nil {
		t.Errorf("the one that waited: got %+v", run)
	}
	req := program("bash", "echo no")
	req.Room = newRoom(t, r)
	if _, err := r.Start(t.Context(), req); !errors.Is(err, ErrClosed) {
		t.Errorf("a run after the end: got %v", err)
	}
	if ok, why := r.Ready(); ok || why == "" {
		t.Error("a closed runner is ready")
	}
}

func TestOneRunPerRoom(t *testing.T) {
	r := testRunner(t)
	req := program("bash", "echo ready; read x")
	req.Room = newRoom(t, r)
	rec := start(t, r, req)
	rec.waitOutput(store.Stdout, "ready")
	if _, err := r.Start(t.Context(), req); !errors.Is(err, ErrRunActive) {
		t.Errorf("got %v", err)
	}
	if r.Active(req.Room) != rec.run {
		t.Error("the room's active run is another")
	}
	check(t, rec.run.StdinEOF())
	rec.end()
	if again := start(t, r, req); again.run.Number() != 2 {
		t.Errorf("the next is number %d", again.run.Number())
	} else {
		check(t, again.run.StdinEOF())
		again.end()
	}
	if len(r.rooms) != 0 {
		t.Errorf("%d rooms are remembered", len(r.rooms))
	}
}

// The next run may be started as soon as the end of the last is reported, from
// within that report even, and is reported after it.
func TestStartFromExit(t *testing.T) {
	r := testRunner(t)
	room := newRoom(t, r)
	var (
		mu    sync.Mutex
		seen  []string
		chain func(e Event)
	)
	done := make(chan struct{})
	chain = func(e Event) {
		if e.Kind == EventQueued || e.Kind == EventExited {
			mu.Lock()
			seen = append(seen, fmt.Sprint(e.Run.Number, e.Kind))
			mu.Unlock()
		}
		if e.Kind != EventExited {
			return
		}
		if e.Run.Number == 3 {
			close(done)
			return
		}
		req := program("bash", "echo hi")
		req.Room, req.Events = room, chain
		if _, err := r.Start(t.Context(), req); err != nil {
			t.Errorf("start from the report of the end: %v", err)
			close(done)
		}
	}
	chain(Event{Kind: EventExited})
	<-done
	if want := []string{"0 5", "1 1", "1 5", "2 1", "2 5", "3 1", "3 5"}; !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestQuotasOfRunner(t *testing.T) {
	r := testRunner(t, func(c *Config) {
		c.Quotas = &Quotas{ActivePerParticipant: 1, PerMinute: 2, PerMinuteRoom: 3, PerMinuteIP: 3}
	})
	first := start(t, r, program("bash", "read x"))
	req := program("bash", "echo no")
	req.Room, req.By = first.run.job.Room, "ann"
	check(t, first.run.Stop())
	first.end()
	second := start(t, r, withRoom(program("bash", "echo yes"), req.Room))
	second.end()
	var limit *LimitError
	if _, err := r.Start(t.Context(), req); !errors.As(err, &limit) || limit.Global || limit.RetryAfter <= 0 {
		t.Errorf("got %v", err)
	}
	if r.Active(req.Room) != nil {
		t.Error("a refused run is active")
	}
	req.By = "ben"
	rec := newRecorder(t)
	req.Events = rec.event
	run, err := r.Start(t.Context(), req)
	if err != nil {
		t.Fatalf("somebody else is refused: %v", err)
	}
	rec.run = run
	rec.end()
}

func withRoom(req Request, room string) Request {
	req.Room = room
	return req
}

// Whoever asks late gets everything once, though the program floods.
func TestLateReader(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, inTerminal("bash", "exec seq 100000000"))
	rec.wait("some output", func() bool { return len(rec.streams[store.PTY]) > 1<<20 })
	var readers sync.WaitGroup
	late := make([][]byte, 3)
	for i := range late {
		readers.Go(func() {
			for n := 0; ; {
				chunks, changed, ended := rec.run.Output(n)
				for _, c := range chunks {
					if c.Offset != int64(len(late[i])) {
						t.Errorf("a chunk at %d, %d bytes had come", c.Offset, len(late[i]))
						return
					}
					late[i] = append(late[i], c.Data...)
				}
				if n += len(chunks); ended && len(chunks) == 0 {
					return
				}
				<-changed
			}
		})
	}
	rec.end()
	readers.Wait()
	whole := rec.output(store.PTY)
	for _, got := range late {
		if string(got) != whole {
			t.Errorf("a late reader has %d bytes, %d were printed", len(got), len(whole))
		}
	}
	// As the program printed it: no line is missing.
	for i, line := range strings.SplitN(whole, "\r\n", 1000)[:999] {
		if line != fmt.Sprint(i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Quotas = &Quotas{100, 100, 100, 100}; c.MaxRunning = 20 })
	var all []*recorder
	for i := range 20 {
		all = append(all, start(t, r, program("python", fmt.Sprintf("print('ready')\ninput()\nprint(%d)", i))))
	}
	for _, rec := range all {
		rec.waitOutput(store.Stdout, "ready")
	}
	if got := r.Stats(); got.Running != 20 {
		t.Errorf("%d run at once", got.Running)
	}
	for _, rec := range all {
		check(t, rec.run.Stdin("ann", []byte("\n")))
	}
	for i, rec := range all {
		if run := rec.end(); run.Status != store.StatusExited || rec.output(store.Stdout) != fmt.Sprintf("ready\n%d\n", i) {
			t.Errorf("run %d: %s, %q", i, run.Status, rec.output(store.Stdout))
		}
	}
	if got := r.Stats(); got.Running != 0 || got.Leftovers.Total() != 0 {
		t.Errorf("stats are %+v", got)
	}
}

func TestIdleTerminal(t *testing.T) {
	r := testRunner(t, func(c *Config) {
		limits := DefaultLimits()
		limits.Idle = time.Second
		c.Limits = &limits
	})
	rec := start(t, r, inTerminal("bash", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done; read x"))
	run := rec.end()
	if run.Status != store.StatusTimeout || !strings.Contains(run.Message, "1 s") {
		t.Errorf("got %s, %q", run.Status, run.Message)
	}
	if !strings.Contains(rec.output(store.PTY), "6") {
		t.Error("a terminal in which something is printed is not idle")
	}
}

// The store's failure to keep a run's start ends the run; nothing is executed
// that nobody knows of.
func TestStoreFails(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, program("bash", "echo ready; sleep 1000"))
	rec.waitOutput(store.Stdout, "ready")
	// The room goes, and its runs with it.
	if err := r.store.DeleteRoom(t.Context(), rec.run.job.Room, nil); err != nil {
		t.Fatal(err)
	}
	check(t, rec.run.Stop())
	<-rec.run.Done()
	if got := rec.run.Snapshot(); got.Status != store.StatusStopped {
		t.Errorf("got %s, %q", got.Status, got.Message)
	}
	req := program("bash", "echo no")
	req.Room = rec.run.job.Room
	if _, err := r.Start(t.Context(), req); err == nil {
		t.Error("a run in a room that is not there")
	}
	if r.Active(req.Room) != nil || len(r.rooms) != 0 {
		t.Error("what was refused is active")
	}
}
