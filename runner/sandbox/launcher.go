package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstHostUID is where the uids of boxes begin on the host: far above those
	// of people and services, and of the ranges that useradd hands out.
	firstHostUID = 1_879_048_192
	// uidsPerBox are init's and the program's.
	uidsPerBox = 2
	// hostUIDBoxes is how many boxes have different uids before they repeat.
	hostUIDBoxes = 1 << 20
	// buildWithin bounds the building of a box.
	buildWithin = 20 * time.Second
)

// Config says who makes boxes.
type Config struct {
	// Name marks all that belongs to this launcher's boxes. Two launchers of one
	// machine must have different names; one that follows another must have the
	// same, so that it finds what that left behind.
	Name string
	// ScratchDir is kept for host files of boxes; there are none today.
	ScratchDir string
	Log        *slog.Logger
}

// Limits are what the kernel enforces on a box.
type Limits struct {
	CPUs          float64 // quota, in processors
	MemoryBytes   int64   // all of it: heap, tmpfs, page cache, kernel; no swap
	Processes     int     // processes and threads of the program
	ScratchBytes  int64   // /work, /tmp and /dev/shm together
	ScratchInodes int64
	FileBytes     int64 // size of one file
	OpenFiles     int   // of one process
}

// DefaultLimits are those of CONTRACT.md §6.
func DefaultLimits() Limits {
	return Limits{
		CPUs: 1, MemoryBytes: 256 << 20, Processes: 64,
		ScratchBytes: 64 << 20, ScratchInodes: 4096, FileBytes: 32 << 20, OpenFiles: 256,
	}
}

// Spec is what a box is made from.
type Spec struct {
	Rootfs   string // folder of the image's root file system
	Usr      string // folder that takes the place of its /usr, or ""
	Seccomp  []byte // from CompileSeccomp
	Limits   Limits
	Hostname string
}

// Usage is what a box has used, by the kernel's accounting.
type Usage struct {
	CPU        time.Duration // all processes together
	MemoryPeak int64         // bytes
	OOMKills   int           // processes killed because memory ran out
	// ForksRefused counts the processes and threads that were not made because
	// there were as many as allowed.
	ForksRefused int
}

// Launcher makes boxes. It is safe for concurrent use.
type Launcher struct {
	// Static after Open.
	cfg    Config
	h      hierarchy
	remote *remote // nil where this process makes the boxes itself

	mu     sync.Mutex // guards below
	next   int
	live   map[string]*custody
	closed bool
}

// ErrClosed is returned by Build after Close.
var ErrClosed = errors.New("the launcher is closed")

var launcherName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Open checks that this machine can make boxes and removes what a former process
// of the same name left behind. The error says what Check would.
func Open(ctx context.Context, cfg Config) (*Launcher, error) {
	if !launcherName.MatchString(cfg.Name) {
		return nil, fmt.Errorf("the launcher's name is %q: use letters, digits, dot, dash and underscore", cfg.Name)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	var errs []error
	for _, f := range Check(ctx) {
		if !f.OK && f.Fatal {
			errs = append(errs, fmt.Errorf("%s: %s; mend: %s", f.Name, f.Detail, f.Mend))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	h, err := findHierarchy()
	if err != nil {
		return nil, err
	}
	l := &Launcher{cfg: cfg, h: h, live: make(map[string]*custody)}
	removed, err := l.removeLeftovers()
	if err != nil {
		return nil, fmt.Errorf("remove what a former process left behind: %w", err)
	}
	if err := h.prepare(cfg.Name); err != nil {
		return nil, err
	}
	if removed > 0 {
		cfg.Log.Warn("boxes of a former process were left behind; they are removed", "count", removed)
	}
	return l, nil
}

// Close refuses further boxes. Those that live are their owners' to destroy;
// what is left of any is reported.
func (l *Launcher) Close() error {
	if l.remote != nil {
		return l.remote.close()
	}
	l.mu.Lock()
	l.closed = true
	alive := len(l.live)
	l.mu.Unlock()
	if alive > 0 {
		return fmt.Errorf("close launcher: %d boxes were not destroyed", alive)
	}
	left, err := l.Leftovers()
	if err != nil {
		return err
	}
	if left.Total() > 0 {
		return fmt.Errorf("close launcher: boxes left something behind: %+v", left)
	}
	return l.h.remove(l.cfg.Name)
}

// Leftovers counts what is on the host of boxes that are gone.
type Leftovers struct {
	Processes int
	Mounts    int
	Cgroups   int
}

// Total is the sum, which must be zero.
func (l Leftovers) Total() int { return l.Processes + l.Mounts + l.Cgroups }

// Leftovers looks for what boxes that are gone have left. It must be nothing.
// Boxes have no mounts on the host, so that none can be left there: they live in
// namespaces that end with their last process.
func (l *Launcher) Leftovers() (Leftovers, error) {
	if l.remote != nil {
		return l.remote.leftovers()
	}
	// Before the live ones are listed: a box that is made meanwhile is not
	// counted.
	found, err := l.h.children(l.cfg.Name)
	if err != nil {
		return Leftovers{}, err
	}
	l.mu.Lock()
	for id := range l.live {
		delete(found, id)
	}
	l.mu.Unlock()
	var left Leftovers
	for id := range found {
		group := l.cfg.Name + "/" + id
		if !l.h.exists(group) {
			continue // it was destroyed between the two lists
		}
		pids, err := l.h.processes(group)
		if err != nil {
			return left, err
		}
		left.Cgroups++
		left.Processes += len(pids)
	}
	return left, nil
}

// removeLeftovers kills and removes the boxes of a former process.
func (l *Launcher) removeLeftovers() (int, error) {
	found, err := l.h.children(l.cfg.Name)
	if err != nil {
		return 0, err
	}
	var errs []error
	for id := range found {
		group := l.cfg.Name + "/" + id
		errs = append(errs, l.h.kill(group))
		errs = append(errs, l.h.remove(group)) // waits until it is empty
	}
	return len(found), errors.Join(errs...)
}

// admit gives a new box its name and its uids.
func (l *Launcher) admit(c *custody) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.next++
	c.id = "box-" + strconv.Itoa(l.next)
	// Launchers of one machine begin at different places.
	place := (uint64(crc32.ChecksumIEEE([]byte(l.cfg.Name))) + uint64(l.next)) % hostUIDBoxes
	c.uid = firstHostUID + int(place)*uidsPerBox
	l.live[c.id] = c
	return nil
}

func (l *Launcher) forget(c *custody) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, c.id)
}

// cloneImage gives a detached, read-only mount of a folder. The box moves it
// into its own mount namespace.
func cloneImage(rootfs string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, rootfs, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("clone the mount of image %s: %w", rootfs, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return nil, errors.Join(fmt.Errorf("make the image read-only: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "image"), nil
}

// attributes are the namespaces and uids of a box's init.
func attributes(uid int) *syscall.SysProcAttr {
	mapping := []syscall.SysProcIDMap{
		{ContainerID: 0, HostID: uid, Size: 1},
		{ContainerID: boxUID, HostID: uid + 1, Size: 1},
	}
	return &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		UidMappings: mapping, GidMappings: mapping, GidMappingsEnableSetgroups: true,
		// Before the exec: it would drop the capabilities in the box's user
		// namespace if the uid were not that namespace's root.
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
		Setsid:     true,
	}
}
