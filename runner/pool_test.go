package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"corun/runner/sandbox"
	"corun/store"
)

// eventually waits for what has no signal of its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (p *pool) waiting() int {
	ready, _, _ := p.state()
	return ready
}

func TestPoolFillsAndRefills(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.PoolSize = 3 })
	eventually(t, "a full pool", func() bool { return r.pool.waiting() == 3 })
	before := r.Stats().Cold
	start(t, r, program("bash", "echo hi")).end()
	if got := r.Stats().Cold; got != before {
		t.Error("a box was built though some were ready")
	}
	eventually(t, "a full pool", func() bool { return r.pool.waiting() == 3 })
}

func TestPoolEmpty(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.PoolSize = 1; c.Quotas = &Quotas{100, 100, 100} })
	before := r.Stats().Cold
	var all []*recorder
	for range 6 {
		all = append(all, start(t, r, program("bash", "echo hi")))
	}
	for _, rec := range all {
		if run := rec.end(); run.Status != store.StatusExited {
			t.Errorf("got %s, %q", run.Status, run.Message)
		}
	}
	if r.Stats().Cold == before {
		t.Log("the pool kept up") // possible, if unlikely
	}
}

func TestPoolReplacesDead(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.PoolSize = 2 })
	eventually(t, "a full pool", func() bool { return r.pool.waiting() == 2 })
	r.pool.mu.Lock()
	dead := r.pool.ready[0].box
	r.pool.mu.Unlock()
	check(t, dead.Kill())
	eventually(t, "the loss", func() bool {
		r.pool.mu.Lock()
		defer r.pool.mu.Unlock()
		return r.pool.died == 1
	})
	eventually(t, "a full pool", func() bool { return r.pool.waiting() == 2 })
	for range 2 {
		if run := start(t, r, program("bash", "echo hi")).end(); run.Status != store.StatusExited {
			t.Errorf("got %s, %q", run.Status, run.Message)
		}
	}
}

// A box that dies underneath its program is told apart from a program that
// ends.
func TestBoxDies(t *testing.T) {
	r := testRunner(t)
	rec := start(t, r, program("bash", "echo before; exec sleep 1234.5"))
	rec.waitOutput(store.Stdout, "before")
	eventually(t, "the program", func() bool { return killBoxOf(t, "sleep\x001234.5\x00") })
	run := rec.end()
	if run.Status != store.StatusLost || rec.output(store.Stdout) != "before\n" {
		t.Errorf("got %s, %q; printed %q", run.Status, run.Message, rec.output(store.Stdout))
	}
}

func TestPoolCannotBuild(t *testing.T) {
	var tries atomic.Int32
	p := openPool(2, func(context.Context) (*sandbox.Box, error) {
		tries.Add(1)
		return nil, errors.New("no rights")
	}, slog.New(slog.DiscardHandler))
	eventually(t, "a second try", func() bool { return tries.Load() >= 2 })
	if _, _, failure := p.state(); failure == nil {
		t.Error("the failure is not told")
	}
	if _, err := p.take(t.Context()); err == nil {
		t.Error("a box out of nothing")
	}
	check(t, p.close())
	if _, err := p.take(t.Context()); !errors.Is(err, errPoolClosed) {
		t.Errorf("after the end: got %v", err)
	}
}

// killBoxOf kills the first process of the box in which a command line runs.
func killBoxOf(t *testing.T, commandLine string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err != nil || string(line) != commandLine {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		// Up to the one that the zygote made.
		for parent := parentOf(t, pid); !isZygote(t, parent); parent = parentOf(t, pid) {
			pid = parent
		}
		check(t, syscall.Kill(pid, syscall.SIGKILL))
		return true
	}
	return false
}

func isZygote(t *testing.T, pid int) bool {
	t.Helper()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	check(t, err)
	return string(name) == "corun-zygote\n"
}

// The zygote's end costs no run.
func TestZygoteDies(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.PoolSize = 1 })
	eventually(t, "a full pool", func() bool { return r.pool.waiting() == 1 })
	rec := start(t, r, program("bash", "echo before; read line; echo $line"))
	rec.waitOutput(store.Stdout, "before")
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	check(t, err)
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		check(t, err)
		if name, err := os.ReadFile(file); err == nil && string(name) == "corun-zygote\n" && parentOf(t, pid) == os.Getpid() {
			check(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	check(t, rec.run.Stdin("ann", []byte("after\n")))
	if run := rec.end(); run.Status != store.StatusExited || rec.output(store.Stdout) != "before\nafter\n" {
		t.Errorf("got %s, %q; printed %q", run.Status, run.Message, rec.output(store.Stdout))
	}
	for range 3 {
		if run := start(t, r, program("bash", "echo hi")).end(); run.Status != store.StatusExited {
			t.Errorf("got %s, %q", run.Status, run.Message)
		}
	}
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nPPid:")
	line, _, _ := strings.Cut(rest, "\n")
	parent, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || parent == 0 {
		t.Fatalf("process %d has no parent of ours", pid)
	}
	return parent
}
