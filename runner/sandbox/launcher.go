package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// buildWithin bounds the building of a box.
	buildWithin = 20 * time.Second
)

// Config says who makes boxes.
type Config struct {
	// Name marks all that belongs to this launcher's boxes. Two launchers of one
	// machine must have different names; one that follows another must have the
	// same, so that it finds what that left behind.
	Name string
	// ScratchDir is for host files of boxes, each by its name. There are none today:
	// whatever is in it is left over.
	ScratchDir string
	// OwnProcess says that this process does nothing else, so that its descriptors can
	// be counted: see Leftovers.
	OwnProcess bool
	// WithoutLimits makes boxes without a cgroup where there is none that can be used.
	// Limits.CPUs and MemoryBytes do not hold then, nothing is known of the usage, and
	// rlimits do what they can: see Unlimited.
	WithoutLimits bool
	// Isolation of all boxes; "" means Native. GVisor takes the path of runsc, beside
	// which there must be the guest's init (make runsc builds both).
	Isolation Isolation
	Runsc     string
	// RunDir is where the launcher's name is locked; "" means /run.
	RunDir string
	Log    *slog.Logger
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
	Rootfs   string // folder of the image's root file system, or of what the file beside it holds (erofs.Suffix)
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
	ids    idRange
	remote *remote // nil where this process makes the boxes itself
	zygote zygote
	gvisor *gvisor // nil where boxes are native
	packs  packs

	// lapped is told how long each part of building a box took; for benchmarks, set
	// before the first box.
	lapped func(part string, took time.Duration)

	menders  sync.WaitGroup // who try again to remove what is in quarantine, and who prepare blanks
	watchers sync.WaitGroup // who looks at sockets
	closing  chan struct{}  // closed by Close
	// descriptors is how many this process had before its first box, or 0 where it does
	// other things as well.
	descriptors int

	mu        sync.Mutex // guards below
	next      int
	live      map[string]*custody
	wedged    map[string]*custody // in quarantine
	gone      []int               // uids of the last boxes that are gone, in a ring
	oldest    int                 // where in gone
	spare     *blank              // for the next box
	preparing bool                // one is being made
	closed    bool
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
	limited := true
	for _, f := range Check(ctx) {
		if !f.OK && f.Limits && cfg.WithoutLimits {
			cfg.Log.Warn("boxes have no cgroup", "reason", f.Detail, "not enforced", Unlimited)
			limited = false
		} else if !f.OK && f.Fatal {
			errs = append(errs, fmt.Errorf("%s: %s; mend: %s", f.Name, f.Detail, f.Mend))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var h hierarchy
	var err error
	if limited {
		if h, err = findHierarchy(); err != nil {
			return nil, err
		}
	}
	ids, err := ownIDs()
	if err != nil {
		return nil, err
	}
	if ids.shared() {
		cfg.Log.Warn("all boxes have one uid, that of the server (see corun doctor)")
	}
	l := &Launcher{cfg: cfg, h: h, ids: ids, closing: make(chan struct{}), live: make(map[string]*custody), wedged: make(map[string]*custody)}
	switch cfg.Isolation {
	case "", Native:
	case GVisor:
		if ids.shared() || h.none() {
			return nil, errors.New("boxes of gVisor's take a cgroup and uids of their own: see corun doctor, or use the native isolation")
		}
		if l.gvisor, err = findGVisor(cfg.Runsc); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("the isolation is %q: use native or gvisor", cfg.Isolation)
	}
	if cfg.OwnProcess {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return nil, fmt.Errorf("count descriptors: %w", err)
		}
		l.descriptors = len(open)
	}
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
	if l.gvisor == nil {
		l.watchers.Go(l.watchSockets)
		if !h.none() {
			l.watchers.Go(l.watchLocks)
		}
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
	if !l.closed {
		l.closed = true
		close(l.closing)
	}
	l.mu.Unlock()
	l.menders.Wait()
	l.watchers.Wait()
	err := l.dropBlank()
	l.mu.Lock()
	alive := len(l.live)
	l.mu.Unlock()
	if alive > 0 {
		err = errors.Join(err, fmt.Errorf("%d boxes were not destroyed", alive))
	} else if left, failed := l.Leftovers(); failed != nil || left.Total() > 0 {
		err = errors.Join(err, failed, fmt.Errorf("boxes left something behind: %+v", left))
	}
	if err := errors.Join(err, l.zygote.close(), l.packs.close(), l.h.remove(l.cfg.Name)); err != nil {
		return fmt.Errorf("close launcher: %w", err)
	}
	return nil
}

// Leftovers counts what is on the host of boxes that are gone.
type Leftovers struct {
	Processes   int // in their cgroups, or with their uids
	Mounts      int // in the launcher's mount namespace
	Cgroups     int
	Scratch     int // files in the scratch folder
	Descriptors int // of a launcher's own process: more than its boxes can have
	Quarantined int // boxes that could not be taken away; it is tried again
}

// Total is the sum, which must be zero.
func (l Leftovers) Total() int {
	return l.Processes + l.Mounts + l.Cgroups + l.Scratch + l.Descriptors + l.Quarantined
}

// Leftovers looks for what boxes that are gone have left. It must be nothing.
func (l *Launcher) Leftovers() (Leftovers, error) {
	if l.remote != nil {
		return l.remote.leftovers()
	}
	// Before the live ones are listed: a box that is made meanwhile is not
	// counted.
	groups, err := l.h.children(l.cfg.Name)
	if err != nil {
		return Leftovers{}, err
	}
	scratch, err := l.scratch()
	if err != nil {
		return Leftovers{}, err
	}
	l.mu.Lock()
	for id := range l.live {
		delete(groups, id)
		delete(scratch, id)
	}
	gone := make(map[int]bool, uidsPerBox*len(l.gone))
	for _, uid := range l.gone {
		gone[uid], gone[uid+1] = true, true
	}
	for _, c := range l.live {
		delete(gone, c.uid)
		delete(gone, c.uid+1)
	}
	left := Leftovers{Scratch: len(scratch), Quarantined: len(l.wedged)}
	l.mu.Unlock()
	processes, err := processesOf(gone)
	if err != nil {
		return left, err
	}
	for id := range groups {
		group := l.cfg.Name + "/" + id
		if !l.h.exists(group) {
			continue // it was destroyed between the two lists
		}
		pids, err := l.h.processes(group)
		if err != nil {
			return left, err
		}
		left.Cgroups++
		for _, pid := range pids {
			processes[pid] = true
		}
	}
	left.Processes = len(processes)
	if left.Mounts, err = l.mounts(); err != nil {
		return left, err
	}
	left.Descriptors, err = l.spareDescriptors()
	return left, err
}

// scratch lists the host files of boxes, by the box's name.
func (l *Launcher) scratch() (map[string]bool, error) {
	found := make(map[string]bool)
	if l.cfg.ScratchDir == "" {
		return found, nil
	}
	entries, err := os.ReadDir(l.cfg.ScratchDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the scratch folder: %w", err)
	}
	for _, e := range entries {
		found[e.Name()] = true
	}
	return found, nil
}

// processesOf lists the host's processes that have one of these uids. Those that end
// meanwhile are not there.
func processesOf(uids map[int]bool) (map[int]bool, error) {
	found := make(map[int]bool)
	if len(uids) == 0 {
		return found, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The folder is root's for a process that cannot be dumped, as init is: the
		// file says who it really is. One that has ended and only waits for its parent
		// to look has nothing of a box any more.
		status, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err == nil && uids[realUID(status)] && !bytes.Contains(status, []byte("\nState:\tZ")) {
			found[pid] = true
		}
	}
	return found, nil
}

// realUID finds the real uid in /proc/PID/status, or gives -1.
func realUID(status []byte) int {
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if uid, err := strconv.Atoi(strings.Fields(ids)[0]); err == nil {
				return uid
			}
		}
	}
	return -1
}

// mounts counts those in this process's mount namespace that only a box can have made.
// Boxes live in namespaces that end with their last process, so that there are none.
func (l *Launcher) mounts() (n int, err error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, fmt.Errorf("read mounts: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := fields[4]
		if strings.HasPrefix(point, "/box/") || l.cfg.ScratchDir != "" && strings.HasPrefix(point, l.cfg.ScratchDir+"/") {
			n++
		}
	}
	return n, nil
}

const (
	// descriptorsPerBox are init's pidfd, the program's folder, the watch on memory, and
	// for a moment both ends of two sockets, the terminal, the image, and the cgroup's.
	descriptorsPerBox = 16
	spareDescriptors  = 16
)

// spareDescriptors counts how many descriptors this process and the zygote have beyond
// what the boxes that are there can have. It is about processes that do nothing else.
func (l *Launcher) spareDescriptors() (int, error) {
	if l.descriptors == 0 {
		return 0, nil
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("count descriptors: %w", err)
	}
	l.mu.Lock()
	boxes := len(l.live)
	l.mu.Unlock()
	zygote, err := l.zygote.descriptors()
	if err != nil {
		return 0, err
	}
	return max(0, len(open)-l.descriptors-boxes*descriptorsPerBox-spareDescriptors) + max(0, zygote-2*spareDescriptors), nil
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
	used := make(map[int]bool, len(l.live))
	for _, other := range l.live {
		used[other.uid] = true
	}
	if len(used) >= l.ids.boxes && !l.ids.shared() {
		return fmt.Errorf("all %d pairs of uids are used by boxes", l.ids.boxes)
	}
	l.next++
	// Launchers of one machine begin at different places.
	begin := uint64(crc32.ChecksumIEEE([]byte(l.cfg.Name)))
	for c.uid = l.ids.pair(begin + uint64(l.next)); used[c.uid] && !l.ids.shared(); c.uid = l.ids.pair(begin + uint64(l.next)) {
		l.next++ // they repeat when all have been used
	}
	c.id = "box-" + strconv.Itoa(l.next)
	l.live[c.id] = c
	return nil
}

// rememberedUIDs is how many boxes that are gone have their uids looked for.
const rememberedUIDs = 4096

func (l *Launcher) forget(c *custody) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, c.id)
	if _, ok := l.wedged[c.id]; ok {
		delete(l.wedged, c.id)
		l.cfg.Log.Info("a box in quarantine is gone", "box", c.id)
	}
	if l.ids.shared() {
		return // the uid is not the box's own: who has it says nothing
	}
	if len(l.gone) < rememberedUIDs {
		l.gone = append(l.gone, c.uid)
	} else {
		l.gone[l.oldest] = c.uid
		l.oldest = (l.oldest + 1) % rememberedUIDs
	}
}

const (
	// mendEvery is the pause between two attempts to take away a box in quarantine.
	mendEvery = 2 * time.Second
	// mendWithin bounds one.
	mendWithin = 5 * time.Second
)

// quarantine keeps a box that could not be taken away: its name and its uids are not
// used again, it is counted as left over, and it is tried again until it is gone or the
// launcher is closed.
func (l *Launcher) quarantine(c *custody, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.wedged[c.id]; ok || l.closed {
		return
	}
	l.wedged[c.id] = c
	l.cfg.Log.Error("a box could not be taken away and is in quarantine", "box", c.id, "uid", c.uid, "error", why)
	l.menders.Go(func() { l.mend(c) })
}

func (l *Launcher) mend(c *custody) {
	every := time.NewTicker(mendEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-l.closing:
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), mendWithin)
		err := c.tryRemove(ctx)
		cancel()
		if err == nil {
			return
		}
	}
}

// mountImage gives a detached, read-only mount of a folder or a file, or of the file
// system that stands for the folder. The box moves it into its own mount namespace.
func (l *Launcher) mountImage(path string) (*os.File, error) {
	packed, err := l.packs.of(path)
	if err != nil {
		l.cfg.Log.Warn("the image's file system cannot be mounted: boxes get its folder", "error", err)
	}
	if packed != nil {
		return packed.Mount()
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("clone the mount of %s: %w", path, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return nil, errors.Join(fmt.Errorf("make %s read-only: %w", path, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "image"), nil
}

// laps gives what is called at the end of each part of building a box.
func (l *Launcher) laps() func(part string) {
	if l.lapped == nil {
		return func(string) {}
	}
	start := time.Now()
	return func(part string) {
		now := time.Now()
		l.lapped(part, now.Sub(start))
		start = now
	}
}
