package ycrdt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
)

// hexBytes are bytes that stand in JSON in hex.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

// fixture is what test/fixtures/engine.mjs writes.
type fixture struct {
	Log       []hexBytes `json:"log"`
	After     hexBytes   `json:"after"`
	Snapshots []struct {
		V1      hexBytes        `json:"v1"`
		V2      hexBytes        `json:"v2"`
		SV      hexBytes        `json:"sv"`
		Updates int             `json:"updates"`
		Text    string          `json:"text"`
		Delta   json.RawMessage `json:"delta"`
		Nested  string          `json:"nested"`
	} `json:"snapshots"`
	Positions []struct {
		Before   hexBytes        `json:"before"`
		Root     bool            `json:"root"`
		Index    int             `json:"index"`
		Assoc    int             `json:"assoc"`
		Encoded  hexBytes        `json:"encoded"`
		JSON     json.RawMessage `json:"json"`
		Resolved int             `json:"resolved"`
		Decoded  int             `json:"decoded"`
	} `json:"positions"`
}

func readFixture(t *testing.T) fixture {
	t.Helper()
	b, err := os.ReadFile("testdata/yjs.json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func nestedText(t *testing.T, doc *Doc) Shared {
	t.Helper()
	v, ok := doc.MapGet("map", "nested")
	s, isShared := v.(Shared)
	if !ok || !isShared {
		t.Fatalf("nested is %v", v)
	}
	return s
}

// deltaJSON writes a delta as Quill has it.
func deltaJSON(t *testing.T, delta []Insert) any {
	t.Helper()
	ops := []map[string]any{}
	for _, op := range delta {
		m := map[string]any{"insert": op.Value}
		if len(op.Attributes) > 0 {
			m["attributes"] = op.Attributes
		}
		ops = append(ops, m)
	}
	b, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	return plainValue(t, b)
}

func plainValue(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func equalJSON(t *testing.T, a any, b []byte) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = json.Marshal(plainValue(t, x)); err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(plainValue(t, b))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// The document at each snapshot is what yjs had when it took it.
func TestSnapshots(t *testing.T) {
	f := readFixture(t)
	doc := New(Options{DisableGC: true})
	taken := 0
	for i, update := range f.Log {
		if err := doc.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Snapshots {
			if s.Updates != i+1 {
				continue
			}
			taken++
			now := doc.Snapshot()
			if !bytes.Equal(now.Encode(), s.V1) || !bytes.Equal(now.EncodeV2(), s.V2) {
				t.Errorf("snapshot after %d updates:\n%x\nyjs has\n%x", i+1, now.Encode(), s.V1)
			}
		}
	}
	if taken == 0 {
		t.Fatal("no snapshot was compared")
	}
	for _, s := range f.Snapshots {
		for name, decode := range map[string]func() (Snapshot, error){
			"v1": func() (Snapshot, error) { return DecodeSnapshot(s.V1) },
			"v2": func() (Snapshot, error) { return DecodeSnapshotV2(s.V2) },
		} {
			snapshot, err := decode()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			then, err := doc.At(snapshot)
			if err != nil {
				t.Fatal(err)
			}
			checkStore(t, then)
			if got := then.Text("text"); got != s.Text {
				t.Errorf("%s after %d updates: text is %q, yjs had %q", name, s.Updates, got, s.Text)
			}
			if got := nestedText(t, then).Text(); got != s.Nested {
				t.Errorf("%s after %d updates: nested text is %q, yjs had %q", name, s.Updates, got, s.Nested)
			}
			if delta := deltaJSON(t, then.Root("text").Delta()); !equalJSON(t, delta, s.Delta) {
				t.Errorf("%s after %d updates: delta is %v, yjs had %s", name, s.Updates, delta, s.Delta)
			}
		}
		log := func(yield func([]byte) bool) {
			for _, update := range f.Log {
				if !yield(update) {
					return
				}
			}
		}
		then, err := Replay(log, s.SV)
		if err != nil {
			t.Fatal(err)
		}
		if got := then.StateVector(); !bytes.Equal(got, s.SV) {
			t.Errorf("replayed up to %x, not %x", got, s.SV)
		}
	}
}

func TestSnapshotErrors(t *testing.T) {
	f := readFixture(t)
	s, err := DecodeSnapshot(f.Snapshots[len(f.Snapshots)-1].V1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{}).At(s); !errors.Is(err, ErrCollected) {
		t.Errorf("a document that collects gave %v", err)
	}
	if _, err := New(Options{DisableGC: true}).At(s); err == nil {
		t.Error("a snapshot of what is not there was restored")
	}
	if _, err := Replay(slices.Values([][]byte{f.Log[0]}), f.Snapshots[2].SV); err == nil {
		t.Error("a log that ends too early was replayed")
	}
	for n := range f.Snapshots[2].V1 {
		if _, err := DecodeSnapshot(f.Snapshots[2].V1[:n]); err == nil {
			t.Errorf("%d bytes of a snapshot were decoded", n)
		}
	}
}

func TestPositions(t *testing.T) {
	f := readFixture(t)
	after := New(Options{DisableGC: true})
	if err := after.ApplyUpdate(f.After); err != nil {
		t.Fatal(err)
	}
	for i, p := range f.Positions {
		doc := New(Options{DisableGC: true})
		if err := doc.ApplyUpdate(p.Before); err != nil {
			t.Fatal(err)
		}
		text := doc.Root("text")
		if !p.Root {
			text = nestedText(t, doc)
		}
		position, err := text.Position(p.Index, p.Assoc)
		if err != nil {
			t.Fatal(err)
		}
		if got := position.Encode(); !bytes.Equal(got, p.Encoded) {
			t.Errorf("position %d is %x, yjs has %x", i, got, p.Encoded)
		}
		var fromJSON Position
		if err := json.Unmarshal(p.JSON, &fromJSON); err != nil || !equalJSON(t, position, p.JSON) {
			t.Errorf("position %d as JSON: %v, yjs has %s", i, err, p.JSON)
		}
		decoded, err := DecodePosition(p.Encoded)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []struct {
			Position
			want int
		}{{position, p.Resolved}, {fromJSON, p.Resolved}, {decoded, p.Decoded}} {
			if _, index, ok := after.Resolve(q.Position); !ok || index != q.want {
				t.Errorf("position %d resolves to %d (%v), yjs has %d", i, index, ok, q.want)
			}
		}
	}
	if _, err := after.Root("text").Position(1<<20, 0); !errors.Is(err, ErrPosition) {
		t.Errorf("a position outside the text gave %v", err)
	}
	if _, _, ok := after.Resolve(Position{Item: &ID{5, 5}}); ok {
		t.Error("a position in what is not there was resolved")
	}
}
