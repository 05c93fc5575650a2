package ycrdt

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind of a shared type that stands as a value in another.
type Kind string

// The kinds, by the names that Yjs's classes have.
const (
	KindArray       Kind = "array"
	KindMap         Kind = "map"
	KindText        Kind = "text"
	KindXMLElement  Kind = "xmlelement"
	KindXMLFragment Kind = "xmlfragment"
	KindXMLHook     Kind = "xmlhook"
	KindXMLText     Kind = "xmltext"
)

// kinds are by number on the wire.
var kinds = [...]Kind{KindArray, KindMap, KindText, KindXMLElement, KindXMLFragment, KindXMLHook, KindXMLText}

// Shared is a shared type, for reading. It is valid until the document changes.
type Shared struct {
	doc *Doc
	typ *sharedType
}

// Subdocument is a document's place in another.
type Subdocument struct {
	GUID    string
	Options any // as its client gave them, usually an Object
}

// Root gives a root for reading as whatever it is used as; one that nobody has
// used is empty.
func (d *Doc) Root(name string) Shared {
	if i, ok := d.roots[name]; ok {
		return Shared{d, d.types[i]}
	}
	return Shared{d, &sharedType{name: []byte(name)}} // not kept: reading changes nothing
}

// Roots names the roots that updates or edits have touched, in that order.
func (d *Doc) Roots() []string { return slices.Clone(d.names) }

// Text gives a root Y.Text as a string, without formats and embeds.
func (d *Doc) Text(root string) string { return d.Root(root).Text() }

// MapGet gives a key of a root Y.Map.
func (d *Doc) MapGet(root, key string) (any, bool) { return d.Root(root).Get(key) }

// MapKeys gives the keys of a root Y.Map, sorted.
func (d *Doc) MapKeys(root string) []string { return d.Root(root).Keys() }

// Array gives the elements of a root Y.Array.
func (d *Doc) Array(root string) []any { return d.Root(root).Elements() }

// Kind is what a nested type is. A root does not know: it is what it is used as,
// and Kind is "".
func (s Shared) Kind() Kind {
	if s.typ.item == 0 {
		return ""
	}
	return kinds[s.typ.kind]
}

// Name is the name of a root, of an XML element or of an XML hook.
func (s Shared) Name() string {
	if s.typ.item == 0 {
		return string(s.typ.name)
	}
	return string(s.typ.node)
}

// label names the type in errors.
func (s Shared) label() string {
	if s.typ.item == 0 {
		return string(s.typ.name)
	}
	return "a nested " + string(s.Kind())
}

// Len counts the type's units: elements, or UTF-16 units of a text.
func (s Shared) Len() int { return int(s.typ.length) }

// each calls fn for what is in a sequence and not deleted.
func (s Shared) each(fn func(ref, *item)) {
	for r := s.typ.start; r != 0; {
		it := s.doc.at(r)
		if !it.deleted {
			fn(r, it)
		}
		r = it.right
	}
}

// Text gives a text's characters.
func (s Shared) Text() string {
	var b strings.Builder
	b.Grow(int(s.typ.length))
	s.each(func(_ ref, it *item) {
		if it.kind == kindString {
			b.Write(s.doc.bytes(it))
		}
	})
	return b.String()
}

// Insert is a stretch of a text in one format: a string, or a value that takes
// the place of one character.
type Insert struct {
	Value      any // string; or what is embedded: a value, a Shared
	Attributes Object
}

// Delta gives a text with its formats, as Quill and Y.Text.toDelta do.
func (s Shared) Delta() []Insert { return s.deltaOf(func(_ ref, it *item) bool { return !it.deleted }) }

func (s Shared) deltaOf(visible func(ref, *item) bool) []Insert {
	var delta []Insert
	var text strings.Builder
	var current marks
	flush := func() {
		if text.Len() > 0 {
			delta = append(delta, Insert{text.String(), current.object()})
			text.Reset()
		}
	}
	for r := s.typ.start; r != 0; r = s.doc.at(r).right {
		it := s.doc.at(r)
		if !visible(r, it) {
			continue
		}
		switch it.kind {
		case kindString:
			text.Write(s.doc.bytes(it))
		case kindEmbed, kindType:
			flush()
			for _, v := range s.doc.values(nil, it) {
				delta = append(delta, Insert{v, current.object()})
			}
		case kindFormat:
			flush()
			key, m := s.doc.format(r)
			current.set(key, m)
		}
	}
	flush()
	return delta
}

// Elements gives an array's values or an XML type's children, with Shared and
// Subdocument for what is nested.
func (s Shared) Elements() []any {
	values := []any{}
	s.each(func(_ ref, it *item) { values = s.doc.values(values, it) })
	return values
}

// Get gives the value of a map's key, or of an XML type's attribute.
func (s Shared) Get(key string) (any, bool) {
	sub, ok := s.doc.keyIndex[key]
	if !ok {
		return nil, false
	}
	r := s.typ.keys[sub].last
	if r == 0 || s.doc.at(r).deleted {
		return nil, false
	}
	values := s.doc.values(nil, s.doc.at(r))
	if len(values) == 0 {
		return nil, false
	}
	return values[len(values)-1], true
}

// Keys gives a map's keys, or an XML type's attributes, sorted by UTF-16 units as
// JavaScript sorts.
func (s Shared) Keys() []string {
	var keys []string
	for sub, e := range s.typ.keys {
		if !s.doc.at(e.last).deleted {
			keys = append(keys, string(s.doc.keys[sub]))
		}
	}
	slices.SortFunc(keys, compareUTF16)
	return keys
}

// compareUTF16 orders strings as JavaScript does, by their UTF-16 units: those of a
// surrogate pair come before U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) || i == len(b) {
		return cmp.Compare(len(a), len(b))
	}
	// Of bytes that differ first in UTF-8, only a character beyond the first plane
	// (from 0xf0) against one of the upper end of the first is in another order.
	x, y := a[i], b[i]
	if x >= 0xf0 && y >= 0xee && y < 0xf0 {
		return -1
	}
	if y >= 0xf0 && x >= 0xee && x < 0xf0 {
		return 1
	}
	return cmp.Compare(x, y)
}

// values appends what an item holds.
func (d *Doc) values(values []any, it *item) []any {
	content := d.bytes(it)
	r := reader{buf: content}
	switch it.kind {
	case kindAny:
		for range it.length {
			values = append(values, r.any())
		}
	case kindJSON:
		for range it.length {
			values = append(values, decodeJSON(r.bytes()))
		}
	case kindBinary:
		values = append(values, slices.Clone(content))
	case kindString:
		for _, c := range string(content) {
			values = append(values, string(c))
		}
	case kindEmbed:
		values = append(values, d.jsonValue(it, content))
	case kindType:
		values = append(values, Shared{d, d.types[it.content]})
	case kindDoc:
		guid := string(r.bytes())
		values = append(values, Subdocument{guid, r.any()})
	}
	return values
}

// JSON gives a type as plain values, as toJSON does: a string, []any or Object. A
// root, which does not know what it is, is an Object if it has keys, a string if
// it has text, and otherwise []any. Types that nest deeper than 512 levels are left
// out: null, or nothing in XML.
func (s Shared) JSON() any { return s.json(0) }

func (s Shared) json(depth int) any {
	if depth > maxAnyDepth {
		return nil
	}
	switch s.Kind() {
	case KindText:
		return s.Text()
	case KindXMLText, KindXMLElement, KindXMLFragment:
		var b strings.Builder
		s.writeXML(&b, depth)
		return b.String()
	case KindMap, KindXMLHook:
		return s.object(depth)
	case KindArray:
		return s.list(depth)
	}
	if len(s.typ.keys) > 0 {
		return s.object(depth)
	}
	text := false
	s.each(func(_ ref, it *item) { text = text || it.kind == kindString })
	if text {
		return s.Text()
	}
	return s.list(depth)
}

func (s Shared) object(depth int) Object {
	o := Object{}
	for _, key := range s.Keys() {
		v, _ := s.Get(key)
		o = append(o, Member{key, plainJSON(v, depth)})
	}
	return o
}

func (s Shared) list(depth int) []any {
	list := s.Elements()
	for i := range list {
		list[i] = plainJSON(list[i], depth)
	}
	return list
}

func plainJSON(v any, depth int) any {
	switch v := v.(type) {
	case Shared:
		return v.json(depth + 1)
	case Subdocument:
		return Object{{"guid", v.GUID}}
	}
	return v
}

// MarshalJSON writes JSON.
func (s Shared) MarshalJSON() ([]byte, error) { return appendJSON(nil, s.JSON()), nil }

// String gives an XML type as yjs's toString does, and a text's characters.
func (s Shared) String() string {
	return jsString(s, 0)
}

func (s Shared) writeXML(b *strings.Builder, depth int) {
	if depth > maxAnyDepth {
		return
	}
	switch s.Kind() {
	case KindText:
		b.WriteString(s.Text())
	case KindXMLText:
		s.writeXMLText(b, depth)
	case KindXMLHook, KindMap, KindArray:
		b.WriteString("[object Object]") // what JavaScript makes of these
	case KindXMLElement:
		name := jsLower(s.Name())
		b.WriteString("<" + name)
		for _, key := range s.Keys() {
			v, _ := s.Get(key)
			b.WriteString(" " + key + `="` + jsString(v, depth+1) + `"`)
		}
		b.WriteString(">")
		s.writeChildren(b, depth)
		b.WriteString("</" + name + ">")
	default:
		s.writeChildren(b, depth)
	}
}

func (s Shared) writeChildren(b *strings.Builder, depth int) {
	for _, child := range s.Elements() {
		if c, ok := child.(Shared); ok {
			c.writeXML(b, depth+1)
		} else {
			b.WriteString(jsString(child, depth+1))
		}
	}
}

// writeXMLText writes formats as elements around the text that has them, with
// their values' members as attributes.
func (s Shared) writeXMLText(b *strings.Builder, depth int) {
	for _, insert := range s.Delta() {
		formats := slices.Clone(insert.Attributes)
		slices.SortFunc(formats, func(x, y Member) int { return compareUTF16(x.Key, y.Key) })
		for _, f := range formats {
			b.WriteString("<" + f.Key)
			for _, m := range jsMembers(f.Value) {
				b.WriteString(" " + m.Key + `="` + jsString(m.Value, depth+1) + `"`)
			}
			b.WriteString(">")
		}
		b.WriteString(jsString(insert.Value, depth+1))
		for _, f := range slices.Backward(formats) {
			b.WriteString("</" + f.Key + ">")
		}
	}
}

// jsMembers gives what JavaScript's for-in goes through, sorted by key: of a
// string and of a list, too.
func jsMembers(v any) Object {
	var o Object
	add := func(value any) { o = append(o, Member{strconv.Itoa(len(o)), value}) }
	switch v := v.(type) {
	case Object:
		o = slices.Clone(v)
	case string:
		for _, unit := range utf16.Encode([]rune(v)) {
			add(string(rune(unit))) // half a pair becomes U+FFFD
		}
	case []any:
		for _, e := range v {
			add(e)
		}
	case []byte:
		for _, c := range v {
			add(float64(c))
		}
	}
	slices.SortFunc(o, func(x, y Member) int { return compareUTF16(x.Key, y.Key) })
	return o
}

// jsLower is JavaScript's toLowerCase (ECMA-262, 22.1.3.28). Go's ToLower takes each
// character for itself, so that İ loses its dot and a word's last sigma its form.
func jsLower(s string) string {
	if !strings.ContainsAny(s, "İΣ") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == 'İ':
			b.WriteString("i\u0307")
		case c == 'Σ' && lastIsCased(s[:i]) && !firstIsCased(s[i+len("Σ"):]):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

// lastIsCased tells whether a string's last character that counts has case.
func lastIsCased(s string) bool {
	c, _ := utf8.DecodeLastRuneInString(strings.TrimRightFunc(s, caseIgnorable))
	return cased(c)
}

func firstIsCased(s string) bool {
	c, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(s, caseIgnorable))
	return cased(c)
}

func cased(c rune) bool {
	return unicode.In(c, unicode.Upper, unicode.Lower, unicode.Title, unicode.Other_Uppercase, unicode.Other_Lowercase)
}

// caseIgnorable is Unicode's property of that name: marks, and punctuation as it is
// within words.
func caseIgnorable(c rune) bool {
	return unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("':.\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", c)
}

// jsString gives a value as JavaScript puts it into a string.
func jsString(v any, depth int) string {
	switch v := v.(type) {
	case string:
		return v
	case Undefined:
		return "undefined"
	case Object:
		return "[object Object]"
	case Shared:
		var b strings.Builder
		v.writeXML(&b, depth)
		return b.String()
	case Subdocument:
		return "[object Object]"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			if _, undefined := e.(Undefined); e != nil && !undefined {
				parts[i] = jsString(e, depth+1)
			}
		}
		return strings.Join(parts, ",")
	case []byte:
		parts := make([]string, len(v))
		for i, c := range v {
			parts[i] = jsString(float64(c), depth)
		}
		return strings.Join(parts, ",")
	case float64:
		switch {
		case v != v:
			return "NaN"
		case v-v != 0 && v > 0:
			return "Infinity"
		case v-v != 0:
			return "-Infinity"
		}
	}
	return string(appendJSON(nil, v))
}
