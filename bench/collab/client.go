package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// patience bounds what should take a moment.
const patience = 20 * time.Second

// load is what all clients of a measurement have together. They hold no documents: what
// they send was made before, and of what comes they read which characters it has.
type load struct {
	server    *server
	measuring atomic.Bool
	latency   histogram // from a keystroke to another client

	delivered atomic.Int64 // characters that came to a client other than their writer
	cursors   atomic.Int64 // states of a Yjs client that came
	again     atomic.Int64 // characters that had come before
	skipped   atomic.Int64 // characters that did not come before their successor
	unread    atomic.Int64 // updates that are not text
}

// room is one document, with those who write to it.
type room struct {
	name    string
	writers []*writer
	of      map[uint64]int // writers, by Yjs client
}

type writer struct {
	stream *stream
	sentAt []atomic.Int64 // nanoseconds since 1970, by clock
	sent   atomic.Int64
	window chan struct{} // of one who waits for what was sent to arrive, or nil
	client *client
}

// client is one participant.
type client struct {
	load *load
	room *room
	wire dialect
	ws   *websocket.Conn
	joining

	me   int      // which of the room's writers it is, or -1
	next []uint64 // the clock to come, of each of these

	mu     sync.Mutex // guards frame and clocks
	frame  []byte     // that was sent last
	clocks map[uint64]uint64

	received atomic.Int64  // bytes of the document
	synced   chan struct{} // closed when step 2 came
	full     chan struct{} // closed when want bytes came
	done     chan struct{} // closed when the connection has ended
}

// joining says what a client is to do beside counting.
type joining struct {
	answer []byte // what it has, as an update; nil for nothing
	want   int64  // how many bytes make the document
	last   bool   // the writers' windows move with what comes here
}

var writeBuffers = new(sync.Pool)

// connect makes the room's participant of that number, who asks for the document.
func (l *load) connect(r *room, number int, how joining) (*client, error) {
	c := &client{
		load: l, room: r, joining: how, me: -1, wire: dialect{l.server.peer.hocuspocus, r.name},
		next: make([]uint64, len(r.writers)), clocks: make(map[uint64]uint64),
		synced: make(chan struct{}), full: make(chan struct{}), done: make(chan struct{}),
	}
	if number < len(r.writers) {
		c.me = number
		r.writers[number].client = c
	}
	dialer := websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 2 << 10, WriteBufferSize: 1 << 10, WriteBufferPool: writeBuffers}
	var err error
	if c.ws, _, err = dialer.Dial(l.server.url(r.name), nil); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", r.name, err)
	}
	go c.read() // until the connection ends
	if c.wire.hocuspocus {
		err = c.send(c.wire.auth())
	}
	return c, errors.Join(err, c.send(c.wire.sync(syncStep1, []byte{0})))
}

// send sends a message in one frame, whose mask is zero.
func (c *client) send(message []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := append(c.frame[:0], 0x82)
	switch n := len(message); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(append(b, 0, 0, 0, 0), message...)
	if cap(b) <= 1<<10 {
		c.frame = b
	}
	_, err := c.ws.NetConn().Write(b)
	return err
}

// await waits for one of the client's channels.
func (c *client) await(ctx context.Context, what <-chan struct{}) error {
	select {
	case <-what:
		return nil
	case <-c.done:
		return fmt.Errorf("%s: the connection has ended", c.room.name)
	case <-time.After(patience):
		return fmt.Errorf("%s: the document does not come", c.room.name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *client) leave() {
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	_ = c.ws.Close()
}

// gone tells whether the connection has ended.
func (c *client) gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *client) read() {
	defer close(c.done)
	var buf []byte
	for {
		_, r, err := c.ws.NextReader()
		if err != nil {
			return
		}
		for buf = buf[:0]; err == nil; {
			if len(buf) == cap(buf) {
				buf = append(buf, 0)[:len(buf)]
			}
			var n int
			n, err = r.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
		}
		if err != io.EOF {
			return
		}
		c.handle(buf, time.Now().UnixNano())
	}
}

func (c *client) handle(message []byte, now int64) {
	r := reader{b: message}
	if c.wire.hocuspocus {
		r.bytes() // the room
	}
	switch r.uint() {
	case messageSync, messageSyncReply:
		step, payload := r.uint(), r.bytes()
		if r.bad {
			return
		}
		switch step {
		case syncStep1:
			answer := c.answer
			if answer == nil {
				answer = []byte{0, 0}
			}
			go func() { _ = c.send(c.wire.sync(syncStep2, answer)) }() // or this connection has ended
		case syncStep2:
			c.take(payload)
			select {
			case <-c.synced:
			default:
				close(c.synced)
			}
		case syncUpdate:
			c.take(payload)
			if len(c.room.writers) > 0 {
				c.count(payload, now)
			}
		}
	case messageAwareness:
		states := reader{b: r.bytes()}
		c.load.cursors.Add(int64(states.uint()))
	}
}

// take notes what of the document came.
func (c *client) take(update []byte) {
	n := c.received.Add(int64(len(update)))
	if c.want > 0 && n >= c.want && n-int64(len(update)) < c.want {
		close(c.full)
	}
	if len(c.room.writers) == 1 {
		c.mu.Lock()
		defer c.mu.Unlock()
		eachRange(update, func(client, clock, n uint64) {
			if has := c.clocks[client]; clock <= has && clock+n > has {
				c.clocks[client] = clock + n
			}
		})
	}
}

// has is how much of a Yjs client's text came.
func (c *client) has(id uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.clocks[id])
}

// count notes which keystrokes came.
func (c *client) count(update []byte, now int64) {
	l := c.load
	ok := eachRange(update, func(id, clock, n uint64) {
		i, ok := c.room.of[id]
		if !ok || i == c.me {
			return
		}
		w := c.room.writers[i]
		for ; n > 0; n, clock = n-1, clock+1 {
			if clock < c.next[i] {
				l.again.Add(1)
				continue
			}
			l.skipped.Add(int64(clock - c.next[i]))
			c.next[i] = clock + 1
			l.delivered.Add(1)
			if clock < uint64(len(w.sentAt)) && l.measuring.Load() {
				l.latency.add(now - w.sentAt[clock].Load())
			}
			if c.last && w.window != nil {
				select {
				case w.window <- struct{}{}:
				default:
				}
			}
		}
	})
	if !ok {
		l.unread.Add(1)
	}
}

// histogram counts times in 32 steps for each power of two of nanoseconds.
type histogram struct {
	buckets [64 * 32]atomic.Uint64
}

func (h *histogram) add(ns int64) {
	v := uint64(max(ns, 0))
	i := int(v)
	if v >= 32 {
		e := bits.Len64(v) - 6
		i = (e+1)*32 + int(v>>e) - 32
	}
	h.buckets[i].Add(1)
}

// ms is the time, in milliseconds, that a part of all is below.
func (h *histogram) ms(part float64) float64 {
	var all, below uint64
	for i := range h.buckets {
		all += h.buckets[i].Load()
	}
	for i := range h.buckets {
		below += h.buckets[i].Load()
		if below > uint64(part*float64(all)) {
			v := uint64(i)
			if i >= 32 {
				v = uint64(i%32+32) << (i/32 - 1)
			}
			return float64(v) / 1e6
		}
	}
	return 0
}
