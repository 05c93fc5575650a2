package ycrdt

import (
	"fmt"
	"unicode/utf8"
)

// maxSafeInteger is 2^53-1, the largest client id, clock or length that a
// JavaScript peer can hold.
const maxSafeInteger = 1<<53 - 1

// DecodeError says where in an input and why it could not be decoded.
type DecodeError struct {
	Offset int // in bytes from the input's start
	Reason string
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode at byte %d: %s", e.Offset, e.Reason)
}

// reader reads lib0's encoding (https://github.com/dmonad/lib0). The first error
// sticks; after it everything reads as zero, so that callers check once.
type reader struct {
	buf  []byte
	pos  int
	base int     // where buf begins in the input
	up   *reader // of a column: the reader that takes its errors
	err  *DecodeError
}

func (r *reader) fail(format string, args ...any) {
	to := r
	if r.up != nil {
		to = r.up
	}
	if to.err == nil {
		to.err = &DecodeError{r.base + r.pos, fmt.Sprintf(format, args...)}
	}
	r.pos = len(r.buf)
	to.pos = len(to.buf)
}

// failed gives the error as an error, which a nil *DecodeError would not be.
func (r *reader) failed() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

func (r *reader) left() int { return len(r.buf) - r.pos }

func (r *reader) byte() byte {
	if r.pos >= len(r.buf) {
		r.fail("it ends in the middle")
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

// uint reads a variable-length unsigned integer: seven bits a byte, the lowest
// first. Most are one byte long.
func (r *reader) uint() uint64 {
	if r.pos < len(r.buf) && r.buf[r.pos] < 0x80 {
		r.pos++
		return uint64(r.buf[r.pos-1])
	}
	return r.longUint()
}

func (r *reader) longUint() uint64 {
	var n uint64
	for shift := 0; ; shift += 7 {
		if r.pos >= len(r.buf) {
			r.fail("it ends in the middle")
			return 0
		}
		b := r.buf[r.pos]
		r.pos++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift >= 49 {
			r.fail("a number is larger than 2^53-1")
			return 0
		}
	}
	if n > maxSafeInteger {
		r.fail("a number is larger than 2^53-1")
		return 0
	}
	return n
}

// count reads how many things follow that take at least one byte each.
func (r *reader) count(what string) int {
	n := r.uint()
	if n > uint64(r.left()) {
		r.fail("%d %s are announced where %d bytes are left", n, what, r.left())
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count("bytes")
	b := r.buf[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// text reads a string, which must be UTF-8 as yjs demands too.
func (r *reader) text() []byte {
	b := r.bytes()
	if !utf8.Valid(b) {
		r.fail("a string is not valid UTF-8")
		return nil
	}
	return b
}

// maxAnyDepth bounds how deep values may nest; JSON.stringify overflows a
// browser's stack at a few thousand.
const maxAnyDepth = 512

// walkAny checks one value in lib0's any encoding and moves past it.
func (r *reader) walkAny(depth int) {
	if depth > maxAnyDepth {
		r.fail("a value nests deeper than %d levels", maxAnyDepth)
		return
	}
	switch tag := r.byte(); tag {
	case anyUndefined, anyNull, anyFalse, anyTrue:
	case anyInt:
		r.varint()
	case anyFloat32:
		r.skip(4)
	case anyFloat64, anyBigInt:
		r.skip(8)
	case anyString:
		r.text()
	case anyBytes:
		r.bytes()
	case anyArray:
		for n := r.count("elements"); n > 0 && r.err == nil; n-- {
			r.walkAny(depth + 1)
		}
	case anyObject:
		for n := r.count("members"); n > 0 && r.err == nil; n-- {
			r.text()
			r.walkAny(depth + 1)
		}
	default:
		if r.err == nil {
			r.fail("there is no value type %d", tag)
		}
	}
}

func (r *reader) skip(n int) {
	if n > r.left() {
		r.fail("it ends in the middle")
		return
	}
	r.pos += n
}

// varint reads a signed integer: the sign is the second bit of the first byte.
// Negative zero is told apart, because JavaScript does.
func (r *reader) varint() (n int64, negative bool) { return r.varintUpTo(maxSafeInteger) }

func (r *reader) varintUpTo(limit uint64) (n int64, negative bool) {
	b := r.byte()
	negative = b&0x40 != 0
	u := uint64(b & 0x3f)
	for shift := 6; b >= 0x80; shift += 7 {
		if shift > 55 {
			r.fail("a number is too large")
			return 0, false
		}
		b = r.byte()
		u |= uint64(b&0x7f) << shift
	}
	if u > limit {
		r.fail("a number is larger than %d", limit)
		return 0, false
	}
	if negative {
		return -int64(u), true
	}
	return int64(u), false
}

// Tags of lib0's any encoding.
const (
	anyUndefined = 127
	anyNull      = 126
	anyInt       = 125
	anyFloat32   = 124
	anyFloat64   = 123
	anyBigInt    = 122
	anyFalse     = 121
	anyTrue      = 120
	anyString    = 119
	anyObject    = 118
	anyArray     = 117
	anyBytes     = 116
)

func appendUint(b []byte, n uint64) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(appendUint(b, uint64(len(s))), s...)
}

// appendSigned writes a signed integer given as its amount and sign, so that
// there is a negative zero.
func appendSigned(b []byte, amount uint64, negative bool) []byte {
	first := byte(amount & 0x3f)
	if negative {
		first |= 0x40
	}
	if amount >>= 6; amount == 0 {
		return append(b, first)
	}
	return appendUint(append(b, first|0x80), amount)
}

func appendVarint(b []byte, n int64) []byte {
	if n < 0 {
		return appendSigned(b, uint64(-n), true)
	}
	return appendSigned(b, uint64(n), false)
}

// utf16Len counts the UTF-16 units of valid UTF-8, which are what Yjs's clocks
// and offsets count.
func utf16Len(s []byte) int {
	n := len(s)
	for _, c := range s {
		switch {
		case c >= 0xe0: // three bytes, or four for a surrogate pair
			n -= 2
		case c >= 0xc0:
			n--
		}
	}
	return n
}

// utf16Offset gives the byte offset of a UTF-16 offset, and whether it falls
// into a surrogate pair; then it is the offset of the pair.
func utf16Offset(s []byte, units uint64) (at int, inPair bool) {
	for at < len(s) && units > 0 {
		c := s[at]
		switch {
		case c < 0x80:
			at++
			units--
		case c < 0xe0:
			at += 2
			units--
		case c < 0xf0:
			at += 3
			units--
		case units == 1:
			return at, true
		default:
			at += 4
			units -= 2
		}
	}
	return at, false
}
