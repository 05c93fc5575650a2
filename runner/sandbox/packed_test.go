package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"corun/runner/erofs"
)

// showImage is an image whose one program shows a file of it, and tries to change it.
func showImage(t *testing.T) (rootfs string) {
	t.Helper()
	dir := t.TempDir()
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil { // boxes have other uids
			t.Fatal(err)
		}
	}
	rootfs = filepath.Join(dir, "rootfs")
	for _, sub := range []string{"bin", "dev", "proc", "run", "tmp", "work", "etc"} {
		if err := os.MkdirAll(filepath.Join(rootfs, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source := filepath.Join(dir, "show.c")
	code := `#include <fcntl.h>
#include <unistd.h>
int main(void) {
	char text[16];
	if (open("/marker", O_WRONLY) >= 0 || unlink("/marker") == 0)
		return 9;
	int fd = open("/marker", O_RDONLY);
	return write(1, text, read(fd, text, sizeof text)) < 0;
}`
	if err := os.WriteFile(source, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-static", "-o", filepath.Join(rootfs, "bin/show"), source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return rootfs
}

func mark(t *testing.T, rootfs, text string) {
	t.Helper()
	// World-writable, so that nothing but the mount keeps a program from it.
	file := filepath.Join(rootfs, "marker")
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o666), os.Chmod(file, 0o666)); err != nil {
		t.Fatal(err)
	}
}

// pack makes the file system beside the folder.
func pack(t *testing.T, rootfs string) (file string) {
	t.Helper()
	if err := erofs.Usable(); err != nil {
		t.Skip(err)
	}
	if !erofs.CanMake() {
		t.Skip(erofs.ErrNoTool)
	}
	file = rootfs + erofs.Suffix
	if err := erofs.Make(t.Context(), rootfs, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// loopsOf counts the loop devices that a file has.
func loopsOf(t *testing.T, file string) (n int) {
	t.Helper()
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if of, err := os.ReadFile(d); err == nil && strings.TrimSpace(string(of)) == file {
			n++
		}
	}
	return n
}

// noLoopsOf waits until the kernel has taken the file's devices away, which it does
// after the last user has gone.
func noLoopsOf(t *testing.T, file string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); loopsOf(t, file) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its loop device is still there")
		}
	}
}

func show(t *testing.T, l *Launcher, rootfs string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := spec()
	s.Rootfs = rootfs
	box, err := l.Build(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := box.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	p, err := box.Start(ctx, Command{Args: []string{"/bin/show"}, Env: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Error(err)
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Errorf("it ended with %+v (%v)", exit, err)
	}
	return string(out)
}

func openLauncher(t *testing.T, name string, log io.Writer) *Launcher {
	t.Helper()
	cfg := setup.launcher.cfg
	cfg.Name, cfg.Log = name, slog.New(slog.NewTextHandler(log, nil))
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Boxes get the file system that stands for the folder, several the same one, and the
// device goes with the launcher.
func TestPackedImage(t *testing.T) {
	rootfs := showImage(t)
	mark(t, rootfs, "packed")
	file := pack(t, rootfs)
	mark(t, rootfs, "folder")
	l := openLauncher(t, "corun-sandbox-packed", io.Discard)
	for range 3 {
		if got := show(t, l, rootfs); got != "packed" {
			t.Errorf("the box shows %q", got)
		}
	}
	if n := loopsOf(t, file); n != 1 {
		t.Errorf("it has %d loop devices", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	noLoopsOf(t, file)
}

// A file system that cannot be mounted is told of, and boxes get the folder.
func TestPackedImageDamaged(t *testing.T) {
	rootfs := showImage(t)
	mark(t, rootfs, "folder")
	file := pack(t, rootfs)
	if err := os.WriteFile(file, bytes.Repeat([]byte("no file system"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := openLauncher(t, "corun-sandbox-packed", &log)
	for range 2 {
		if got := show(t, l, rootfs); got != "folder" {
			t.Errorf("the box shows %q", got)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "cannot be mounted"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, log.String())
	}
	noLoopsOf(t, file)
}

// mounted is a process that has a file system mounted until it is killed.
func mounted(context.Context) error {
	fs, err := erofs.Open(os.Getenv("CORUN_TEST_PACKED"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(fs.Path() + "marker")
	if _, failed := os.Stdout.Write(text); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Nothing of it is left of a process that is killed.
func TestPackedImageOfTheKilled(t *testing.T) {
	rootfs := showImage(t)
	mark(t, rootfs, "packed")
	file := pack(t, rootfs)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CORUN_TEST_ROLE=mounted", "CORUN_TEST_PACKED="+file)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, len("packed"))
	if _, err := io.ReadFull(out, text); err != nil || string(text) != "packed" {
		t.Errorf("it has mounted %q (%v)", text, err)
	}
	if n := loopsOf(t, file); n != 1 {
		t.Errorf("it has %d loop devices", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	noLoopsOf(t, file)
}
