package ycrdt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// Text edits a Y.Text or Y.XmlText. Indices and lengths are in UTF-16 units.
type Text struct{ sequence }

// Text gives a root for edits as a Y.Text.
func (t *Txn) Text(root string) Text { return Text{sequence{t, t.doc.root(root), root}} }

// TextOf gives a nested type, or a root, for edits as a Y.Text.
func (t *Txn) TextOf(s Shared) (Text, error) {
	index, err := t.index(s)
	return Text{sequence{t, index, s.label()}}, err
}

// Insert inserts text at an index, with the formats that are there.
func (t Text) Insert(index int, text string) error {
	if !validText(text) {
		return t.wrap("insert into", errors.New("the text is not valid UTF-8"))
	}
	if err := t.check(index); err != nil || text == "" {
		return err
	}
	left, right, err := t.seek(index)
	if err != nil {
		return t.wrap("insert into", err)
	}
	t.txn.insert(t.typ, 0, left, right, kindString, []byte(text), uint64(utf16Len([]byte(text))))
	return nil
}

func (t Text) check(index int) error {
	if err := t.txn.open(); err != nil {
		return t.wrap("insert into", err)
	}
	if length := t.txn.doc.types[t.typ].length; index < 0 || uint64(index) > length {
		return t.wrap("insert into", fmt.Errorf("index %d is outside 0 to %d", index, length))
	}
	return nil
}

// InsertWith inserts text at an index with just these formats.
func (t Text) InsertWith(index int, text string, formats Object) error {
	if !validText(text) {
		return t.wrap("insert into", errors.New("the text is not valid UTF-8"))
	}
	if err := t.check(index); err != nil || text == "" {
		return err
	}
	return t.insertFormatted(index, formats, func(p *position) {
		p.insert(kindString, []byte(text), uint64(utf16Len([]byte(text))), false)
	})
}

// Embed inserts a value that takes the place of one character, with just these
// formats.
func (t Text) Embed(index int, value any, formats Object) error {
	if err := checkValue(value, 0); err != nil {
		return t.wrap("embed in", err)
	}
	return t.insertFormatted(index, formats, func(p *position) {
		p.insert(kindEmbed, appendAny(nil, value), 1, true)
	})
}

func (t Text) insertFormatted(index int, formats Object, insert func(*position)) error {
	if err := checkValue(formats, 0); err != nil {
		return t.wrap("insert into", err)
	}
	p, err := t.position(index)
	if err != nil {
		return t.wrap("insert into", err)
	}
	formats = slices.Clone(formats)
	for _, m := range p.current {
		if _, ok := formats.Get(m.key); !ok {
			formats = append(formats, Member{m.key, nil})
		}
	}
	p.skipSame(formats)
	after := p.begin(formats)
	insert(p)
	p.end(after)
	return nil
}

// Format gives n units from an index these formats; a nil value takes one away.
func (t Text) Format(index, n int, formats Object) error {
	if err := t.txn.open(); err != nil {
		return t.wrap("format", err)
	}
	if err := checkValue(formats, 0); err != nil {
		return t.wrap("format", err)
	}
	if length := t.txn.doc.types[t.typ].length; n < 0 || index < 0 || uint64(index)+uint64(n) > length {
		return t.wrap("format", fmt.Errorf("%d units from %d are more than there are (%d)", n, index, length))
	}
	if n == 0 {
		return nil
	}
	p, err := t.position(index)
	if err != nil {
		return t.wrap("format", err)
	}
	p.skipSame(formats)
	p.format(uint64(n), formats)
	return nil
}

// diffTime bounds how long Replace looks for the smallest difference; what it
// finds until then it makes do with.
const diffTime = 100 * time.Millisecond

// Replace makes the text another one by the edits that it takes, so that cursors
// and marks in what stays the same stay where they are.
func (t Text) Replace(text string) error {
	if err := t.txn.open(); err != nil {
		return t.wrap("replace", err)
	}
	if !validText(text) {
		return t.wrap("replace", errors.New("the text is not valid UTF-8"))
	}
	d := t.txn.doc
	old := Shared{d, d.types[t.typ]}
	if old.Len() != utf16Len([]byte(old.Text())) {
		return t.wrap("replace", errors.New("there is more than text in it"))
	}
	differ := diffmatchpatch.New()
	differ.DiffTimeout = diffTime
	at := 0
	for _, diff := range differ.DiffMain(old.Text(), text, true) {
		n := utf16Len([]byte(diff.Text))
		var err error
		switch diff.Type {
		case diffmatchpatch.DiffEqual:
			at += n
		case diffmatchpatch.DiffDelete:
			err = t.Delete(at, n)
		case diffmatchpatch.DiffInsert:
			err = t.Insert(at, diff.Text)
			at += n
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// position is a place in a text with the formats that hold there.
type position struct {
	txn         *Txn
	typ         uint32
	left, right ref
	current     marks
}

func (t Text) position(index int) (*position, error) {
	_, _, err := t.seek(index) // which splits where it has to
	if err != nil {
		return nil, err
	}
	p := &position{txn: t.txn, typ: t.typ, right: t.txn.doc.types[t.typ].start}
	for rest := uint64(index); rest > 0; {
		if it := t.txn.doc.at(p.right); !it.deleted && it.countable() {
			rest -= it.length
		}
		p.forward()
	}
	return p, nil
}

// forward moves past the item on the right.
func (p *position) forward() {
	d := p.txn.doc
	it := d.at(p.right)
	if it.kind == kindFormat && !it.deleted {
		key, m := d.format(p.right)
		p.current.set(key, m)
	}
	p.left, p.right = p.right, it.right
}

// insert makes an item here and moves past it.
func (p *position) insert(kind uint8, content []byte, length uint64, anyValue bool) {
	d := p.txn.doc
	r, it := p.txn.newItem(p.typ, 0, p.left, p.right, kind, length)
	it.anyValue = anyValue
	d.setContent(it, content)
	d.place(r, it)
	p.right = r
	p.forward()
}

func (p *position) insertMark(key string, value any) {
	p.insert(kindFormat, appendAny(appendText(nil, key), value), 1, true)
}

// skipSame moves past marks that say what formats says, and what is deleted.
func (p *position) skipSame(formats Object) {
	d := p.txn.doc
	for p.right != 0 {
		if it := d.at(p.right); !it.deleted {
			if it.kind != kindFormat {
				return
			}
			key, m := d.format(p.right)
			if want, _ := formats.Get(key); !equalValue(want, m.value) {
				return
			}
		}
		p.forward()
	}
}

// begin inserts the marks that formats needs here, and gives those that end them:
// what held before.
func (p *position) begin(formats Object) (after Object) {
	for _, f := range formats {
		was, _ := p.current.get(f.Key)
		if equalValue(was.value, f.Value) {
			continue
		}
		after = append(after, Member{f.Key, was.value})
		p.insertMark(f.Key, f.Value)
	}
	return after
}

// end inserts the marks of after, but for those that are there.
func (p *position) end(after Object) {
	d := p.txn.doc
	for p.right != 0 {
		if it := d.at(p.right); !it.deleted {
			if it.kind != kindFormat {
				break
			}
			key, m := d.format(p.right)
			value, ok := after.Get(key)
			if !ok || !equalValue(value, m.value) {
				break
			}
			after = after.without(key)
		}
		p.forward()
	}
	for _, f := range after {
		p.insertMark(f.Key, f.Value)
	}
}

func (o Object) without(key string) Object {
	return slices.DeleteFunc(slices.Clone(o), func(m Member) bool { return m.Key == key })
}

func (o Object) with(key string, value any) Object {
	return append(o.without(key), Member{key, value})
}

// format gives the next n units formats. Marks of the same keys among them go; the
// last of each says what has to hold after.
func (p *position) format(n uint64, formats Object) {
	d := p.txn.doc
	after := p.begin(formats)
	for p.right != 0 {
		it := d.at(p.right)
		// Marks right after the last unit count too: they may end what is begun.
		if n == 0 && (len(after) == 0 || !it.deleted && it.kind != kindFormat) {
			break
		}
		switch {
		case it.deleted:
		case it.kind == kindFormat:
			key, m := d.format(p.right)
			want, ok := formats.Get(key)
			if !ok {
				break
			}
			if equalValue(want, m.value) {
				after = after.without(key)
			} else {
				if n == 0 {
					p.end(after)
					return
				}
				after = after.with(key, m.value)
			}
			d.delete(p.right)
		case it.countable():
			if n < it.length {
				d.cleanStart(id{it.client, it.clock + n})
			}
			n -= it.length
		}
		p.forward()
	}
	p.end(after)
}
