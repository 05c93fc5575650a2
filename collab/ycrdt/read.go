package ycrdt

import (
	"slices"
	"strings"
)

// Kind of a shared type that stands as a value in another.
type Kind string

const (
	KindArray       Kind = "array"
	KindMap         Kind = "map"
	KindText        Kind = "text"
	KindXMLElement  Kind = "xmlelement"
	KindXMLFragment Kind = "xmlfragment"
	KindXMLHook     Kind = "xmlhook"
	KindXMLText     Kind = "xmltext"
)

var kinds = [...]Kind{KindArray, KindMap, KindText, KindXMLElement, KindXMLFragment, KindXMLHook, KindXMLText}

// Shared is a shared type within another, for reading. It is valid until the
// document changes.
type Shared struct {
	doc *Doc
	typ *sharedType
}

// Subdocument is a document's place in another: its guid.
type Subdocument struct{ GUID string }

// Root gives a root for reading as whatever it is used as; one that nobody has
// used is empty.
func (d *Doc) Root(name string) Shared {
	t, ok := d.roots[name]
	if !ok {
		t = &sharedType{name: name} // not kept: reading changes nothing
	}
	return Shared{d, t}
}

// Roots names the roots that updates have touched, in that order.
func (d *Doc) Roots() []string { return slices.Clone(d.names) }

// Text gives a root Y.Text as a string, without formats and embeds.
func (d *Doc) Text(root string) string { return d.Root(root).Text() }

// MapGet gives a key of a root Y.Map.
func (d *Doc) MapGet(root, key string) (any, bool) { return d.Root(root).Get(key) }

// MapKeys gives the keys of a root Y.Map, sorted.
func (d *Doc) MapKeys(root string) []string { return d.Root(root).Keys() }

// Array gives the elements of a root Y.Array.
func (d *Doc) Array(root string) []any { return d.Root(root).Elements() }

// Kind is what the type is; a root does not know and says KindArray.
func (s Shared) Kind() Kind { return kinds[s.typ.kind] }

// Len counts the type's units: elements, or UTF-16 units of a text.
func (s Shared) Len() int { return int(s.typ.length) }

// Text gives a text's characters.
func (s Shared) Text() string {
	var b strings.Builder
	b.Grow(int(s.typ.length))
	s.each(func(it *item) {
		if it.kind == kindString {
			b.Write(it.content)
		}
	})
	return b.String()
}

func (s Shared) each(fn func(*item)) {
	for r := s.typ.start; r != 0; r = s.doc.at(r).right {
		if it := s.doc.at(r); !it.deleted {
			fn(it)
		}
	}
}

// Elements gives an array's values, as MapSet takes them, and Shared and
// Subdocument for what is nested.
func (s Shared) Elements() []any {
	values := []any{}
	s.each(func(it *item) { values = s.doc.values(values, it) })
	return values
}

// Get gives the value of a map's key.
func (s Shared) Get(key string) (any, bool) {
	sub, ok := s.doc.keys[key]
	if !ok {
		return nil, false
	}
	r := s.typ.keys[sub]
	if r == 0 || s.doc.at(r).deleted {
		return nil, false
	}
	values := s.doc.values(nil, s.doc.at(r))
	if len(values) == 0 {
		return nil, false
	}
	return values[len(values)-1], true
}

// Keys gives a map's keys, sorted.
func (s Shared) Keys() []string {
	var keys []string
	for sub, r := range s.typ.keys {
		if !s.doc.at(r).deleted {
			keys = append(keys, *sub)
		}
	}
	slices.Sort(keys)
	return keys
}

// values appends what an item holds.
func (d *Doc) values(values []any, it *item) []any {
	r := reader{buf: it.content}
	switch it.kind {
	case kindAny:
		for range it.length {
			values = append(values, r.decodeAny())
		}
	case kindJSON:
		for range it.length {
			values = append(values, decodeJSON(r.bytes()))
		}
	case kindBinary:
		values = append(values, slices.Clone(it.content))
	case kindString:
		for _, c := range string(it.content) {
			values = append(values, string(c))
		}
	case kindEmbed:
		values = append(values, decodeJSON(it.content))
	case kindType:
		values = append(values, Shared{d, it.typ})
	case kindDoc:
		values = append(values, Subdocument{string(r.bytes())})
	}
	return values
}
