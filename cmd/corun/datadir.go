package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What root does must not depend on names that the account may change, or who breaks into
// the server waits for the next start as root and leads it elsewhere, by a link or a
// rename. So the data directory of a server that was started as root is root's and sticky:
// the account makes its files there and does what it likes with them, but cannot rename or
// remove what is root's, such as the images. Root looks at nothing in it by a path before
// that is so, and what it hands over it hands over by descriptor. The database is the
// account's, and root leaves it to the account (delegate.go).

// settledMode is a data directory's whose owner is root and whose group the account's.
const settledMode = unix.S_ISVTX | 0o770

// changeableError says that the account may change what a path leads to.
type changeableError struct {
	path  string
	owner uint32
}

func (e *changeableError) Error() string {
	return fmt.Sprintf("the user that the server becomes may change what is in %s (it belongs to uid %d), and root must not rely on that: chown root: %s; chmod go-w %s; or name another folder", e.path, e.owner, e.path, e.path)
}

// mayWrite tells whether the account may make names in a folder, and remove them unless it
// is sticky. An access list is taken to be for the account.
func (a account) mayWrite(fd int, st *unix.Stat_t) bool {
	return int(st.Uid) == a.uid || st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && (int(st.Gid) == a.gid || hasAccessList(fd))
}

func hasAccessList(fd int) bool {
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", fd), "system.posix_acl_access", nil)
	return err == nil && n > 0
}

// onlyRoot tells whether a folder is root's and nobody else may make names in it.
func onlyRoot(fd int, st *unix.Stat_t) bool {
	return st.Uid == 0 && st.Mode&0o002 == 0 && (st.Mode&0o020 == 0 || st.Gid == 0 && !hasAccessList(fd))
}

// maxLinks is how many links a path may go through, as in the kernel.
const maxLinks = 40

// open opens a folder to which no name leads that the account could change; else the error
// is a changeableError. Folders on the way may be another user's: it is a clone in somebody's
// home where this was started as root. The folder itself may be anybody's: the caller looks.
func (a account) open(path string, create bool) (_ *os.File, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	const how = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, rest, links := "/", strings.Split(path, "/"), 0
	fd, err := unix.Open(at, how|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	for len(rest) > 0 {
		part := rest[0]
		if rest = rest[1:]; part == "" || part == "." {
			continue
		}
		var dir, st unix.Stat_t
		if err := unix.Fstat(fd, &dir); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: at, Err: err}
		}
		shared := a.mayWrite(fd, &dir)
		if int(dir.Uid) == a.uid || shared && dir.Mode&unix.S_ISVTX == 0 {
			return nil, &changeableError{at, dir.Uid}
		}
		next := filepath.Join(at, part)
		child, err := unix.Openat(fd, part, how, 0)
		if errors.Is(err, unix.ENOENT) && create {
			if err := unix.Mkdirat(fd, part, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
				return nil, &fs.PathError{Op: "mkdir", Path: next, Err: err}
			}
			child, err = unix.Openat(fd, part, how, 0)
		}
		if err == nil {
			if err = unix.Fstat(child, &st); err != nil {
				_ = unix.Close(child)
			}
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: next, Err: err}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			// A folder of its own in a sticky one it may exchange. In the last place it is
			// for the caller, who has the folder itself.
			last := !slices.ContainsFunc(rest, func(part string) bool { return part != "" && part != "." })
			_ = unix.Close(fd)
			if fd, at = child, next; shared && int(st.Uid) == a.uid && !last {
				return nil, &changeableError{at, st.Uid}
			}
		case unix.S_IFLNK:
			target := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(child, "", target)
			_ = unix.Close(child)
			links++
			switch {
			case err != nil:
				return nil, &fs.PathError{Op: "readlink", Path: next, Err: err}
			case shared && int(st.Uid) == a.uid:
				return nil, &changeableError{next, st.Uid}
			case links > maxLinks:
				return nil, &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
			}
			rest = append(strings.Split(string(target[:n]), "/"), rest...)
			if target[0] == '/' {
				root, err := unix.Open("/", how|unix.O_DIRECTORY, 0)
				if err != nil {
					return nil, &fs.PathError{Op: "open", Path: "/", Err: err}
				}
				_ = unix.Close(fd)
				fd, at = root, "/"
			}
		default:
			_ = unix.Close(child)
			return nil, &fs.PathError{Op: "open", Path: next, Err: unix.ENOTDIR}
		}
	}
	// Not for its path alone: its owner and mode are to be set.
	last, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	return os.NewFile(uintptr(last), path), nil
}

// statOf is what the kernel knows of an open file.
func statOf(f *os.File) (st unix.Stat_t, err error) {
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st, nil
}

// settle makes a data directory root's, in which the account may make files, and gives it
// with its former owner and group. One that a former version gave to the account is taken
// back before anything in it is looked at.
func (a account) settle(dataDir string) (_ *os.File, was unix.Stat_t, err error) {
	dir, err := a.open(dataDir, true)
	if err != nil {
		return nil, was, fmt.Errorf("open the data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("take the data directory: %w", err), dir.Close())
		}
	}()
	if was, err = statOf(dir); err != nil {
		return nil, was, err
	}
	if was.Uid == 0 && was.Mode&0o002 != 0 {
		return nil, was, fmt.Errorf("anybody may write to %s: name a folder of the server's own", dir.Name())
	}
	if was.Uid == 0 && int(was.Gid) == a.gid && was.Mode&0o7777 == settledMode {
		return dir, was, nil
	}
	if was.Uid != 0 {
		if err := errors.Join(dir.Chown(0, 0), dir.Chmod(0o700)); err != nil {
			return nil, was, err
		}
	}
	if err := a.checkFormerImages(dir, was.Uid); err != nil {
		return nil, was, errors.Join(err, dir.Chown(int(was.Uid), int(was.Gid)), unix.Fchmod(int(dir.Fd()), was.Mode&0o7777))
	}
	if err := errors.Join(dir.Chown(0, a.gid), unix.Fchmod(int(dir.Fd()), settledMode)); err != nil {
		return nil, was, err
	}
	// From here on the account cannot put another in its place, as it could until now
	// where it lies in a folder such as /tmp.
	again, err := a.open(dataDir, false)
	if err != nil {
		return nil, was, err
	}
	defer again.Close()
	one, err1 := dir.Stat()
	other, err2 := again.Stat()
	if err := errors.Join(err1, err2); err != nil {
		return nil, was, err
	}
	if !os.SameFile(one, other) {
		return nil, was, fmt.Errorf("%s has just become another folder", dataDir)
	}
	return dir, was, nil
}

// checkFormerImages looks for what the account, or a former owner of the data directory, has
// in the images there, or has in their place.
func (a account) checkFormerImages(dir *os.File, former uint32) error {
	images := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), imagesFolder)
	return filepath.WalkDir(images, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		theirs := int(st.Uid) == a.uid || former != 0 && st.Uid == former
		if theirs || path == images && !entry.IsDir() {
			return notRoots(dir.Name()+"/"+imagesFolder, strings.TrimPrefix(path, images), st.Uid)
		}
		return nil
	})
}

// notRoots refuses a folder of images for what is below it.
func notRoots(images, below string, owner uint32) error {
	return fmt.Errorf("%s is not root's alone (uid %d has made it, or may change what is in it), and may hold anything: remove it, or if you know that it is good chown -R root: %s; chmod go-w %s; corun image verify; or name another folder with --image-dir", images+below, owner, images, images)
}

// handOver gives the account a database in the data directory, which root may have made
// before the first start, or a former account. Other things there stay whose they are.
func (a account) handOver(dir *os.File, was unix.Stat_t, database string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
		if err := a.handOverFile(dir, was, database+suffix); err != nil {
			return fmt.Errorf("hand over %s: %w", filepath.Join(dir.Name(), database+suffix), err)
		}
	}
	return nil
}

func (a account) handOverFile(dir *os.File, was unix.Stat_t, name string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	// A link is followed by the account, or not.
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) == a.uid {
		return nil
	}
	former := was.Uid != 0 && st.Uid == was.Uid || was.Gid != 0 && int(was.Gid) != a.gid && st.Gid == was.Gid
	switch {
	case st.Uid != 0 && !former:
		return fmt.Errorf("it is of uid %d: chown it to the user that the server becomes", st.Uid)
	case st.Nlink != 1:
		return errors.New("it is known by another name, too (a hard link), which may be anywhere: chown it to the user that the server becomes, if it is the database")
	}
	return unix.Fchownat(fd, "", a.uid, a.gid, unix.AT_EMPTY_PATH)
}

// imageFolder is where images are. Root uses none that another may change.
func (c *common) imageFolder(create bool) (string, error) {
	path := c.imageDir()
	if os.Geteuid() != 0 {
		return path, nil
	}
	who, err := lookUp(c.User, nil)
	if err != nil {
		return "", err
	}
	if c.ImageDir == "" {
		if err := who.takeBack(c.DataDir); err != nil {
			return "", err
		}
	}
	dir, err := who.open(path, create)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", fmt.Errorf("open the folder of images: %w", err)
	}
	defer dir.Close()
	st, err := statOf(dir)
	if err != nil {
		return "", err
	}
	if !onlyRoot(int(dir.Fd()), &st) {
		return "", notRoots(path, "", st.Uid)
	}
	return path, nil
}

// takeBack settles a data directory that a former version gave to the account, and leaves
// others as they are.
func (a account) takeBack(dataDir string) error {
	dir, err := a.open(dataDir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the data directory: %w", err)
	}
	defer dir.Close()
	st, err := statOf(dir)
	if err != nil || int(st.Uid) != a.uid {
		return err
	}
	taken, _, err := a.settle(dataDir)
	if err != nil {
		return err
	}
	return taken.Close()
}
