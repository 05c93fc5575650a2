package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var wide = CollectLimits{Bytes: 64 << 20, Files: 4096, Depth: 32}

// ran runs a program to its end and gives its box.
func ran(t *testing.T, code string) *Box {
	t.Helper()
	box := build(t, spec())
	p, err := box.Start(context.Background(), Command{Args: []string{"python3", "main.py"}, Env: testEnv, Files: []File{{Path: "main.py", Content: []byte("import os\nos.unlink('main.py')\n" + code)}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Fatalf("the program ended with %+v, %v", exit, err)
	}
	return box
}

func collected(t *testing.T, box *Box, limits CollectLimits) (Collected, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return box.Collect(ctx, limits)
}

func TestCollect(t *testing.T) {
	got, err := collected(t, ran(t, `
import os, socket, stat
os.makedirs('a/b'); open('a/b/c', 'w').write('deep')
open('out', 'wb').write(bytes(range(256)))
os.chmod('out', 0o4751)                                   # setuid is not taken over
open('secret', 'w').write('mine'); os.chmod('secret', 0)   # the launcher reads it
open(b'new\nline', 'w').write('1')
open(b'bad \xff\xfe utf-8', 'w').write('2')
open(b'n' * 255, 'w').write('3')
open('empty', 'w')
os.link('out', 'hard')
os.symlink('/etc/shadow', 'symlink'); os.symlink('/', 'root'); os.symlink('/proc/self/root/etc', 'magic')
os.symlink('..', 'up'); os.symlink('symlink', 'loop1')
os.mkfifo('fifo')
socket.socket(socket.AF_UNIX).bind('socket')
os.mkdir('closed', 0); os.chmod('a', 0)
open('main.py', 'w').write('left')
`), wide)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := []File{
		{"a/b/c", []byte("deep"), 0o644}, {"bad \xff\xfe utf-8", []byte("2"), 0o644}, {"empty", nil, 0o644}, {"hard", all, 0o751},
		{"main.py", []byte("left"), 0o644}, {"new\nline", []byte("1"), 0o644}, {strings.Repeat("n", 255), []byte("3"), 0o644},
		{"out", all, 0o751}, {"secret", []byte("mine"), 0},
	}
	same := slices.EqualFunc(got.Files, want, func(a, b File) bool {
		return a.Path == b.Path && string(a.Content) == string(b.Content) && a.Mode == b.Mode
	})
	if !same {
		for _, f := range got.Files {
			t.Errorf("%q, %d bytes, %v", f.Path, len(f.Content), f.Mode)
		}
	}
	if want := []string{"fifo", "loop1", "magic", "root", "socket", "symlink", "up"}; !slices.Equal(got.Skipped, want) {
		t.Errorf("skipped %q, want %q", got.Skipped, want)
	}
}

// What goes on running is ended before anything is read.
func TestCollectEndsTheBox(t *testing.T) {
	box := ran(t, `
import os, sys
if os.fork() == 0:
    os.setsid()
    n = 0
    while True:          # swaps a file for a link without end
        for make in (lambda: open('x', 'w').write('file'), lambda: os.symlink('/etc/shadow', 'x')):
            try: os.unlink('x')
            except OSError: pass
            make()
`)
	got, err := collected(t, box, wide)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files)+len(got.Skipped) > 1 || len(got.Files) == 1 && !strings.HasPrefix("file", string(got.Files[0].Content)) {
		t.Errorf("collected %+v", got)
	}
	select {
	case <-box.Exited():
	default:
		t.Error("the box is alive")
	}
	if again, err := collected(t, box, wide); err != nil || len(again.Files) != len(got.Files) {
		t.Errorf("the second time: %+v, %v", again, err)
	}
}

func TestCollectLimits(t *testing.T) {
	for name, c := range map[string]struct {
		code, want string
	}{
		"bytes":      {"open('a', 'wb').write(b'x' * 600000); open('b', 'wb').write(b'x' * 600000)", "more than 1048576 bytes"},
		"a sparse":   {"f = open('a', 'wb'); f.truncate(32 << 20)", "more than 1048576 bytes"},
		"files":      {"[open(str(i), 'w') for i in range(101)]", "more than 100 files and folders"},
		"folders":    {"[__import__('os').mkdir(str(i)) for i in range(101)]", "more than 100 files and folders"},
		"depth":      {"import os\nfor i in range(200):\n    os.mkdir('d'); os.chdir('d')", "more than 8 folders"},
		"long paths": {"import os\nfor i in range(40):\n    os.mkdir('d' * 255); os.chdir('d' * 255)", "more than 8 folders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := collected(t, ran(t, c.code), CollectLimits{Bytes: 1 << 20, Files: 100, Depth: 8})
			if !errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d files, %v; want one with %q", len(got.Files), err, c.want)
			}
		})
	}
	if _, err := collected(t, build(t, spec()), CollectLimits{Bytes: 1}); err == nil {
		t.Error("limits of 0 are taken")
	}
}

// A folder whose path is longer than PATH_MAX is read all the same.
func TestCollectLongPath(t *testing.T) {
	got, err := collected(t, ran(t, `
import os
for i in range(30):
    os.mkdir('d' * 255); os.chdir('d' * 255)
open('end', 'w').write('there')
`), wide)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 1 || len(got.Files[0].Path) != 30*256+3 || string(got.Files[0].Content) != "there" {
		t.Errorf("collected %d files", len(got.Files))
	}
}

// collect itself must stay within its folder, whatever stands there: here on the
// host, where there is something to find.
func TestCollectStaysBeneath(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	for _, err := range []error{
		os.Mkdir(work, 0o755), os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o644),
		os.Symlink("../secret", filepath.Join(work, "up")), os.Symlink(filepath.Join(dir, "secret"), filepath.Join(work, "absolute")),
		os.Symlink(dir, filepath.Join(work, "folder")), os.Symlink(fmt.Sprintf("/proc/%d/root", os.Getpid()), filepath.Join(work, "magic")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	folder, err := os.Open(work)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for _, name := range []string{"up", "absolute", "folder", "magic", "..", "../secret", "magic/etc/passwd", "folder/secret"} {
		if f, err := open(int(folder.Fd()), name, 0); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
	f, err := collect(context.Background(), int(folder.Fd()), wide)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := readCollected(f)
	if err != nil || len(got.Files) != 0 || len(got.Skipped) != 4 {
		t.Errorf("collected %+v, %v", got, err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("what was collected can be changed")
	}
}

func TestCollectPath(t *testing.T) {
	const code = `
import os
os.makedirs('out/deep'); open('out/deep/plot.png', 'w').write('png'); open('out/a', 'w').write('a')
open('beside', 'w').write('b'); os.symlink('/etc', 'link'); os.symlink('out', 'within'); os.mkfifo('fifo')`
	for path, want := range map[string]string{
		"out": "out/a out/deep/plot.png", "out/deep": "out/deep/plot.png", "beside": "beside",
		"out/deep/plot.png": "out/deep/plot.png", "none": "", "none/at/all": "", "beside/below": "",
		"link": "", "link/passwd": "", "within/a": "", "fifo": "",
	} {
		limits := wide
		limits.Path = path
		got, err := collected(t, ran(t, code), limits)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		var paths []string
		for _, f := range got.Files {
			paths = append(paths, f.Path)
		}
		if strings.Join(paths, " ") != want {
			t.Errorf("%s: got %q, want %q", path, paths, want)
		}
	}
	for _, path := range []string{"..", "../x", "/etc", "a/../b", ".", "a//b"} {
		limits := wide
		limits.Path = path
		if _, err := build(t, spec()).Collect(t.Context(), limits); err == nil {
			t.Errorf("the path %q is collected", path)
		}
	}
}
