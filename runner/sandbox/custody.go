package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// custody is what root has of a box: its first process and its cgroup.
type custody struct {
	// Static once it is made.
	launcher *Launcher
	id       string
	uid      int // init's on the host; the program's is the next
	init     *exec.Cmd

	gone      chan struct{}  // closed when init, and with it all, is gone
	outOfMem  chan struct{}  // closed when the kernel said that memory ran out
	processes sync.WaitGroup // those who watch

	mu     sync.Mutex // guards below
	cgroup *cgroup    // nil once it is removed
	last   Usage
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
	c := &custody{launcher: l, gone: make(chan struct{}), outOfMem: make(chan struct{})}
	if err := l.admit(c); err != nil {
		return nil, e, err
	}
	defer func() {
		if err != nil {
			// What failed to be built is taken away even when ctx has ended.
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), buildWithin)
			defer cancel()
			err = errors.Join(err, c.remove(clean))
			e.close()
		}
	}()
	if c.cgroup, err = l.h.create(l.cfg.Name+"/"+c.id, spec.Limits); err != nil {
		c.cgroup = nil
		return nil, e, err
	}
	if e, err = c.start(spec); err != nil {
		return nil, e, err
	}
	// Should ctx end, or a step hang, the reads below end with the sockets.
	stop := context.AfterFunc(ctx, func() { hangUp(e.control, e.command) })
	defer stop()
	if !l.h.unified { // else it was made in it
		if err := c.cgroup.attach(c.init.Process.Pid); err != nil {
			return nil, e, fmt.Errorf("move the box into its cgroup: %w", err)
		}
	}
	if _, err := e.control.Write(append(encodeConfig(spec, lengths), instructions...)); err != nil {
		return nil, e, errors.Join(fmt.Errorf("configure: %w", err), ctx.Err())
	}
	if e.master, err = awaitInit(e.control); err != nil {
		return nil, e, errors.Join(err, ctx.Err())
	}
	if err := e.awaitStub(); err != nil {
		return nil, e, errors.Join(err, ctx.Err())
	}
	if !stop() {
		return nil, e, ctx.Err() // the sockets may have been hung up
	}
	c.processes.Add(1)
	go c.watchMemory(c.cgroup) // ends with the cgroup's removal
	return c, e, nil
}

// start executes init.
func (c *custody) start(spec Spec) (e ends, err error) {
	image, err := cloneImage(spec.Rootfs)
	if err != nil {
		return e, err
	}
	defer image.Close()
	mounts := []*os.File{image}
	if spec.Usr != "" {
		usr, err := cloneImage(spec.Usr)
		if err != nil {
			return e, err
		}
		defer usr.Close()
		mounts = append(mounts, usr)
	}
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
	attr := attributes(c.uid)
	if c.cgroup.h.unified {
		group, err := c.cgroup.directory()
		if err != nil {
			return e, err
		}
		defer group.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(group.Fd())
	}
	c.init = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{argv0}, Dir: "/", Env: []string{},
		ExtraFiles: append([]*os.File{controlInside, commandInside}, mounts...), SysProcAttr: attr,
	}
	if err := c.init.Start(); err != nil {
		c.init = nil
		return e, fmt.Errorf("start the box's init: %w", err)
	}
	c.processes.Add(1)
	go func() { // ends with init, which ends with the control socket at the latest
		defer c.processes.Done()
		_ = c.init.Wait() // how init ends says nothing: the program's end is reported
		close(c.gone)
	}()
	return e, nil
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

// awaitInit waits for init's first report, which carries the terminal.
func awaitInit(control *os.File) (master *os.File, err error) {
	buf, oob := make([]byte, reportSize), make([]byte, unix.CmsgSpace(4))
	n, rights, err := receive(control, buf, oob)
	if err != nil {
		return nil, fmt.Errorf("wait for the box's init: %w", err)
	}
	if err := checkReady(buf[:n]); err != nil {
		return nil, err
	}
	if len(rights) != 1 {
		return nil, errors.New("the box's init sent no terminal")
	}
	if err := unix.SetNonblock(rights[0], true); err != nil {
		return nil, errors.Join(err, unix.Close(rights[0]))
	}
	return os.NewFile(uintptr(rights[0]), "terminal"), nil
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
		close(c.outOfMem)
		_ = c.kill() // fails only when it is dead
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
	c.last = u
	return u, nil
}

func (c *custody) oom() <-chan struct{}    { return c.outOfMem }
func (c *custody) exited() <-chan struct{} { return c.gone }

// kill kills init; the kernel then kills everything in its pid namespace. With
// cgroup v2 it kills all of the group besides.
func (c *custody) kill() error {
	if c.init == nil {
		return nil
	}
	if err := c.init.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
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

func (c *custody) remove(ctx context.Context) error {
	if c.init != nil {
		if err := c.kill(); err != nil {
			return err
		}
		if err := c.await(ctx); err != nil {
			return err
		}
	}
	_, err := c.usage()
	c.mu.Lock()
	group := c.cgroup
	c.cgroup = nil
	c.mu.Unlock()
	if group != nil {
		err = errors.Join(err, group.remove())
	}
	c.processes.Wait()
	c.launcher.forget(c)
	return err
}
