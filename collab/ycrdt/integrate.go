package ycrdt

import (
	"bytes"
	"cmp"
	"slices"
)

// transaction is what one call changed, for the clean-up after it and for the
// update that tells others.
type transaction struct {
	number    uint64
	touched   []uint32   // clients that got structs; their state before is client.before
	deleted   []localDel // in the order of deletion; by client and clock after the clean-up
	cleaned   []localDel // redundant formats that the clean-up deleted, by client and clock
	work      int        // see Doc.spend
	split     []id       // places where a merge may be due
	torn      []torn     // characters that splits have replaced
	holed     []uint32   // clients with holes in their lists, see Doc.insertAfter
	types     []uint32   // formatted types in which something changed, see cleanUpFormats
	formatted []uint32   // types that have their first formats
}

// localDel is a deletion in terms of the store.
type localDel struct {
	client uint32
	delRange
}

func (tx *transaction) shrink(keep int) {
	if cap(tx.deleted) > keep {
		tx.deleted = nil
	}
	if cap(tx.split) > keep {
		tx.split = nil
	}
	if cap(tx.torn) > keep {
		tx.torn = nil
	}
	if cap(tx.holed) > keep {
		tx.holed = nil
	}
	if cap(tx.touched) > keep {
		tx.touched = nil
	}
	if cap(tx.formatted) > keep {
		tx.formatted = nil
	}
}

func (d *Doc) begin() {
	tx := &d.tx
	tx.number++
	tx.work = 0
	tx.touched, tx.deleted, tx.split, tx.torn = tx.touched[:0], tx.deleted[:0], tx.split[:0], tx.torn[:0]
	tx.types, tx.formatted, tx.cleaned = tx.types[:0], tx.formatted[:0], nil
}

// touch notes that a client is about to get structs.
func (d *Doc) touch(client uint32) *client {
	c := &d.clients[client-1]
	if c.touched != d.tx.number {
		c.touched, c.before = d.tx.number, c.state
		d.tx.touched = append(room(d.tx.touched), client)
	}
	return c
}

// before is the state that a client had when the transaction began.
func (d *Doc) before(client uint32) uint64 {
	c := &d.clients[client-1]
	if c.touched == d.tx.number {
		return c.before
	}
	return c.state
}

// addStruct appends a struct to its client's part of the store.
func (d *Doc) addStruct(r ref, it *item) {
	c := d.touch(it.client)
	c.clocks = append(c.clocks, it.clock)
	c.refs = append(c.refs, r)
	c.state = it.end()
}

// noteDeleted records that an item has been deleted.
func (d *Doc) noteDeleted(it *item) {
	d.tx.deleted = append(room(d.tx.deleted), localDel{it.client, delRange{it.clock, it.length}})
}

// integrateAll takes in the update that was decoded. What lacks something waits;
// what waited for something in it is left to retry.
func (d *Doc) integrateAll() {
	// yjs begins with the highest client, too. It makes the least work: who comes
	// later goes left of who is there already.
	slices.SortStableFunc(d.groups, func(a, b group) int { return cmp.Compare(b.client, a.client) })
	d.ready = slices.Grow(d.ready, len(d.groups))
	for i := len(d.groups) - 1; i >= 0; i-- {
		d.groups[i].blocks = d.blocks[d.groups[i].from:d.groups[i].to]
		d.groups[i].buf = d.dec.buf
		d.ready = append(d.ready, &d.groups[i])
		if n := len(d.groups[i].blocks); n > roomFor {
			c := &d.clients[d.intern(d.groups[i].client)-1]
			c.clocks, c.refs = slices.Grow(c.clocks, n), slices.Grow(c.refs, n)
		}
	}
	d.integrateReady()
}

// retry takes in what has waited and need not any more, and what is in that. It
// comes after the update's own deletions, as in yjs: they and those that waited have
// then been joined.
func (d *Doc) retry() {
	if len(d.later) == 0 {
		return
	}
	d.retrying = true
	// yjs has merged what waits into one update, and begins with the highest client here, too:
	// what is deleted first decides which of the deleted are joined.
	slices.SortFunc(d.later, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(b.blocks[0].clock, a.blocks[0].clock))
	})
	d.ready = append(d.ready, d.later...)
	d.later = d.later[:0]
	d.integrateReady()
	d.retrying = false
	d.applyPendingDeletes()
}

func (d *Doc) integrateReady() {
	for len(d.ready) > 0 && !d.spent() {
		g := d.ready[len(d.ready)-1]
		d.ready = d.ready[:len(d.ready)-1]
		left := len(g.blocks)
		if needs, blocked := d.advance(g); blocked {
			d.wait(g, needs)
		}
		if len(g.blocks) != left {
			d.wake(g.client)
		}
	}
}

// advance integrates a group's blocks as far as it can, takes them off, and gives
// what the next one lacks.
func (d *Doc) advance(g *group) (needs rawID, blocked bool) {
	for ; len(g.blocks) > 0 && !d.spent(); g.blocks = g.blocks[1:] {
		b := &g.blocks[0]
		if b.info == kindSkip {
			continue
		}
		if needs, blocked = b.missing(g.client, d.stateOf); blocked {
			return needs, true
		}
		state := d.stateOf(g.client)
		if b.end() > state {
			d.integrate(d.intern(g.client), b, g.buf, state-b.clock, len(g.blocks) == 1)
		} else {
			d.splitAround(b)
		}
	}
	return rawID{}, false
}

// splitAround splits what stands at the origins of a block that is there already,
// as yjs does. It is joined again in the end, but if it was within a surrogate pair
// then both halves are U+FFFD from now on: here, too, as at all other peers.
func (d *Doc) splitAround(b *block) {
	if b.info&infoOrigin != 0 && b.origin.clock < d.stateOf(b.origin.client) {
		d.cleanEnd(id{d.intern(b.origin.client), b.origin.clock})
	}
	if b.info&infoRightOrigin != 0 && b.rightOrigin.clock < d.stateOf(b.rightOrigin.client) {
		d.cleanStart(id{d.intern(b.rightOrigin.client), b.rightOrigin.clock})
	}
}

// missing gives the first thing that a block builds on and that is beyond the
// state of its client.
func (b *block) missing(client uint64, state func(uint64) uint64) (rawID, bool) {
	own := state(client)
	if b.clock > own {
		return rawID{client, b.clock - 1}, true
	}
	if b.end() <= own {
		return rawID{}, false // it is there already
	}
	if i := b.origin; b.info&infoOrigin != 0 && i.client != client && i.clock >= state(i.client) {
		return i, true
	}
	if i := b.rightOrigin; b.info&infoRightOrigin != 0 && i.client != client && i.clock >= state(i.client) {
		return i, true
	}
	if i := b.parent; b.parentIs == parentItem && i.client != client && i.clock >= state(i.client) {
		return i, true
	}
	return rawID{}, false
}

// integrate puts a block whose dependencies are there into the store, without
// its first offset units, which are there already. Only the last block of a group may
// extend the tail: what comes after another is mostly to stand between the two, which
// would have to be split again (in B4's document, every third).
func (d *Doc) integrate(client uint32, b *block, buf []byte, offset uint64, last bool) {
	if last && b.kind() == kindString && offset == 0 && d.extendTail(client, b, buf) {
		return
	}
	r, it := d.alloc()
	it.client, it.clock, it.length, it.kind = client, b.clock+offset, b.length-offset, b.kind()
	if it.kind == kindGC {
		it.deleted = true
		d.addStruct(r, it)
		return
	}
	d.link(it, b, buf)
	if offset > 0 {
		it.left = d.cleanEnd(id{client, it.clock - 1})
		left := d.at(it.left)
		it.setOrigin(left.lastID())
		if it.parent != 0 {
			// It is that already, unless a client used the same clocks for two things.
			it.parent, it.sub = left.parent, left.sub
		}
	}
	if it.parent == 0 {
		it.makeGC()
		d.addStruct(r, it)
		return
	}
	d.takeContent(r, it, b, buf, offset)
	d.place(r, it)
}

// extendTail is the way of most keystrokes: text that goes on where its client's
// last struct ends, with nothing between it and its right origin. It does at once
// what placing a new item and merging it afterwards would come to.
func (d *Doc) extendTail(client uint32, b *block, buf []byte) bool {
	c := &d.clients[client-1]
	if b.info&infoOrigin == 0 || len(c.refs) == 0 || b.origin.client != c.id || b.origin.clock != c.state-1 {
		return false
	}
	it := d.at(c.tail())
	if it.kind != kindString || it.deleted || it.sub != 0 {
		return false
	}
	var right id
	if b.info&infoRightOrigin != 0 {
		r, ok := d.lookup(b.rightOrigin.client)
		if !ok {
			return false
		}
		right = id{r, b.rightOrigin.clock}
	}
	if right != it.rightOrigin() || it.right != 0 && d.at(it.right).id() != right || it.right == 0 && right.set() {
		return false
	}
	if t := d.types[it.parent]; t.formatted || t.item != 0 && d.at(t.item).deleted {
		return false
	}
	d.touch(client)
	content := buf[b.body.from:b.body.to]
	end := it.content + it.size
	switch n := uint32(len(content)); {
	case int(end) == len(d.arena):
		d.arena = append(d.arena, content...)
	case end == c.roomAt && c.room >= n:
		copy(d.arena[end:], content)
		c.roomAt += n
		c.room -= n
	default:
		at := uint32(len(d.arena))
		c.room = max(it.size/2, 16)
		d.arena = append(append(d.arena, d.arena[it.content:end]...), content...)
		c.roomAt = uint32(len(d.arena))
		d.arena = append(d.arena, make([]byte, c.room)...)
		it.content = at
	}
	it.size += uint32(len(content))
	d.live += len(content)
	it.length += b.length
	c.state += b.length
	d.types[it.parent].length += b.length
	return true
}

// link finds an item's neighbours and parent. A parent that was collected leaves
// it 0, and the item becomes garbage too.
func (d *Doc) link(it *item, b *block, buf []byte) {
	collected := false
	if b.info&infoOrigin != 0 {
		it.left = d.cleanEnd(id{d.intern(b.origin.client), b.origin.clock})
		left := d.at(it.left)
		it.setOrigin(left.lastID())
		collected = !left.isItem()
	}
	if b.info&infoRightOrigin != 0 {
		it.right = d.cleanStart(id{d.intern(b.rightOrigin.client), b.rightOrigin.clock})
		right := d.at(it.right)
		it.setRightOrigin(right.id())
		collected = collected || !right.isItem()
	}
	switch {
	case collected:
	case b.parentIs == parentRoot:
		it.parent = d.rootOf(buf[b.name.from:b.name.to])
	case b.parentIs == parentItem:
		if holder := d.at(d.findRef(id{d.intern(b.parent.client), b.parent.clock})); holder.kind == kindType {
			it.parent = holder.content
		}
	case it.left != 0:
		it.parent, it.sub = d.at(it.left).parent, d.at(it.left).sub
	case it.right != 0:
		it.parent, it.sub = d.at(it.right).parent, d.at(it.right).sub
	}
	if b.keyed() && it.parent != 0 {
		it.sub = d.keyOf(buf[b.sub.from:b.sub.to])
	}
}

// rootOf and keyOf make no string where there is one.
func (d *Doc) rootOf(name []byte) uint32 {
	if t, ok := d.roots[string(name)]; ok {
		return t
	}
	return d.root(string(name))
}

func (d *Doc) keyOf(key []byte) uint32 {
	if k, ok := d.keyIndex[string(key)]; ok {
		return k
	}
	return d.key(string(key))
}

// takeContent copies a block's content, without its first offset units.
func (d *Doc) takeContent(r ref, it *item, b *block, buf []byte, offset uint64) {
	head, body := buf[b.head.from:b.head.to], buf[b.body.from:b.body.to]
	switch it.kind {
	case kindType:
		it.content = d.newType(&sharedType{item: r, kind: b.typeKind, node: bytes.Clone(head)})
	case kindFormat, kindDoc:
		it.anyValue = b.anyValue
		at := len(d.arena)
		d.arena = append(appendText(d.arena, head), body...)
		it.content, it.size = uint32(at), uint32(len(d.arena)-at)
		d.live += int(it.size)
	default:
		it.anyValue = b.anyValue
		if offset > 0 {
			body = dropUnits(it.kind, body, offset)
		}
		d.setContent(it, body)
	}
}

// place is Yjs's integration (the YATA algorithm, Nicolaescu et al., "Near
// Real-Time Peer-to-Peer Shared Editing on Extensible Data Types", 2016, with
// Yjs's rule for the right origin): it finds the item's place among those
// inserted at the same spot and links it in.
func (d *Doc) place(r ref, it *item) {
	parent := d.types[it.parent]
	if d.contested(it) {
		d.scanConflicts(it)
	}
	if it.left != 0 {
		left := d.at(it.left)
		it.right = left.right
		left.right = r
	} else {
		it.right = parent.first(it.sub)
		if it.sub == 0 {
			parent.start = r
		}
	}
	if it.right != 0 {
		d.at(it.right).left = r
	}
	if it.sub != 0 {
		d.placeKey(parent, r, it)
	}
	if it.sub == 0 && it.countable() {
		parent.length += it.length
	}
	d.addStruct(r, it)
	switch it.kind {
	case kindDeleted:
		it.deleted = true
		d.noteDeleted(it)
	case kindFormat:
		if !parent.formatted {
			parent.formatted = true
			d.tx.formatted = append(d.tx.formatted, it.parent)
		}
	}
	d.noteChanged(it.parent)
	if (parent.item != 0 && d.at(parent.item).deleted) || (it.sub != 0 && it.right != 0) {
		d.delete(r)
	}
}

// placeKey makes an item the first or last of its key, as it came to stand.
func (d *Doc) placeKey(parent *sharedType, r ref, it *item) {
	if parent.keys == nil {
		parent.keys = make(map[uint32]entry)
	}
	e := parent.keys[it.sub]
	if it.left == 0 {
		e.first = r
	}
	if it.right == 0 {
		e.last = r
	}
	parent.keys[it.sub] = e
	if it.right == 0 && it.left != 0 {
		d.delete(it.left) // a newer value hides the older one
	}
}

// contested tells whether something stands between the item's origins.
func (d *Doc) contested(it *item) bool {
	if it.left == 0 {
		return it.right == 0 || d.at(it.right).left != 0
	}
	return d.at(it.left).right != it.right
}

// first gives the leftmost item of a sequence, or of a map's key.
func (t *sharedType) first(sub uint32) ref {
	if sub == 0 {
		return t.start
	}
	return t.keys[sub].first
}

// scanConflicts moves it.left past the items that have to stand left of it.
// Instead of two sets, items carry the number of the scan that saw them.
func (d *Doc) scanConflicts(it *item) {
	var r ref
	if it.left != 0 {
		r = d.at(it.left).right
	} else {
		r = d.types[it.parent].first(it.sub)
	}
	d.scan++
	d.round++
	left, origin, rightOrigin := it.left, it.origin(), it.rightOrigin()
	for r != 0 && r != it.right && !d.spent() {
		d.spend(8)
		o := d.at(r)
		o.seen, o.conflict = d.scan, d.round
		if o.origin() == origin {
			if d.clients[o.client-1].id < d.clients[it.client-1].id {
				left = r
				d.round++
			} else if o.rightOrigin() == rightOrigin {
				break // both end at the same spot: it stands left of o
			}
		} else if o.originClient != 0 {
			before := d.at(d.findRef(o.origin()))
			if before.seen != d.scan {
				break
			}
			if before.conflict != d.round {
				left = r
				d.round++
			}
		} else {
			break
		}
		r = o.right
	}
	it.left = left
}

// delete marks an item as deleted, with all that is in it.
func (d *Doc) delete(r ref) {
	todo := append(d.todo[:0], r)
	for len(todo) > 0 {
		it := d.at(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		if it.deleted {
			continue
		}
		it.deleted = true
		if it.countable() && it.sub == 0 {
			d.types[it.parent].length -= it.length
		}
		d.noteDeleted(it)
		d.noteChanged(it.parent)
		t := d.typeOf(it)
		if t == nil {
			continue
		}
		for child := t.start; child != 0; child = d.at(child).right {
			todo = d.deleteChild(todo, child)
		}
		for _, e := range t.keys {
			todo = d.deleteChild(todo, e.last)
		}
	}
	d.todo = todo
}

// deleteChild queues a child for deletion. One that is deleted already may now
// be merged with its neighbours, if it is older than the transaction.
func (d *Doc) deleteChild(todo []ref, r ref) []ref {
	it := d.at(r)
	if !it.deleted {
		return append(todo, r)
	}
	if it.clock < d.before(it.client) {
		d.tx.split = append(d.tx.split, it.id())
	}
	return todo
}

// applyDeletes deletes what the update says, and what was pending; what is not
// there yet becomes pending.
func (d *Doc) applyDeletes() {
	// In their order a split is next to the last one, which costs the least; and nothing
	// is gone through more than once.
	if !inOrder(d.deletes) {
		d.deletes = joinDeletions(d.deletes)
	}
	kept := 0
	for _, del := range d.deletes {
		kept = d.applyDelete(del, d.deletes, kept)
	}
	d.deletes = d.deletes[:kept]
	if kept > 0 || len(d.pendingDeletes) > 0 {
		d.applyPendingDeletes()
	}
}

// applyPendingDeletes deletes what there now is of what was pending, and adds what
// is left of the update's deletions.
func (d *Doc) applyPendingDeletes() {
	if len(d.deletes) == 0 && !slices.ContainsFunc(d.tx.touched, d.deletesCome) {
		return // most updates are of no use to those that wait, and they may be many
	}
	d.asGiven = false // some of it waits, or what has waited may come in
	// What there was stays as it is, for restore.
	set := make([]deletion, len(d.pendingDeletes), len(d.pendingDeletes)+len(d.deletes))
	kept := 0
	for _, del := range d.pendingDeletes {
		kept = d.applyDelete(del, set, kept)
	}
	d.setPendingDeletes(append(set[:kept], d.deletes...))
	d.deletes = d.deletes[:0]
}

// deletesCome tells whether pending deletions are of something that a client has now.
func (d *Doc) deletesCome(client uint32) bool {
	c := &d.clients[client-1]
	at, _ := slices.BinarySearchFunc(d.pendingDeletes, deletion{client: c.id}, compareDeletions)
	return at < len(d.pendingDeletes) && d.pendingDeletes[at].client == c.id && d.pendingDeletes[at].clock < c.state
}

// applyDelete deletes what there is of a range and keeps the rest of it in
// kept[n].
func (d *Doc) applyDelete(del deletion, kept []deletion, n int) int {
	if d.spent() {
		return n
	}
	state, end := d.stateOf(del.client), del.end()
	if end > state {
		from := max(del.clock, state)
		kept[n] = deletion{del.client, delRange{from, end - from}}
		n++
	}
	if del.clock < state {
		c, _ := d.lookup(del.client)
		d.deleteRange(c, del.clock, min(end, state))
	}
	return n
}

func (d *Doc) deleteRange(client uint32, from, to uint64) {
	c := &d.clients[client-1]
	i := c.find(from)
	if it := d.at(c.refs[i]); !it.deleted && it.clock < from {
		d.splitAt(client, i, from-it.clock)
		i = c.find(from)
	}
	for ; i < len(c.refs) && !d.spent(); i++ {
		r := c.refs[i]
		if r == hole {
			continue
		}
		it := d.at(r)
		if it.clock >= to {
			break
		}
		if it.deleted {
			continue
		}
		last := it.end() >= to
		if it.end() > to {
			d.splitAt(client, i, to-it.clock)
		}
		d.delete(r)
		if last {
			break
		}
	}
}
