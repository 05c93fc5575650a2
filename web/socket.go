package web

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab"
	"corun/collab/live"
)

// syncSocket is one web socket on /sync. While nothing comes and nothing leaves it has one
// goroutine, its reader, and no buffer but the reader's 512 bytes: a server has many such.
// Writers are started when there is something to write and end when there is no more.
// The heartbeat pings it and ends it when it is silent or stuck.
type syncSocket struct {
	// Static once reading begins.
	server  *Server
	ws      *websocket.Conn
	conn    *collab.SyncConn
	room    *collab.Room
	leave   func()    // undoes the admission
	expires time.Time // of the token; zero if it does not

	// Times in nanoseconds since 1970; 0 where nothing is going on.
	heard   atomic.Int64 // from the peer, last
	message atomic.Int64 // the message began that is being read
	writing atomic.Int64 // the writer began

	held     atomic.Int64 // bytes of the message that is being read, where it is not small
	evicted  atomic.Bool  // it held them for too long
	pingedAt time.Time    // owned by the heartbeat
}

const (
	// stuckAfter is how long a peer may take to read what it is sent, or to send one
	// message.
	stuckAfter = 30 * time.Second
	// beatEvery is how often the heartbeat looks at all sockets.
	beatEvery = 5 * time.Second
)

// Frame gives a message as one binary frame of a server (RFC 6455, section 5.2).
func Frame(message []byte) []byte {
	n := len(message)
	b := make([]byte, 0, n+10)
	switch {
	case n < 126:
		b = append(b, 0x82, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x82, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x82, 127), uint64(n))
	}
	return append(b, message...)
}

// pingFrame is a ping without data.
var pingFrame = []byte{0x89, 0}

// pong answers a ping. It waits its turn with all else that is written: a write of gorilla's
// would leave a deadline on the connection, and a peer may ping faster than it reads.
func (c *syncSocket) pong(data string) error {
	c.heard.Store(time.Now().UnixNano())
	c.conn.Control(append([]byte{0x8a, byte(len(data))}, data...))
	return nil
}

// ready starts a writer. conn may not be in c yet.
func (c *syncSocket) ready(conn *collab.SyncConn) {
	c.server.sockets.Add(1) // not after the reader's is taken off: it closes conn before
	go c.write(conn)
}

// write writes what there is and ends; or it says goodbye and leaves the rest to the reader.
func (c *syncSocket) write(conn *collab.SyncConn) {
	defer c.server.sockets.Done()
	c.writing.Store(time.Now().UnixNano())
	err := conn.Flush(c.ws.NetConn())
	c.writing.Store(0)
	var end *collab.CloseError
	switch {
	case err == nil:
	case errors.As(err, &end):
		sayGoodbye(c.ws, end.Code, end.Reason)
	default:
		_ = c.ws.NetConn().Close() // the reader notices
	}
}

// read hands messages to the room until the socket ends, and then takes everything down.
func (c *syncSocket) read() {
	defer c.server.sockets.Done()
	err := c.readAll()
	c.server.heart.release(c)
	var end *collab.CloseError
	switch {
	case errors.As(err, &end):
		c.conn.End(end.Code, end.Reason) // the writer says goodbye, if it has not yet
	case !errors.Is(err, errPeerGone):
		// A rule was broken. gorilla has said which, but for a length beyond all numbers.
		sayGoodbye(c.ws, websocket.CloseMessageTooBig, "")
	}
	if !errors.Is(err, errPeerGone) {
		_, _ = io.Copy(io.Discard, c.ws.NetConn()) // until the peer closes too, or lingerFor after the goodbye
	}
	_ = c.ws.NetConn().Close()
	c.conn.Close()
	c.room.Release()
	c.server.heart.remove(c)
	c.leave()
}

func (c *syncSocket) readAll() error {
	for {
		kind, data, err := c.next()
		if c.evicted.Load() {
			c.server.heart.wake(c)
			return errEvicted
		}
		if err != nil {
			var closed *websocket.CloseError
			var network net.Error
			if errors.As(err, &closed) || errors.As(err, &network) {
				return errPeerGone
			}
			return err
		}
		if kind != websocket.BinaryMessage {
			return &collab.CloseError{Code: websocket.CloseInvalidFramePayloadData, Reason: "text frame: documents travel in binary frames"}
		}
		err = c.conn.Receive(data)
		c.server.heart.release(c)
		if err != nil {
			return err
		}
	}
}

// next reads one message, into memory of its own.
func (c *syncSocket) next() (kind int, data []byte, err error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	now := time.Now().UnixNano()
	c.heard.Store(now)
	c.message.Store(now)
	defer c.message.Store(0)
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	buf := (*scratch)[:0]
	for {
		if len(buf) == cap(buf) {
			// As append would, but that this makes little garbage on the way to a large one.
			more := min(cap(buf), max(c.server.admission.limits.MessageBytes+1-cap(buf), 1<<10))
			if cap(buf)+more > maxScratch {
				c.server.heart.hold(c, more)
			}
			buf = append(make([]byte, 0, cap(buf)+more), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, nil, err
		}
	}
	if cap(buf) > maxScratch {
		return kind, buf, nil // too large to be kept for others: it is the message's
	}
	*scratch = buf
	return kind, append(make([]byte, 0, len(buf)), buf...), nil
}

// scratches are what messages are read into before their size is known.
var scratches = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

const maxScratch = 64 << 10

// sayGoodbye sends a close frame and ends our side, so that the peer can read what was
// written last: to close with input unread would reset the connection. What the peer still
// sends is the reader's to drop.
func sayGoodbye(ws *websocket.Conn, code int, reason string) {
	// A control frame holds 125 bytes, two of them the code.
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	halfClose(ws.NetConn())
}

// halfClose ends our side of a connection; what still comes is read for lingerFor.
func halfClose(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(lingerFor)) != nil {
		_ = conn.Close()
	}
}

// heart pings all sockets of /sync and ends those that are silent or stuck. One goroutine
// for all: a timer and a goroutine each would be most of what an idle socket costs.
type heart struct {
	intake  intake
	mu      sync.Mutex // guards sockets
	sockets map[*syncSocket]struct{}
	done    chan struct{}
}

func newHeart(messageBytes int) *heart {
	return &heart{intake: newIntake(messageBytes), sockets: make(map[*syncSocket]struct{}), done: make(chan struct{})}
}

func (h *heart) add(c *syncSocket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.pingedAt = time.Now()
	c.heard.Store(c.pingedAt.UnixNano())
	h.sockets[c] = struct{}{}
}

func (h *heart) remove(c *syncSocket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sockets, c)
}

// run beats until ctx ends.
func (h *heart) run(ctx context.Context) {
	defer close(h.done)
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.beat(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (h *heart) beat(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := func(at *atomic.Int64) time.Duration {
		if t := at.Load(); t != 0 {
			return now.Sub(time.Unix(0, t))
		}
		return 0
	}
	for c := range h.sockets {
		switch {
		case since(&c.heard) > pongWait, since(&c.message) > stuckAfter, since(&c.writing) > stuckAfter:
			_ = c.ws.NetConn().Close() // its reader does the rest
		case !c.expires.IsZero() && now.After(c.expires):
			c.conn.End(live.CloseRemoved, expired)
		case now.Sub(c.pingedAt) >= pingEvery:
			c.pingedAt = now
			c.conn.Control(pingFrame)
		}
	}
}
