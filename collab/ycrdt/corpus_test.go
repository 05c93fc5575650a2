package ycrdt

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The corpus was made with yjs 13.6: streams of updates, and what yjs makes of
// them. See testdata/corpus/FORMAT.md.
const corpus = "testdata/corpus"

type corpusCase struct {
	Name    string `json:"name"`
	GC      bool   `json:"gc"`
	Updates []struct {
		V1 []byte `json:"v1"`
		V2 []byte `json:"v2"`
	} `json:"updates"`
	Expect struct {
		SV             map[string]uint64          `json:"sv"`
		SVBytes        []byte                     `json:"sv_bytes"`
		PendingStructs bool                       `json:"pendingStructs"`
		PendingDS      bool                       `json:"pendingDs"`
		ServerV1       []byte                     `json:"server_v1"`
		ServerV2       []byte                     `json:"server_v2"`
		XMLString      *string                    `json:"xmlString"`
		Roots          map[string]json.RawMessage `json:"roots"`
		UntypedRoots   map[string]json.RawMessage `json:"untyped_roots"`
	} `json:"expect"`
}

func readGzip(t testing.TB, path string, v any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "cases", "*", "*.json.gz"))
	if err != nil || len(files) < 200 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json.gz"), func(t *testing.T) {
			var c corpusCase
			readGzip(t, file, &c)
			t.Run("v1", func(t *testing.T) { checkCase(t, &c, false) })
			t.Run("v2", func(t *testing.T) { checkCase(t, &c, true) })
		})
	}
}

func checkCase(t *testing.T, c *corpusCase, v2 bool) {
	doc := New(Options{DisableGC: !c.GC})
	for i, u := range c.Updates {
		update := u.V1
		if v2 {
			update = u.V2
		}
		if err := doc.apply(update, v2); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		checkStore(t, doc)
	}
	if got := doc.StateVector(); !bytes.Equal(got, c.Expect.SVBytes) {
		t.Errorf("state vector is %x, yjs has %x", got, c.Expect.SVBytes)
	}
	structs, deletes := doc.Pending()
	if structs != c.Expect.PendingStructs || deletes != c.Expect.PendingDS {
		t.Errorf("pending structs %v and deletes %v, yjs has %v and %v", structs, deletes, c.Expect.PendingStructs, c.Expect.PendingDS)
	}
	roots := c.Expect.Roots
	if c.Expect.UntypedRoots != nil {
		roots = c.Expect.UntypedRoots
	}
	for version, want := range map[bool][]byte{false: c.Expect.ServerV1, true: c.Expect.ServerV2} {
		got, err := doc.encodeState(nil, version)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the state encoded as v2=%v differs from yjs's:\n%x\n%x", version, got, want)
		}
		again := New(Options{DisableGC: !c.GC})
		if err := again.apply(got, version); err != nil {
			t.Fatalf("load own encoding: %v", err)
		}
		checkTree(t, again, roots, nil)
	}
	checkTree(t, doc, roots, c.Expect.XMLString)
}

func checkTree(t *testing.T, doc *Doc, roots map[string]json.RawMessage, xml *string) {
	t.Helper()
	for name, want := range roots {
		if err := sameTree(doc.Root(name), want); err != nil {
			t.Errorf("root %q: %v", name, err)
		}
	}
	if got := doc.Root("xml").String(); xml != nil && got != *xml {
		t.Errorf("xml is %s, yjs has %s", got, *xml)
	}
}

// sameTree compares a shared type with the corpus's tagged JSON.
func sameTree(s Shared, want json.RawMessage) error {
	var head struct {
		T string `json:"$t"`
		S string `json:"s"`
		D []struct {
			I json.RawMessage            `json:"i"`
			A map[string]json.RawMessage `json:"a"`
		} `json:"d"`
		N string                     `json:"n"`
		V json.RawMessage            `json:"v"`
		C []json.RawMessage          `json:"c"`
		A map[string]json.RawMessage `json:"a"`
	}
	if err := json.Unmarshal(want, &head); err != nil {
		return err
	}
	switch head.T {
	case "text", "xmltext":
		if got := s.Text(); head.T == "text" && got != head.S {
			return fmt.Errorf("text is %q, yjs has %q", got, head.S)
		}
		delta := s.Delta()
		if len(delta) != len(head.D) {
			return fmt.Errorf("delta is %v, yjs has %s", delta, want)
		}
		for i, op := range delta {
			if err := sameTagged(op.Value, head.D[i].I); err != nil {
				return fmt.Errorf("delta %d: %w", i, err)
			}
			if len(op.Attributes) != len(head.D[i].A) {
				return fmt.Errorf("delta %d has formats %v, yjs has %v", i, op.Attributes, head.D[i].A)
			}
			for _, a := range op.Attributes {
				if err := sameTagged(a.Value, head.D[i].A[a.Key]); err != nil {
					return fmt.Errorf("delta %d, format %s: %w", i, a.Key, err)
				}
			}
		}
		if head.T == "xmltext" {
			return sameMembers(s, head.A)
		}
	case "xmlelement", "xmlfragment", "xmlhook":
		if head.T != "xmlfragment" && s.Name() != head.N {
			return fmt.Errorf("name is %q, yjs has %q", s.Name(), head.N)
		}
		children := s.Elements()
		if len(children) != len(head.C) {
			return fmt.Errorf("%d children, yjs has %d", len(children), len(head.C))
		}
		for i := range children {
			if err := sameTagged(children[i], head.C[i]); err != nil {
				return fmt.Errorf("child %d: %w", i, err)
			}
		}
		if head.T == "xmlhook" {
			var members map[string]json.RawMessage
			if err := json.Unmarshal(head.V, &members); len(head.V) > 0 && err != nil {
				return err
			}
			return sameMembers(s, members)
		}
		return sameMembers(s, head.A)
	case "doc":
		return errors.New("yjs has a document here")
	case "map":
		var members map[string]json.RawMessage
		if err := json.Unmarshal(head.V, &members); err != nil {
			return err
		}
		return sameMembers(s, members)
	case "array":
		var elements []json.RawMessage
		if err := json.Unmarshal(head.V, &elements); err != nil {
			return err
		}
		got := s.Elements()
		if len(got) != len(elements) || s.Len() != len(elements) {
			return fmt.Errorf("%d elements, yjs has %d", len(got), len(elements))
		}
		for i := range got {
			if err := sameTagged(got[i], elements[i]); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	}
	return nil
}

func sameMembers(s Shared, members map[string]json.RawMessage) error {
	if got := s.Keys(); len(got) != len(members) {
		return fmt.Errorf("keys are %q, yjs has %d", got, len(members))
	}
	for key, value := range members {
		got, ok := s.Get(key)
		if !ok {
			return fmt.Errorf("key %q is missing", key)
		}
		if err := sameTagged(got, value); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	}
	return nil
}

func sameTagged(got any, want json.RawMessage) error {
	switch got := got.(type) {
	case Shared:
		return sameTree(got, want)
	case Subdocument:
		var doc struct {
			T    string `json:"$t"`
			GUID string `json:"guid"`
		}
		if err := json.Unmarshal(want, &doc); err != nil || doc.T != "doc" || doc.GUID != got.GUID {
			return fmt.Errorf("subdocument is %+v, yjs has %s", got, want)
		}
		return nil
	}
	var plain any
	if err := json.Unmarshal(want, &plain); err != nil {
		return err
	}
	if tagged := tag(got); !reflect.DeepEqual(tagged, plain) {
		return fmt.Errorf("value is %#v, yjs has %s", tagged, want)
	}
	return nil
}

// tag turns a value into what its tagged JSON decodes to.
func tag(v any) any {
	switch v := v.(type) {
	case Undefined:
		return map[string]any{"$u": 1.0}
	case BigInt:
		return map[string]any{"$big": fmt.Sprint(int64(v))}
	case float64:
		switch {
		case math.IsNaN(v):
			return map[string]any{"$f": "NaN"}
		case math.IsInf(v, 1):
			return map[string]any{"$f": "Infinity"}
		case math.IsInf(v, -1):
			return map[string]any{"$f": "-Infinity"}
		case v == 0 && math.Signbit(v):
			return map[string]any{"$f": "-0"}
		}
		return v
	case []byte:
		return map[string]any{"$b": base64.StdEncoding.EncodeToString(v)}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = tag(v[i])
		}
		return out
	case Object:
		out := make(map[string]any)
		for _, m := range v {
			out[m.Key] = tag(m.Value)
		}
		return out
	}
	return v
}

// checkStore tests what must always hold of the store.
func checkStore(t testing.TB, d *Doc) {
	t.Helper()
	checkWaiting(t, d)
	live := 0
	lengths := make(map[uint32]uint64)
	for i := range d.clients {
		c := &d.clients[i]
		clock := uint64(0)
		for at, r := range c.refs {
			it := d.at(r)
			if it.id() != (id{uint32(i + 1), clock}) || it.length == 0 || c.clocks[at] != clock {
				t.Fatalf("struct %+v of client %d should begin at %d", it, c.id, clock)
			}
			clock = it.end()
			if it.kind != kindType {
				live += int(it.size)
			}
			if !it.isItem() {
				continue
			}
			if it.left != 0 && d.at(it.left).right != r || it.right != 0 && d.at(it.right).left != r {
				t.Fatalf("item %+v is not linked both ways", it)
			}
			if it.kind == kindString && utf16Len(d.bytes(it)) != int(it.length) {
				t.Fatalf("item %+v holds %d units", it, utf16Len(d.bytes(it)))
			}
			parent := d.types[it.parent]
			if it.sub == 0 && it.left == 0 && parent.start != r {
				t.Fatalf("item %+v is not its parent's first", it)
			}
			if it.sub != 0 && (it.left == 0 && parent.keys[it.sub].first != r || it.right == 0 && parent.keys[it.sub].last != r) {
				t.Fatalf("item %+v is not its key's first or last: %v", it, parent.keys[it.sub])
			}
			if it.sub == 0 && it.countable() && !it.deleted {
				lengths[it.parent] += it.length
			}
		}
		if clock != c.state {
			t.Fatalf("client %d ends at %d, not %d", c.id, clock, c.state)
		}
	}
	if live != d.live {
		t.Fatalf("items hold %d bytes, not %d", live, d.live)
	}
	for i, typ := range d.types {
		if typ != nil && (typ.item == 0 || d.at(typ.item).kind == kindType && !d.at(typ.item).deleted) && typ.length != lengths[uint32(i)] {
			t.Fatalf("type %d holds %d units, not %d", i, lengths[uint32(i)], typ.length)
		}
	}
}
