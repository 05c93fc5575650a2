package ycrdt

import (
	"errors"
	"fmt"
	"slices"
)

// ErrTooCostly says that an update would take too long to be taken in: see
// Options.MaxWork.
var ErrTooCostly = errors.New("the update makes too much work: its structs contest each other's places too often")

// spend counts work that grows faster than an update: scans of conflicts, splits of
// long content, places made in long lists. What is in proportion to the update's
// size is not counted.
func (d *Doc) spend(steps int) { d.tx.work += steps }

// spent tells whether the update at hand has made too much work.
func (d *Doc) spent() bool { return d.opts.MaxWork >= 0 && d.tx.work > d.opts.MaxWork }

// saved is what an update changes and leaves no trace of.
type saved struct {
	names          int // of roots
	pendingDeletes []deletion
}

// restore makes the document what it was before the update at hand, of which
// nothing has been cleaned up yet, by loading what there was into a new one.
func (d *Doc) restore(before saved) error {
	for _, del := range d.tx.deleted {
		c := &d.clients[del.client-1]
		for i := c.find(del.clock); i < len(c.refs) && c.clocks[i] < del.end(); i++ {
			d.at(c.refs[i]).deleted = false
		}
	}
	waiting := d.waitingBefore()
	opts := d.opts
	opts.ClientID, opts.MaxWork = d.clientID, -1
	fresh := New(opts)
	for _, name := range d.names[:before.names] {
		fresh.root(name)
	}
	if err := fresh.ApplyUpdate(d.encodeBefore()); err != nil {
		return fmt.Errorf("restore the document: %w", err) // never
	}
	for _, t := range d.tx.torn {
		if c, ok := fresh.lookup(d.clients[t.second.client-1].id); ok && t.second.clock < fresh.clients[c-1].state {
			fresh.tx.torn = append(fresh.tx.torn, torn{id{c, t.second.clock}, t.pair})
		}
	}
	fresh.mend()
	fresh.begin()
	fresh.ready, fresh.woken = append(fresh.ready, waiting...), waiting
	for _, g := range waiting {
		fresh.extend(g)
	}
	fresh.integrateReady()
	fresh.closeHoles()
	fresh.keepWaiting()
	fresh.setPendingDeletes(before.pendingDeletes)
	fresh.opts, fresh.clientID = d.opts, d.clientID
	fresh.changes, fresh.arrivals, fresh.mergeCredit = d.changes, d.arrivals, d.mergeCredit
	*d = *fresh
	return ErrTooCostly
}

// waitingBefore gives the groups that waited before the update, as they were.
func (d *Doc) waitingBefore() []*group {
	all := append(slices.Clone(d.woken), d.merged...)
	for _, list := range d.waiting {
		for _, w := range *list {
			if w.group.kept && w.group.before == nil {
				all = append(all, w.group)
			}
		}
	}
	for _, g := range all {
		if g.before != nil {
			g.blocks, g.before = g.before, nil
		}
	}
	slices.SortFunc(all, func(a, b *group) int { return a.arrival - b.arrival })
	return all
}

// encodeBefore writes what the document had before the transaction, version 1.
func (d *Doc) encodeBefore() []byte {
	var e encoder
	var v view
	var deletes []deletion
	for i := range d.clients {
		c := &d.clients[i]
		end := d.before(uint32(i + 1))
		for _, r := range c.refs {
			it := d.at(r)
			if it.clock >= end {
				break
			}
			d.view(&v, it, 0)
			if it.end() > end {
				v.keep(end - it.clock)
			}
			e.add(c.id, it.clock, &v)
			if it.deleted {
				deletes = append(deletes, deletion{c.id, delRange{it.clock, v.length}})
			}
		}
	}
	e.endStructs()
	e.deleteSet(joinDeletions(deletes))
	return e.finish()
}
