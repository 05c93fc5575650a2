package ycrdt

import (
	"cmp"
	"slices"
)

// cleanUp ends a transaction as yjs does, in the same order, so that the store
// has the same structs: deleted content is collected, and what belongs together
// is joined.
func (d *Doc) cleanUp(tx *transaction) {
	for c, ranges := range tx.deleted {
		tx.deleted[c] = mergeRanges(ranges)
	}
	if !d.opts.DisableGC {
		for c, ranges := range tx.deleted {
			for _, r := range slices.Backward(ranges) {
				d.collect(c, r)
			}
		}
	}
	for c, ranges := range tx.deleted {
		for _, r := range slices.Backward(ranges) {
			d.mergeRange(c, r)
		}
	}
	for c, before := range tx.before {
		if d.state(c) == before {
			continue
		}
		first := max(d.find(c, before), 1)
		for i := len(d.clients[c-1].structs) - 1; i >= first; {
			i -= 1 + d.mergeWithLeft(c, i)
		}
	}
	for _, i := range slices.Backward(d.split) {
		at := d.find(i.client, i.clock)
		if at+1 < len(d.clients[i.client-1].structs) && d.mergeWithLeft(i.client, at+1) > 1 {
			continue
		}
		if at > 0 {
			d.mergeWithLeft(i.client, at)
		}
	}
	d.split = d.split[:0]
}

// mergeRanges sorts ranges and joins those that touch.
func mergeRanges(ranges []delRange) []delRange {
	slices.SortFunc(ranges, func(a, b delRange) int { return cmp.Compare(a.clock, b.clock) })
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && merged[n-1].clock+merged[n-1].length >= r.clock {
			last := &merged[n-1]
			last.length = max(last.length, r.clock+r.length-last.clock)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// mergeRange joins the structs of a deleted range and the one after it.
func (d *Doc) mergeRange(c uint32, r delRange) {
	s := d.clients[c-1].structs
	i := min(len(s)-1, 1+d.find(c, r.clock+r.length-1))
	for i > 0 && d.at(d.clients[c-1].structs[i]).id.clock >= r.clock {
		i -= 1 + d.mergeWithLeft(c, i)
	}
}

// collect drops the content of a deleted range. An item stays, as a place that
// others may refer to; what was in a type that is gone becomes a GC struct.
func (d *Doc) collect(c uint32, r delRange) {
	s := d.clients[c-1].structs
	for i := d.find(c, r.clock); i < len(s); i++ {
		it := d.at(s[i])
		if it.id.clock >= r.clock+r.length {
			break
		}
		if it.isItem() && it.deleted {
			d.collectChildren(it)
			it.kind, it.content, it.typ = kindDeleted, nil, nil
		}
	}
}

func (d *Doc) collectChildren(it *item) {
	if it.typ == nil {
		return
	}
	types := []*sharedType{it.typ}
	for len(types) > 0 {
		t := types[len(types)-1]
		types = types[:len(types)-1]
		drop := func(r ref) {
			child := d.at(r)
			if child.typ != nil {
				types = append(types, child.typ)
			}
			*child = item{id: child.id, length: child.length, kind: kindGC, deleted: true}
		}
		for r := t.start; r != 0; {
			next := d.at(r).right
			drop(r)
			r = next
		}
		for _, r := range t.keys {
			for r != 0 {
				next := d.at(r).left
				drop(r)
				r = next
			}
		}
		t.start, t.keys = 0, nil
	}
}
