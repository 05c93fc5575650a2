package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// hostname is what programs see; boxes set it too.
const hostname = "corun"

// accounts and the other files below are the same in every image.
var etc = map[string]string{
	"etc/passwd":        "root:x:0:0:root:/root:/usr/sbin/nologin\nrunner:x:1000:1000:runner:/work:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"etc/group":         "root:x:0:\ntty:x:5:\nrunner:x:1000:\nnogroup:x:65534:\n",
	"etc/hostname":      hostname + "\n",
	"etc/hosts":         "127.0.0.1\tlocalhost " + hostname + "\n::1\tlocalhost\n",
	"etc/resolv.conf":   "",
	"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}

// mountpoints are where a box mounts what is its own.
var mountpoints = []string{"work", "tmp", "dev", "proc", "sys", "run", "etc"}

// unwanted has no use in a box.
var unwanted = []string{
	"etc/shadow", "etc/shadow-", "etc/passwd-", "etc/group-", "etc/gshadow", "etc/gshadow-", "etc/machine-id", "etc/apt",
	"var/lib/apt", "var/cache/apt", "var/cache/debconf", "var/log", "var/lib/dpkg", "boot", "media", "mnt", "srv", "home",
}

// finish makes a bootstrapped root into an image.
func finish(rootfs string) error {
	for _, name := range unwanted {
		if err := os.RemoveAll(filepath.Join(rootfs, name)); err != nil {
			return err
		}
	}
	// Devices and what packages left in places that are mounted over.
	for _, name := range []string{"dev", "tmp", "run", "proc", "sys"} {
		if err := os.RemoveAll(filepath.Join(rootfs, name)); err != nil {
			return err
		}
	}
	if err := writeEtc(rootfs); err != nil {
		return err
	}
	return dropSetuid(rootfs)
}

func writeEtc(rootfs string) error {
	for _, name := range mountpoints {
		if err := os.MkdirAll(filepath.Join(rootfs, name), 0o755); err != nil {
			return err
		}
	}
	for name, content := range etc {
		path := filepath.Join(rootfs, name)
		// It may be a link to somewhere.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// dropSetuid takes the bits away that would be without effect in a box anyway.
func dropSetuid(rootfs string) error {
	return filepath.WalkDir(rootfs, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return os.Chmod(path, info.Mode().Perm())
		}
		return nil
	})
}

// Host gives an image that shows this machine's own /usr, for machines where
// none can be built. It is weaker: programs learn what is installed here. Nothing
// is mounted on the host: boxes mount /usr themselves, read-only.
func Host(dir string) (Image, error) {
	rootfs, err := filepath.Abs(filepath.Join(dir, "host", rootfsFolder))
	if err != nil {
		return Image{}, fmt.Errorf("make host image: %w", err)
	}
	if err := makeHost(rootfs); err != nil {
		return Image{}, fmt.Errorf("make host image: %w", err)
	}
	return Image{Name: "host", Rootfs: rootfs, Usr: "/usr"}, nil
}

func makeHost(rootfs string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Dir(rootfs)), 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(rootfs, "usr"), 0o755); err != nil {
		return err
	}
	if err := writeEtc(rootfs); err != nil {
		return err
	}
	// The merged /usr of all current distributions.
	for _, name := range []string{"bin", "sbin", "lib", "lib64", "lib32", "libx32"} {
		if target, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(target, filepath.Join(rootfs, name)); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	for _, name := range []string{"etc/ld.so.cache", "etc/ld.so.conf"} {
		if data, err := os.ReadFile("/" + name); err == nil {
			if err := os.WriteFile(filepath.Join(rootfs, name), data, 0o644); err != nil {
				return err
			}
		}
	}
	return copyLinks("/etc/alternatives", filepath.Join(rootfs, "etc/alternatives"))
}

// copyLinks copies the links of a folder that may not be there.
func copyLinks(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(from, e.Name())); err == nil {
			if err := os.Symlink(target, filepath.Join(to, e.Name())); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}
