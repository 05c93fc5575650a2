package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// oomWatch is how the kernel tells of a group that it is out of memory.
type oomWatch struct {
	signal *os.File // v1: an eventfd; v2: an epoll instance with events in it
	events *os.File // v2: memory.events; reading it makes the epoll wait for the next change
}

// watchOOM registers with the kernel.
func (c *cgroup) watchOOM() (err error) {
	var fd int
	if c.h.unified {
		fd, err = c.watchEvents()
	} else {
		var eventfd uintptr
		eventfd, err = c.v1.OOMEventFD()
		fd = int(eventfd)
	}
	if err != nil {
		return fmt.Errorf("watch for lack of memory: %w", err)
	}
	// For Go's poller, which then waits for it without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	c.oom.signal = os.NewFile(uintptr(fd), "oom")
	return nil
}

// watchEvents makes an epoll instance that is readable when memory.events has
// changed since it was read, which the kernel reports as POLLPRI (cgroup-v2.rst,
// "Basic Operations"). Inotify would say the same, but a user has few instances.
func (c *cgroup) watchEvents() (int, error) {
	// Not with os.Open: that would put it into Go's poller as well, where it is
	// always readable.
	events, err := unix.Open(filepath.Join(c.h.memoryFolder(c.group), "memory.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	c.oom.events = os.NewFile(uintptr(events), "memory.events")
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, events, &unix.EpollEvent{Events: unix.EPOLLPRI}); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// awaitOOMKill returns true once the kernel has killed in the group for lack of
// memory, and false when the group is removed.
func (c *cgroup) awaitOOMKill() bool {
	if c.h.unified {
		return c.awaitOOMKill2()
	}
	var count [8]byte
	for {
		if _, err := c.oom.signal.Read(count[:]); err != nil {
			return false // closed
		}
		if c.killedSoon() {
			return true
		}
	}
}

func (c *cgroup) awaitOOMKill2() bool {
	raw, err := c.oom.signal.SyscallConn()
	if err != nil {
		return false
	}
	for {
		// The kernel counts before it signals.
		kills, err := readKeyOf(c.oom.events, "oom_kill")
		if err != nil {
			return false
		}
		if kills > 0 {
			return true
		}
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			var events [1]unix.EpollEvent
			var n int
			for {
				if n, failed = unix.EpollWait(int(fd), events[:], 0); !errors.Is(failed, unix.EINTR) {
					return failed != nil || n > 0
				}
			}
		})
		if err != nil || failed != nil {
			return false
		}
	}
}

const (
	oomSettles = 2 * time.Second
	oomPause   = 2 * time.Millisecond
)

// killedSoon tells, with version 1, whether a signal was about a kill. The kernel
// signals before it kills, and it signals the removal of the group as well, so that
// the counter has to be looked at for a while.
func (c *cgroup) killedSoon() bool {
	for deadline := time.Now().Add(oomSettles); ; time.Sleep(oomPause) {
		kills, err := readKey(filepath.Join(c.h.memoryFolder(c.group), "memory.oom_control"), "oom_kill")
		if err != nil || kills > 0 || time.Now().After(deadline) {
			return err == nil && kills > 0
		}
	}
}

func (w *oomWatch) close() {
	for _, f := range []*os.File{w.signal, w.events} {
		if f != nil {
			_ = f.Close() // nothing is buffered
		}
	}
}
