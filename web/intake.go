package web

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab"
)

// intake bounds the memory of messages that have begun to come: all sockets together could
// hold 50,000 of a mebibyte each, one just before its end. Small ones are not counted.
type intake struct {
	most   int64
	held   atomic.Int64
	making sync.Mutex               // held by the reader that makes memory for a large message
	spare  [bits.UintSize]sync.Pool // of *[]byte, by the bits of their size
}

const (
	// maxUncounted is the largest message that does not count as intake.
	maxUncounted = 64 << 10
	// maxIntake is how much messages that are being read may take together.
	maxIntake = 32 << 20
	// minMessages is how many of the largest that is at least.
	minMessages = 4
)

func newIntake(messageBytes int) intake {
	return intake{most: max(maxIntake, minMessages*int64(messageBytes))}
}

// memory gives memory for so much of a large message.
func (in *intake) memory(size int) []byte {
	if b, ok := in.spare[bits.Len(uint(size))].Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:0:size]
	}
	// The kernel takes its time for what is new: one does it after the other, while small
	// messages pass.
	in.making.Lock()
	defer in.making.Unlock()
	return make([]byte, 0, size)
}

// recycle takes back memory of a message that did not become whole, or has a larger one now.
// Who sends many such would else have memory cleared and collected as fast as it sends, and
// everybody feels that.
func (in *intake) recycle(b []byte) {
	if cap(b) > maxUncounted {
		in.spare[bits.Len(uint(cap(b)))].Put(&b)
	}
}

// errEvicted ends a socket whose message took memory for too long.
var errEvicted = &collab.CloseError{
	Code:   websocket.CloseTryAgainLater,
	Reason: "the server reads too many large messages at once: connect again, nothing is lost",
}

// hold counts memory of the message that a socket is reading.
func (h *heart) hold(c *syncSocket, n int) {
	c.held.Add(int64(n))
	if h.intake.held.Add(int64(n)) > h.intake.most {
		h.evict()
	}
}

// release is for a message that is the room's, or is dropped.
func (h *heart) release(c *syncSocket) { h.intake.held.Add(-c.held.Swap(0)) }

// evict lets those go whose message began first, until there is room: one that means no harm
// takes a moment.
func (h *heart) evict() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.intake.held.Load() > h.intake.most {
		var first *syncSocket
		var began int64
		for c := range h.sockets {
			if at := c.message.Load(); at != 0 && c.held.Load() > 0 && (first == nil || at < began) {
				first, began = c, at
			}
		}
		if first == nil {
			return // all are complete, and wait for their room
		}
		first.evicted.Store(true)
		h.release(first)
		_ = first.socket.SetReadDeadline(time.Unix(1, 0)) // its reader notices
	}
}

// wake lets the reader of a socket that was evicted read on, to see the peer go.
func (h *heart) wake(c *syncSocket) {
	h.mu.Lock() // evict is done with it
	defer h.mu.Unlock()
	_ = c.socket.SetReadDeadline(time.Time{})
}
