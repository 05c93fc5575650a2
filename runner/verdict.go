package runner

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"corun/runner/sandbox"
	"corun/store"
)

// cause is why the runner ended a program that had not ended by itself. The
// first one holds: what happens to a program that is being killed is no news.
type cause int

const (
	causeNone cause = iota // it ended by itself
	causeWall
	causeIdle
	causeCPU
	causeMemory
	causeOutput
	causeStopped
	causeShutdown
)

// ending is all that is known when a run is over.
type ending struct {
	cause   cause
	compile bool // it was the compile stage's
	// noProgram is why there is nothing that could be run, though the compiler ended well.
	noProgram error
	began     bool         // the program was executed
	err       error        // why it could not begin, or how its box failed
	exit      sandbox.Exit // when err is nil
	oomKills  int          // by the kernel's counter
	forks     int          // refused by the kernel
	measured  bool         // whether the kernel knows what the box used: not without a cgroup
	mode      string
	limits    Limits
	language  string
}

// verdict is what people are told.
type verdict struct {
	status   store.Status
	exitCode *int
	signal   *string
	message  string
}

// judge gives the verdict. Refused forks end no run, but say why one went wrong. What a
// compiler makes of a program by itself is that it cannot be compiled, however it says so.
func judge(e ending) verdict {
	v := judgeEnd(e)
	if e.began && e.forks > 0 {
		v.message += fmt.Sprintf(" It tried to have more than the %d processes and threads that %s has.", e.limits.Box.Processes, e.whole())
	}
	if e.noProgram != nil {
		v.status, v.exitCode, v.message = store.StatusCompileFailed, nil, fmt.Sprintf("There is no program: %v.", e.noProgram)
	}
	if e.compile && (v.status == store.StatusSignaled || v.status == store.StatusExited && *v.exitCode != 0) {
		v.status = store.StatusCompileFailed
	}
	return v
}

// subject is who did it, in words, and whole what it is a part of.
func (e ending) subject() string { return "The " + e.noun() }

func (e ending) noun() string {
	if e.compile {
		return "compiler"
	}
	return "program"
}

func (e ending) whole() string {
	if e.compile {
		return "a compile stage"
	}
	return "a run"
}

// judgeEnd says what ended the run. Memory is judged by the kernel's counter alone, and
// before how the program ended: one whose child was killed for it may well have
// exited with a code of its own.
func judgeEnd(e ending) verdict {
	switch {
	case e.cause == causeShutdown && !e.began:
		return verdict{status: store.StatusLost, message: "The server ended before the program could begin."}
	case e.cause == causeShutdown:
		return verdict{status: store.StatusLost, message: "The server ended while the program ran; its output until then is kept."}
	case e.cause == causeStopped && !e.began:
		return verdict{status: store.StatusStopped, message: "Stopped before it began."}
	case e.cause == causeStopped:
		return verdict{status: store.StatusStopped, message: "Stopped."}
	case !e.began:
		return verdict{status: store.StatusFailed, message: fmt.Sprintf("The %s %s could not be started: %v.", e.language, e.noun(), e.err)}
	case e.oomKills > 0 || e.cause == causeMemory:
		return verdict{status: store.StatusMemoryLimit, message: fmt.Sprintf("%s needed more than the %s of memory that %s has.", e.subject(), byteWords(e.limits.Box.MemoryBytes), e.whole())}
	}
	switch e.cause {
	case causeWall:
		return verdict{status: store.StatusTimeout, message: fmt.Sprintf("%s had not ended after %s, the longest that %s may take.", e.subject(), durationWords(int64(e.limits.wall(e.mode))), e.whole())}
	case causeIdle:
		return verdict{status: store.StatusTimeout, message: fmt.Sprintf("Nothing was typed or printed for %s, so the run was ended.", durationWords(int64(e.limits.Idle)))}
	case causeCPU:
		return verdict{status: store.StatusCPULimit, message: fmt.Sprintf("%s used up the %s of processor time that %s has.", e.subject(), durationWords(int64(e.limits.CPUTime)), e.whole())}
	case causeOutput:
		return verdict{status: store.StatusOutputLimit, message: fmt.Sprintf("%s printed more than the %s that are kept of %s.", e.subject(), byteWords(e.limits.OutputBytes), e.whole())}
	}
	if e.err != nil {
		return verdict{status: store.StatusLost, message: "The box died underneath the program; the output until then is kept."}
	}
	if e.exit.Signal == syscall.SIGXCPU && !e.measured {
		// The process's own limit, which stands in for the cgroup's accounting.
		return verdict{status: store.StatusCPULimit, message: fmt.Sprintf("%s used up the %s of processor time that each of its processes has.", e.subject(), durationWords(int64(e.limits.CPUTime)))}
	}
	if e.exit.Signal != 0 {
		name := signalName(e.exit.Signal)
		return verdict{status: store.StatusSignaled, signal: &name, message: fmt.Sprintf("%s was ended by %s (%s).", e.subject(), name, e.exit.Signal)}
	}
	code := e.exit.Code
	return verdict{status: store.StatusExited, exitCode: &code, message: fmt.Sprintf("%s ended with exit code %d.", e.subject(), code)}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// signals are those that people may send.
var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}

// apply writes the verdict into a run's row.
func (v verdict) apply(row *store.Run, now time.Time) {
	now = now.UTC()
	row.State, row.Stage, row.FinishedAt = store.RunFinished, "", &now
	row.Status, row.ExitCode, row.Signal, row.Message = v.status, v.exitCode, v.signal, v.message
}
