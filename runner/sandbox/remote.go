package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

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
	var rights []byte
	var fds []int
	for _, f := range files {
		conn, err := f.SyscallConn()
		if err != nil {
			return err
		}
		if err := conn.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return err
		}
	}
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
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

// remote is the asking side. One goroutine reads; mu guards the maps.
type remote struct {
	wire *wire
	log  *slog.Logger
	over chan struct{} // closed when the launcher has gone

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan reply
	boxes   map[string]*remoteBox
	filters map[*byte]uint64 // that the launcher knows, by their first byte
}

// ErrLauncherGone says that the process that makes boxes has ended.
var ErrLauncherGone = errors.New("the launcher's process has ended")

// Connect gives a launcher whose boxes another process makes: see Serve. Gone is
// closed when that process ends; there are no boxes any more then.
func Connect(socket *os.File, log *slog.Logger) (*Launcher, error) {
	w, err := newWire(socket)
	if err != nil {
		return nil, err
	}
	r := &remote{wire: w, log: log, over: make(chan struct{}), waiting: make(map[uint64]chan reply), boxes: make(map[string]*remoteBox), filters: make(map[*byte]uint64)}
	go r.read() // ends with the launcher
	return &Launcher{remote: r}, nil
}

// Gone is closed when the process that makes the boxes has ended. It is nil, and
// never closed, where this process makes them itself.
func (l *Launcher) Gone() <-chan struct{} {
	if l.remote == nil {
		return nil
	}
	return l.remote.over
}

func (r *remote) read() {
	for {
		var m reply
		files, err := r.wire.receive(&m)
		if err != nil {
			// Reset: it ended with a message of ours unread.
			if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
				r.log.Error("the launcher cannot be understood", "error", err)
			}
			r.end()
			return
		}
		m.files = files
		r.mu.Lock()
		if m.ID == 0 {
			r.news(m)
		} else if c, ok := r.waiting[m.ID]; ok {
			delete(r.waiting, m.ID)
			if m.Box != "" && len(m.files) == endsOfBox { // before there is any news of it
				r.boxes[m.Box] = newRemoteBox(r, m.Box, m.files[0])
			}
			c <- m // it has room for one
		} else {
			go r.decline(m)
		}
		r.mu.Unlock()
	}
}

// endsOfBox is how many descriptors come with a box.
const endsOfBox = 3

// decline gives back a box that nobody waits for any more, or that cannot be used.
func (r *remote) decline(m reply) {
	closeAll(m.files)
	if m.Box == "" {
		return
	}
	r.mu.Lock()
	delete(r.boxes, m.Box)
	r.mu.Unlock()
	_ = r.wire.send(request{Do: doRemove, Box: m.Box}) // or it goes with the launcher
}

// news notes what happened to a box. Of one that is not here any more nobody asks.
func (r *remote) news(m reply) {
	b, ok := r.boxes[m.Box]
	if !ok {
		return
	}
	if m.OOM {
		b.once[0].Do(func() { close(b.outOfMem) })
	}
	if m.Exited {
		b.once[1].Do(func() { close(b.gone) })
	}
}

// end takes the boxes away whose sockets are here, for the launcher has gone, and tells all
// who wait.
func (r *remote) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.over)
	for _, b := range r.boxes {
		b.end()
	}
}

// ask sends a request and waits for its answer.
func (r *remote) ask(ctx context.Context, q request) (reply, error) {
	if deadline, ok := ctx.Deadline(); ok {
		q.After = int64(time.Until(deadline))
	}
	answer := make(chan reply, 1)
	r.mu.Lock()
	r.next++
	q.ID = r.next
	r.waiting[q.ID] = answer
	r.mu.Unlock()
	forget := func() {
		r.mu.Lock()
		delete(r.waiting, q.ID)
		r.mu.Unlock()
	}
	if err := r.wire.send(q); err != nil {
		forget()
		return reply{}, fmt.Errorf("ask the launcher: %w", errors.Join(ErrLauncherGone, err))
	}
	var err error
	select {
	case m := <-answer:
		if m.Error != "" {
			return m, errors.New(m.Error)
		}
		return m, nil
	case <-r.over:
		err = ErrLauncherGone
	case <-ctx.Done():
		err = ctx.Err()
	}
	forget()
	select {
	case m := <-answer: // it came at the same time
		r.decline(m)
	default:
	}
	return reply{}, err
}

// filter gives the launcher's name for a seccomp program; 0 is none. A program must not be
// changed once it was used.
func (r *remote) filter(ctx context.Context, program []byte) (uint64, error) {
	if len(program) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	name, known := r.filters[&program[0]]
	r.next++
	fresh := r.next
	r.mu.Unlock()
	if known {
		return name, nil
	}
	// Two that do this at once give it two names, which does no harm.
	if _, err := r.ask(ctx, request{Do: doFilter, Filter: fresh, Program: program}); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.filters[&program[0]] = fresh
	r.mu.Unlock()
	return fresh, nil
}

func (r *remote) build(ctx context.Context, spec Spec) (id string, uid int, e ends, k keeper, err error) {
	filter, err := r.filter(ctx, spec.Seccomp)
	if err != nil {
		return "", 0, e, nil, err
	}
	spec.Seccomp = nil
	m, err := r.ask(ctx, request{Do: doBuild, Spec: &spec, Filter: filter})
	if err != nil {
		return "", 0, e, nil, err
	}
	r.mu.Lock()
	b, ok := r.boxes[m.Box]
	r.mu.Unlock()
	if !ok {
		r.decline(m)
		return "", 0, e, nil, fmt.Errorf("the launcher sent %d descriptors, not %d: the server may have too many open", len(m.files), endsOfBox)
	}
	return m.Box, m.UID, ends{m.files[0], m.files[1], m.files[2]}, b, nil
}

// remoteBox is the keeper of a box that another process made.
type remoteBox struct {
	remote         *remote
	id             string
	outOfMem, gone chan struct{}
	once           [2]sync.Once // of closing them
	control        *os.File     // the Box's

	mu   sync.Mutex
	last Usage
	done bool
}

func newRemoteBox(r *remote, id string, control *os.File) *remoteBox {
	return &remoteBox{remote: r, id: id, control: control, outOfMem: make(chan struct{}), gone: make(chan struct{})}
}

// end hangs up on the box's init, which ends then, and all in the box with it.
func (b *remoteBox) end() {
	if conn, err := b.control.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) }) // fails only on a closed one
	}
	b.once[1].Do(func() { close(b.gone) })
}

func (b *remoteBox) oom() <-chan struct{}    { return b.outOfMem }
func (b *remoteBox) exited() <-chan struct{} { return b.gone }

// answerWithin bounds what the launcher does at once.
const answerWithin = 10 * time.Second

func (b *remoteBox) usage() (Usage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return b.last, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	m, err := b.remote.ask(ctx, request{Do: doUsage, Box: b.id})
	if err == nil && m.Usage != nil {
		b.last = *m.Usage
	}
	return b.last, err
}

func (b *remoteBox) weigh(background bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	_, err := b.remote.ask(ctx, request{Do: doWeigh, Box: b.id, Background: background})
	return err
}

func (b *remoteBox) kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	_, err := b.remote.ask(ctx, request{Do: doKill, Box: b.id})
	if errors.Is(err, ErrLauncherGone) {
		return nil // and the box with it
	}
	return err
}

func (b *remoteBox) remove(ctx context.Context) error {
	m, err := b.remote.ask(ctx, request{Do: doRemove, Box: b.id})
	b.remote.mu.Lock()
	delete(b.remote.boxes, b.id)
	b.remote.mu.Unlock()
	if errors.Is(err, ErrLauncherGone) {
		err = nil
	}
	if err != nil {
		return err // it is in quarantine
	}
	b.mu.Lock()
	b.done = true
	if m.Usage != nil {
		b.last = *m.Usage
	}
	b.mu.Unlock()
	b.once[1].Do(func() { close(b.gone) })
	return nil
}

func (b *remoteBox) collect(ctx context.Context, limits CollectLimits) (*os.File, error) {
	m, err := b.remote.ask(ctx, request{Do: doCollect, Box: b.id, Collect: &limits})
	if err != nil {
		if m.TooMuch {
			err = fmt.Errorf("%w%s", ErrTooMuch, strings.TrimPrefix(m.Error, ErrTooMuch.Error()))
		}
		return nil, err
	}
	if len(m.files) != 1 {
		closeAll(m.files)
		return nil, fmt.Errorf("the launcher sent %d descriptors, not 1", len(m.files))
	}
	return m.files[0], nil
}

func (r *remote) leftovers() (Leftovers, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	m, err := r.ask(ctx, request{Do: doLeftovers})
	if err != nil || m.Leftovers == nil {
		return Leftovers{}, err
	}
	return *m.Leftovers, nil
}

// close asks the launcher to end and waits until it has.
func (r *remote) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	_, err := r.ask(ctx, request{Do: doClose})
	if errors.Is(err, ErrLauncherGone) {
		err = nil
	}
	select {
	case <-r.over:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("the launcher does not end: %w", ctx.Err()))
	}
	return errors.Join(err, r.wire.file.Close())
}

// Serve makes boxes for who has the other end of the socket, of these images and
// no others, until that end closes. Then it destroys all boxes, and what it cannot
// destroy is an error.
func Serve(ctx context.Context, socket *os.File, cfg Config, images []string) error {
	w, err := newWire(socket)
	if err != nil {
		return err
	}
	defer w.file.Close() // nothing is buffered
	unlock, err := takeName(ctx, cfg.RunDir, cfg.Name)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	s := &server{launcher: l, wire: w, images: images, boxes: make(map[string]*custody), filters: make(map[uint64][]byte)}
	s.loop(ctx)
	err = s.destroyAll()
	s.asked.Wait() // for boxes that were being built meanwhile
	err = errors.Join(err, s.destroyAll())
	s.watchers.Wait()
	return errors.Join(err, l.Close())
}

// nameWithin is how long a launcher waits for one that is ending.
const nameWithin = 15 * time.Second

// takeName waits until no other launcher has the name: one whose server was killed
// is still taking its boxes away.
func takeName(ctx context.Context, dir, name string) (release func(), err error) {
	if dir == "" {
		dir = "/run"
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the launcher's name: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, nameWithin)
	defer cancel()
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }() // ends when it has the lock, or with the process
	select {
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the launcher's name: %w", err), f.Close())
		}
		return func() { _ = f.Close() }, nil // which unlocks it
	case <-ctx.Done():
		return nil, fmt.Errorf("another launcher is called %s and does not end: %w", name, ctx.Err())
	}
}

// server is the launcher's side. mu guards boxes.
type server struct {
	launcher *Launcher
	wire     *wire
	images   []string
	asked    sync.WaitGroup // who answers
	watchers sync.WaitGroup // one for each box

	mu      sync.Mutex
	boxes   map[string]*custody
	filters map[uint64][]byte
}

// mostFilters is how many seccomp programs an asker may name: there is one for each profile.
const mostFilters = 64

// learn keeps a seccomp program under its name.
func (s *server) learn(q request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.filters) >= mostFilters {
		return fmt.Errorf("%d seccomp programs are known already, which is the most", mostFilters)
	}
	s.filters[q.Filter] = q.Program
	return nil
}

func (s *server) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is being built for nobody
	for {
		var q request
		files, err := s.wire.receive(&q)
		closeAll(files) // none are expected
		if err != nil {
			return
		}
		if q.Do == doClose {
			err := s.destroyAll()
			_ = s.wire.send(reply{ID: q.ID, Error: message(err)}) // the end of the socket says it, too
			return
		}
		s.asked.Go(func() { s.answer(ctx, q) })
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *server) answer(ctx context.Context, q request) {
	if q.After > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.After))
		defer cancel()
	}
	m := reply{ID: q.ID}
	var err error
	switch q.Do {
	case doBuild:
		s.build(ctx, q)
		return
	case doCollect:
		s.collect(ctx, q)
		return
	case doFilter:
		err = s.learn(q)
	case doLeftovers:
		var left Leftovers
		left, err = s.launcher.Leftovers()
		m.Leftovers = &left
	default:
		err = s.withBox(ctx, q, &m)
	}
	m.Error = message(err)
	if q.ID != 0 {
		_ = s.wire.send(m) // fails only when nobody listens any more
	}
}

func (s *server) collect(ctx context.Context, q request) {
	m := reply{ID: q.ID}
	s.mu.Lock()
	c := s.boxes[q.Box]
	s.mu.Unlock()
	var files []*os.File
	switch {
	case c == nil:
		m.Error = fmt.Sprintf("there is no box %q", q.Box)
	case q.Collect == nil:
		m.Error = "collecting needs limits"
	default:
		f, err := c.collect(ctx, *q.Collect)
		m.Error, m.TooMuch = message(err), errors.Is(err, ErrTooMuch)
		if err == nil {
			defer f.Close()
			files = append(files, f)
		}
	}
	_ = s.wire.send(m, files...) // fails only when nobody listens any more
}

func (s *server) withBox(ctx context.Context, q request, m *reply) error {
	s.mu.Lock()
	c := s.boxes[q.Box]
	s.mu.Unlock()
	if c == nil {
		return fmt.Errorf("there is no box %q", q.Box)
	}
	var u Usage
	var err error
	switch q.Do {
	case doUsage:
		u, err = c.usage()
	case doWeigh:
		return c.weigh(q.Background)
	case doKill:
		return c.kill()
	case doRemove:
		err = c.remove(ctx) // or it is in quarantine
		s.mu.Lock()
		delete(s.boxes, q.Box)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		u, err = c.usage()
	default:
		return fmt.Errorf("there is nothing called %q to do", q.Do)
	}
	m.Usage = &u
	return err
}

func (s *server) build(ctx context.Context, q request) {
	if q.Spec != nil && q.Filter != 0 {
		s.mu.Lock()
		program, known := s.filters[q.Filter]
		s.mu.Unlock()
		if !known {
			_ = s.wire.send(reply{ID: q.ID, Error: fmt.Sprintf("there is no seccomp program %d", q.Filter)})
			return
		}
		q.Spec.Seccomp = program
	}
	c, e, err := s.make(ctx, q.Spec)
	if err != nil {
		_ = s.wire.send(reply{ID: q.ID, Error: err.Error()})
		return
	}
	s.mu.Lock()
	s.boxes[c.id] = c
	s.mu.Unlock()
	err = s.wire.send(reply{ID: q.ID, Box: c.id, UID: c.uid}, e.control, e.command, e.master)
	e.close() // the asker has them
	if err != nil {
		return // nobody listens: the loop ends, and all boxes with it
	}
	s.watchers.Go(func() { s.watch(c) })
}

func (s *server) make(ctx context.Context, spec *Spec) (*custody, ends, error) {
	if spec == nil {
		return nil, ends{}, errors.New("a box needs a specification")
	}
	for _, image := range []string{spec.Rootfs, spec.Usr} {
		if image != "" && !slices.Contains(s.images, image) {
			return nil, ends{}, fmt.Errorf("%q is none of this launcher's images", image)
		}
	}
	return s.launcher.make(ctx, *spec)
}

// watch tells what happens to a box. It ends with the box.
func (s *server) watch(c *custody) {
	select {
	case <-c.outOfMem:
		_ = s.wire.send(reply{Box: c.id, OOM: true})
		<-c.gone
	case <-c.gone:
	}
	// The end may have been noticed first: the kernel's count is final now.
	if u, err := c.usage(); err == nil && u.OOMKills > 0 {
		_ = s.wire.send(reply{Box: c.id, OOM: true})
	}
	_ = s.wire.send(reply{Box: c.id, Exited: true})
}

// destroyWithin bounds the end of all boxes.
const destroyWithin = 8 * time.Second

func (s *server) destroyAll() error {
	s.mu.Lock()
	boxes := slices.Collect(maps.Values(s.boxes))
	clear(s.boxes)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), destroyWithin)
	defer cancel()
	errs := make([]error, len(boxes))
	var all sync.WaitGroup
	for i, c := range boxes {
		all.Go(func() { errs[i] = c.remove(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}
