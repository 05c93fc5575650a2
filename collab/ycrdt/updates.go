package ycrdt

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
)

// What can be done with updates without a document. It does what yjs's functions
// of the same names do, byte for byte (yjs/src/utils/updates.js).

// MergeUpdates makes one update of several, version 1. What is in more than one
// of them is in it once; gaps between them are kept as gaps. Merging n structs
// takes n log n time.
func MergeUpdates(updates ...[]byte) ([]byte, error) { return mergeUpdates(updates, false) }

// MergeUpdatesV2 is MergeUpdates for version 2.
func MergeUpdatesV2(updates ...[]byte) ([]byte, error) { return mergeUpdates(updates, true) }

func mergeUpdates(updates [][]byte, v2 bool) ([]byte, error) {
	var m merger
	for i, u := range updates {
		if err := m.add(u, v2); err != nil {
			return nil, fmt.Errorf("merge: update %d of %d: %w", i+1, len(updates), err)
		}
	}
	if len(updates) == 1 {
		return slices.Clone(updates[0]), nil
	}
	return m.merge(v2), nil
}

// DiffUpdate gives what of an update a peer with a state vector lacks, version 1.
// All of the update's deletions are in it.
func DiffUpdate(update, stateVector []byte) ([]byte, error) {
	return diffUpdate(update, stateVector, false)
}

// DiffUpdateV2 is DiffUpdate for version 2; state vectors are the same in both.
func DiffUpdateV2(update, stateVector []byte) ([]byte, error) {
	return diffUpdate(update, stateVector, true)
}

func diffUpdate(update, stateVector []byte, v2 bool) ([]byte, error) {
	have, err := DecodeStateVector(stateVector)
	if err != nil {
		return nil, fmt.Errorf("state vector: %w", err)
	}
	var m merger
	if err := m.add(update, v2); err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	e := encoder{v2: v2}
	for _, g := range m.diff(have) {
		e.addGroup(&g)
	}
	e.endStructs()
	e.deleteSet(joinClients(m.deletes))
	return e.finish(), nil
}

// ConvertUpdateV1ToV2 writes an update of version 1 as version 2.
func ConvertUpdateV1ToV2(update []byte) ([]byte, error) { return convert(update, false) }

// ConvertUpdateV2ToV1 writes an update of version 2 as version 1. Values that
// JSON cannot hold, in formats and embeds, become what JSON.stringify makes of
// them.
func ConvertUpdateV2ToV1(update []byte) ([]byte, error) { return convert(update, true) }

func convert(update []byte, v2 bool) ([]byte, error) {
	var m merger
	if err := m.add(update, v2); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	e := encoder{v2: !v2}
	for _, g := range m.groups() {
		e.addGroup(&g)
	}
	e.endStructs()
	e.deleteSet(joinClients(m.deletes))
	return e.finish(), nil
}

// StateVectorFromUpdate gives the state vector of a document that has only this
// update, version 1: of each client what is there from its beginning on, up to
// the first gap.
func StateVectorFromUpdate(update []byte) ([]byte, error) { return stateVectorOf(update, false) }

// StateVectorFromUpdateV2 is StateVectorFromUpdate for version 2.
func StateVectorFromUpdateV2(update []byte) ([]byte, error) { return stateVectorOf(update, true) }

func stateVectorOf(update []byte, v2 bool) ([]byte, error) {
	var m merger
	if err := m.add(update, v2); err != nil {
		return nil, fmt.Errorf("state vector of update: %w", err)
	}
	var b []byte
	clients := uint64(0)
	for _, g := range m.groups() {
		clock := uint64(0)
		for i := range g.blocks {
			if g.blocks[i].info == kindSkip || g.blocks[i].clock != clock {
				break
			}
			clock = g.blocks[i].end()
		}
		if clock > 0 {
			clients++
			b = appendUint(appendUint(b, g.client), clock)
		}
	}
	return append(appendUint(nil, clients), b...), nil
}

// UpdateMeta tells which clocks an update is about: of each client from which
// one, and up to which it is not about any more.
type UpdateMeta struct{ From, To map[uint64]uint64 }

// ParseUpdateMeta gives the UpdateMeta of an update, version 1.
func ParseUpdateMeta(update []byte) (UpdateMeta, error) { return parseMeta(update, false) }

// ParseUpdateMetaV2 is ParseUpdateMeta for version 2.
func ParseUpdateMetaV2(update []byte) (UpdateMeta, error) { return parseMeta(update, true) }

func parseMeta(update []byte, v2 bool) (UpdateMeta, error) {
	var m merger
	if err := m.add(update, v2); err != nil {
		return UpdateMeta{}, fmt.Errorf("update meta: %w", err)
	}
	meta := UpdateMeta{make(map[uint64]uint64), make(map[uint64]uint64)}
	for _, g := range m.groups() {
		meta.From[g.client] = g.blocks[0].clock
		meta.To[g.client] = g.blocks[len(g.blocks)-1].end()
	}
	return meta, nil
}

// merger takes updates apart and puts them together as one.
type merger struct {
	dec     decoder
	sources [][]group
	deletes []deletion
	blocks  []block // of the update that is being added
	joined  []group
}

// add takes an update in.
func (m *merger) add(update []byte, v2 bool) error {
	m.dec.start(update, v2)
	if cap(m.blocks) == 0 {
		m.blocks = make([]block, 0, 1024)
	}
	m.blocks = m.dec.readAll(m.blocks, &m.joined)
	m.deletes = m.dec.deleteSet(m.deletes)
	if err := m.dec.err(); err != nil {
		return err
	}
	for i := range m.joined {
		g := &m.joined[i]
		g.blocks, g.buf = m.blocks[g.from:g.to:g.to], m.dec.buf
	}
	m.addSource(m.joined)
	// What was taken stays where it is, and the next update goes after it.
	m.blocks, m.joined = m.blocks[len(m.blocks):], m.joined[len(m.joined):]
	return nil
}

func (m *merger) addSource(groups []group) { m.sources = append(m.sources, groups) }

// groups gives those of all sources.
func (m *merger) groups() []group { return slices.Concat(m.sources...) }

// diff gives the sources' groups without what is known to a peer with the given
// states.
func (m *merger) diff(have map[uint64]uint64) []group {
	var out []group
	for _, g := range m.groups() {
		state := have[g.client]
		for len(g.blocks) > 0 && (g.blocks[0].info == kindSkip || g.blocks[0].end() <= state) {
			g.blocks = g.blocks[1:]
		}
		if len(g.blocks) == 0 {
			continue
		}
		if first := &g.blocks[0]; first.clock < state {
			g.blocks = slices.Clone(g.blocks)
			g.buf = g.blocks[0].cut(state-first.clock, g.client, g.buf)
		}
		out = append(out, g)
	}
	return out
}

// cut takes the first units off a block. It gives the buffer that the block's
// spans are of then.
func (b *block) cut(units uint64, client uint64, buf []byte) []byte {
	switch b.kind() {
	case kindGC, kindSkip:
	default:
		b.info |= infoOrigin
		b.origin = rawID{client, b.clock + units - 1}
		body := buf[b.body.from:b.body.to]
		at, inPair := unitOffset(b.kind(), body, units)
		if inPair {
			from := uint32(len(buf))
			buf = append(append(buf[:from:from], replacement...), body[at+4:]...)
			b.body = span{from, uint32(len(buf))}
		} else {
			b.body.from += uint32(at)
		}
	}
	b.clock += units
	b.length -= units
	return buf
}

// cursor is a place in a source.
type cursor struct {
	groups []group // the first is where it is
	at     int     // of the block in it
	rank   int     // of cursors: what comes first of those at the same place
}

func (c *cursor) curr() *block {
	if len(c.groups) == 0 {
		return nil
	}
	return &c.groups[0].blocks[c.at]
}

// next moves to the next block that is not a skip.
func (c *cursor) next() *block {
	c.at++
	return c.settle()
}

func (c *cursor) settle() *block {
	for len(c.groups) > 0 {
		if c.at >= len(c.groups[0].blocks) {
			c.groups, c.at = c.groups[1:], 0
		} else if c.groups[0].blocks[c.at].info == kindSkip {
			c.at++
		} else {
			return c.curr()
		}
	}
	return nil
}

func (c *cursor) client() uint64 { return c.groups[0].client }

// before compares two places: the highest client comes first, and then the lowest
// clock.
func (c *cursor) before(o *cursor) int {
	return cmp.Or(cmp.Compare(o.client(), c.client()), cmp.Compare(c.curr().clock, o.curr().clock))
}

// cursors is a heap. Of those at the same place the one that was moved last comes
// first, and those that were never moved in their order: as a stable sort after each
// move has it, which is what yjs does.
type cursors []*cursor

func (c cursors) Len() int      { return len(c) }
func (c cursors) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c cursors) Less(i, j int) bool {
	return cmp.Or(c[i].before(c[j]), cmp.Compare(c[i].rank, c[j].rank)) < 0
}
func (c *cursors) Push(x any) { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// fewSources are sorted as JavaScript does it instead: where two updates have the
// same struct, collected in one of them and whole in the other, yjs's comparison
// says of either that it comes first, so that the way of sorting decides which of
// them is written. With more sources V8 merges runs; then it is the one that the
// heap has first.
const fewSources = 64

// sortAsV8 sorts cursors as V8 sorts so few: by binary insertion, after the run
// that there is (v8/third_party/v8/builtins/array-sort.tq).
func sortAsV8(c []*cursor) {
	if len(c) < 2 {
		return
	}
	compare := func(a, b *cursor) int {
		if order := a.before(b); order != 0 || (a.curr().info == kindGC) == (b.curr().info == kindGC) {
			return order
		}
		return -1
	}
	run := 2
	if descending := compare(c[1], c[0]) < 0; descending {
		for run < len(c) && compare(c[run], c[run-1]) < 0 {
			run++
		}
		slices.Reverse(c[:run])
	} else {
		for run < len(c) && compare(c[run], c[run-1]) >= 0 {
			run++
		}
	}
	for ; run < len(c); run++ {
		pivot, left, right := c[run], 0, run
		for left < right {
			mid := left + (right-left)/2
			if compare(pivot, c[mid]) < 0 {
				right = mid
			} else {
				left = mid + 1
			}
		}
		copy(c[left+1:run+1], c[left:run])
		c[left] = pivot
	}
}

// written is a struct that is about to be written.
type written struct {
	block
	client uint64
	buf    []byte
}

// merge gives all that was added as one update.
func (m *merger) merge(v2 bool) []byte {
	e := encoder{v2: v2}
	m.mergeStructs(&e)
	e.endStructs()
	e.deleteSet(joinDeletions(m.deletes))
	return e.finish()
}

func (m *merger) mergeStructs(e *encoder) {
	all := make([]cursor, len(m.sources))
	var todo cursors
	for i := range all {
		all[i] = cursor{groups: m.sources[i], rank: i}
		if all[i].settle() != nil {
			todo = append(todo, &all[i])
		}
	}
	var last written // what comes next is held against it
	begun := false
	if len(todo) < fewSources {
		for len(todo) > 0 {
			sortAsV8(todo)
			begun = m.mergeNext(e, todo[0], &last, begun)
			if todo[0].curr() == nil {
				todo = todo[1:]
			}
		}
	}
	heap.Init(&todo)
	for moves := 1; len(todo) > 0; moves++ {
		c := todo[0]
		c.rank = -moves
		begun = m.mergeNext(e, c, &last, begun)
		if c.curr() == nil {
			heap.Pop(&todo)
		} else {
			heap.Fix(&todo, 0)
		}
	}
	if begun {
		e.addBlock(&last)
	}
}

// mergeNext takes from the first source what comes next: one struct, and those
// that follow it without a gap.
func (m *merger) mergeNext(e *encoder, c *cursor, last *written, begun bool) bool {
	client := c.client()
	take := func(b block, buf []byte) { *last = written{b, client, buf} }
	if !begun {
		take(*c.curr(), c.groups[0].buf)
		c.next()
	} else {
		// What has been written already is passed.
		b, passed := c.curr(), false
		for b != nil && b.end() <= last.end() && c.client() >= last.client {
			b, passed = c.next(), true
		}
		if b == nil || c.client() != client || passed && b.clock > last.end() {
			return true // other sources may come first now
		}
		buf := c.groups[0].buf
		switch {
		case client != last.client:
			e.addBlock(last)
			take(*b, buf)
			c.next()
		case last.end() < b.clock:
			e.addBlock(last)
			take(block{info: kindSkip, clock: last.end(), length: b.clock - last.end()}, nil)
		default:
			part := *b
			if known := last.end() - b.clock; known > 0 {
				buf = part.cut(known, client, buf)
			}
			if last.info == kindGC && part.info == kindGC {
				last.length += part.length
				break
			}
			e.addBlock(last)
			take(part, buf)
			c.next()
		}
	}
	for b := c.curr(); b != nil && c.client() == client && b.clock == last.end(); b = c.next() {
		e.addBlock(last)
		take(*b, c.groups[0].buf)
	}
	return true
}

// addBlock writes a struct of an update.
func (e *encoder) addBlock(w *written) {
	var v view
	w.view(&v, w.buf)
	e.add(w.client, w.clock, &v)
}

func (e *encoder) addGroup(g *group) {
	var v view
	for i := range g.blocks {
		g.blocks[i].view(&v, g.buf)
		e.add(g.client, g.blocks[i].clock, &v)
	}
}

// view sets v to a block.
func (b *block) view(v *view, buf []byte) {
	*v = view{
		info: b.info &^ infoSub, parentIs: b.parentIs, typeKind: b.typeKind, anyValue: b.anyValue,
		origin: b.origin, rightOrigin: b.rightOrigin, parent: b.parent, length: b.length,
		name: buf[b.name.from:b.name.to], sub: buf[b.sub.from:b.sub.to],
		head: buf[b.head.from:b.head.to], body: buf[b.body.from:b.body.to],
	}
	if b.keyed() {
		v.info |= infoSub
	}
}

// joinClients sorts deletions by client, the highest first, and leaves those of
// each as they are, unless they are out of order: version 2 could not say that.
func joinClients(set []deletion) []deletion {
	slices.SortStableFunc(set, func(a, b deletion) int { return cmp.Compare(b.client, a.client) })
	for i := 1; i < len(set); i++ {
		if set[i].client == set[i-1].client && set[i].clock < set[i-1].end() {
			return joinDeletions(set)
		}
	}
	return set
}
