package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

// A POSIX lock is about 200 bytes of the kernel's that are charged to nobody (fs/locks.c), and
// no limit is on their number: a box could have several times its memory in them. So the
// launcher looks at the machine's list. A lock there has the pid of its maker: those that have
// none, or outlive who made them, cannot be made in a box (OFD locks and descriptors shared
// between processes; see the seccomp profiles). flock(2) has one for each open file, which
// is charged.
const (
	locksFile  = "/proc/locks"
	locksEvery = 250 * time.Millisecond
	// memoryPerLock gives how many there may be: a box's memory by this.
	memoryPerLock = 256 << 10
	// maxLockLines bounds a look: for every page that is read the kernel goes through the
	// list from its begin, and waits for whoever is in it.
	maxLockLines = 8 << 10
	// lockRest is for how many times its length a look is followed by none, but not for
	// longer than locksRarely: who makes looks slow must not be looked at less.
	lockRest    = 20
	locksRarely = time.Second
)

// lockCounts are the locks of a machine, by process; cut says that there are more.
type lockCounts struct {
	of    map[int]int
	total int
	cut   bool
}

// countLocks reads a list as in /proc/locks: proc_locks(5).
func countLocks(r io.Reader) (lockCounts, error) {
	n := lockCounts{of: make(map[int]int)}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if n.total == maxLockLines {
			n.cut = true
			break
		}
		n.total++
		// 1: POSIX  ADVISORY  WRITE 1234 00:1f:5 0 EOF, or 1: -> POSIX … of one who waits
		fields := bytes.Fields(lines.Bytes())
		if len(fields) > 1 && string(fields[1]) == "->" {
			fields = fields[1:]
		}
		if len(fields) < 5 {
			return n, errors.New("a line of the list of locks is not as expected: " + lines.Text())
		}
		if pid, err := strconv.Atoi(string(fields[4])); err == nil && string(fields[1]) == "POSIX" {
			n.of[pid]++
		}
	}
	return n, lines.Err()
}

// watchLocks ends boxes with too many locks. It ends with the launcher.
func (l *Launcher) watchLocks() {
	pause := time.NewTimer(locksEvery)
	defer pause.Stop()
	for {
		select {
		case <-l.closing:
			return
		case <-pause.C:
		}
		began := time.Now()
		if err := l.lookAtLocks(); err != nil {
			l.cfg.Log.Error("count the locks of boxes", "error", err)
		}
		// The machine's locks stand still meanwhile.
		pause.Reset(min(max(locksEvery, lockRest*time.Since(began)), locksRarely))
	}
}

func (l *Launcher) lookAtLocks() error {
	l.mu.Lock()
	all := make([]*custody, 0, len(l.live))
	for _, c := range l.live {
		all = append(all, c)
	}
	l.mu.Unlock()
	// One without limits is still to get them, and its program.
	all = slices.DeleteFunc(all, func(c *custody) bool { return c.mostLocks() == 0 })
	if len(all) == 0 {
		return nil
	}
	f, err := os.Open(locksFile)
	if err != nil {
		return err
	}
	defer f.Close()
	counts, err := countLocks(f)
	if err != nil {
		return err
	}
	return l.endLockers(all, counts)
}

// endLockers ends the boxes that have too many of the locks.
func (l *Launcher) endLockers(all []*custody, counts lockCounts) error {
	least := maxLockLines
	for _, c := range all {
		least = min(least, c.mostLocks())
	}
	if counts.total <= least && !counts.cut {
		return nil
	}
	var errs []error
	var worst *custody
	most, sum := 0, 0
	for _, c := range all {
		n, err := c.locksOf(counts)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if n > c.mostLocks() {
			c.runOut()
		}
		if sum += n; n > most {
			worst, most = c, n
		}
	}
	// Not all were seen, and those of boxes are most of what was.
	if counts.cut && worst != nil && sum >= counts.total/2 {
		worst.runOut()
	}
	return errors.Join(errs...)
}

func (c *custody) mostLocks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.limits.MemoryBytes / memoryPerLock)
}

// locksOf gives how many are of the box's processes.
func (c *custody) locksOf(counts lockCounts) (n int, err error) {
	pids, err := c.launcher.h.processes(c.launcher.cfg.Name + "/" + c.id)
	if err != nil {
		return 0, err
	}
	seen := make(map[int]bool, len(pids))
	for _, pid := range pids { // of several hierarchies
		if !seen[pid] {
			seen[pid] = true
			n += counts.of[pid]
		}
	}
	return n, nil
}
