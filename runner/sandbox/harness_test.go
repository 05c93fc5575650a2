package sandbox

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"corun/runner/image"
	profiles "corun/sandbox-profiles"
)

// The tests make real boxes, which takes root. They use the default image: the
// one that $CORUN_IMAGE_DIR holds, or one that is built for them. Where
// $CORUN_TEST_ROOTFS names a root file system, it is that. Where $CORUN_RUNSC names the
// runsc that make runsc built, boxes are gVisor's.
var setup struct {
	launcher *Launcher
	rootfs   string
	filter   []byte
}

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 && os.Getenv("CORUN_TEST_ROLE") == "" {
		// Nothing here works without; see Check.
		println("skipped: boxes need root")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	rootfs, remove, err := testRootfs(ctx)
	defer remove()
	if err != nil {
		panic(err)
	}
	setup.rootfs = rootfs
	oci, err := profiles.FS.ReadFile("seccomp/default.json")
	if err != nil {
		panic(err)
	}
	if setup.filter, err = CompileSeccomp(oci); err != nil {
		panic(err)
	}
	if name := os.Getenv(launcherVariable); name != "" {
		busyLauncher(name)
	}
	if role := os.Getenv("CORUN_TEST_ROLE"); role != "" {
		if err := roles[role](ctx); err != nil {
			println(role+":", err.Error())
			return 1
		}
		return 0
	}
	cfg := Config{Name: "corun-sandbox-test", Log: slog.New(slog.DiscardHandler)}
	if cfg.Runsc = os.Getenv("CORUN_RUNSC"); cfg.Runsc != "" {
		cfg.Isolation = GVisor
	}
	setup.launcher, err = Open(ctx, cfg)
	if err != nil {
		panic(err)
	}
	code := m.Run()
	if err := setup.launcher.Close(); err != nil {
		println("close launcher:", err.Error())
		return 1
	}
	return code
}

func testRootfs(ctx context.Context) (rootfs string, remove func(), err error) {
	remove = func() {}
	if rootfs := os.Getenv("CORUN_TEST_ROOTFS"); rootfs != "" {
		return rootfs, remove, nil
	}
	dir := os.Getenv("CORUN_IMAGE_DIR")
	if dir == "" {
		if dir, err = os.MkdirTemp("", "corun-images-"); err != nil {
			return "", remove, err
		}
		remove = func() { _ = os.RemoveAll(dir) } // what is left is in /tmp
	}
	recipe, err := image.DefaultRecipe()
	if err != nil {
		return "", remove, err
	}
	img, err := image.Build(ctx, recipe, dir, os.Stderr)
	return img.Rootfs, remove, err
}

func spec() Spec {
	return Spec{Rootfs: setup.rootfs, Seccomp: setup.filter, Limits: DefaultLimits(), Hostname: "corun"}
}

var testEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/work", "LANG=C.UTF-8"}

// build makes a box and sees to it that nothing of it is left.
func build(t testing.TB, s Spec) *Box {
	t.Helper()
	box, err := setup.launcher.Build(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pids, err := setup.launcher.h.processes(setup.launcher.cfg.Name + "/" + box.id)
		if err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := box.Destroy(ctx); err != nil {
			t.Error(err)
		}
		for _, pid := range pids {
			// A pid may have been taken by another process by now; one of a box
			// has a uid of boxes.
			if status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status"); err == nil && strings.Contains(string(status), "Uid:\t"+strconv.Itoa(box.uid)) {
				t.Errorf("process %d of the box is still there", pid)
			}
		}
		for _, folder := range setup.launcher.h.folders(setup.launcher.cfg.Name + "/" + box.id) {
			if _, err := os.Stat(folder); err == nil {
				t.Errorf("cgroup %s is still there", folder)
			}
		}
	})
	return box
}

// result is what a program in a box made.
type result struct {
	stdout, stderr string
	exit           Exit
	err            error // from Wait
	usage          Usage
	box            *Box
}

// runIn runs a command in a box until it ends, at the latest after limit.
func runIn(t testing.TB, s Spec, limit time.Duration, files []File, args ...string) result {
	t.Helper()
	box := build(t, s)
	p, err := box.Start(context.Background(), Command{Args: args, Env: testEnv, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Stdin().Close()
	clock := time.AfterFunc(limit, func() { _ = box.Kill() })
	defer clock.Stop()
	var out, errs bytes.Buffer
	var readers sync.WaitGroup
	readers.Go(func() { _, _ = io.Copy(&out, io.LimitReader(p.Stdout(), 1<<20)) })
	readers.Go(func() { _, _ = io.Copy(&errs, io.LimitReader(p.Stderr(), 1<<20)) })
	r := result{box: box}
	r.exit, r.err = p.Wait(context.Background())
	if r.usage, err = box.Usage(); err != nil {
		t.Error(err)
	}
	if err := box.Kill(); err != nil {
		t.Error(err)
	}
	readers.Wait()
	r.stdout, r.stderr = out.String(), errs.String()
	return r
}

func python(t testing.TB, s Spec, limit time.Duration, code string) result {
	t.Helper()
	return runIn(t, s, limit, []File{{Path: "main.py", Content: []byte(code)}}, "python3", "main.py")
}
