package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestLanguagesWork: what programs do every day works under the filters.
func TestLanguagesWork(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, file, text, want string
		args                   []string
	}{
		{"python threads and processes", "main.py", `
import asyncio, multiprocessing, os, subprocess, tempfile, threading
def double(n): return n * 2
if __name__ == '__main__':
    t = threading.Thread(target=print, args=('thread',), kwargs={'flush': True}); t.start(); t.join()
    print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip())
    with multiprocessing.Pool(2) as pool: print(pool.map(double, [1, 2]))
    async def main():
        p = await asyncio.create_subprocess_exec('echo', 'async', stdout=asyncio.subprocess.PIPE)
        print((await p.communicate())[0].decode().strip())
    asyncio.run(main())
    with tempfile.TemporaryFile() as f: f.write(b'x')
`, "thread\nchild\n[2, 4]\nasync\n", []string{"python3", "main.py"}},
		{"node workers and processes", "main.js", `
const { Worker } = require('worker_threads'), { execFileSync } = require('child_process'), net = require('net');
new Worker("require('worker_threads').parentPort.postMessage('worker')", { eval: true }).on('message', m => {
  console.log(m);
  console.log(execFileSync('echo', ['child'], { encoding: 'utf8' }).trim());
  const server = net.createServer(c => c.end('loopback')).listen(0, '127.0.0.1', () =>
    net.connect(server.address().port, '127.0.0.1').on('data', d => { console.log(String(d)); server.close(); }));
});
`, "worker\nchild\nloopback\n", []string{"node", "main.js"}},
		{"bash pipes", "dir/main.sh", "printf '%s\\n' b a | sort | while read -r x; do echo \"<$x>\"; done; cat <<< here; wc -c < <(printf abc)",
			"<a>\n<b>\nhere\n3\n", []string{"bash", "dir/main.sh"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := spec()
			r := runIn(t, s, soon, []File{{Path: c.file, Content: []byte(c.text)}}, c.args...)
			if r.stdout != c.want || r.exit != (Exit{}) || r.err != nil {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	box := build(t, spec())
	p, err := box.Start(t.Context(), Command{
		Args: []string{"bash", "-c", `stty size; tty; read -r x; echo "<$x>"; read -r y; stty size; echo set; sleep 1000`},
		Env:  testEnv, Terminal: &Size{Cols: 91, Rows: 23},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(p.PTY())
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
	}
	expect("23 91")
	expect("/dev/pts/0")
	if _, err := io.WriteString(p.PTY(), "typed\n"); err != nil {
		t.Fatal(err)
	}
	expect("typed") // the echo
	expect("<typed>")
	if err := p.Resize(Size{Cols: 40, Rows: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.PTY(), "\n"); err != nil {
		t.Fatal(err)
	}
	for line := ""; strings.TrimSpace(line) != "10 40"; { // the echo may come first
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	expect("set")
	if _, err := p.PTY().Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	exit, err := p.Wait(t.Context())
	if err != nil || exit.Signal != syscall.SIGINT {
		t.Errorf("%+v %v", exit, err)
	}
	if err := box.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the terminal's end: %v", err)
	}
}

// A terminal is there as long as the box, also while a program has closed all of it.
func TestTerminalClosedForAMoment(t *testing.T) {
	t.Parallel()
	box := build(t, spec())
	p, err := box.Start(t.Context(), Command{
		Args: []string{"bash", "-c", `echo before; exec 0<&- 1>&- 2>&-; sleep 0.3; echo after >/dev/tty; sleep 1000`},
		Env:  testEnv, Terminal: &Size{Cols: 91, Rows: 23},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(p.PTY())
	for _, want := range []string{"before", "after"} {
		if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
	}
}

// TestStartFailures: an error of exec has its reason.
func TestStartFailures(t *testing.T) {
	t.Parallel()
	box := build(t, spec())
	if _, err := box.Start(t.Context(), Command{Args: []string{"/no/such"}, Env: testEnv}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v", err)
	}
	if _, err := box.Start(t.Context(), Command{Args: []string{"true"}, Env: testEnv}); !errors.Is(err, ErrUsed) {
		t.Errorf("%v", err)
	}
	killed := build(t, spec())
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	<-killed.Exited()
	if _, err := killed.Start(t.Context(), Command{Args: []string{"true"}, Env: testEnv}); err == nil {
		t.Error("a dead box took a command")
	}
	for _, path := range []string{"", "/etc/x", "../x", "a/../../x", "a//b", "a\x00b", ".."} {
		if _, err := (Command{Args: []string{"true"}, Files: []File{{Path: path}}}).encode(false); err == nil {
			t.Errorf("path %q was taken", path)
		}
	}
}

// TestOutputSurvivesKill: what was written before the kill can be read after.
func TestOutputSurvivesKill(t *testing.T) {
	t.Parallel()
	box := build(t, spec())
	p, err := box.Start(t.Context(), Command{Args: []string{"bash", "-c", "echo kept; echo ready >&2; sleep 1000"}, Env: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stderr().Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := box.Kill(); err != nil {
		t.Fatal(err)
	}
	<-box.Exited()
	if out, err := io.ReadAll(p.Stdout()); err != nil || string(out) != "kept\n" {
		t.Errorf("%q %v", out, err)
	}
}

// TestManyBoxes: boxes that are made, cancelled and destroyed at the same time
// leave nothing, not even a descriptor.
func TestManyBoxes(t *testing.T) {
	first, err := setup.launcher.Build(t.Context(), spec()) // with it comes the zygote, which stays
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	setup.launcher.menders.Wait() // who prepare the next one
	before := descriptors(t)
	const boxes = 100
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range boxes {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			building, stop := context.WithCancel(ctx)
			defer stop()
			if i%2 == 1 {
				// Somewhere in the middle of it.
				time.AfterFunc(time.Duration(i)*200*time.Microsecond, stop)
			}
			box, err := setup.launcher.Build(building, spec())
			if err != nil {
				if i%2 == 0 || !errors.Is(err, context.Canceled) {
					t.Errorf("box %d: %v", i, err)
				}
				return
			}
			if i%3 == 0 {
				if p, err := box.Start(ctx, Command{Args: []string{"true"}, Env: testEnv}); err != nil {
					t.Errorf("box %d: %v", i, err)
				} else if exit, err := p.Wait(ctx); err != nil || exit != (Exit{}) {
					t.Errorf("box %d: %+v %v", i, exit, err)
				}
			}
			if err := box.Destroy(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	setup.launcher.menders.Wait()
	left, err := setup.launcher.Leftovers()
	if err != nil || left.Total() != 0 {
		t.Errorf("left: %+v %v", left, err)
	}
	// What was given up in the middle may still be closing: a leak stays.
	after := descriptors(t)
	for end := time.Now().Add(soon); after > before && time.Now().Before(end); after = descriptors(t) {
		time.Sleep(10 * time.Millisecond)
	}
	if after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestLeftoversAreRemoved: a launcher of the same name takes away what the one
// before it did not.
func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	first, err := Open(t.Context(), Config{Name: "corun-leftovers-test"})
	if err != nil {
		t.Fatal(err)
	}
	box, err := first.Build(t.Context(), spec())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err == nil { // which keeps it from making others, too
		t.Error("a launcher is closed while it has a box")
	}
	second, err := Open(t.Context(), Config{Name: "corun-leftovers-test"})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-box.Exited():
	case <-time.After(soon):
		t.Error("the box lives on")
	}
	if left, err := second.Leftovers(); err != nil || left.Total() != 0 {
		t.Errorf("left: %+v %v", left, err)
	}
	_ = box.Destroy(t.Context()) // its cgroup has been taken away: only descriptors are left
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosedLauncher(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), Config{Name: "corun-closed-test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Build(t.Context(), spec()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func BenchmarkBuild(b *testing.B) {
	parts := make(map[string][]time.Duration)
	var order []string
	note := func(part string, took time.Duration) {
		if parts[part] == nil {
			order = append(order, part)
		}
		parts[part] = append(parts[part], took)
	}
	setup.launcher.lapped = note
	defer func() { setup.launcher.lapped = nil }()
	for b.Loop() {
		start := time.Now()
		box, err := setup.launcher.Build(context.Background(), spec())
		if err != nil {
			b.Fatal(err)
		}
		note("build", time.Since(start))
		b.StopTimer()
		start = time.Now()
		if err := box.Destroy(context.Background()); err != nil {
			b.Fatal(err)
		}
		note("destroy", time.Since(start))
		b.StartTimer()
	}
	for _, part := range order {
		slices.Sort(parts[part])
		b.ReportMetric(float64(parts[part][len(parts[part])/2].Microseconds()), "µs-p50-"+strings.ReplaceAll(part, " ", "-"))
	}
}

// BenchmarkStart measures from the command to its exec.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		box, err := setup.launcher.Build(context.Background(), spec())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		_, err = box.Start(context.Background(), Command{Args: []string{"true"}, Env: testEnv})
		b.StopTimer()
		if err := errors.Join(err, box.Destroy(context.Background())); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// A program can open its streams again by their names, whatever they are.
func TestStreamsByName(t *testing.T) {
	t.Parallel()
	r := runIn(t, spec(), soon, nil, "bash", "-c", "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin")
	if r.stdout != "out\n" || r.stderr != "err\n" || r.exit != (Exit{}) {
		t.Errorf("%q %q %+v %v", r.stdout, r.stderr, r.exit, r.err)
	}
}

// What waits for the next box can be killed, as anything, and that box is made all the
// same; with other limits than the last it has its own.
func TestBlank(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), Config{Name: "corun-blank-test"})
	if err != nil {
		t.Fatal(err)
	}
	make := func(s Spec) {
		box, err := l.Build(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
		l.menders.Wait()
		if l.spare == nil {
			t.Fatal("no box is prepared")
		}
	}
	make(spec())
	if err := killProcess(l.spare.custody.init); err != nil {
		t.Error(err)
	}
	<-l.spare.custody.gone
	make(spec())
	for _, memory := range []int64{32 << 20, 512 << 20} { // less than was prepared for, and more
		s := spec()
		s.Limits.MemoryBytes = memory
		box, err := l.Build(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		name := "memory.limit_in_bytes"
		if l.h.unified {
			name = "memory.max"
		}
		if limit, err := readNumber(filepath.Join(l.h.memoryFolder("corun-blank-test/"+box.id), name)); err != nil || limit != memory {
			t.Errorf("the limit is %d, %v; want %d", limit, err, memory)
		}
		if err := box.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left, err := l.Leftovers(); err != nil || left.Total() > 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A program that may have one process gets it: what init does beside does not count.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Limits.Processes = 1
	for range 3 {
		if r := runIn(t, s, time.Minute, nil, "echo", "one"); r.stdout != "one\n" || r.exit != (Exit{}) {
			t.Errorf("%+v", r)
		}
	}
}

// Streams that are in messages to nobody end with the box, as others do.
func TestStreamsInMessages(t *testing.T) {
	box := build(t, spec())
	p, err := box.Start(t.Context(), Command{Env: testEnv, Args: []string{"python3", "-c", `
import os, socket, time
if os.fork() == 0:
    a, b = socket.socketpair()
    for s in a, b:
        socket.send_fds(s, [b"x"], [a.fileno(), b.fileno(), 1, 2])
    print("sent", flush=True)
    time.sleep(1000)
time.sleep(1000)
`}})
	if err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	if _, err := io.ReadFull(p.Stdout(), said); err != nil {
		t.Fatal(err)
	}
	if err := box.Kill(); err != nil {
		t.Fatal(err)
	}
	<-box.Exited()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, p.Stdout())
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("stdout has not ended though the box has")
	}
}

// Whoever comes second to take a box away has nothing to do.
func TestRemoveTwice(t *testing.T) {
	t.Parallel()
	for range 5 {
		box := build(t, spec())
		c := box.keep.(*custody)
		var errs [2]error
		var both sync.WaitGroup
		for i := range errs {
			both.Go(func() { errs[i] = c.remove(t.Context()) })
		}
		both.Wait()
		if err := errors.Join(append(errs[:], box.Kill())...); err != nil {
			t.Error(err)
		}
	}
}

// A zygote that does not answer is replaced.
func TestStuckZygote(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), Config{Name: "corun-stuck-test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	box, err := l.Build(t.Context(), spec())
	if err != nil {
		t.Fatal(err)
	}
	l.zygote.mu.Lock()
	stuck := l.zygote.process.Process.Pid
	err = syscall.Kill(stuck, syscall.SIGSTOP)
	l.zygote.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Build(t.Context(), spec())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Box{box, second} {
		if err := b.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
