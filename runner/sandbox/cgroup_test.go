package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests hold for both versions of cgroups. They need of the image no more
// than a shell, so that they also run in the small machine of make test-cgroup2.

// probeFile is testdata/probe.c, compiled; $CORUN_TEST_PROBE names one that is.
var probeFile = sync.OnceValues(func() ([]byte, error) {
	if name := os.Getenv("CORUN_TEST_PROBE"); name != "" {
		return os.ReadFile(name)
	}
	dir, err := os.MkdirTemp("", "corun-probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "probe")
	if out, err := exec.Command("gcc", "-static", "-O1", "-o", name, "testdata/probe.c").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile testdata/probe.c: %w\n%s", err, out)
	}
	return os.ReadFile(name)
})

func probe(t testing.TB) []File {
	t.Helper()
	content, err := probeFile()
	if err != nil {
		t.Fatal(err)
	}
	return []File{{Path: "probe", Content: content, Mode: 0o755}}
}

// startProbe lets it run in a box.
func startProbe(t testing.TB, s Spec, args ...string) (*Box, *Process) {
	t.Helper()
	box := build(t, s)
	p, err := box.Start(t.Context(), Command{Args: append([]string{"/work/probe"}, args...), Env: testEnv, Files: probe(t)})
	if err != nil {
		t.Fatal(err)
	}
	return box, p
}

// groupFile reads a file of a box's group, of one controller.
func groupFile(t testing.TB, box *Box, controller, file string) string {
	t.Helper()
	h := setup.launcher.h
	group := setup.launcher.cfg.Name + "/" + box.id
	path := filepath.Join(h.root, group, file)
	if !h.unified {
		path = filepath.Join(h.root, controller, group, file)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func groupKey(t testing.TB, box *Box, controller, file, key string) string {
	t.Helper()
	for line := range strings.Lines(groupFile(t, box, controller, file)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("%s has no %s", file, key)
	return ""
}

func await(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Fatalf("nothing was said of %s", what)
	}
}

// awaitUsage waits for what the kernel counts, which has no event.
func awaitUsage(t testing.TB, box *Box, what string, done func(Usage) bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		u, err := box.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if done(u) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come: %+v", what, u)
		}
	}
}

// TestMemoryLimit: whoever in a box takes too much memory, of whatever kind, all of
// the box dies, and it is known why.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"program": {"hog"}, "child": {"child-hogs"}, "scratch": {"fill-and-hog", "40"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec()
			s.Limits.MemoryBytes = 64 << 20
			box, p := startProbe(t, s, args...)
			await(t, box.OOM(), "the lack of memory")
			await(t, box.Exited(), "the end")
			if _, err := p.Wait(t.Context()); err != nil && !errors.Is(err, ErrBoxGone) {
				t.Error(err)
			}
			u, err := box.Usage()
			if err != nil || u.OOMKills == 0 || u.MemoryPeak > s.Limits.MemoryBytes || u.MemoryPeak < s.Limits.MemoryBytes/2 {
				t.Errorf("usage is %+v (%v)", u, err)
			}
			if setup.launcher.h.unified {
				// Not this process's doing, but the kernel's.
				if n := groupKey(t, box, "memory", "memory.events", "oom_group_kill"); n != "1" {
					t.Errorf("the kernel killed %s groups", n)
				}
			}
		})
	}
}

// TestRemoteMemory: the lack of memory is told to who asked another process for the
// box, also when the box's end is noticed first.
func TestRemoteMemory(t *testing.T) {
	files := probe(t)
	l, served := serveLauncher(t, "corun-sandbox-remote")
	s := spec()
	s.Limits.MemoryBytes = 32 << 20
	for range 5 {
		box, err := l.Build(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := box.Start(t.Context(), Command{Args: []string{"/work/probe", "hog"}, Env: testEnv, Files: files}); err != nil {
			t.Fatal(err)
		}
		await(t, box.Exited(), "the end")
		select {
		case <-box.OOM(): // said before the end, or never
		default:
			t.Error("the end was told without its reason")
		}
		if err := box.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(l.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// TestNoSwap: what does not fit in the memory does not go to swap either. It proves
// the most where there is swap.
func TestNoSwap(t *testing.T) {
	t.Parallel()
	if !setup.launcher.h.limitsSwap() {
		t.Skip("this kernel does not account swap by cgroup")
	}
	s := spec()
	s.Limits.MemoryBytes = 32 << 20
	r := runIn(t, s, soon, probe(t), "/work/probe", "touch", "48")
	if r.stdout != "" || r.usage.OOMKills == 0 {
		t.Errorf("48 MiB fit in 32 MiB: %+v", r)
	}
	await(t, r.box.OOM(), "the lack of memory")
	if setup.launcher.h.unified {
		if most := groupFile(t, r.box, "", "memory.swap.max"); most != "0" {
			t.Errorf("memory.swap.max is %s", most)
		}
	} else if most, want := groupFile(t, r.box, "memory", "memory.memsw.limit_in_bytes"), groupFile(t, r.box, "memory", "memory.limit_in_bytes"); most != want ||
		setup.launcher.gvisor == nil && most != fmt.Sprint(s.Limits.MemoryBytes) {
		t.Errorf("memory and swap may be %s", most)
	}
}

// TestAccounting: a program that keeps to its limits is measured, not killed.
func TestAccounting(t *testing.T) {
	t.Parallel()
	r := runIn(t, spec(), soon, probe(t), "/work/probe", "touch", "48")
	if r.stdout != "touched\n" || r.exit != (Exit{}) || r.err != nil {
		t.Errorf("%+v", r)
	}
	if u := r.usage; u.CPU == 0 || u.MemoryPeak < 47<<20 || setup.launcher.gvisor == nil && u.MemoryPeak < 48<<20 || u.MemoryPeak > 96<<20 || u.OOMKills != 0 || u.ForksRefused != 0 {
		t.Errorf("usage is %+v", u)
	}
	select {
	case <-r.box.OOM():
		t.Error("memory is said to have run out")
	default:
	}
}

// TestProcessCount: the program has exactly its number of processes.
func TestProcessCount(t *testing.T) {
	t.Parallel()
	r := runIn(t, spec(), soon, probe(t), "/work/probe", "count")
	if r.stdout != fmt.Sprintln(DefaultLimits().Processes) || r.usage.ForksRefused == 0 {
		t.Errorf("%+v", r)
	}
}

// TestQuota: who spins is held back.
func TestQuota(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Limits.CPUs = 0.25
	box, _ := startProbe(t, s, "spin")
	for deadline := time.Now().Add(soon); groupKey(t, box, "cpu", "cpu.stat", "nr_throttled") == "0"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is never held back")
		}
	}
	awaitUsage(t, box, "the use of the processor", func(u Usage) bool { return u.CPU > 0 })
}

// TestKillByGroup: a fork bomb does not outrun the second means of killing a box.
func TestKillByGroup(t *testing.T) {
	t.Parallel()
	box, _ := startProbe(t, spec(), "bomb")
	awaitUsage(t, box, "the limit on processes", func(u Usage) bool { return u.ForksRefused > 0 })
	if err := setup.launcher.h.kill(setup.launcher.cfg.Name + "/" + box.id); err != nil {
		t.Fatal(err)
	}
	await(t, box.Exited(), "the end")
	if err := setup.launcher.h.kill("corun-no-such-group/box-1"); err != nil {
		t.Errorf("a group that is not there: %v", err)
	}
}

// TestBoxSeesNoGroups: a program does not learn where its group is.
func TestBoxSeesNoGroups(t *testing.T) {
	t.Parallel()
	r := runIn(t, spec(), soon, nil, "cat", "/proc/self/cgroup")
	lines := strings.Fields(r.stdout)
	if len(lines) == 0 || setup.launcher.h.unified && !slices.Equal(lines, []string{"0::/"}) {
		t.Errorf("%q %q", r.stdout, r.stderr)
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, ":/") {
			t.Errorf("it sees %s", line)
		}
	}
}

// TestFindings: doctor says which groups are used and that boxes get no swap.
func TestFindings(t *testing.T) {
	t.Parallel()
	h := setup.launcher.h
	want := map[string]string{"cgroup": h.String()}
	if h.limitsSwap() {
		want["swap"] = "boxes get none"
	}
	for _, f := range Check(t.Context()) {
		if detail, ok := want[f.Name]; ok && f.OK && strings.HasPrefix(f.Detail, detail) {
			delete(want, f.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
	if err := (hierarchy{root: filepath.Join(t.TempDir(), "none")}).writable(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a hierarchy that is not there: %v", err)
	}
}

// roles are what this test program does when another test starts it, by
// $CORUN_TEST_ROLE.
var roles = map[string]func(context.Context) error{"leave": leave, "delegated": delegated, "rootless": rootless, "mounted": mounted}

// helper starts this test program in a role, and ends it with the test.
func helper(t *testing.T, role string, wrap []string, attr syscall.SysProcAttr) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(wrap), self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CORUN_TEST_ROLE="+role, "CORUN_TEST_ROOTFS="+setup.rootfs)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &attr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd, bufio.NewReader(out)
}

const leftName = "corun-sandbox-left"

// leave makes a box with a fork bomb that does not end with its launcher, and says
// so.
func leave(ctx context.Context) error {
	l, err := Open(ctx, Config{Name: leftName, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	content, err := probeFile()
	if err != nil {
		return err
	}
	box, err := l.Build(ctx, spec())
	if err != nil {
		return err
	}
	_, err = box.Start(ctx, Command{Args: []string{"/work/probe", "bomb"}, Env: testEnv, Files: []File{{Path: "probe", Content: content, Mode: 0o755}}})
	if err != nil {
		return err
	}
	pids, err := l.h.processes(leftName + "/" + box.id)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nNSpid:\t%d\t1\n", pid)) {
			continue // a program's, which may have ended
		}
		// Its init: it cannot notice that the launcher has gone.
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			return err
		}
		fmt.Println("left")
		select {} // until it is killed
	}
	return fmt.Errorf("the box has no init among %v", pids)
}

// TestKilledLauncher: what a launcher that was killed leaves behind is taken away,
// even a fork bomb.
func TestKilledLauncher(t *testing.T) {
	t.Parallel()
	if _, err := probeFile(); err != nil {
		t.Fatal(err)
	}
	cmd, out := helper(t, "leave", nil, syscall.SysProcAttr{})
	if line, err := out.ReadString('\n'); err != nil || line != "left\n" {
		t.Fatalf("it said %q (%v)", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	h := setup.launcher.h
	if pids, err := h.processes(leftName + "/box-1"); err != nil || len(pids) < 2 {
		t.Fatalf("it left the processes %v (%v)", pids, err)
	}
	l, err := Open(t.Context(), Config{Name: leftName, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := l.Leftovers(); err != nil || left.Total() != 0 || h.exists(leftName+"/box-1") {
		t.Errorf("left: %+v %v", left, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// delegated makes a box where it has been put, and says where that is.
func delegated(ctx context.Context) error {
	l, err := Open(ctx, Config{Name: "corun-sandbox-delegated", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	content, err := probeFile()
	if err != nil {
		return err
	}
	s := spec()
	s.Limits.MemoryBytes = 32 << 20
	box, err := l.Build(ctx, s)
	if err != nil {
		return err
	}
	_, err = box.Start(ctx, Command{Args: []string{"/work/probe", "hog"}, Env: testEnv, Files: []File{{Path: "probe", Content: content, Mode: 0o755}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	for what, c := range map[string]<-chan struct{}{"lack of memory": box.OOM(), "the end": box.Exited()} {
		select {
		case <-c:
		case <-ctx.Done():
			return fmt.Errorf("nothing was said of %s", what)
		}
	}
	if err := errors.Join(box.Destroy(ctx), l.Close()); err != nil {
		return err
	}
	again, err := findHierarchy() // now that this process has moved
	if err != nil || again != l.h {
		return fmt.Errorf("at first it was %+v, then %+v (%w)", l.h, again, err)
	}
	fmt.Println(l.h)
	return nil
}

// TestDelegation: in a group that was given to it, as to a systemd service or a
// container, Corun makes room for boxes and keeps to the group.
func TestDelegation(t *testing.T) {
	h := setup.launcher.h
	if !h.unified {
		t.Skip("version 1 has no delegation")
	}
	content, err := probeFile()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		wrap []string
		says string
	}{
		"service":   {says: "version 2 at " + filepath.Join(h.root, "corun-service.test") + ", which is delegated\n"},
		"container": {[]string{program, "container"}, "version 2 at /sys/fs/cgroup\n"},
	} {
		t.Run(name, func(t *testing.T) {
			group := filepath.Join(h.root, "corun-"+name+".test")
			if err := os.Mkdir(group, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := errors.Join(h.kill("corun-"+name+".test"), h.remove("corun-"+name+".test/"+serverLeaf), h.remove("corun-"+name+".test")); err != nil {
					t.Error(err)
				}
			})
			if len(c.wrap) == 0 { // as systemd does
				if err := unix.Setxattr(group, "trusted.delegate", []byte("1"), 0); err != nil {
					t.Fatal(err)
				}
			}
			dir, err := os.Open(group)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			attr := syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
			// Not the only process there.
			other := exec.Command(program, "pause")
			other.SysProcAttr = &attr
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = other.Process.Kill() // it may have ended
				_ = other.Wait()
			}()
			cmd, out := helper(t, "delegated", c.wrap, attr)
			if line, err := out.ReadString('\n'); err != nil || line != c.says {
				t.Errorf("it said %q (%v)", line, err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", other.Process.Pid))
			if err != nil || !strings.HasSuffix(string(own), "/corun-"+name+".test/"+serverLeaf+"\n") {
				t.Errorf("the other process is in %q (%v)", own, err)
			}
			// No box, no launcher's group: nothing but the leaf.
			if found, err := h.children("corun-" + name + ".test"); err != nil || len(found) != 1 || !found[serverLeaf] {
				t.Errorf("there are %v (%v)", found, err)
			}
		})
	}
}

// TestChooseBase: below which group boxes have theirs.
func TestChooseBase(t *testing.T) {
	t.Parallel()
	writable, sealed := t.TempDir(), filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct{ root, point, own, want string }{
		"a machine":                          {"/", writable, "/user.slice/session-1.scope", writable},
		"its root":                           {"/", writable, "/", writable},
		"read-only":                          {"/", sealed, "/system.slice/a", sealed + "/system.slice/a"},
		"read-only, moved":                   {"/", sealed, "/system.slice/a/" + serverLeaf, sealed + "/system.slice/a"},
		"part of the tree is mounted":        {"/docker/a", sealed, "/docker/a/b", sealed + "/b"},
		"part of the tree, its own":          {"/docker/a", sealed, "/docker/a", sealed},
		"part of the tree, like its own":     {"/docker/a", sealed, "/docker/ab", sealed},
		"outside of the namespace's root":    {"/", sealed, "/../b", sealed},
		"outside of the part that's mounted": {"/docker/a", sealed, "/b", sealed},
	} {
		if got := chooseBase(mount{root: c.root, point: c.point}, c.own); got.root != c.want || !got.unified || got.delegated {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
}

// TestObservedPeak: kernels before 5.19 have no memory.peak.
func TestObservedPeak(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := cgroup{h: hierarchy{unified: true, root: root}, group: "box"}
	if err := os.Mkdir(filepath.Join(root, "box"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(file, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "box", file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n")
	write("pids.events", "max 3\n")
	write("memory.max", "1000000\n")
	for i, step := range []struct {
		current, events string
		want            Usage
	}{
		{"4096\n", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n", Usage{1500 * time.Microsecond, 4096, 0, 3}},
		{"8192\n", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n", Usage{1500 * time.Microsecond, 8192, 0, 3}},
		{"0\n", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n", Usage{1500 * time.Microsecond, 8192, 0, 3}},
		{"0\n", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n", Usage{1500 * time.Microsecond, 1000000, 2, 3}},
	} {
		write("memory.current", step.current)
		write("memory.events", step.events)
		if u, err := c.usage(); err != nil || u != step.want {
			t.Errorf("step %d: %+v (%v), want %+v", i, u, err, step.want)
		}
	}
	write("memory.events", "low 0\n")
	if u, err := c.usage(); err == nil {
		t.Errorf("without a count of kills: %+v", u)
	}
	if err := put(filepath.Join(root, "box"), "memory.swap.max", "0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
