package ycrdt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

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
func (o Object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(m.Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

// Get gives a member's value.
func (o Object) Get(key string) (any, bool) {
	for _, m := range o {
		if m.Key == key {
			return m.Value, true
		}
	}
	return nil, false
}

// decodeAny reads a value that walkAny has checked: nil, Undefined, bool,
// float64, BigInt, string, []byte, []any or Object.
func (r *reader) decodeAny() any {
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
			list = append(list, r.decodeAny())
		}
		return list
	case anyObject:
		n := r.count("members")
		object := make(Object, 0, n)
		for range n {
			key := string(r.text())
			object = append(object, Member{key, r.decodeAny()})
		}
		return object
	}
	return nil
}

// appendAny writes a value as yjs would: whole numbers of up to 31 bits as
// integers, others as the shortest float that holds them.
func appendAny(b []byte, v any, depth int) ([]byte, error) {
	if depth > maxAnyDepth {
		return nil, fmt.Errorf("a value nests deeper than %d levels", maxAnyDepth)
	}
	switch v := v.(type) {
	case nil:
		return append(b, anyNull), nil
	case Undefined:
		return append(b, anyUndefined), nil
	case bool:
		if v {
			return append(b, anyTrue), nil
		}
		return append(b, anyFalse), nil
	case int:
		return appendNumber(b, float64(v)), nil
	case float64:
		return appendNumber(b, v), nil
	case BigInt:
		return binary.BigEndian.AppendUint64(append(b, anyBigInt), uint64(v)), nil
	case string:
		return appendText(append(b, anyString), []byte(v)), nil
	case []byte:
		return appendText(append(b, anyBytes), v), nil
	case []any:
		b = appendUint(append(b, anyArray), uint64(len(v)))
		for _, e := range v {
			var err error
			if b, err = appendAny(b, e, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case Object:
		b = appendUint(append(b, anyObject), uint64(len(v)))
		for _, m := range v {
			var err error
			if b, err = appendAny(appendText(b, []byte(m.Key)), m.Value, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("a %T cannot be stored in a document", v)
}

func appendNumber(b []byte, f float64) []byte {
	const maxInt = 1<<31 - 1
	if f == math.Trunc(f) && math.Abs(f) <= maxInt {
		if f == 0 && math.Signbit(f) {
			return append(b, anyInt, 0x40)
		}
		return appendVarint(append(b, anyInt), int64(f))
	}
	if f32 := float32(f); float64(f32) == f {
		return binary.BigEndian.AppendUint32(append(b, anyFloat32), math.Float32bits(f32))
	}
	return binary.BigEndian.AppendUint64(append(b, anyFloat64), float64bits(f))
}

// decodeJSON reads a value stored as JSON text, as embeds, formats and old
// arrays are; "undefined" stands for itself there.
func decodeJSON(text []byte) any {
	if string(text) == "undefined" {
		return Undefined{}
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return string(text) // checked when it was decoded
	}
	return v
}

func quote(s string) string { return strconv.Quote(s) }
