package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// custody is what root has of a box: its first process and its cgroup.
type custody struct {
	// Static once it is made.
	launcher *Launcher
	id       string
	paths    []string // of its mounts
	limits   Limits   // of the cgroup when it was made, then of the box; none: it has none
	uid      int      // init's on the host; the program's is the next
	init     *os.File // pidfd of the first process; nil before there is one
	work     *os.File // the program's folder

	removing sync.Mutex // held while it is taken away
	removed  bool       // guarded by removing, and by mu when it is written

	gone      chan struct{}  // closed when init, and with it all, is gone
	outOfMem  chan struct{}  // closed when memory ran out, as the kernel says or too many sockets
	ranOut    sync.Once      // closes outOfMem
	processes sync.WaitGroup // those who watch

	mu      sync.Mutex // guards below
	cgroup  *cgroup    // nil once it is removed, and where boxes have none
	last    Usage
	sockets *os.File // counts of its network; nil where they are not looked at
	own     *own     // of gVisor's, before there was a program
}

// make makes a box and returns once it has said, from inside, that it is ready.
// Whatever goes wrong, also the end of ctx, leaves nothing behind.
func (l *Launcher) make(ctx context.Context, spec Spec) (_ *custody, e ends, err error) {
	ctx, cancel := context.WithTimeout(ctx, buildWithin)
	defer cancel()
	lengths, instructions, err := splitFilters(spec.Seccomp)
	if err != nil {
		return nil, e, err
	}
	bundle, err := l.gvisor.bundle(spec)
	if err != nil {
		return nil, e, err
	}
	lap := l.laps()
	c, e, mounts, err := l.takeBlank(ctx, l.pathsFor(spec))
	if err != nil {
		return nil, e, err
	}
	defer closeAll(mounts)
	defer func() {
		if err != nil {
			e.close() // which ends init, if nothing else does
			c.discard(ctx, &err)
		}
	}()
	lap("blank")
	if limits := l.gvisor.limits(spec.Limits); c.cgroup != nil && limits != c.limits {
		if err := c.cgroup.limit(limits); err != nil {
			return nil, e, err
		}
		c.mu.Lock()
		c.limits = limits
		c.mu.Unlock()
	}
	lap("limits")
	// Should ctx end, or a step hang, the reads below end with the sockets.
	stop := context.AfterFunc(ctx, func() { hangUp(e.control, e.command) })
	defer stop()
	config := slices.Concat(encodeConfig(spec, lengths, l.ids.shared(), c.cgroup != nil, len(bundle)), instructions, bundle)
	if err := sendWith(e.control, config, mounts); err != nil {
		return nil, e, errors.Join(fmt.Errorf("configure: %w", err), ctx.Err())
	}
	if e.master, c.work, err = awaitInit(e.control); err != nil {
		return nil, e, errors.Join(err, ctx.Err())
	}
	lap("root")
	if err := e.awaitStub(); err != nil {
		if bundle != nil {
			err = explain(err, e.control, c.work)
		}
		return nil, e, errors.Join(err, ctx.Err())
	}
	lap("program's process")
	if bundle != nil {
		if err := c.settle(spec.Limits); err != nil {
			return nil, e, err
		}
	}
	if !stop() {
		return nil, e, ctx.Err() // the sockets may have been hung up
	}
	if err := c.watchesSockets(); err != nil {
		return nil, e, err
	}
	if c.cgroup != nil {
		c.processes.Add(1)
		go c.watchMemory(c.cgroup) // ends with the cgroup's removal
	}
	return c, e, nil
}

// pathsFor is of what a box is made: the image, the folder for its /usr, and what gVisor
// takes.
func (l *Launcher) pathsFor(spec Spec) []string {
	paths := []string{spec.Rootfs}
	if spec.Usr != "" {
		paths = append(paths, spec.Usr)
	}
	return append(paths, l.gvisor.executables()...)
}

// mountsOf gives mounts of paths, for the caller to close.
func (l *Launcher) mountsOf(paths []string) (all []*os.File, err error) {
	for _, path := range paths {
		f, err := l.mountImage(path)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// blank is a box that has its first process and its cgroup, and waits to be told what it
// is to be. It is most of what a box costs that does not depend on that, with limits and
// mounts as the box before had them.
type blank struct {
	custody *custody
	ends    ends
	mounts  []*os.File // of the custody's paths
}

// takeBlank gives the blank that is there, or makes one, with mounts of the paths.
func (l *Launcher) takeBlank(ctx context.Context, paths []string) (_ *custody, e ends, mounts []*os.File, err error) {
	l.mu.Lock()
	b := l.spare
	l.spare = nil
	l.mu.Unlock()
	if b != nil {
		select {
		case <-b.custody.gone: // it was killed meanwhile
			if err := b.drop(ctx); err != nil {
				l.cfg.Log.Error("take away a box that nobody had", "box", b.custody.id, "error", err)
			}
			b = nil
		default:
		}
	}
	if b == nil {
		if b, err = l.makeBlank(ctx, Limits{}, nil); err != nil {
			return nil, e, nil, err
		}
	}
	if !slices.Equal(b.custody.paths, paths) {
		closeAll(b.mounts)
		if b.mounts, err = l.mountsOf(paths); err != nil {
			return nil, e, nil, errors.Join(err, b.drop(ctx))
		}
		b.custody.paths = paths
	}
	return b.custody, b.ends, b.mounts, nil
}

// drop takes the blank away, even when ctx has ended.
func (b *blank) drop(ctx context.Context) (err error) {
	b.ends.close() // which ends init, if nothing else does
	b.custody.discard(ctx, &err)
	closeAll(b.mounts)
	return err
}

// prepareBlank makes a blank for the next box, unless there is one, with the limits and
// of the paths that it is likely to have.
func (l *Launcher) prepareBlank(limits Limits, paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.spare != nil || l.preparing {
		return
	}
	l.preparing = true
	l.menders.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), buildWithin)
		defer cancel()
		b, err := l.makeBlank(ctx, limits, paths)
		l.mu.Lock()
		l.preparing = false
		unwanted := err == nil && l.closed
		if err == nil && !unwanted {
			l.spare = b
		}
		l.mu.Unlock()
		if unwanted {
			err = b.drop(ctx)
		}
		if err != nil {
			// Whoever wants the next box is told why it cannot be made.
			l.cfg.Log.Debug("no box is prepared", "error", err)
		}
	})
}

// dropBlank takes away the blank, if there is one.
func (l *Launcher) dropBlank() error {
	l.mu.Lock()
	b := l.spare
	l.spare = nil
	l.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.drop(context.Background())
}

func (l *Launcher) makeBlank(ctx context.Context, limits Limits, paths []string) (_ *blank, err error) {
	c := &custody{launcher: l, limits: limits, paths: paths, gone: make(chan struct{}), outOfMem: make(chan struct{})}
	if err := l.admit(c); err != nil {
		return nil, err
	}
	b := &blank{custody: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.drop(ctx))
		}
	}()
	if b.mounts, err = l.mountsOf(paths); err != nil {
		return nil, err
	}
	if !l.h.none() {
		if c.cgroup, err = l.h.create(l.cfg.Name + "/" + c.id); err != nil {
			c.cgroup = nil
			return nil, err
		}
		if limits != (Limits{}) {
			if err = c.cgroup.limit(limits); err != nil {
				return nil, err
			}
		}
	}
	if b.ends, err = c.start(); err != nil {
		return nil, err
	}
	return b, nil
}

// discard takes away what was not, or will not be, a box, even when ctx has ended, and
// adds to an error what could not be.
func (c *custody) discard(ctx context.Context, err *error) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), buildWithin)
	defer cancel()
	*err = errors.Join(*err, c.remove(clean))
}

// start makes init, which waits for its configuration. A zygote that has gone since the
// last box is replaced; what it may have made for this one has nothing to do with the next
// attempt, and ends with its sockets.
func (c *custody) start() (ends, error) {
	e, err := c.tryStart()
	if errors.Is(err, errZygoteGone) {
		e.close()
		e, err = c.tryStart()
	}
	return e, err
}

func (c *custody) tryStart() (e ends, err error) {
	control, controlInside, err := socketPair()
	if err != nil {
		return e, err
	}
	defer controlInside.Close()
	e.control = control
	command, commandInside, err := socketPair()
	if err != nil {
		return e, err
	}
	defer commandInside.Close()
	e.command = command
	groups, err := c.cgroup.entrances()
	if err != nil {
		return e, err
	}
	defer closeAll(groups)
	inside := []*os.File{controlInside, commandInside}
	if c.init, err = c.launcher.zygote.clone(c.uid, c.launcher.ids.shared(), c.launcher.gvisor != nil, c.launcher.h.unified, inside, groups); err != nil {
		return e, fmt.Errorf("start the box's init: %w", err)
	}
	c.processes.Add(1)
	go func() { // ends with init, which ends with the control socket at the latest
		defer c.processes.Done()
		if err := awaitExit(c.init); err != nil {
			c.launcher.cfg.Log.Error("watch a box's init", "box", c.id, "error", err)
		}
		freeSocketCycles()
		close(c.gone)
	}()
	if _, err := e.control.Write([]byte{0}); err != nil { // its uids are mapped now
		return e, fmt.Errorf("start the box's init: %w", err)
	}
	return e, nil
}

// freeSocketCycles makes the kernel look for descriptors that are only in messages to
// sockets that are only in such messages. A program can put its streams there, which would
// not end then, nor would its memory be given back; and nobody looks before some Unix socket
// is closed (net/unix/garbage.c, called by unix_release).
func freeSocketCycles() {
	if fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
	}
}

// socketPair gives the launcher's end, for the poller, and the box's.
func socketPair() (outside, inside *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "box"), os.NewFile(uintptr(fds[1]), "launcher"), nil
}

// awaitInit waits for init's report that all is in place, which carries the terminal
// and the program's folder.
func awaitInit(control *os.File) (master, work *os.File, err error) {
	buf, oob := make([]byte, reportSize), make([]byte, unix.CmsgSpace(2*4))
	n, rights, err := receive(control, buf, oob)
	if err != nil {
		return nil, nil, fmt.Errorf("wait for the box's init: %w", err)
	}
	if err := checkReady(buf[:n]); err != nil {
		return nil, nil, err
	}
	if len(rights) != 2 {
		return nil, nil, fmt.Errorf("the box's init sent %d descriptors, not 2", len(rights))
	}
	if err := unix.SetNonblock(rights[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(rights[0]), unix.Close(rights[1]))
	}
	return os.NewFile(uintptr(rights[0]), "terminal"), os.NewFile(uintptr(rights[1]), "work"), nil
}

// receive reads a message with descriptors.
func receive(f *os.File, buf, oob []byte) (n int, rights []int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var oobn int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, failed = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err := errors.Join(err, failed); err != nil {
		return 0, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			rights = append(rights, fds...)
		}
	}
	return n, rights, nil
}

// watchMemory kills the box as a whole when the kernel says that its memory ran
// out. With cgroup v2 the kernel has done that itself.
func (c *custody) watchMemory(group *cgroup) {
	defer c.processes.Done()
	killed := group.awaitOOMKill()
	if !killed {
		// It may have been removed before anybody looked: the last count says it.
		u, err := c.usage()
		killed = err == nil && u.OOMKills > 0
	}
	if killed {
		c.runOut()
	}
}

func (c *custody) usage() (Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cgroup == nil {
		return c.last, nil
	}
	u, err := c.cgroup.usage()
	if err != nil {
		return c.last, err
	}
	if c.own != nil {
		if u, err = c.own.without(c.cgroup, u); err != nil {
			return c.last, err
		}
	}
	c.last = u
	return u, nil
}

func (c *custody) weigh(background bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cgroup == nil {
		return nil
	}
	return c.cgroup.weigh(background)
}

func (c *custody) oom() <-chan struct{} { return c.outOfMem }

func (c *custody) ranOutOfMemory() bool {
	select {
	case <-c.outOfMem:
		return true
	default:
		return false
	}
}
func (c *custody) exited() <-chan struct{} { return c.gone }

// kill kills init; the kernel then kills everything in its pid namespace. With
// cgroup v2 it kills all of the group besides.
func (c *custody) kill() error {
	if c.init == nil {
		return nil
	}
	c.mu.Lock()
	removed := c.removed
	c.mu.Unlock()
	if removed {
		return nil
	}
	if err := killProcess(c.init); err != nil {
		return err
	}
	if c.launcher.h.unified {
		return c.killGroup()
	}
	return nil
}

// killGroup kills by the group what did not end with init.
func (c *custody) killGroup() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cgroup == nil {
		return nil
	}
	return c.cgroup.kill()
}

// endsWithin is how long the end of init, and so of all in its pid namespace, may
// take before the box is killed by its cgroup.
const endsWithin = time.Second

// await waits for the end of a box that is killed.
func (c *custody) await(ctx context.Context) error {
	late := time.NewTimer(endsWithin)
	defer late.Stop()
	var second error
	for {
		select {
		case <-c.gone:
			return nil
		case <-late.C:
			second = c.killGroup()
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it did not end: %w", ctx.Err()), second)
		}
	}
}

// remove takes the box away. What cannot be taken away in time goes into quarantine:
// see Launcher.quarantine.
func (c *custody) remove(ctx context.Context) error {
	// Where one box ends the next is made, and no program waits for the processor: a blank
	// is not prepared when a box is made, which would delay the program that starts in it.
	c.launcher.prepareBlank(c.limits, c.paths)
	err := c.tryRemove(ctx)
	if err != nil {
		c.launcher.quarantine(c, err)
	}
	return err
}

func (c *custody) tryRemove(ctx context.Context) error {
	c.removing.Lock()
	defer c.removing.Unlock()
	if c.removed {
		return nil
	}
	if c.init != nil {
		if err := c.kill(); err != nil {
			return err
		}
		if err := c.await(ctx); err != nil {
			return err
		}
	}
	// What it is in the end; nothing else can be read of it later.
	if _, err := c.usage(); err != nil {
		c.launcher.cfg.Log.Error("read what a box has used", "box", c.id, "error", err)
	}
	c.mu.Lock()
	group, work := c.cgroup, c.work
	c.work = nil
	if c.sockets != nil {
		_ = c.sockets.Close() // which lets its network go
		c.sockets = nil
	}
	c.mu.Unlock()
	if work != nil {
		_ = work.Close() // which frees the scratch memory
	}
	if group != nil {
		if err := group.remove(); err != nil {
			return err
		}
		c.mu.Lock()
		c.cgroup = nil
		c.mu.Unlock()
	}
	c.processes.Wait()
	c.mu.Lock()
	c.removed = true
	c.mu.Unlock()
	if c.init != nil {
		_ = c.init.Close() // a pidfd has nothing to lose
	}
	c.launcher.forget(c)
	return nil
}
