package main

import (
	"errors"
	"fmt"
	"log"
	"slices"

	"corun/collab/ycrdt"
)

const (
	opTextInsert = iota + 1
	opTextInsertWith
	opTextEmbed
	opTextDelete
	opTextFormat
	opTextReplace
	opMapSet
	opMapDelete
	opArrayInsert
	opArrayDelete
)

// edit is a transaction of the engine's own. Where it edits is given by random
// numbers, which are taken modulo what is there, because the other end does not
// wait to see what there is. test/fuzz/ops.mjs reads them in the same way.
type edit struct {
	fail bool // at the end, so that everything has to be undone
	ops  []op
}

type op struct {
	code         byte
	target, a, b uint32
	text         string // or a key
	value        any
	values       []any
	formats      ycrdt.Object
}

func (r *reader) edit() edit {
	e := edit{fail: r.u8() == 1, ops: make([]op, r.u32())}
	for i := range e.ops {
		o := op{code: r.u8(), target: r.u32(), a: r.u32(), b: r.u32()}
		switch o.code {
		case opTextInsert, opTextReplace:
			o.text = r.str()
		case opTextInsertWith:
			o.text, o.formats = r.str(), r.object()
		case opTextEmbed:
			o.value, o.formats = r.value(), r.object()
		case opTextFormat:
			o.formats = r.object()
		case opMapSet:
			o.text, o.value = r.str(), r.value()
		case opArrayInsert:
			o.values = r.values()
		case opTextDelete, opMapDelete, opArrayDelete:
		default:
			log.Fatalf("unknown edit %d", o.code)
		}
		e.ops[i] = o
	}
	return e
}

var errFail = errors.New("the edit is to fail")

func (e edit) run(doc *ycrdt.Doc) ([]byte, error) {
	update, err := doc.Transact(func(tx *ycrdt.Txn) error {
		for _, o := range e.ops {
			if err := o.run(doc, tx); err != nil {
				return err
			}
		}
		if e.fail {
			return errFail
		}
		return nil
	})
	if e.fail && errors.Is(err, errFail) {
		if update != nil {
			return nil, fmt.Errorf("a failed edit gave an update of %d bytes", len(update))
		}
		return nil, nil
	}
	return update, err
}

// at takes a random number modulo the places there are.
func at(random uint32, places int) int { return int(random) % places }

// span gives a stretch of up to six units of what has a length.
func (o op) span(length int) (index, n int) {
	index = at(o.a, length)
	return index, 1 + at(o.b, min(length-index, 6))
}

func (o op) run(doc *ycrdt.Doc, tx *ycrdt.Txn) error {
	switch t := collect(doc); {
	case o.code <= opTextReplace:
		return o.editText(doc, tx, at(o.target, len(t.texts)), t)
	case o.code <= opMapDelete:
		return o.editMap(tx, t.maps[at(o.target, len(t.maps))])
	default:
		return o.editArray(tx, t.arrays[at(o.target, len(t.arrays))])
	}
}

func (o op) editText(doc *ycrdt.Doc, tx *ycrdt.Txn, target int, t types) error {
	text, err := tx.TextOf(t.texts[target])
	if err != nil {
		return err
	}
	length := t.texts[target].Len()
	switch o.code {
	case opTextInsert:
		return text.Insert(at(o.a, length+1), o.text)
	case opTextInsertWith:
		return text.InsertWith(at(o.a, length+1), o.text, o.formats)
	case opTextEmbed:
		return text.Embed(at(o.a, length+1), o.value, o.formats)
	case opTextReplace:
		if hasEmbeds(t.texts[target]) {
			return nil // it is for plain texts
		}
		if err := text.Replace(o.text); err != nil {
			return err
		}
		// No Yjs function does this, so it is held against what it is to do.
		if got := collect(doc).texts[target].Text(); got != o.text {
			return fmt.Errorf("a text replaced by %q is %q", o.text, got)
		}
		return nil
	}
	if length == 0 {
		return nil
	}
	index, n := o.span(length)
	if o.code == opTextFormat {
		return text.Format(index, n, o.formats)
	}
	return text.Delete(index, n)
}

func hasEmbeds(s ycrdt.Shared) bool {
	return slices.ContainsFunc(s.Delta(), func(i ycrdt.Insert) bool {
		_, isText := i.Value.(string)
		return !isText
	})
}

func (o op) editMap(tx *ycrdt.Txn, target ycrdt.Shared) error {
	m, err := tx.MapOf(target)
	if err != nil {
		return err
	}
	if o.code == opMapSet {
		return m.Set(o.text, o.value)
	}
	keys := sortedKeys(target)
	if len(keys) == 0 {
		return nil
	}
	return m.Delete(keys[at(o.a, len(keys))])
}

func (o op) editArray(tx *ycrdt.Txn, target ycrdt.Shared) error {
	array, err := tx.ArrayOf(target)
	if err != nil {
		return err
	}
	length := target.Len()
	if o.code == opArrayInsert {
		return array.Insert(at(o.a, length+1), o.values...)
	}
	if length == 0 {
		return nil
	}
	return array.Delete(o.span(length))
}
