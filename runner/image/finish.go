package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
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
	"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/icons", "usr/share/bug", "usr/share/lintian",
}

// emptied are places that boxes mount over, with devices and what packages left.
var emptied = []string{"work", "tmp", "dev", "proc", "sys", "run"}

func remove(root *os.Root, names []string) error {
	for _, name := range names {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// finish makes a root into an image. What a box mounts over is a folder of its own
// then, and no link: a box's init mounts while the host is still in sight.
func finish(root *os.Root) error {
	if err := remove(root, emptied); err != nil {
		return err
	}
	if err := writeEtc(root); err != nil {
		return err
	}
	return dropRights(root)
}

func writeEtc(root *os.Root) error {
	for _, name := range mountpoints {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			if err := root.Mkdir(name, 0o755); err != nil {
				return err
			}
			err = root.Chmod(name, 0o755) // whatever the umask
		} else if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no folder, and boxes need one there", name)
		}
		if err != nil {
			return err
		}
	}
	for name, content := range etc {
		// It may be a link to somewhere.
		if err := root.RemoveAll(name); err != nil {
			return err
		}
		if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
		if err := root.Chmod(name, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// dropRights takes away what would be without effect in a box anyway: setuid and
// setgid bits, file capabilities, access lists.
func dropRights(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() && !e.IsDir() {
			return err
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if mode := info.Mode(); mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			if err := f.Chmod(mode &^ (fs.ModeSetuid | fs.ModeSetgid)); err != nil {
				return err
			}
		}
		for _, name := range granting {
			err := unix.Fremovexattr(int(f.Fd()), name)
			if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
				return &fs.PathError{Op: "remove " + name + " of", Path: path, Err: err}
			}
		}
		return nil
	})
}
