package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Build gives the recipe's image, made from this machine's own package sources if
// it is not there yet, which takes some minutes. Two processes that build it at the
// same time build it once. progress is told what goes on.
func Build(ctx context.Context, r Recipe, dir string, progress io.Writer) (Image, error) {
	if img, err := Open(dir, r.Name()); err == nil && img.Digest != "" {
		tidy(dir, progress)
		if err := packFormer(ctx, dir, img, progress); err != nil {
			fmt.Fprintln(progress, "Making the image's file system:", err) // boxes work without
		}
		return img, nil
	}
	d, err := openFolder(ctx, dir, progress)
	if err != nil {
		img, openErr := Open(dir, r.Name())
		if openErr == nil && ctx.Err() == nil {
			return img, nil // a former version's, in a folder that cannot be written to
		}
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	defer d.close()
	img, err := Open(dir, r.Name())
	switch {
	case err == nil && img.Digest != "":
		return img, nil // another process has built it meanwhile
	case err == nil:
		if err := d.adopt(ctx, r.Name(), r.release.id+" "+r.release.codename); err != nil {
			return Image{}, fmt.Errorf("take over the image of a former version: %w", err)
		}
		return Open(dir, r.Name())
	case !errors.Is(err, ErrNotBuilt):
		return Image{}, err
	}
	if err := d.build(ctx, r); err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	return Open(dir, r.Name())
}

func (d *folder) build(ctx context.Context, r Recipe) (err error) {
	w, err := d.newWorkspace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	fmt.Fprintf(d.say, "Building the image %s from %s %s packages; once, some minutes.\n", r.Name(), r.release.id, r.release.codename)
	if err := bootstrap(ctx, r, w, d.say); err != nil {
		return err
	}
	ref := Info{Name: r.Name(), Made: time.Now().UTC().Truncate(time.Second), Distribution: r.release.id + " " + r.release.codename}
	root, err := os.OpenRoot(w.rootfs())
	if err != nil {
		return err
	}
	defer root.Close()
	if ref.Packages, err = installed(root); err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	if err := errors.Join(remove(root, unwanted), finish(root)); err != nil {
		return fmt.Errorf("finish image: %w", err)
	}
	if err := w.seal(ctx, &ref, d.say); err != nil {
		return err
	}
	_, err = d.install(w, ref, true) // what had the name is not there any more
	return err
}

// bootstrap installs the packages into a new root.
//
// mmdebstrap mounts the machine's devices below the root. It runs in mount and pid
// namespaces of its own: when this process ends, however it does, all of it ends and
// the mounts with it, and nothing goes on writing.
func bootstrap(ctx context.Context, r Recipe, w *workspace, progress io.Writer) error {
	root := os.Geteuid() == 0
	for _, tool := range []string{"mmdebstrap", "unshare", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: apt-get install mmdebstrap util-linux tar", tool)
		}
	}
	sources, err := packageSources(ctx, r.release)
	if err != nil {
		return err
	}
	// Root writes the files where they belong. Others install in a user namespace, whose
	// uids are of no use outside of it, and unpack the result as their own.
	args := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"}
	mode, format, target := "root", "directory", w.rootfs()
	if !root {
		args, mode, format, target = nil, "unshare", "tar", filepath.Join(w.spare, "rootfs.tar")
	}
	hooks, err := r.languages.hooks(w.spare)
	if err != nil {
		return err
	}
	args = append(args, "mmdebstrap",
		"--mode="+mode, "--variant=essential", "--format="+format, "--quiet",
		`--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/info/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		// Java's package makes links there, and fails without it.
		`--essential-hook=mkdir -p "$1/usr/share/man/man1"`,
		"--include="+strings.Join(r.Packages, ","))
	args = append(args, hooks...)
	args = append(args, r.release.codename, target, "-")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(sources)
	cmd.Env = append(os.Environ(), "TMPDIR="+w.spare)
	// A key that ends this process in a terminal is not for mmdebstrap: it is ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(progress, &said)
	cmd.Stderr = cmd.Stdout
	// The signal comes when the thread ends that has started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// This waits for all that hold the pipe, so for all that could still write.
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = fmt.Errorf("mmdebstrap: %w\n%s", err, tail(said.String(), 20))
		if !root {
			err = fmt.Errorf("%w\nwithout root it needs newuidmap and ids in /etc/subuid and /etc/subgid; or build it as root, once, in a folder that you can read: corun image build --image-dir DIR", err)
		}
		return err
	}
	if root {
		return nil
	}
	return unpack(ctx, target, w.rootfs())
}

// unpack extracts an archive as files of this user. Devices, which only root can make,
// are left out: a box has its own.
func unpack(ctx context.Context, archive, rootfs string) error {
	out, err := exec.CommandContext(ctx, "tar", "--extract", "--file", archive, "--directory", rootfs,
		"--no-same-owner", "--preserve-permissions", "--exclude=./dev/*").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpack the image: %w\n%s", err, tail(string(out), 5))
	}
	return nil
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// installed lists the packages in a root, as name=version.
func installed(root *os.Root) ([]string, error) {
	f, err := root.Open("var/lib/dpkg/status")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	var name string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "Package: "); ok {
			name = value
		}
		if value, ok := strings.CutPrefix(lines.Text(), "Version: "); ok {
			all = append(all, name+"="+value)
		}
	}
	slices.Sort(all)
	return all, lines.Err()
}

// packageSources lists this machine's own apt sources of its own release, in
// sources.list's form. Third parties' and backports are left out.
func packageSources(ctx context.Context, r release) (string, error) {
	list := func() (string, error) {
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)", "Created-By: Packages")
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("list apt sources: %w\n%s", err, tail(said.String(), 5))
		}
		var lines []string
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) < 4 || !strings.EqualFold(f[3], r.id) {
				continue
			}
			if suite, ok := strings.CutPrefix(f[1], r.codename); ok && (suite == "" || suite == "-updates" || suite == "-security") {
				lines = append(lines, fmt.Sprintf("deb %s %s %s", f[0], f[1], f[2]))
			}
		}
		slices.Sort(lines)
		return strings.Join(slices.Compact(lines), "\n") + "\n", nil
	}
	sources, err := list()
	if err == nil && strings.TrimSpace(sources) == "" {
		// Nothing is known of the sources before the first update.
		if out, updateErr := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); updateErr != nil {
			return "", fmt.Errorf("apt-get update: %w\n%s", updateErr, tail(string(out), 5))
		}
		sources, err = list()
	}
	if err == nil && strings.TrimSpace(sources) == "" {
		err = fmt.Errorf("this machine has no apt sources of %s %s: add them to /etc/apt", r.id, r.codename)
	}
	return sources, err
}
