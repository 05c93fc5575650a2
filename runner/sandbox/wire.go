package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Where the process that serves has no privilege, another one makes the boxes for
// it: Serve there, Connect here. They talk over a socket pair, in messages of JSON
// of which one may carry descriptors: those of a box that has been made. All that
// is done with a box through its descriptors (its command, its streams, signals)
// needs nothing more of the launcher.
//
// The launcher does not trust who asks: it makes boxes of the images that it was
// started with and of no others, and it gives nothing but boxes. When the other
// end goes away, it destroys them all and ends.

// request is a message to the launcher.
type request struct {
	ID    uint64 `json:"id"`
	Do    string `json:"do"`
	Box   string `json:"box,omitempty"`
	Spec  *Spec  `json:"spec,omitempty"`
	After int64  `json:"after,omitempty"` // nanoseconds until the caller gives up

	Collect    *CollectLimits `json:"collect,omitempty"`
	Background bool           `json:"background,omitempty"`
	// Filter names a seccomp program, which is said with doFilter once and not with
	// each box: it is most of what there is to say of one.
	Filter  uint64 `json:"filter,omitempty"`
	Program []byte `json:"program,omitempty"`
}

// What can be asked.
const (
	doFilter    = "filter"
	doBuild     = "build"
	doUsage     = "usage"
	doWeigh     = "weigh"
	doKill      = "kill"
	doRemove    = "remove"
	doCollect   = "collect"
	doLeftovers = "leftovers"
	doClose     = "close"
)

// reply is a message from the launcher: an answer, or (with ID 0) news of a box.
type reply struct {
	ID        uint64     `json:"id,omitempty"`
	Error     string     `json:"error,omitempty"`
	Box       string     `json:"box,omitempty"`
	UID       int        `json:"uid,omitempty"`
	Usage     *Usage     `json:"usage,omitempty"`
	Leftovers *Leftovers `json:"leftovers,omitempty"`
	TooMuch   bool       `json:"too_much,omitempty"` // the error is ErrTooMuch
	Exited    bool       `json:"exited,omitempty"`
	OOM       bool       `json:"oom,omitempty"`

	files []*os.File
}

// maxMessage bounds a message; a compiled seccomp profile is most of the largest.
const maxMessage = 160 << 10

// Pair makes the two ends of the socket that a launcher and who asks it share.
func Pair() (launcher, asker *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the launcher's socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "launcher"), os.NewFile(uintptr(fds[1]), "asker"), nil
}

// wire sends and receives messages on one end.
type wire struct {
	file    *os.File
	sending sync.Mutex
	// Owned by the one who receives. They are kept: a message is some hundred bytes, and
	// to make room for the largest each time had the collector do a third of the launcher's work.
	buf, oob []byte
}

func newWire(file *os.File) (*wire, error) {
	// A descriptor that was inherited may be blocking; the poller wants it not to
	// be, and takes it only when it is made into a file.
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("take the launcher's socket: %w", err)
	}
	if err := errors.Join(unix.SetNonblock(fd, true), file.Close()); err != nil {
		return nil, fmt.Errorf("take the launcher's socket: %w", err)
	}
	return &wire{
		file: os.NewFile(uintptr(fd), "launcher"), buf: make([]byte, maxMessage), oob: make([]byte, unix.CmsgSpace(4*4)),
	}, nil
}

func (w *wire) send(message any, files ...*os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long: at most %d are possible", len(b), maxMessage)
	}
	rights, err := rightsOf(files)
	if err != nil {
		return err
	}
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = unix.Sendmsg(int(fd), b, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(failed, unix.EAGAIN)
	})
	return errors.Join(err, failed)
}

// receive reads a message into v. It gives io.EOF when the other end has gone. One goroutine
// of an end may do so.
func (w *wire) receive(v any) (files []*os.File, err error) {
	n, fds, err := receive(w.file, w.buf, w.oob)
	for i, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), [...]string{"control", "command", "terminal", "?"}[i]))
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		err = json.Unmarshal(w.buf[:n], v)
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing is buffered
	}
}

// rightsOf gives descriptors as a socket sends them beside a message; nil for none.
func rightsOf(files []*os.File) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	fds := make([]int, 0, len(files))
	for _, f := range files {
		conn, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := conn.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return nil, err
		}
	}
	return unix.UnixRights(fds...), nil
}
