package ycrdt

import "encoding/json"

// rawID is an id as it stands in an update, before its client is interned.
// Decoding must not change the document, not even by learning a client's id.
type rawID struct {
	client, clock uint64
	ok            bool
}

// How an update names an item's parent.
const (
	parentFromOrigin = iota // it is the neighbours'
	parentRoot
	parentItem
)

// incoming is one struct of an update.
type incoming struct {
	clock, length       uint64
	origin, rightOrigin rawID
	parentID            rawID
	parentName          []byte
	sub                 []byte
	content             []byte
	parent              uint8
	kind                uint8
	typeKind            uint8
	hasSub              bool
}

func (in *incoming) end() uint64 { return in.clock + in.length }

// block holds structs of one client by clock, maybe with gaps.
type block struct {
	client  uint64
	structs []incoming
	size    int // bytes that it took in its update
}

// delRange is a stretch of one client's units that were deleted.
type delRange struct{ clock, length uint64 }

type clientRanges struct {
	client uint64
	ranges []delRange
}

// Bits of the info byte, with the content's kind in the lower five.
const (
	infoKind        = 0x1f
	infoSub         = 0x20
	infoRightOrigin = 0x40
	infoOrigin      = 0x80
)

// decodeUpdate reads an update, version 1, and checks all that can be checked
// without the document.
func decodeUpdate(update []byte) ([]*block, []clientRanges, error) {
	r := &reader{buf: update}
	var blocks []*block
	for n := r.count("clients"); n > 0 && r.err == nil; n-- {
		start := r.pos
		structs := r.count("structs")
		b := &block{client: r.uint()}
		clock := r.uint()
		for ; structs > 0 && r.err == nil; structs-- {
			clock = r.decodeStruct(b, clock)
		}
		b.size = r.pos - start
		if len(b.structs) > 0 {
			blocks = append(blocks, b)
		}
	}
	deletes := r.decodeDeleteSet()
	if r.err != nil {
		return nil, nil, r.err
	}
	return blocks, deletes, nil
}

// decodeStruct reads one struct that begins at clock, adds it to b unless it is
// a skip, and gives the clock after it.
func (r *reader) decodeStruct(b *block, clock uint64) uint64 {
	in := incoming{clock: clock}
	info := r.byte()
	in.kind = info & infoKind
	switch in.kind {
	case kindGC, kindSkip:
		in.length = r.uint()
	default:
		r.decodeItem(&in, b.client, info)
	}
	if r.err != nil {
		return clock
	}
	if in.length == 0 {
		r.fail("a struct is empty")
		return clock
	}
	if in.end() > maxSafeInteger {
		r.fail("a struct ends after clock 2^53-1")
		return clock
	}
	if n := len(b.structs); in.kind == kindGC && n > 0 && b.structs[n-1].kind == kindGC && b.structs[n-1].end() == clock {
		b.structs[n-1].length += in.length
	} else if in.kind != kindSkip {
		b.structs = append(b.structs, in)
	}
	return in.end()
}

func (r *reader) decodeItem(in *incoming, client uint64, info byte) {
	if info&infoOrigin != 0 {
		in.origin = r.id(client, in.clock)
	}
	if info&infoRightOrigin != 0 {
		in.rightOrigin = r.id(client, in.clock)
	}
	// The parent is there only where no neighbour tells it.
	if info&(infoOrigin|infoRightOrigin) == 0 {
		if r.uint() == 1 {
			in.parent, in.parentName = parentRoot, r.text()
		} else {
			in.parent, in.parentID = parentItem, r.id(client, in.clock)
		}
		if info&infoSub != 0 {
			in.sub, in.hasSub = r.text(), true
		}
	}
	start := r.pos
	in.length = 1
	switch in.kind {
	case kindDeleted:
		in.length = r.uint()
	case kindJSON, kindAny:
		n := r.count("values")
		in.length = uint64(n)
		start = r.pos
		for ; n > 0 && r.err == nil; n-- {
			if in.kind == kindAny {
				r.walkAny(0)
			} else {
				r.jsonText(true)
			}
		}
		in.content = r.buf[start:r.pos:r.pos]
	case kindBinary:
		in.content = r.bytes()
	case kindString:
		in.content = r.text()
		in.length = uint64(utf16Len(in.content))
	case kindEmbed:
		in.content = r.jsonText(false)
	case kindFormat:
		r.text()
		r.jsonText(false)
		in.content = r.buf[start:r.pos:r.pos]
	case kindType:
		kind := r.uint()
		if kind > 6 {
			r.fail("there is no shared type %d", kind)
			return
		}
		in.typeKind = uint8(kind)
		if kind == typeXMLElement || kind == typeXMLHook {
			in.content = r.text()
		}
	case kindDoc:
		r.text()
		r.walkAny(0)
		in.content = r.buf[start:r.pos:r.pos]
	default:
		r.fail("there is no content %d", in.kind)
	}
}

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

// jsonText reads a value as JSON text.
func (r *reader) jsonText(undefined bool) []byte {
	text := r.text()
	if r.err == nil && !json.Valid(text) && !(undefined && string(text) == "undefined") {
		r.fail("a value is not valid JSON")
	}
	return text
}

// id reads an id that the struct (client, clock) refers to. A struct can only
// refer to what was there before it.
func (r *reader) id(client, clock uint64) rawID {
	i := rawID{r.uint(), r.uint(), true}
	if i.client == client && i.clock >= clock {
		r.fail("a struct refers to one that its client made later")
	}
	return i
}

func (r *reader) decodeDeleteSet() []clientRanges {
	var set []clientRanges
	for n := r.count("clients of deletions"); n > 0 && r.err == nil; n-- {
		c := clientRanges{client: r.uint()}
		for m := r.count("deletions"); m > 0 && r.err == nil; m-- {
			d := delRange{r.uint(), r.uint()}
			if d.clock+d.length > maxSafeInteger {
				r.fail("a deletion ends after clock 2^53-1")
			}
			if d.length > 0 {
				c.ranges = append(c.ranges, d)
			}
		}
		if len(c.ranges) > 0 {
			set = append(set, c)
		}
	}
	return set
}

// DecodeStateVector reads a state vector: for each client the clock of the next
// unit.
func DecodeStateVector(sv []byte) (map[uint64]uint64, error) {
	r := &reader{buf: sv}
	n := r.count("clients")
	state := make(map[uint64]uint64, min(n, 1024))
	for ; n > 0 && r.err == nil; n-- {
		c := r.uint()
		state[c] = r.uint()
	}
	if r.err != nil {
		return nil, r.err
	}
	return state, nil
}
