package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A connection over the loopback that waits to be accepted is made by the kernel on an
// interrupt's behalf: its memory, about 3 KiB, is no group's until it is accepted
// (net/ipv4/inet_connection_sock.c), and it has no descriptor that would be limited. A
// program can make tens of thousands a second. No limit of the kernel's is on their
// number, so that the launcher looks at how many sockets there are in a box's network.
const (
	socketsEvery = 250 * time.Millisecond
	// memoryPerSocket gives how many there may be: a box's memory by this. More is taken
	// for lack of memory. They are far more than a program with a purpose has, and their
	// memory is less than a tenth of the box's.
	memoryPerSocket = 32 << 10
)

// openSocketCount opens the kernel's counts of the network of a pidfd's process. It holds
// that network until it is closed.
func openSocketCount(pidfd *os.File) (*os.File, error) {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return nil, err
	}
	var info []byte
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) })
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(info), "Pid:\t")
	pid, _, _ := strings.Cut(rest, "\n")
	return os.Open("/proc/" + pid + "/net/sockstat")
}

// watchSockets ends boxes with too many sockets. It ends with the launcher.
func (l *Launcher) watchSockets() {
	tick := time.NewTicker(socketsEvery) // the kernel has no event for it
	defer tick.Stop()
	for {
		select {
		case <-l.closing:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		all := make([]*custody, 0, len(l.live))
		for _, c := range l.live {
			all = append(all, c)
		}
		l.mu.Unlock()
		for _, c := range all {
			c.countSockets()
		}
	}
}

// countSockets ends the box if it has too many sockets.
func (c *custody) countSockets() {
	c.mu.Lock()
	if c.sockets == nil {
		c.mu.Unlock()
		return
	}
	n, err := readKeyOf(c.sockets, "sockets: used")
	most := c.limits.MemoryBytes / memoryPerSocket
	c.mu.Unlock()
	if err != nil {
		c.launcher.cfg.Log.Error("count a box's sockets", "box", c.id, "error", err)
	}
	if n > most {
		c.runOut()
	}
}

// runOut ends a box whose memory has run out.
func (c *custody) runOut() {
	c.ranOut.Do(func() { close(c.outOfMem) })
	_ = c.kill() // fails only when it is dead
}

// watchesSockets begins to look at a box's sockets. Upon gVisor they are its kernel's own
// memory, and without a cgroup there is no limit to hold them to.
func (c *custody) watchesSockets() error {
	if c.launcher.gvisor != nil || c.cgroup == nil {
		return nil
	}
	counts, err := openSocketCount(c.init)
	if errors.Is(err, unix.ENOENT) {
		return nil // a kernel without IPv4, or a /proc that hides others' processes
	}
	if err != nil {
		return fmt.Errorf("watch sockets: %w", err)
	}
	c.mu.Lock()
	c.sockets = counts
	c.mu.Unlock()
	return nil
}
