package ycrdt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// A value in a document is one of nil, Undefined, bool, float64, BigInt, string,
// []byte, []any and Object; for nested types see Shared and Subdocument.

// Undefined is JavaScript's undefined, which Yjs keeps apart from null (nil).
type Undefined struct{}

// BigInt is a JavaScript bigint; Yjs encodes 64 bits of it.
type BigInt int64

// Object is a JavaScript object, its members in their order.
type Object []Member

// Member is one member of an Object.
type Member struct {
	Key   string
	Value any
}

// MarshalJSON writes the members in order.
func (o Object) MarshalJSON() ([]byte, error) { return appendJSON(nil, o), nil }

// Get gives a member's value.
func (o Object) Get(key string) (any, bool) {
	for _, m := range o {
		if m.Key == key {
			return m.Value, true
		}
	}
	return nil, false
}

// inOrder gives an object the order and the members that it would have in
// JavaScript: of equal keys the last value counts, and keys that are array
// indices come first, by number.
func (o Object) inOrder() Object {
	for i, m := range o {
		if _, isIndex := arrayIndex(m.Key); isIndex || i > 8 || slices.ContainsFunc(o[:i], func(x Member) bool { return x.Key == m.Key }) {
			return o.sorted()
		}
	}
	return o
}

func (o Object) sorted() Object {
	at := make(map[string]int, len(o))
	out := make(Object, 0, len(o))
	for _, m := range o {
		if i, ok := at[m.Key]; ok {
			out[i].Value = m.Value
			continue
		}
		at[m.Key] = len(out)
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b Member) int {
		x, xIs := arrayIndex(a.Key)
		y, yIs := arrayIndex(b.Key)
		switch {
		case xIs && yIs:
			return int(x) - int(y)
		case xIs:
			return -1
		case yIs:
			return 1
		}
		return 0
	})
	return out
}

// arrayIndex tells whether a key is an array index (ECMA-262, 6.1.7).
func arrayIndex(key string) (uint32, bool) {
	if key == "" || len(key) > 10 || key[0] < '0' || key[0] > '9' || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(key, 10, 32)
	return uint32(n), err == nil && n < math.MaxUint32
}

// any reads a value that walkAny has checked.
func (r *reader) any() any {
	switch r.byte() {
	case anyUndefined:
		return Undefined{}
	case anyInt:
		n, negative := r.varint()
		if n == 0 && negative {
			return math.Copysign(0, -1)
		}
		return float64(n)
	case anyFloat32:
		r.pos += 4
		return float64(math.Float32frombits(binary.BigEndian.Uint32(r.buf[r.pos-4:])))
	case anyFloat64:
		r.pos += 8
		return math.Float64frombits(binary.BigEndian.Uint64(r.buf[r.pos-8:]))
	case anyBigInt:
		r.pos += 8
		return BigInt(binary.BigEndian.Uint64(r.buf[r.pos-8:]))
	case anyFalse:
		return false
	case anyTrue:
		return true
	case anyString:
		return string(r.text())
	case anyBytes:
		return slices.Clone(r.bytes())
	case anyArray:
		n := r.count("elements")
		list := make([]any, 0, n)
		for range n {
			list = append(list, r.any())
		}
		return list
	case anyObject:
		n := r.count("members")
		object := make(Object, 0, n)
		for range n {
			key := string(r.text())
			object = append(object, Member{key, r.any()})
		}
		return object.inOrder()
	}
	return nil
}

// checkValue tells why a value cannot be stored, or nil.
func checkValue(v any, depth int) error {
	if depth > maxAnyDepth {
		return fmt.Errorf("a value nests deeper than %d levels", maxAnyDepth)
	}
	switch v := v.(type) {
	case nil, Undefined, bool, int, float64, BigInt, []byte:
	case string:
		if !utf8.ValidString(v) {
			return errors.New("a string is not valid UTF-8")
		}
	case []any:
		for _, e := range v {
			if err := checkValue(e, depth+1); err != nil {
				return err
			}
		}
	case Object:
		for _, m := range v {
			if !utf8.ValidString(m.Key) {
				return errors.New("a key is not valid UTF-8")
			}
			if err := checkValue(m.Value, depth+1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("a %T cannot be stored in a document", v)
	}
	return nil
}

// appendAny writes a value that checkValue lets pass as yjs would: whole numbers
// of up to 31 bits as integers, others as the shortest float that holds them.
func appendAny(b []byte, v any) []byte {
	switch v := v.(type) {
	case Undefined:
		return append(b, anyUndefined)
	case bool:
		if v {
			return append(b, anyTrue)
		}
		return append(b, anyFalse)
	case int:
		return appendNumber(b, float64(v))
	case float64:
		return appendNumber(b, v)
	case BigInt:
		return binary.BigEndian.AppendUint64(append(b, anyBigInt), uint64(v))
	case string:
		return appendText(append(b, anyString), v)
	case []byte:
		return appendText(append(b, anyBytes), v)
	case []any:
		b = appendUint(append(b, anyArray), uint64(len(v)))
		for _, e := range v {
			b = appendAny(b, e)
		}
		return b
	case Object:
		v = v.inOrder()
		b = appendUint(append(b, anyObject), uint64(len(v)))
		for _, m := range v {
			b = appendAny(appendText(b, m.Key), m.Value)
		}
		return b
	}
	return append(b, anyNull)
}

func appendNumber(b []byte, f float64) []byte {
	const maxInt = 1<<31 - 1
	if math.IsNaN(f) {
		// There are many; this is the one that JavaScript writes.
		return binary.BigEndian.AppendUint64(append(b, anyFloat64), 0x7ff8<<48)
	}
	if f == math.Trunc(f) && math.Abs(f) <= maxInt {
		return appendSigned(append(b, anyInt), uint64(math.Abs(f)), math.Signbit(f))
	}
	if f32 := float32(f); float64(f32) == f {
		return binary.BigEndian.AppendUint32(append(b, anyFloat32), math.Float32bits(f32))
	}
	return binary.BigEndian.AppendUint64(append(b, anyFloat64), math.Float64bits(f))
}

// decodeJSON reads a value stored as JSON text, as embeds, formats and old
// arrays are; "undefined" stands for itself there.
func decodeJSON(text []byte) any {
	if string(text) == "undefined" {
		return Undefined{}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := nextJSON(dec)
	if err != nil {
		return string(text) // never: it was checked when it was decoded
	}
	return v
}

// nextJSON reads a value, and keeps the order of members.
func nextJSON(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(token.String(), 64)
		if errors.Is(err, strconv.ErrRange) { // it is infinite then, as in JavaScript
			err = nil
		}
		return f, err
	case json.Delim:
		if token == '[' {
			list := []any{}
			for dec.More() {
				v, err := nextJSON(dec)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		object := Object{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := nextJSON(dec)
			if err != nil {
				return nil, err
			}
			object = append(object, Member{key.(string), v})
		}
		_, err := dec.Token()
		return object.inOrder(), err
	}
	return token, nil // a string, bool or nil
}

// appendJSON writes a value as JSON.stringify does (ECMA-262, 25.5.2), but for
// bigints, which JavaScript refuses: they become numbers.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case float64:
		return appendJSONNumber(b, v)
	case BigInt:
		return strconv.AppendInt(b, int64(v), 10)
	case string:
		return appendJSONString(b, v)
	case []byte:
		b = append(b, '{')
		for i, c := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(strconv.AppendInt(append(b, '"'), int64(i), 10), `":`...)
			b = strconv.AppendInt(b, int64(c), 10)
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	case Object:
		return appendJSONObject(b, v)
	case Shared:
		return appendJSON(b, v.JSON())
	case Subdocument:
		return append(b, "{}"...)
	}
	return append(b, "null"...)
}

func appendJSONObject(b []byte, o Object) []byte {
	b = append(b, '{')
	first := true
	for _, m := range o {
		if _, ok := m.Value.(Undefined); ok {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendJSONString(b, m.Key), ':')
		b = appendJSON(b, m.Value)
	}
	return append(b, '}')
}

func appendJSONNumber(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if f == 0 {
		return append(b, '0') // negative zero, too
	}
	number, err := json.Marshal(f)
	if err != nil {
		return append(b, "null"...) // never
	}
	return append(b, number...)
}

func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			if c < 0x20 {
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&0xf])
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}

// sameValue tells whether two values are the same to JavaScript's ===; for those
// that have an identity there, the items that hold them tell.
func sameValue(a, b any, sameItem bool) bool {
	for _, v := range [...]any{a, b} {
		switch v.(type) {
		case []any, Object, []byte:
			return sameItem
		}
	}
	return a == b
}

// equalValue compares values by what they hold.
func equalValue(a, b any) bool {
	return bytes.Equal(appendAny(nil, a), appendAny(nil, b))
}

func quote(s string) string { return strconv.Quote(s) }
