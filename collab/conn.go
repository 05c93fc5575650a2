package collab

import (
	"context"
	"fmt"
	"sync"

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
	Role       store.Role
	TokenHash  [32]byte // of the room token they came by
	RemoteAddr string
}

// SyncConn is one client's connection to a room's document. Its socket's reader
// calls Receive, its writer Next, and whoever ends it Close.
type SyncConn struct {
	// Static after Join.
	room *Room
	peer Peer
	wake chan struct{} // holds one token when there may be something to write

	// Owned by the room's goroutine.
	clients    map[uint64]int // of whose awareness this connection speaks, with its bytes
	stateBytes int            // sum of clients
	fenced     int            // bytes of answers that wait for the store
	joined     bool

	mu     sync.Mutex // guards below
	frames [][]byte
	bytes  int
	closed *CloseError
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

// Next waits for frames to write. Its error is a *CloseError once the connection
// is to be closed and all before that was given, or ctx's.
func (c *SyncConn) Next(ctx context.Context) ([][]byte, error) {
	for {
		c.mu.Lock()
		frames, closed := c.frames, c.closed
		c.frames, c.bytes = nil, 0
		c.mu.Unlock()
		if len(frames) > 0 {
			return frames, nil
		}
		if closed != nil {
			return nil, closed
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Close takes the client out of the room; the others are told that its
// awareness is gone. It is idempotent.
func (c *SyncConn) Close() {
	c.shut(CloseGoingAway, "")
	c.room.post(work{call: func() { c.room.leave(c) }})
}

// send queues a frame, which may be shared with other connections.
func (c *SyncConn) send(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return
	}
	if c.bytes+len(frame) > maxOwedBytes {
		c.frames, c.bytes = nil, 0
		c.closed = &CloseError{CloseTryAgain, "too slow to read what happens here: connect again, nothing is lost"}
	} else {
		c.frames = append(c.frames, frame)
		c.bytes += len(frame)
	}
	c.signal()
}

// shut makes Next and Receive end with a close error. What was queued is still
// written.
func (c *SyncConn) shut(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = &CloseError{code, reason}
	}
	c.signal()
}

func (c *SyncConn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
