package ycrdt

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// The content of all items is in one append-only arena: text as UTF-8, values as
// they stand in an update. Deleting leaves garbage there; when there is more of
// it than of anything else, what is alive moves to a new arena.

// ErrTooLarge says that a document would grow past what the engine can address.
var ErrTooLarge = errors.New("the document would hold more than 2 GiB of content")

const maxArena = math.MaxUint32 / 2

// bytes gives an item's content. It is valid until the document changes.
func (d *Doc) bytes(it *item) []byte {
	if it.kind == kindType || it.size == 0 { // an empty one is nowhere
		return nil
	}
	return d.arena[it.content : it.content+it.size : it.content+it.size]
}

// setContent keeps a copy of b as an item's content.
func (d *Doc) setContent(it *item, b []byte) {
	it.content, it.size = uint32(len(d.arena)), uint32(len(b))
	d.arena = append(d.arena, b...)
	d.live += len(b)
}

// dropContent forgets an item's content.
func (d *Doc) dropContent(it *item) {
	if it.kind == kindType {
		d.types[it.content] = nil
		d.freeTypes = append(d.freeTypes, it.content)
	} else {
		d.live -= int(it.size)
	}
	it.content, it.size = 0, 0
}

// replacement stands for each half of a surrogate pair that was split: UTF-8
// cannot hold a lone surrogate, and yjs does the same.
const replacement = "\uFFFD"

// splitContent gives right what left holds after diff units; both have all of it
// when it is called.
func (d *Doc) splitContent(left, right *item, diff uint64) {
	at, inPair := d.splitOffset(left, right.length, diff)
	if inPair {
		d.tear(left, right, at)
		return
	}
	right.content += uint32(at)
	right.size -= uint32(at)
	left.size = uint32(at)
}

// tear is splitContent within the surrogate pair at a place. The two replacements do
// not have room where the pair was: the longer part takes three of its four bytes and
// stays, the shorter one moves. So splits take n log n in all, however many.
func (d *Doc) tear(left, right *item, at int) {
	whole := d.bytes(left)
	head, pair, tail := whole[:at], whole[at:at+4], whole[at+4:]
	d.tx.torn = append(room(d.tx.torn), torn{right.id(), [4]byte(pair)})
	d.live += 2*len(replacement) - len(pair)
	d.spend(min(len(head), len(tail)))
	left.size, right.size = uint32(len(head)+len(replacement)), uint32(len(replacement)+len(tail))
	if end := uint32(len(d.arena)); len(head) < len(tail) {
		copy(pair[1:], replacement)
		right.content = left.content + uint32(at+1)
		left.content = end
		d.arena = append(append(d.arena, head...), replacement...)
	} else {
		copy(pair, replacement)
		right.content = end
		d.arena = append(append(d.arena, replacement...), tail...)
	}
}

// torn is a surrogate pair that a split has replaced: its second half, and its
// bytes.
type torn struct {
	second id
	pair   [4]byte
}

// mend puts back the characters that were split for something that came to
// nothing, so that both halves are in one item again: peers never split them.
func (d *Doc) mend() {
	all := d.tx.torn
	slices.SortFunc(all, func(a, b torn) int {
		return cmp.Or(cmp.Compare(a.second.client, b.second.client), cmp.Compare(a.second.clock, b.second.clock))
	})
	for len(all) > 0 {
		it := d.at(d.findRef(all[0].second))
		n := 1
		for n < len(all) && all[n].second.client == it.client && all[n].second.clock < it.end() {
			n++
		}
		if it.kind == kindString {
			d.mendItem(it, all[:n])
		}
		all = all[n:]
	}
}

// mendItem puts back the characters of which an item has both halves.
func (d *Doc) mendItem(it *item, all []torn) {
	if all[0].second.clock == it.clock { // the first half is the one before's
		all = all[1:]
	}
	if len(all) == 0 {
		return
	}
	rest, clock := d.bytes(it), it.clock
	whole := make([]byte, 0, len(rest))
	for _, t := range all {
		at, _ := utf16Offset(rest, t.second.clock-1-clock)
		whole = append(append(whole, rest[:at]...), t.pair[:]...)
		rest, clock = rest[at+2*len(replacement):], t.second.clock+1
	}
	d.live -= int(it.size)
	d.setContent(it, append(whole, rest...))
}

// splitOffset is unitOffset for an item of which left units stay and right come off.
// Text is gone through from the nearer end, and not at all if it is ASCII: whoever
// splits a long one again and again would make much work otherwise.
func (d *Doc) splitOffset(it *item, right, left uint64) (at int, inPair bool) {
	content := d.bytes(it)
	if it.kind != kindString {
		at, inPair = unitOffset(it.kind, content, left)
		d.spend(4 * at)
		return at, inPair
	}
	if left+right == uint64(len(content)) {
		return int(left), false
	}
	if left <= right {
		at, inPair = utf16Offset(content, left)
		d.spend(at)
		return at, inPair
	}
	at = len(content)
	for rest := right; rest > 0 && at > 0; {
		at--
		for at > 0 && content[at]&0xc0 == 0x80 {
			at--
		}
		switch {
		case content[at] < 0xf0:
			rest--
		case rest == 1:
			inPair, rest = true, 0
		default:
			rest -= 2
		}
	}
	d.spend(len(content) - at)
	return at, inPair
}

// unitOffset gives the byte offset of a unit in content of a kind, and whether it
// falls into a surrogate pair; then it is the offset of the pair.
func unitOffset(kind uint8, content []byte, units uint64) (at int, inPair bool) {
	switch kind {
	case kindString:
		return utf16Offset(content, units)
	case kindAny, kindJSON:
		r := reader{buf: content}
		for range units {
			if kind == kindAny {
				r.walkAny(0)
			} else {
				r.bytes()
			}
		}
		return r.pos, false
	}
	return 0, false // kindDeleted: a length alone
}

// joinContent adds right's content to left's. tail says that left is becoming its
// client's last struct, which more will be joined to: then it gets room to grow,
// so that typing costs the same however long the text before it is, and whoever
// else types.
func (d *Doc) joinContent(c *client, left, right *item, tail bool) {
	end, size := left.content+left.size, right.size
	added := d.arena[right.content : right.content+size]
	switch {
	case end == right.content:
	case end == c.roomAt && c.room >= size && size > 0:
		copy(d.arena[end:], added)
		c.roomAt += size
		c.room -= size
		d.trim(right)
	case int(end) == len(d.arena):
		d.arena = append(d.arena, added...)
	default:
		at := uint32(len(d.arena))
		d.arena = append(append(d.arena, d.arena[left.content:end]...), added...)
		left.content = at
		if tail {
			c.room = max(left.size/2, 16)
			c.roomAt = uint32(len(d.arena))
			d.arena = append(d.arena, make([]byte, c.room)...)
		}
	}
	left.size += size
}

// trim takes an item's content off the arena's end, if it is there.
func (d *Doc) trim(it *item) {
	if int(it.content+it.size) == len(d.arena) {
		d.arena = d.arena[:it.content]
	}
}

// sweep moves what is alive to a new arena when most of the old one is garbage,
// and enough of it to be worth a look at every item.
func (d *Doc) sweep() {
	if garbage := len(d.arena) - d.live; garbage < 4096 || garbage < d.live || garbage < 4*int(d.used) {
		return
	}
	old := d.arena
	d.arena = make([]byte, 0, d.live+d.live/8)
	for i := range d.clients {
		d.clients[i].room = 0
		for _, r := range d.clients[i].refs {
			it := d.at(r)
			if it.kind == kindType || it.size == 0 {
				continue
			}
			at := uint32(len(d.arena))
			d.arena = append(d.arena, old[it.content:it.content+it.size]...)
			it.content = at
		}
	}
}

// tooLarge tells whether so many more bytes could not be addressed.
func (d *Doc) tooLarge(more int) bool { return len(d.arena)+more > maxArena }
