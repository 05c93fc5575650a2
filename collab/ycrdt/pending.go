package ycrdt

import (
	"cmp"
	"container/heap"
	"slices"
)

// group holds blocks of one client by clock, maybe with gaps: what an update has
// of that client, or what is left of it.
type group struct {
	client   uint64
	blocks   []block
	buf      []byte // that the blocks' spans are of
	from, to uint32 // of the blocks among the update's
	kept     bool   // blocks and buf are the group's own
	*parking        // if it has ever waited: most never do
}

// parking is what a group has that waits, or has waited.
type parking struct {
	waits   bool
	needs   uint64  // the client that it waits for
	size    int     // bytes that it is charged for
	before  []block // that it had when it was woken
	arrival int     // in which order groups came to wait
}

// isWaiting tells whether a group waits now.
func (g *group) isWaiting() bool { return g.parking != nil && g.waits }

// waiter is a group that cannot go on before its dependency's clock is there.
type waiter struct {
	clock uint64
	group *group
}

// waiters is a heap with the lowest clock on top.
type waiters []waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].clock < w[j].clock }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiters) Push(x any)        { *w = append(room(*w), x.(waiter)) }
func (w *waiters) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

// What a block and a deletion are charged for while they wait, besides content.
const (
	blockSize    = 104
	deletionSize = 24
)

func pendingSize(blocks []block) int {
	size := blockSize * len(blocks)
	for i := range blocks {
		for _, s := range blocks[i].spans() {
			size += int(s.to - s.from)
		}
	}
	return size
}

func (b *block) spans() [4]*span { return [...]*span{&b.name, &b.sub, &b.head, &b.body} }

// wait parks a group until what it needs is there.
func (d *Doc) wait(g *group, needs rawID) {
	// The same update may come again before what it lacks. One of both is enough, but
	// an update that may yet find all that it lacks in itself goes before what waits,
	// as in yjs: see dropRepeated.
	switch same := d.parked[g.place()]; {
	case same == nil || same == g || !same.covers(g):
		d.parked[g.place()] = g
	case g.kept && same.kept:
		g.blocks = nil
		return
	case g.kept:
		d.parked[g.place()] = g
	}
	if g.parking == nil {
		g.parking = new(parking)
	}
	g.waits, g.needs = true, needs.client
	w := d.waiting[needs.client]
	if w == nil {
		w = new(waiters)
		d.waiting[needs.client] = w
	}
	heap.Push(w, waiter{needs.clock, g})
}

// place is the first unit that waits.
func (g *group) place() rawID { return rawID{g.client, g.blocks[0].clock} }

// covers says whether a group can wait in another's stead.
func (g *group) covers(other *group) bool {
	return len(g.blocks) >= len(other.blocks) && g.has(other.blocks)
}

// dropRepeated drops what the update at hand has that waits and has waited before.
func (d *Doc) dropRepeated() {
	var clients []uint64 // that something waited for
	for i := range d.groups {
		g := &d.groups[i]
		if !g.isWaiting() {
			continue
		}
		if same := d.parked[g.place()]; same == nil {
			d.parked[g.place()] = g
		} else if same != g && same.covers(g) {
			g.blocks, g.waits = nil, false
			clients = append(clients, g.needs)
		}
	}
	slices.Sort(clients)
	for _, client := range slices.Compact(clients) {
		w := d.waiting[client]
		*w = slices.DeleteFunc(*w, func(w waiter) bool { return !w.group.waits })
		heap.Init(w)
		if w.Len() == 0 {
			delete(d.waiting, client)
		}
	}
}

// has says whether all that the blocks are of is in the group, too.
func (g *group) has(blocks []block) bool {
	for i := range blocks {
		b := &blocks[i]
		if b.info == kindSkip {
			continue
		}
		at, _ := slices.BinarySearchFunc(g.blocks, b.clock, func(own block, clock uint64) int {
			if own.end() <= clock {
				return -1
			}
			return 1 // the first that ends beyond it is looked for
		})
		for clock := b.clock; clock < b.end(); at++ {
			if at == len(g.blocks) || g.blocks[at].clock > clock || g.blocks[at].info == kindSkip {
				return false
			}
			clock = g.blocks[at].end()
		}
	}
	return true
}

// wake gets the groups ready that waited for what a client now has: at once, or
// those of former updates for retry.
func (d *Doc) wake(client uint64) {
	w := d.waiting[client]
	if w == nil {
		return
	}
	state := d.stateOf(client)
	for w.Len() > 0 && (*w)[0].clock < state {
		g := heap.Pop(w).(waiter).group
		g.waits = false
		if d.parked[g.place()] == g {
			delete(d.parked, g.place())
		}
		if g.kept && g.before == nil {
			d.pendingBytes -= g.size
			g.size, g.before = 0, g.blocks
			d.woken = append(d.woken, g)
		}
		if g.kept && !d.retrying {
			d.later = append(d.later, g)
		} else {
			d.ready = append(d.ready, g)
		}
	}
	if w.Len() == 0 {
		delete(d.waiting, client)
	}
}

// keepWaiting makes the groups that wait now independent of the update they came
// with, of which they may be a small part, and charges for them.
func (d *Doc) keepWaiting() {
	for _, g := range d.woken {
		g.before = nil
		if len(g.blocks) > 0 {
			g.size = blockSize*len(g.blocks) + len(g.buf)
			d.pendingBytes += g.size
		}
	}
	d.woken = d.woken[:0]
	d.dropRepeated()
	any := false
	for i := range d.groups {
		g := &d.groups[i]
		if !g.isWaiting() {
			continue
		}
		any = true
		d.arrivals++
		g.arrival = d.arrivals
		g.own()
		d.pendingBytes += g.size
	}
	if any {
		d.groups = nil // they stay where they are
	}
}

// own copies what a group still has of its update.
func (g *group) own() {
	g.blocks = slices.Clone(g.blocks)
	g.size = pendingSize(g.blocks)
	buf := make([]byte, 0, g.size-blockSize*len(g.blocks))
	for i := range g.blocks {
		for _, s := range g.blocks[i].spans() {
			from := uint32(len(buf))
			buf = append(buf, g.buf[s.from:s.to]...)
			*s = span{from, uint32(len(buf))}
		}
	}
	g.buf, g.kept = buf, true
}

// wouldWait tells whether some of the update that was decoded would have to wait.
// It goes through it as integrateAll does, with nothing but the clocks.
func (d *Doc) wouldWait() bool {
	states := make(map[uint64]uint64, len(d.groups))
	state := func(client uint64) uint64 {
		if s, ok := states[client]; ok {
			return s
		}
		return d.stateOf(client)
	}
	waiting := make(map[uint64]*waiters)
	ready := make([]*group, len(d.groups))
	for i := range d.groups {
		d.groups[i].blocks = d.blocks[d.groups[i].from:d.groups[i].to]
		ready[i] = &d.groups[i]
	}
	for len(ready) > 0 {
		g := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		for ; len(g.blocks) > 0; g.blocks = g.blocks[1:] {
			b := &g.blocks[0]
			if b.info == kindSkip {
				continue
			}
			if needs, blocked := b.missing(g.client, state); blocked {
				if waiting[needs.client] == nil {
					waiting[needs.client] = new(waiters)
				}
				heap.Push(waiting[needs.client], waiter{needs.clock, g})
				break
			}
			states[g.client] = max(state(g.client), b.end())
		}
		w := waiting[g.client]
		for w != nil && w.Len() > 0 && (*w)[0].clock < state(g.client) {
			ready = append(ready, heap.Pop(w).(waiter).group)
		}
	}
	for _, w := range waiting {
		if w.Len() > 0 {
			return true
		}
	}
	for _, del := range d.deletes {
		if del.end() > state(del.client) {
			return true
		}
	}
	return false
}

// setPendingDeletes keeps deletions of what is not there yet.
func (d *Doc) setPendingDeletes(set []deletion) {
	d.pendingBytes -= deletionSize * d.pendingCount
	d.pendingDeletes = joinDeletions(set)
	d.pendingCount = len(d.pendingDeletes)
	d.pendingBytes += deletionSize * d.pendingCount
}

// joinDeletions sorts deletions as yjs writes them, the highest client first and
// then by clock, and joins those that touch.
func joinDeletions(set []deletion) []deletion {
	slices.SortFunc(set, compareDeletions)
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

// inOrder tells whether deletions are sorted and none overlaps another.
func inOrder(set []deletion) bool {
	for i := 1; i < len(set); i++ {
		last, del := set[i-1], set[i]
		if last.client < del.client || last.client == del.client && last.end() > del.clock {
			return false
		}
	}
	return true
}

func compareDeletions(a, b deletion) int {
	return cmp.Or(cmp.Compare(b.client, a.client), cmp.Compare(a.clock, b.clock))
}

// withPending adds what waits to the encoded state, for a peer that has the given
// states, as yjs does: as updates that are merged into it.
func (d *Doc) withPending(state []byte, have map[uint64]uint64, v2 bool) ([]byte, error) {
	var m merger
	if err := m.add(state, v2); err != nil {
		return nil, err // never: it was written a moment ago
	}
	m.deletes = append(m.deletes, d.pendingDeletes...)
	if len(d.waiting) > 0 {
		m.addSource(d.waitingGroups(have))
	}
	return m.merge(v2), nil
}

// waitingGroups gives all that waits as one update would have it, without what is
// known to a peer with the given states.
func (d *Doc) waitingGroups(have map[uint64]uint64) []group {
	var all []*group
	for _, list := range d.waiting {
		for _, w := range *list {
			all = append(all, w.group)
		}
	}
	slices.SortFunc(all, func(a, b *group) int { return cmp.Compare(a.arrival, b.arrival) })
	var m merger
	for _, g := range all {
		m.addSource([]group{*g})
	}
	merged := m.merge(true)
	again := merger{}
	if err := again.add(merged, true); err != nil {
		return nil // never
	}
	return again.diff(have)
}
