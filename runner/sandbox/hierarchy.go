package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"golang.org/x/sys/unix"
)

// controllers1 are what boxes need of version 1, each with a hierarchy of its own.
// Version 2 needs controllers2: its processor time and its freezer are part of
// every group.
var (
	controllers1 = []cgroup1.Name{cgroup1.Memory, cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Pids, cgroup1.Freezer}
	controllers2 = []string{"memory", "cpu", "pids"}
)

// serverLeaf is the group that a delegated group's own processes move to: with
// version 2 a group that has controllers for its children has no processes itself
// (cgroups(7), "no internal processes"). No launcher can have this name.
const serverLeaf = "_corun"

// hierarchy is where boxes have their groups on this machine.
type hierarchy struct {
	unified bool // version 2
	// root is, with version 2, the group below which all of ours are. With
	// version 1 it is the folder that has a folder for each controller.
	root      string
	delegated bool // root is no more than systemd has handed to us
}

// findHierarchy looks for mounted controllers: version 2 where it has them,
// version 1 elsewhere. It changes nothing.
func findHierarchy() (hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return hierarchy{}, fmt.Errorf("read mounts: %w", err)
	}
	_, own, err := cgroups.ParseCgroupFileUnified("/proc/self/cgroup")
	if err != nil {
		return hierarchy{}, fmt.Errorf("read own cgroup: %w", err)
	}
	reason := errors.New("no cgroup hierarchy with a memory controller is mounted")
	for line := range strings.Lines(string(mounts)) {
		m, ok := parseMount(line)
		switch {
		case ok && m.kind == "cgroup2":
			h := chooseBase(m, own)
			err := h.hasControllers()
			if err == nil {
				return h, nil
			}
			reason = err // in a hybrid set-up version 1 has them
		case ok && m.kind == "cgroup" && strings.Contains(","+m.options+",", ",memory,"):
			return hierarchy{root: filepath.Dir(m.point)}, nil
		}
	}
	return hierarchy{}, reason
}

// mount is a line of mountinfo; see proc(5).
type mount struct {
	root    string // of the mount, within its file system
	point   string
	kind    string
	options string // of the file system
}

func parseMount(line string) (m mount, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	place, what := strings.Fields(before), strings.Fields(after)
	if !ok || len(place) < 5 || len(what) < 3 {
		return m, false
	}
	return mount{root: place[3], point: place[4], kind: what[0], options: what[2]}, true
}

// chooseBase says below which group of version 2 boxes have theirs: the group that
// was delegated to this service; else the root, which on a machine is the kernel's
// and in a container the container's; else, where that cannot be written, the group
// that this process is in.
func chooseBase(m mount, own string) hierarchy {
	h := hierarchy{unified: true, root: m.point}
	// A group that is not below the mount's cannot be reached.
	below, ok := strings.CutPrefix(own+"/", strings.TrimSuffix(m.root, "/")+"/")
	if !ok || strings.HasPrefix(below, "../") {
		return h
	}
	// Where this process, or one before it with the same base, has moved to.
	group := strings.TrimSuffix("/"+strings.Trim(below, "/"), "/"+serverLeaf)
	// systemd's DelegateSubgroup= puts the service one below what is delegated.
	for _, g := range []string{group, filepath.Dir("/" + group)} {
		if dir := filepath.Join(m.point, g); isDelegated(dir) {
			return hierarchy{unified: true, root: dir, delegated: true}
		}
	}
	if unix.Access(m.point, unix.W_OK) != nil {
		h.root = filepath.Join(m.point, group)
	}
	return h
}

// isDelegated looks for the mark that systemd puts on the group of a unit with
// Delegate= (cgroup_xattr_apply in its src/core/cgroup.c; what it means is at
// https://systemd.io/CGROUP_DELEGATION).
func isDelegated(dir string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		var value [8]byte
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// hasControllers is an error that names what version 2 lacks here.
func (h hierarchy) hasControllers() error {
	have, err := os.ReadFile(filepath.Join(h.root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("look for the controllers of cgroup version 2: %w", err)
	}
	var missing []string
	for _, want := range controllers2 {
		if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+want+" ") {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("cgroup version 2 has no controller for %s at %s", strings.Join(missing, ", "), h.root)
	}
	return nil
}

// writable says whether groups can be made.
func (h hierarchy) writable() error {
	for _, folder := range h.folders("") {
		if err := unix.Access(folder, unix.W_OK); err != nil {
			return fmt.Errorf("%s cannot be written: %w", folder, err)
		}
	}
	return nil
}

// limitsSwap says whether the kernel accounts swap, so that it can be kept from
// boxes.
func (h hierarchy) limitsSwap() bool {
	if !h.unified {
		_, err := os.Stat(filepath.Join(h.root, string(cgroup1.Memory), "memory.memsw.limit_in_bytes"))
		return err == nil
	}
	// Only groups below the kernel's root have the file. Where none has a memory
	// controller yet, nothing is known; the kernel accounts it if not told otherwise.
	known := false
	for _, pattern := range []string{"", "*"} {
		limited, _ := filepath.Glob(filepath.Join(h.root, pattern, "memory.max")) // the patterns are well-formed
		swap, _ := filepath.Glob(filepath.Join(h.root, pattern, "memory.swap.max"))
		if len(swap) > 0 {
			return true
		}
		known = known || len(limited) > 0
	}
	return !known
}

// limitsSockets says whether the buffers of network sockets have a limit of their own,
// as with version 1. It is of UDP's, too, for all its name.
func (h hierarchy) limitsSockets() bool {
	if h.unified {
		return false
	}
	_, err := os.Stat(filepath.Join(h.root, string(cgroup1.Memory), "memory.kmem.tcp.limit_in_bytes"))
	return err == nil
}

// prepare makes the group of a launcher, whose children will have the controllers.
// With version 1 there is nothing to do.
func (h hierarchy) prepare(name string) error {
	if !h.unified {
		return nil
	}
	if err := h.enableBelowRoot(); err != nil {
		return err
	}
	group := filepath.Join(h.root, name)
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the launcher's cgroup: %w", err)
	}
	return enable(group)
}

// vacateRounds bounds how often processes are moved that new ones took the place of.
const vacateRounds = 100

func (h hierarchy) enableBelowRoot() error {
	for range vacateRounds {
		// Busy is a group with processes in it, unless it is the kernel's root.
		err := enable(h.root)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if err := h.vacate(); err != nil {
			return err
		}
	}
	return fmt.Errorf("processes start in %s faster than they can be moved out of it", h.root)
}

// vacate moves the processes of root to a leaf: the server, the launcher and what
// came with them. Their limits stay those of root.
func (h hierarchy) vacate() error {
	leaf := filepath.Join(h.root, serverLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a cgroup for the server: %w", err)
	}
	pids, err := os.ReadFile(filepath.Join(h.root, "cgroup.procs"))
	if err != nil {
		return fmt.Errorf("list processes of cgroup: %w", err)
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		if pid == "0" {
			return fmt.Errorf("%s holds a process of another pid namespace, which cannot be moved", h.root)
		}
		if err := put(leaf, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("move process %s to the server's cgroup: %w", pid, err)
		}
	}
	return nil
}

// enable gives the children of a group the controllers.
func enable(dir string) error {
	if err := put(dir, "cgroup.subtree_control", "+"+strings.Join(controllers2, " +")); err != nil {
		return fmt.Errorf("enable the controllers below %s: %w", dir, err)
	}
	return nil
}

// put writes a file of a group. One that is not there is fs.ErrNotExist.
func put(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// String says for doctor which cgroups are used.
func (h hierarchy) String() string {
	switch {
	case h.delegated:
		return "version 2 at " + h.root + ", which is delegated"
	case h.unified:
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
