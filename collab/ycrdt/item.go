package ycrdt

import "unicode/utf8"

// Kinds of content, numbered as on the wire. kindGC and kindSkip are structs of
// their own there: a stretch of ids whose content is gone, and one that an
// update leaves out.
const (
	kindGC      = 0
	kindDeleted = 1
	kindJSON    = 2
	kindBinary  = 3
	kindString  = 4
	kindEmbed   = 5
	kindFormat  = 6
	kindType    = 7
	kindAny     = 8
	kindDoc     = 9
	kindSkip    = 10
)

// ref addresses an item in the document's slabs; 0 is none. It is half the size
// of a pointer and nothing for the garbage collector to follow.
type ref int32

// id names one unit of one client's history. client is an index into
// Doc.clients plus one, so that the zero id is none.
type id struct {
	client uint32
	clock  uint64
}

func (a id) set() bool { return a.client != 0 }

// item is a struct of the store: a stretch of consecutive units of one client
// with one kind of content (or none, kindGC). Items form a list within their
// parent; for a map each key has a list whose last item is the value.
type item struct {
	id          id
	length      uint64 // in units, never 0
	origin      id     // last unit left of it when it was made
	rightOrigin id
	left, right ref
	parent      *sharedType // nil for kindGC
	sub         *string     // map key; points into Doc.keys, so equal keys are equal pointers
	content     []byte      // by kind: text, or the encoded values one after another
	typ         *sharedType // kindType
	kind        uint8
	deleted     bool
	seen        uint32 // conflict scan: passed before the origin, in this scan
	conflict    uint32 // conflict scan: may still have to stand left of it
}

func (it *item) end() uint64  { return it.id.clock + it.length }
func (it *item) lastID() id   { return id{it.id.client, it.end() - 1} }
func (it *item) isItem() bool { return it.kind != kindGC }

// countable tells whether the item's units count in its parent's length.
func (it *item) countable() bool { return it.kind != kindDeleted && it.kind != kindFormat }

// sharedType is a Y.Text, Y.Map, Y.Array or XML type: a root, known by its name,
// or nested, known by the item that holds it.
type sharedType struct {
	name   string // of a root
	item   ref    // of a nested type
	kind   uint8  // wire number of a nested type: 0 array, 1 map, 2 text, 3 XML element, 4 fragment, 5 hook, 6 XML text
	start  ref
	keys   map[*string]ref // the last item of each key
	length uint64          // countable units that are not deleted
	// Name of an XML element or hook.
	node []byte
}

// slabBits sets how many items a slab holds. A slab never moves, so that *item
// stays valid while others are made.
const slabBits = 9

type slab [1 << slabBits]item

func (d *Doc) at(r ref) *item { return &d.slabs[r>>slabBits][r&(1<<slabBits-1)] }

// alloc gives a zeroed item.
func (d *Doc) alloc() (ref, *item) {
	if n := len(d.free); n > 0 {
		r := d.free[n-1]
		d.free = d.free[:n-1]
		it := d.at(r)
		*it = item{}
		return r, it
	}
	d.used++
	if int(d.used)>>slabBits >= len(d.slabs) {
		d.slabs = append(d.slabs, new(slab))
	}
	return d.used, d.at(d.used)
}

func (d *Doc) release(r ref) {
	*d.at(r) = item{}
	d.free = append(d.free, r)
}

// client is one client's part of the store: its structs by clock, without gaps.
type client struct {
	id      uint64
	structs []ref
}

// state is the clock that the client's next unit will have.
func (d *Doc) state(c uint32) uint64 {
	s := d.clients[c-1].structs
	if len(s) == 0 {
		return 0
	}
	return d.at(s[len(s)-1]).end()
}

// intern gives the index of a client id, plus one.
func (d *Doc) intern(clientID uint64) uint32 {
	if c, ok := d.byID[clientID]; ok {
		return c
	}
	d.clients = append(d.clients, client{id: clientID})
	c := uint32(len(d.clients))
	d.byID[clientID] = c
	return c
}

// find gives the position among the client's structs of the one that holds
// clock, which must be below the client's state.
func (d *Doc) find(c uint32, clock uint64) int {
	s := d.clients[c-1].structs
	last := len(s) - 1
	if d.at(s[last]).id.clock <= clock {
		return last
	}
	low, high := 0, last
	for low < high {
		mid := int(uint(low+high+1) >> 1)
		if d.at(s[mid]).id.clock <= clock {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

func (d *Doc) findRef(i id) ref { return d.clients[i.client-1].structs[d.find(i.client, i.clock)] }

// cleanStart gives the item that begins at i, split off if need be.
func (d *Doc) cleanStart(i id) ref {
	at := d.find(i.client, i.clock)
	r := d.clients[i.client-1].structs[at]
	if it := d.at(r); it.id.clock < i.clock && it.isItem() {
		return d.splitAt(i.client, at, i.clock-it.id.clock)
	}
	return r
}

// cleanEnd gives the item that ends with i, split if need be.
func (d *Doc) cleanEnd(i id) ref {
	at := d.find(i.client, i.clock)
	r := d.clients[i.client-1].structs[at]
	if it := d.at(r); i.clock != it.end()-1 && it.isItem() {
		d.splitAt(i.client, at, i.clock-it.id.clock+1)
	}
	return r
}

// splitAt splits the client's at-th struct after diff units and gives the right
// part.
func (d *Doc) splitAt(c uint32, at int, diff uint64) ref {
	leftRef := d.clients[c-1].structs[at]
	rightRef, right := d.alloc()
	left := d.at(leftRef)
	*right = item{
		id: id{c, left.id.clock + diff}, length: left.length - diff,
		origin: id{c, left.id.clock + diff - 1}, rightOrigin: left.rightOrigin,
		left: leftRef, right: left.right, parent: left.parent, sub: left.sub,
		kind: left.kind, deleted: left.deleted,
	}
	left.content, right.content = splitContent(left.kind, left.content, diff)
	left.length = diff
	left.right = rightRef
	if right.right != 0 {
		d.at(right.right).left = rightRef
	} else if right.sub != nil {
		right.parent.keys[right.sub] = rightRef
	}
	s := append(d.clients[c-1].structs, 0)
	copy(s[at+2:], s[at+1:])
	s[at+1] = rightRef
	d.clients[c-1].structs = s
	d.split = append(d.split, right.id)
	return rightRef
}

// replacement stands for each half of a surrogate pair that was split: UTF-8
// cannot hold a lone surrogate, and yjs does the same.
const replacement = "\uFFFD"

// splitContent splits content after diff units. The parts do not share room to
// grow.
func splitContent(kind uint8, content []byte, diff uint64) (left, right []byte) {
	switch kind {
	case kindString:
		at, inPair := utf16Offset(content, int(diff))
		if inPair {
			left = append(content[:at:at], replacement...)
			right = append([]byte(replacement), content[at+4:]...)
			return left, right
		}
		return content[:at:at], content[at:]
	case kindAny, kindJSON:
		r := reader{buf: content}
		for range diff {
			if kind == kindAny {
				r.walkAny(0)
			} else {
				r.bytes()
			}
		}
		return content[:r.pos:r.pos], content[r.pos:]
	}
	return content, nil // kindDeleted: a length alone
}

// mergeable tells whether contents of a kind can be joined.
func mergeable(kind uint8) bool {
	switch kind {
	case kindGC, kindDeleted, kindJSON, kindString, kindAny:
		return true
	}
	return false
}

// mergeWithLeft joins the client's pos-th struct and those left of it, as far
// as they belong together, and gives how many it took away.
func (d *Doc) mergeWithLeft(c uint32, pos int) int {
	s := d.clients[c-1].structs
	merged := 0
	for i := pos; i > 0; i-- {
		leftRef, rightRef := s[i-1], s[i]
		left, right := d.at(leftRef), d.at(rightRef)
		if left.deleted != right.deleted || left.kind != right.kind || !mergeable(left.kind) {
			break
		}
		if left.isItem() {
			if right.origin != left.lastID() || left.right != rightRef || left.rightOrigin != right.rightOrigin {
				break
			}
			if right.sub != nil && right.parent.keys[right.sub] == rightRef {
				right.parent.keys[right.sub] = leftRef
			}
			left.content = append(left.content, right.content...)
			left.right = right.right
			if left.right != 0 {
				d.at(left.right).left = leftRef
			}
		}
		left.length += right.length
		d.release(rightRef)
		merged++
	}
	if merged > 0 {
		d.clients[c-1].structs = append(s[:pos+1-merged], s[pos+1:]...)
	}
	return merged
}

// validText tells whether a string can be stored.
func validText(s string) bool { return utf8.ValidString(s) }
