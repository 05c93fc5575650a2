package runner

import (
	"context"
	"errors"
	"strings"
	"time"

	"corun/store"
)

// This file is about what could not be stored when a run ended, as on a full disk. Everybody was
// told the verdict, which must not become another one: so it is tried until it is stored, the
// room is gone, or the server ends.

const (
	laterPause = time.Second
	// mostLater bounds the runs of which that is held in memory: with their output and results.
	mostLater = 32
)

// Said in a run's message until it is no longer so.
const (
	outputLater  = " Part of the output is not saved yet."
	resultsLater = " Not all results are saved yet."
)

// storeLater begins to try. The supervisor's own work is over: nobody else has what it kept.
func (s *supervisor) storeLater() {
	r := s.run.runner
	if r.later.Add(1) > mostLater {
		r.later.Add(-1)
		r.log.Error("too many runs wait to be stored: one is left as it is", "room", s.run.job.Room, "run", s.row.Number)
		s.leaveTranscript(false)
		return
	}
	row, results := s.row, s.unsaved
	row.Message = strings.Replace(strings.Replace(row.Message, outputLater, "", 1), resultsLater, "", 1)
	r.active.Go(func() {
		defer r.later.Add(-1)
		for last := false; ; {
			select {
			case <-time.After(laterPause):
			case <-r.ctx.Done():
				last = true
			}
			err := s.storeNow(&row, &results)
			if err == nil || last {
				if err != nil {
					r.log.Error("store what a run has come to", "room", s.run.job.Room, "run", row.Number, "error", err)
				}
				s.leaveTranscript(err == nil)
				return
			}
		}
	})
}

// storeNow stores what is left, and takes off results what was.
func (s *supervisor) storeNow(row *store.Run, results *[]store.TestResult) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
	defer cancel()
	st := s.run.runner.store
	// The room may be gone, or be another one of that name.
	known, err := st.Run(ctx, row.Room, row.Number)
	if errors.Is(err, store.ErrNotFound) || err == nil && !known.CreatedAt.Equal(row.CreatedAt) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.transcript != nil {
		if err := s.transcript.flush(); err != nil {
			return err
		}
	}
	for len(*results) > 0 {
		if err := st.AddTestResult(ctx, row, &(*results)[0]); err != nil {
			return err
		}
		*results = (*results)[1:]
	}
	return st.UpdateRun(ctx, row)
}

func (s *supervisor) leaveTranscript(stored bool) {
	if s.transcript != nil {
		s.transcript.leave(stored)
	}
}
