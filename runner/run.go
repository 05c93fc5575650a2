package runner

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"corun/runner/sandbox"
	"corun/store"
)

// EventKind is what an event reports.
type EventKind int

const (
	EventQueued  EventKind = iota + 1 // accepted, and again when Position changed
	EventStarted                      // the program was executed
	EventStage                        // Run.Stage has begun
	EventOutput                       // Stream, Offset, Data
	EventTest                         // Test has ended; Run counts it
	EventExited                       // the verdict; the last event of a run
)

// Event is one step in a run's life.
type Event struct {
	Kind     EventKind
	Run      store.Run         // as it was stored, but for output, which is stored a little later
	Position int               // EventQueued: how many runs are ahead; 0 is next
	Chunk                      // EventOutput
	Test     *store.TestResult // EventTest; not to be changed
	// Input counts, with EventExited, the bytes that each participant typed.
	Input map[string]int64
}

// Run is one run that was accepted. Its methods may be called at any time, from
// anywhere, and do not wait for the program.
type Run struct {
	// Static after newRun and admit.
	runner   *Runner
	job      *job
	accepted time.Time
	kept     bool            // in the store, and counted against quotas
	former   <-chan struct{} // closed when the room's former run was reported; nil for none
	// announced is closed when the end was reported, done when the box is gone
	// as well.
	announced chan struct{}
	done      chan struct{}
	// store stores the run's first row; nil for a run that is not kept. stored has what became
	// of it, once.
	store     func()
	stored    chan error
	stop      chan struct{} // holds a token when somebody stopped the run
	touched   chan struct{} // holds a token when somebody typed
	input     *input
	output    *outputLog
	discarded sync.WaitGroup // boxes of stages that are over

	mu      sync.Mutex       // guards below
	row     store.Run        // numbered by store, then changed by the supervisor alone
	size    sandbox.Size     // of the terminal
	process *sandbox.Process // while the program executes
	results []StageResult    // of the stages that are over
}

func newRun(r *Runner, j *job, accepted time.Time) *Run {
	run := &Run{
		runner: r, job: j, accepted: accepted,
		announced: make(chan struct{}), done: make(chan struct{}),
		stored: make(chan error, 1),
		stop:   make(chan struct{}, 1), touched: make(chan struct{}, 1),
		input: newInput(), output: newOutputLog(),
		row:  j.record(r.now()),
		size: sandbox.Size{Cols: uint16(j.Cols), Rows: uint16(j.Rows)},
	}
	if j.tests != nil {
		run.input.finish() // each case has its own
	}
	if j.Stdin != nil {
		// It fits: both are bounded, and nothing was typed before.
		_ = run.input.add(j.By, []byte(*j.Stdin))
		if j.Mode == ModePipes {
			run.input.finish()
		}
	}
	return run
}

func (run *Run) starter() starter { return starter{run.job.Room, run.job.By} }

// Number is the run's number in its room.
func (run *Run) Number() int { return run.Snapshot().Number }

// Snapshot is the run as it stands.
func (run *Run) Snapshot() store.Run {
	run.mu.Lock()
	row := run.row
	run.mu.Unlock()
	if row.State != store.RunFinished {
		row.Output = run.output.size()
		row.Usage.OutputBytes = total(row.Output)
	}
	return row
}

// EraseName puts another name in the place of a participant's, if they began the run.
func (run *Run) EraseName(participant, name string) {
	run.change(func(row *store.Run) {
		if row.StartedBy == participant {
			row.StartedByName = name
		}
	})
}

// Done is closed when the run has ended, its end was reported and its box is
// gone.
func (run *Run) Done() <-chan struct{} { return run.done }

// Announced is closed when the run's end was reported, before its box is gone: its room may
// start the next one.
func (run *Run) Announced() <-chan struct{} { return run.announced }

// Output gives what was printed from the after-th chunk on, a channel that is
// closed when there is more to ask for, and whether there will be no more. Who
// asks again with after raised by what came gets everything once, whenever they
// began.
func (run *Run) Output(after int) (chunks []Chunk, changed <-chan struct{}, ended bool) {
	return run.output.since(after)
}

// Stdin types for the program, before it has begun too. It is refused when too
// much waits for the program to read, and after StdinEOF.
func (run *Run) Stdin(by string, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	run.output.answers()
	if err := run.input.add(by, p); err != nil {
		return err
	}
	signal(run.touched)
	return nil
}

// Typed counts the bytes that were typed for the program so far.
func (run *Run) Typed() int64 { return run.input.typed() }

// StdinEOF ends the input: a pipe is closed, a terminal is sent Ctrl+D.
func (run *Run) StdinEOF() error {
	if run.job.Mode == ModeTerminal {
		run.input.finishLine()
	} else {
		run.input.finish()
	}
	signal(run.touched)
	return nil
}

// Resize sets the terminal's size. Without a terminal it means nothing, and is
// no error: pages resize whatever runs.
func (run *Run) Resize(cols, rows int) error {
	size, err := terminalSize(cols, rows)
	if err != nil || run.job.Mode != ModeTerminal {
		return err
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	run.size = size
	if run.process == nil {
		return nil
	}
	if err := run.process.Resize(size); err != nil && !errors.Is(err, sandbox.ErrBoxGone) {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}

// Signal sends INT, TERM or KILL to the program.
func (run *Run) Signal(name string) error {
	sig, ok := signals[name]
	if !ok {
		return &InputError{"signal", fmt.Sprintf("there is no signal %q: use INT, TERM or KILL", name)}
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.process == nil {
		return &InputError{"signal", notExecuting}
	}
	switch err := run.process.Signal(sig); {
	case errors.Is(err, sandbox.ErrBoxGone):
		// It has ended, which its supervisor is about to notice.
		return &InputError{"signal", notExecuting}
	case err != nil:
		return fmt.Errorf("send %s to program: %w", name, err)
	}
	return nil
}

const notExecuting = "the program is not executing"

// Stop ends the run, whether it has begun or not. Stopping one that has ended
// is no error.
func (run *Run) Stop() error {
	signal(run.stop)
	return nil
}

// change changes the row and gives a copy.
func (run *Run) change(fn func(*store.Run)) store.Run {
	run.mu.Lock()
	defer run.mu.Unlock()
	fn(&run.row)
	return run.row
}

// setProcess makes the program reachable, at the size its terminal should have.
func (run *Run) setProcess(p *sandbox.Process, started sandbox.Size) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.process = p
	if p != nil && run.job.Mode == ModeTerminal && run.size != started {
		if err := p.Resize(run.size); err != nil {
			run.runner.log.Warn("resize terminal", "error", err)
		}
	}
}

func (run *Run) termSize() sandbox.Size {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.size
}

// report tells the caller of an event.
func (run *Run) report(e Event) {
	if run.job.Events != nil {
		run.job.Events(e)
	}
}
