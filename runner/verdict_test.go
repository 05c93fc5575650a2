package runner

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"corun/runner/sandbox"
	"corun/store"
)

func TestJudge(t *testing.T) {
	segv := sandbox.Exit{Signal: syscall.SIGSEGV}
	killed := sandbox.Exit{Signal: syscall.SIGKILL}
	broken := errors.New("box is gone")
	for name, c := range map[string]struct {
		e     ending
		want  store.Status
		wants string // in the message
	}{
		"exit 0":                      {ending{began: true}, store.StatusExited, "exit code 0"},
		"exit 3":                      {ending{began: true, exit: sandbox.Exit{Code: 3}}, store.StatusExited, "exit code 3"},
		"a signal of its own":         {ending{began: true, exit: segv}, store.StatusSignaled, "SIGSEGV"},
		"killed by itself":            {ending{began: true, exit: killed}, store.StatusSignaled, "SIGKILL"},
		"wall":                        {ending{began: true, cause: causeWall, exit: killed, mode: ModePipes}, store.StatusTimeout, "10 s"},
		"wall in a terminal":          {ending{began: true, cause: causeWall, exit: killed, mode: ModeTerminal}, store.StatusTimeout, "10 min"},
		"idle":                        {ending{began: true, cause: causeIdle, exit: killed}, store.StatusTimeout, "2 min"},
		"CPU":                         {ending{began: true, cause: causeCPU, exit: killed}, store.StatusCPULimit, "10 s"},
		"CPU of one process":          {ending{began: true, exit: sandbox.Exit{Signal: syscall.SIGXCPU}}, store.StatusCPULimit, "10 s"},
		"SIGXCPU of its own":          {ending{began: true, exit: sandbox.Exit{Signal: syscall.SIGXCPU}, measured: true}, store.StatusSignaled, "SIGXCPU"},
		"output":                      {ending{began: true, cause: causeOutput, exit: killed}, store.StatusOutputLimit, "8 MiB"},
		"memory":                      {ending{began: true, cause: causeMemory, exit: killed, oomKills: 1}, store.StatusMemoryLimit, "256 MiB"},
		"memory before the event":     {ending{began: true, exit: killed, oomKills: 1}, store.StatusMemoryLimit, "256 MiB"},
		"memory of a child":           {ending{began: true, oomKills: 1}, store.StatusMemoryLimit, "256 MiB"},
		"memory, then the wall clock": {ending{began: true, cause: causeWall, oomKills: 1}, store.StatusMemoryLimit, "256 MiB"},
		"memory that took the box":    {ending{began: true, err: broken, oomKills: 1}, store.StatusMemoryLimit, "256 MiB"},
		"stopped":                     {ending{began: true, cause: causeStopped, exit: killed}, store.StatusStopped, "Stopped"},
		"stopped in the queue":        {ending{cause: causeStopped}, store.StatusStopped, "before it began"},
		"shutdown":                    {ending{began: true, cause: causeShutdown, exit: killed}, store.StatusLost, "kept"},
		"shutdown in the queue":       {ending{cause: causeShutdown}, store.StatusLost, "before the program could begin"},
		"the box died":                {ending{began: true, err: broken}, store.StatusLost, "box died"},
		"stopped as the box died":     {ending{began: true, cause: causeStopped, err: broken}, store.StatusStopped, "Stopped"},
		"never began":                 {ending{err: broken, language: "python"}, store.StatusFailed, "box is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			c.e.limits = DefaultLimits()
			got := judge(c.e)
			if got.status != c.want || !strings.Contains(got.message, c.wants) {
				t.Errorf("got %s, %q; want %s with %q", got.status, got.message, c.want, c.wants)
			}
			if hasCode := got.exitCode != nil; hasCode != (c.want == store.StatusExited) {
				t.Errorf("exit code given: %v", hasCode)
			}
			if hasSignal := got.signal != nil; hasSignal != (c.want == store.StatusSignaled) {
				t.Errorf("signal given: %v", hasSignal)
			}
		})
	}
}
