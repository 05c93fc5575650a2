package ycrdt

import (
	"bytes"
	"path/filepath"
	"testing"
)

type malformed struct {
	Inputs []struct {
		Enc  int    `json:"enc"`
		Kind string `json:"kind"`
		Data []byte `json:"data"`
		Note string `json:"note"`
	} `json:"inputs"`
}

func seedDoc(t testing.TB) (*Doc, []byte) {
	doc := New(Options{ClientID: 1})
	_, err := doc.Transact(func(tx *Txn) error { return tx.Text("text").Insert(0, "before") })
	if err != nil {
		t.Fatal(err)
	}
	state, err := doc.EncodeStateAsUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc, state
}

// An input that is refused leaves the document as it was; one that is not leaves
// it sound and usable.
func TestMalformed(t *testing.T) {
	var m malformed
	readGzip(t, filepath.Join(corpus, "malformed.json.gz"), &m)
	for _, in := range m.Inputs {
		doc, before := seedDoc(t)
		err := doc.apply(in.Data, in.Enc == 2)
		checkStore(t, doc)
		after, encodeErr := doc.EncodeStateAsUpdate(nil)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		if err != nil && !bytes.Equal(before, after) {
			t.Errorf("%s %s: refused with %v, but the document changed", in.Kind, in.Note, err)
		}
		update, err := doc.Transact(func(tx *Txn) error { return tx.Text("fresh").Insert(0, "after") })
		if err != nil || len(update) == 0 || doc.Text("fresh") != "after" {
			t.Errorf("%s %s: the document cannot be edited after it: %v", in.Kind, in.Note, err)
		}
	}
}

func FuzzApplyUpdate(f *testing.F) {
	var m malformed
	readGzip(f, filepath.Join(corpus, "malformed.json.gz"), &m)
	for _, in := range m.Inputs {
		if in.Enc == 1 && len(in.Data) < 4096 {
			f.Add(in.Data, in.Data)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		doc, _ := seedDoc(t)
		for _, update := range [][]byte{first, second} {
			before, err := doc.EncodeStateAsUpdate(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := doc.ApplyUpdate(update); err != nil {
				if after, _ := doc.EncodeStateAsUpdate(nil); !bytes.Equal(before, after) {
					t.Fatalf("refused with %v, but the document changed", err)
				}
			}
			checkStore(t, doc)
		}
		all, err := doc.EncodeStateAsUpdate(nil)
		if err != nil {
			t.Fatal(err)
		}
		again := New(Options{ClientID: 2})
		if err := again.ApplyUpdate(all); err != nil {
			t.Fatalf("the document's own encoding is refused: %v", err)
		}
		if structs, _ := doc.Pending(); structs {
			return // what waits may contradict itself, and then order decides
		}
		for _, root := range doc.Roots() {
			if got, want := again.Text(root), doc.Text(root); got != want {
				t.Fatalf("root %q is %q after a round trip, was %q", root, got, want)
			}
			doc.Root(root).Elements()
		}
	})
}

func TestTransact(t *testing.T) {
	doc, _ := seedDoc(t)
	peer := New(Options{})
	state, _ := doc.EncodeStateAsUpdate(nil)
	if err := peer.ApplyUpdate(state); err != nil {
		t.Fatal(err)
	}
	update, err := doc.Transact(func(tx *Txn) error {
		for _, step := range []error{
			tx.Text("text").Insert(3, "🙂x"), tx.Text("text").Delete(0, 2), tx.Text("text").Delete(2, 1), // splits the pair
			tx.Map("map").Set("k", Object{{"a", 1}}), tx.Map("map").Set("k", 1.5), tx.Map("map").Set("gone", true), tx.Map("map").Delete("gone"),
			tx.Array("list").Insert(0, "a", nil, []any{1, "b"}), tx.Array("list").Delete(1, 1),
		} {
			if step != nil {
				return step
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.ApplyUpdate(update); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Doc{doc, peer} {
		checkStore(t, d)
		if got := d.Text("text"); got != "f\uFFFDxore" {
			t.Errorf("text is %q", got)
		}
		if v, ok := d.MapGet("map", "k"); !ok || v != 1.5 {
			t.Errorf("k is %v", v)
		}
		if keys := d.MapKeys("map"); len(keys) != 1 {
			t.Errorf("keys are %v", keys)
		}
		if list := d.Array("list"); len(list) != 2 || list[0] != "a" {
			t.Errorf("list is %v", list)
		}
	}
	before, _ := doc.EncodeStateAsUpdate(nil)
	_, err = doc.Transact(func(tx *Txn) error {
		if err := tx.Text("text").Insert(0, "undone"); err != nil {
			return err
		}
		return tx.Text("text").Insert(1000, "too far")
	})
	after, _ := doc.EncodeStateAsUpdate(nil)
	if err == nil || !bytes.Equal(before, after) {
		t.Errorf("a failed transaction (%v) left something behind", err)
	}
}
