package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestGVisor(t *testing.T) {
	if os.Getenv("CORUN_RUNSC") == "" {
		t.Skip("boxes are native: make test-gvisor")
	}
	t.Parallel()
	t.Run("kernel", func(t *testing.T) {
		r := python(t, spec(), soon, `
import os
print(os.uname().release, os.getuid(), sorted(os.listdir('/dev')), os.path.exists('/sys/kernel'), flush=True)
for f in 'stdin', 'stdout', 'stderr': print(os.readlink('/dev/' + f), os.access('/dev/' + f, os.R_OK | os.W_OK), flush=True)
os.write(1, b'x' * 300_000 + b'\n') # more than a pipe holds
os._exit(7)`)
		want := "0 1000 ['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero'] False\n" +
			"/proc/self/fd/0 True\n/proc/self/fd/1 True\n/proc/self/fd/2 True\n" + strings.Repeat("x", 300_000) + "\n"
		if release, rest, _ := strings.Cut(r.stdout, "-gvisor 100"); !strings.HasPrefix(release, "4.") || "0 100"+rest != want || r.exit.Code != 7 {
			t.Errorf("%.400q %q %+v %v", r.stdout, r.stderr, r.exit, r.err)
		}
	})
	t.Run("beneath", func(t *testing.T) {
		// What a program that broke out of gVisor would be has less than a box's init.
		box := build(t, spec())
		pids, err := setup.launcher.h.processes(setup.launcher.cfg.Name + "/" + box.id)
		if err != nil || len(pids) < 3 {
			t.Fatal(pids, err)
		}
		sentries := 0
		for _, pid := range pids {
			status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
			if err != nil {
				continue // it has ended
			}
			uid := realUID(status)
			if uid != box.uid && uid != box.uid+1 || !bytes.Contains(status, []byte("\nSeccomp:\t2\n")) {
				t.Errorf("a process has another uid, or no filter: %s", status)
			}
			if uid == box.uid+1 {
				sentries++
				if !bytes.Contains(status, []byte("\nCapEff:\t0000000000000000\n")) {
					t.Errorf("the sentry has capabilities: %s", status)
				}
			}
		}
		if sentries == 0 {
			t.Error("the sentry has not the box's second uid")
		}
	})
	t.Run("idle", func(t *testing.T) {
		// What gVisor used for itself is not the program's.
		box := build(t, spec())
		if u, err := box.Usage(); err != nil || u.CPU > 50*time.Millisecond || u.MemoryPeak > 1<<20 {
			t.Errorf("usage is %+v, %v", u, err)
		}
		if _, err := box.Collect(context.Background(), wide); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("its files are collected: %v", err)
		}
	})
	t.Run("input", func(t *testing.T) {
		box := build(t, spec())
		p, err := box.Start(context.Background(), Command{Args: []string{"cat"}, Env: testEnv})
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		go func() {
			_, _ = p.Stdin().Write(data) // what came through is compared
			_ = p.Stdin().Close()
		}()
		if got, err := io.ReadAll(p.Stdout()); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d came back, %v", len(got), len(data), err)
		}
		if exit, err := p.Wait(context.Background()); err != nil || exit != (Exit{}) {
			t.Errorf("%+v, %v", exit, err)
		}
	})
	t.Run("nobody reads", func(t *testing.T) {
		box := build(t, spec())
		p, err := box.Start(context.Background(), Command{Args: []string{"yes"}, Env: testEnv})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.stdout.Close(); err != nil {
			t.Fatal(err)
		}
		if exit, err := p.Wait(context.Background()); err != nil || exit.Signal == 0 && exit.Code == 0 {
			t.Errorf("it ended with %+v, %v, and not by the pipe's end", exit, err)
		}
	})
}

// A launcher says what is missing, and a box why it was not made.
func TestGVisorFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if f := CheckGVisor(filepath.Join(dir, "runsc")); f.OK || !strings.Contains(f.Detail, "make runsc") {
		t.Errorf("%+v", f)
	}
	open := func() (*Launcher, error) {
		return Open(context.Background(), Config{Name: "corun-gvisor-faults", Isolation: GVisor, Runsc: filepath.Join(dir, "runsc"), Log: slog.New(slog.DiscardHandler)})
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "make runsc") {
		t.Errorf("without runsc: %v", err)
	}
	// What can be executed by a path alone has nothing that it could load: a script, whose
	// interpreter is the image's.
	for _, name := range []string{"runsc", guestName} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho 'no such platform' >&2\nexit 3\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Build(context.Background(), spec()); err == nil || !strings.Contains(err.Error(), "no such platform") {
		t.Errorf("it is not said why: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
