package collab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"corun/store"
)

// CloseError says with which code and reason a web socket is to be closed.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("close %d: %s", e.Code, e.Reason) }

// Peer is who joins a document.
type Peer struct {
	Role      store.Role
	TokenHash [32]byte // of the room token they came by
	Session   string   // which the same client gives on /live, or ""; see Room.SetSession
	// Ready is called when there is something to write and nobody is writing: somebody
	// is to call Flush soon. It must not block.
	Ready func(*SyncConn)
}

// SyncConn is one client's connection to a room's document. Its socket's reader
// calls Receive, whoever Ready sends calls Flush, and whoever ends it calls Close.
//
// While nothing happens it holds no buffer and needs no goroutine.
type SyncConn struct {
	// Static after Join.
	room *Room
	peer Peer

	// Owned by the room.
	clients    map[uint64]int // of whose awareness this connection speaks, with its bytes; nil at first
	stateBytes int            // sum of clients
	fenced     int            // answers with the document that wait for the store
	joined     bool
	spoken     time.Time // when it was last sent anything

	mu      sync.Mutex // guards below
	out     *outbox    // what waits, or nil
	bytes   int        // in out, without states
	states  int        // whole documents in out
	writing bool       // Ready was called and Flush has not come to the end
	closed  *CloseError
}

// Receive hands a frame to the room; the frame is the room's from then on. It
// blocks while the room is busy. Its error is a *CloseError once the connection
// is to be closed.
func (c *SyncConn) Receive(frame []byte) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed != nil {
		return closed
	}
	if !c.room.postFrame(c, frame) {
		return &CloseError{CloseGoingAway, ErrClosed.Error()}
	}
	return nil
}

// Flush writes to w all that waits, and what comes meanwhile. Then its error is nil, and
// Ready is called again when there is more; or it is a *CloseError when the connection is to
// be closed now; or what w said, and then nothing more may be written.
func (c *SyncConn) Flush(w io.Writer) error {
	for {
		c.mu.Lock()
		out, n, closed := c.out, c.bytes, c.closed
		c.out, c.bytes, c.states = nil, 0, 0
		c.writing = out != nil || closed != nil // once closed nobody needs to be called any more
		c.mu.Unlock()
		if out == nil {
			if closed != nil {
				return closed
			}
			return nil
		}
		err := out.writeTo(w)
		c.room.hub.owed.Add(int64(-n))
		if err != nil {
			c.shut(CloseGoingAway, "")
			return fmt.Errorf("write to client: %w", err)
		}
	}
}

// Control queues a frame that is already as it stands on the wire.
func (c *SyncConn) Control(frame []byte) { c.send(frame) }

// End makes the connection be closed, with a code and a reason, once all that waits is
// written. Close follows when it is.
func (c *SyncConn) End(code int, reason string) { c.shut(code, reason) }

// Close takes the client out of the room; the others are told that its
// awareness is gone. It is idempotent.
func (c *SyncConn) Close() {
	c.shut(CloseGoingAway, "")
	c.room.post(work{call: func() { c.room.leave(c) }})
}

// abandon is Close for a connection that nobody was given.
func (c *SyncConn) abandon() {
	c.mu.Lock()
	c.writing = true // nobody is called
	c.mu.Unlock()
	c.Close()
}

// send queues a frame, which may be shared with other connections.
func (c *SyncConn) send(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return
	}
	n := len(frame)
	if c.bytes += n; c.bytes > maxOwedBytes || (c.room.hub.owed.Add(int64(n)) > maxAllOwedBytes && c.bytes > fairOwedBytes) {
		c.drop(&CloseError{CloseTryAgain, "too slow to read what happens here: connect again, nothing is lost"})
		return
	}
	c.queue(frame)
}

// sendState queues the document, or much of it, which those who join at once share and which
// may be larger than what is owed to a slow reader otherwise.
func (c *SyncConn) sendState(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return
	}
	if c.states++; c.states > maxStatesOwed {
		c.drop(&CloseError{CloseTryAgain, "reads the document slower than it is sent: connect again, nothing is lost"})
		return
	}
	c.queue(frame)
}

// queue is for send. mu is held.
func (c *SyncConn) queue(frame []byte) {
	if c.out == nil {
		c.out = newOutbox()
	}
	c.out.add(frame)
	c.wake()
}

// drop forgets what waits and closes. mu is held.
func (c *SyncConn) drop(closed *CloseError) {
	c.room.hub.owed.Add(int64(-c.bytes))
	c.out, c.bytes, c.closed = nil, 0, closed
	c.wake()
}

// shut makes Flush and Receive end with a close error. What was queued is still
// written.
func (c *SyncConn) shut(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = &CloseError{code, reason}
		c.wake()
	}
}

// shutFor is shut with the code of a *CloseError, or that of bad data.
func (c *SyncConn) shutFor(err error) {
	var end *CloseError
	if !errors.As(err, &end) {
		end = &CloseError{CloseBadData, err.Error()}
	}
	c.shut(end.Code, end.Reason)
}

// wake calls for a writer unless one is at work. mu is held.
func (c *SyncConn) wake() {
	if !c.writing {
		c.writing = true
		if c.peer.Ready != nil {
			c.peer.Ready(c)
		}
	}
}

// outbox is what waits to be written to one client: small frames joined, so that they take
// one write, and large ones as they are, shared with other clients.
type outbox struct {
	frames net.Buffers
	chunks []*[chunkBytes]byte // that frames are in
	open   bool                // the last of frames is in the last of chunks
}

const (
	chunkBytes = 4 << 10
	// maxJoined is the largest frame that is copied.
	maxJoined = 1 << 10
)

var (
	outboxes = sync.Pool{New: func() any { return new(outbox) }}
	chunks   = sync.Pool{New: func() any { return new([chunkBytes]byte) }}
)

func newOutbox() *outbox { return outboxes.Get().(*outbox) }

func (o *outbox) add(frame []byte) {
	if len(frame) > maxJoined {
		o.frames, o.open = append(o.frames, frame), false
		return
	}
	last := len(o.frames) - 1
	if !o.open || len(o.frames[last])+len(frame) > chunkBytes {
		chunk := chunks.Get().(*[chunkBytes]byte)
		o.chunks = append(o.chunks, chunk)
		o.frames, o.open = append(o.frames, chunk[:0]), true
		last++
	}
	o.frames[last] = append(o.frames[last], frame...)
}

// writeTo writes everything and gives the outbox and its chunks back.
func (o *outbox) writeTo(w io.Writer) (err error) {
	if len(o.frames) == 1 {
		_, err = w.Write(o.frames[0])
	} else {
		all := o.frames // which WriteTo shortens
		_, err = all.WriteTo(w)
	}
	for _, chunk := range o.chunks {
		chunks.Put(chunk)
	}
	if cap(o.frames) <= 64 {
		clear(o.frames)
		clear(o.chunks)
		o.frames, o.chunks, o.open = o.frames[:0], o.chunks[:0], false
		outboxes.Put(o)
	}
	return err
}
