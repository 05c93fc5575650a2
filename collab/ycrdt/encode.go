package ycrdt

import (
	"cmp"
	"slices"
)

// appendID writes an id.
func (d *Doc) appendID(b []byte, i id) []byte {
	return appendUint(appendUint(b, d.clients[i.client-1].id), i.clock)
}

// encodeFrom writes the structs that a peer with the given states lacks, and a
// delete set.
func (d *Doc) encodeFrom(b []byte, from func(c uint32) uint64, deletes map[uint32][]delRange) []byte {
	var clients []uint32
	for i := range d.clients {
		c := uint32(i + 1)
		if d.state(c) > from(c) {
			clients = append(clients, c)
		}
	}
	d.sortClients(clients)
	b = appendUint(b, uint64(len(clients)))
	for _, c := range clients {
		b = d.appendStructs(b, c, from(c))
	}
	return d.appendDeleteSet(b, deletes)
}

// sortClients orders clients as yjs writes them, the highest id first.
func (d *Doc) sortClients(clients []uint32) {
	slices.SortFunc(clients, func(x, y uint32) int { return cmp.Compare(d.clients[y-1].id, d.clients[x-1].id) })
}

func (d *Doc) appendStructs(b []byte, c uint32, clock uint64) []byte {
	s := d.clients[c-1].structs
	at := d.find(c, clock)
	b = appendUint(b, uint64(len(s)-at))
	b = appendUint(b, d.clients[c-1].id)
	b = appendUint(b, clock)
	b = d.appendStruct(b, d.at(s[at]), clock-d.at(s[at]).id.clock)
	for _, r := range s[at+1:] {
		b = d.appendStruct(b, d.at(r), 0)
	}
	return b
}

// appendStruct writes a struct without its first offset units.
func (d *Doc) appendStruct(b []byte, it *item, offset uint64) []byte {
	if it.kind == kindGC {
		return appendUint(append(b, kindGC), it.length-offset)
	}
	origin := it.origin
	if offset > 0 {
		origin = id{it.id.client, it.id.clock + offset - 1}
	}
	info := it.kind
	if origin.set() {
		info |= infoOrigin
	}
	if it.rightOrigin.set() {
		info |= infoRightOrigin
	}
	if it.sub != nil {
		info |= infoSub
	}
	b = append(b, info)
	if origin.set() {
		b = d.appendID(b, origin)
	}
	if it.rightOrigin.set() {
		b = d.appendID(b, it.rightOrigin)
	}
	if !origin.set() && !it.rightOrigin.set() {
		if it.parent.item == 0 {
			b = appendText(appendUint(b, 1), []byte(it.parent.name))
		} else {
			b = d.appendID(appendUint(b, 0), d.at(it.parent.item).id)
		}
		if it.sub != nil {
			b = appendText(b, []byte(*it.sub))
		}
	}
	if it.kind == kindType {
		return appendContent(b, it.kind, it.typ.kind, it.typ.node, it.length, 0)
	}
	return appendContent(b, it.kind, 0, it.content, it.length, offset)
}

// appendContent writes an item's content without its first offset units.
func appendContent(b []byte, kind, typeKind uint8, content []byte, length, offset uint64) []byte {
	if offset > 0 {
		_, content = splitContent(kind, content, offset)
	}
	switch kind {
	case kindDeleted:
		return appendUint(b, length-offset)
	case kindJSON, kindAny:
		return append(appendUint(b, length-offset), content...)
	case kindType:
		b = appendUint(b, uint64(typeKind))
		if typeKind == typeXMLElement || typeKind == typeXMLHook {
			b = appendText(b, content)
		}
		return b
	case kindFormat, kindDoc:
		return append(b, content...)
	}
	return appendText(b, content) // string, binary, embed
}

func (d *Doc) appendDeleteSet(b []byte, set map[uint32][]delRange) []byte {
	clients := make([]uint32, 0, len(set))
	for c := range set {
		clients = append(clients, c)
	}
	d.sortClients(clients)
	b = appendUint(b, uint64(len(clients)))
	for _, c := range clients {
		b = appendUint(b, d.clients[c-1].id)
		b = appendRanges(b, set[c])
	}
	return b
}

func appendRanges(b []byte, ranges []delRange) []byte {
	b = appendUint(b, uint64(len(ranges)))
	for _, r := range ranges {
		b = appendUint(appendUint(b, r.clock), r.length)
	}
	return b
}

// deleteSet lists all that is deleted in the store.
func (d *Doc) deleteSet() map[uint32][]delRange {
	set := make(map[uint32][]delRange)
	for i := range d.clients {
		c := uint32(i + 1)
		var ranges []delRange
		for _, r := range d.clients[i].structs {
			it := d.at(r)
			if !it.deleted {
				continue
			}
			if n := len(ranges); n > 0 && ranges[n-1].clock+ranges[n-1].length == it.id.clock {
				ranges[n-1].length += it.length
			} else {
				ranges = append(ranges, delRange{it.id.clock, it.length})
			}
		}
		if len(ranges) > 0 {
			set[c] = ranges
		}
	}
	return set
}
