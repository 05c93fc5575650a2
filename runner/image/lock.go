package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// longestPause is how late a lock may be seen to be free.
const longestPause = 100 * time.Millisecond

// acquire locks an open file or folder: unix.LOCK_SH or LOCK_EX. The lock goes
// with the file. Nobody can wait in the kernel and hear of ctx at once, so it asks
// again and again; waiting, if not nil, is called once before that.
func acquire(ctx context.Context, f *os.File, how int, waiting func()) error {
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		free, err := try(f, how)
		if err != nil {
			return err
		}
		if free {
			return nil
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock on %s: %w", f.Name(), context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// try is acquire without the wait.
func try(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// tryFolder is try on a folder by its path.
func tryFolder(path string, how int) (f *os.File, free bool, err error) {
	f, err = os.Open(path)
	if err != nil {
		return nil, false, err
	}
	free, err = try(f, how)
	if err != nil || !free {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, true, nil
}

// highDescriptor is above the numbers that boxes give to descriptors of their own:
// a box's init closes all from there on.
const highDescriptor = 64

// Hold keeps an image from being removed until release is called. If it never is,
// until this process has ended, whatever program it executes by then, and every
// process that it starts from now on: the server gives up root by executing itself
// again, and its launcher uses the image as long as the server does.
func Hold(ctx context.Context, img Image) (release func() error, err error) {
	if img.Usr != "" {
		return func() error { return nil }, nil // the host's own cannot be removed
	}
	path := filepath.Dir(img.Rootfs)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hold image %s: %w", img.Name, err)
	}
	defer f.Close() // the lock stays with the copy
	if err := acquire(ctx, f, unix.LOCK_SH, nil); err != nil {
		return nil, fmt.Errorf("hold image %s: %w", img.Name, err)
	}
	// It may have been removed before the lock was there.
	opened, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("hold image %s: %w", img.Name, err)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(opened, now) {
		return nil, fmt.Errorf("hold image %s: it has just been removed: %w", img.Name, ErrNotBuilt)
	}
	// Not closed on exec, unlike all others.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, highDescriptor)
	if err != nil {
		return nil, fmt.Errorf("hold image %s: %w", img.Name, err)
	}
	return func() error { return unix.Close(fd) }, nil
}
