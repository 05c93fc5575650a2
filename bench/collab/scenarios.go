package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// result is what a scenario finds of one peer.
type result struct {
	figures map[string]float64
	faults  []string
	remarks []string // of what is no fault
}

// scenario is something that is done with each peer.
type scenario struct {
	name   string // for -only
	stores bool   // only those that store take part
	run    func(context.Context, *bench, *peer) (result, error)
}

var scenarios = []scenario{
	{name: "rooms-50", run: typing{rooms: 50, people: 4}.run},
	{name: "cursors", run: typing{rooms: 50, people: 4, cursors: true}.run},
	{name: "rooms-200", run: typing{rooms: 200, people: 4}.run},
	{name: "room-500", run: typing{rooms: 1, people: 500}.run},
	{name: "saturate-20", run: typing{rooms: 20, people: 4, saturate: true}.run},
	{name: "saturate-1", run: typing{rooms: 1, people: 50, saturate: true}.run},
	{name: "idle", run: idle},
	{name: "rooms", run: manyRooms},
	{name: "join", stores: true, run: func(ctx context.Context, b *bench, p *peer) (result, error) { return join(ctx, b, p, b.b4) }},
	{name: "join-x10", stores: true, run: func(ctx context.Context, b *bench, p *peer) (result, error) { return join(ctx, b, p, b.b4x10) }},
	{name: "kill", stores: true, run: kill},
}

// inParallel does something n times, so many at once, and gives the first error.
func inParallel(n, atOnce int, do func(i int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for range atOnce {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// fresh runs a scenario with a server that has no data.
func fresh(ctx context.Context, b *bench, p *peer, do func(*server) (result, error)) (res result, err error) {
	d, err := b.newData(p)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	s, err := b.start(ctx, d)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.stop(syscall.SIGTERM)) }()
	return do(s)
}

// typing has people type in rooms, two in each.
type typing struct {
	rooms, people int
	cursors       bool // each keystroke is followed by where the cursor is then
	saturate      bool // as fast as it goes, and not five times a second
}

const (
	writersInRoom = 2
	keysPerSecond = 5
	// window is how many keystrokes of one writer may be on their way when as many are
	// typed as can be.
	window = 64
)

// cursor is what an editor says of itself with each keystroke.
var cursor = []byte(`{"user":{"name":"user","color":"#30bced","colorLight":"#30bced33"},"cursor":{"anchor":{"type":null,"tname":"content","item":{"client":1,"clock":12},"assoc":0},"head":{"type":null,"tname":"content","item":{"client":1,"clock":12},"assoc":0}}}`)

func (t typing) run(ctx context.Context, b *bench, p *peer) (result, error) {
	return fresh(ctx, b, p, func(s *server) (result, error) { return t.measure(ctx, b, s) })
}

// newRooms makes rooms whose writers type streams.
func newRooms(name string, n, writers int, streams []stream) []*room {
	all := make([]*room, n)
	for i := range all {
		r := &room{name: name + strconv.Itoa(i), of: make(map[uint64]int)}
		for j := range writers {
			st := &streams[(i*writers+j)%len(streams)]
			r.of[st.client] = j
			r.writers = append(r.writers, &writer{stream: st, sentAt: make([]atomic.Int64, len(st.updates))})
		}
		all[i] = r
	}
	return all
}

func (t typing) measure(ctx context.Context, b *bench, s *server) (res result, err error) {
	streams, warm := b.short, b.warm
	if t.saturate {
		streams, warm = b.long, b.warm/2
	}
	l := &load{server: s}
	rooms := newRooms("typing-", t.rooms, writersInRoom, streams)
	clients := make([]*client, t.rooms*t.people)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.leave()
			}
		}
	}()
	err = inParallel(len(clients), 32, func(i int) (err error) {
		clients[i], err = l.connect(rooms[i/t.people], i%t.people, joining{last: i%t.people == t.people-1})
		if err != nil {
			return err
		}
		return clients[i].await(ctx, clients[i].synced)
	})
	if err != nil {
		return res, err
	}

	stop := make(chan struct{})
	var typists sync.WaitGroup
	var ended atomic.Bool // somebody has nothing left to type
	for _, r := range rooms {
		for _, w := range r.writers {
			if t.saturate {
				w.window = make(chan struct{}, window)
				for range window {
					w.window <- struct{}{}
				}
			}
			typists.Go(func() {
				if !t.typeAll(w, stop) {
					ended.Store(true)
				}
			})
		}
	}
	sleep(ctx, warm)
	var profile sync.WaitGroup
	var profileErr error
	profile.Go(func() {
		profileErr = b.profile(s, "profile", fmt.Sprintf("?seconds=%d", max(int(b.measured/time.Second), 1)))
	})
	type reading struct {
		at                time.Time
		cpu, own, machine time.Duration
		delivered, states int64
	}
	read := func() (reading, error) {
		cpu, err := s.cpu()
		return reading{time.Now(), cpu, ownTime(), machineBusy(), l.delivered.Load(), l.cursors.Load()}, err
	}
	before, err1 := read()
	l.measuring.Store(true)
	for time.Since(before.at) < b.measured && !ended.Load() && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	l.measuring.Store(false)
	after, err2 := read()
	profile.Wait()
	close(stop)
	typists.Wait()
	if err := errors.Join(err1, err2, profileErr, ctx.Err()); err != nil {
		return res, err
	}

	var due int64
	for _, r := range rooms {
		for _, w := range r.writers {
			due += w.sent.Load() * int64(t.people-1)
		}
	}
	for wait := time.Now(); l.delivered.Load() < due && time.Since(wait) < patience/4; {
		sleep(ctx, 20*time.Millisecond)
	}
	took, cpu := after.at.Sub(before.at).Seconds(), (after.cpu - before.cpu).Seconds()
	delivered := float64(after.delivered - before.delivered + after.states - before.states)
	if delivered == 0 {
		return res, errors.New("nothing was delivered")
	}
	res.figures = map[string]float64{
		"cpu": cpu / delivered * 1e6, "per-core": delivered / cpu, "p50": l.latency.ms(0.5), "p99": l.latency.ms(0.99),
	}
	for _, f := range []struct {
		n    int64
		what string
	}{
		{due - l.delivered.Load(), "characters were not delivered"}, {l.again.Load(), "came twice"},
		{l.skipped.Load(), "came after their successors, if at all"}, {l.unread.Load(), "updates could not be read"},
	} {
		if f.n != 0 {
			res.faults = append(res.faults, fmt.Sprintf("%d of %d %s", f.n, due, f.what))
		}
	}
	gone := 0
	for _, c := range clients {
		if c.gone() {
			gone++
		}
	}
	if gone > 0 {
		res.faults = append(res.faults, fmt.Sprintf("%d of %d connections ended", gone, len(clients)))
	}
	own, all := (after.own - before.own).Seconds(), (after.machine - before.machine).Seconds()
	b.progress("%.0f deliveries a second; processors: server %.0f %%, clients %.0f %%, others about %.0f %%",
		delivered/took, 100*cpu/took, 100*own/took, max(100*(all-own-cpu)/took, 0))
	return res, nil
}

// typeAll types a writer's stream until stop. false says that there was no more of it.
func (t typing) typeAll(w *writer, stop <-chan struct{}) bool {
	const every = time.Second / keysPerSecond
	next := time.Now().Add(rand.N(every))
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for i, update := range w.stream.updates {
		if t.saturate {
			select {
			case <-w.window:
			case <-stop:
				return true
			}
		} else {
			select {
			case <-timer.C:
			case <-stop:
				return true
			}
			next = next.Add(every)
			timer.Reset(time.Until(next))
		}
		c := w.client
		message := c.wire.sync(syncUpdate, update)
		w.sentAt[i].Store(time.Now().UnixNano())
		if c.send(message) != nil {
			return true // it is among those that ended
		}
		w.sent.Add(1)
		if t.cursors && c.send(c.wire.awareness(w.stream.client, uint64(i+1), cursor)) != nil {
			return true
		}
	}
	return false
}

// sleep waits, but not when ctx has ended.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// idle measures what a connection takes that does nothing: ten people in each room, who
// have said who they are.
func idle(ctx context.Context, b *bench, p *peer) (result, error) {
	const people = 10
	return fresh(ctx, b, p, func(s *server) (res result, err error) {
		base, err := s.resident()
		if err != nil {
			return res, err
		}
		l := &load{server: s}
		clients := make([]*client, b.idle)
		defer func() {
			for _, c := range clients {
				if c != nil {
					c.leave()
				}
			}
		}()
		began := time.Now()
		err = inParallel(len(clients), 24, func(i int) (err error) {
			c, err := l.connect(&room{name: "idle-" + strconv.Itoa(i/people)}, i%people, joining{})
			if err != nil {
				return err
			}
			clients[i] = c
			state := fmt.Appendf(nil, `{"user":{"name":"participant %d","color":"#30bced"}}`, i)
			return errors.Join(c.await(ctx, c.synced), c.send(c.wire.awareness(1e6+uint64(i), 1, state)))
		})
		if err != nil {
			return res, err
		}
		b.progress("%.0f connections a second", float64(len(clients))/time.Since(began).Seconds())
		sleep(ctx, 3*time.Second)
		now, err1 := s.resident()
		err = errors.Join(err1, b.profile(s, "heap", ""))
		for _, c := range clients {
			if c.gone() {
				err = errors.Join(err, errors.New("connections ended"))
				break
			}
		}
		res.figures = map[string]float64{"each": (now - base) / kib / float64(len(clients))}
		return res, err
	})
}

// manyRooms has people come to as many rooms, leave something there and go, in waves, each
// to rooms that nobody has been to.
func manyRooms(ctx context.Context, b *bench, p *peer) (result, error) {
	return fresh(ctx, b, p, func(s *server) (res result, err error) {
		l := &load{server: s}
		small := b.small[0].updates[0]
		var rates, left []float64
		// Who is too slow gets fewer waves.
		for began := time.Now(); len(left) < b.waves && (len(left) < 2 || time.Since(began) < b.wavesWithin); {
			clients := make([]*client, b.rooms)
			profiled := make(chan error, 1)
			go func() { // it ends by itself, and is waited for below
				profiled <- b.profile(s, "profile", "?seconds=3")
			}()
			opening := time.Now()
			err := inParallel(len(clients), 24, func(i int) error {
				c, err := l.connect(&room{name: fmt.Sprintf("rooms-%d-%d", len(left), i)}, 0, joining{answer: small})
				if err != nil {
					return err
				}
				clients[i] = c
				return errors.Join(c.await(ctx, c.synced), c.send(c.wire.sync(syncUpdate, small)))
			})
			rates = append(rates, float64(len(clients))/time.Since(opening).Seconds())
			if err == nil {
				sleep(ctx, time.Second)
			}
			err = errors.Join(err, <-profiled)
			for _, c := range clients {
				if c != nil {
					c.leave()
				}
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return res, err
			}
			sleep(ctx, 3*time.Second)
			now, err := s.resident()
			if err != nil {
				return res, err
			}
			left = append(left, now/mib)
		}
		if err := b.profile(s, "heap", ""); err != nil {
			return res, err
		}
		b.progress("after each wave %.1f MiB", left)
		if len(left) < b.waves {
			res.remarks = append(res.remarks, fmt.Sprintf("%d waves only, for the time they take", len(left)))
		}
		last := left[len(left)-1]
		res.figures = map[string]float64{"rate": median(rates), "left": last, "grown": last - left[1]}
		return res, nil
	})
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// join measures how long it takes from the start of the connection until a large document
// is there, by a server that has just been started: three times.
func join(ctx context.Context, b *bench, p *peer, doc stream) (res result, err error) {
	d, err := b.newData(p)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	if err := b.upload(ctx, d, doc); err != nil {
		return res, err
	}
	var times []float64
	for range b.joins {
		took, err := b.joinCold(ctx, d, doc)
		if err != nil {
			return res, err
		}
		times = append(times, took.Seconds()*1e3)
	}
	b.progress("%.1f ms", times)
	res.figures = map[string]float64{"ms": median(times)}
	return res, nil
}

const documentRoom = "document"

// upload has a server store a document.
func (b *bench) upload(ctx context.Context, d *data, doc stream) (err error) {
	s, err := b.start(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(syscall.SIGTERM)) }()
	l, r := &load{server: s}, &room{name: documentRoom}
	c, err := l.connect(r, 0, joining{})
	if err != nil {
		return err
	}
	defer c.leave()
	if err := c.await(ctx, c.synced); err != nil {
		return err
	}
	for _, update := range doc.updates {
		if err := c.send(c.wire.sync(syncUpdate, update)); err != nil {
			return err
		}
	}
	other, err := l.connect(r, 1, joining{want: mostOf(doc)})
	if err != nil {
		return err
	}
	defer other.leave()
	err = other.await(ctx, other.full)
	c.leave()
	other.leave()
	sleep(ctx, 3*time.Second) // some store a while after the last has left
	return err
}

// mostOf is how many bytes make a document, which may be encoded in fewer than it came in.
func mostOf(doc stream) int64 { return doc.size() * 9 / 10 }

func (b *bench) joinCold(ctx context.Context, d *data, doc stream) (took time.Duration, err error) {
	s, err := b.start(ctx, d)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop(syscall.SIGTERM)) }()
	began := time.Now()
	c, err := (&load{server: s}).connect(&room{name: documentRoom}, 0, joining{want: mostOf(doc)})
	if err != nil {
		return 0, err
	}
	defer c.leave()
	err = c.await(ctx, c.full)
	return time.Since(began), err
}

// kill has somebody type, and kills the server as soon as somebody else has seen the last
// keystroke. Then it is started again and asked what it has.
func kill(ctx context.Context, b *bench, p *peer) (result, error) {
	res := result{figures: map[string]float64{"lost": 0}}
	for i, keys := range []int{1, 2, 20, 80}[:b.kills] {
		has, err := b.killAfter(ctx, p, &b.short[i], keys)
		if err != nil {
			return res, err
		}
		b.progress("%d of %d keystrokes are there", has, keys)
		res.figures["lost"] = max(res.figures["lost"], float64(keys-has))
	}
	return res, nil
}

func (b *bench) killAfter(ctx context.Context, p *peer, st *stream, keys int) (has int, err error) {
	d, err := b.newData(p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	if err := b.typeAndKill(ctx, d, st, keys); err != nil {
		return 0, err
	}
	s, err := b.start(ctx, d)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop(syscall.SIGTERM)) }()
	// One that writes nothing, in a room whose writer is noted.
	r := newRooms("kill-", 1, 1, []stream{*st})[0]
	c, err := (&load{server: s}).connect(r, 1, joining{})
	if err != nil {
		return 0, err
	}
	defer c.leave()
	if err := c.await(ctx, c.synced); err != nil {
		return 0, err
	}
	sleep(ctx, time.Second) // some send what they have a while after
	return c.has(st.client), nil
}

func (b *bench) typeAndKill(ctx context.Context, d *data, st *stream, keys int) (err error) {
	s, err := b.start(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(syscall.SIGKILL)) }()
	l, r := &load{server: s}, newRooms("kill-", 1, 1, []stream{*st})[0]
	var both [2]*client
	for i := range both {
		c, err := l.connect(r, i, joining{})
		if err != nil {
			return err
		}
		defer c.leave()
		if err := c.await(ctx, c.synced); err != nil {
			return err
		}
		both[i] = c
	}
	for i := range keys {
		if i > 0 {
			sleep(ctx, 50*time.Millisecond)
		}
		if err := both[0].send(both[0].wire.sync(syncUpdate, st.updates[i])); err != nil {
			return err
		}
	}
	for began := time.Now(); l.delivered.Load() < int64(keys); time.Sleep(100 * time.Microsecond) {
		if time.Since(began) > patience {
			return errors.New("keystrokes are not shown")
		}
	}
	return ctx.Err()
}
