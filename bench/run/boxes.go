package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"corun/runner/image"
	"corun/runner/lang"
	"corun/runner/sandbox"
	profiles "corun/sandbox-profiles"
)

// boxesGoal is the most memory that 100 Python boxes should take while they wait.
const boxesGoal = 1.2 * (1 << 30) / 100

// weigh has Python boxes wait, as the server's pool does, and prints what memory they
// take: by the kernel's accounting, the peaks of all together, in which what they share
// of the image counts for who read it first; and what the machine has less to give.
func weigh(ctx context.Context, out io.Writer, img image.Image, n int) (err error) {
	languages, err := lang.Load(profiles.FS, "languages")
	if err != nil {
		return err
	}
	python, ok := languages.Find("python")
	if !ok || python.Warm == nil {
		return errors.New("there is no Python that can be started ahead")
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
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/work", "LANG": "C.UTF-8", "USER": "runner", "TERM": "dumb"}
	maps.Copy(env, python.Env)
	maps.Copy(env, python.Warm.Env)
	runtime := sandbox.Command{Args: python.WarmCommand(), Dir: "/work"}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		runtime.Env = append(runtime.Env, name+"="+env[name])
	}
	spec := sandbox.Spec{Rootfs: img.Rootfs, Usr: img.Usr, Seccomp: filter, Limits: sandbox.DefaultLimits(), Hostname: "corun"}

	var boxes []*sandbox.Box
	defer func() {
		for _, b := range boxes { // a benchmark that is stopped leaves none either
			err = errors.Join(err, b.Destroy(context.WithoutCancel(ctx)))
		}
	}()
	var before int64
	var sum int64
	for i := range n + 1 { // one more, first: what all read of the image is in memory then
		if i == 1 {
			if before, err = available(); err != nil {
				return err
			}
		}
		box, err := launcher.Build(ctx, spec)
		if err != nil {
			return err
		}
		boxes = append(boxes, box)
		if err := box.Warm(ctx, runtime); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		used, err := box.Usage()
		if err != nil {
			return err
		}
		sum += used.MemoryPeak
	}
	after, err := available()
	if err != nil {
		return err
	}
	most := boxesGoal * float64(n)
	fmt.Fprintln(out, "\n| memory | boxes' accounting | machine's | goal | met |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- |")
	_, err = fmt.Fprintf(out, "| %d Python boxes that wait | %.0f MiB | %.0f MiB | ≤ %.0f MiB | %s |\n", n, float64(sum)/(1<<20), float64(before-after)/(1<<20),
		most/(1<<20), yes(float64(sum) <= most && float64(before-after) <= most))
	return err
}

// available is what the machine could give to programs, in bytes.
func available() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	var kib int64
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("/proc/meminfo does not tell what is available")
}
