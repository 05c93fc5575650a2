package ycrdt

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// rawID is an id as it stands in an update, before its client is interned.
// Decoding must not change the document, not even by learning a client's id.
type rawID struct{ client, clock uint64 }

// span is a stretch of the buffer that a decoder reads from. Offsets instead of
// slices keep a block small and free of pointers.
type span struct{ from, to uint32 }

// block is one struct of an update. Its client is that of the blocks around it.
type block struct {
	clock, length       uint64
	origin, rightOrigin rawID // if the info byte says that they are there
	parent              rawID // of parentItem
	name                span  // of parentRoot: which
	sub                 span  // map key, if the info byte and the parent say so
	head, body          span  // the content; see content
	info                uint8 // as on the wire
	parentIs            uint8
	typeKind            uint8
	anyValue            bool // body is in the any encoding, not JSON
}

// How an update names an item's parent.
const (
	parentFromOrigin = iota // it is the neighbours'
	parentRoot
	parentItem
)

// Bits of the info byte, with the content's kind in the lower five.
const (
	infoKind        = 0x1f
	infoSub         = 0x20
	infoRightOrigin = 0x40
	infoOrigin      = 0x80
)

// Wire numbers of nested types.
const (
	typeArray       = 0
	typeMap         = 1
	typeText        = 2
	typeXMLElement  = 3
	typeXMLFragment = 4
	typeXMLHook     = 5
	typeXMLText     = 6
)

func (b *block) kind() uint8 { return b.info & infoKind }
func (b *block) end() uint64 { return b.clock + b.length }

// keyed tells whether the item is the value of a map's key and says which.
func (b *block) keyed() bool { return b.info&infoSub != 0 && b.parentIs != parentFromOrigin }

// decoder reads an update's blocks and its delete set, and checks all that can be
// checked without a document. It can be used again, which costs no allocation.
type decoder struct {
	buf  []byte // the update, with what had to be put together for it at the end
	own  bool   // buf is not the caller's any more
	rest reader
	v2   bool

	keyClock, leftClock, rightClock diffColumn
	clients, typeKinds, lengths     uintColumn
	infos, parentInfos              byteColumn
	strings                         textColumn
	keys                            []span
	repeats                         int  // bytes of keys that may still stand for others
	emptyDeletes                    bool // there are some, and left out

	groups  int    // still to come
	structs uint64 // of this group, still to come
	budget  uint64 // structs that the update may still have
	client  uint64
	clock   uint64
}

// maxStructs bounds the structs that an update of that many bytes may have.
// Version 2 can say "as before" any number of times in a few bytes, and real
// documents do, so it is not the bytes alone that bound it. They are a few bytes for
// each struct in large documents.
func maxStructs(bytes int) uint64 { return 100_000 + uint64(bytes) }

// maxRepeats bounds the keys of marks and the names of elements that version 2 gives
// once and then by number, in bytes and besides 16 for every byte of the update. yjs
// reads such numbers and never writes one; a long key would stand for any amount.
const maxRepeats = 1 << 20

// maxUpdate is the longest update that can be read: spans are 32 bits wide.
const maxUpdate = 1 << 31

// start begins an update.
func (dec *decoder) start(update []byte, v2 bool) {
	keys := dec.keys[:0]
	*dec = decoder{buf: update, v2: v2, keys: keys, budget: maxStructs(len(update)), repeats: maxRepeats + 16*len(update)}
	dec.rest.buf = update
	if len(update) > maxUpdate {
		dec.rest.fail("it is longer than %d bytes", maxUpdate)
		return
	}
	if v2 {
		dec.startColumns()
	}
	dec.groups = dec.rest.count("clients")
}

func (dec *decoder) startColumns() {
	if dec.rest.uint() != 0 {
		dec.rest.fail("the feature flag of version 2 is not 0")
	}
	for _, c := range [...]*reader{
		&dec.keyClock.reader, &dec.clients.reader, &dec.leftClock.reader, &dec.rightClock.reader, &dec.infos.reader,
		&dec.strings.lengths.reader, &dec.parentInfos.reader, &dec.typeKinds.reader, &dec.lengths.reader,
	} {
		bytes := dec.rest.bytes()
		*c = reader{buf: bytes, base: dec.rest.pos - len(bytes), up: &dec.rest}
	}
	// The strings' column begins with the text; their lengths follow.
	lengths := &dec.strings.lengths.reader
	text := lengths.text()
	dec.strings.text = reader{buf: text, base: lengths.base + lengths.pos - len(text), up: &dec.rest}
	dec.strings.ascii = utf16Len(text) == len(text)
	// What is left is the rest, with a base of its own.
	dec.rest = reader{buf: dec.rest.buf[dec.rest.pos:], base: dec.rest.pos, err: dec.rest.err}
	if dec.rest.err != nil {
		dec.rest.pos = len(dec.rest.buf)
	}
}

func (dec *decoder) err() error { return dec.rest.failed() }

// next reads a block, with dec.client as whose it is. It gives false at the end
// of the blocks, or of what could be read.
func (dec *decoder) next(b *block) bool {
	for dec.structs == 0 {
		if dec.groups == 0 || dec.rest.err != nil {
			return false
		}
		dec.groups--
		dec.structs = dec.rest.uint()
		if !dec.v2 && dec.structs > uint64(dec.rest.left()) || dec.structs > dec.budget {
			dec.rest.fail("%d structs are announced where %d bytes are left", dec.structs, dec.rest.left())
			return false
		}
		dec.budget -= dec.structs
		if dec.v2 {
			dec.client = dec.clients.next()
		} else {
			dec.client = dec.rest.uint()
		}
		dec.clock = dec.rest.uint()
	}
	dec.structs--
	dec.readBlock(b)
	if dec.rest.err != nil {
		return false
	}
	dec.clock = b.end()
	return true
}

// readAll reads all blocks and appends them to blocks, and to groups which of them
// are of the same client.
func (dec *decoder) readAll(blocks []block, groups *[]group) []block {
	for {
		at := len(blocks)
		if at == cap(blocks) {
			blocks = slices.Grow(blocks, dec.likely(at, len(*groups)))
		}
		blocks = append(blocks, block{})
		if !dec.next(&blocks[at]) {
			return blocks[:at]
		}
		// A client may come in stretches that do not follow each other.
		if n := len(*groups); n == 0 || (*groups)[n-1].client != dec.client || at > 0 && blocks[at-1].end() != blocks[at].clock {
			if n == cap(*groups) {
				*groups = slices.Grow(*groups, max(n, min(dec.groups+1, 1024+len(dec.buf)/8)))
			}
			*groups = append(*groups, group{client: dec.client, from: uint32(at)})
		}
		(*groups)[len(*groups)-1].to = uint32(at + 1)
	}
}

// likely tells for how many more blocks room should be made when so many have been
// read, in so many groups: what is announced, as far as the bytes make it likely. To double the room again
// and again would leave as much garbage as there are blocks, which are large.
func (dec *decoder) likely(read, groups int) int {
	announced := dec.structs + uint64(dec.groups) // at least one of each client to come
	if announced <= roomFor {
		return max(read, 1)
	}
	n := 1024 + min(len(dec.buf)/8, 1<<16)
	if read >= 1024 { // those to come may be as long
		used := max(dec.used(), 1)
		n = int(float64(read) * 1.1 * float64(max(len(dec.buf)-used, 0)) / float64(used))
		if dec.v2 { // where a few bytes may stand for many structs
			n = max(n, min(read, int(min(dec.structs, uint64(read)))+dec.groups*(read/groups+1)))
		}
		n = max(n, read/2)
	}
	if dec.groups == 0 || read == 0 {
		n = int(min(announced, uint64(n)))
	}
	return n
}

// used is how many bytes have been read.
func (dec *decoder) used() int {
	n := dec.rest.pos
	if dec.v2 {
		for _, c := range [...]*reader{
			&dec.keyClock.reader, &dec.clients.reader, &dec.leftClock.reader, &dec.rightClock.reader, &dec.infos.reader,
			&dec.strings.text, &dec.strings.lengths.reader, &dec.parentInfos.reader, &dec.typeKinds.reader, &dec.lengths.reader,
		} {
			n += c.pos
		}
	}
	return n
}

// room makes room for one more, and doubles a slice for it: append, which grows large
// ones by a quarter, would leave several times as much garbage as is kept.
func room[T any](s []T) []T {
	if len(s) < cap(s) {
		return s
	}
	return slices.Grow(s, max(len(s), 1))
}

func (dec *decoder) readBlock(b *block) {
	*b = block{clock: dec.clock}
	if dec.v2 {
		b.info = dec.infos.next()
	} else {
		b.info = dec.rest.byte()
	}
	switch b.kind() {
	case kindGC:
		b.info, b.length = kindGC, dec.length()
	case kindSkip:
		b.info, b.length = kindSkip, dec.rest.uint()
	default:
		dec.readItem(b)
	}
	if b.length == 0 {
		dec.rest.fail("a struct is empty")
	}
	if b.length > maxSafeInteger-b.clock {
		dec.rest.fail("a struct ends after clock 2^53-1")
	}
}

func (dec *decoder) length() uint64 {
	if dec.v2 {
		return dec.lengths.next()
	}
	return dec.rest.uint()
}

func (dec *decoder) readItem(b *block) {
	if b.info&infoOrigin != 0 {
		b.origin = dec.id(&dec.leftClock)
	}
	if b.info&infoRightOrigin != 0 {
		b.rightOrigin = dec.id(&dec.rightClock)
	}
	// The parent is there only where no neighbour tells it.
	if b.info&(infoOrigin|infoRightOrigin) == 0 {
		if dec.parentIsRoot() {
			b.parentIs, b.name = parentRoot, dec.text()
		} else {
			b.parentIs, b.parent = parentItem, dec.id(&dec.leftClock)
		}
		if b.info&infoSub != 0 {
			b.sub = dec.text()
		}
	}
	dec.readContent(b)
}

// id reads an id that the struct at hand refers to. A struct can only refer to
// what was there before it.
func (dec *decoder) id(clocks *diffColumn) rawID {
	var i rawID
	if dec.v2 {
		i = rawID{dec.clients.next(), clocks.next()}
	} else {
		i = rawID{dec.rest.uint(), dec.rest.uint()}
	}
	if i.client == dec.client && i.clock >= dec.clock {
		dec.rest.fail("a struct refers to one that its client made later")
	}
	return i
}

func (dec *decoder) parentIsRoot() bool {
	if dec.v2 {
		return dec.parentInfos.next() == 1
	}
	return dec.rest.uint() == 1
}

// here gives the span of the rest's last n bytes before its position.
func (dec *decoder) here(n int) span {
	end := uint32(dec.rest.base + dec.rest.pos)
	return span{end - uint32(n), end}
}

// text reads a string that is in the strings' column, if there is one.
func (dec *decoder) text() span {
	if !dec.v2 {
		return dec.here(len(dec.rest.text()))
	}
	from, to, halfFirst, halfLast := dec.strings.next()
	s := span{uint32(dec.strings.text.base + from), uint32(dec.strings.text.base + to)}
	if !halfFirst && !halfLast {
		return s
	}
	var whole []byte
	if halfFirst {
		whole = append(whole, replacement...)
	}
	whole = append(whole, dec.buf[s.from:s.to]...)
	if halfLast {
		whole = append(whole, replacement...)
	}
	return dec.put(whole)
}

// put adds bytes that stand nowhere in the update as they are needed.
func (dec *decoder) put(b []byte) span {
	from := len(dec.buf)
	if !dec.own { // the caller may have something behind the update
		dec.buf, dec.own = dec.buf[:from:from], true
	}
	dec.buf = append(dec.buf, b...)
	return span{uint32(from), uint32(from + len(b))}
}

// key reads a string that may stand for one that came before.
func (dec *decoder) key() span {
	if !dec.v2 {
		return dec.text()
	}
	if n := dec.keyClock.next(); n < uint64(len(dec.keys)) {
		key := dec.keys[n]
		if dec.repeats -= int(key.to - key.from); dec.repeats < 0 {
			dec.rest.fail("keys that came before are given again too often")
		}
		return key
	}
	key := dec.text()
	dec.keys = append(dec.keys, key)
	return key
}

// json reads a value that version 1 holds as JSON and version 2 does not.
func (dec *decoder) json(b *block) {
	if dec.v2 {
		b.anyValue = true
		b.body = dec.any(1)
		return
	}
	text := dec.rest.text()
	if dec.rest.err == nil && !json.Valid(text) {
		dec.rest.fail("a value is not valid JSON")
	}
	if nestsTooDeep(text) { // version 2 could not be read again
		dec.rest.fail("a value nests deeper than %d levels", maxAnyDepth)
	}
	b.body = dec.here(len(text))
}

// nestsTooDeep says of JSON what walkAny does of the any encoding.
func nestsTooDeep(text []byte) bool {
	if len(text) <= maxAnyDepth {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString || c <= ' ' || c == ',' || c == ':':
			continue
		case c == ']' || c == '}':
			depth--
			continue
		}
		if depth > maxAnyDepth {
			return true
		}
		if !inString && (c == '[' || c == '{') {
			depth++
		}
	}
	return false
}

// any reads n values in the any encoding.
func (dec *decoder) any(n uint64) span {
	start := dec.rest.pos
	if n > uint64(dec.rest.left()) {
		dec.rest.fail("%d values are announced where %d bytes are left", n, dec.rest.left())
	}
	for ; n > 0 && dec.rest.err == nil; n-- {
		dec.rest.walkAny(0)
	}
	return dec.here(dec.rest.pos - start)
}

func (dec *decoder) readContent(b *block) {
	b.length = 1
	switch b.kind() {
	case kindDeleted:
		b.length = dec.length()
	case kindJSON:
		b.length = dec.length()
		b.body = dec.legacy(b.length)
	case kindAny:
		b.length = dec.length()
		b.body = dec.any(b.length)
	case kindBinary:
		b.body = dec.here(len(dec.rest.bytes()))
	case kindString:
		b.body = dec.text()
		b.length = dec.units(b.body)
	case kindEmbed:
		dec.json(b)
	case kindFormat:
		b.head = dec.key()
		dec.json(b)
	case kindType:
		kind := uint64(0)
		if dec.v2 {
			kind = dec.typeKinds.next()
		} else {
			kind = dec.rest.uint()
		}
		if kind > typeXMLText {
			dec.rest.fail("there is no shared type %d", kind)
			return
		}
		b.typeKind = uint8(kind)
		if kind == typeXMLElement || kind == typeXMLHook {
			b.head = dec.key()
		}
	case kindDoc:
		b.head = dec.text()
		b.body = dec.any(1)
	default:
		if dec.rest.err == nil {
			dec.rest.fail("there is no content %d", b.kind())
		}
	}
}

// units is the length of a string in UTF-16 units.
func (dec *decoder) units(s span) uint64 {
	if dec.v2 && dec.strings.ascii {
		return uint64(s.to - s.from)
	}
	return uint64(utf16Len(dec.buf[s.from:s.to]))
}

// legacy reads n values of the content that old arrays have: JSON, each a string,
// or "undefined". The span has them as in version 1.
func (dec *decoder) legacy(n uint64) span {
	start := dec.rest.pos
	var together []byte
	for ; n > 0 && dec.rest.err == nil; n-- {
		s := dec.text()
		text := dec.buf[s.from:s.to]
		if dec.rest.err == nil && !json.Valid(text) && string(text) != "undefined" {
			dec.rest.fail("a value is not valid JSON")
		}
		if dec.v2 {
			if len(text) == 0 { // or a huge n of them would not end
				dec.rest.fail("a value is not valid JSON")
			}
			together = appendText(together, text)
		}
	}
	if dec.v2 {
		return dec.put(together)
	}
	return dec.here(dec.rest.pos - start)
}

// delRange is a stretch of one client's units that were deleted.
type delRange struct{ clock, length uint64 }

func (r delRange) end() uint64 { return r.clock + r.length }

// deletion is a delRange of a client.
type deletion struct {
	client uint64
	delRange
}

// deleteSet reads the delete set, after all blocks, and appends it to set.
func (dec *decoder) deleteSet(set []deletion) []deletion {
	r := &dec.rest
	for n := r.count("clients of deletions"); n > 0 && r.err == nil; n-- {
		client := r.uint()
		at := uint64(0) // version 2 has the distance from the last one
		m := r.count("deletions")
		if m > roomFor {
			set = slices.Grow(set, min(m, 1024+r.left()/8))
		}
		for ; m > 0 && r.err == nil; m-- {
			d := delRange{r.uint(), r.uint()}
			if dec.v2 {
				d.clock += at
				d.length++
				at = d.end()
			}
			if d.end() > maxSafeInteger {
				r.fail("a deletion ends after clock 2^53-1")
			}
			if d.length == 0 {
				dec.emptyDeletes = true
			} else if r.err == nil {
				set = append(set, deletion{client, d})
			}
		}
	}
	return set
}

// DecodeStateVector reads a state vector: for each client the clock of the next
// unit.
func DecodeStateVector(sv []byte) (map[uint64]uint64, error) {
	r := &reader{buf: sv}
	state := r.stateVector()
	if r.err != nil {
		return nil, r.err
	}
	return state, nil
}

func (r *reader) stateVector() map[uint64]uint64 {
	n := r.count("clients")
	state := make(map[uint64]uint64, min(n, 1024))
	for ; n > 0 && r.err == nil; n-- {
		c := r.uint()
		state[c] = r.uint()
	}
	return state
}

// validText tells whether a string can be stored.
func validText(s string) bool { return utf8.ValidString(s) }
