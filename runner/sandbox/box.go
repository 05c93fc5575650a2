package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Box is one sandbox: ready after Build, used by one Start, gone after Destroy.
// Its methods are safe for concurrent use.
type Box struct {
	// Static after Build.
	launcher *Launcher
	id       string
	uid      int // init's on the host; the program's is the next
	cgroup   *cgroup
	init     *exec.Cmd
	control  *os.File // to init
	command  *os.File // to the stub
	master   *os.File // of the terminal

	exited  chan struct{} // closed when init, and with it all, is gone
	oom     chan struct{} // closed when the kernel said that memory ran out
	ended   chan struct{} // closed when the program has ended
	watch   sync.WaitGroup
	destroy sync.Once

	mu      sync.Mutex // guards below
	started bool
	process *Process // once it runs
	exit    *Exit    // of the program
	gone    error    // from Destroy
	last    Usage    // when the cgroup is gone
}

// Exit is how a program ended.
type Exit struct {
	Code   int            // when Signal is 0
	Signal syscall.Signal // that killed it, or 0
}

var (
	// ErrUsed says that a box has had its command.
	ErrUsed = errors.New("a box takes one command")
	// ErrBoxGone says that the box ended before what was asked.
	ErrBoxGone = errors.New("the box is gone")
)

// Build makes a box and returns once it has said, from inside, that it is ready.
// Whatever goes wrong, also the end of ctx, leaves nothing behind.
func (l *Launcher) Build(ctx context.Context, spec Spec) (_ *Box, err error) {
	ctx, cancel := context.WithTimeout(ctx, buildWithin)
	defer cancel()
	lengths, instructions, err := splitFilters(spec.Seccomp)
	if err != nil {
		return nil, fmt.Errorf("build box: %w", err)
	}
	b := &Box{launcher: l, exited: make(chan struct{}), oom: make(chan struct{}), ended: make(chan struct{})}
	if err := l.admit(b); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("build box: %w", err)
			// What failed to be built is taken away even when ctx has ended.
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), buildWithin)
			defer cancel()
			err = errors.Join(err, b.Destroy(clean))
		}
	}()
	if b.cgroup, err = l.h.create(l.cfg.Name+"/"+b.id, spec.Limits); err != nil {
		b.cgroup = nil
		return nil, err
	}
	if err := b.start(spec); err != nil {
		return nil, err
	}
	// Should ctx end, or a step hang, the reads below end with the sockets.
	stop := context.AfterFunc(ctx, func() { hangUp(b.control, b.command) })
	defer stop()
	if err := b.cgroup.attach(b.init.Process.Pid); err != nil {
		return nil, fmt.Errorf("move the box into its cgroup: %w", err)
	}
	if _, err := b.control.Write(append(encodeConfig(spec, lengths), instructions...)); err != nil {
		return nil, errors.Join(fmt.Errorf("configure: %w", err), ctx.Err())
	}
	if err := b.awaitInit(); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if err := b.awaitStub(); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if !stop() {
		return nil, ctx.Err() // the sockets may have been hung up
	}
	b.watch.Add(2)
	go b.watchControl()            // ends with init
	go b.watchMemory(b.cgroup.oom) // ends with the box's destruction
	return b, nil
}

// start executes init.
func (b *Box) start(spec Spec) (err error) {
	image, err := cloneImage(spec.Rootfs)
	if err != nil {
		return err
	}
	defer image.Close()
	mounts := []*os.File{image}
	if spec.Usr != "" {
		usr, err := cloneImage(spec.Usr)
		if err != nil {
			return err
		}
		defer usr.Close()
		mounts = append(mounts, usr)
	}
	control, controlInside, err := socketPair()
	if err != nil {
		return err
	}
	defer controlInside.Close()
	b.control = control
	command, commandInside, err := socketPair()
	if err != nil {
		return err
	}
	defer commandInside.Close()
	b.command = command
	b.init = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{argv0}, Dir: "/", Env: []string{},
		ExtraFiles: append([]*os.File{controlInside, commandInside}, mounts...), SysProcAttr: attributes(b.uid),
	}
	if err := b.init.Start(); err != nil {
		b.init = nil
		return fmt.Errorf("start the box's init: %w", err)
	}
	b.watch.Add(1)
	go func() { // ends with init, which ends with the control socket at the latest
		defer b.watch.Done()
		_ = b.init.Wait() // how init ends says nothing: the program's end is reported
		close(b.exited)
	}()
	return nil
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

// hangUp ends all waiting for the other side of sockets.
func hangUp(sockets ...*os.File) {
	past := time.Unix(1, 0)
	for _, f := range sockets {
		_ = f.SetDeadline(past) // fails only on a closed one
	}
}

// awaitInit waits for init's first report, which carries the terminal.
func (b *Box) awaitInit() error {
	buf, oob := make([]byte, reportSize), make([]byte, unix.CmsgSpace(4))
	n, rights, err := receive(b.control, buf, oob)
	if err != nil {
		return fmt.Errorf("wait for the box's init: %w", err)
	}
	if err := checkReady(buf[:n]); err != nil {
		return err
	}
	if len(rights) != 1 {
		return errors.New("the box's init sent no terminal")
	}
	if err := unix.SetNonblock(rights[0], true); err != nil {
		return errors.Join(err, unix.Close(rights[0]))
	}
	b.master = os.NewFile(uintptr(rights[0]), "terminal")
	return nil
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

func checkReady(b []byte) error {
	if len(b) != reportSize {
		return fmt.Errorf("%w: its first process ended", ErrBoxGone)
	}
	r := decodeReport(b)
	if r.kind != reportReady {
		return fmt.Errorf("%s: %w", r.step, syscall.Errno(r.value))
	}
	return nil
}

func (b *Box) awaitStub() error {
	buf := make([]byte, reportSize)
	n, err := io.ReadFull(b.command, buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the box: %w", err)
	}
	return checkReady(buf[:n])
}

// watchControl reads init's reports until init is gone.
func (b *Box) watchControl() {
	defer b.watch.Done()
	defer close(b.ended)
	buf := make([]byte, reportSize)
	for {
		if _, err := io.ReadFull(b.control, buf); err != nil {
			return
		}
		r := decodeReport(buf)
		if r.kind != reportExited {
			continue
		}
		status := syscall.WaitStatus(r.value)
		exit := Exit{}
		if status.Signaled() {
			exit.Signal = status.Signal()
		} else {
			exit.Code = status.ExitStatus()
		}
		b.mu.Lock()
		b.exit = &exit
		b.mu.Unlock()
		return
	}
}

// watchMemory kills the box as a whole when the kernel says that its memory ran
// out. With cgroup v2 the kernel does that itself.
func (b *Box) watchMemory(oom *os.File) {
	defer b.watch.Done()
	if oom == nil {
		<-b.exited
		if u, err := b.Usage(); err == nil && u.OOMKills > 0 {
			close(b.oom)
		}
		return
	}
	var count [8]byte
	for {
		if _, err := oom.Read(count[:]); err != nil {
			return // closed
		}
		if b.killedForMemory() {
			close(b.oom)
			_ = b.Kill() // fails only when it is dead
			return
		}
	}
}

const (
	oomSettles = 2 * time.Second
	oomPause   = 2 * time.Millisecond
)

// killedForMemory tells whether the kernel has killed for lack of memory. It
// signals before it kills, and it signals the removal of the group as well, so
// that the counter has to be looked at for a while.
func (b *Box) killedForMemory() bool {
	for deadline := time.Now().Add(oomSettles); ; time.Sleep(oomPause) {
		gone := b.isGone() // before the count is read, which then is the last
		u, err := b.Usage()
		if err == nil && u.OOMKills > 0 {
			return true
		}
		if err != nil || gone || time.Now().After(deadline) {
			return false
		}
	}
}

func (b *Box) isGone() bool {
	select {
	case <-b.exited:
		return true
	default:
		return false
	}
}

// Usage reads what the box has used so far; after Destroy, what it had used then.
func (b *Box) Usage() (Usage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cgroup == nil {
		return b.last, nil
	}
	u, err := b.cgroup.usage()
	if err != nil {
		return b.last, fmt.Errorf("read usage of %s: %w", b.id, err)
	}
	b.last = u
	return u, nil
}

// OOM is closed when the kernel killed for lack of memory; the box then dies as
// a whole.
func (b *Box) OOM() <-chan struct{} { return b.oom }

// Exited is closed when nothing runs in the box any more, whether that was
// wanted or not.
func (b *Box) Exited() <-chan struct{} { return b.exited }

// Kill ends everything in the box, at once. What the program wrote before can
// still be read. It does not wait; Exited does.
func (b *Box) Kill() error {
	if b.init == nil {
		return nil
	}
	if err := b.init.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", b.id, err)
	}
	return nil
}

// Destroy kills the box, waits until it is empty and removes all of it. It is
// idempotent; the error says what could not be removed before ctx ended. Readers
// of the program's output must have ended: the pipes and the terminal are closed.
func (b *Box) Destroy(ctx context.Context) error {
	b.destroy.Do(func() {
		err := b.tearDown(ctx)
		b.mu.Lock()
		b.gone = err
		b.mu.Unlock()
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone
}

func (b *Box) tearDown(ctx context.Context) error {
	if b.init != nil {
		if err := b.Kill(); err != nil {
			return err
		}
		select {
		case <-b.exited:
		case <-ctx.Done():
			return fmt.Errorf("%s did not end: %w", b.id, ctx.Err())
		}
	}
	for _, f := range []*os.File{b.control, b.command, b.master} {
		if f != nil {
			_ = f.Close() // nothing is buffered
		}
	}
	b.mu.Lock()
	process := b.process
	b.mu.Unlock()
	if process != nil {
		process.closePipes()
	}
	var err error
	if b.cgroup != nil {
		_, usageErr := b.Usage()
		b.mu.Lock()
		group := b.cgroup
		b.cgroup = nil
		b.mu.Unlock()
		err = errors.Join(usageErr, group.remove())
	}
	b.watch.Wait()
	b.launcher.forget(b)
	return err
}

// appendString writes a string as the stub reads it, with its terminating zero.
func appendString(b []byte, s string) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(len(s)+1))
	return append(append(b, s...), 0)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}
