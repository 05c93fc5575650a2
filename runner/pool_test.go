package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// waiting is how many boxes without a runtime wait.
func (r *Runner) waiting() int { return r.pools.of(r.plainKind()).Ready }

func TestPoolFillsAndRefills(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.PoolSize = 3 })
	eventually(t, "a full pool", func() bool { return r.waiting() == 3 })
	before := r.Stats().Cold
	start(t, r, program("bash", "echo hi")).end()
	if got := r.Stats().Cold; got != before {
		t.Error("a box was built though some were ready")
	}
	eventually(t, "a full pool", func() bool { return r.waiting() == 3 })
}

func TestPoolEmpty(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.PoolSize = 1; c.Quotas = &Quotas{100, 100, 100, 100} })
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
	eventually(t, "a full pool", func() bool { return r.waiting() == 2 })
	r.pools.mu.Lock()
	plain := r.pools.kinds[r.plainKind()].pool
	r.pools.mu.Unlock()
	plain.mu.Lock()
	dead := plain.ready[0].box
	plain.mu.Unlock()
	check(t, dead.Kill())
	eventually(t, "the loss", func() bool { return plain.stats().Died == 1 })
	eventually(t, "a full pool", func() bool { return r.waiting() == 2 })
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

// A program that nobody has noticed yet when its box dies is run again, once; one that has
// shown or read something is not.
func TestRunAgain(t *testing.T) {
	r := testRunner(t)
	kill := func(arg string) {
		eventually(t, "the program", func() bool { return killBoxOf(t, "sleep\x00"+arg+"\x00") })
	}
	typed := func(rec *recorder) { check(t, rec.run.Stdin("ann", []byte("x\n"))) }
	for name, c := range map[string]struct {
		code    string
		sleep   string
		kills   int
		before  func(*recorder)
		attempt int
		status  store.Status
		prints  string
	}{
		"unnoticed":    {"sleep 1235.1 & read x; echo $x", "1235.1", 1, nil, 2, store.StatusExited, "late\n"},
		"twice":        {"exec sleep 1235.2", "1235.2", 2, nil, 2, store.StatusLost, ""},
		"after output": {"echo a; exec sleep 1235.3", "1235.3", 1, func(rec *recorder) { rec.waitOutput(store.Stdout, "a") }, 1, store.StatusLost, "a\n"},
		"after input":  {"read x; exec sleep 1235.4", "1235.4", 1, typed, 1, store.StatusLost, ""},
		"input unread": {"exec sleep 1235.5", "1235.5", 1, typed, 1, store.StatusLost, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rec := start(t, r, program("bash", c.code))
			if c.before != nil {
				c.before(rec)
			}
			for n := range c.kills {
				kill(c.sleep)
				if n+1 < c.attempt {
					rec.wait("the second attempt", func() bool { return rec.events[len(rec.events)-1].Run.Attempt == 2 })
				}
			}
			if c.prints == "late\n" {
				check(t, rec.run.Stdin("ann", []byte("late\n")))
			}
			run := rec.end()
			if run.Status != c.status || run.Attempt != c.attempt || rec.output(store.Stdout) != c.prints {
				t.Errorf("attempt %d: %s, %q; printed %q", run.Attempt, run.Status, run.Message, rec.output(store.Stdout))
			}
		})
	}
}

// Of what is told of a run the store knows before.
func TestStoredBeforeTold(t *testing.T) {
	r := testRunner(t)
	req := program("c", "int main() { return 0; }")
	req.Room = newRoom(t, r)
	told := 0
	over := make(chan struct{})
	req.Events = func(e Event) {
		if e.Kind == EventOutput {
			return
		}
		told++
		row, err := r.store.Run(context.Background(), req.Room, e.Run.Number)
		if err != nil || row.State != e.Run.State || row.Stage != e.Run.Stage || row.Status != e.Run.Status {
			t.Errorf("event %d tells %s %s %s, the store has %+v (%v)", e.Kind, e.Run.State, e.Run.Stage, e.Run.Status, row, err)
		}
		if e.Kind == EventExited {
			close(over)
		}
	}
	_, err := r.Start(t.Context(), req)
	check(t, err)
	<-over
	if told < 5 {
		t.Errorf("%d events", told)
	}
}

func TestPoolCannotBuild(t *testing.T) {
	var tries atomic.Int32
	ps := openPools(1<<30, func(context.Context, kind) (*sandbox.Box, error) {
		tries.Add(1)
		return nil, errors.New("no rights")
	}, slog.New(slog.DiscardHandler), time.Now)
	k := kind{mode: stageRun}
	ps.keep(k, 2)
	eventually(t, "a second try", func() bool { return tries.Load() >= 2 })
	if ps.of(k).Failure == nil {
		t.Error("the failure is not told")
	}
	if _, err := ps.take(t.Context(), k); err == nil {
		t.Error("a box out of nothing")
	}
	check(t, ps.close())
	if _, err := ps.take(t.Context(), k); !errors.Is(err, errPoolClosed) {
		t.Errorf("after the end: got %v", err)
	}
}

func TestShare(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		budget int64
		wants  []want
		sizes  []int
	}{
		"room for all":                     {1000 * mib, []want{{2, 2, 10 * mib, 0}, {1, 1, 100 * mib, 0}}, []int{2, 1}},
		"the large one has no room":        {50 * mib, []want{{2, 2, 10 * mib, 0}, {1, 1, 100 * mib, 0}}, []int{2, 0}},
		"one each comes first":             {30 * mib, []want{{2, 2, 10 * mib, 0}, {2, 2, 10 * mib, 0}}, []int{2, 1}},
		"what is asked for comes first":    {10 * mib, []want{{1, 1, 10 * mib, 0}, {1, 1, 10 * mib, 0.1}}, []int{0, 1}},
		"demand takes what is left":        {100 * mib, []want{{50, 2, 10 * mib, 3}, {2, 2, 10 * mib, 0}}, []int{8, 2}},
		"demand does not drive others out": {40 * mib, []want{{50, 2, 10 * mib, 3}, {2, 2, 10 * mib, 0}}, []int{2, 2}},
		"nothing":                          {0, []want{{2, 2, 10 * mib, 0}}, []int{0}},
	} {
		if got := share(c.budget, c.wants); !slices.Equal(got, c.sizes) {
			t.Errorf("%s: got %v, want %v", name, got, c.sizes)
		}
	}
}

// More wait when they are asked for often, and fewer again when nobody asks.
func TestPoolFollowsDemand(t *testing.T) {
	var mu sync.Mutex
	now := time.Unix(0, 0)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	ps := openPools(1<<30, func(ctx context.Context, _ kind) (*sandbox.Box, error) {
		<-ctx.Done() // sizes are looked at, and no box
		return nil, ctx.Err()
	}, slog.New(slog.DiscardHandler), clock)
	defer func() { check(t, ps.close()) }()
	k := kind{language: "python", mode: ModePipes}
	ps.keep(k, 1)
	ps.kinds[k].pool.count(func() { ps.kinds[k].pool.BuildTime = 200 * time.Millisecond })
	if got := ps.of(k).Wanted; got != 1 {
		t.Errorf("%d are wanted before anybody asks", got)
	}
	for range 10 * 60 { // ten a second for a minute
		ps.ready(k)
		pass(100 * time.Millisecond)
	}
	// 10 a second, each 0.22 s to replace, three times that, and one in any case.
	if got := ps.of(k).Wanted; got < 6 || got > 9 {
		t.Errorf("%d are wanted while ten a second come", got)
	}
	pass(10 * time.Minute)
	eventually(t, "the size to fall", func() bool { return ps.of(k).Wanted == 1 })
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
	eventually(t, "a full pool", func() bool { return r.waiting() == 1 })
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

// Metrics know kinds by language and mode: two that have both in common would be told twice.
func TestMergedStats(t *testing.T) {
	failure := errors.New("no box")
	got := merged([]PoolStats{
		{Mode: "compile", Ready: 1},
		{Mode: "run", Wanted: 2, Ready: 1, Building: 1, Taken: 3, Missed: 1, Built: 4, BuildTime: 2, BuildTimes: 8, Bytes: 10},
		{Mode: "run", Wanted: 1, Ready: 1, Died: 2, Built: 1, BuildTime: 5, BuildTimes: 5, Bytes: 4, Failure: failure},
		{Language: "python", Mode: "pipes", Ready: 1},
		{Language: "python", Mode: "terminal", Ready: 2},
	})
	want := []PoolStats{
		{Mode: "compile", Ready: 1},
		{Mode: "run", Wanted: 3, Ready: 2, Building: 1, Taken: 3, Missed: 1, Died: 2, Built: 5, BuildTime: 5, BuildTimes: 13, Bytes: 10, Failure: failure},
		{Language: "python", Mode: "pipes", Ready: 1},
		{Language: "python", Mode: "terminal", Ready: 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
