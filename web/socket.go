package web

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"golang.org/x/time/rate"

	"corun/collab"
	"corun/collab/live"
)

// syncSocket is one web socket on /sync. While nothing comes and nothing leaves it has one
// goroutine, which waits with the smallest of stacks, and no buffer: a server has many such.
// Writers are started when there is something to write and end when there is no more.
// The heartbeat pings it and ends it when it is silent or stuck.
type syncSocket struct {
	// Static once reading begins.
	server  *Server
	socket  net.Conn
	raw     syscall.RawConn // of socket, or nil
	conn    *collab.SyncConn
	room    *collab.Room
	leave   func()    // undoes the admission
	expires time.Time // of the token; zero if it does not

	// Times in nanoseconds since 1970; 0 where nothing is going on.
	heard   atomic.Int64 // from the peer, last
	message atomic.Int64 // the message began that is being read
	writing atomic.Int64 // the writer began
	said    atomic.Bool  // goodbye

	// Owned by the reader.
	brought int           // bytes of messages, until there is intake
	intake  *rate.Limiter // bytes of messages; nil before there were many

	held     atomic.Int64 // bytes of the message that is being read, where it is not small
	evicted  atomic.Bool  // it held them for too long
	pingedAt time.Time    // owned by the heartbeat
}

const (
	// restAfter is about how long a reader waits before it rests: who types need not be
	// waited for with a small stack.
	restAfter = 2 * time.Second
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

// ready starts a writer. conn may not be in c yet.
func (c *syncSocket) ready(conn *collab.SyncConn) {
	c.server.sockets.Add(1) // not after the reader's is taken off: it closes conn before
	go c.write(conn)
}

// write writes what there is and ends; or it says goodbye and leaves the rest to the reader.
func (c *syncSocket) write(conn *collab.SyncConn) {
	defer c.server.sockets.Done()
	c.writing.Store(time.Now().UnixNano())
	err := conn.Flush(c.socket)
	c.writing.Store(0)
	var end *collab.CloseError
	switch {
	case err == nil:
	case errors.As(err, &end):
		c.said.Store(true)
		sayGoodbye(c.socket, end.Code, end.Reason)
	default:
		_ = c.socket.Close() // the reader notices
	}
}

// rest waits until there is something to read, however long. It has a goroutine of its own, as
// the stack of one that has read something is twice as large.
func (c *syncSocket) rest() {
	if c.raw != nil {
		_ = c.raw.Read(readable) // its error is the reader's as well
	}
	go c.read()
}

// readable tells whether there is something to read, or an end.
func readable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n != 0 || err != nil
}

// read hands messages to the room until none has come for a while. When the socket has ended
// it takes everything down.
func (c *syncSocket) read() {
	err := c.readAll()
	if err == nil {
		go c.rest()
		return
	}
	defer c.server.sockets.Done()
	c.server.heart.release(c)
	var end *collab.CloseError
	if errors.As(err, &end) {
		c.conn.End(end.Code, end.Reason) // the writer says goodbye, if it has not yet
		_ = c.socket.SetReadDeadline(time.Now().Add(lingerFor))
		_, _ = io.Copy(io.Discard, c.socket) // until the peer closes too
	}
	_ = c.socket.Close()
	c.conn.Close()
	c.room.Release()
	c.server.heart.remove(c)
	c.leave()
}

// errSaid ends a reader after the goodbye was said by another.
var errSaid = &collab.CloseError{Code: websocket.CloseGoingAway}

// readAll hands on what comes, until nothing does for a while. Its error is a
// *collab.CloseError or errPeerGone.
func (c *syncSocket) readAll() error {
	f := framesPool.Get().(*frames)
	f.socket, f.until, f.start, f.end = c, time.Time{}, 0, 0
	defer func() {
		f.socket = nil
		framesPool.Put(f)
	}()
	for {
		more, err := true, error(nil)
		if f.empty() {
			more, err = f.await()
		}
		var data []byte
		if more {
			data, err = c.next(f)
			c.message.Store(0)
		}
		switch {
		case c.evicted.Load():
			c.server.heart.wake(c)
			return errEvicted
		case err != nil:
			return err
		case !more && c.said.Load():
			return errPeerGone // it has read why by now
		case data == nil && more && c.said.Load():
			return errSaid // or one that only pings would stay
		case !more:
			return nil
		case data == nil:
			continue
		}
		err = c.conn.Receive(data)
		c.server.heart.release(c)
		if err != nil {
			return err
		}
		c.pace(len(data))
	}
}

const (
	// intakePerSecond is how much one client may bring for long, in bytes: no editor does, and
	// the disk, which all have to wait for, takes several times as much.
	intakePerSecond = 8 << 20
	// intakeAtOnce is how much it may bring as fast as it can.
	intakeAtOnce = 4 << 20
)

// pace waits, and with it the client, after a message of n bytes when it brings more than its
// share.
func (c *syncSocket) pace(n int) {
	if c.intake == nil {
		if c.brought += n; c.brought < intakeAtOnce {
			return
		}
		c.intake = rate.NewLimiter(intakePerSecond, intakeAtOnce)
		c.intake.AllowN(time.Now(), intakeAtOnce) // which it has brought
		return
	}
	for ; n > 0; n -= intakeAtOnce {
		if wait := c.intake.ReserveN(time.Now(), min(n, intakeAtOnce)).Delay(); wait > 0 {
			time.Sleep(wait) // half a second at most, and the client's goodbye waits as well
		}
	}
}

// next reads one message, into memory of its own, or what stands between messages; then it is
// nil.
func (c *syncSocket) next(f *frames) (whole []byte, err error) {
	var message []byte // as much as there is of it
	defer func() {
		if whole == nil {
			c.server.heart.intake.recycle(message)
		}
	}()
	begun := false
	for {
		if err := f.fill(1); err != nil {
			return nil, err
		}
		now := time.Now().UnixNano()
		c.heard.Store(now)
		if !begun {
			c.message.Store(now)
		}
		h, err := f.head()
		if err != nil {
			return nil, err
		}
		if h.opcode >= opClose {
			if err := c.control(f, h); err != nil {
				return nil, err
			}
			if !begun {
				return nil, nil
			}
			continue
		}
		switch {
		case h.opcode == opText:
			return nil, &collab.CloseError{Code: websocket.CloseInvalidFramePayloadData, Reason: "text frame: documents travel in binary frames"}
		case h.opcode > opBinary:
			return nil, badFrame("there is no frame of kind %d", h.opcode)
		case begun != (h.opcode == opContinuation):
			return nil, badFrame("a message begins in another, or goes on that has not begun")
		}
		begun = true
		if most := uint64(c.server.admission.limits.MessageBytes); h.length > most || uint64(len(message))+h.length > most {
			return nil, &collab.CloseError{Code: websocket.CloseMessageTooBig, Reason: fmt.Sprintf("a message has more than %d bytes", most)}
		}
		if message, err = f.payload(message, h); err != nil {
			return nil, err
		}
		if h.last {
			return message, nil
		}
	}
}

// grow makes room for more of a message, as append would, but that this makes little garbage
// on the way to a large one.
func (c *syncSocket) grow(b []byte) []byte {
	size := max(min(2*cap(b), c.server.admission.limits.MessageBytes), cap(b)+1<<10)
	if size <= maxUncounted {
		return append(make([]byte, 0, size), b...)
	}
	c.server.heart.hold(c, size-cap(b))
	larger := append(c.server.heart.intake.memory(size), b...)
	c.server.heart.intake.recycle(b)
	return larger
}

// control does what a control frame asks for.
func (c *syncSocket) control(f *frames, h frameHead) error {
	data, err := f.payload(nil, h)
	if err != nil {
		return err
	}
	switch h.opcode {
	case opPing:
		// It waits its turn with all else that is written: a peer may ping faster than it
		// reads.
		c.conn.Control(append([]byte{0x80 | opPong, byte(len(data))}, data...))
	case opPong:
	case opClose:
		code := websocket.CloseNoStatusReceived
		switch {
		case len(data) == 1:
			return badFrame("a close has half a code")
		case len(data) >= 2:
			if code = int(binary.BigEndian.Uint16(data)); !mayClose(code) {
				return badFrame("a close has the code %d, which nobody may send", code)
			}
			if !utf8.Valid(data[2:]) {
				return badFrame("the reason of a close is not valid UTF-8")
			}
		}
		writeClose(c.socket, code, "")
		return errPeerGone
	default:
		return badFrame("there is no frame of kind %d", h.opcode)
	}
	return nil
}

// mayClose tells whether a close frame may have that code (RFC 6455, section 7.4).
func mayClose(code int) bool {
	switch code {
	case 1004, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake:
		return false
	}
	return (code >= websocket.CloseNormalClosure && code <= 1014) || (code >= 3000 && code < 5000)
}

// writeClose writes a close frame, after which nothing may be written.
func writeClose(conn net.Conn, code int, reason string) {
	// A control frame holds 125 bytes, two of them the code.
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	data := websocket.FormatCloseMessage(code, reason)
	if conn.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
		_, _ = conn.Write(append([]byte{0x80 | opClose, byte(len(data))}, data...)) // or it is gone
	}
}

// sayGoodbye sends a close frame and ends our side, so that the peer can read what was
// written last: to close with input unread would reset the connection. What the peer still
// sends is the reader's to drop.
func sayGoodbye(conn net.Conn, code int, reason string) {
	writeClose(conn, code, reason)
	halfClose(conn)
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
			_ = c.socket.Close() // its reader does the rest
		case !c.expires.IsZero() && now.After(c.expires):
			c.conn.End(live.CloseRemoved, expired)
		case now.Sub(c.pingedAt) >= pingEvery:
			c.pingedAt = now
			c.conn.Control(pingFrame)
		}
	}
}
