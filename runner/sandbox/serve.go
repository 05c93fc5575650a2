package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

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
	if u, err := c.usage(); c.ranOutOfMemory() || err == nil && u.OOMKills > 0 {
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
