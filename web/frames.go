package web

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab"
)

// frames reads what a client sends (RFC 6455, section 5.2). It has memory, and so is taken
// from a pool only while there is something to read; gorilla's connections keep theirs.
type frames struct {
	socket     *syncSocket
	until      time.Time // the socket's deadline; only await lets it pass
	start, end int       // of what was read and not taken yet, in buf
	buf        [4 << 10]byte
}

var framesPool = sync.Pool{New: func() any { return new(frames) }}

// frameHead is what stands before a frame's payload.
type frameHead struct {
	last   bool // of its message
	opcode byte
	length uint64
	mask   [4]byte
}

const (
	opContinuation = 0
	opText         = websocket.TextMessage
	opBinary       = websocket.BinaryMessage
	opClose        = websocket.CloseMessage
	opPing         = websocket.PingMessage
	opPong         = websocket.PongMessage
	// maxControl is the longest payload of a control frame.
	maxControl = 125
)

func badFrame(format string, args ...any) error {
	return &collab.CloseError{Code: websocket.CloseProtocolError, Reason: fmt.Sprintf(format, args...)}
}

// empty tells whether all that was read was taken.
func (f *frames) empty() bool { return f.start == f.end }

// await waits a while for something to read; false says that nothing came. Nothing may be
// left of what was read before.
func (f *frames) await() (more bool, err error) {
	if now := time.Now(); f.until.Sub(now) < restAfter/2 {
		f.until = now.Add(restAfter)
		if err := f.socket.socket.SetReadDeadline(f.until); err != nil {
			return false, fmt.Errorf("%w: %w", errPeerGone, err)
		}
	}
	f.start = 0
	if f.end, err = f.socket.socket.Read(f.buf[:]); f.end > 0 {
		f.takeTurns(f.end)
		return true, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = f.socket.socket.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errPeerGone, err)
	}
	return false, nil
}

// fill waits until so many bytes are there, of which there is room for a head.
func (f *frames) fill(n int) error {
	if f.end-f.start >= n {
		return nil
	}
	f.start, f.end = 0, copy(f.buf[:], f.buf[f.start:f.end])
	for f.end < n {
		got, err := f.read(f.buf[f.end:])
		if err != nil {
			return err
		}
		f.end += got
	}
	return nil
}

// read waits until there is something, in the middle of a message.
func (f *frames) read(p []byte) (n int, err error) {
	for {
		n, err := f.socket.socket.Read(p)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			f.until = time.Time{} // the heartbeat sees to who stops in the middle
			if err = f.socket.socket.SetReadDeadline(f.until); f.socket.evicted.Load() {
				return n, errEvicted
			}
		}
		switch {
		case n > 0:
			f.takeTurns(n)
			return n, nil
		case err != nil:
			return n, fmt.Errorf("%w: %w", errPeerGone, err)
		}
	}
}

// takeTurns lets others have the processor when a client brings more than was read at once. Its
// reader never waits otherwise, and Go would let it go on for 10 ms while keystrokes stand in line.
func (f *frames) takeTurns(n int) {
	if n >= len(f.buf) {
		runtime.Gosched()
	}
}

// head reads what stands before a payload.
func (f *frames) head() (h frameHead, err error) {
	if err := f.fill(2); err != nil {
		return h, err
	}
	first, second := f.buf[f.start], f.buf[f.start+1]
	h.last, h.opcode, h.length = first&0x80 != 0, first&0x0f, uint64(second&0x7f)
	switch {
	case first&0x70 != 0:
		return h, badFrame("a frame has reserved bits")
	case second&0x80 == 0:
		return h, badFrame("a client's frames must be masked")
	case h.opcode >= opClose && (!h.last || h.length > maxControl):
		return h, badFrame("a control frame is too long, or in pieces")
	}
	size := 2
	switch h.length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if err := f.fill(size + len(h.mask)); err != nil {
		return h, err
	}
	b := f.buf[f.start:]
	switch h.length {
	case 126:
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		h.length = binary.BigEndian.Uint64(b[2:])
	}
	copy(h.mask[:], b[size:])
	f.start += size + len(h.mask)
	return h, nil
}

// payload appends a frame's payload to b, which grows as it comes and not as it is
// announced.
func (f *frames) payload(b []byte, h frameHead) ([]byte, error) {
	if b == nil {
		b = make([]byte, 0, min(h.length, uint64(len(f.buf))))
	}
	begin := len(b)
	for left := int(h.length); left > 0; { // no longer than a message may be
		n := min(left, cap(b)-len(b))
		if f.empty() && n >= len(f.buf) { // much: by no way around
			got, err := f.read(b[len(b) : len(b)+n])
			if err != nil {
				return b, err
			}
			b = b[:len(b)+got]
			left -= got
			continue
		}
		if err := f.fill(1); err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = f.socket.grow(b)
		}
		n = min(left, f.end-f.start, cap(b)-len(b))
		b = append(b, f.buf[f.start:f.start+n]...)
		f.start += n
		left -= n
	}
	unmask(b[begin:], h.mask)
	return b, nil
}

// unmask undoes what a client does to a payload (RFC 6455, section 5.3).
func unmask(b []byte, mask [4]byte) {
	var masks [256]byte // as often as it goes, for what does many bytes at once
	n := copy(masks[:], mask[:])
	for n < len(masks) && n < len(b) {
		n += copy(masks[n:], masks[:n])
	}
	for len(b) > 0 {
		b = b[subtle.XORBytes(b, b, masks[:n]):]
	}
}
