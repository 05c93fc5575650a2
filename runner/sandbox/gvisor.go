package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Isolation is what a program has beneath it.
type Isolation string

const (
	// Native is the host's kernel: namespaces, a cgroup, seccomp.
	Native Isolation = "native"
	// GVisor is a kernel of gVisor's (https://gvisor.dev/docs/architecture_guide) within
	// all that Native has but its seccomp filters, in whose place there are runsc's own:
	// the program's system calls do not reach the host's kernel.
	GVisor Isolation = "gvisor"
)

const (
	// guestName is the executable of the guest's init, in runsc's folder.
	guestName = "corun-guest"
	// What gVisor itself may have in memory beyond what it has when a box is ready, by
	// which the box's limit is set then: its heap grows with what the program does.
	gvisorGrowth = 12 << 20
	// gvisorBoot is for the time until then. It takes about 60 MiB.
	gvisorBoot = 256 << 20
	// What gVisor needs on the host: runsc's own threads, and for each of the program's
	// some that run its code and wait for it. Without them runsc would give up.
	gvisorThreads           = 256
	gvisorThreadsEach       = 4
	gvisorLog         int64 = 4 << 10 // how much of what runsc says is told
)

// gvisor is where the executables are.
type gvisor struct{ runsc, guest string }

func findGVisor(runsc string) (*gvisor, error) {
	if runsc == "" {
		return nil, errors.New("the path of runsc is not given")
	}
	g := &gvisor{runsc, filepath.Join(filepath.Dir(runsc), guestName)}
	for _, path := range g.executables() {
		if err := unix.Access(path, unix.X_OK); err != nil {
			return nil, fmt.Errorf("%s, which make runsc builds: %w", path, err)
		}
	}
	return g, nil
}

// executables are what a box of gVisor's is made with.
func (g *gvisor) executables() []string {
	if g == nil {
		return nil
	}
	return []string{g.runsc, g.guest}
}

// CheckGVisor says whether boxes of gVisor's can be made with a runsc.
func CheckGVisor(runsc string) Finding {
	f := Finding{Name: "gvisor", OK: true, Detail: runsc, Mend: "make runsc, and name it with --runsc where it is not beside corun"}
	if _, err := findGVisor(runsc); err != nil {
		f.OK, f.Detail = false, err.Error()
	}
	return f
}

// limits are the cgroup's while a box of gVisor's is made.
func (g *gvisor) limits(l Limits) Limits {
	if g == nil {
		return l
	}
	l.MemoryBytes += gvisorBoot
	l.Processes = l.Processes*gvisorThreadsEach + gvisorThreads
	l.CPUs = max(l.CPUs, 1) // or it would be slow to begin
	return l
}

// bundle is the OCI configuration of a box of gVisor's: the guest's init, which has
// the privileges of root upon gVisor's kernel and makes the rest.
func (g *gvisor) bundle(spec Spec) ([]byte, error) {
	if g == nil {
		return nil, nil
	}
	capabilities := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"}
	b, err := json.Marshal(specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Args: []string{"/work/init"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
		},
		Root:     &specs.Root{Path: "/run/rootfs", Readonly: true},
		Hostname: spec.Hostname,
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc"},
			{Destination: "/work", Type: "bind", Source: "/run/guest", Options: []string{"rbind", "ro", "nosuid", "nodev"}},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("write the bundle: %w", err)
	}
	return b, nil
}

// settle begins a box's accounting when gVisor is there and waits: what it has used for
// itself is not the program's.
func (c *custody) settle(limits Limits) error {
	if c.cgroup == nil {
		return nil
	}
	used, err := c.cgroup.memory()
	if err != nil {
		return err
	}
	final := c.launcher.gvisor.limits(limits)
	final.MemoryBytes, final.CPUs = used+limits.MemoryBytes+gvisorGrowth, limits.CPUs
	if err := errors.Join(c.cgroup.limit(final), c.cgroup.forgetPeak()); err != nil {
		return err
	}
	u, err := c.cgroup.usage()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = &own{cpu: u.CPU, memory: used, peak: u.MemoryPeak, limit: limits.MemoryBytes}
	return nil
}

// own is what gVisor has used for itself, before there was a program.
type own struct {
	cpu    time.Duration
	memory int64 // when the box was ready
	peak   int64 // until then, while runsc was there
	limit  int64 // of the program's memory
}

// without takes from a usage what is not the program's. A peak from before the program
// says nothing: then it is the most that was there when somebody looked. What gVisor has
// grown by is not told apart from what the program has, which cannot have more than its
// limit.
func (o *own) without(c *cgroup, u Usage) (Usage, error) {
	if u.MemoryPeak <= o.peak {
		now, err := c.memory()
		if err != nil {
			return u, err
		}
		c.highest = max(c.highest, now)
		u.MemoryPeak = c.highest
	}
	u.MemoryPeak = min(max(0, u.MemoryPeak-o.memory), o.limit)
	u.CPU = max(0, u.CPU-o.cpu)
	return u, nil
}

// explain adds what the guest's init and runsc said to why a box of gVisor's could not be
// made.
func explain(err error, control, log *os.File) error {
	_ = control.SetReadDeadline(time.Now()) // fails only on a closed one
	buf := make([]byte, reportSize)
	if _, failed := io.ReadFull(control, buf); failed == nil {
		err = errors.Join(err, checkReady(buf))
	}
	said := make([]byte, gvisorLog)
	n, failed := unix.Pread(int(log.Fd()), said, 0)
	if failed == nil && n > 0 {
		err = fmt.Errorf("%w; runsc says: %s", err, strings.TrimSpace(string(said[:n])))
	}
	return err
}
