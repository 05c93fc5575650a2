package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

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
