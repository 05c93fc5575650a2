// Package erofs makes and mounts images of root file systems that are files: EROFS, the
// kernel's read-only file system (Documentation/filesystems/erofs.rst), on loop devices.
//
// A mount is in no place. It is reached through a descriptor, from which a box moves it
// into its own mount namespace, and it is gone with the last of them; so is the loop
// device (LO_FLAGS_AUTOCLEAR in loop(4)). Nothing is left of a process that is killed.
package erofs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Suffix is what the name of a folder is followed by in the name of the file that holds
// the same.
const Suffix = ".erofs"

// ErrNoTool says that mkfs.erofs is not installed.
var ErrNoTool = errors.New("there is no mkfs.erofs (apt-get install erofs-utils)")

// CanMake says whether the tool is there.
func CanMake() bool {
	_, err := exec.LookPath("mkfs.erofs")
	return err == nil
}

// Make writes a file system with what is in a folder: the file is there when all of it is
// on the disk, or not at all.
func Make(ctx context.Context, folder, file string) (err error) {
	tool, err := exec.LookPath("mkfs.erofs")
	if err != nil {
		return ErrNoTool
	}
	part := file + ".part"
	if err := os.RemoveAll(part); err != nil { // of one that was killed
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	// Times stay what they are: Python looks whether a compiled module is of its source.
	cmd := exec.CommandContext(ctx, tool, "-zlz4", "--preserve-mtime", part, folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt in a terminal is for us
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		last := strings.FieldsFunc(string(said), func(r rune) bool { return r == '\r' || r == '\n' }) // it tells of every file
		return fmt.Errorf("%s: %w: %q", tool, err, last[max(0, len(last)-1):])
	}
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// Usable says why no file system in a file can be mounted here, if so.
func Usable() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can mount a file system in a file")
	}
	control, err := openControl()
	if err != nil {
		return err
	}
	f, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC) // which loads the module
	if err != nil {
		return errors.Join(fmt.Errorf("the kernel has no %s: %w", kind, err), control.Close())
	}
	return errors.Join(unix.Close(f), control.Close())
}

// FS is a mounted file system. Its mounts share it, and so what of it is in memory.
type FS struct {
	device string
	first  *os.File // a mount, which keeps the device
}

// Open mounts a file.
func Open(file string) (*FS, error) {
	device, err := attach(file)
	if err != nil {
		return nil, fmt.Errorf("a loop device for %s: %w", file, err)
	}
	defer device.Close()
	fs := &FS{device: device.Name()}
	if fs.first, err = fs.Mount(); err != nil {
		return nil, fmt.Errorf("mount %s: %w", file, err)
	}
	return fs, nil
}

// Close gives up the file system, which is there until its mounts are gone.
func (fs *FS) Close() error { return fs.first.Close() }

// Path is its root, for this process and until Close.
func (fs *FS) Path() string { return fmt.Sprintf("/proc/self/fd/%d/", fs.first.Fd()) }

// Mount gives a new mount: read-only, nosuid, nodev.
func (fs *FS) Mount() (*os.File, error) {
	f, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", kind, err)
	}
	defer unix.Close(f)
	if err := unix.FsconfigSetFlag(f, "ro"); err != nil {
		return nil, fmt.Errorf("set ro: %w", err)
	}
	if err := unix.FsconfigSetString(f, "source", fs.device); err != nil {
		return nil, fmt.Errorf("set source: %w", err)
	}
	if err := unix.FsconfigCreate(f); err != nil {
		return nil, fmt.Errorf("read its superblock: %w", err)
	}
	fd, err := unix.Fsmount(f, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("make a mount: %w", err)
	}
	return os.NewFile(uintptr(fd), "image"), nil
}

const kind = "erofs"

func openControl() (*os.File, error) { return os.OpenFile("/dev/loop-control", os.O_RDWR, 0) }

// attachTries is how often another process may take the device that was free.
const attachTries = 32

// attach gives a loop device with the file, which it loses with its last user.
func attach(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the device has its own
	control, err := openControl()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(f.Fd()), Size: 4096}
	// Without direct I/O all that is read would be in memory twice.
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	for range attachTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free one: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		if err = errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("configure %s: %w", device.Name(), err)
		}
	}
	return nil, unix.EBUSY
}
