package ycrdt

import (
	"cmp"
	"slices"
)

// encoder writes an update, version 1 or 2. How many structs a client has stands
// before them: either begin is told, or add and endStructs find out.
type encoder struct {
	v2   bool
	rest []byte // of version 1: all

	groups  []byte // of add: the clients that are finished
	clients int
	client  uint64
	clock   uint64 // where its last struct ended
	structs int    // of this client, so far

	keyClock, leftClock, rightClock diffEncoder
	clientIDs, typeKinds, lengths   uintEncoder
	infos, parentInfos              byteEncoder
	text                            []byte
	textLengths                     uintEncoder
	keys                            uint64
}

// view is a struct as it is to be written.
type view struct {
	info                        uint8
	parentIs                    uint8 // not looked at if there is an origin
	typeKind                    uint8
	anyValue                    bool
	origin, rightOrigin, parent rawID
	length                      uint64
	name, sub, head, body       []byte
}

// begin begins a client's structs, at a clock.
func (e *encoder) begin(client, clock uint64) {
	if e.v2 {
		e.clientIDs.write(client)
	} else {
		e.rest = appendUint(e.rest, client)
	}
	e.rest = appendUint(e.rest, clock)
}

// add writes a struct. One that does not go on where the last one ended begins
// another stretch, of the same client or another.
func (e *encoder) add(client, clock uint64, v *view) {
	if e.structs == 0 || client != e.client || clock != e.clock {
		e.endClient()
		e.client = client
		e.clients++
		e.begin(client, clock)
	}
	e.structs++
	e.clock = clock + v.length
	e.write(v)
}

// skipTo leaves out what there is between the last struct, if it is of that client, and a
// clock.
func (e *encoder) skipTo(client, clock uint64) {
	if e.structs > 0 && e.client == client && e.clock < clock {
		e.add(client, e.clock, &view{info: kindSkip, length: clock - e.clock})
	}
}

func (e *encoder) endClient() {
	if e.structs > 0 {
		e.groups = append(appendUint(e.groups, uint64(e.structs)), e.rest...)
		e.rest, e.structs = e.rest[:0], 0
	}
}

// endStructs comes after the last add.
func (e *encoder) endStructs() {
	e.endClient()
	e.rest = append(appendUint(e.rest[:0], uint64(e.clients)), e.groups...)
	e.groups = nil
}

// write writes a struct of the client that begin named.
func (e *encoder) write(v *view) {
	e.info(v.info)
	switch v.info & infoKind {
	case kindGC:
		e.length(v.length)
		return
	case kindSkip:
		e.rest = appendUint(e.rest, v.length)
		return
	}
	if v.info&infoOrigin != 0 {
		e.id(v.origin, &e.leftClock)
	}
	if v.info&infoRightOrigin != 0 {
		e.id(v.rightOrigin, &e.rightClock)
	}
	if v.info&(infoOrigin|infoRightOrigin) == 0 {
		if v.parentIs == parentRoot {
			e.parentInfo(1)
			e.string(v.name)
		} else {
			e.parentInfo(0)
			e.id(v.parent, &e.leftClock)
		}
		if v.info&infoSub != 0 {
			e.string(v.sub)
		}
	}
	e.content(v)
}

func (e *encoder) info(info uint8) {
	if e.v2 {
		e.infos.write(info)
	} else {
		e.rest = append(e.rest, info)
	}
}

func (e *encoder) parentInfo(root byte) {
	if e.v2 {
		e.parentInfos.write(root)
	} else {
		e.rest = append(e.rest, root)
	}
}

func (e *encoder) id(i rawID, clocks *diffEncoder) {
	if e.v2 {
		e.clientIDs.write(i.client)
		clocks.write(i.clock)
	} else {
		e.rest = appendUint(appendUint(e.rest, i.client), i.clock)
	}
}

func (e *encoder) length(n uint64) {
	if e.v2 {
		e.lengths.write(n)
	} else {
		e.rest = appendUint(e.rest, n)
	}
}

func (e *encoder) string(s []byte) {
	if e.v2 {
		e.text = append(e.text, s...)
		e.textLengths.write(uint64(utf16Len(s)))
	} else {
		e.rest = appendText(e.rest, s)
	}
}

// key writes a string of which version 2 counts the occurrences. It has a place
// for saying that a key came before, which yjs does not use; nor does this.
func (e *encoder) key(s []byte) {
	if e.v2 {
		e.keyClock.write(e.keys)
		e.keys++
	}
	e.string(s)
}

func (e *encoder) content(v *view) {
	switch v.info & infoKind {
	case kindDeleted:
		e.length(v.length)
	case kindJSON:
		e.length(v.length)
		if !e.v2 {
			e.rest = append(e.rest, v.body...)
			return
		}
		r := reader{buf: v.body}
		for range v.length {
			e.string(r.bytes())
		}
	case kindAny:
		e.length(v.length)
		e.rest = append(e.rest, v.body...)
	case kindBinary:
		e.rest = appendText(e.rest, v.body)
	case kindString:
		e.string(v.body)
	case kindEmbed:
		e.json(v)
	case kindFormat:
		e.key(v.head)
		e.json(v)
	case kindType:
		if e.v2 {
			e.typeKinds.write(uint64(v.typeKind))
		} else {
			e.rest = append(e.rest, v.typeKind)
		}
		if v.typeKind == typeXMLElement || v.typeKind == typeXMLHook {
			e.key(v.head)
		}
	case kindDoc:
		e.string(v.head)
		e.rest = append(e.rest, v.body...)
	}
}

// json writes a value that version 1 holds as JSON and version 2 does not.
func (e *encoder) json(v *view) {
	switch {
	case e.v2 && v.anyValue:
		e.rest = append(e.rest, v.body...)
	case e.v2:
		e.rest = appendAny(e.rest, decodeJSON(v.body))
	case v.anyValue:
		r := reader{buf: v.body}
		e.rest = appendText(e.rest, appendJSON(nil, r.any()))
	default:
		e.rest = appendText(e.rest, v.body)
	}
}

// deleteSet writes deletions that are by client, the highest first, and clock.
func (e *encoder) deleteSet(set []deletion) {
	clients := 0
	for i := range set {
		if i == 0 || set[i].client != set[i-1].client {
			clients++
		}
	}
	e.rest = appendUint(e.rest, uint64(clients))
	for len(set) > 0 {
		n := 1
		for n < len(set) && set[n].client == set[0].client {
			n++
		}
		e.rest = appendUint(appendUint(e.rest, set[0].client), uint64(n))
		at := uint64(0)
		for _, del := range set[:n] {
			if e.v2 {
				e.rest = appendUint(appendUint(e.rest, del.clock-at), del.length-1)
				at = del.end()
			} else {
				e.rest = appendUint(appendUint(e.rest, del.clock), del.length)
			}
		}
		set = set[n:]
	}
}

// finish gives the update.
func (e *encoder) finish() []byte {
	if !e.v2 {
		return e.rest
	}
	lengths := e.textLengths.finish()
	strings := append(appendText(nil, e.text), lengths...)
	columns := [...][]byte{
		e.keyClock.finish(), e.clientIDs.finish(), e.leftClock.finish(), e.rightClock.finish(), e.infos.buf,
		strings, e.parentInfos.buf, e.typeKinds.finish(), e.lengths.finish(),
	}
	size := 1 + len(e.rest)
	for _, c := range columns {
		size += len(c) + 5
	}
	b := append(make([]byte, 0, size), 0) // the feature flag
	for _, c := range columns {
		b = appendText(b, c)
	}
	return append(b, e.rest...)
}

// encodeChanges writes what the last transaction brought, version 1. It takes no longer than
// that is, however large the document.
func (d *Doc) encodeChanges() []byte {
	clients, torn := slices.Clone(d.tx.touched), d.tornBefore()
	for _, second := range torn {
		clients = append(clients, second.client)
	}
	d.sortClients(clients)
	e := new(encoder)
	var v view
	for _, index := range slices.Compact(clients) {
		c, before := &d.clients[index-1], d.before(index)
		for ; len(torn) > 0 && torn[0].client == index; torn = torn[1:] {
			var half view
			it, clock := d.at(d.findRef(torn[0])), torn[0].clock
			d.view(&half, it, clock-it.clock)
			half.keep(1)
			e.skipTo(c.id, clock)
			e.add(c.id, clock, &half)
		}
		if c.state == before {
			continue
		}
		e.skipTo(c.id, before)
		for _, r := range c.refs[c.find(before):] {
			it := d.at(r)
			clock := max(before, it.clock)
			d.view(&v, it, clock-it.clock)
			e.add(c.id, clock, &v)
		}
	}
	e.endStructs()
	e.deleteSet(d.deletions(d.tx.deleted))
	return e.finish()
}

// encodeCleaned writes the deletions of what the clean-up after the last transaction found
// redundant, version 1, or gives nil.
func (d *Doc) encodeCleaned() []byte {
	if len(d.tx.cleaned) == 0 {
		return nil
	}
	e := new(encoder)
	e.endStructs()
	e.deleteSet(d.deletions(d.tx.cleaned))
	return e.finish()
}

// deletions gives deletions as they are in updates.
func (d *Doc) deletions(local []localDel) []deletion {
	deletes := make([]deletion, len(local))
	for i, del := range local {
		deletes[i] = deletion{d.clients[del.client-1].id, del.delRange}
	}
	return joinDeletions(deletes)
}

// tornBefore gives the second halves of characters that the last transaction has torn and
// that were there before it, in the order of an update. A peer that takes in such a half,
// which begins within a character that it has, tears that too.
func (d *Doc) tornBefore() []id {
	var seconds []id
	for _, t := range d.tx.torn {
		if t.second.clock < d.before(t.second.client) {
			seconds = append(seconds, t.second)
		}
	}
	slices.SortFunc(seconds, func(a, b id) int {
		return cmp.Or(cmp.Compare(d.clients[b.client-1].id, d.clients[a.client-1].id), cmp.Compare(a.clock, b.clock))
	})
	return slices.Compact(seconds)
}

// encodeMissing writes what a peer with the given states lacks, without what waits.
func (d *Doc) encodeMissing(have map[uint64]uint64, v2 bool) []byte {
	clients := make([]uint32, len(d.clients))
	lacking, structs := 0, 0
	for i := range d.clients {
		clients[i] = uint32(i + 1)
		if d.clients[i].state > have[d.clients[i].id] {
			lacking++
			structs += len(d.clients[i].refs)
		}
	}
	d.sortClients(clients)
	e := &encoder{v2: v2}
	if v2 {
		e.text = make([]byte, 0, d.live)
	} else {
		e.rest = make([]byte, 0, 64+12*structs+d.live)
	}
	e.rest = appendUint(e.rest, uint64(lacking))
	deletes := make([]deletion, 0, d.ranges)
	var v view
	for _, index := range clients {
		c := &d.clients[index-1]
		clock, at := have[c.id], len(c.refs)
		if c.state > clock {
			at = c.find(clock)
			e.rest = appendUint(e.rest, uint64(len(c.refs)-at))
			e.begin(c.id, clock)
		}
		first := len(deletes)
		// One pass for both: looking at every item twice is a third of the time.
		for i := range c.refs {
			it := d.at(c.refs[i])
			if it.deleted {
				deletes = appendDeletion(deletes, first, c.id, it)
			}
			switch {
			case i < at:
			case !v2 && i > at && it.originClient != 0 && (it.kind == kindString || it.kind == kindDeleted):
				e.rest = d.appendText(e.rest, it)
			default:
				d.view(&v, it, max(clock, it.clock)-it.clock)
				e.write(&v)
			}
		}
	}
	d.ranges = len(deletes)
	e.deleteSet(deletes)
	return e.finish()
}

// appendText writes, in version 1, a text or a deleted item that has an origin. It
// is what most of a document is, and this takes half the time of view and write.
func (d *Doc) appendText(b []byte, it *item) []byte {
	info := it.kind | infoOrigin
	if it.rightClient != 0 {
		info |= infoRightOrigin
	}
	if it.sub != 0 {
		info |= infoSub
	}
	b = append(b, info)
	b = appendUint(appendUint(b, d.clients[it.originClient-1].id), it.originClock)
	if it.rightClient != 0 {
		b = appendUint(appendUint(b, d.clients[it.rightClient-1].id), it.rightClock)
	}
	if it.kind == kindDeleted {
		return appendUint(b, it.length)
	}
	return appendText(b, d.arena[it.content:it.content+it.size])
}

// rawID gives an id as peers know it.
func (d *Doc) rawID(i id) rawID { return rawID{d.clients[i.client-1].id, i.clock} }

// view sets v to an item without its first offset units.
func (d *Doc) view(v *view, it *item, offset uint64) {
	v.info, v.length = it.kind, it.length-offset
	if it.kind == kindGC {
		return
	}
	if origin := it.origin(); offset > 0 {
		v.info |= infoOrigin
		v.origin = rawID{d.clients[it.client-1].id, it.clock + offset - 1}
	} else if origin.set() {
		v.info |= infoOrigin
		v.origin = d.rawID(origin)
	}
	if it.rightClient != 0 {
		v.info |= infoRightOrigin
		v.rightOrigin = d.rawID(it.rightOrigin())
	}
	if it.sub != 0 {
		v.info |= infoSub
		v.sub = d.keys[it.sub]
	}
	if v.info&(infoOrigin|infoRightOrigin) == 0 {
		if t := d.types[it.parent]; t.item == 0 {
			v.parentIs, v.name = parentRoot, t.name
		} else {
			v.parentIs, v.parent = parentItem, d.rawID(d.at(t.item).id())
		}
	}
	v.body = d.bytes(it)
	switch it.kind {
	case kindType:
		t := d.types[it.content]
		v.typeKind, v.head = t.kind, t.node
	case kindFormat, kindDoc:
		v.anyValue = it.anyValue
		v.head, v.body = splitHead(v.body)
	case kindEmbed:
		v.anyValue = it.anyValue
	case kindAny, kindJSON, kindString:
		if offset > 0 {
			v.body = dropUnits(it.kind, v.body, offset)
		}
	}
}

// splitHead splits the content of a format or a document into its name and value.
func splitHead(content []byte) (head, value []byte) {
	r := reader{buf: content}
	head = r.bytes()
	return head, content[r.pos:]
}

// dropUnits gives content without its first units.
func dropUnits(kind uint8, content []byte, units uint64) []byte {
	at, inPair := unitOffset(kind, content, units)
	if inPair {
		return append([]byte(replacement), content[at+4:]...)
	}
	return content[at:]
}

// deleted lists all that is deleted in the store, as yjs writes it.
func (d *Doc) deleted() []deletion {
	clients := make([]uint32, len(d.clients))
	for i := range clients {
		clients[i] = uint32(i + 1)
	}
	d.sortClients(clients)
	var set []deletion
	for _, index := range clients {
		c, first := &d.clients[index-1], len(set)
		for _, r := range c.refs {
			if it := d.at(r); it.deleted {
				set = appendDeletion(set, first, c.id, it)
			}
		}
	}
	return set
}

// appendDeletion appends a deleted item of a client whose deletions begin at first.
func appendDeletion(set []deletion, first int, client uint64, it *item) []deletion {
	if n := len(set); n > first && set[n-1].end() == it.clock {
		set[n-1].length += it.length
		return set
	}
	return append(set, deletion{client, delRange{it.clock, it.length}})
}
