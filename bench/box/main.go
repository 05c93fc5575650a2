// Command box measures what a box costs: how long it takes to build one, and how long
// a static C program that says hello takes from nothing to the end of its output, in a
// box that is built for it (cold), in one that waits (warm), and beside it in the other
// sandboxes of the machine, as whole processes. They take turns, so that what disturbs
// the machine disturbs all alike. It takes root; the peers are Debian's packages
// bubblewrap, crun and (where there is one) nsjail, and are left out if they are not
// there.
//
//	go run ./bench/box [-n 100] [-image-dir DIR]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"corun/runner/image"
	"corun/runner/sandbox"
	profiles "corun/sandbox-profiles"
)

const greeting = "hello\n"

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/box: ")
	n := flag.Int("n", 100, "how often each is done")
	dir := flag.String("image-dir", os.Getenv("CORUN_IMAGE_DIR"), "where images are; the default one is built if it is not there")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *n, *dir); err != nil {
		log.Fatal(err)
	}
}

// contestant is one way to say hello. It gives how long that took; what it does after
// that, as taking the box away, is not counted.
type contestant struct {
	name  string
	what  string // it does for it
	hello func(ctx context.Context) (time.Duration, error)
}

func run(ctx context.Context, out io.Writer, n int, imageDir string) (err error) {
	scratch, err := os.MkdirTemp("", "corun-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if imageDir == "" {
		imageDir = filepath.Join(scratch, "images")
	}
	recipe, err := image.DefaultRecipe()
	if err != nil {
		return err
	}
	img, err := image.Build(ctx, recipe, imageDir, os.Stderr)
	if err != nil {
		return err
	}
	hello := filepath.Join(scratch, "hello")
	if said, err := exec.CommandContext(ctx, "gcc", "-O2", "-static", "-o", hello, "bench/box/testdata/hello.c").CombinedOutput(); err != nil {
		return fmt.Errorf("compile hello.c: %w\n%s", err, said)
	}
	binary, err := os.ReadFile(hello)
	if err != nil {
		return err
	}
	oci, err := profiles.FS.ReadFile("seccomp/default.json")
	if err != nil {
		return err
	}
	filter, err := sandbox.CompileSeccomp(oci)
	if err != nil {
		return err
	}
	launcher, err := sandbox.Open(ctx, sandbox.Config{Name: "corun-bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, launcher.Close()) }()
	b := &boxes{
		launcher: launcher, binary: binary,
		spec: sandbox.Spec{Rootfs: img.Rootfs, Seccomp: filter, Limits: sandbox.DefaultLimits(), Hostname: "corun"},
	}
	contestants := []contestant{
		{"build", "a box, ready for its command", b.build},
		{"corun, cold", "all of a box: namespaces, cgroup, seccomp, scratch, terminal", b.cold},
		{"corun, warm", "the same, built ahead", b.warm},
		{"bare", "fork and exec on the host", command(hello)},
	}
	peers, err := peersOf(scratch, img.Rootfs, hello)
	if err != nil {
		return err
	}
	contestants = append(contestants, peers...)
	return race(ctx, out, contestants, n)
}

func race(ctx context.Context, out io.Writer, contestants []contestant, n int) error {
	times := make([][]float64, len(contestants))
	for round := -n / 10; round < n; round++ { // a tenth of them to warm up
		for i := range contestants {
			i = (i + max(round, 0)) % len(contestants) // nobody always comes after the same one
			took, err := contestants[i].hello(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", contestants[i].name, err)
			}
			if round >= 0 {
				times[i] = append(times[i], float64(took.Microseconds())/1000)
			}
		}
	}
	fmt.Fprintln(out, "| | p50 | p90 | least | what is done |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- |")
	for i, c := range contestants {
		slices.Sort(times[i])
		fmt.Fprintf(out, "| %s | %.2f ms | %.2f ms | %.2f ms | %s |\n", c.name, times[i][n/2], times[i][n*9/10], times[i][0], c.what)
	}
	_, err := fmt.Fprintf(out, "\n%d rounds in turns; %s, %d CPUs.\n", n, cpu(), runtime.NumCPU())
	return err
}

// boxes are Corun's own.
type boxes struct {
	launcher *sandbox.Launcher
	spec     sandbox.Spec
	binary   []byte
}

func (b *boxes) build(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	box, err := b.launcher.Build(ctx, b.spec)
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	return took, box.Destroy(ctx)
}

func (b *boxes) cold(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	box, err := b.launcher.Build(ctx, b.spec)
	if err != nil {
		return 0, err
	}
	took, err := b.hello(ctx, box, start)
	return took, errors.Join(err, box.Destroy(ctx))
}

func (b *boxes) warm(ctx context.Context) (time.Duration, error) {
	box, err := b.launcher.Build(ctx, b.spec)
	if err != nil {
		return 0, err
	}
	took, err := b.hello(ctx, box, time.Now())
	return took, errors.Join(err, box.Destroy(ctx))
}

func (b *boxes) hello(ctx context.Context, box *sandbox.Box, start time.Time) (time.Duration, error) {
	p, err := box.Start(ctx, sandbox.Command{
		Args: []string{"./hello"}, Env: []string{"PATH=/usr/bin:/bin"},
		Files: []sandbox.File{{Path: "hello", Content: b.binary, Mode: 0o755}},
	})
	if err != nil {
		return 0, err
	}
	said, err := io.ReadAll(p.Stdout())
	if err != nil {
		return 0, err
	}
	exit, err := p.Wait(ctx)
	took := time.Since(start)
	if err == nil && (string(said) != greeting || exit != sandbox.Exit{}) {
		err = fmt.Errorf("it said %q and ended with %+v", said, exit)
	}
	return took, err
}

// command is a contestant that is a program.
func command(args ...string) func(context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		said, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		took := time.Since(start)
		if err != nil || string(said) != greeting {
			return 0, errors.Join(fmt.Errorf("%s said %q", strings.Join(args, " "), bytes.TrimSpace(said)), err)
		}
		return took, nil
	}
}

// peersOf gives those of the other sandboxes that are installed, each told to isolate
// as much as it can with the image as its root.
func peersOf(scratch, rootfs, hello string) (peers []contestant, err error) {
	if _, err := exec.LookPath("bwrap"); err == nil {
		peers = append(peers, contestant{"bubblewrap", "namespaces; no cgroup, no seccomp", command("bwrap",
			"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000",
			"--ro-bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/work",
			"--ro-bind", hello, "/work/hello", "--chdir", "/work", "/work/hello")})
	}
	if _, err := exec.LookPath("nsjail"); err == nil {
		peers = append(peers, contestant{"nsjail", "namespaces, rlimits; no cgroup, no seccomp", command("nsjail",
			"--really_quiet", "-Mo", "--user", "99999", "--group", "99999", "--chroot", rootfs, "--cwd", "/work",
			"-T", "/tmp", "-T", "/work", "-R", hello+":/work/hello", "--", "/work/hello")})
	}
	if _, err := exec.LookPath("crun"); err == nil {
		bundle, err := ociBundle(scratch, rootfs, hello)
		if err != nil {
			return nil, err
		}
		with := contestant{"crun", "namespaces, cgroup; no seccomp", command("crun", "run", "--bundle", bundle, "corun-bench")}
		if _, err := with.hello(context.Background()); err != nil { // it knows no machine with controllers in both versions of cgroups
			log.Printf("without crun, which does not run here: %v", err)
			return peers, nil
		}
		peers = append(peers, with)
	}
	return peers, nil
}

// ociBundle writes crun's own example specification, without a terminal, for the image
// and the program.
func ociBundle(scratch, rootfs, hello string) (string, error) {
	bundle := filepath.Join(scratch, "bundle")
	if err := os.Mkdir(bundle, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("crun", "spec")
	cmd.Dir = bundle
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("crun spec: %w\n%s", err, said)
	}
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return "", err
	}
	process, ok1 := spec["process"].(map[string]any)
	mounts, ok2 := spec["mounts"].([]any)
	if !ok1 || !ok2 {
		return "", errors.New("crun's specification is not as expected")
	}
	process["terminal"], process["args"], process["cwd"] = false, []string{"/work/hello"}, "/work"
	spec["root"] = map[string]any{"path": rootfs, "readonly": true}
	spec["mounts"] = append(mounts,
		map[string]any{"destination": "/work", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "size=64m"}},
		map[string]any{"destination": "/work/hello", "type": "bind", "source": hello, "options": []string{"bind", "ro"}})
	if text, err = json.Marshal(spec); err != nil {
		return "", err
	}
	return bundle, os.WriteFile(path, text, 0o644)
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if _, name, ok := strings.Cut(line, "model name\t: "); ok {
			return strings.TrimSpace(name)
		}
	}
	return runtime.GOARCH
}
