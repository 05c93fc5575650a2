package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cpuPeriod is the length of a quota's period, in microseconds: the kernel's
// usual one.
const cpuPeriod = 100_000

// ownTasks are init's; the limit on processes is for the program's.
const ownTasks = 1

// controllers are what a box's limits need.
var controllers = []cgroup1.Name{cgroup1.Memory, cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Pids}

// hierarchy is where this machine's cgroups are.
type hierarchy struct {
	unified bool
	root    string // of v2's only mount, or the folder that holds v1's
}

// findHierarchy looks for mounted controllers: version 2 where it has them,
// version 1 elsewhere.
func findHierarchy() (hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return hierarchy{}, fmt.Errorf("read mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		// After a separator: type, source, options.
		for i := 6; i+1 < len(fields); i++ {
			if fields[i] != "-" {
				continue
			}
			point := fields[4]
			switch fields[i+1] {
			case "cgroup2":
				if hasControllers(point) {
					return hierarchy{true, point}, nil
				}
			case "cgroup":
				if strings.Contains(","+fields[len(fields)-1]+",", ",memory,") {
					return hierarchy{false, filepath.Dir(point)}, nil
				}
			}
			break
		}
	}
	return hierarchy{}, errors.New("no cgroup hierarchy with a memory controller is mounted")
}

func hasControllers(mount string) bool {
	have, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if err != nil {
		return false
	}
	for _, want := range []string{"memory", "cpu", "pids"} {
		if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+want+" ") {
			return false
		}
	}
	return true
}

// subsystems are the v1 controllers, for the library.
func (h hierarchy) subsystems() ([]cgroup1.Subsystem, error) {
	return []cgroup1.Subsystem{
		cgroup1.NewMemory(h.root, cgroup1.OptionalSwap()), cgroup1.NewCpu(h.root), cgroup1.NewCpuacct(h.root), cgroup1.NewPids(h.root),
	}, nil
}

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
	for _, c := range controllers {
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
	v1    cgroup1.Cgroup
	v2    *cgroup2.Manager
	oom   *os.File // v1: an eventfd that the kernel signals
}

func (h hierarchy) create(group string, limits Limits) (_ *cgroup, err error) {
	quota := int64(limits.CPUs * cpuPeriod)
	c := &cgroup{h: h, group: group}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create cgroup %s: %w", group, err), c.remove())
		}
	}()
	if h.unified {
		return c, c.create2(limits, quota)
	}
	period, swappiness := uint64(cpuPeriod), uint64(0)
	tasks := int64(limits.Processes + ownTasks)
	c.v1, err = cgroup1.New(cgroup1.StaticPath(group), &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &limits.MemoryBytes, Swap: &limits.MemoryBytes, Swappiness: &swappiness},
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
		Pids:   &specs.LinuxPids{Limit: &tasks},
	}, cgroup1.WithHierarchy(h.subsystems))
	if err != nil {
		return c, err
	}
	fd, err := c.v1.OOMEventFD()
	if err != nil {
		return c, fmt.Errorf("watch for lack of memory: %w", err)
	}
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return c, errors.Join(err, unix.Close(int(fd)))
	}
	c.oom = os.NewFile(fd, "oom eventfd")
	return c, nil
}

func (c *cgroup) create2(limits Limits, quota int64) (err error) {
	period, noSwap := uint64(cpuPeriod), int64(0)
	c.v2, err = cgroup2.NewManager(c.h.root, "/"+c.group, &cgroup2.Resources{
		Memory: &cgroup2.Memory{Max: &limits.MemoryBytes, Swap: &noSwap},
		CPU:    &cgroup2.CPU{Max: cgroup2.NewCPUMax(&quota, &period)},
		Pids:   &cgroup2.Pids{Max: int64(limits.Processes + ownTasks)},
	})
	if err != nil {
		return err
	}
	// The library has no field for it: out of memory, the box dies as one.
	return os.WriteFile(filepath.Join(c.h.memoryFolder(c.group), "memory.oom.group"), []byte("1"), 0)
}

// entrances are what a process enters the group by: with version 2 the folder, to be
// cloned into, with version 1 each controller's tasks file, to write itself into.
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

// usage reads the kernel's accounting.
func (c *cgroup) usage() (u Usage, err error) {
	memory := c.h.memoryFolder(c.group)
	if c.v2 != nil {
		cpu, err1 := readKey(filepath.Join(memory, "cpu.stat"), "usage_usec")
		kills, err2 := readKey(filepath.Join(memory, "memory.events"), "oom_kill")
		peak, err3 := readNumber(filepath.Join(memory, "memory.peak"))
		if errors.Is(err3, fs.ErrNotExist) { // before Linux 5.19
			peak, err3 = readNumber(filepath.Join(memory, "memory.current"))
		}
		refused, err4 := readKey(filepath.Join(memory, "pids.events"), "max")
		return Usage{time.Duration(cpu) * time.Microsecond, peak, int(kills), int(refused)}, errors.Join(err1, err2, err3, err4)
	}
	cpu, err1 := readNumber(filepath.Join(c.h.root, string(cgroup1.Cpuacct), c.group, "cpuacct.usage"))
	kills, err2 := readKey(filepath.Join(memory, "memory.oom_control"), "oom_kill")
	peak, err3 := readNumber(filepath.Join(memory, "memory.max_usage_in_bytes"))
	refused, err4 := readKey(filepath.Join(c.h.root, string(cgroup1.Pids), c.group, "pids.events"), "max")
	return Usage{time.Duration(cpu), peak, int(kills), int(refused)}, errors.Join(err1, err2, err3, err4)
}

// remove deletes the group. It must be empty; the kernel may take a moment to
// see that it is.
func (c *cgroup) remove() error {
	if c.oom != nil {
		_ = c.oom.Close() // an eventfd has nothing to lose
		c.oom = nil
	}
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
			time.Sleep(removePause) // nothing tells when a group has become removable
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", folder, err))
		}
	}
	return errors.Join(errs...)
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
	return all, nil
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
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), key+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("read %s: there is no %s", path, key)
}

// String says for doctor which cgroups are used.
func (h hierarchy) String() string {
	if h.unified {
		return "version 2 at " + h.root
	}
	return "version 1 below " + h.root
}

// mode says what the library makes of the machine, for doctor.
func mode() string {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return "unified"
	case cgroups.Hybrid:
		return "hybrid"
	case cgroups.Legacy:
		return "legacy"
	}
	return "none"
}
