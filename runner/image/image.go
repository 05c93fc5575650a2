// Package image makes and finds the root file systems that boxes run on. An
// image is a folder that is named by a hash of what it was made from, so that a
// changed recipe is another image and an image in use never changes. The runner
// and the commands call it; boxes see an image read-only.
package image

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	profiles "corun/sandbox-profiles"
)

// layout is part of the hash. It is raised when Build makes something else from
// the same recipe.
const layout = 1

// Image is a root file system.
type Image struct {
	Name   string // as default-0123456789ab
	Rootfs string // its folder
	Usr    string // folder that takes the place of its /usr, or ""
}

// Recipe says what is in an image.
type Recipe struct {
	Label    string   `toml:"name"`
	Packages []string `toml:"packages"`
	release  release
}

// release is the distribution that packages are taken from: this machine's.
type release struct{ id, codename string }

// ErrNotBuilt says that there is no such image yet.
var ErrNotBuilt = errors.New("the image is not built")

// DefaultRecipe is the recipe in the binary, for this machine's distribution.
func DefaultRecipe() (Recipe, error) {
	data, err := fs.ReadFile(profiles.FS, "images/default.toml")
	if err != nil {
		return Recipe{}, fmt.Errorf("read recipe: %w", err)
	}
	var r Recipe
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&r); err != nil {
		return Recipe{}, fmt.Errorf("read recipe: %w", err)
	}
	r.release, err = thisRelease()
	return r, err
}

// thisRelease reads os-release(5).
func thisRelease() (r release, err error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return r, fmt.Errorf("find this machine's distribution: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			r.id = value
		case "VERSION_CODENAME":
			r.codename = value
		}
	}
	return r, nil
}

// Name is the name of the image that the recipe makes.
func (r Recipe) Name() string {
	packages := slices.Sorted(slices.Values(r.Packages))
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %s", layout, r.release.id, r.release.codename, strings.Join(packages, " ")))
	return r.Label + "-" + hex.EncodeToString(sum[:6])
}

const rootfsFolder = "rootfs"

// Open finds an image by name, or ErrNotBuilt.
func Open(dir, name string) (Image, error) {
	rootfs, err := filepath.Abs(filepath.Join(dir, name, rootfsFolder))
	if err != nil {
		return Image{}, fmt.Errorf("find image: %w", err)
	}
	if _, err := os.Stat(rootfs); errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("image %s in %s: %w", name, dir, ErrNotBuilt)
	} else if err != nil {
		return Image{}, fmt.Errorf("find image: %w", err)
	}
	return Image{Name: name, Rootfs: rootfs}, nil
}

// List gives the images in a folder, by name.
func List(dir string) ([]Image, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var images []Image
	for _, e := range entries {
		// What is being built begins with a dot.
		if img, err := Open(dir, e.Name()); err == nil && !strings.HasPrefix(e.Name(), ".") {
			images = append(images, img)
		}
	}
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	return images, nil
}

// Build gives the recipe's image, made from this machine's own package sources
// if it is not there yet, which takes about half a minute. Two processes that
// build it at the same time build it once. progress is told what goes on.
func Build(ctx context.Context, r Recipe, dir string, progress io.Writer) (Image, error) {
	if img, err := Open(dir, r.Name()); err == nil {
		return img, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	defer unlock()
	if img, err := Open(dir, r.Name()); err == nil {
		return img, nil // another process has built it meanwhile
	}
	work, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	defer os.RemoveAll(work)
	// Boxes have other uids; the images' folder itself is closed to all but root.
	if err := os.Chmod(work, 0o755); err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	fmt.Fprintf(progress, "Building the image %s from %s %s packages; once, about half a minute.\n", r.Name(), r.release.id, r.release.codename)
	rootfs := filepath.Join(work, rootfsFolder)
	if err := bootstrap(ctx, r, rootfs, progress); err != nil {
		return Image{}, err
	}
	if err := finish(rootfs); err != nil {
		return Image{}, fmt.Errorf("finish image: %w", err)
	}
	if err := os.Rename(work, filepath.Join(dir, r.Name())); err != nil {
		return Image{}, fmt.Errorf("put image in place: %w", err)
	}
	return Open(dir, r.Name())
}

// lock waits for the right to build in a folder.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for another build: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // the lock goes with the file
}

// bootstrap installs the packages into a new root.
func bootstrap(ctx context.Context, r Recipe, rootfs string, progress io.Writer) error {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return errors.New("mmdebstrap is not installed: apt-get install mmdebstrap")
	}
	sources, err := packageSources(ctx, r.release)
	if err != nil {
		return err
	}
	// Root writes the files where they belong. Others install in a user namespace, whose
	// uids are of no use outside of it, and unpack the result as their own.
	mode, format, target := "root", "directory", rootfs
	if os.Geteuid() != 0 {
		mode, format, target = "unshare", "tar", rootfs+".tar"
		defer os.Remove(target)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap",
		"--mode="+mode, "--variant=essential", "--format="+format, "--quiet",
		`--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/info/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--include="+strings.Join(r.Packages, ","),
		r.release.codename, target, "-")
	cmd.Stdin = strings.NewReader(sources)
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(progress, &said)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("mmdebstrap: %w\n%s", err, tail(said.String(), 20))
		if os.Geteuid() != 0 {
			err = fmt.Errorf("%w\nwithout root it needs newuidmap and ids in /etc/subuid and /etc/subgid; or build it as root, once, in a folder that you can read: corun image build --image-dir DIR", err)
		}
		return err
	}
	if target == rootfs {
		return nil
	}
	return unpack(ctx, target, rootfs)
}

// unpack extracts an archive as files of this user. Devices, which only root can make,
// are left out: a box has its own.
func unpack(ctx context.Context, archive, rootfs string) error {
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return err
	}
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
