package web

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab"
)

// frame is a client's, with a mask.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := []byte{1, 2, 3, 4}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

const final = 0x80

func TestFrames(t *testing.T) {
	s := &Server{admission: newAdmission(Limits{MessageBytes: 1 << 20}), heart: newHeart(1 << 20)}
	large := bytes.Repeat([]byte("0123456789"), 50_000)
	for name, test := range map[string]struct {
		sent []byte
		want []byte
		code int // of the close, or 0
	}{
		"one":                  {frame(final|opBinary, []byte("hello")), []byte("hello"), 0},
		"empty":                {frame(final|opBinary, nil), []byte{}, 0},
		"16 bits of length":    {frame(final|opBinary, large[:300]), large[:300], 0},
		"64 bits of length":    {frame(final|opBinary, large), large, 0},
		"three pieces":         {slices.Concat(frame(opBinary, []byte("he")), frame(0, []byte("l")), frame(final, []byte("lo"))), []byte("hello"), 0},
		"a pong between":       {slices.Concat(frame(opBinary, []byte("he")), frame(final|opPong, []byte("x")), frame(final, []byte("llo"))), []byte("hello"), 0},
		"text":                 {frame(final|opText, []byte("hello")), nil, websocket.CloseInvalidFramePayloadData},
		"no mask":              {[]byte{final | opBinary, 1, 'x'}, nil, websocket.CloseProtocolError},
		"reserved bits":        {frame(final|0x40|opBinary, []byte("x")), nil, websocket.CloseProtocolError},
		"an unknown kind":      {frame(final|3, []byte("x")), nil, websocket.CloseProtocolError},
		"an unknown control":   {frame(final|11, nil), nil, websocket.CloseProtocolError},
		"goes on, not begun":   {frame(final, []byte("x")), nil, websocket.CloseProtocolError},
		"begins in another":    {slices.Concat(frame(opBinary, []byte("x")), frame(final|opBinary, []byte("x"))), nil, websocket.CloseProtocolError},
		"a ping in pieces":     {frame(opPing, nil), nil, websocket.CloseProtocolError},
		"a long ping":          {frame(final|opPing, large[:126]), nil, websocket.CloseProtocolError},
		"half a close code":    {frame(final|opClose, []byte{3}), nil, websocket.CloseProtocolError},
		"a close without code": {frame(final|opClose, []byte{1005 >> 8, 1005 & 255}), nil, websocket.CloseProtocolError},
		"a close too low":      {frame(final|opClose, []byte{999 >> 8, 999 & 255}), nil, websocket.CloseProtocolError},
		"a close too high":     {frame(final|opClose, []byte{5000 >> 8, 5000 & 255}), nil, websocket.CloseProtocolError},
		"a close not in UTF-8": {frame(final|opClose, []byte{1000 >> 8, 1000 & 255, 0xff}), nil, websocket.CloseProtocolError},
		"too long":             {[]byte{final | opBinary, 0x80 | 127, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0}, nil, websocket.CloseMessageTooBig},
		"too long to be added": {slices.Concat(frame(opBinary, []byte("x")), []byte{final, 0x80 | 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}), nil, websocket.CloseMessageTooBig},
		"too long in pieces":   {slices.Concat(frame(opBinary, large), frame(0, large), frame(0, large)), nil, websocket.CloseMessageTooBig},
	} {
		for _, piece := range []int{len(test.sent), 1000, 1} {
			if piece == 1 && len(test.sent) > 1000 {
				continue
			}
			theirs, ours := net.Pipe()
			go func() {
				defer theirs.Close()
				for part := range slices.Chunk(test.sent, piece) {
					if _, err := theirs.Write(part); err != nil {
						return // it has been refused
					}
				}
			}()
			c := &syncSocket{server: s, socket: ours}
			got, err := c.next(&frames{socket: c})
			_ = ours.Close()
			var end *collab.CloseError
			switch {
			case test.code == 0 && (err != nil || got == nil || !bytes.Equal(got, test.want)):
				t.Errorf("%s, %d bytes at a time: got %d bytes and %v", name, piece, len(got), err)
			case test.code != 0 && (!errors.As(err, &end) || end.Code != test.code):
				t.Errorf("%s, %d bytes at a time: got %v", name, piece, err)
			}
		}
	}
}

// TestFramesAwait: what comes after a pause is read by another goroutine, from where the one
// before stopped.
func TestFramesAwait(t *testing.T) {
	theirs, ours := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	f := &frames{socket: &syncSocket{socket: ours}}
	if more, err := f.await(); more || err != nil {
		t.Fatalf("nothing was sent: %v, %v", more, err)
	}
	go func() { _, _ = theirs.Write([]byte("ab")) }()
	if more, err := f.await(); !more || err != nil || f.end != 2 {
		t.Errorf("two bytes were sent: %v, %v, %d", more, err, f.end)
	}
	// The deadline that await has set ends no message.
	must(t, ours.SetReadDeadline(time.Now().Add(-time.Second)))
	go func() { _, _ = theirs.Write([]byte("c")) }()
	if err := f.fill(3); err != nil || string(f.buf[:f.end]) != "abc" {
		t.Errorf("the third byte: %v, %q", err, f.buf[:f.end])
	}
	_ = theirs.Close()
	if _, err := f.await(); err == nil {
		f.start = f.end
		if _, err = f.await(); !errors.Is(err, errPeerGone) {
			t.Errorf("after the end: %v", err)
		}
	}
}
