package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A box that cannot be taken away is counted until it can be.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), Config{Name: "corun-quarantine-test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	box, err := l.Build(t.Context(), spec())
	if err != nil {
		t.Fatal(err)
	}
	// A process that is not the box's sits in its cgroup: no kill of ours reaches it.
	stuck := exec.Command("sleep", "infinity")
	if err := stuck.Start(); err != nil {
		t.Fatal(err)
	}
	for _, folder := range l.h.folders(l.cfg.Name + "/" + box.id) {
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(stuck.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := box.Destroy(ctx); err == nil {
		t.Fatal("it was taken away with a process in its cgroup")
	}
	left, err := l.Leftovers()
	if err != nil || left.Quarantined != 1 {
		t.Errorf("left: %+v, %v", left, err)
	}
	if err := stuck.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = stuck.Wait()
	for left.Total() > 0 && ctx.Err() == nil { // nothing tells when it is gone
		time.Sleep(20 * time.Millisecond)
		if left, err = l.Leftovers(); err != nil {
			t.Fatal(err)
		}
	}
	if left.Total() > 0 {
		t.Errorf("left: %+v", left)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// launcherVariable tells this test's executable to be a launcher that builds and destroys
// boxes until it is killed.
const launcherVariable = "CORUN_TEST_LAUNCHER"

// busyLauncher builds boxes, runs a program in each that does not want to end, and
// destroys them, several at once, for ever.
func busyLauncher(name string) {
	l, err := Open(context.Background(), Config{Name: name, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	for range 3 {
		go func() {
			for {
				box, err := l.Build(context.Background(), spec())
				if err != nil {
					panic(err)
				}
				_, err = box.Start(context.Background(), Command{Args: []string{"bash", "-c",
					"trap '' TERM HUP INT; (setsid bash -c 'trap \"\" HUP; while :; do :; done' &) ; while :; do :; done"}, Env: testEnv})
				if err != nil {
					panic(err)
				}
				_, _ = os.Stdout.WriteString("b\n")
				if err := box.Destroy(context.Background()); err != nil {
					panic(err)
				}
			}
		}()
	}
	select {}
}

// TestKilledAnywhere: whenever a launcher is killed, nothing of its boxes goes on
// running, and the next one of its name takes away what is left.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	const name = "corun-killed-test"
	for round := range 12 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), launcherVariable+"="+name)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Somewhere in the building, running or destroying of one of the boxes.
		lines := bufio.NewReader(out)
		for range 1 + round {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		var zygotes []string
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, children := range threads {
			data, err := os.ReadFile(children)
			if err != nil {
				continue // the thread has ended
			}
			zygotes = append(zygotes, strings.Fields(string(data))...)
		}
		if len(zygotes) == 0 {
			t.Fatal("the launcher has no zygote")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		h := setup.launcher.h
		for deadline := time.Now().Add(soon); ; time.Sleep(2 * time.Millisecond) {
			running := 0
			groups, err := h.children(name)
			if err != nil {
				t.Fatal(err)
			}
			for id := range groups {
				pids, err := h.processes(name + "/" + id)
				if err != nil {
					t.Fatal(err)
				}
				running += len(pids)
			}
			for _, pid := range zygotes {
				if name, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil && string(name) == "corun-zygote\n" {
					running++
				}
			}
			if running == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %d processes go on running", round, running)
			}
		}
		next, err := Open(t.Context(), Config{Name: name, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := next.Leftovers(); err != nil || left.Total() != 0 {
			t.Errorf("round %d: left: %+v, %v", round, left, err)
		}
		if err := next.Close(); err != nil {
			t.Error(err)
		}
		for _, folder := range h.folders(name) {
			if err := unix.Access(folder, unix.F_OK); err == nil {
				t.Errorf("round %d: %s is still there", round, folder)
			}
		}
	}
}
