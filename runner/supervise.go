package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"corun/runner/sandbox"
	"corun/store"
)

// Stages of a run.
const (
	stageCompile = "compile"
	stageRun     = "run"
)

const (
	// storeAttempts is how often a verdict is tried to be stored.
	storeAttempts = 3
	// storePause is between them.
	storePause = 200 * time.Millisecond
)

// supervisor is the goroutine of a run, from its acceptance to the end of its boxes. It
// alone reports, and changes the run's row when that is stored.
type supervisor struct {
	run        *Run
	row        store.Run // as last reported
	place      *ticket   // in the queue; nil when it was given back
	transcript *transcript
	// current is the stage that goes on, or has ended as the last one.
	current *stage
	usage   store.Usage // of it
	// artefacts are what the program left, and leftover why they are not all.
	artefacts []Artefact
	leftover  string
	unsaved   []store.TestResult // what could not be stored yet
	noted     bool               // the compile stage's result
}

// supervise sees a run through.
func (run *Run) supervise(place *ticket) {
	r := run.runner
	defer r.retire(run)
	if run.store != nil {
		// In a goroutine of its own: the database is asked in C, and what this one asks of the
		// box would wait until another thread takes over.
		go run.store() // ends with stored
	}
	if run.former != nil {
		<-run.former
	}
	s := &supervisor{run: run, place: place}
	s.current = run.first()
	select {
	case <-place.turn:
		// While the run is being stored its program may begin: nobody is told of it yet.
		s.begin()
	default:
	}
	if err := <-run.stored; err != nil {
		s.finish()
		r.quotas.release(run.starter())
		r.vacate(run)
		close(run.announced)
		return
	}
	if s.waitTurn() {
		r.running.Add(1)
		s.perform()
		r.running.Add(-1)
	}
	s.conclude()
	s.finish()
}

// first is the stage that a run begins with.
func (run *Run) first() *stage {
	if run.job.profile.Compile == nil || run.job.built != nil {
		return newStage(run, stageRun)
	}
	if run.job.built = run.runner.cache.find(run.job, run.termSize().Cols); run.job.built != nil {
		return newStage(run, stageRun)
	}
	return newStage(run, stageCompile)
}

// waitTurn reports the run's position until its turn comes, or notes why it will not.
func (s *supervisor) waitTurn() bool {
	place := s.place
	for {
		s.run.report(Event{Kind: EventQueued, Run: s.run.Snapshot(), Position: s.run.runner.queue.position(place)})
		select {
		case <-place.turn:
			return true
		default:
		}
		select {
		case <-place.turn:
			return true
		case <-place.moved:
		case <-s.run.stop:
			s.current.end.cause = causeStopped
			return false
		case <-s.run.runner.ctx.Done():
			s.current.end.cause = causeShutdown
			return false
		}
	}
}

// begin gives the current stage's command to a box, where it is one command.
func (s *supervisor) begin() {
	st := s.current
	if s.testing() {
		st.startup = time.Since(s.run.accepted)
		return
	}
	if st.began() || st.end.err != nil {
		return
	}
	if st.end.err = st.begin(); st.end.err != nil && s.run.runner.ctx.Err() != nil {
		st.end.cause = causeShutdown
	}
}

// perform brings the stages to their end, and what they print to everybody.
func (s *supervisor) perform() {
	run := s.run
	s.begin()
	if !s.current.began() && !s.testing() {
		return
	}
	now := run.runner.now().UTC()
	s.change(func(row *store.Run) {
		row.State, row.StartedAt = store.RunRunning, &now
		s.enter(row)
	})
	s.keepStart()
	if run.kept {
		s.transcript = startTranscript(run)
	}
	run.report(Event{Kind: EventStarted, Run: s.row})
	run.report(Event{Kind: EventStage, Run: s.row})
	if run.job.built != nil {
		s.replay(run.job.built)
	}
	if s.bringToEnd(); s.current.name != stageCompile || !s.compiled() {
		return
	}
	s.current = newStage(run, stageRun)
	s.begin()
	if !s.current.began() && !s.testing() {
		return
	}
	s.change(s.enter)
	s.keepStart()
	run.report(Event{Kind: EventStage, Run: s.row})
	s.bringToEnd()
}

// bringToEnd brings the current stage to its end.
func (s *supervisor) bringToEnd() {
	if s.testing() {
		s.test()
		return
	}
	s.attend()
}

// keepStart stores how far the run has come, before anybody is told. A program that has begun
// does not wait for it, nor does it end where it fails: what it prints is told a little later.
func (s *supervisor) keepStart() {
	if err := s.run.save(&s.row, 1, s.run.runner.store.StartRun); err != nil {
		s.run.runner.log.Error("store start of run", "room", s.run.job.Room, "run", s.row.Number, "error", err)
	}
}

// enter notes in the row which stage goes on.
func (s *supervisor) enter(row *store.Run) {
	row.Stage, row.StartupMS = s.current.name, milliseconds(s.current.startup)
}

func (s *supervisor) change(fn func(*store.Run)) { s.row = s.run.change(fn) }

// attend brings the current stage's command to its end. If its box dies before anybody could
// know that there was one, the stage begins again in another, once.
func (s *supervisor) attend() {
	s.attendOnce()
	if s.row.Attempt > 1 || !s.nothingHappened() {
		return
	}
	s.current.pumps.Wait() // its streams have ended with its box
	if !s.run.input.revive() {
		return
	}
	s.run.runner.log.Warn("a box died before its program had shown or read anything; it is run again", "room", s.run.job.Room, "run", s.row.Number, "error", s.current.end.err)
	former := s.current
	s.current = newStage(s.run, former.name)
	former.discard()
	s.change(func(row *store.Run) { row.Attempt++ })
	s.begin()
	if !s.current.began() {
		return
	}
	s.change(s.enter)
	s.keepStart()
	s.run.report(Event{Kind: EventStage, Run: s.row})
	s.attendOnce()
}

// nothingHappened tells whether the current stage's box is dead, for no reason of the
// program's, and has shown nothing. If nothing was typed for it either, nobody would notice if
// it had never been.
func (s *supervisor) nothingHappened() bool {
	st := s.current
	return st.end.err != nil && st.end.cause == causeNone && s.run.output.count() == st.printed &&
		s.run.runner.ctx.Err() == nil && st.boxIsDead()
}

func (s *supervisor) attendOnce() {
	st := s.current
	s.run.setProcess(st.process, st.size)
	st.attend(s.show)
	s.run.setProcess(nil, st.size)
	used := st.measure()
	st.end.oomKills, st.end.forks, st.end.measured = used.OOMKills, used.ForksRefused, used != sandbox.Usage{}
	s.usage = store.Usage{
		WallMS: milliseconds(time.Since(st.start)), CPUMS: milliseconds(used.CPU), MemoryPeakBytes: used.MemoryPeak,
	}
	if st.name == stageRun {
		s.collect()
	}
}

// compiled tells whether the compile stage, which has ended, has made a program.
func (s *supervisor) compiled() bool {
	run, st := s.run, s.current
	var program []byte
	v := judge(st.end)
	if v.status == store.StatusExited {
		program, st.end.noProgram = st.result()
		v = judge(st.end)
	}
	s.note(v)
	if v.status != store.StatusExited {
		return false
	}
	st.discard()
	chunks, _, _ := run.output.since(st.printed)
	run.job.built = &built{program: program, messages: piecesOf(chunks), cols: st.size.Cols}
	run.runner.cache.add(run.job, run.job.built)
	return true
}

// note keeps what became of the compile stage.
func (s *supervisor) note(v verdict) {
	s.change(func(row *store.Run) {
		row.Compile = &store.Compile{Status: v.status, Usage: s.usage}
		row.Compile.Usage.OutputBytes = total(s.run.output.size())
	})
	s.run.keepResult(s.stageResult(v))
	s.noted = true
}

// replay prints again what the compiler had to say of a program that it made before.
func (s *supervisor) replay(b *built) {
	s.change(func(row *store.Run) { row.Compile = &store.Compile{Status: store.StatusExited, Cached: true} })
	s.print(b.messages)
	code := 0
	res := s.stageResult(judge(ending{compile: true, began: true}))
	res.stage, res.Code = stageCompile, &code
	s.run.keepResult(res)
	s.current.printed = s.run.output.count()
}

// print keeps and reports output.
func (s *supervisor) print(pieces []piece) {
	chunks, _ := s.run.output.add(pieces, s.run.job.limits.OutputBytes)
	s.show(chunks)
}

// show keeps output and then reports it.
func (s *supervisor) show(chunks []Chunk) {
	if s.transcript != nil {
		s.transcript.keep(chunks)
	}
	for _, c := range chunks {
		s.run.report(Event{Kind: EventOutput, Run: s.row, Chunk: c})
	}
}

// conclude stores the verdict and then reports it.
func (s *supervisor) conclude() {
	run := s.run
	r := run.runner
	run.input.close()
	run.output.end()
	v := judge(s.current.end)
	if s.testing() && s.current.end.began {
		v = v.ofTests(*s.row.Tests, s.current.end.cause)
	}
	v.message += s.leftover
	later := false
	if s.transcript != nil && s.transcript.finish() != nil {
		later = true
		v.message += outputLater
	}
	if len(s.unsaved) > 0 {
		later = true
		v.message += resultsLater
	}
	if v.status == store.StatusFailed && !run.job.trial {
		r.log.Error("run failed", "room", run.job.Room, "run", run.Number(), "language", run.job.profile.Name, "error", s.current.end.err)
	}
	if s.current.name == stageRun || !s.noted {
		run.keepResult(s.stageResult(v))
	}
	kept := s.keepArtefacts()
	now := r.now()
	ended := func(row *store.Run) {
		v.apply(row, now)
		row.Output = run.output.size()
		row.Usage = s.usage
		row.Usage.OutputBytes = total(row.Output)
		row.Artefacts = kept
	}
	s.change(func(*store.Run) {}) // a name may have been erased
	ended(&s.row)
	err := run.save(&s.row, storeAttempts, r.store.UpdateRun)
	if err != nil {
		r.log.Error("store verdict", "room", run.job.Room, "run", s.row.Number, "error", err)
	}
	if later || err != nil {
		s.storeLater()
	} else {
		s.leaveTranscript(true)
	}
	// The room may start its next run from here on; that one waits for
	// announced before it reports anything. Until now nobody who asks is told that this one has
	// ended.
	r.vacate(run)
	s.change(ended)
	if run.kept {
		r.quotas.release(run.starter())
	}
	run.report(Event{Kind: EventExited, Run: s.row, Input: run.input.by()})
	close(run.announced)
}

// finish ends what is left of the boxes, and gives the run's place to another.
func (s *supervisor) finish() {
	s.current.destroy()
	s.run.discarded.Wait()
	s.leaveQueue()
}

// leaveQueue gives the run's place to another, once.
func (s *supervisor) leaveQueue() {
	if s.place != nil {
		s.run.runner.queue.leave(s.place)
		s.place = nil
	}
}

// save stores the row, in one of the store's ways. A room that was deleted needs no verdict.
func (run *Run) save(row *store.Run, attempts int, how func(context.Context, *store.Run) error) error {
	if !run.kept {
		return nil
	}
	var err error
	for n := range attempts {
		if n > 0 {
			time.Sleep(storePause)
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		err = how(ctx, row)
		cancel()
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return nil
		}
	}
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// collect reads what the program has left to be kept, when nothing runs in its box any
// more. If that is not so in time, the verdict does not wait for it.
func (s *supervisor) collect() {
	limits := s.run.job.limits
	if limits.ArtefactBytes <= 0 || s.run.runner.sealed {
		return
	}
	if !s.current.awaitDeath() {
		s.leftover = fmt.Sprintf(" What it left in %s/%s could not be read.", homeDir, artefactFolder)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectWithin)
	defer cancel()
	left, err := s.current.box.Collect(ctx, sandbox.CollectLimits{
		Path: artefactFolder, Bytes: limits.ArtefactBytes, Files: limits.ArtefactFiles, Depth: artefactDepth,
	})
	switch {
	case errors.Is(err, sandbox.ErrBoxGone):
		return
	case errors.Is(err, sandbox.ErrTooMuch):
		s.leftover = fmt.Sprintf(" Nothing of what it left in %s/%s is kept: %s in %d files and folders is the most.",
			homeDir, artefactFolder, byteWords(limits.ArtefactBytes), limits.ArtefactFiles)
		return
	case err != nil:
		s.run.runner.log.Error("collect artefacts", "room", s.run.job.Room, "run", s.row.Number, "error", err)
		s.leftover = fmt.Sprintf(" What it left in %s/%s could not be read.", homeDir, artefactFolder)
		return
	}
	s.artefacts, s.leftover = artefactsOf(left)
}

// keepArtefacts stores them, and gives what is said of them.
func (s *supervisor) keepArtefacts() []store.ArtefactInfo {
	if len(s.artefacts) == 0 {
		return nil
	}
	if s.run.kept {
		rows := make([]store.Artefact, len(s.artefacts))
		for i, a := range s.artefacts {
			rows[i] = store.Artefact{Path: a.Path, Data: a.Data}
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		defer cancel()
		err := s.run.runner.store.AddArtefacts(ctx, s.run.job.Room, s.run.Number(), rows)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				s.run.runner.log.Error("store artefacts", "room", s.run.job.Room, "run", s.row.Number, "error", err)
			}
			return nil
		}
	}
	infos := make([]store.ArtefactInfo, len(s.artefacts))
	for i, a := range s.artefacts {
		infos[i] = store.ArtefactInfo{Path: a.Path, Size: int64(len(a.Data))}
	}
	return infos
}
