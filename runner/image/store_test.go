package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"corun/runner/erofs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

const soon = 30 * time.Second

// TestMain makes this program a helper for tests that need another process.
func TestMain(m *testing.M) {
	switch os.Getenv("CORUN_TEST_ROLE") {
	case "import":
		_, err := Import(context.Background(), os.Args[1], ImportOptions{From: os.Args[2], Name: "it", Limits: DefaultLimits()}, os.Stdout)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("imported")
	case "hold":
		img, err := Open(os.Args[1], os.Args[2])
		if err == nil {
			_, err = Hold(context.Background(), img)
		}
		fmt.Println("held", err)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends it
	default:
		os.Exit(m.Run())
	}
}

// role starts this program as a helper.
func role(t *testing.T, what string, args ...string) (*exec.Cmd, *bytes.Buffer, io.Closer) {
	t.Helper()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{"image.test"}, args...), Env: append(os.Environ(), "CORUN_TEST_ROLE="+what)}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out, in
}

// imported gives a folder with one image called it.
func imported(t *testing.T) (images, rootfs string) {
	t.Helper()
	images = t.TempDir()
	from := layoutOf(t, map[string]v1.Image{"x": imageOf(t, archive(t, dir("d"), file("d/a", "1"), file("d/b", "2"), link("l", "d/a"), hard("h", "d/a")))})
	if _, err := importFrom(t, images, from, "it"); err != nil {
		t.Fatal(err)
	}
	img, err := Open(images, "it")
	if err != nil {
		t.Fatal(err)
	}
	return images, img.Rootfs
}

// errUnpacked says that no file system can be made, or mounted.
var errUnpacked = errors.New("no file system can be made, or mounted")

func TestVerify(t *testing.T) {
	for name, c := range map[string]struct {
		change func(rootfs string) error
		says   string // of a difference
	}{
		"nothing":         {func(string) error { return nil }, ""},
		"a content":       {func(r string) error { return os.WriteFile(r+"/d/b", []byte("3"), 0o644) }, "d/b"},
		"a size":          {func(r string) error { return os.WriteFile(r+"/d/b", []byte("22"), 0o644) }, "d/b"},
		"a mode":          {func(r string) error { return os.Chmod(r+"/d/b", 0o755) }, "d/b"},
		"setuid":          {func(r string) error { return os.Chmod(r+"/d/b", 0o644|os.ModeSetuid) }, "d/b"},
		"a folder's mode": {func(r string) error { return os.Chmod(r+"/d", 0o777) }, "d"},
		"one more":        {func(r string) error { return os.WriteFile(r+"/d/c", nil, 0o644) }, "d/c"},
		"one less":        {func(r string) error { return os.Remove(r + "/d/b") }, "d/b"},
		"a link":          {func(r string) error { return errors.Join(os.Remove(r+"/l"), os.Symlink("d/b", r+"/l")) }, "l"},
		"a file for a link": {func(r string) error {
			return errors.Join(os.Remove(r+"/l"), os.WriteFile(r+"/l", []byte("1"), 0o644))
		}, "l"},
		"file capabilities": {func(r string) error {
			return unix.Setxattr(r+"/d/b", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0)
		}, "d/b"},
		"another file system": {func(r string) error {
			if !erofs.CanMake() || erofs.Usable() != nil {
				return errUnpacked
			}
			other := filepath.Join(filepath.Dir(r), "other")
			if err := errors.Join(os.CopyFS(other, os.DirFS(r)), os.WriteFile(other+"/d/b", []byte("3"), 0o644), os.Remove(filepath.Join(filepath.Dir(r), packedFile))); err != nil {
				return err
			}
			return exec.Command("mkfs.erofs", filepath.Join(filepath.Dir(r), packedFile), other).Run()
		}, packedFile + ": d/b"},
		"no file system": {func(r string) error {
			if !erofs.CanMake() || erofs.Usable() != nil {
				return errUnpacked
			}
			return os.WriteFile(filepath.Join(filepath.Dir(r), packedFile), make([]byte, 8192), 0o644)
		}, packedFile},
		"the list itself": {func(r string) error {
			path := filepath.Join(filepath.Dir(r), contentsFile)
			text, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, bytes.Replace(text, []byte("d/b"), []byte("d/x"), 1), 0o644))
		}, contentsFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			images, rootfs := imported(t)
			if err := c.change(rootfs); errors.Is(err, unix.EPERM) || errors.Is(err, errUnpacked) {
				t.Skipf("it takes root: %v", err)
			} else if err != nil {
				t.Fatal(err)
			}
			_, differences, err := Verify(t.Context(), images, "it")
			if err != nil {
				t.Fatal(err)
			}
			if c.says == "" && len(differences) > 0 || c.says != "" && (len(differences) == 0 || !strings.HasPrefix(differences[0].String(), c.says+":")) {
				t.Errorf("got %v, want one of %q", differences, c.says)
			}
		})
	}
	if _, _, err := Verify(t.Context(), t.TempDir(), "none"); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("of none: %v", err)
	}
}

func TestNames(t *testing.T) {
	images, _ := imported(t)
	for _, name := range []string{"", "default", "host", "../x", "a/b", ".x", "A", "names", "sha256", strings.Repeat("a", 101), "a\nb"} {
		if _, err := importFrom(t, images, layoutOf(t, map[string]v1.Image{"": imageOf(t, archive(t, file("a", "1")))}), name); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
		if _, err := Open(images, name); err == nil {
			t.Errorf("%q is opened", name)
		}
	}
	other := layoutOf(t, map[string]v1.Image{"x": imageOf(t, archive(t, file("a", "other")))})
	if _, err := importFrom(t, images, other, "it"); !errors.Is(err, ErrTaken) {
		t.Errorf("a name that is taken: %v", err)
	}
	before, err := Open(images, "it")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), images, ImportOptions{From: other, Name: "it", Replace: true, Limits: DefaultLimits()}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if now, err := Open(images, "it"); err != nil || now.Digest == before.Digest {
		t.Errorf("replaced by %+v, %v", now, err)
	}
	if _, err := os.Stat(before.Rootfs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was replaced is still there: %v", err)
	}
}

func TestRemove(t *testing.T) {
	images, rootfs := imported(t)
	helper, out, in := role(t, "hold", images, "it")
	held := func() bool {
		all, err := List(images)
		return err == nil && len(all) == 1 && all[0].InUse
	}
	for deadline := time.Now().Add(soon); !held(); time.Sleep(5 * time.Millisecond) { // a lock has no event
		if time.Now().After(deadline) {
			t.Fatal("it is not held")
		}
	}
	if err := Remove(t.Context(), images, "it", io.Discard); !errors.Is(err, ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	if _, err := os.Stat(rootfs); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := helper.Wait(); err != nil || !strings.Contains(out.String(), "held <nil>") {
		t.Errorf("%v: %s", err, out)
	}
	if err := Remove(t.Context(), images, "it", io.Discard); err != nil {
		t.Error(err)
	}
	if all, err := List(images); err != nil || len(all) > 0 {
		t.Errorf("there are %v, %v", all, err)
	}
	if _, err := os.Stat(rootfs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if err := Remove(t.Context(), images, "it", io.Discard); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("again: %v", err)
	}
}

// Two names may refer to one content, which goes with the last of them.
func TestRemoveOneOfTwoNames(t *testing.T) {
	images := t.TempDir()
	from := layoutOf(t, map[string]v1.Image{"x": imageOf(t, archive(t, file("a", "1")))})
	for _, name := range []string{"one", "two"} {
		if _, err := importFrom(t, images, from, name); err != nil {
			t.Fatal(err)
		}
	}
	img, err := Open(images, "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), images, img.Digest, io.Discard); !errors.Is(err, ErrReferred) {
		t.Errorf("by its digest: %v", err)
	}
	if err := Remove(t.Context(), images, "one", io.Discard); err != nil {
		t.Error(err)
	}
	if two, err := Open(images, "two"); err != nil || two.Digest != img.Digest {
		t.Errorf("the other: %+v, %v", two, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	images := t.TempDir()
	from := layoutOf(t, map[string]v1.Image{"x": imageOf(t, archive(t, file("a", "1")))})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := importFrom(t, images, from, "it"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if found, err := List(images); err != nil || len(found) != 1 {
		t.Errorf("there are %v, %v", found, err)
	}
}

// An import that is killed leaves nothing that the next command does not take away,
// and never half an image.
func TestKilledImport(t *testing.T) {
	var layers [][]byte
	for i := range 20 {
		layers = append(layers, archive(t, file(fmt.Sprintf("f%d", i), strings.Repeat("x", 1<<20))))
	}
	from := layoutOf(t, map[string]v1.Image{"x": imageOf(t, layers...)})
	images := t.TempDir()
	whole := 0
	for round := range 12 {
		helper, _, _ := role(t, "import", images, from)
		time.Sleep(time.Duration(round) * 12 * time.Millisecond) // at another place each time
		if err := helper.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		_ = helper.Wait() // it was killed
		if img, err := Open(images, "it"); err == nil {
			whole++
			if _, differences, err := Verify(t.Context(), images, img.Name); err != nil || len(differences) > 0 {
				t.Errorf("round %d: half an image: %v, %v", round, differences, err)
			}
			if err := Remove(t.Context(), images, "it", io.Discard); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d were whole", whole)
	if _, err := importFrom(t, images, from, "it"); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("20 MiB within 8: %v", err)
	}
	found, err := os.ReadDir(images)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if strings.HasPrefix(e.Name(), temporaryPrefix) {
			t.Errorf("%s is left", e.Name())
		}
	}
	if left, err := os.ReadDir(filepath.Join(images, digestsFolder)); err == nil && len(left) > 0 {
		t.Errorf("contents without a name are left: %v", left)
	}
}

// Images of former versions are used where they are.
func TestFormerVersion(t *testing.T) {
	images := t.TempDir()
	rootfs := filepath.Join(images, "default-0123456789ab", rootfsFolder)
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		t.Fatal(err)
	}
	img, err := Open(images, "default-0123456789ab")
	if err != nil || img.Rootfs != rootfs {
		t.Errorf("%+v, %v", img, err)
	}
	if all, err := List(images); err != nil || len(all) != 1 || all[0].Name != "default-0123456789ab" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, _, err := Verify(t.Context(), images, "default-0123456789ab"); err == nil {
		t.Error("it can be verified")
	}
	if err := Remove(t.Context(), images, "default-0123456789ab", io.Discard); err != nil {
		t.Error(err)
	}
}

func TestRecipes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.toml")
	for text, says := range map[string]string{
		"name = \"mine\"\npackages = [\"bash\", \"g++\", \"libc6:i386\"]\n": "",
		"name = \"mine\"\npackages = []\n":                                  "empty",
		"name = \"../mine\"\npackages = [\"bash\"]\n":                       "name is",
		"name = \"mine\"\npackages = [\"--setup-hook=id\"]\n":               "no name of a package",
		"name = \"mine\"\npackages = [\"bash,curl\"]\n":                     "no name of a package",
		"name = \"mine\"\npackages = [\"bash\"]\nfoo = 1\n":                 "mine.toml",
		"noise": "mine.toml",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadRecipe(path)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if _, err := ReadRecipe("none"); err == nil || !strings.Contains(err.Error(), "default") {
		t.Errorf("of none: %v", err)
	}
}

// What the languages need is part of the recipe, so that a change of it is another image.
func TestLanguagesInRecipe(t *testing.T) {
	all := func(change func(fstest.MapFS)) fstest.MapFS {
		files := fstest.MapFS{
			"languages/a.toml": {Data: []byte("name = \"a\"\npackages = [\"one\", \"two\"]\nsetup = [\"echo 'a' >/etc/a\"]\n")},
			"languages/b.toml": {Data: []byte("name = \"b\"\npackages = [\"two\", \"three\"]\n")},
			"warm/a/start":     {Data: []byte("#!/bin/sh\n")},
			"warm/a/deep/data": {Data: []byte("data\n")},
		}
		change(files)
		return files
	}
	read := func(files fstest.MapFS) Recipe {
		l, err := readLanguages(files)
		if err != nil {
			t.Fatal(err)
		}
		return Recipe{Label: "it", Packages: l.packages, languages: l}
	}
	same := read(all(func(fstest.MapFS) {}))
	if !slices.Equal(same.Packages, []string{"one", "two", "two", "three"}) {
		t.Errorf("packages are %v", same.Packages)
	}
	for name, change := range map[string]func(fstest.MapFS){
		"packages": func(f fstest.MapFS) {
			f["languages/b.toml"] = &fstest.MapFile{Data: []byte("packages = [\"two\", \"four\"]\n")}
		},
		"setup": func(f fstest.MapFS) {
			f["languages/b.toml"] = &fstest.MapFile{Data: []byte("packages = [\"two\", \"three\"]\nsetup = [\"true\"]\n")}
		},
		"a file":   func(f fstest.MapFS) { f["warm/a/deep/data"] = &fstest.MapFile{Data: []byte("other\n")} },
		"a path":   func(f fstest.MapFS) { f["warm/a/data"] = f["warm/a/deep/data"]; delete(f, "warm/a/deep/data") },
		"new file": func(f fstest.MapFS) { f["warm/b"] = &fstest.MapFile{} },
	} {
		if read(all(change)).Name() == same.Name() {
			t.Errorf("with %s changed it is the same image", name)
		}
	}
	if read(all(func(f fstest.MapFS) {
		f["languages/b.toml"] = &fstest.MapFile{Data: []byte("name = \"b\"\nrun = [\"x\"]\npackages = [\"two\", \"three\"]\n")}
	})).Name() != same.Name() {
		t.Error("what is for runs alone makes another image")
	}
	if _, err := readLanguages(all(func(f fstest.MapFS) {
		f["languages/b.toml"] = &fstest.MapFile{Data: []byte("packages = [\"--hook\"]\n")}
	})); err == nil || !strings.Contains(err.Error(), "b.toml") {
		t.Errorf("got %v", err)
	}

	// The files, whatever the umask.
	defer unix.Umask(unix.Umask(0o077))
	spare := t.TempDir()
	hooks, err := same.languages.hooks(spare)
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{
		"opt": os.ModeDir | 0o755, "opt/corun/a/deep": os.ModeDir | 0o755, "opt/corun/a/start": 0o755, "opt/corun/a/deep/data": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(spare, path)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if len(hooks) != 2 || !strings.HasSuffix(hooks[1], `-euc 'echo '\''a'\'' >/etc/a'`) {
		t.Errorf("hooks are %q", hooks)
	}
}
