package ycrdt

import (
	"cmp"
	"slices"
)

// encodeWithPending writes the document as a peer that has the given states
// lacks it, with what is pending: after each client's structs, a skip over what
// has not come, and then what waits for it.
func (d *Doc) encodeWithPending(have map[uint64]uint64) []byte {
	waiting := d.pendingByClient()
	ids := make([]uint64, 0, len(waiting)+len(d.clients))
	for c := range waiting {
		ids = append(ids, c)
	}
	for i := range d.clients {
		if _, ok := waiting[d.clients[i].id]; !ok {
			ids = append(ids, d.clients[i].id)
		}
	}
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Compare(b, a) })
	var body []byte
	n := 0
	for _, clientID := range ids {
		if part := d.appendClient(nil, clientID, have[clientID], waiting[clientID]); part != nil {
			body = append(body, part...)
			n++
		}
	}
	b := append(appendUint(nil, uint64(n)), body...)
	return d.appendPendingDeletes(b)
}

// pendingByClient sorts what waits by clock.
func (d *Doc) pendingByClient() map[uint64][]incoming {
	all := make(map[uint64][]incoming)
	for _, list := range d.waiting {
		for _, w := range list {
			all[w.block.client] = append(all[w.block.client], w.block.structs...)
		}
	}
	for _, structs := range all {
		slices.SortStableFunc(structs, func(a, b incoming) int { return cmp.Compare(a.clock, b.clock) })
	}
	return all
}

func (d *Doc) appendClient(b []byte, clientID, from uint64, waiting []incoming) []byte {
	var body []byte
	count, start, at := 0, from, from
	if c, ok := d.byID[clientID]; ok && d.state(c) > from {
		s := d.clients[c-1].structs
		first := d.find(c, from)
		for i, r := range s[first:] {
			offset := uint64(0)
			if i == 0 {
				offset = from - d.at(r).id.clock
			}
			body = d.appendStruct(body, d.at(r), offset)
			count++
		}
		at = d.state(c)
	}
	for i := range waiting {
		in := &waiting[i]
		if in.end() <= at {
			continue
		}
		switch {
		case count == 0:
			start = max(in.clock, from)
			at = start
		case in.clock > at:
			body = appendUint(append(body, kindSkip), in.clock-at)
			count++
			at = in.clock
		}
		body = appendIncoming(body, clientID, in, at-in.clock)
		count++
		at = in.end()
	}
	if count == 0 {
		return nil
	}
	b = appendUint(b, uint64(count))
	b = appendUint(b, clientID)
	b = appendUint(b, start)
	return append(b, body...)
}

// appendIncoming writes a struct that is not in the store, without its first
// offset units.
func appendIncoming(b []byte, clientID uint64, in *incoming, offset uint64) []byte {
	if in.kind == kindGC {
		return appendUint(append(b, kindGC), in.length-offset)
	}
	origin := in.origin
	if offset > 0 {
		origin = rawID{clientID, in.clock + offset - 1, true}
	}
	info := in.kind
	if origin.ok {
		info |= infoOrigin
	}
	if in.rightOrigin.ok {
		info |= infoRightOrigin
	}
	if in.hasSub {
		info |= infoSub
	}
	b = append(b, info)
	if origin.ok {
		b = appendUint(appendUint(b, origin.client), origin.clock)
	}
	if in.rightOrigin.ok {
		b = appendUint(appendUint(b, in.rightOrigin.client), in.rightOrigin.clock)
	}
	if !origin.ok && !in.rightOrigin.ok {
		if in.parent == parentRoot {
			b = appendText(appendUint(b, 1), in.parentName)
		} else {
			b = appendUint(appendUint(appendUint(b, 0), in.parentID.client), in.parentID.clock)
		}
		if in.hasSub {
			b = appendText(b, in.sub)
		}
	}
	return appendContent(b, in.kind, in.typeKind, in.content, in.length, offset)
}

// appendPendingDeletes writes the delete set of the store and of what is
// pending, together.
func (d *Doc) appendPendingDeletes(b []byte) []byte {
	var all []clientRanges
	for c, ranges := range d.deleteSet() {
		all = append(all, clientRanges{d.clients[c-1].id, ranges})
	}
	for _, p := range d.pendingDeletes {
		all = append(all, clientRanges{p.client, slices.Clone(p.ranges)})
	}
	all = joinRanges(all)
	slices.SortFunc(all, func(x, y clientRanges) int { return cmp.Compare(y.client, x.client) })
	b = appendUint(b, uint64(len(all)))
	for _, cr := range all {
		b = appendRanges(appendUint(b, cr.client), cr.ranges)
	}
	return b
}
