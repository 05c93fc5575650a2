package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"corun/collab/ycrdt"
)

// roots are the root types that the histories use, and as what.
var roots = []struct {
	name string
	kind ycrdt.Kind
}{
	{"text", ycrdt.KindText},
	{"map", ycrdt.KindMap},
	{"array", ycrdt.KindArray},
	{"xml", ycrdt.KindXMLFragment},
}

// types are the shared types of a document that can be edited, in the order that
// both ends go through them.
type types struct{ texts, maps, arrays []ycrdt.Shared }

func collect(doc *ycrdt.Doc) types {
	var t types
	for _, root := range roots {
		t.add(doc.Root(root.name), root.kind)
	}
	return t
}

func (t *types) add(s ycrdt.Shared, kind ycrdt.Kind) {
	switch kind {
	case ycrdt.KindText, ycrdt.KindXMLText:
		t.texts = append(t.texts, s)
		for _, insert := range s.Delta() {
			t.addValue(insert.Value)
		}
	case ycrdt.KindMap, ycrdt.KindXMLHook:
		t.maps = append(t.maps, s)
	case ycrdt.KindXMLElement:
		t.maps = append(t.maps, s)
		t.addElements(s)
	case ycrdt.KindArray:
		t.arrays = append(t.arrays, s)
		t.addElements(s)
	default:
		t.addElements(s)
	}
	for _, key := range sortedKeys(s) {
		v, _ := s.Get(key)
		t.addValue(v)
	}
}

func (t *types) addElements(s ycrdt.Shared) {
	for _, v := range s.Elements() {
		t.addValue(v)
	}
}

func (t *types) addValue(v any) {
	if s, ok := v.(ycrdt.Shared); ok {
		t.add(s, s.Kind())
	}
}

// sortedKeys are in JavaScript's order, by UTF-16 units.
func sortedKeys(s ycrdt.Shared) []string {
	keys := s.Keys()
	sortUnits(keys)
	return keys
}

func sortUnits(keys []string) {
	slices.SortFunc(keys, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
}

// tree writes a document as tagged JSON, byte for byte as test/fuzz/tree.mjs
// does, which says what it looks like.
type tree struct{ buf []byte }

func treeOf(doc *ycrdt.Doc) []byte {
	var t tree
	for i, root := range roots {
		t.text(separator(i, '{') + strconv.Quote(root.name) + ":")
		t.shared(doc.Root(root.name), root.kind)
	}
	t.text("}")
	return t.buf
}

func separator(i int, open byte) string {
	if i == 0 {
		return string(open)
	}
	return ","
}

func (t *tree) text(s string) { t.buf = append(t.buf, s...) }

func (t *tree) shared(s ycrdt.Shared, kind ycrdt.Kind) {
	t.text(`{"$t":"` + string(kind) + `"`)
	switch kind {
	case ycrdt.KindMap, ycrdt.KindXMLHook:
		if kind == ycrdt.KindXMLHook {
			t.text(`,"n":`)
			t.str(s.Name())
		}
		t.text(`,"v":`)
		t.entries(s)
		t.text("}")
		return
	case ycrdt.KindText, ycrdt.KindXMLText:
		t.text(`,"l":` + strconv.Itoa(s.Len()) + `,"s":`)
		t.str(s.Text())
		t.text(`,"d":`)
		t.delta(s.Delta())
	case ycrdt.KindArray:
		t.text(`,"l":` + strconv.Itoa(s.Len()) + `,"v":`)
		t.list(s.Elements())
	default:
		if kind == ycrdt.KindXMLElement {
			t.text(`,"n":`)
			t.str(s.Name())
		}
		t.text(`,"l":` + strconv.Itoa(s.Len()) + `,"c":`)
		t.list(s.Elements())
	}
	if len(s.Keys()) > 0 {
		t.text(`,"a":`)
		t.entries(s)
	}
	t.text("}")
}

func (t *tree) entries(s ycrdt.Shared) {
	t.text("{")
	for i, key := range sortedKeys(s) {
		if i > 0 {
			t.text(",")
		}
		t.str(key)
		t.text(":")
		v, ok := s.Get(key)
		if !ok {
			t.text(`"a key without a value"`)
			continue
		}
		t.value(v)
	}
	t.text("}")
}

func (t *tree) list(values []any) {
	t.text("[")
	for i, v := range values {
		if i > 0 {
			t.text(",")
		}
		t.value(v)
	}
	t.text("]")
}

func (t *tree) delta(delta []ycrdt.Insert) {
	t.text("[")
	for i, insert := range delta {
		if i > 0 {
			t.text(",")
		}
		t.text(`{"i":`)
		t.value(insert.Value)
		if len(insert.Attributes) > 0 {
			t.text(`,"a":`)
			t.object(insert.Attributes)
		}
		t.text("}")
	}
	t.text("]")
}

func (t *tree) value(v any) {
	switch v := v.(type) {
	case nil:
		t.text("null")
	case ycrdt.Undefined:
		t.text(`{"$u":1}`)
	case bool:
		t.text(strconv.FormatBool(v))
	case float64:
		t.number(v)
	case ycrdt.BigInt:
		t.text(`{"$big":"` + strconv.FormatInt(int64(v), 10) + `"}`)
	case string:
		t.str(v)
	case []byte:
		t.text(`{"$b":"` + base64.StdEncoding.EncodeToString(v) + `"}`)
	case []any:
		t.list(v)
	case ycrdt.Object:
		t.object(v)
	case ycrdt.Shared:
		t.shared(v, v.Kind())
	case ycrdt.Subdocument:
		t.text(`{"$t":"doc","g":`)
		t.str(v.GUID)
		t.text(`,"o":`)
		t.value(v.Options)
		t.text("}")
	default:
		t.text(fmt.Sprintf(`"a value of type %T"`, v))
	}
}

func (t *tree) object(o ycrdt.Object) {
	members := make(map[string]any, len(o))
	for _, m := range o {
		members[m.Key] = m.Value
	}
	keys := slices.Collect(maps.Keys(members))
	sortUnits(keys)
	t.text("{")
	for i, key := range keys {
		if i > 0 {
			t.text(",")
		}
		t.str(key)
		t.text(":")
		t.value(members[key])
	}
	t.text("}")
}

// number writes a number as JavaScript does.
func (t *tree) number(f float64) {
	abs := math.Abs(f)
	switch {
	case f != f:
		t.text(`{"$f":"NaN"}`)
	case math.IsInf(f, 0):
		t.text(`{"$f":"` + strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+") + `inity"}`)
	case f == 0 && math.Signbit(f):
		t.text(`{"$f":"-0"}`)
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
		t.text(mantissa + "e" + exponent[:1] + strings.TrimLeft(exponent[1:], "0"))
	default:
		t.buf = strconv.AppendFloat(t.buf, f, 'f', -1, 64)
	}
}

// str writes a string as JSON.stringify does.
func (t *tree) str(s string) {
	t.text(`"`)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			t.buf = append(t.buf, '\\', c)
		case c >= 0x20:
			t.buf = append(t.buf, c)
		default:
			if short := strings.IndexByte("\b\f\n\r\t", c); short >= 0 {
				t.buf = append(t.buf, '\\', "bfnrt"[short])
			} else {
				t.text(fmt.Sprintf(`\u%04x`, c))
			}
		}
	}
	t.text(`"`)
}

// appendJSONStrings writes a list of strings.
func appendJSONStrings(b []byte, list []string) []byte {
	t := tree{buf: b}
	values := make([]any, len(list))
	for i, s := range list {
		values[i] = s
	}
	t.list(values)
	return t.buf
}

// meta writes what an update is about: of each client, the highest first, from
// which clock and up to which.
func meta(m ycrdt.UpdateMeta, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	var b []byte
	for _, side := range []map[uint64]uint64{m.From, m.To} {
		clients := slices.Sorted(maps.Keys(side))
		slices.Reverse(clients)
		for _, client := range clients {
			b = fmt.Appendf(b, "%d:%d ", client, side[client])
		}
		b = append(b, ';')
	}
	return b, nil
}
