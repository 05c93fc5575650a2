package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"corun/runner/sandbox"
	"corun/store"
)

const (
	stageRun = "run"
	// storeAttempts is how often a verdict is tried to be stored.
	storeAttempts = 3
	// storePause is between them.
	storePause = 200 * time.Millisecond
)

// supervise is the goroutine of a run, from its acceptance to the end of its
// box. It alone changes the run's row and reports.
func (run *Run) supervise(place *ticket) {
	r := run.runner
	defer r.retire(run)
	if run.former != nil {
		<-run.former
	}
	s := &session{run: run, end: ending{mode: run.job.Mode, limits: run.job.limits, language: run.job.profile.Name}}
	if s.end.cause = run.waitTurn(place); s.end.cause == causeNone {
		r.running.Add(1)
		s.execute()
		r.running.Add(-1)
	}
	run.conclude(s)
	s.destroy()
	r.queue.leave(place)
}

// waitTurn reports the run's position until its turn comes, or says why it will
// not.
func (run *Run) waitTurn(place *ticket) cause {
	for {
		run.report(Event{Kind: EventQueued, Run: run.Snapshot(), Position: run.runner.queue.position(place)})
		select {
		case <-place.turn:
			return causeNone
		case <-place.moved:
		case <-run.stop:
			return causeStopped
		case <-run.runner.ctx.Done():
			return causeShutdown
		}
	}
}

// conclude stores the verdict and then reports it.
func (run *Run) conclude(s *session) {
	r := run.runner
	run.input.close()
	run.output.end()
	v := judge(s.end)
	if s.transcript != nil {
		if err := s.transcript.finish(); err != nil {
			v.message += " Part of the output could not be saved."
		}
	}
	if v.status == store.StatusFailed {
		r.log.Error("run failed", "room", run.job.Room, "run", run.Number(), "language", run.job.profile.Name, "error", s.end.err)
	}
	row := run.change(func(row *store.Run) {
		v.apply(row, r.now())
		row.Output = run.output.size()
		row.Usage = s.usage
		row.Usage.OutputBytes = total(row.Output)
	})
	if err := run.save(&row, storeAttempts); err != nil {
		r.log.Error("store verdict", "room", run.job.Room, "run", row.Number, "error", err)
	}
	// The room may start its next run from here on; that one waits for
	// announced before it reports anything.
	r.vacate(run)
	if run.kept {
		r.quotas.release(run.starter())
	}
	run.report(Event{Kind: EventExited, Run: row, Input: run.input.by()})
	close(run.announced)
}

// save stores the row. A room that was deleted needs no verdict.
func (run *Run) save(row *store.Run, attempts int) error {
	if !run.kept {
		return nil
	}
	var err error
	for n := range attempts {
		if n > 0 {
			time.Sleep(storePause)
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		err = run.runner.store.UpdateRun(ctx, row)
		cancel()
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return nil
		}
	}
	return err
}

// begin gives the program to a box. One that died before it could take the
// program is replaced once: nothing has been executed then.
func (s *session) begin() error {
	for attempt := 0; ; attempt++ {
		box, err := s.run.runner.takeBox(s.run.runner.ctx, s.end.limits.Box)
		if err != nil {
			return err
		}
		s.box, s.size = box, s.run.termSize()
		s.process, err = box.Start(s.run.runner.ctx, s.run.job.command(s.size))
		if err == nil {
			return nil
		}
		select {
		case <-box.Exited():
			if attempt == 0 {
				s.run.runner.log.Warn("a box died before it took its program; another is used", "error", err)
				s.destroy()
				continue
			}
		default:
		}
		return err
	}
}

// started stores that the program executes and reports it.
func (s *session) started() error {
	run, now := s.run, s.run.runner.now().UTC()
	s.row = run.change(func(row *store.Run) {
		row.State, row.Stage, row.StartedAt = store.RunRunning, stageRun, &now
		row.StartupMS = milliseconds(s.startup)
	})
	if err := run.save(&s.row, 1); err != nil {
		return fmt.Errorf("store start of run: %w", err)
	}
	run.report(Event{Kind: EventStarted, Run: s.row})
	run.report(Event{Kind: EventStage, Run: s.row})
	return nil
}

// destroy ends the box, if there is one, and everything that was in it.
func (s *session) destroy() {
	if s.box == nil {
		return
	}
	if err := destroy(s.box); err != nil {
		s.run.runner.log.Error("destroy box", "room", s.run.job.Room, "error", err)
	}
	s.box = nil
	// The streams ended with the box, so what reads and writes them ends too.
	s.pumps.Wait()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measure reads what the box has used. That fails only when the kernel does not
// answer, and then nothing is known.
func (s *session) measure() sandbox.Usage {
	u, err := s.box.Usage()
	if err != nil {
		s.run.runner.log.Error("read usage of box", "error", err)
	}
	return u
}
