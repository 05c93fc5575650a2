package ycrdt

import "slices"

// transaction is what one call changed, for the clean-up after it and for the
// update that tells others.
type transaction struct {
	before  map[uint32]uint64     // state of each client that got structs
	deleted map[uint32][]delRange // in the order of deletion
}

func (d *Doc) begin() *transaction {
	d.split = d.split[:0]
	return &transaction{before: make(map[uint32]uint64), deleted: make(map[uint32][]delRange)}
}

// addStruct appends a struct to its client's part of the store.
func (d *Doc) addStruct(tx *transaction, c uint32, r ref) {
	if _, ok := tx.before[c]; !ok {
		tx.before[c] = d.state(c)
	}
	d.clients[c-1].structs = append(d.clients[c-1].structs, r)
}

// integrateAll takes in blocks and those that waited for what is in them. What
// still lacks something waits on.
func (d *Doc) integrateAll(tx *transaction, ready []*block) {
	for len(ready) > 0 {
		b := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		n := len(b.structs)
		needs := d.advance(tx, b)
		if needs.ok {
			d.wait(b, needs)
		}
		if len(b.structs) == n {
			continue
		}
		// Its client has moved on: wake who waited for that.
		c, ok := d.byID[b.client]
		if !ok {
			continue
		}
		state, waiting := d.state(c), d.waiting[b.client]
		still := waiting[:0]
		for _, w := range waiting {
			if w.clock < state {
				d.pendingBytes -= w.block.size
				ready = append(ready, w.block)
			} else {
				still = append(still, w)
			}
		}
		if len(still) == 0 {
			delete(d.waiting, b.client)
		} else {
			d.waiting[b.client] = still
		}
	}
}

// waiter is a block that cannot go on before its dependency's clock is there.
type waiter struct {
	clock uint64
	block *block
}

func (d *Doc) wait(b *block, needs rawID) {
	// The same update may come again before what it lacks.
	for _, w := range d.waiting[needs.client] {
		if w.block.client == b.client && w.clock == needs.clock && w.block.structs[0].clock == b.structs[0].clock &&
			len(w.block.structs) >= len(b.structs) && w.block.structs[len(w.block.structs)-1].end() >= b.structs[len(b.structs)-1].end() {
			return
		}
	}
	d.waiting[needs.client] = append(d.waiting[needs.client], waiter{needs.clock, b})
	d.pendingBytes += b.size
}

// advance integrates a block's structs as far as it can, takes them off the
// block, and gives what the next one lacks.
func (d *Doc) advance(tx *transaction, b *block) (needs rawID) {
	for len(b.structs) > 0 {
		in := &b.structs[0]
		state := d.stateOf(b.client)
		if in.clock > state {
			return rawID{b.client, in.clock - 1, true}
		}
		if in.end() > state {
			if needs = d.missing(in); needs.ok {
				return needs
			}
			d.integrate(tx, d.intern(b.client), in, state-in.clock)
		}
		b.structs = b.structs[1:]
	}
	return rawID{}
}

func (d *Doc) stateOf(clientID uint64) uint64 {
	if c, ok := d.byID[clientID]; ok {
		return d.state(c)
	}
	return 0
}

// missing gives the first thing that a struct refers to and is not there.
func (d *Doc) missing(in *incoming) rawID {
	for _, i := range [...]rawID{in.origin, in.rightOrigin, in.parentID} {
		if i.ok && i.clock >= d.stateOf(i.client) {
			return i
		}
	}
	return rawID{}
}

func (d *Doc) internID(i rawID) id {
	if !i.ok {
		return id{}
	}
	return id{d.intern(i.client), i.clock}
}

// integrate puts a struct whose dependencies are there into the store, without
// its first offset units, which are there already.
func (d *Doc) integrate(tx *transaction, c uint32, in *incoming, offset uint64) {
	r, it := d.alloc()
	it.id, it.length, it.kind = id{c, in.clock}, in.length, in.kind
	if in.kind == kindGC {
		it.deleted = true
		it.id.clock += offset
		it.length -= offset
		d.addStruct(tx, c, r)
		return
	}
	d.link(r, in)
	if offset > 0 {
		it.id.clock += offset
		it.length -= offset
		it.left = d.cleanEnd(id{c, it.id.clock - 1})
		it.origin = d.at(it.left).lastID()
		_, it.content = splitContent(it.kind, it.content, offset)
	}
	// The update's bytes are not kept alive for the sake of a few of them.
	it.content = slices.Clone(it.content)
	if it.kind == kindType {
		it.typ = &sharedType{item: r, kind: in.typeKind, node: it.content}
		it.content = nil
	}
	d.place(tx, r)
}

// link finds an item's neighbours and parent. A parent that was collected
// leaves it nil, and the item becomes garbage too.
func (d *Doc) link(r ref, in *incoming) {
	it := d.at(r)
	it.content = in.content
	if origin := d.internID(in.origin); origin.set() {
		it.left = d.cleanEnd(origin)
		it.origin = d.at(it.left).lastID()
	}
	if right := d.internID(in.rightOrigin); right.set() {
		it.right = d.cleanStart(right)
		it.rightOrigin = d.at(it.right).id
	}
	leftGC := it.left != 0 && !d.at(it.left).isItem()
	rightGC := it.right != 0 && !d.at(it.right).isItem()
	switch {
	case leftGC || rightGC:
	case in.parent == parentRoot:
		it.parent = d.root(string(in.parentName))
	case in.parent == parentItem:
		it.parent = d.at(d.findRef(d.internID(in.parentID))).typ
	case it.left != 0:
		it.parent, it.sub = d.at(it.left).parent, d.at(it.left).sub
	case it.right != 0:
		it.parent, it.sub = d.at(it.right).parent, d.at(it.right).sub
	}
	if in.hasSub {
		it.sub = d.key(string(in.sub))
	}
}

// place is Yjs's integration (the YATA algorithm, Nicolaescu et al., "Near
// Real-Time Peer-to-Peer Shared Editing on Extensible Data Types", 2016, with
// Yjs's rule for the right origin): it finds the item's place among those
// inserted at the same spot and links it in.
func (d *Doc) place(tx *transaction, r ref) {
	it := d.at(r)
	if it.parent == nil {
		*it = item{id: it.id, length: it.length, kind: kindGC, deleted: true}
		d.addStruct(tx, it.id.client, r)
		return
	}
	if d.contested(it) {
		d.scanConflicts(it)
	}
	parent := it.parent
	if it.left != 0 {
		left := d.at(it.left)
		it.right = left.right
		left.right = r
	} else {
		it.right = d.first(parent, it.sub)
		if it.sub == nil {
			parent.start = r
		}
	}
	if it.right != 0 {
		d.at(it.right).left = r
	} else if it.sub != nil {
		if parent.keys == nil {
			parent.keys = make(map[*string]ref)
		}
		parent.keys[it.sub] = r
		if it.left != 0 {
			d.delete(tx, it.left) // a newer value hides the older one
		}
	}
	if it.sub == nil && it.countable() && !it.deleted {
		parent.length += it.length
	}
	d.addStruct(tx, it.id.client, r)
	if it.kind == kindDeleted {
		it.deleted = true
		tx.deleted[it.id.client] = append(tx.deleted[it.id.client], delRange{it.id.clock, it.length})
	}
	if (parent.item != 0 && d.at(parent.item).deleted) || (it.sub != nil && it.right != 0) {
		d.delete(tx, r)
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
func (d *Doc) first(parent *sharedType, sub *string) ref {
	if sub == nil {
		return parent.start
	}
	r := parent.keys[sub]
	for r != 0 && d.at(r).left != 0 {
		r = d.at(r).left
	}
	return r
}

// scanConflicts moves it.left past the items that have to stand left of it.
// Instead of two sets, items carry the number of the scan that saw them.
func (d *Doc) scanConflicts(it *item) {
	var r ref
	if it.left != 0 {
		r = d.at(it.left).right
	} else {
		r = d.first(it.parent, it.sub)
	}
	d.scan++
	d.round++
	left := it.left
	for r != 0 && r != it.right {
		o := d.at(r)
		o.seen, o.conflict = d.scan, d.round
		if o.origin == it.origin {
			if d.clients[o.id.client-1].id < d.clients[it.id.client-1].id {
				left = r
				d.round++
			} else if o.rightOrigin == it.rightOrigin {
				break // both end at the same spot: it stands left of o
			}
		} else if o.origin.set() && d.at(d.findRef(o.origin)).seen == d.scan {
			if d.at(d.findRef(o.origin)).conflict != d.round {
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
func (d *Doc) delete(tx *transaction, r ref) {
	todo := []ref{r}
	for len(todo) > 0 {
		it := d.at(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		if it.deleted {
			continue
		}
		it.deleted = true
		if it.countable() && it.sub == nil {
			it.parent.length -= it.length
		}
		tx.deleted[it.id.client] = append(tx.deleted[it.id.client], delRange{it.id.clock, it.length})
		if it.typ == nil {
			continue
		}
		for child := it.typ.start; child != 0; child = d.at(child).right {
			todo = d.deleteChild(tx, todo, child)
		}
		for _, child := range it.typ.keys {
			todo = d.deleteChild(tx, todo, child)
		}
	}
}

// deleteChild queues a child for deletion. One that is deleted already may now
// be merged with its neighbours, if it is older than the transaction.
func (d *Doc) deleteChild(tx *transaction, todo []ref, r ref) []ref {
	it := d.at(r)
	if !it.deleted {
		return append(todo, r)
	}
	before, changed := tx.before[it.id.client]
	if !changed || it.id.clock < before {
		d.split = append(d.split, it.id)
	}
	return todo
}

// applyDeletes deletes ranges and gives those whose units are not there yet.
func (d *Doc) applyDeletes(tx *transaction, set []clientRanges) (pending []clientRanges) {
	for _, cr := range set {
		c, known := d.byID[cr.client]
		rest := clientRanges{client: cr.client}
		for _, del := range cr.ranges {
			state, end := uint64(0), del.clock+del.length
			if known {
				state = d.state(c)
			}
			if end > state {
				from := max(del.clock, state)
				rest.ranges = append(rest.ranges, delRange{from, end - from})
			}
			if del.clock < state {
				d.deleteRange(tx, c, del.clock, min(end, state))
			}
		}
		if len(rest.ranges) > 0 {
			pending = append(pending, rest)
		}
	}
	return pending
}

func (d *Doc) deleteRange(tx *transaction, c uint32, from, to uint64) {
	i := d.find(c, from)
	if it := d.at(d.clients[c-1].structs[i]); !it.deleted && it.id.clock < from {
		d.splitAt(c, i, from-it.id.clock)
		i++
	}
	for ; i < len(d.clients[c-1].structs); i++ {
		r := d.clients[c-1].structs[i]
		it := d.at(r)
		if it.id.clock >= to {
			break
		}
		if it.deleted {
			continue
		}
		if it.end() > to {
			d.splitAt(c, i, to-it.id.clock)
		}
		d.delete(tx, r)
	}
}
