package ycrdt

import (
	"maps"
	"slices"
)

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
//
// It is 80 bytes and holds no pointer: most of a document's memory is items, and
// the garbage collector need not look at them.
type item struct {
	clock, length           uint64 // length in units, never 0
	originClock, rightClock uint64 // the origins: see origin and rightOrigin
	client                  uint32
	originClient            uint32
	rightClient             uint32
	left, right             ref
	parent                  uint32 // index into Doc.types, 0 for kindGC
	sub                     uint32 // map key, index into Doc.keys, or 0
	content                 uint32 // where in Doc.arena; of kindType: index into Doc.types
	size                    uint32 // bytes of content
	seen                    uint32 // conflict scan: passed before the origin, in this scan
	conflict                uint32 // conflict scan: may still have to stand left of it
	kind                    uint8
	deleted                 bool
	anyValue                bool // of kindEmbed and kindFormat: the value is not JSON
}

func (it *item) id() id       { return id{it.client, it.clock} }
func (it *item) end() uint64  { return it.clock + it.length }
func (it *item) lastID() id   { return id{it.client, it.end() - 1} }
func (it *item) isItem() bool { return it.kind != kindGC }

// origin is the last unit left of the item when it was made.
func (it *item) origin() id      { return id{it.originClient, it.originClock} }
func (it *item) rightOrigin() id { return id{it.rightClient, it.rightClock} }

func (it *item) setOrigin(i id)      { it.originClient, it.originClock = i.client, i.clock }
func (it *item) setRightOrigin(i id) { it.rightClient, it.rightClock = i.client, i.clock }

// countable tells whether the item's units count in its parent's length.
func (it *item) countable() bool { return it.kind != kindDeleted && it.kind != kindFormat }

// makeGC turns an item into a mere stretch of ids.
func (it *item) makeGC() {
	*it = item{client: it.client, clock: it.clock, length: it.length, kind: kindGC, deleted: true}
}

// sharedType is a Y.Text, Y.Map, Y.Array or XML type: a root, known by its name,
// or nested, known by the item that holds it.
type sharedType struct {
	name   []byte // of a root
	item   ref    // of a nested type
	kind   uint8  // wire number of a nested type
	start  ref
	length uint64 // countable units that are not deleted
	keys   map[uint32]entry
	node   []byte // name of an XML element or hook
	// formatted: a format mark has been in it, so marks may need cleaning up.
	formatted bool
}

// entry is the list of one key of a map: the last item is the value.
type entry struct{ first, last ref }

// slabBits sets how many items a slab holds; 128 fill 10 KiB exactly. A slab
// never moves, so that *item stays valid while others are made.
const slabBits = 7

type slab [1 << slabBits]item

func (d *Doc) at(r ref) *item { return &d.slabs[r>>slabBits][r&(1<<slabBits-1)] }

// alloc gives a zeroed item.
func (d *Doc) alloc() (ref, *item) {
	if n := len(d.free); n > 0 {
		r := d.free[n-1]
		d.free = d.free[:n-1]
		return r, d.at(r)
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

// newType gives a type's index in Doc.types.
func (d *Doc) newType(t *sharedType) uint32 {
	if n := len(d.freeTypes); n > 0 {
		i := d.freeTypes[n-1]
		d.freeTypes = d.freeTypes[:n-1]
		d.types[i] = t
		return i
	}
	d.types = append(d.types, t)
	return uint32(len(d.types) - 1)
}

// typeOf gives the shared type that an item holds, or nil.
func (d *Doc) typeOf(it *item) *sharedType {
	if it.kind != kindType {
		return nil
	}
	return d.types[it.content]
}

// client is one client's part of the store: its structs by clock, without gaps.
// clocks repeats where each begins, as looking for a clock in it touches far
// less memory than looking at the items.
type client struct {
	id     uint64
	state  uint64 // the clock that the next unit will have
	clocks []uint64
	refs   []ref
	hint   int  // where find found something last
	holes  bool // there may be some in refs: see insertAfter
	// before is the state at the beginning of transaction number touched.
	before, touched uint64
	// The content of the last struct may grow in place from roomAt by room bytes.
	roomAt, room uint32
}

func (c *client) tail() ref { return c.refs[len(c.refs)-1] }

// intern gives the index of a client id, plus one.
func (d *Doc) intern(clientID uint64) uint32 {
	if c, ok := d.lookup(clientID); ok {
		return c
	}
	if len(d.clients) == cap(d.clients) {
		d.expectClients(len(d.ready) + 1) // as many may come
	}
	d.clients = append(d.clients, client{id: clientID})
	c := uint32(len(d.clients))
	d.byID[clientID] = c
	return c
}

// expectClients makes room for so many clients more, or for twice as many as there
// are: to double it again and again would cost more than they do.
func (d *Doc) expectClients(n int) {
	n = max(n, len(d.clients))
	d.clients = slices.Grow(d.clients, n)
	if n > roomFor {
		byID := make(map[uint64]uint32, len(d.byID)+n)
		maps.Copy(byID, d.byID)
		d.byID = byID
	}
}

// lookup is intern for a client that may not be there. Most calls are about the
// same client as the last one.
func (d *Doc) lookup(clientID uint64) (uint32, bool) {
	if d.lastClient != 0 && d.clients[d.lastClient-1].id == clientID {
		return d.lastClient, true
	}
	c, ok := d.byID[clientID]
	if ok {
		d.lastClient = c
	}
	return c, ok
}

// stateOf is the clock of a client's next unit, 0 for one that is not known.
func (d *Doc) stateOf(clientID uint64) uint64 {
	if c, ok := d.lookup(clientID); ok {
		return d.clients[c-1].state
	}
	return 0
}

// find gives the position among the client's structs of the one that holds
// clock, which must be below the client's state. People type where they typed
// last, and what runs over all structs goes from one to the next, so it looks
// farther and farther from the last find, and then between the last two looks.
func (c *client) find(clock uint64) int {
	clocks := c.clocks
	high := len(clocks) - 1
	if clocks[high] <= clock {
		return high
	}
	low := min(c.hint, high)
	if clocks[low] <= clock {
		for step := 1; low+step < high; step *= 2 {
			if clocks[low+step] > clock {
				high = low + step
				break
			}
			low += step
		}
	} else {
		for step := 1; ; step *= 2 {
			high = low
			if low = max(low-step, 0); clocks[low] <= clock {
				break
			}
		}
	}
	for high-low > 1 {
		mid := int(uint(low+high) >> 1)
		if clocks[mid] <= clock {
			low = mid
		} else {
			high = mid
		}
	}
	c.hint = low
	return low
}

func (d *Doc) findRef(i id) ref {
	c := &d.clients[i.client-1]
	return c.refs[c.find(i.clock)]
}

// cleanStart gives the item that begins at i, split off if need be.
func (d *Doc) cleanStart(i id) ref {
	c := &d.clients[i.client-1]
	at := c.find(i.clock)
	r := c.refs[at]
	if it := d.at(r); it.clock < i.clock && it.isItem() {
		return d.splitAt(i.client, at, i.clock-it.clock)
	}
	return r
}

// cleanEnd gives the item that ends with i, split if need be.
func (d *Doc) cleanEnd(i id) ref {
	c := &d.clients[i.client-1]
	at := c.find(i.clock)
	r := c.refs[at]
	if it := d.at(r); i.clock != it.end()-1 && it.isItem() {
		d.splitAt(i.client, at, i.clock-it.clock+1)
	}
	return r
}

// splitAt splits the client's at-th struct after diff units and gives the right
// part.
func (d *Doc) splitAt(client uint32, at int, diff uint64) ref {
	c := &d.clients[client-1]
	leftRef := c.refs[at]
	rightRef, right := d.alloc()
	left := d.at(leftRef)
	*right = *left
	right.clock += diff
	right.length -= diff
	right.setOrigin(id{client, right.clock - 1})
	right.left = leftRef
	left.length = diff
	left.right = rightRef
	d.splitContent(left, right, diff)
	if right.right != 0 {
		d.at(right.right).left = rightRef
	} else if right.sub != 0 {
		keys := d.types[right.parent].keys
		keys[right.sub] = entry{keys[right.sub].first, rightRef}
	}
	d.insertAfter(client, at, rightRef, right.clock)
	d.tx.split = append(room(d.tx.split), right.id())
	return rightRef
}

// A long list into which one update inserts much gets holes, so that an insert moves what is
// between its place and the next hole and not all that follows: otherwise an update
// that splits one text n times would cost n². There are holes only while an update is
// taken in, up to closeHoles. A hole has the clock of the struct after it, so that find
// never finds one, and there is always a struct after it.
const hole = ref(-1)

var ( // for the tests, which have smaller ones
	manySplits = 1024 // of one update make holes worth their while
	nextHole   = 1024 // is how far one is looked for
)

// insertAfter puts a struct into its client's list, after the at-th one. Places after
// at, and at itself, may be other ones then.
func (d *Doc) insertAfter(client uint32, at int, r ref, clock uint64) {
	c := &d.clients[client-1]
	n := len(c.refs)
	if len(d.tx.split) < manySplits || n-at <= nextHole || d.inTxn {
		d.spend((n - at) / 2) // which is about how long the two inserts take
		c.clocks = slices.Insert(c.clocks, at+1, clock)
		c.refs = slices.Insert(c.refs, at+1, r)
		c.hint = at
		return
	}
	free := slices.Index(c.refs[at+1:at+1+nextHole], hole)
	if free < 0 {
		before := c.clocks[at]
		d.makeHoles(client)
		at = c.find(before)
		free = slices.Index(c.refs[at+1:], hole)
	}
	d.spend(free)
	copy(c.clocks[at+2:at+2+free], c.clocks[at+1:])
	copy(c.refs[at+2:at+2+free], c.refs[at+1:])
	c.clocks[at+1], c.refs[at+1] = clock, r
	c.hint = at
}

// makeHoles leaves one before each struct of a client.
func (d *Doc) makeHoles(client uint32) {
	c := &d.clients[client-1]
	if !c.holes {
		c.holes = true
		d.tx.holed = append(d.tx.holed, client)
	}
	n := c.closeHoles()
	d.spend(2 * n)
	c.clocks, c.refs = slices.Grow(c.clocks, n)[:2*n], slices.Grow(c.refs, n)[:2*n]
	for i := n - 1; i >= 0; i-- {
		c.clocks[2*i+1], c.refs[2*i+1] = c.clocks[i], c.refs[i]
		c.clocks[2*i], c.refs[2*i] = c.clocks[i], hole
	}
}

// closeHoles comes before anything that goes through a client's structs.
func (d *Doc) closeHoles() {
	for _, client := range d.tx.holed {
		c := &d.clients[client-1]
		c.holes = false
		c.closeHoles()
	}
	d.tx.holed = d.tx.holed[:0]
}

// closeHoles gives how many structs there are.
func (c *client) closeHoles() int {
	c.compact(0, len(c.refs))
	return len(c.refs)
}

// mergeable tells whether contents of a kind can be joined.
func mergeable(kind uint8) bool {
	switch kind {
	case kindGC, kindDeleted, kindJSON, kindString, kindAny:
		return true
	}
	return false
}

// canMerge tells whether right goes on where left, the struct before it of the
// same client, ends.
func canMerge(left, right *item, rightRef ref) bool {
	if left.deleted != right.deleted || left.kind != right.kind || !mergeable(left.kind) {
		return false
	}
	return left.kind == kindGC || right.origin() == left.lastID() && left.right == rightRef && left.rightOrigin() == right.rightOrigin()
}

// mergeRun joins the client's pos-th struct with those left of it, as far as they
// belong together. It gives the place of what they have become and how many it took
// in. Their places in the client's list stay until compact takes them away: each says
// where the struct is that has taken in the one that was there, as -1 less its place.
func (d *Doc) mergeRun(client uint32, pos int) (first, joined int) {
	c := &d.clients[client-1]
	if c.refs[pos] < 0 {
		return pos, 0
	}
	first = pos
	for first > 0 {
		before := c.whole(first - 1)
		if !canMerge(d.at(c.refs[before]), d.at(c.refs[first]), c.refs[first]) {
			break
		}
		first = before
		joined++
	}
	if joined == 0 {
		return pos, 0
	}
	tail := d.at(c.refs[pos]).end() == c.state
	leftRef := c.refs[first]
	left := d.at(leftRef)
	for i := first + 1; i <= pos; i++ {
		if c.refs[i] < 0 {
			continue
		}
		right := d.at(c.refs[i])
		if left.isItem() && left.size+right.size > 0 {
			d.joinContent(c, left, right, tail)
		}
		left.length += right.length
	}
	if lastRef := c.refs[pos]; left.isItem() {
		last := d.at(lastRef)
		left.right = last.right
		if left.right != 0 {
			d.at(left.right).left = leftRef
		} else if left.sub != 0 {
			keys := d.types[left.parent].keys
			if e := keys[left.sub]; e.last == lastRef {
				keys[left.sub] = entry{e.first, leftRef}
			}
		}
	}
	for i := first + 1; i <= pos; i++ {
		if c.refs[i] > 0 {
			d.release(c.refs[i])
			c.refs[i] = -ref(first) - 1
		}
	}
	return first, joined
}

// whole gives the place of the struct that has taken in the one at a place, or that
// place itself.
func (c *client) whole(pos int) int {
	for c.refs[pos] < 0 {
		pos = int(-c.refs[pos] - 1)
	}
	return pos
}

// compact takes the empty places between from and to out of the client's list.
func (c *client) compact(from, to int) {
	n := from
	for i := from; i < to; i++ {
		if c.refs[i] > 0 {
			c.refs[n], c.clocks[n] = c.refs[i], c.clocks[i]
			n++
		}
	}
	c.refs = slices.Delete(c.refs, n, to)
	c.clocks = slices.Delete(c.clocks, n, to)
	c.hint = max(0, n-2)
}
