package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// File is a file that is there when the program starts.
type File struct {
	Path    string // relative to /work, separated by /
	Content []byte
	Mode    os.FileMode // permissions; 0 means 0644
}

// Size is a terminal's, in characters.
type Size struct{ Cols, Rows uint16 }

// Command is what a box runs.
type Command struct {
	Args     []string // the program, looked up in Env's PATH, and its arguments
	Env      []string // all of the environment
	Dir      string   // working folder; "" means /work
	Files    []File
	Terminal *Size // nil: three pipes
	// CPUTime bounds the processor time of each process, in whole seconds, in boxes
	// without a cgroup; 0 does not. SIGXCPU tells of it.
	CPUTime time.Duration
}

// Process is the program in a box.
type Process struct {
	box                   *Box
	stdin, stdout, stderr *os.File // pipes; nil with a terminal
	terminal              bool
}

// MaxCommandBytes bounds a command with its files.
const MaxCommandBytes = 40 << 20

// maxSentBytes is up to where a command is written into the socket. What is larger comes in
// a file in memory, which the stub maps: it is copied once, into the box, where a socket
// would have it copied three times and both sides wait for each other (800 KiB: 2 ms less).
const maxSentBytes = 32 << 10

// Warm starts a runtime in the box ahead of its program and returns when the runtime
// says that it is ready: it then waits on its descriptor 255 (lang.WarmFD has the
// protocol). Until then the box stands back behind others for processors. Start gives it the program. Files are the program's and not the runtime's;
// cmd's are written now.
func (b *Box) Warm(ctx context.Context, cmd Command) error {
	if err := b.enter(false, true); err != nil {
		return fmt.Errorf("start runtime: %w", err)
	}
	// Somebody may be waiting for another box's program; for this one's nobody is.
	err := b.keep.weigh(true)
	if err == nil {
		err = b.exec(ctx, cmd, true)
	}
	if err == nil {
		err = b.keep.weigh(false)
	}
	if err == nil {
		var used Usage
		used, err = b.Usage()
		b.mu.Lock()
		b.before = used.CPU
		b.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("start runtime: %w", err)
	}
	return nil
}

// Start gives the box its command and returns when the program runs. A box takes
// one. In a box with a runtime (Warm) the command's arguments are what that is to be
// told: the entry, then the program's arguments; its environment, folder and streams are
// the runtime's. The error is of Corun's making, or says why the program could not be
// executed (then it is a syscall.Errno below).
func (b *Box) Start(ctx context.Context, cmd Command) (_ *Process, err error) {
	if err := b.enter(true, false); err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	b.mu.Lock()
	warm := b.process
	b.mu.Unlock()
	if warm == nil {
		err = b.exec(ctx, cmd, false)
	} else {
		err = b.hand(ctx, cmd, warm)
	}
	if err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.process, nil
}

// enter notes that the box is given its program, or its runtime, which it is once.
func (b *Box) enter(started, warmed bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started || b.warmed && warmed {
		return ErrUsed
	}
	b.started, b.warmed = started, b.warmed || warmed
	return nil
}

// exec makes the stub execute a command: a program, or a runtime ahead of one.
func (b *Box) exec(ctx context.Context, cmd Command, warm bool) error {
	payload, err := cmd.encode(warm)
	if err != nil {
		return err
	}
	p := &Process{box: b, terminal: cmd.Terminal != nil}
	var inside []*os.File
	if !p.terminal {
		inside, err = p.makePipes()
	}
	if err == nil {
		err = b.tell(ctx, payload, inside, !warm)
	}
	for _, f := range inside {
		_ = f.Close() // the box has its own
	}
	if warm && errors.Is(err, syscall.ECHILD) {
		err = fmt.Errorf("it ended before it was ready, and said %q", p.lastWords())
	}
	if err != nil {
		p.closePipes()
		return err
	}
	b.mu.Lock()
	b.process = p // Destroy closes its pipes
	b.mu.Unlock()
	return nil
}

// hand gives a program to the runtime that waits for one.
func (b *Box) hand(ctx context.Context, cmd Command, runtime *Process) error {
	if runtime.terminal != (cmd.Terminal != nil) {
		return errors.New("the runtime has other streams than the program is to have")
	}
	payload, err := cmd.encode(false)
	if err != nil {
		return err
	}
	return b.tell(ctx, payload, nil, true)
}

// tell sends a command and waits for the box's word that it is done, and, where that is
// the box's last, for the end.
func (b *Box) tell(ctx context.Context, payload pieces, inside []*os.File, last bool) error {
	// Should ctx end, what follows ends with the socket. The box is of no use
	// then.
	stop := context.AfterFunc(ctx, func() { hangUp(b.command) })
	defer stop()
	if err := b.send(payload, inside); err != nil {
		return errors.Join(fmt.Errorf("send the command: %w", err), ctx.Err())
	}
	await := b.awaitStub
	if last {
		await = b.awaitExec
	}
	if err := await(); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

// awaitExec waits for the stub's word that it executes the program, and then for
// the socket's end, which is the exec's doing. Anything else is why not.
func (b *Box) awaitExec() error {
	if err := b.awaitStub(); err != nil {
		return err
	}
	buf := make([]byte, reportSize)
	n, err := io.ReadFull(b.command, buf)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	return checkReady(buf[:n])
}

// makePipes gives the program's ends.
func (p *Process) makePipes() (inside []*os.File, err error) {
	for i, outside := range []**os.File{&p.stdin, &p.stdout, &p.stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return inside, fmt.Errorf("make a pipe: %w", err)
		}
		// The program may open it again, as /dev/stdout, and nobody else can reach it.
		if err := r.Chmod(0o666); err != nil {
			return append(inside, r, w), fmt.Errorf("make a pipe: %w", err)
		}
		if i == 0 {
			inside, *outside = append(inside, r), w
		} else {
			inside, *outside = append(inside, w), r
		}
	}
	return inside, nil
}

// lastWords are what a runtime that has ended has printed last.
func (p *Process) lastWords() string {
	from := p.box.master
	if !p.terminal {
		from = p.stderr
	}
	var said []byte
	buf := make([]byte, 4096)
	_ = from.SetReadDeadline(time.Now().Add(lastWordsWithin)) // fails only on a closed one
	for len(said) < len(buf) {
		n, err := from.Read(buf)
		if said = append(said, buf[:n]...); err != nil {
			break
		}
	}
	return strings.TrimSpace(string(said[max(0, len(said)-300):]))
}

// lastWordsWithin is how long they are waited for: they are in the pipe already.
const lastWordsWithin = 50 * time.Millisecond

func (p *Process) closePipes() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close() // nothing is buffered
		}
	}
}

// send writes the command, with the program's descriptors beside its length.
func (b *Box) send(payload pieces, inside []*os.File) error {
	for _, f := range inside {
		// Programs expect blocking descriptors; the flag is the description's. Not by
		// f.Fd: that would make the launcher's other end blocking.
		conn, err := f.SyscallConn()
		if err != nil {
			return err
		}
		var failed error
		err = conn.Control(func(fd uintptr) { failed = unix.SetNonblock(int(fd), false) })
		if err := errors.Join(err, failed); err != nil {
			return err
		}
	}
	// length, whether it is in a file
	data := binary.NativeEndian.AppendUint32(nil, uint32(payload.len()))
	if payload.len() <= maxSentBytes {
		data = binary.NativeEndian.AppendUint32(data, 0)
		return sendWith(b.command, append(data, bytes.Join(payload, nil)...), inside)
	}
	file, err := payload.file()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // the stub has its own
	return sendWith(b.command, binary.NativeEndian.AppendUint32(data, 1), append(inside[:len(inside):len(inside)], file))
}

// pieces are a command as the stub reads it, not joined.
type pieces [][]byte

func (p pieces) len() (n int) {
	for _, piece := range p {
		n += len(piece)
	}
	return n
}

// file gives a file in memory that has the pieces.
func (p pieces) file() (*os.File, error) {
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "command")
	for _, piece := range p {
		if _, err := file.Write(piece); err != nil {
			return nil, errors.Join(fmt.Errorf("write a file in memory: %w", err), file.Close())
		}
	}
	return file, nil
}

// sendWith writes to a socket, with descriptors beside the first byte.
func sendWith(socket *os.File, data []byte, files []*os.File) error {
	rights, err := rightsOf(files)
	if err != nil {
		return err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	var n int
	err = raw.Write(func(fd uintptr) bool {
		n, failed = unix.SendmsgN(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if n < len(data) { // writing nothing would fail where the other end is done already
		_, err = socket.Write(data[n:])
	}
	return err
}

// encode checks a command and writes it as the stub reads it.
func (c Command) encode(warm bool) (pieces, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, errors.New("the command is empty")
	}
	dir := c.Dir
	if dir == "" {
		dir = "/work"
	}
	for _, list := range [][]string{c.Args, c.Env, {dir}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return nil, fmt.Errorf("%q holds a zero byte", s)
			}
		}
	}
	head := [5]uint32{1: uint32((c.CPUTime + time.Second - 1) / time.Second)}
	if c.Terminal != nil {
		head[0], head[2], head[3] = 1, uint32(c.Terminal.Cols), uint32(c.Terminal.Rows)
	}
	if warm {
		head[4] = 1
	}
	var b []byte
	for _, n := range head {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	b = appendString(b, dir)
	b = appendStrings(b, c.Args)
	b = appendStrings(b, c.Env)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(c.Files)))
	var all pieces
	for _, f := range c.Files {
		if f.Path == "" || path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == ".." || strings.HasPrefix(f.Path, "../") || strings.ContainsRune(f.Path, 0) {
			return nil, fmt.Errorf("the path %q is not a clean relative one", f.Path)
		}
		mode := f.Mode.Perm()
		if mode == 0 {
			mode = 0o644
		}
		b = appendString(b, f.Path)
		b = binary.NativeEndian.AppendUint32(b, uint32(mode))
		b = binary.NativeEndian.AppendUint32(b, uint32(len(f.Content)))
		if len(f.Content) < maxSentBytes {
			b = append(b, f.Content...)
		} else {
			all, b = append(all, b, f.Content), nil
		}
	}
	all = append(all, b)
	if n := all.len(); n > MaxCommandBytes {
		return nil, fmt.Errorf("the command with its files has %d bytes: at most %d are possible", n, MaxCommandBytes)
	}
	return all, nil
}

// Stdin is the program's input, without a terminal. Closing it is its end.
func (p *Process) Stdin() io.WriteCloser { return p.stdin }

// Stdout and Stderr are the program's outputs, without a terminal. They end when
// all who could write are gone.
func (p *Process) Stdout() io.Reader { return p.stdout }

// Stderr: see Stdout.
func (p *Process) Stderr() io.Reader { return p.stderr }

// PTY is the terminal's outer side. Reading ends with io.EOF when the box does.
func (p *Process) PTY() io.ReadWriter { return terminal{p.box.master} }

// terminal does not embed the file: that would bring its WriteTo, which io.Copy
// prefers to Read.
type terminal struct{ master *os.File }

func (t terminal) Write(b []byte) (int, error) { return t.master.Write(b) }

// Read hides that Linux says EIO for the end of a terminal.
func (t terminal) Read(b []byte) (int, error) {
	n, err := t.master.Read(b)
	if errors.Is(err, syscall.EIO) {
		return n, io.EOF
	}
	return n, err
}

// Resize tells the terminal its new size, and with it the program in front.
func (p *Process) Resize(size Size) error {
	if !p.terminal {
		return errors.New("the program has no terminal")
	}
	err := pty.Setsize(p.box.master, &pty.Winsize{Cols: size.Cols, Rows: size.Rows})
	if errors.Is(err, unix.ENOTTY) { // the terminal is upon gVisor's kernel
		_, err = p.box.control.Write(encodeResize(size))
	}
	if err != nil {
		return fmt.Errorf("resize terminal: %w", orGone(err))
	}
	return nil
}

// Signal sends a signal to the program: in a terminal to the group in front,
// else to the program's own group. The error is ErrBoxGone if there is none any more.
func (p *Process) Signal(sig syscall.Signal) error {
	if _, err := p.box.control.Write(encodeSignal(int(sig), p.terminal)); err != nil {
		return fmt.Errorf("send signal: %w", orGone(err))
	}
	return nil
}

// orGone tells what has failed because the box has ended, or is about to be destroyed.
func orGone(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EBADF) || errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrBoxGone, err)
	}
	return err
}

// Wait waits for the program's end. What it started may go on until the box is
// killed. The error is ErrBoxGone if the box died before the program's end was
// known, as it does when it is killed.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.box.ended:
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	if p.box.exit == nil {
		return Exit{}, ErrBoxGone
	}
	return *p.box.exit, nil
}
