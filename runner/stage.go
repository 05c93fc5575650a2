package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"corun/runner/sandbox"
	"corun/store"
)

const (
	// deliverEvery is the least time between two deliveries of output while a
	// program prints without pause. What comes after a pause is delivered at
	// once.
	deliverEvery = 4 * time.Millisecond
	// leastCPUCheck is the least time between two looks at the CPU time used.
	leastCPUCheck = 20 * time.Millisecond
	// endWithin is how long after its kill a box may take until nothing runs in it. A
	// run is over then, whatever becomes of the box.
	endWithin = 200 * time.Millisecond
	// readWithin is how long the streams of a box that is dead may take to be read to
	// their end: nobody is left who could write, so it is as long as this process takes.
	readWithin = 5 * time.Second
	// nearlyCPU is the part of its CPU time that makes a program that reaches
	// the wall clock's end one that spins. Both clocks allow 10 s, and one that
	// spins gets a little less than a second of CPU time a second: it is let go
	// on for spinGrace, so that the verdict names the limit it is about.
	nearlyCPU = 0.9
	spinGrace = 150 * time.Millisecond
)

// stage is one of a run's: a command in a box of its own. Owned by the supervisor.
type stage struct {
	run     *Run
	name    string // stageCompile or stageRun
	show    func([]Chunk)
	end     ending
	printed int // chunks of the run's output before this stage's

	box     *sandbox.Box
	process *sandbox.Process
	size    sandbox.Size  // of the terminal when the program began
	warm    bool          // a runtime was started ahead
	startup time.Duration // from acceptance to exec
	start   time.Time     // the exec

	made   *bytes.Buffer // what a compiler hands over through a pipe; nil where it is read from its box
	gather *gather
	calm   context.Context // ends when the program is being ended: nothing is held back then
	hurry  context.CancelFunc
	pumps  sync.WaitGroup    // goroutines that read and write the streams
	eof    chan struct{}     // closed when all output is read
	exited chan sandbox.Exit // has the program's end, once
	broken chan error        // or why it cannot be known
	over   bool              // the program has ended
	killed time.Time         // when it had, or its end was decided
	active time.Time         // last input or output
}

func newStage(run *Run, name string) *stage {
	s := &stage{run: run, name: name, printed: run.output.count()}
	s.end = ending{mode: run.job.Mode, limits: run.job.limits, language: run.job.profile.Name}
	if name == stageCompile {
		s.end.compile, s.end.limits = true, run.job.limits.ofCompile()
	}
	return s
}

// began tells whether the command was executed.
func (s *stage) began() bool { return s.end.began }

// begin gives the command to a box and starts to read what it prints. A box that died
// before it could take its command is replaced once: nothing has been executed then.
func (s *stage) begin() error {
	r, j := s.run.runner, s.run.job
	s.size = s.run.termSize()
	for attempt := 0; ; attempt++ {
		cmd := j.command(s.size)
		var err error
		switch {
		case s.name == stageCompile:
			if cmd = j.compileCommand(s.size); r.sealed {
				cmd, s.made = j.sealedCompileCommand(s.size), new(bytes.Buffer)
			}
			s.box, err = r.pools.take(r.ctx, r.compileKind(j.profile, s.end.limits.Box))
		case attempt == 0:
			if s.box = r.takeWarm(j); s.box != nil {
				cmd, s.warm = j.warmCommand(s.size), true
				break
			}
			fallthrough
		default:
			s.warm = false
			s.box, err = r.pools.take(r.ctx, r.runKind(j.profile, s.end.limits.Box))
		}
		if err != nil {
			return err
		}
		s.process, err = s.box.Start(r.ctx, cmd)
		if err == nil {
			s.start, s.active, s.end.began = time.Now(), time.Now(), true
			s.startup = s.start.Sub(s.run.accepted)
			if s.name == stageRun {
				r.latency.WithLabelValues(j.profile.Name, strconv.FormatBool(s.warm)).Observe(s.startup.Seconds())
			}
			s.pump()
			return nil
		}
		select {
		case <-s.box.Exited():
			if attempt == 0 {
				r.log.Warn("a box died before it took its program; another is used", "error", err)
				s.destroy()
				continue
			}
		default:
		}
		return err
	}
}

// pump starts what reads and writes the program's streams and what waits for
// its end.
func (s *stage) pump() {
	s.gather = newGather()
	s.calm, s.hurry = context.WithCancel(context.Background())
	s.eof, s.exited, s.broken = make(chan struct{}), make(chan sandbox.Exit, 1), make(chan error, 1)
	flow := newFlow(s.end.limits.OutputRate)
	var readers sync.WaitGroup
	switch {
	case s.made != nil:
		s.pumpSealed(&readers, flow)
	case s.end.mode == ModeTerminal:
		pty := s.process.PTY()
		readers.Go(func() { s.gather.copyFrom(s.calm, store.PTY, pty, flow) })
		if s.name == stageRun {
			s.pumps.Go(func() { s.run.input.writeTo(s.calm, pty) })
		}
	default:
		for stream, src := range map[store.Stream]io.Reader{store.Stdout: s.process.Stdout(), store.Stderr: s.process.Stderr()} {
			readers.Go(func() {
				s.gather.copyFrom(s.calm, stream, src, flow)
				if pipe, ok := src.(io.Closer); ok {
					_ = pipe.Close() // it was read to its end
				}
			})
		}
		s.pumps.Go(func() {
			stdin := s.process.Stdin()
			if s.name == stageRun { // what was typed is not the compiler's
				s.run.input.writeTo(s.calm, stdin)
			}
			// An error says that the program has closed its end before.
			_ = stdin.Close()
		})
	}
	s.pumps.Go(func() {
		readers.Wait()
		close(s.eof)
	})
	s.pumps.Go(func() {
		exit, err := s.process.Wait(context.Background())
		if err != nil {
			s.broken <- err
			return
		}
		s.exited <- exit
	})
}

// pumpSealed reads the streams of a compiler that hands over through a pipe what it made.
// In a terminal's run its messages come as in one.
func (s *stage) pumpSealed(readers *sync.WaitGroup, flow *rate.Limiter) {
	_ = s.process.Stdin().Close() // nothing was written
	messages, stream := s.process.Stderr(), store.Stderr
	if s.end.mode == ModeTerminal {
		messages, stream = newlines{messages}, store.PTY
	}
	readers.Go(func() { s.gather.copyFrom(s.calm, stream, messages, flow) })
	readers.Go(func() {
		// One byte more tells that it is too large. An error tells of the box's end, which is
		// noticed elsewhere.
		_, _ = io.Copy(s.made, io.LimitReader(s.process.Stdout(), s.run.job.limits.Compile.ResultBytes+1))
		_, _ = io.Copy(io.Discard, s.process.Stdout())
	})
}

// newlines ends lines as a terminal does.
type newlines struct{ r io.Reader }

func (n newlines) Read(p []byte) (int, error) {
	half := make([]byte, len(p)/2)
	got, err := n.r.Read(half)
	return copy(p, bytes.ReplaceAll(half[:got], []byte("\n"), []byte("\r\n"))), err
}

// attend keeps the clocks and delivers output until the program has ended and
// its output is read, which show is given.
func (s *stage) attend(show func([]Chunk)) {
	s.show = show
	limits := s.end.limits
	wall := time.NewTimer(limits.wall(s.end.mode) - time.Since(s.start))
	defer wall.Stop()
	cpu := time.NewTimer(s.untilCPU(0))
	defer cpu.Stop()
	idle := time.NewTimer(limits.Idle)
	defer idle.Stop()
	if s.end.mode != ModeTerminal {
		idle.Stop()
	}
	var (
		lastDelivery time.Time
		pending      <-chan time.Time // the next delivery, when output waits for it
		oom          = s.box.OOM()
		shutdown     = s.run.runner.ctx.Done()
		eof          = s.eof
		late         <-chan time.Time // runs from the end or the kill
		dead         bool             // nothing runs in the box any more
		spun         bool
	)
	for !s.over || eof != nil {
		if late == nil && (s.over || s.end.cause != causeNone) {
			s.killed, late = time.Now(), time.After(endWithin)
		}
		select {
		case <-s.gather.ready:
			if pending != nil {
				continue
			}
			if wait := deliverEvery - time.Since(lastDelivery); wait > 0 && !s.over {
				pending = time.After(wait)
				continue
			}
			s.deliver()
			lastDelivery = time.Now()
		case <-pending:
			pending = nil
			s.deliver()
			lastDelivery = time.Now()
		case <-eof:
			eof = nil
		case s.end.exit = <-s.exited:
			s.ended(nil)
		case err := <-s.broken:
			s.ended(err)
		case <-s.run.touched:
			s.active = time.Now()
		case <-s.run.stop:
			s.kill(causeStopped)
		case <-shutdown:
			shutdown = nil
			s.kill(causeShutdown)
		case <-oom:
			oom = nil
			s.kill(causeMemory)
		case <-cpu.C:
			used := s.measure().CPU
			if used >= limits.CPUTime {
				s.kill(causeCPU)
			} else {
				cpu.Reset(s.untilCPU(used))
			}
		case <-wall.C:
			switch used := s.measure().CPU; {
			case used >= limits.CPUTime:
				s.kill(causeCPU)
			case !spun && float64(used) >= nearlyCPU*float64(limits.CPUTime):
				spun = true
				wall.Reset(spinGrace)
			default:
				s.kill(causeWall)
			}
		case <-idle.C:
			if rest := limits.Idle - time.Since(s.active); rest > 0 {
				idle.Reset(rest)
			} else {
				s.kill(causeIdle)
			}
		case <-late:
			if !dead && s.boxIsDead() {
				dead, late = true, time.After(readWithin)
				continue
			}
			// Destroying the box, which comes next, says what is stuck.
			s.run.runner.log.Error("a box has not ended after its kill", "room", s.run.job.Room, "run", s.run.Number(), "dead", dead)
			s.over, eof = true, nil
			s.gather.close()
		}
	}
	s.deliver()
}

func (s *stage) boxIsDead() bool {
	select {
	case <-s.box.Exited():
		return true
	default:
		return false
	}
}

// awaitDeath waits until nothing runs in the box any more: at most as long after its kill
// as a box may take to end, and longer where the run might have taken longer.
func (s *stage) awaitDeath() bool {
	left := max(endWithin-time.Since(s.killed), s.end.limits.wall(s.end.mode)-time.Since(s.start))
	return s.boxIsDead() || left > 0 && s.boxDiesWithin(min(collectWithin, left))
}

func (s *stage) boxDiesWithin(d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-s.box.Exited():
		return true
	case <-late.C:
		return false
	}
}

// untilCPU is the least time in which a program that has used so much CPU time
// can use the rest.
func (s *stage) untilCPU(used time.Duration) time.Duration {
	rest := float64(s.end.limits.CPUTime - used)
	return max(time.Duration(rest/max(s.end.limits.Box.CPUs, 0.01)), leastCPUCheck)
}

// deliver keeps and reports what was printed since the last delivery.
func (s *stage) deliver() {
	pieces := s.gather.take()
	if len(pieces) == 0 {
		return
	}
	s.active = time.Now()
	chunks, over := s.run.output.add(pieces, s.end.limits.OutputBytes-total(s.run.output.size()))
	s.show(chunks)
	if over {
		s.gather.drop()
		if s.end.cause == causeNone {
			s.end.cause = causeOutput
		}
		s.endBox()
	}
}

// kill ends a program that has not ended by itself.
func (s *stage) kill(why cause) {
	if s.over {
		return
	}
	if s.end.cause == causeNone {
		s.end.cause = why
	}
	s.endBox()
}

// ended notes the program's end; what it left behind in the box ends with it.
func (s *stage) ended(err error) {
	s.over = true
	if err != nil && s.end.err == nil {
		s.end.err = err
		s.findOutWhy()
	}
	s.endBox()
}

// findOutWhy looks whether a box that is gone was ended because its memory had run out:
// its launcher says that before it says that the box is gone, but maybe after the box's
// own streams have ended.
func (s *stage) findOutWhy() {
	if s.end.cause != causeNone || !s.boxDiesWithin(endWithin) {
		return
	}
	select {
	case <-s.box.OOM():
		s.end.cause = causeMemory
	default:
	}
}

// endBox kills everything in the box. What was printed before is in the pipes
// and is still read, from now on as fast as it can be.
func (s *stage) endBox() {
	s.hurry()
	if err := s.box.Kill(); err != nil {
		s.run.runner.log.Error("kill box", "room", s.run.job.Room, "error", err)
	}
}

// destroy ends the box, if there is one, and everything that was in it.
func (s *stage) destroy() {
	if s.box == nil {
		return
	}
	if err := destroy(s.box); err != nil {
		s.run.runner.log.Error("destroy box", "room", s.run.job.Room, "error", err)
	}
	s.box = nil
	if s.hurry != nil { // it has begun, maybe of a run that could not be stored
		s.hurry()
		s.gather.close()
	}
	// The streams ended with the box, so what reads and writes them ends too.
	s.pumps.Wait()
}

// discard is destroy for a stage that is over while the run goes on: nobody waits.
func (s *stage) discard() {
	s.run.discarded.Go(s.destroy)
}

// measure reads what the box has used. That fails only when the kernel does not
// answer, and then nothing is known.
func (s *stage) measure() sandbox.Usage {
	u, err := s.box.Usage()
	if err != nil {
		s.run.runner.log.Error("read usage of box", "error", err)
	}
	return u
}

// result reads what the compile stage has made.
func (s *stage) result() ([]byte, error) {
	most := s.run.job.limits.Compile.ResultBytes
	if s.made != nil {
		if int64(s.made.Len()) > most {
			return nil, fmt.Errorf("what was compiled is more than %s", byteWords(most))
		}
		return s.made.Bytes(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectWithin)
	defer cancel()
	name := s.run.job.profile.Compile.Output
	made, err := s.box.Collect(ctx, sandbox.CollectLimits{Path: name, Bytes: most, Files: 1, Depth: 1})
	if errors.Is(err, sandbox.ErrTooMuch) {
		return nil, fmt.Errorf("what was compiled is more than %s", byteWords(most))
	}
	if err != nil {
		return nil, fmt.Errorf("read what was compiled: %w", err)
	}
	if len(made.Files) != 1 || made.Files[0].Path != name {
		return nil, errors.New("the compiler reported no error but made no program")
	}
	return made.Files[0].Content, nil
}
