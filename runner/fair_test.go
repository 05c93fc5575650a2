package runner

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"corun/store"
)

// However much others ask for, and whoever they are, one who asks for a run at a time waits for
// at most one run of each of them. It is counted in runs and places, as a machine may be slow.
func TestModestRoomIsServed(t *testing.T) {
	const (
		greedy  = 50 // rooms that always have a run
		backlog = 60 // runs that one caller of the execute API always has
		running = 4
		// late is how many more runs may end while the modest one's end is being told, or its
		// box is being fetched: some for each that runs beside it.
		late = 5 * running
	)
	r := testRunner(t, func(c *Config) {
		c.MaxRunning, c.Quotas = running, &Quotas{1e6, 1e6, 1e6, 1e6}
		c.Languages = []string{"bash"}
	})
	var (
		ended  atomic.Int64 // runs of the greedy ones
		others sync.WaitGroup
	)
	ctx, stop := context.WithCancel(t.Context())
	defer others.Wait()
	defer stop()
	for range greedy {
		req := program("bash", "echo greedy")
		req.Room, req.By = newRoom(t, r), "greedy"
		others.Go(func() {
			over := make(chan struct{}, 1)
			req.Events = func(e Event) {
				if e.Kind == EventExited {
					ended.Add(1)
					over <- struct{}{}
				}
			}
			for ctx.Err() == nil {
				if _, err := r.Start(context.Background(), req); err != nil {
					t.Errorf("a greedy room: %v", err)
					return
				}
				<-over
			}
		})
	}
	for range backlog {
		others.Go(func() {
			for ctx.Err() == nil {
				_, err := r.Execute(ctx, ExecuteRequest{Language: "bash", Files: []File{{"main.sh", "echo caller"}}, Stdin: []string{""}, By: "caller", IP: "192.0.2.1"})
				if err != nil && ctx.Err() == nil {
					t.Errorf("the caller: %v", err)
					return
				}
				ended.Add(1)
			}
		})
	}
	room := newRoom(t, r)
	for range 5 {
		eventually(t, "everybody to wait", func() bool { return r.Stats().Queued >= greedy+backlog-running-late })
		var positions []int
		var queued, began int64
		req := program("bash", "echo modest")
		req.Room, req.By = room, "modest"
		rec := newRecorder(t)
		req.Events = func(e Event) {
			switch e.Kind {
			case EventQueued:
				if len(positions) == 0 {
					queued = ended.Load()
				}
				positions = append(positions, e.Position)
			case EventStarted:
				began = ended.Load()
			}
			rec.event(e)
		}
		run, err := r.Start(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		rec.run = run
		if row := rec.end(); row.Status != store.StatusExited || rec.output(store.Stdout) != "modest\n" {
			t.Errorf("got %s, %q", row.Status, rec.output(store.Stdout))
		}
		if first := positions[0]; first > greedy+1 {
			t.Errorf("%d are ahead of it: more than one of each", first)
		}
		for i := range positions[1:] {
			if positions[i+1] > positions[i] {
				t.Errorf("its position went up: %v", positions)
				break
			}
		}
		if n := began - queued; n > greedy+1+late {
			t.Errorf("%d others ended before it began: more than one of each", n)
		}
		t.Logf("positions from %d, %d others ended before it began", positions[0], began-queued)
	}
}

// A room has one run at a time, whoever asks, and so many in a minute.
func TestRoomLimits(t *testing.T) {
	r := testRunner(t, func(c *Config) {
		c.Quotas, c.Languages = &Quotas{ActivePerParticipant: 10, PerMinute: 10, PerMinuteRoom: 2, PerMinuteIP: 100}, []string{"bash"}
	})
	first := start(t, r, program("bash", "read x"))
	req := withRoom(program("bash", "echo no"), first.run.job.Room)
	req.By = "ben"
	if _, err := r.Start(t.Context(), req); !errors.Is(err, ErrRunActive) {
		t.Errorf("a second run at once: got %v", err)
	}
	check(t, first.run.Stop())
	first.end()
	start(t, r, req).end() // and what was refused was not counted
	req.By = "cas"
	var limit *LimitError
	if _, err := r.Start(t.Context(), req); !errors.As(err, &limit) || limit.Global || limit.RetryAfter <= 0 || !strings.HasPrefix(limit.Detail, "people in this room started too many runs: 2 a minute are possible") {
		t.Errorf("a third run in a minute: got %v", err)
	}
}
