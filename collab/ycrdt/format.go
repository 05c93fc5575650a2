package ycrdt

import (
	"cmp"
	"slices"
)

// Formats of text are items that stand between the characters: from where one is,
// its key has its value, or none any more if that is null.

// mark is a format's value, with the item that it is from: objects are the same
// only if they are of the same item, as in JavaScript.
type mark struct {
	value any
	from  ref
}

// marks are the formats at a place in a text, in the order of their beginning.
type marks []keyedMark

type keyedMark struct {
	key string
	mark
}

func (m marks) get(key string) (mark, bool) {
	for i := range m {
		if m[i].key == key {
			return m[i].mark, true
		}
	}
	return mark{}, false
}

// set gives a key a value; null takes it away.
func (m *marks) set(key string, v mark) {
	i := slices.IndexFunc(*m, func(x keyedMark) bool { return x.key == key })
	switch {
	case v.value == nil && i >= 0:
		*m = slices.Delete(*m, i, i+1)
	case v.value == nil:
	case i >= 0:
		(*m)[i].mark = v
	default:
		*m = append(*m, keyedMark{key, v})
	}
}

func (m marks) object() Object {
	if len(m) == 0 {
		return nil
	}
	o := make(Object, len(m))
	for i := range m {
		o[i] = Member{m[i].key, m[i].value}
	}
	return o.inOrder()
}

func sameMark(a, b mark) bool { return sameValue(a.value, b.value, a.from == b.from) }

// format gives the key and value of a format item.
func (d *Doc) format(r ref) (string, mark) {
	it := d.at(r)
	key, value := splitHead(d.bytes(it))
	return string(key), mark{d.jsonValue(it, value), r}
}

// jsonValue gives a value that version 1 holds as JSON and version 2 does not.
func (d *Doc) jsonValue(it *item, value []byte) any {
	if it.anyValue {
		r := reader{buf: value}
		return r.any()
	}
	return decodeJSON(value)
}

// noteChanged notes that something changed in a type whose formats yjs cleans up:
// a nested text with formats, older than the transaction. (Roots are cleaned up
// by whoever knows that they are texts.)
func (d *Doc) noteChanged(index uint32) {
	t := d.types[index]
	if t.item == 0 || !t.formatted || t.kind != typeText && t.kind != typeXMLText {
		return
	}
	holder := d.at(t.item)
	if holder.deleted || holder.clock >= d.before(holder.client) {
		return
	}
	if n := len(d.tx.types); n == 0 || d.tx.types[n-1] != index {
		d.tx.types = append(d.tx.types, index)
	}
}

// cleanUpFormats deletes the marks that have become redundant in nested texts, as
// every yjs document does after an update from elsewhere. It gives the deletions.
// order is that of the clients of what the transaction deleted: whether a deleted
// character or a deleted mark of a text is seen first decides how it is cleaned up.
func (d *Doc) cleanUpFormats(order map[uint32]int) []localDel {
	tx := &d.tx
	if !slices.ContainsFunc(tx.types, func(t uint32) bool { return d.types[t] != nil && !d.at(d.types[t].item).deleted }) {
		return nil
	}
	before := len(tx.deleted)
	var whole []uint32 // types to be cleaned up as a whole
	add := func(t uint32) {
		if !slices.Contains(whole, t) {
			whole = append(whole, t)
		}
	}
	for _, index := range tx.touched {
		c := &d.clients[index-1]
		if c.state == c.before {
			continue
		}
		for i := c.find(c.before); i < len(c.refs); i++ {
			if it := d.at(c.refs[i]); it.kind == kindFormat && !it.deleted && it.clock >= c.before {
				add(it.parent)
			}
		}
	}
	deleted := slices.Clone(tx.deleted) // by client and clock
	slices.SortStableFunc(deleted, func(a, b localDel) int {
		return cmp.Compare(order[a.client], order[b.client])
	})
	for _, del := range deleted {
		c := &d.clients[del.client-1]
		for i := c.find(del.clock); i < len(c.refs) && c.clocks[i] < del.end(); i++ {
			it := d.at(c.refs[i])
			if !it.isItem() || !d.types[it.parent].formatted || slices.Contains(whole, it.parent) {
				continue
			}
			if it.kind == kindFormat {
				add(it.parent)
			} else {
				d.cleanUpAround(c.refs[i])
			}
		}
	}
	for _, t := range whole {
		d.cleanUpText(d.types[t])
	}
	cleaned := slices.Clone(tx.deleted[before:])
	tx.deleted = tx.deleted[:before]
	return cleaned
}

// cleanUpAround deletes the marks between two characters, around an item, that a
// later one there overrides.
func (d *Doc) cleanUpAround(r ref) {
	for !d.spent() { // or the marks stay, which is not wrong
		d.spend(4)
		right := d.at(r).right
		if right == 0 || !d.at(right).deleted && d.at(right).countable() {
			break
		}
		r = right
	}
	var seen []string
	for ; r != 0 && !d.spent(); r = d.at(r).left {
		d.spend(4)
		it := d.at(r)
		if !it.deleted && it.countable() {
			break
		}
		if it.deleted || it.kind != kindFormat {
			continue
		}
		if key, _ := d.format(r); slices.Contains(seen, key) {
			d.delete(r)
		} else {
			seen = append(seen, key)
		}
	}
}

// cleanUpText deletes the marks of a text that change nothing.
func (d *Doc) cleanUpText(t *sharedType) {
	start := t.start
	var atStart, current marks
	for end := t.start; end != 0; end = d.at(end).right {
		it := d.at(end)
		if it.deleted {
			continue
		}
		if it.kind == kindFormat {
			key, m := d.format(end)
			current.set(key, m)
			continue
		}
		d.cleanUpGap(start, end, atStart, &current)
		atStart = slices.Clone(current)
		start = end
	}
}

// cleanUpGap deletes, from start to the next character, the marks that the same
// gap overrides or that say what was so before, atStart. current are those at
// curr, and are kept true.
func (d *Doc) cleanUpGap(start, curr ref, atStart marks, current *marks) {
	end := start
	last := make(map[string]ref) // of each key, in the gap
	for end != 0 && (!d.at(end).countable() || d.at(end).deleted) {
		if it := d.at(end); !it.deleted && it.kind == kindFormat {
			key, _ := d.format(end)
			last[key] = end
		}
		end = d.at(end).right
	}
	reached := false
	for r := start; r != end; r = d.at(r).right {
		if r == curr {
			reached = true
		}
		if it := d.at(r); it.deleted || it.kind != kindFormat {
			continue
		}
		key, m := d.format(r)
		was, _ := atStart.get(key)
		if last[key] != r || sameMark(was, m) {
			d.delete(r)
			if now, _ := current.get(key); !reached && sameMark(now, m) && !sameMark(was, m) {
				current.set(key, was)
			}
			continue
		}
		if !reached {
			current.set(key, m)
		}
	}
}
