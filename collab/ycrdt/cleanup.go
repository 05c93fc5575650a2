package ycrdt

import (
	"cmp"
	"slices"
)

// cleanUp ends a transaction as yjs does, in the same order, so that the store
// has the same structs: deleted content is collected, and what belongs together
// is joined.
func (d *Doc) cleanUp(remote bool) {
	tx := &d.tx
	tx.deleted = joinLocal(tx.deleted)
	var marks []localDel
	if remote && len(tx.types) > 0 {
		marks = d.cleanUpFormats()
	}
	d.collectAndMerge(tx.deleted)
	for _, index := range tx.touched {
		c := &d.clients[index-1]
		if c.state == c.before {
			continue
		}
		d.mergeBetween(index, max(c.find(c.before), 1), len(c.refs)-1)
	}
	d.mergeSplits()
	if len(marks) > 0 {
		// yjs deletes marks in a transaction of its own.
		d.collectAndMerge(joinLocal(marks))
		d.mergeSplits()
		tx.deleted = joinLocal(append(tx.deleted, marks...))
	}
	d.sweep()
}

// collectAndMerge collects what was deleted and joins it with its neighbours.
func (d *Doc) collectAndMerge(deleted []localDel) {
	if !d.opts.DisableGC {
		for _, del := range slices.Backward(deleted) {
			d.collect(del)
		}
	}
	for _, del := range slices.Backward(deleted) {
		d.mergeRange(del)
	}
}

// mergeSplits joins again what had to be split for something that is not there
// any more, or never was.
func (d *Doc) mergeSplits() {
	for _, i := range slices.Backward(d.tx.split) {
		c := &d.clients[i.client-1]
		at := c.find(i.clock)
		if at+1 < len(c.refs) && d.mergeWithLeft(i.client, at+1) > 1 {
			continue
		}
		if at > 0 {
			d.mergeWithLeft(i.client, at)
		}
	}
	d.tx.split = d.tx.split[:0]
}

// joinLocal sorts deletions and joins those that touch.
func joinLocal(set []localDel) []localDel {
	if len(set) < 2 {
		return set
	}
	slices.SortFunc(set, func(a, b localDel) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.clock, b.clock))
	})
	n := 0
	for _, del := range set {
		if n > 0 && set[n-1].client == del.client && set[n-1].end() >= del.clock {
			set[n-1].length = max(set[n-1].end(), del.end()) - set[n-1].clock
			continue
		}
		set[n] = del
		n++
	}
	return set[:n]
}

// mergeRange joins the structs of a deleted range and the one after it.
func (d *Doc) mergeRange(del localDel) {
	c := &d.clients[del.client-1]
	last := min(len(c.refs)-1, 1+c.find(del.end()-1))
	first := last
	for first > 1 && c.clocks[first-1] >= del.clock {
		first--
	}
	if c.clocks[last] >= del.clock {
		d.mergeBetween(del.client, max(first, 1), last)
	}
}

// mergeBetween joins the client's structs from first to last with those left of
// them.
func (d *Doc) mergeBetween(client uint32, first, last int) {
	i, merged := last, false
	for i >= first {
		n := d.mergeRun(client, i)
		merged = merged || n > 0
		i -= 1 + n
	}
	if merged {
		d.clients[client-1].compact(max(i, 0), last+1)
	}
}

// collect drops the content of a deleted range. An item stays, as a place that
// others may refer to; what was in a type that is gone becomes a GC struct.
func (d *Doc) collect(del localDel) {
	c := &d.clients[del.client-1]
	for i := c.find(del.clock); i < len(c.refs); i++ {
		it := d.at(c.refs[i])
		if it.clock >= del.end() {
			break
		}
		if it.isItem() && it.deleted {
			d.collectChildren(it)
			d.dropContent(it)
			it.kind = kindDeleted
		}
	}
}

func (d *Doc) collectChildren(it *item) {
	if it.kind != kindType {
		return
	}
	types := []*sharedType{d.types[it.content]}
	for len(types) > 0 {
		t := types[len(types)-1]
		types = types[:len(types)-1]
		drop := func(r ref) {
			child := d.at(r)
			if child.kind == kindType {
				types = append(types, d.types[child.content])
			}
			d.dropContent(child)
			child.makeGC()
		}
		for r := t.start; r != 0; {
			next := d.at(r).right
			drop(r)
			r = next
		}
		for _, e := range t.keys {
			for r := e.last; r != 0; {
				next := d.at(r).left
				drop(r)
				r = next
			}
		}
		t.start, t.keys = 0, nil
	}
}
