package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	profiles "corun/sandbox-profiles"
)

// Host gives an image that shows this machine's own /usr, for machines where
// none can be built. It is weaker: programs learn what is installed here, and no
// language's setup commands are run. Nothing is mounted on the host: boxes mount
// /usr themselves, read-only.
func Host(dir string) (Image, error) {
	rootfs, err := filepath.Abs(filepath.Join(dir, hostFolder, rootfsFolder))
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
	// A link would have another part of the host written to.
	for _, path := range []string{filepath.Dir(rootfs), rootfs} {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			return errors.Join(err, fmt.Errorf("%s is no folder", path))
		}
	}
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := writeEtc(root); err != nil {
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
	if err := copyLinks("/etc/alternatives", filepath.Join(rootfs, "etc/alternatives")); err != nil {
		return err
	}
	all, err := readLanguages(profiles.FS)
	if err != nil {
		return err
	}
	return all.write(root, languagesFolder)
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
