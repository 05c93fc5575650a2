package ycrdt

import (
	"fmt"
	"slices"
)

// Txn makes edits of the server's own. It is valid only within the function
// that Transact calls.
type Txn struct {
	doc *Doc
	tx  *transaction
}

// Transact makes the edits that edit asks for and gives them as an update for
// the other peers; it is nil if there were none. An error of edit undoes what it
// did. That takes a copy of the document, so edits of the server should be few.
func (d *Doc) Transact(edit func(*Txn) error) (update []byte, err error) {
	before, err := d.EncodeStateAsUpdate(nil)
	if err != nil {
		return nil, err
	}
	tx := &Txn{doc: d, tx: d.begin()}
	if err := edit(tx); err != nil {
		fresh := New(d.opts)
		if err := fresh.ApplyUpdate(before); err != nil {
			return nil, fmt.Errorf("restore document: %w", err)
		}
		*d = *fresh
		return nil, err
	}
	d.cleanUp(tx.tx)
	if len(tx.tx.before) == 0 && len(tx.tx.deleted) == 0 {
		return nil, nil
	}
	d.changes++
	from := func(c uint32) uint64 {
		if before, ok := tx.tx.before[c]; ok {
			return before
		}
		return d.state(c)
	}
	return d.encodeFrom(nil, from, tx.tx.deleted), nil
}

// insert makes an item of this document's client.
func (t *Txn) insert(parent *sharedType, sub *string, left, right ref, kind uint8, content []byte, length uint64) {
	d := t.doc
	c := d.intern(d.opts.ClientID)
	r, it := d.alloc()
	*it = item{id: id{c, d.state(c)}, length: length, left: left, right: right, parent: parent, sub: sub, kind: kind, content: content}
	if left != 0 {
		it.origin = d.at(left).lastID()
	}
	if right != 0 {
		it.rightOrigin = d.at(right).id
	}
	d.place(t.tx, r)
}

// seek gives the neighbours of a place in a sequence, index countable units
// from its start, splitting an item if it is within one.
func (t *Txn) seek(parent *sharedType, index int) (left, right ref, err error) {
	if index < 0 || uint64(index) > parent.length {
		return 0, 0, fmt.Errorf("index %d is outside 0 to %d", index, parent.length)
	}
	d, rest := t.doc, uint64(index)
	right = parent.start
	for right != 0 && rest > 0 {
		it := d.at(right)
		if !it.deleted && it.countable() {
			if rest < it.length {
				d.cleanStart(id{it.id.client, it.id.clock + rest})
			}
			rest -= d.at(right).length
		}
		left, right = right, d.at(right).right
	}
	return left, right, nil
}

// TextInsert inserts text at an index in UTF-16 units.
func (t *Txn) TextInsert(root string, index int, text string) error {
	if !validText(text) {
		return fmt.Errorf("insert into %s: the text is not valid UTF-8", quote(root))
	}
	parent := t.doc.root(root)
	left, right, err := t.seek(parent, index)
	if err != nil {
		return fmt.Errorf("insert into %s: %w", quote(root), err)
	}
	if text != "" {
		content := []byte(text)
		t.insert(parent, nil, left, right, kindString, content, uint64(utf16Len(content)))
	}
	return nil
}

// TextDelete deletes n UTF-16 units from an index.
func (t *Txn) TextDelete(root string, index, n int) error { return t.deleteUnits(root, index, n) }

// ArrayDelete deletes n elements from an index.
func (t *Txn) ArrayDelete(root string, index, n int) error { return t.deleteUnits(root, index, n) }

func (t *Txn) deleteUnits(root string, index, n int) error {
	d, parent := t.doc, t.doc.root(root)
	if n < 0 || index < 0 || uint64(index)+uint64(n) > parent.length {
		return fmt.Errorf("delete from %s: %d units from %d are more than there are (%d)", quote(root), n, index, parent.length)
	}
	_, right, err := t.seek(parent, index)
	if err != nil {
		return fmt.Errorf("delete from %s: %w", quote(root), err)
	}
	for rest := uint64(n); rest > 0 && right != 0; right = d.at(right).right {
		it := d.at(right)
		if it.deleted || !it.countable() {
			continue
		}
		if rest < it.length {
			d.cleanStart(id{it.id.client, it.id.clock + rest})
		}
		rest -= d.at(right).length
		d.delete(t.tx, right)
	}
	return nil
}

// ArrayInsert inserts values at an index; see MapSet for which.
func (t *Txn) ArrayInsert(root string, index int, values ...any) error {
	parent := t.doc.root(root)
	left, right, err := t.seek(parent, index)
	if err != nil {
		return fmt.Errorf("insert into %s: %w", quote(root), err)
	}
	var content []byte
	for _, v := range values {
		if content, err = appendAny(content, v, 0); err != nil {
			return fmt.Errorf("insert into %s: %w", quote(root), err)
		}
	}
	if len(values) > 0 {
		t.insert(parent, nil, left, right, kindAny, content, uint64(len(values)))
	}
	return nil
}

// MapSet sets a key to a value: nil, Undefined, bool, int, float64, BigInt,
// string, []byte, []any or Object.
func (t *Txn) MapSet(root, key string, value any) error {
	if !validText(key) {
		return fmt.Errorf("set a key of %s: it is not valid UTF-8", quote(root))
	}
	content, err := appendAny(nil, value, 0)
	if err != nil {
		return fmt.Errorf("set %s of %s: %w", quote(key), quote(root), err)
	}
	kind := uint8(kindAny)
	if b, ok := value.([]byte); ok {
		kind, content = kindBinary, slices.Clone(b)
	}
	parent, sub := t.doc.root(root), t.doc.key(key)
	t.insert(parent, sub, parent.keys[sub], 0, kind, content, 1)
	return nil
}

// MapDelete deletes a key, if it is there.
func (t *Txn) MapDelete(root, key string) error {
	parent, sub := t.doc.root(root), t.doc.key(key)
	if r := parent.keys[sub]; r != 0 {
		t.doc.delete(t.tx, r)
	}
	return nil
}
