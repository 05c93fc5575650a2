package ycrdt

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ID names one unit of one client's history.
type ID struct {
	Client uint64 `json:"client"`
	Clock  uint64 `json:"clock"`
}

// Position is a place in a text or an array that stays with what is around it
// while others edit: Yjs's RelativePosition.
type Position struct {
	// Item is the unit it stays with; nil for a place at an end of the type.
	Item *ID
	// Type and Root tell which type, nested or root. An encoded position has them
	// only if it has no Item.
	Type *ID
	Root *string
	// Assoc below 0 stays with the unit on the left, otherwise with the one on the
	// right.
	Assoc int
}

// ErrPosition says that there is no such place in a type.
var ErrPosition = errors.New("the position is outside the type")

// Position gives the place before the unit at an index.
func (s Shared) Position(index, assoc int) (Position, error) {
	if index < 0 || index > s.Len() {
		return Position{}, fmt.Errorf("%w: %d is not within 0 to %d", ErrPosition, index, s.Len())
	}
	p := Position{Assoc: assoc}
	if s.typ.item == 0 {
		name := string(s.typ.name)
		p.Root = &name
	} else {
		p.Type = s.doc.publicID(s.doc.at(s.typ.item).id())
	}
	if assoc < 0 {
		if index == 0 {
			return p, nil
		}
		index--
	}
	rest := uint64(index)
	for r := s.typ.start; r != 0; {
		it := s.doc.at(r)
		if !it.deleted && it.countable() {
			if it.length > rest {
				p.Item = s.doc.publicID(id{it.client, it.clock + rest})
				return p, nil
			}
			rest -= it.length
		}
		if it.right == 0 && assoc < 0 {
			p.Item = s.doc.publicID(it.lastID())
		}
		r = it.right
	}
	return p, nil
}

func (d *Doc) publicID(i id) *ID { return &ID{d.clients[i.client-1].id, i.clock} }

// Resolve gives the type and the index that a position has now. It is false if
// what it stays with is not there, not yet or not any more.
func (d *Doc) Resolve(p Position) (s Shared, index int, ok bool) {
	switch {
	case p.Item != nil:
		return d.resolveItem(p)
	case p.Root != nil:
		s = d.Root(*p.Root)
	case p.Type != nil:
		r, found := d.findID(*p.Type)
		if !found || d.at(r).kind != kindType {
			return Shared{}, 0, false
		}
		s = Shared{d, d.typeOf(d.at(r))}
	default:
		return Shared{}, 0, false
	}
	if p.Assoc >= 0 {
		index = s.Len()
	}
	return s, index, true
}

func (d *Doc) resolveItem(p Position) (s Shared, index int, ok bool) {
	r, found := d.findID(*p.Item)
	if !found || !d.at(r).isItem() {
		return Shared{}, 0, false
	}
	it := d.at(r)
	s = Shared{d, d.types[it.parent]}
	if s.typ.item != 0 && d.at(s.typ.item).deleted {
		return s, 0, true
	}
	units := uint64(0)
	if !it.deleted && it.countable() {
		units = p.Item.Clock - it.clock
		if p.Assoc < 0 {
			units++
		}
	}
	for left := it.left; left != 0; left = d.at(left).left {
		if l := d.at(left); !l.deleted && l.countable() {
			units += l.length
		}
	}
	return s, int(units), true
}

func (d *Doc) findID(i ID) (ref, bool) {
	c, ok := d.lookup(i.Client)
	if !ok || i.Clock >= d.clients[c-1].state {
		return 0, false
	}
	return d.findRef(id{c, i.Clock}), true
}

// Encode writes a position as yjs's encodeRelativePosition does.
func (p Position) Encode() []byte {
	var b []byte
	switch {
	case p.Item != nil:
		b = appendUint(appendUint([]byte{0}, p.Item.Client), p.Item.Clock)
	case p.Root != nil:
		b = appendText([]byte{1}, *p.Root)
	case p.Type != nil:
		b = appendUint(appendUint([]byte{2}, p.Type.Client), p.Type.Clock)
	}
	return appendVarint(b, int64(p.Assoc))
}

// DecodePosition reads what Encode wrote. The error is a *DecodeError.
func DecodePosition(b []byte) (Position, error) {
	r := &reader{buf: b}
	var p Position
	switch kind := r.uint(); kind {
	case 0:
		p.Item = &ID{r.uint(), r.uint()}
	case 1:
		name := string(r.text())
		p.Root = &name
	case 2:
		p.Type = &ID{r.uint(), r.uint()}
	default:
		r.fail("there is no kind %d of position", kind)
	}
	if r.left() > 0 { // older clients write none
		assoc, _ := r.varint()
		p.Assoc = int(assoc)
	}
	if r.err != nil {
		return Position{}, r.err
	}
	return p, nil
}

type positionJSON struct {
	Type  *ID     `json:"type,omitempty"`
	Root  *string `json:"tname,omitempty"`
	Item  *ID     `json:"item,omitempty"`
	Assoc int     `json:"assoc"`
}

// MarshalJSON writes a position as yjs's relativePositionToJSON does.
func (p Position) MarshalJSON() ([]byte, error) {
	return json.Marshal(positionJSON{p.Type, p.Root, p.Item, p.Assoc})
}

// UnmarshalJSON reads what MarshalJSON or yjs wrote.
func (p *Position) UnmarshalJSON(b []byte) error {
	var j positionJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*p = Position{Type: j.Type, Root: j.Root, Item: j.Item, Assoc: j.Assoc}
	return nil
}
