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
	var order map[uint32]int
	if remote && len(tx.types) > 0 {
		order = firstOf(tx.deleted)
	}
	tx.deleted = joinLocal(tx.deleted)
	if remote && len(tx.types) > 0 {
		tx.cleaned = joinLocal(d.cleanUpFormats(order))
	}
	d.collectAndMerge(tx.deleted)
	for _, index := range tx.touched {
		c := &d.clients[index-1]
		if c.state == c.before {
			continue
		}
		gaps := gaps{client: index}
		for i, first := len(c.refs)-1, max(c.find(c.before), 1); i >= first; {
			merged, _ := gaps.merge(d, i)
			i = merged - 1
		}
		gaps.close(d)
	}
	d.mergeSplits()
	if len(tx.cleaned) > 0 {
		// yjs deletes marks in a transaction of its own.
		d.collectAndMerge(tx.cleaned)
		d.mergeSplits()
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
	var gaps gaps
	for _, del := range slices.Backward(deleted) {
		gaps.of(d, del.client)
		d.mergeRange(del, &gaps)
	}
	gaps.close(d)
}

// mergeSplits joins again what had to be split for something that is not there
// any more, or never was. It goes from right to left, so that each client's list
// is closed up once and not for every split.
func (d *Doc) mergeSplits() {
	split := d.tx.split
	slices.SortFunc(split, func(a, b id) int {
		return cmp.Or(cmp.Compare(b.client, a.client), cmp.Compare(b.clock, a.clock))
	})
	var gaps gaps
	for _, i := range split {
		gaps.of(d, i.client)
		c := &d.clients[i.client-1]
		at := c.whole(c.find(i.clock))
		if end := d.at(c.refs[at]).end(); end < c.state {
			if _, joined := gaps.merge(d, c.find(end)); joined > 1 {
				continue
			}
		}
		gaps.merge(d, at)
	}
	gaps.close(d)
	d.tx.split = split[:0]
}

// gaps are the places in one client's list that mergeRun has left empty.
type gaps struct {
	client   uint32
	from, to int // the empty places are between these; none if from is not below to
}

// of makes them those of a client; what was open of another one's is closed up.
func (g *gaps) of(d *Doc, client uint32) {
	if g.client != client {
		g.close(d)
		*g = gaps{client: client}
	}
}

// merge joins the struct at pos with those left of it: see mergeRun.
func (g *gaps) merge(d *Doc, pos int) (first, joined int) {
	first, joined = d.mergeRun(g.client, pos)
	if joined > 0 {
		if g.from >= g.to {
			g.from, g.to = first+1, pos+1
		}
		g.from, g.to = min(g.from, first+1), max(g.to, pos+1)
	}
	return first, joined
}

func (g *gaps) close(d *Doc) {
	if g.from < g.to {
		d.clients[g.client-1].compact(g.from, g.to)
	}
	g.from, g.to = 0, 0
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

// firstOf numbers the clients of deletions in the order in which each came first.
func firstOf(set []localDel) map[uint32]int {
	first := make(map[uint32]int)
	for _, del := range set {
		if _, ok := first[del.client]; !ok {
			first[del.client] = len(first)
		}
	}
	return first
}

// mergeRange joins the structs of a deleted range and the one after it.
func (d *Doc) mergeRange(del localDel, gaps *gaps) {
	c := &d.clients[del.client-1]
	last := c.whole(c.find(del.end() - 1))
	if end := d.at(c.refs[last]).end(); end < c.state {
		last = c.find(end)
	}
	for i := last; i > 0 && c.clocks[i] >= del.clock; {
		merged, _ := gaps.merge(d, i)
		i = merged - 1
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
