package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// zygote is the process that makes boxes' first processes: see zygote.c. mu guards
// its fields and keeps one request at a time.
type zygote struct {
	mu      sync.Mutex
	process *exec.Cmd // nil until it is needed, and after it has ended
	socket  *os.File
}

// clone gives a pidfd of a new box's first process. It is in the box's cgroup, has
// its uids, and waits for its configuration on the control socket.
func (z *zygote) clone(uid int, shared, gvisor, unified bool, inside, groups []*os.File) (*os.File, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	request := encodeRequest(uid, shared, gvisor, unified, len(groups))
	if z.process == nil {
		if err := z.start(); err != nil {
			return nil, fmt.Errorf("start the zygote: %w", err)
		}
	}
	pidfd, err := z.ask(request, append(inside[:len(inside):len(inside)], groups...))
	if errors.Is(err, errZygoteGone) {
		err = errors.Join(err, z.end()) // nothing of it can be trusted any more
	}
	return pidfd, err
}

// errZygoteGone says that the zygote ended instead of answering, or does not answer.
var errZygoteGone = errors.New("the zygote has ended")

// zygoteWithin bounds an answer of the zygote's, which takes some hundred microseconds, and
// its start. One that takes longer is stuck, and is replaced.
const zygoteWithin = 5 * time.Second

func (z *zygote) start() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that it can have a deadline
		return errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	z.socket = os.NewFile(uintptr(fds[0]), "zygote")
	inside := os.NewFile(uintptr(fds[1]), "launcher")
	defer inside.Close()
	exe, err := sealedExecutable()
	if err != nil {
		return errors.Join(err, z.socket.Close())
	}
	defer exe.Close()
	process := &exec.Cmd{
		Path: fmt.Sprintf("/proc/self/fd/%d", exe.Fd()), Args: []string{zygoteArgv0}, Dir: "/", Env: []string{},
		ExtraFiles: []*os.File{inside}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := process.Start(); err != nil {
		return errors.Join(err, z.socket.Close())
	}
	z.process = process
	buf := make([]byte, reportSize)
	err = z.socket.SetDeadline(time.Now().Add(zygoteWithin))
	n := 0
	if err == nil {
		n, _, err = receive(z.socket, buf, nil)
	}
	if err == nil {
		err = checkReady(buf[:n])
	}
	if err != nil {
		return errors.Join(err, z.end())
	}
	return nil
}

// sealedExecutable opens this executable on a read-only mount of its own, so that
// nobody who gets hold of a box's /proc/1/exe could write to the file on the host
// (CVE-2019-5736).
func sealedExecutable() (*os.File, error) {
	f, err := cloneExecutable("/proc/self/exe")
	if errors.Is(err, unix.EINVAL) {
		// It was executed from the mount namespace that this process has left
		// (StartLauncher); it has the same path here.
		var path string
		if path, err = os.Readlink("/proc/self/exe"); err == nil {
			f, err = cloneExecutable(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("clone the mount of this executable: %w", err)
	}
	mount := int(f.Fd())
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return nil, errors.Join(fmt.Errorf("make this executable read-only: %w", err), f.Close())
	}
	return f, nil
}

// cloneExecutable clones the mount of a path, if what is there is this executable.
func cloneExecutable(path string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "executable")
	found, err1 := f.Stat()
	own, err2 := os.Stat("/proc/self/exe")
	if err = errors.Join(err1, err2); err == nil && !os.SameFile(found, own) {
		err = fmt.Errorf("%s was replaced since it was started: start it again", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ask sends a request and reads its answer.
func (z *zygote) ask(request []byte, files []*os.File) (*os.File, error) {
	if err := z.socket.SetDeadline(time.Now().Add(zygoteWithin)); err != nil {
		return nil, err
	}
	if err := sendWith(z.socket, request, files); err != nil {
		return nil, fmt.Errorf("%w: %w", errZygoteGone, err)
	}
	buf, oob := make([]byte, reportSize), make([]byte, unix.CmsgSpace(4))
	n, rights, err := receive(z.socket, buf, oob)
	if err != nil || n != reportSize {
		return nil, errors.Join(errZygoteGone, err)
	}
	var pidfd *os.File
	if len(rights) == 1 {
		// Not blocking, so that the poller takes it.
		if err := unix.SetNonblock(rights[0], true); err != nil {
			return nil, errors.Join(err, unix.Close(rights[0]))
		}
		pidfd = os.NewFile(uintptr(rights[0]), "pidfd")
	}
	if err := checkReady(buf); err != nil {
		return nil, err
	}
	if pidfd == nil {
		return nil, errors.New("the zygote sent no pidfd")
	}
	return pidfd, nil
}

// descriptors counts how many the zygote has.
func (z *zygote) descriptors() (int, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.process == nil {
		return 0, nil
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", z.process.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("count the zygote's descriptors: %w", err)
	}
	return len(open), nil
}

// close ends the zygote. Boxes do not depend on it.
func (z *zygote) close() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.process == nil {
		return nil
	}
	return z.end()
}

func (z *zygote) end() error {
	err := z.socket.Close()
	_ = z.process.Process.Kill() // it may have ended
	_ = z.process.Wait()         // how it ended says nothing
	z.process, z.socket = nil, nil
	return err
}

// awaitExit waits until the process of a pidfd has ended.
func awaitExit(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		n, failed = unix.Poll(polled, 0)
		return n > 0 || failed != nil && !errors.Is(failed, unix.EINTR)
	})
	return errors.Join(err, failed)
}

// killProcess kills the process of a pidfd.
func killProcess(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if errors.Is(failed, unix.ESRCH) {
		failed = nil // it has ended
	}
	return errors.Join(err, failed)
}
