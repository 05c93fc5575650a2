package ycrdt

import (
	"bytes"
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

// someWaits tells whether something of the update at hand waits.
func (d *Doc) someWaits() bool {
	for i := range d.groups {
		if d.groups[i].isWaiting() {
			return true
		}
	}
	return false
}

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
	d.extend(g)
}

// extent is from where to where something of a client waits; there may be more
// than it in between.
type extent struct {
	from, to uint64
	groups   int
}

// extend notes that a group waits.
func (d *Doc) extend(g *group) {
	from, to := g.blocks[0].clock, g.end()
	e, ok := d.extents[g.client]
	if !ok {
		e.from = from
	} else if !g.kept && from < e.to && e.from < to {
		d.overlap = true
	}
	d.extents[g.client] = extent{min(e.from, from), max(e.to, to), e.groups + 1}
}

// retract notes that a group does not wait any more.
func (d *Doc) retract(client uint64) {
	if e := d.extents[client]; e.groups > 1 {
		e.groups--
		d.extents[client] = e
	} else {
		delete(d.extents, client)
	}
}

// To merge what waits takes as long as there is much of it, however small the update
// is that comes. So an update brings credit for it, and where there is none left what
// overlaps waits as it came: of what is torn another piece may stay than with yjs.
const (
	maxMergeCredit     = 256 << 20
	mergeCreditPerByte = 1000
)

// mergeWaiting makes one of what waits and what is to wait of the update at hand, if
// they overlap. yjs has what waits as one update into which it merges the rest of each
// that comes. Pieces that somebody cut of updates overlap, and then it decides about
// what a piece has torn which of them stays and which is cut.
func (d *Doc) mergeWaiting() {
	overlap := d.overlap
	d.overlap = false
	if !overlap || d.spent() {
		return
	}
	d.mergeCredit = min(d.mergeCredit+mergeCreditPerByte*len(d.dec.buf), maxMergeCredit)
	if d.pendingBytes > d.mergeCredit {
		return
	}
	kept, fresh := slices.Clone(d.later), []*group(nil)
	for _, list := range d.waiting {
		for _, w := range *list {
			if w.group.kept {
				kept = append(kept, w.group)
			}
		}
	}
	for i := range d.groups {
		if g := &d.groups[i]; g.isWaiting() {
			fresh = append(fresh, g)
		}
	}
	slices.SortFunc(kept, func(a, b *group) int { return cmp.Compare(a.arrival, b.arrival) }) // of equals the first counts
	kept, fresh = inWrittenOrder(kept), inWrittenOrder(fresh)
	d.mergeCredit -= d.pendingBytes / 16 // for what was looked at
	if !overlapping(kept, fresh) || d.allRepeated(fresh) {
		return
	}
	d.mergeCredit -= d.pendingBytes
	var m, again merger
	m.addSources(kept)
	before := m.merge(true)
	m.addSources(fresh)
	after := m.merge(true)
	if bytes.Equal(before, after) { // nothing is new
		for _, g := range kept {
			if g.waits {
				d.parked[g.place()] = g
			}
		}
		d.drop(fresh)
		return
	}
	if err := again.add(after, true); err != nil {
		return // never
	}
	// It is the update's now; restore has the old ones.
	for _, g := range kept {
		d.pendingBytes -= g.size
	}
	retry := len(d.later) > 0
	d.merged, d.woken, d.later = kept, d.woken[:0], d.later[:0]
	clear(d.waiting)
	clear(d.parked)
	clear(d.extents)
	d.groups = again.groups()
	for i := len(d.groups) - 1; i >= 0; i-- {
		g := &d.groups[i]
		if needs, blocked := d.firstMissing(g); blocked && !retry {
			d.wait(g, needs)
		} else {
			d.later = append(d.later, g)
		}
	}
}

// firstMissing gives what the first block of a group that lacks something lacks.
func (d *Doc) firstMissing(g *group) (needs rawID, blocked bool) {
	for i := range g.blocks {
		if g.blocks[i].info == kindSkip {
			continue
		}
		if needs, blocked = g.blocks[i].missing(g.client, d.stateOf); blocked {
			return needs, true
		}
	}
	return rawID{}, false
}

// inWrittenOrder sorts groups as an update has them.
func inWrittenOrder(groups []*group) []*group {
	slices.SortStableFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.client, a.client), cmp.Compare(a.blocks[0].clock, b.blocks[0].clock))
	})
	return groups
}

// addSources adds groups that are in order as one source, and as more of them what
// overlaps within them.
func (m *merger) addSources(groups []*group) {
	source, more := make([]group, 0, len(groups)), [][]group(nil)
	for _, g := range groups {
		if n := len(source); n > 0 && source[n-1].client == g.client && source[n-1].end() > g.blocks[0].clock {
			more = append(more, []group{*g})
			continue
		}
		source = append(source, *g)
	}
	m.sources = append(append(m.sources, source), more...)
}

func (g *group) end() uint64 { return g.blocks[len(g.blocks)-1].end() }

// overlapping tells whether a unit is in groups of both lists, which are in order.
func overlapping(a, b []*group) bool {
	for len(a) > 0 && len(b) > 0 {
		x, y := a[0], b[0]
		switch {
		case x.client > y.client || x.client == y.client && x.end() <= y.blocks[0].clock:
			a = a[1:]
		case x.client < y.client || y.end() <= x.blocks[0].clock:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

// allRepeated tells whether all of an update's groups wait already as they are, which
// dropRepeated sees to.
func (d *Doc) allRepeated(groups []*group) bool {
	for _, g := range groups {
		if same := d.parked[g.place()]; same == nil || same == g || !same.kept || !same.beginsAs(g) {
			return false
		}
	}
	return true
}

// beginsAs tells whether a group's first blocks are another's.
func (g *group) beginsAs(other *group) bool {
	if len(other.blocks) > len(g.blocks) {
		return false
	}
	for i := range other.blocks {
		a, b := g.blocks[i], other.blocks[i]
		for j, s := range a.spans() {
			o := b.spans()[j]
			if !bytes.Equal(g.buf[s.from:s.to], other.buf[o.from:o.to]) {
				return false
			}
			*s, *o = span{}, span{}
		}
		if a != b {
			return false
		}
	}
	return true
}

// place is the first unit that waits.
func (g *group) place() rawID { return rawID{g.client, g.blocks[0].clock} }

// covers says whether a group can wait in another's stead.
func (g *group) covers(other *group) bool {
	return len(g.blocks) >= len(other.blocks) && g.has(other.blocks)
}

// dropRepeated drops what the update at hand has that waits and has waited before.
func (d *Doc) dropRepeated() {
	var repeated []*group
	for i := range d.groups {
		g := &d.groups[i]
		if !g.isWaiting() {
			continue
		}
		if same := d.parked[g.place()]; same == nil {
			d.parked[g.place()] = g
		} else if same != g && same.covers(g) {
			repeated = append(repeated, g)
		}
	}
	d.drop(repeated)
}

// drop makes groups of the update at hand wait no more.
func (d *Doc) drop(groups []*group) {
	var clients []uint64 // that they waited for
	for _, g := range groups {
		if d.parked[g.place()] == g {
			delete(d.parked, g.place())
		}
		g.blocks, g.waits = nil, false
		d.retract(g.client)
		clients = append(clients, g.needs)
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
			d.woken = append(d.woken, g) // until keepWaiting it is there for what overlaps it
		} else {
			d.retract(g.client)
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
	d.overlap = false // what was woken since has been merged, or stays as it is
	for _, g := range d.woken {
		g.before = nil
		d.retract(g.client)
		if len(g.blocks) > 0 {
			g.size = blockSize*len(g.blocks) + len(g.buf)
			d.pendingBytes += g.size
		}
	}
	d.woken, d.merged = d.woken[:0], nil
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
