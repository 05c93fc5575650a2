package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// What a message is, on the wire of y-websocket and, behind the document's name, on that of
// Hocuspocus.
const (
	messageSync      = 0
	messageAwareness = 1
	messageAuth      = 2 // Hocuspocus
	messageSyncReply = 4 // Hocuspocus

	syncStep1  = 0
	syncStep2  = 1
	syncUpdate = 2
)

// dialect makes messages for one room.
type dialect struct {
	hocuspocus bool
	room       string
}

func (d dialect) begin(n int, kind byte) []byte {
	b := make([]byte, 0, n+len(d.room)+16)
	if d.hocuspocus {
		b = appendBytes(b, []byte(d.room))
	}
	return append(b, kind)
}

func (d dialect) sync(step byte, payload []byte) []byte {
	return appendBytes(append(d.begin(len(payload), messageSync), step), payload)
}

// auth is what Hocuspocus wants to hear first.
func (d dialect) auth() []byte {
	return appendBytes(append(d.begin(0, messageAuth), 0), []byte("none"))
}

// awareness says what a Yjs client says of itself.
func (d dialect) awareness(client, clock uint64, state []byte) []byte {
	p := binary.AppendUvarint([]byte{1}, client)
	p = binary.AppendUvarint(p, clock)
	p = appendBytes(p, state)
	return appendBytes(d.begin(len(p), messageAwareness), p)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// reader reads lib0's encoding; bad is set where it ends too early.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

// Kinds of structs in an update, and what is told of an item beside its kind.
const (
	structGC      = 0
	structDeleted = 1
	structString  = 4
	structSkip    = 10

	hasOrigin      = 0x80
	hasRightOrigin = 0x40
	hasKey         = 0x20
)

// eachRange calls f for each run of clocks in an update, version 1, of which there is no
// more than text. false says that there is, or that the update is damaged.
func eachRange(update []byte, f func(client, clock, n uint64)) bool {
	r := reader{b: update}
	for clients := r.uint(); clients > 0 && !r.bad; clients-- {
		structs, client, clock := r.uint(), r.uint(), r.uint()
		for ; structs > 0 && !r.bad; structs-- {
			info := r.byte()
			kind := info & 0x1f
			var n uint64
			if kind == structGC || kind == structSkip {
				n = r.uint()
			} else {
				r.place(info)
				switch kind {
				case structDeleted:
					n = r.uint()
				case structString:
					n = utf16Len(r.bytes())
				default:
					return false
				}
			}
			if kind != structSkip && !r.bad {
				f(client, clock, n)
			}
			clock += n
		}
	}
	return !r.bad
}

// place reads where an item is.
func (r *reader) place(info byte) {
	for _, has := range []byte{hasOrigin, hasRightOrigin} {
		if info&has != 0 {
			r.uint()
			r.uint()
		}
	}
	if info&(hasOrigin|hasRightOrigin) != 0 {
		return
	}
	if r.uint() == 1 {
		r.bytes()
	} else {
		r.uint()
		r.uint()
	}
	if info&hasKey != 0 {
		r.bytes()
	}
}

// utf16Len is the length of UTF-8 as Yjs counts it.
func utf16Len(s []byte) (n uint64) {
	for _, c := range s {
		if c&0xc0 != 0x80 {
			n++
			if c >= 0xf0 {
				n++
			}
		}
	}
	return n
}

// stream is what one Yjs client sends, made by gen.mjs.
type stream struct {
	client  uint64
	updates [][]byte
}

func (s *stream) size() (n int64) {
	for _, u := range s.updates {
		n += int64(len(u))
	}
	return n
}

func readStreams(file string) ([]stream, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []stream
	r := reader{b: data}
	for len(r.b) > 0 {
		s := stream{client: r.uint()}
		s.updates = make([][]byte, min(r.uint(), uint64(len(r.b))))
		for i := range s.updates {
			s.updates[i] = r.bytes()
		}
		all = append(all, s)
	}
	if r.bad {
		return nil, fmt.Errorf("%s is damaged: remove it", file)
	}
	if len(all) == 0 {
		return nil, errors.New(file + " is empty: remove it")
	}
	return all, nil
}
