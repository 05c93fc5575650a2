package ycrdt

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// The corpus was made with yjs 13.6: streams of updates, and what yjs makes of
// them. See testdata/corpus/FORMAT.md.
const corpus = "testdata/corpus"

// conformant are the categories that this engine handles byte for byte.
var conformant = []string{"text-ascii", "text-unicode", "map", "array", "reorder-light"}

type corpusCase struct {
	Name    string `json:"name"`
	GC      bool   `json:"gc"`
	Updates []struct {
		V1 []byte `json:"v1"`
	} `json:"updates"`
	Expect struct {
		SV             map[string]uint64          `json:"sv"`
		SVBytes        []byte                     `json:"sv_bytes"`
		PendingStructs bool                       `json:"pendingStructs"`
		PendingDS      bool                       `json:"pendingDs"`
		ServerV1       []byte                     `json:"server_v1"`
		TypedV1        []byte                     `json:"typed_v1"`
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
	for _, category := range conformant {
		files, err := filepath.Glob(filepath.Join(corpus, "cases", category, "*.json.gz"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases of %s: %v", category, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				var c corpusCase
				readGzip(t, file, &c)
				checkCase(t, &c)
			})
		}
	}
}

func checkCase(t *testing.T, c *corpusCase) {
	doc := New(Options{DisableGC: !c.GC})
	for i, u := range c.Updates {
		if err := doc.ApplyUpdate(u.V1); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
	}
	checkStore(t, doc)
	if got := doc.StateVector(); !reflect.DeepEqual(decodeSV(t, got), decodeSV(t, c.Expect.SVBytes)) {
		t.Errorf("state vector is %x, yjs has %x", got, c.Expect.SVBytes)
	}
	structs, deletes := doc.Pending()
	if structs != c.Expect.PendingStructs || deletes != c.Expect.PendingDS {
		t.Errorf("pending structs %v and deletes %v, yjs has %v and %v", structs, deletes, c.Expect.PendingStructs, c.Expect.PendingDS)
	}
	got, err := doc.EncodeStateAsUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(c.Expect.ServerV1) {
		t.Errorf("the encoded state differs from yjs's:\n%s\n%s", hex.EncodeToString(got), hex.EncodeToString(c.Expect.ServerV1))
	}
	again := New(Options{DisableGC: !c.GC})
	if err := again.ApplyUpdate(got); err != nil {
		t.Fatalf("load own encoding: %v", err)
	}
	roots := c.Expect.Roots
	if c.Expect.UntypedRoots != nil {
		roots = c.Expect.UntypedRoots
	}
	for name, want := range roots {
		for _, d := range []*Doc{doc, again} {
			if err := sameTree(d.Root(name), want); err != nil {
				t.Errorf("root %q: %v", name, err)
			}
		}
	}
}

func decodeSV(t *testing.T, sv []byte) map[uint64]uint64 {
	m, err := DecodeStateVector(sv)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sameTree compares a shared type with the corpus's tagged JSON.
func sameTree(s Shared, want json.RawMessage) error {
	var head struct {
		T string                     `json:"$t"`
		S string                     `json:"s"`
		V json.RawMessage            `json:"v"`
		C []json.RawMessage          `json:"c"`
		A map[string]json.RawMessage `json:"a"`
	}
	if err := json.Unmarshal(want, &head); err != nil {
		return err
	}
	switch head.T {
	case "text", "xmltext":
		if got := s.Text(); got != head.S {
			return fmt.Errorf("text is %q, yjs has %q", got, head.S)
		}
	case "map":
		var members map[string]json.RawMessage
		if err := json.Unmarshal(head.V, &members); err != nil {
			return err
		}
		if got := s.Keys(); len(got) != len(members) {
			return fmt.Errorf("keys are %q, yjs has %d", got, len(members))
		}
		for key, value := range members {
			got, ok := s.Get(key)
			if !ok {
				return fmt.Errorf("key %q is missing", key)
			}
			if err := sameValue(got, value); err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
		}
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
			if err := sameValue(got[i], elements[i]); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	}
	return nil
}

func sameValue(got any, want json.RawMessage) error {
	if s, ok := got.(Shared); ok {
		return sameTree(s, want)
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
	for i, c := range d.clients {
		clock := uint64(0)
		for _, r := range c.structs {
			it := d.at(r)
			if it.id != (id{uint32(i + 1), clock}) || it.length == 0 {
				t.Fatalf("struct %+v of client %d should begin at %d", it, c.id, clock)
			}
			if it.isItem() {
				if it.left != 0 && d.at(it.left).right != r || it.right != 0 && d.at(it.right).left != r {
					t.Fatalf("item %+v is not linked both ways", it)
				}
				if it.kind == kindString && utf16Len(it.content) != int(it.length) {
					t.Fatalf("item %+v holds %d units", it, utf16Len(it.content))
				}
			}
			clock = it.end()
		}
	}
}
