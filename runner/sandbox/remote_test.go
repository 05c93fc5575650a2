package sandbox

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serveLauncher starts a launcher behind a socket, in this process.
func serveLauncher(t *testing.T, name string) (l *Launcher, served <-chan error) {
	t.Helper()
	inside, asker, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() {
		done <- Serve(context.Background(), inside, Config{Name: name, Log: log}, []string{setup.rootfs})
	}()
	l, err = Connect(asker, log)
	if err != nil {
		t.Fatal(err)
	}
	return l, done
}

func remoteSpec() Spec { return spec() }

// A box that another process made is as good as one's own.
func TestRemoteBox(t *testing.T) {
	l, served := serveLauncher(t, "corun-sandbox-remote")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	box, err := l.Build(ctx, remoteSpec())
	if err != nil {
		t.Fatal(err)
	}
	p, err := box.Start(ctx, Command{Args: []string{"python3", "-c", "import sys; print(sys.stdin.read()*2); open('made', 'w').write('x' * 100); sys.exit(3)"}, Env: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.Stdin(), "ab"); err != nil {
		t.Fatal(err)
	}
	_ = p.Stdin().Close()
	out, err := io.ReadAll(p.Stdout())
	if err != nil || strings.TrimSpace(string(out)) != "abab" {
		t.Errorf("it wrote %q (%v)", out, err)
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 3 {
		t.Errorf("it ended with %+v (%v)", exit, err)
	}
	if u, err := box.Usage(); err != nil || u.CPU == 0 || u.MemoryPeak == 0 {
		t.Errorf("usage is %+v (%v)", u, err)
	}
	if left, err := l.Leftovers(); err != nil || left.Total() != 0 {
		t.Errorf("left over: %+v (%v)", left, err)
	}
	if c, err := box.Collect(ctx, wide); err != nil || len(c.Files) != 1 || c.Files[0].Path != "made" || len(c.Files[0].Content) != 100 {
		t.Errorf("collected %+v (%v)", c, err)
	}
	if _, err := box.Collect(ctx, CollectLimits{Bytes: 99, Files: 1, Depth: 1}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("collected beyond a limit: %v", err)
	}
	if err := box.Destroy(ctx); err != nil {
		t.Error(err)
	}
	if u, err := box.Usage(); err != nil || u.CPU == 0 {
		t.Errorf("usage after the end is %+v (%v)", u, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Memory that runs out and a box that is killed are told of.
func TestRemoteDeaths(t *testing.T) {
	l, served := serveLauncher(t, "corun-sandbox-remote")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := remoteSpec()
	s.Limits.MemoryBytes = 32 << 20
	hungry, err := l.Build(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hungry.Start(ctx, Command{Args: []string{"python3", "-c", "x = b'x' * (1 << 30)"}, Env: testEnv}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]<-chan struct{}{"lack of memory": hungry.OOM(), "the end": hungry.Exited()} {
		select {
		case <-c:
		case <-ctx.Done():
			t.Fatalf("nothing was said of %s", what)
		}
	}
	other, err := l.Build(ctx, remoteSpec())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Kill(); err != nil {
		t.Error(err)
	}
	select {
	case <-other.Exited():
	case <-ctx.Done():
		t.Fatal("nothing was said of a kill")
	}
	for _, b := range []*Box{hungry, other} {
		if err := b.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(l.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// The launcher makes boxes of its own images alone, and of nothing that it cannot
// read.
func TestRemoteRefuses(t *testing.T) {
	l, served := serveLauncher(t, "corun-sandbox-remote")
	for name, change := range map[string]func(*Spec){
		"another root":    func(s *Spec) { s.Rootfs = "/" },
		"another /usr":    func(s *Spec) { s.Usr = "/etc" },
		"a way around":    func(s *Spec) { s.Rootfs += "/../../../../../../.." },
		"broken filters":  func(s *Spec) { s.Seccomp = []byte{1, 2, 3} },
		"too much for it": func(s *Spec) { s.Seccomp = make([]byte, maxMessage) },
	} {
		s := remoteSpec()
		change(&s)
		if box, err := l.Build(context.Background(), s); err == nil {
			t.Errorf("%s: a box was made", name)
			_ = box.Destroy(context.Background())
		}
	}
	if _, err := l.remote.ask(context.Background(), request{Do: "exec"}); err == nil {
		t.Error("something else was done")
	}
	if _, err := l.remote.ask(context.Background(), request{Do: doKill, Box: "box-1000"}); err == nil {
		t.Error("a box that is not there was killed")
	}
	// Who gives up waiting leaves no box behind.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Build(ctx, remoteSpec()); !errors.Is(err, context.Canceled) {
		t.Errorf("a build that was given up gave %v", err)
	}
	if err := errors.Join(l.Close(), <-served); err != nil {
		t.Error(err)
	}
	if _, err := l.Build(context.Background(), remoteSpec()); err == nil {
		t.Error("a launcher that has ended made a box")
	}
}

// When either side goes away, nothing of the boxes is left.
func TestRemoteEnds(t *testing.T) {
	for _, name := range []string{"asker", "launcher"} {
		t.Run(name, func(t *testing.T) {
			l, served := serveLauncher(t, "corun-sandbox-remote")
			box, err := l.Build(context.Background(), remoteSpec())
			if err != nil {
				t.Fatal(err)
			}
			if name == "asker" {
				// As if it had been killed: all its descriptors are closed.
				box.ends.close()
				if err := l.remote.wire.file.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				// Its loop ends as if the other side had gone.
				raw, err := l.remote.wire.file.SyscallConn()
				if err != nil {
					t.Fatal(err)
				}
				if err := raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-served; err != nil {
				t.Errorf("the launcher ended with %v", err)
			}
			if name == "launcher" {
				<-l.Gone()
				<-box.Exited()
				if _, err := l.Build(context.Background(), remoteSpec()); !errors.Is(err, ErrLauncherGone) {
					t.Errorf("building gives %v", err)
				}
				if err := box.Destroy(context.Background()); err != nil {
					t.Error(err)
				}
				_ = l.Close()
			}
			for _, folder := range setup.launcher.h.folders("corun-sandbox-remote") {
				if _, err := os.Stat(folder); err == nil {
					t.Errorf("%s is left", folder)
				}
			}
		})
	}
}

// A box that comes without all its descriptors is given back, and of one that is gone
// nothing is remembered.
func TestRemoteBoxIsGivenBack(t *testing.T) {
	inside, asker, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Connect(asker, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	launcher, err := newWire(inside)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := l.Build(t.Context(), remoteSpec())
		failed <- err
	}()
	var q request
	if _, err := launcher.receive(&q); err != nil || q.Do != doFilter || len(q.Program) == 0 {
		t.Fatalf("%s %v", q.Do, err)
	}
	name := q.Filter
	if err := launcher.send(reply{ID: q.ID}); err != nil {
		t.Fatal(err)
	}
	q = request{}
	if _, err := launcher.receive(&q); err != nil || q.Do != doBuild || q.Filter != name || len(q.Spec.Seccomp) != 0 {
		t.Fatalf("%+v %v", q, err)
	}
	if err := launcher.send(reply{ID: q.ID, Box: "box-7"}, os.Stdin, os.Stdin); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a box with two descriptors")
	}
	if _, err := launcher.receive(&q); err != nil || q.Do != doRemove || q.Box != "box-7" {
		t.Errorf("the launcher was told %+v, %v", q, err)
	}
	if err := launcher.send(reply{Box: "box-7", Exited: true}); err != nil {
		t.Fatal(err)
	}
	if err := launcher.file.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.Gone()
	if n := len(l.remote.boxes); n != 0 {
		t.Errorf("%d boxes are remembered", n)
	}
}
