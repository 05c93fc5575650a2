package ycrdt

import (
	"errors"
	"fmt"
	"slices"
)

// Txn makes edits of the server's own. It and what it gives are valid only within
// the function that Transact calls. Positions in it are as the edits before left
// them.
type Txn struct {
	doc  *Doc
	over bool
}

var (
	// ErrTxnOver says that a transaction was used after its function returned.
	ErrTxnOver = errors.New("the transaction is over")
	// ErrInTxn says that a document was changed from within a transaction in another
	// way than by it.
	ErrInTxn = errors.New("the document is in a transaction: use that")
)

// open tells why nothing can be edited any more, or nil.
func (t *Txn) open() error {
	if t.over {
		return ErrTxnOver
	}
	return nil
}

// Transact makes the edits that edit asks for and gives them as an update for the
// other peers, version 1; it is nil if there were none. An error of edit undoes
// what it did and is given back.
func (d *Doc) Transact(edit func(*Txn) error) (update []byte, err error) {
	if d.inTxn {
		return nil, ErrInTxn
	}
	if d.tooLarge(0) {
		return nil, ErrTooLarge
	}
	d.begin()
	d.inTxn = true
	tx, done := &Txn{doc: d}, false
	defer func() {
		tx.over, d.inTxn = true, false
		if !done { // an error or a panic
			d.rollBack()
		}
		d.shrink()
	}()
	if err := edit(tx); err != nil {
		return nil, err
	}
	done = true
	d.cleanUp(false)
	d.mend()
	if len(d.tx.touched) == 0 && len(d.tx.deleted) == 0 {
		return nil, nil
	}
	d.changes++
	d.tx.torn = d.tx.torn[:0] // what is torn still is so by what stands or is deleted there
	return d.encodeChanges(), nil
}

// rollBack undoes a transaction of the document's own: only it has structs of it,
// nothing has been collected, and what was split is joined again.
func (d *Doc) rollBack() {
	for _, del := range d.tx.deleted {
		c := &d.clients[del.client-1]
		for i := c.find(del.clock); i < len(c.refs) && c.clocks[i] < del.end(); i++ {
			it := d.at(c.refs[i])
			it.deleted = false
			if it.countable() && it.sub == 0 {
				d.types[it.parent].length += it.length
			}
		}
	}
	for _, index := range d.tx.touched {
		c := &d.clients[index-1]
		for c.state > c.before {
			r := c.tail()
			it := d.at(r)
			d.unlink(r, it)
			c.state = it.clock
			c.refs, c.clocks = c.refs[:len(c.refs)-1], c.clocks[:len(c.clocks)-1]
			d.dropContent(it)
			d.release(r)
		}
		c.hint = 0
	}
	for _, index := range d.tx.formatted {
		if t := d.types[index]; t != nil {
			t.formatted = false
		}
	}
	d.tx.deleted, d.tx.touched = d.tx.deleted[:0], d.tx.touched[:0]
	gone := func(i id) bool { return i.clock >= d.clients[i.client-1].state }
	d.tx.split = slices.DeleteFunc(d.tx.split, gone)
	d.tx.torn = slices.DeleteFunc(d.tx.torn, func(t torn) bool { return gone(t.second) })
	d.mergeSplits()
	d.mend()
}

// unlink takes an item out of its parent.
func (d *Doc) unlink(r ref, it *item) {
	t := d.types[it.parent]
	if it.countable() && it.sub == 0 {
		t.length -= it.length
	}
	if it.left != 0 {
		d.at(it.left).right = it.right
	} else if it.sub == 0 {
		t.start = it.right
	}
	if it.right != 0 {
		d.at(it.right).left = it.left
	}
	if it.sub == 0 {
		return
	}
	e := t.keys[it.sub]
	if e.first == r {
		e.first = it.right
	}
	if e.last == r {
		e.last = it.left
	}
	if t.keys[it.sub] = e; e.first == 0 {
		delete(t.keys, it.sub)
	}
}

// insert makes an item of this document's client. Content that takes the place of
// a nested type's kind is made by its caller.
func (t *Txn) insert(parent, sub uint32, left, right ref, kind uint8, content []byte, length uint64) ref {
	d := t.doc
	r, it := t.newItem(parent, sub, left, right, kind, length)
	d.setContent(it, content)
	d.place(r, it)
	return r
}

func (t *Txn) newItem(parent, sub uint32, left, right ref, kind uint8, length uint64) (ref, *item) {
	d := t.doc
	client := d.intern(d.clientID)
	r, it := d.alloc()
	it.client, it.clock, it.length, it.kind = client, d.clients[client-1].state, length, kind
	it.left, it.right, it.parent, it.sub = left, right, parent, sub
	if left != 0 {
		it.setOrigin(d.at(left).lastID())
	}
	if right != 0 {
		it.setRightOrigin(d.at(right).id())
	}
	return r, it
}

// insertType makes a nested type, empty.
func (t *Txn) insertType(parent, sub uint32, left, right ref, kind Kind) (ref, error) {
	number := slices.Index(kinds[:], kind)
	if number < 0 || kind == KindXMLElement || kind == KindXMLHook {
		return 0, fmt.Errorf("a %s cannot be made here", quote(string(kind)))
	}
	r, it := t.newItem(parent, sub, left, right, kindType, 1)
	it.content = t.doc.newType(&sharedType{item: r, kind: uint8(number)})
	t.doc.place(r, it)
	return r, nil
}

// sequence is a place where things stand in an order: what texts and arrays have
// in common.
type sequence struct {
	txn  *Txn
	typ  uint32
	name string // for errors
}

func (s sequence) wrap(what string, err error) error {
	return fmt.Errorf("%s %s: %w", what, quote(s.name), err)
}

// seek gives the neighbours of a place, index countable units from the start,
// splitting an item if it is within one.
func (s sequence) seek(index int) (left, right ref, err error) {
	if err := s.txn.open(); err != nil {
		return 0, 0, err
	}
	d, t := s.txn.doc, s.txn.doc.types[s.typ]
	if index < 0 || uint64(index) > t.length {
		return 0, 0, fmt.Errorf("index %d is outside 0 to %d", index, t.length)
	}
	rest := uint64(index)
	right = t.start
	for right != 0 && rest > 0 {
		it := d.at(right)
		if !it.deleted && it.countable() {
			if rest < it.length {
				d.cleanStart(id{it.client, it.clock + rest})
			}
			rest -= it.length
		}
		left, right = right, it.right
	}
	return left, right, nil
}

// Delete deletes n units from an index.
func (s sequence) Delete(index, n int) error {
	if err := s.txn.open(); err != nil {
		return s.wrap("delete from", err)
	}
	d, t := s.txn.doc, s.txn.doc.types[s.typ]
	if n < 0 || index < 0 || uint64(index)+uint64(n) > t.length {
		return s.wrap("delete from", fmt.Errorf("%d units from %d are more than there are (%d)", n, index, t.length))
	}
	if n == 0 {
		return nil // without a split where nothing happens
	}
	_, right, err := s.seek(index)
	if err != nil {
		return s.wrap("delete from", err)
	}
	for rest := uint64(n); rest > 0 && right != 0; right = d.at(right).right {
		it := d.at(right)
		if it.deleted || !it.countable() {
			continue
		}
		if rest < it.length {
			d.cleanStart(id{it.client, it.clock + rest})
		}
		rest -= it.length
		d.delete(right)
	}
	return nil
}

// Array edits a Y.Array.
type Array struct{ sequence }

// Array gives a root for edits as a Y.Array.
func (t *Txn) Array(root string) Array { return Array{sequence{t, t.doc.root(root), root}} }

// ArrayOf gives a nested type, or a root, for edits as a Y.Array.
func (t *Txn) ArrayOf(s Shared) (Array, error) {
	index, err := t.index(s)
	return Array{sequence{t, index, s.label()}}, err
}

// index gives the number of a type in the store.
func (t *Txn) index(s Shared) (uint32, error) {
	d := t.doc
	switch {
	case t.over:
		return 0, ErrTxnOver
	case s.doc != d:
		return 0, errors.New("the type is of another document")
	case s.typ.item == 0:
		return d.root(string(s.typ.name)), nil
	}
	if it := d.at(s.typ.item); it.kind == kindType && !it.deleted && d.types[it.content] == s.typ {
		return it.content, nil
	}
	return 0, errors.New("the type has been deleted")
}

// Insert inserts values at an index: nil, Undefined, bool, int, float64, BigInt,
// string, []byte, []any or Object, or a Kind for a new nested type of it.
func (a Array) Insert(index int, values ...any) error {
	if err := checkValues(values); err != nil {
		return a.wrap("insert into", err)
	}
	left, right, err := a.seek(index)
	if err != nil {
		return a.wrap("insert into", err)
	}
	for len(values) > 0 {
		n := 0
		var content []byte
		for n < len(values) && plain(values[n]) {
			content = appendAny(content, values[n])
			n++
		}
		switch v := values[0].(type) {
		case []byte:
			left = a.txn.insert(a.typ, 0, left, right, kindBinary, v, 1)
			n = 1
		case Kind:
			if left, err = a.txn.insertType(a.typ, 0, left, right, v); err != nil {
				return a.wrap("insert into", err)
			}
			n = 1
		default:
			left = a.txn.insert(a.typ, 0, left, right, kindAny, content, uint64(n))
		}
		right = a.txn.doc.at(left).right
		values = values[n:]
	}
	return nil
}

// plain tells whether a value stands with others in one item.
func plain(v any) bool {
	switch v.(type) {
	case []byte, Kind:
		return false
	}
	return true
}

func checkValues(values []any) error {
	for _, v := range values {
		if _, ok := v.(Kind); ok {
			continue
		}
		if err := checkValue(v, 0); err != nil {
			return err
		}
	}
	return nil
}

// Map edits a Y.Map, or the attributes of an XML type.
type Map struct{ at sequence }

// Map gives a root for edits as a Y.Map.
func (t *Txn) Map(root string) Map { return Map{sequence{t, t.doc.root(root), root}} }

// MapOf gives a nested type, or a root, for edits as a Y.Map.
func (t *Txn) MapOf(s Shared) (Map, error) {
	index, err := t.index(s)
	return Map{sequence{t, index, s.label()}}, err
}

// Set sets a key to a value; see Array.Insert for which.
func (m Map) Set(key string, value any) error {
	if err := m.at.txn.open(); err != nil {
		return m.at.wrap("set a key of", err)
	}
	if !validText(key) {
		return m.at.wrap("set a key of", errors.New("it is not valid UTF-8"))
	}
	if err := checkValues([]any{value}); err != nil {
		return m.at.wrap("set "+quote(key)+" of", err)
	}
	t := m.at.txn
	sub := t.doc.key(key)
	left := t.doc.types[m.at.typ].keys[sub].last
	switch v := value.(type) {
	case []byte:
		t.insert(m.at.typ, sub, left, 0, kindBinary, v, 1)
	case Kind:
		if _, err := t.insertType(m.at.typ, sub, left, 0, v); err != nil {
			return m.at.wrap("set "+quote(key)+" of", err)
		}
	default:
		t.insert(m.at.typ, sub, left, 0, kindAny, appendAny(nil, value), 1)
	}
	return nil
}

// Delete deletes a key, if it is there.
func (m Map) Delete(key string) error {
	if err := m.at.txn.open(); err != nil {
		return m.at.wrap("delete a key of", err)
	}
	d := m.at.txn.doc
	if sub, ok := d.keyIndex[key]; ok {
		if r := d.types[m.at.typ].keys[sub].last; r != 0 {
			d.delete(r)
		}
	}
	return nil
}
