package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cpuPeriod is the length of a quota's period, in microseconds: the kernel's
// usual one.
const cpuPeriod = 100_000

// socketShare is the part of a box's memory that the buffers of its network sockets may
// have besides, with version 1: that counts them apart, and only where they have a limit
// (Documentation/admin-guide/cgroup-v1/memory.rst, 2.7). With version 2 they are memory
// as any other.
const socketShare = 16

// ownTasks are init's; the limit on processes is for the program's.
const ownTasks = 1

// none says that boxes have no cgroups here: see Config.WithoutLimits.
func (h hierarchy) none() bool { return h == hierarchy{} }

// folders are the places of a group: one, or with v1 one for each controller.
func (h hierarchy) folders(group string) []string {
	if h.none() {
		return nil
	}
	if h.unified {
		return []string{filepath.Join(h.root, group)}
	}
	var all []string
	for _, c := range controllers1 {
		all = append(all, filepath.Join(h.root, string(c), group))
	}
	return all
}

// memoryFolder is where a group's memory, its processes and its children are
// looked at.
func (h hierarchy) memoryFolder(group string) string { return h.folders(group)[0] }

// cgroup is one box's.
type cgroup struct {
	h     hierarchy
	group string
	v1    cgroup1.Cgroup   // nil with version 2
	v2    *cgroup2.Manager // nil with version 1
	oom   oomWatch
	// highest is the most memory that was seen, for kernels that keep no peak.
	highest int64
}

// create makes a group, as yet without limits. With version 2 its launcher's must be
// prepared.
func (h hierarchy) create(group string) (_ *cgroup, err error) {
	c := &cgroup{h: h, group: group}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create cgroup %s: %w", group, err), c.remove())
		}
	}()
	if h.unified {
		c.v2, err = cgroup2.NewManager(h.root, "/"+group, &cgroup2.Resources{})
	} else {
		c.v1, err = cgroup1.New(cgroup1.StaticPath(group), &specs.LinuxResources{}, cgroup1.WithHierarchy(h.subsystems))
	}
	if err != nil {
		return nil, err
	}
	return c, c.watchOOM()
}

// limit sets the group's limits.
func (c *cgroup) limit(limits Limits) (err error) {
	if c.h.unified {
		err = c.limit2(limits)
	} else {
		err = c.limit1(limits)
	}
	if err != nil {
		return fmt.Errorf("limit cgroup %s: %w", c.group, err)
	}
	return nil
}

func (c *cgroup) limit1(limits Limits) error {
	quota, period, swappiness := int64(limits.CPUs*cpuPeriod), uint64(cpuPeriod), uint64(0)
	tasks := int64(limits.Processes + ownTasks)
	memory := &specs.LinuxMemory{Limit: &limits.MemoryBytes, Swappiness: &swappiness}
	if c.h.limitsSwap() {
		memory.Swap = &limits.MemoryBytes // with version 1 this is memory and swap together
		// Memory alone cannot have more, whatever it was before.
		if err := put(c.h.memoryFolder(c.group), "memory.memsw.limit_in_bytes", "-1"); err != nil {
			return err
		}
	}
	if c.h.limitsSockets() {
		sockets := limits.MemoryBytes / socketShare
		memory.KernelTCP = &sockets
	}
	return c.v1.Update(&specs.LinuxResources{
		Memory: memory,
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
		Pids:   &specs.LinuxPids{Limit: &tasks},
	})
}

func (c *cgroup) limit2(limits Limits) error {
	quota, period, together := int64(limits.CPUs*cpuPeriod), uint64(cpuPeriod), true
	err := c.v2.Update(&cgroup2.Resources{
		// Out of memory, the box dies as one.
		Memory: &cgroup2.Memory{Max: &limits.MemoryBytes, OOMGroup: &together},
		CPU:    &cgroup2.CPU{Max: cgroup2.NewCPUMax(&quota, &period)},
		Pids:   &cgroup2.Pids{Max: int64(limits.Processes + ownTasks)},
	})
	if err != nil {
		return err
	}
	// The file is not there where the kernel does not account swap; doctor says so.
	if err := put(c.h.memoryFolder(c.group), "memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Weights of a group among its like where processors are short, by version. In the
// background a box gets a thirtieth of what another gets.
const (
	usualShares, backgroundShares = "1024", "32" // cpu.shares
	usualWeight, backgroundWeight = "100", "3"   // cpu.weight
)

// weigh sets how the group stands back behind others.
func (c *cgroup) weigh(background bool) error {
	folder, file, value := filepath.Join(c.h.root, string(cgroup1.Cpu), c.group), "cpu.shares", usualShares
	if background {
		value = backgroundShares
	}
	if c.h.unified {
		folder, file, value = c.h.memoryFolder(c.group), "cpu.weight", usualWeight
		if background {
			value = backgroundWeight
		}
	}
	if err := put(folder, file, value); err != nil {
		return fmt.Errorf("weigh cgroup %s: %w", c.group, err)
	}
	return nil
}

// entrances are what a process enters the group by: with version 2 the folder, for
// clone3's CLONE_INTO_CGROUP, so that nothing of the box is ever outside; with version
// 1 each controller's tasks file, for it to write itself into. The caller closes them.
func (c *cgroup) entrances() (all []*os.File, err error) {
	if c == nil {
		return nil, nil // a box without one
	}
	for _, folder := range c.h.folders(c.group) {
		flags := os.O_RDONLY | unix.O_DIRECTORY
		if !c.h.unified {
			folder, flags = filepath.Join(folder, "tasks"), os.O_WRONLY
		}
		f, err := os.OpenFile(folder, flags, 0)
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("open the box's cgroup: %w", err)
		}
		all = append(all, f)
	}
	return all, nil
}

// subsystems are the v1 controllers, for the library.
func (h hierarchy) subsystems() ([]cgroup1.Subsystem, error) {
	return []cgroup1.Subsystem{
		cgroup1.NewMemory(h.root), cgroup1.NewCpu(h.root), cgroup1.NewCpuacct(h.root),
		cgroup1.NewPids(h.root), cgroup1.NewFreezer(h.root),
	}, nil
}

// memory is what the group has of it now and cannot be without, in bytes. Not the cache
// of files, of which the kernel takes back what it needs: runsc's own executable is
// charged to the box that reads it first.
func (c *cgroup) memory() (int64, error) {
	folder, name := c.h.memoryFolder(c.group), "memory.usage_in_bytes"
	if c.h.unified {
		name = "memory.current"
	}
	stat := filepath.Join(folder, "memory.stat")
	active, err1 := readKey(stat, "active_file")
	inactive, err2 := readKey(stat, "inactive_file")
	used, err3 := readNumber(filepath.Join(folder, name))
	return max(0, used-active-inactive), errors.Join(err1, err2, err3)
}

// forgetPeak has the peak of memory begin anew, which is only to be had with version 1.
func (c *cgroup) forgetPeak() error {
	if c.h.unified {
		return nil
	}
	return put(c.h.memoryFolder(c.group), "memory.max_usage_in_bytes", "0")
}

// usage reads the kernel's accounting. It is not safe for concurrent use.
func (c *cgroup) usage() (Usage, error) {
	memory := c.h.memoryFolder(c.group)
	if c.h.unified {
		cpu, err1 := readKey(filepath.Join(memory, "cpu.stat"), "usage_usec")
		kills, err2 := readKey(filepath.Join(memory, "memory.events"), "oom_kill")
		peak, err3 := readNumber(filepath.Join(memory, "memory.peak"))
		if errors.Is(err3, fs.ErrNotExist) {
			peak, err3 = c.observedPeak(memory)
		}
		refused, err4 := readKey(filepath.Join(memory, "pids.events"), "max")
		return Usage{time.Duration(cpu) * time.Microsecond, peak, int(kills), int(refused)}, errors.Join(err1, err2, err3, err4)
	}
	cpu, err1 := readNumber(filepath.Join(c.h.root, string(cgroup1.Cpuacct), c.group, "cpuacct.usage"))
	// Not failcnt: that counts how often memory had to be reclaimed first.
	kills, err2 := readKey(filepath.Join(memory, "memory.oom_control"), "oom_kill")
	peak, err3 := readNumber(filepath.Join(memory, "memory.max_usage_in_bytes"))
	refused, err4 := readKey(filepath.Join(c.h.root, string(cgroup1.Pids), c.group, "pids.events"), "max")
	return Usage{time.Duration(cpu), peak, int(kills), int(refused)}, errors.Join(err1, err2, err3, err4)
}

// observedPeak stands in for memory.peak, which came with Linux 5.19: the limit if
// that was reached, else the most that was there when somebody looked.
func (c *cgroup) observedPeak(memory string) (int64, error) {
	now, err1 := readNumber(filepath.Join(memory, "memory.current"))
	reached, err2 := readKey(filepath.Join(memory, "memory.events"), "max")
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	if reached > 0 {
		var err error
		if now, err = readNumber(filepath.Join(memory, "memory.max")); err != nil {
			return 0, err
		}
	}
	c.highest = max(c.highest, now)
	return c.highest, nil
}

// kill kills all processes of the group, also those that are being forked.
func (c *cgroup) kill() error { return c.h.kill(c.group) }

// kill: see cgroup.kill. A group that is not there has none.
func (h hierarchy) kill(group string) error {
	if h.unified {
		// Since Linux 5.14.
		if err := put(h.memoryFolder(group), "cgroup.kill", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("kill cgroup %s: %w", group, err)
		}
		return nil
	}
	// What is frozen does not fork. It dies when it is thawed.
	thaw, err := h.freeze(group)
	errs := []error{err}
	pids, err := h.processes(group)
	errs = append(errs, err)
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d: %w", pid, err))
		}
	}
	return errors.Join(append(errs, thaw())...)
}

const (
	freezeWithin = 2 * time.Second
	freezePause  = time.Millisecond
)

// freeze stops a group of version 1. One that does not stop in time, as a process
// within the kernel may not, is left as it is: what it forks is frozen. The
// library's would wait for ever.
func (h hierarchy) freeze(group string) (thaw func() error, err error) {
	dir := filepath.Join(h.root, string(cgroup1.Freezer), group)
	err = put(dir, "freezer.state", "FROZEN")
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	thaw = func() error {
		if err := put(dir, "freezer.state", "THAWED"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("thaw cgroup %s: %w", group, err)
		}
		return nil
	}
	if err != nil {
		return thaw, fmt.Errorf("freeze cgroup %s: %w", group, err)
	}
	for deadline := time.Now().Add(freezeWithin); time.Now().Before(deadline); time.Sleep(freezePause) { // it has no event
		state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
		if err != nil || strings.TrimSpace(string(state)) == "FROZEN" {
			break
		}
	}
	return thaw, nil
}

// remove deletes the group. It must be empty; the kernel may take a moment to
// see that it is.
func (c *cgroup) remove() error {
	c.oom.close()
	return c.h.remove(c.group)
}

const (
	removeWithin = 3 * time.Second
	removePause  = 2 * time.Millisecond
)

func (h hierarchy) remove(group string) error {
	var errs []error
	deadline := time.Now().Add(removeWithin)
	for _, folder := range h.folders(group) {
		err := unix.Rmdir(folder)
		for ; errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = unix.Rmdir(folder) {
			if !h.unified {
				time.Sleep(removePause) // nothing tells when a group of version 1 has become removable
			} else if err := awaitEmpty(folder, deadline); err != nil {
				errs = append(errs, err)
				break
			}
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", folder, err))
		}
	}
	return errors.Join(errs...)
}

// awaitEmpty waits until a group of version 2 has no processes, or the deadline.
func awaitEmpty(folder string, deadline time.Time) error {
	fd, err := unix.Open(filepath.Join(folder, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("watch cgroup %s: %w", folder, err)
	}
	events := os.NewFile(uintptr(fd), "cgroup.events")
	defer events.Close()
	for {
		populated, err := readKeyOf(events, "populated")
		left := time.Until(deadline)
		if err != nil || populated == 0 || left <= 0 {
			return err
		}
		// It is signalled when the file has changed since it was read.
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch cgroup %s: %w", folder, err)
		}
	}
}

// children names the boxes that have a folder below group in any hierarchy.
func (h hierarchy) children(group string) (map[string]bool, error) {
	found := make(map[string]bool)
	for _, folder := range h.folders(group) {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() {
				found[e.Name()] = true
			}
		}
	}
	return found, nil
}

// exists says whether any of a group's folders is there.
func (h hierarchy) exists(group string) bool {
	for _, folder := range h.folders(group) {
		if _, err := os.Stat(folder); err == nil {
			return true
		}
	}
	return false
}

// processes lists those in a group, in any hierarchy.
func (h hierarchy) processes(group string) ([]int, error) {
	var all []int
	for _, folder := range h.folders(group) {
		data, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list processes of cgroup: %w", err)
		}
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				all = append(all, pid)
			}
		}
	}
	slices.Sort(all) // with version 1 each is in several
	return slices.Compact(all), nil
}

func readNumber(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}

// readKey reads the number behind a key in a file of lines.
func readKey(path, key string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return readKeyOf(f, key)
}

// readKeyOf reads it from the file's beginning.
func readKeyOf(f *os.File, key string) (int64, error) {
	var buf [4096]byte // no such file is longer than a page
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	for line := range strings.Lines(string(buf[:n])) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("read %s: there is no %s", f.Name(), key)
}
