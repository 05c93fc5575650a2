package ycrdt

import "math"

// An update in version 2 holds each field of its structs in a column of its own,
// compressed by what that field usually does (lib0/encoding.js has the formats).
// What has no column is in the rest, one after another as in version 1.

// uintColumn reads lib0's UintOptRleEncoder: a value, negative if a count
// follows of how often it comes.
type uintColumn struct {
	reader
	value, times uint64
}

func (c *uintColumn) next() uint64 {
	if c.times == 0 {
		n, negative := c.varint()
		c.times = 1
		if negative {
			n = -n
			c.times = c.uint() + 2
		}
		c.value = uint64(n)
	}
	c.times--
	return c.value
}

// diffColumn reads lib0's IntDiffOptRleEncoder: differences, the lowest bit set
// if a count follows of how often one comes.
type diffColumn struct {
	reader
	value, diff int64
	times       uint64
}

func (c *diffColumn) next() uint64 {
	if c.times == 0 {
		n, _ := c.varintUpTo(2*maxSafeInteger + 1)
		c.diff, c.times = n>>1, 1
		if n&1 != 0 {
			c.times = c.uint() + 2
		}
	}
	c.times--
	c.value += c.diff
	if c.value < 0 || c.value > maxSafeInteger {
		c.value = 0
		c.fail("a number is outside 0 to 2^53-1")
	}
	return uint64(c.value)
}

// byteColumn reads lib0's RleEncoder of bytes: a byte and how often it comes;
// the last one comes for ever.
type byteColumn struct {
	reader
	value byte
	times uint64
}

func (c *byteColumn) next() byte {
	if c.times == 0 {
		c.value = c.byte()
		c.times = math.MaxUint64
		if c.left() > 0 {
			c.times = c.uint() + 1
		}
	}
	c.times--
	return c.value
}

// textColumn reads lib0's StringEncoder: all strings as one, and a column of
// their lengths in UTF-16 units.
type textColumn struct {
	text    reader
	lengths uintColumn
	ascii   bool
	half    bool // the first half of the next character was the last string's
}

// next gives where the next string is in the text, and whether its first or last
// unit is one half of a surrogate pair that it shares with its neighbour.
func (c *textColumn) next() (from, to int, halfFirst, halfLast bool) {
	units := c.lengths.next()
	from = c.text.pos
	if units == 0 {
		return from, from, false, false
	}
	if units > uint64(c.text.left()) {
		c.text.fail("a string of %d units is announced where %d bytes are left", units, c.text.left())
		return 0, 0, false, false
	}
	if c.ascii {
		c.text.pos += int(units)
		return from, c.text.pos, false, false
	}
	if c.half {
		c.half, halfFirst = false, true
		from += 4
		units--
	}
	at, halfLast := utf16Offset(c.text.buf[from:], units)
	c.half = halfLast
	c.text.pos = from + at
	return from, c.text.pos, halfFirst, halfLast
}

// The encoders of the columns; finish ends the last run.

type uintEncoder struct {
	buf          []byte
	value, times uint64
}

func (c *uintEncoder) write(n uint64) {
	if n == c.value {
		c.times++
		return
	}
	c.finish()
	c.value, c.times = n, 1
}

func (c *uintEncoder) finish() []byte {
	if c.times > 0 {
		c.buf = appendSigned(c.buf, c.value, c.times > 1)
	}
	if c.times > 1 {
		c.buf = appendUint(c.buf, c.times-2)
	}
	c.times = 0
	return c.buf
}

type diffEncoder struct {
	buf         []byte
	value, diff int64
	times       uint64
}

func (c *diffEncoder) write(v uint64) {
	n := int64(v)
	if n-c.value == c.diff {
		c.value = n
		c.times++
		return
	}
	c.finish()
	c.diff, c.value, c.times = n-c.value, n, 1
}

func (c *diffEncoder) finish() []byte {
	switch {
	case c.times == 1:
		c.buf = appendVarint(c.buf, c.diff*2)
	case c.times > 1:
		c.buf = appendUint(appendVarint(c.buf, c.diff*2+1), c.times-2)
	}
	c.times = 0
	return c.buf
}

type byteEncoder struct {
	buf   []byte
	value byte
	times uint64
}

// write leaves the last count out, as the last byte comes for ever.
func (c *byteEncoder) write(b byte) {
	if c.times > 0 && b == c.value {
		c.times++
		return
	}
	if c.times > 0 {
		c.buf = appendUint(c.buf, c.times-1)
	}
	c.buf = append(c.buf, b)
	c.value, c.times = b, 1
}
