package ycrdt

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func transact(t testing.TB, doc *Doc, edit func(*Txn) error) []byte {
	t.Helper()
	update, err := doc.Transact(edit)
	if err != nil {
		t.Fatal(err)
	}
	checkStore(t, doc)
	return update
}

func encoded(t testing.TB, doc *Doc) []byte {
	t.Helper()
	all, err := doc.EncodeStateAsUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// follow gives a peer that has the document's state.
func follow(t testing.TB, doc *Doc) *Doc {
	t.Helper()
	peer := New(Options{})
	if err := peer.ApplyUpdate(encoded(t, doc)); err != nil {
		t.Fatal(err)
	}
	return peer
}

func TestFormats(t *testing.T) {
	bold, plain, link := Object{{"bold", true}}, Object{{"bold", nil}}, Object{{"link", Object{{"href", "x"}}}}
	for _, c := range []struct {
		name string
		edit func(Text) error
		want []Insert
	}{
		{"a word", func(x Text) error { return x.Format(2, 3, bold) }, []Insert{{"ab", nil}, {"cde", bold}, {"fgh", nil}}},
		{"all", func(x Text) error { return x.Format(0, 8, bold) }, []Insert{{"abcdefgh", bold}}},
		{"nothing", func(x Text) error { return x.Format(3, 0, bold) }, []Insert{{"abcdefgh", nil}}},
		{"overlapping", func(x Text) error {
			return errors.Join(x.Format(0, 4, bold), x.Format(2, 4, link))
		}, []Insert{{"ab", bold}, {"cd", Object{{"bold", true}, link[0]}}, {"ef", link}, {"gh", nil}}},
		{"taken away in the middle", func(x Text) error {
			return errors.Join(x.Format(0, 8, bold), x.Format(3, 2, plain))
		}, []Insert{{"abc", bold}, {"de", nil}, {"fgh", bold}}},
		{"twice the same", func(x Text) error {
			return errors.Join(x.Format(1, 3, bold), x.Format(2, 4, bold))
		}, []Insert{{"a", nil}, {"bcdef", bold}, {"gh", nil}}},
		{"inserted with", func(x Text) error { return x.InsertWith(4, "X", bold) }, []Insert{{"abcd", nil}, {"X", bold}, {"efgh", nil}}},
		{"inserted without, in bold", func(x Text) error {
			return errors.Join(x.Format(0, 8, bold), x.InsertWith(4, "X", nil))
		}, []Insert{{"abcd", bold}, {"X", nil}, {"efgh", bold}}},
		{"embedded", func(x Text) error { return x.Embed(4, Object{{"image", "a.png"}}, bold) },
			[]Insert{{"abcd", nil}, {Object{{"image", "a.png"}}, bold}, {"efgh", nil}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := New(Options{})
			transact(t, doc, func(tx *Txn) error { return tx.Text("t").Insert(0, "abcdefgh") })
			peer := follow(t, doc)
			update := transact(t, doc, func(tx *Txn) error { return c.edit(tx.Text("t")) })
			if update != nil {
				if err := peer.ApplyUpdate(update); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range []*Doc{doc, peer} {
				checkStore(t, d)
				if got := joined(d.Root("t").Delta()); !reflect.DeepEqual(got, c.want) {
					t.Errorf("delta is %v, want %v", got, c.want)
				}
			}
		})
	}
}

// joined puts neighbours of equal formats together.
func joined(delta []Insert) []Insert {
	var out []Insert
	for _, op := range delta {
		if n := len(out); n > 0 && reflect.DeepEqual(out[n-1].Attributes, op.Attributes) {
			a, isText := out[n-1].Value.(string)
			if b, ok := op.Value.(string); ok && isText {
				out[n-1].Value = a + b
				continue
			}
		}
		out = append(out, op)
	}
	return out
}

func TestReplace(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"", "abc"}, {"abc", ""}, {"abc", "abc"}, {"one\ntwo\nthree\n", "one\n2\nthree\n"},
		{"🙂🙃", "🙃🙂🙂"}, {"日本語", "日本の語"}, {strings.Repeat("line of code\n", 300), strings.Repeat("line of c0de\n", 299)},
	} {
		doc := New(Options{})
		transact(t, doc, func(tx *Txn) error { return tx.Text("t").Insert(0, c.from) })
		peer := follow(t, doc)
		update := transact(t, doc, func(tx *Txn) error { return tx.Text("t").Replace(c.to) })
		if update != nil {
			if err := peer.ApplyUpdate(update); err != nil {
				t.Fatal(err)
			}
		}
		if doc.Text("t") != c.to || peer.Text("t") != c.to {
			t.Errorf("%q replaced by %q gave %q and %q", c.from, c.to, doc.Text("t"), peer.Text("t"))
		}
	}
	// What stays the same stays: a position in it is where it was.
	doc := New(Options{})
	transact(t, doc, func(tx *Txn) error { return tx.Text("t").Insert(0, "a = 1\nb = 2\n") })
	position, err := doc.Root("t").Position(6, 0)
	if err != nil {
		t.Fatal(err)
	}
	transact(t, doc, func(tx *Txn) error { return tx.Text("t").Replace("# more\na = 1\nb = 2\n") })
	if _, index, ok := doc.Resolve(position); !ok || index != 13 {
		t.Errorf("the position before b is now %d", index)
	}
}

func TestNestedEdits(t *testing.T) {
	doc := New(Options{})
	transact(t, doc, func(tx *Txn) error {
		return errors.Join(
			tx.Map("m").Set("text", KindText), tx.Map("m").Set("list", KindArray), tx.Map("m").Set("bytes", []byte{1, 2}),
			tx.Array("a").Insert(0, 1, []byte{3}, KindMap, Undefined{}, BigInt(-5), math.Copysign(0, -1)),
		)
	})
	inside := func(root, key string) Shared {
		v, _ := doc.MapGet(root, key)
		return v.(Shared)
	}
	transact(t, doc, func(tx *Txn) error {
		text, err := tx.TextOf(inside("m", "text"))
		if err != nil {
			return err
		}
		list, err := tx.ArrayOf(inside("m", "list"))
		if err != nil {
			return err
		}
		element, err := tx.MapOf(doc.Array("a")[2].(Shared))
		if err != nil {
			return err
		}
		return errors.Join(text.Insert(0, "within"), list.Insert(0, true, nil), element.Set("k", "v"))
	})
	peer := follow(t, doc)
	for _, d := range []*Doc{doc, peer} {
		if got, want := string(appendJSON(nil, d.Root("m"))), `{"bytes":{"0":1,"1":2},"list":[true,null],"text":"within"}`; got != want {
			t.Errorf("map is %s, want %s", got, want)
		}
		list := d.Array("a")
		if len(list) != 6 || list[3] != (Undefined{}) || list[4] != BigInt(-5) || !math.Signbit(list[5].(float64)) {
			t.Errorf("array is %#v", list)
		}
	}
	gone := inside("m", "text")
	transact(t, doc, func(tx *Txn) error { return tx.Map("m").Delete("text") })
	if _, err := doc.Transact(func(tx *Txn) error { _, err := tx.TextOf(gone); return err }); err == nil {
		t.Error("a type that was deleted was given for edits")
	}
	if _, err := doc.Transact(func(tx *Txn) error { _, err := tx.TextOf(peer.Root("t")); return err }); err == nil {
		t.Error("a type of another document was given for edits")
	}
}

func TestEditErrors(t *testing.T) {
	doc, _ := seedDoc(t)
	before := encoded(t, doc)
	for name, edit := range map[string]func(*Txn) error{
		"insert outside":      func(tx *Txn) error { return tx.Text("text").Insert(7, "x") },
		"insert before":       func(tx *Txn) error { return tx.Text("text").Insert(-1, "x") },
		"no text":             func(tx *Txn) error { return tx.Text("text").Insert(0, "\xff") },
		"delete too much":     func(tx *Txn) error { return tx.Text("text").Delete(3, 4) },
		"delete less":         func(tx *Txn) error { return tx.Text("text").Delete(3, -1) },
		"delete overflow":     func(tx *Txn) error { return tx.Text("text").Delete(3, math.MaxInt) },
		"format too much":     func(tx *Txn) error { return tx.Text("text").Format(3, 4, Object{{"b", true}}) },
		"format with a chan":  func(tx *Txn) error { return tx.Text("text").Format(0, 1, Object{{"b", make(chan int)}}) },
		"set a struct":        func(tx *Txn) error { return tx.Map("m").Set("k", struct{}{}) },
		"set an element":      func(tx *Txn) error { return tx.Map("m").Set("k", KindXMLElement) },
		"set a bad key":       func(tx *Txn) error { return tx.Map("m").Set("\xff", 1) },
		"set a bad string":    func(tx *Txn) error { return tx.Map("m").Set("k", []any{"\xff"}) },
		"insert a bad member": func(tx *Txn) error { return tx.Array("a").Insert(0, Object{{"\xff", 1}}) },
		"insert outside list": func(tx *Txn) error { return tx.Array("a").Insert(1, 1) },
	} {
		if _, err := doc.Transact(func(tx *Txn) error {
			if err := tx.Text("text").Insert(3, "in between"); err != nil {
				return err
			}
			if err := tx.Text("text").Delete(3, 10); err != nil {
				return err
			}
			return edit(tx)
		}); err == nil {
			t.Errorf("%s: no error", name)
		}
		checkStore(t, doc)
		if !bytes.Equal(before, encoded(t, doc)) {
			t.Fatalf("%s: something is left", name)
		}
	}
}

// Random edits that end in an error leave nothing behind, and a panic does not
// either; those that do not end in one arrive at a peer.
func TestRollBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	failed := errors.New("failed")
	for range 300 {
		doc := New(Options{})
		peer := New(Options{})
		for range 12 {
			before := encoded(t, doc)
			fail, panics := random.IntN(2) == 0, random.IntN(8) == 0
			update, err := tryEdits(doc, random, fail, panics, failed)
			checkStore(t, doc)
			if err != nil {
				if !errors.Is(err, failed) {
					t.Fatal(err)
				}
				if after := encoded(t, doc); !bytes.Equal(before, after) {
					t.Fatalf("something is left:\n%x\n%x", before, after)
				}
				continue
			}
			if update != nil {
				if err := peer.ApplyUpdate(update); err != nil {
					t.Fatal(err)
				}
			}
			if a, b := encoded(t, doc), encoded(t, peer); !bytes.Equal(a, b) {
				t.Fatalf("the peer has\n%x\nnot\n%x", b, a)
			}
		}
	}
}

func tryEdits(doc *Doc, random *rand.Rand, fail, panics bool, failed error) (update []byte, err error) {
	defer func() {
		if recover() != nil {
			err = failed
		}
	}()
	return doc.Transact(func(tx *Txn) error {
		for range 1 + random.IntN(6) {
			if err := randomEdit(tx, random); err != nil {
				return err
			}
		}
		if panics {
			panic("in the middle")
		}
		if fail {
			return failed
		}
		return nil
	})
}

func randomEdit(tx *Txn, random *rand.Rand) error {
	words := []string{"a", "bc", "déf", "🙂", "日本", "line\n"}
	word := words[random.IntN(len(words))]
	text, length := tx.Text("t"), tx.doc.Root("t").Len()
	at := random.IntN(length + 1)
	n := random.IntN(length - at + 1)
	switch random.IntN(8) {
	case 0:
		return text.Delete(at, n)
	case 1:
		return text.Format(at, n, Object{{"bold", []any{true, nil}[random.IntN(2)]}})
	case 2:
		return text.Embed(at, word, Object{{"link", word}})
	case 3:
		return tx.Map("m").Set(word, []any{1, word, KindMap, nil}[random.IntN(4)])
	case 4:
		return tx.Map("m").Delete(word)
	case 5:
		list := tx.doc.Root("a").Len()
		return errors.Join(tx.Array("a").Insert(list, word, 1.5, true), tx.Array("a").Delete(random.IntN(list+1), 1))
	}
	return text.Insert(at, word)
}

// A transaction cannot be used when it is over, nor be gone round while it is not.
func TestTxnMisuse(t *testing.T) {
	doc, before := seedDoc(t)
	var kept *Txn
	_, err := doc.Transact(func(tx *Txn) error {
		kept = tx
		if err := doc.ApplyUpdate(before); !errors.Is(err, ErrInTxn) {
			t.Errorf("an update within a transaction gave %v", err)
		}
		if _, err := doc.Transact(func(*Txn) error { return nil }); !errors.Is(err, ErrInTxn) {
			t.Errorf("a transaction within a transaction gave %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"insert":  kept.Text("text").Insert(0, "x"),
		"with":    kept.Text("text").InsertWith(0, "x", nil),
		"embed":   kept.Text("text").Embed(0, 1, nil),
		"delete":  kept.Text("text").Delete(0, 1),
		"nothing": kept.Text("text").Delete(0, 0),
		"format":  kept.Text("text").Format(0, 1, Object{{"b", true}}),
		"replace": kept.Text("text").Replace("x"),
		"set":     kept.Map("m").Set("k", 1),
		"unset":   kept.Map("m").Delete("k"),
		"list":    kept.Array("a").Insert(0, 1),
	} {
		if !errors.Is(err, ErrTxnOver) {
			t.Errorf("%s after the end gave %v", name, err)
		}
	}
	if _, err := kept.TextOf(doc.Root("text")); !errors.Is(err, ErrTxnOver) {
		t.Errorf("a type after the end gave %v", err)
	}
	if !bytes.Equal(before, encoded(t, doc)) {
		t.Error("something has changed")
	}
}

// The document keeps nothing of the bytes that it is given, and gives none of its
// own away.
func TestNoAliases(t *testing.T) {
	writer := New(Options{DisableGC: true})
	update := transact(t, writer, func(tx *Txn) error {
		return errors.Join(tx.Text("t").Insert(0, "text"), tx.Map("m").Set("b", []byte("bytes")), tx.Text("t").Format(1, 2, Object{{"bold", true}}))
	})
	v2, err := ConvertUpdateV1ToV2(update)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []bool{false, true} {
		given := bytes.Clone(update)
		if version {
			given = bytes.Clone(v2)
		}
		doc := New(Options{})
		if err := doc.apply(given, version); err != nil {
			t.Fatal(err)
		}
		clear(given)
		if !bytes.Equal(encoded(t, doc), update) {
			t.Error("the document has what it was given")
		}
		out := encoded(t, doc)
		v, _ := doc.MapGet("m", "b")
		clear(out)
		clear(v.([]byte))
		if !bytes.Equal(encoded(t, doc), update) {
			t.Error("the document gave its own memory away")
		}
		// What waits is kept, too.
		waits := bytes.Clone(transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(0, "more") }))
		late := New(Options{})
		given = bytes.Clone(waits)
		if err := late.ApplyUpdate(given); err != nil {
			t.Fatal(err)
		}
		clear(given)
		if err := late.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
		if err := late.ApplyUpdate(encoded(t, writer)); err != nil || late.Text("t") != writer.Text("t") {
			t.Errorf("text is %q (%v)", late.Text("t"), err)
		}
	}
}

// Whoever types as the document's own client makes it take another id.
func TestClientIDInUse(t *testing.T) {
	a, b := New(Options{ClientID: 5}), New(Options{ClientID: 5})
	if err := b.ApplyUpdate(transact(t, a, func(tx *Txn) error { return tx.Text("t").Insert(0, "x") })); err != nil {
		t.Fatal(err)
	}
	if b.ClientID() == 5 {
		t.Error("the document goes on with a client id that is in use")
	}
}

// A long line that two type at alternately costs no more a key at its end than at
// its beginning, and the memory of what it was is given back.
func TestArenaIsSwept(t *testing.T) {
	doc := New(Options{})
	peers := [2]*Doc{New(Options{ClientID: 1}), New(Options{ClientID: 2})}
	for i := range 20000 {
		p := peers[i%2]
		root := []string{"a", "b"}[i%2]
		update, err := p.Transact(func(tx *Txn) error { return tx.Text(root).Insert(p.Root(root).Len(), "x") })
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
		if len(doc.arena) > 4*doc.live+8192 {
			t.Fatalf("%d bytes are held for %d after %d keys", len(doc.arena), doc.live, i)
		}
	}
	checkStore(t, doc)
	if n := len(doc.Text("a")) + len(doc.Text("b")); n != 20000 {
		t.Errorf("%d characters", n)
	}
	for _, p := range peers {
		update, err := p.Transact(func(tx *Txn) error {
			return errors.Join(tx.Text("a").Delete(0, p.Root("a").Len()), tx.Text("b").Delete(0, p.Root("b").Len()))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
	}
	if doc.live != 0 || len(doc.arena) > 8192 {
		t.Errorf("%d bytes are held for %d after all was deleted", len(doc.arena), doc.live)
	}
}

// What is empty is nowhere, also when everything around it has moved.
func TestEmptyContentIsSwept(t *testing.T) {
	doc := New(Options{})
	transact(t, doc, func(tx *Txn) error { return tx.Array("a").Insert(0, make([]byte, 20000), []byte{}, "x") })
	transact(t, doc, func(tx *Txn) error { return tx.Array("a").Delete(0, 1) })
	if len(doc.arena) > 100 {
		t.Fatalf("%d bytes were not swept", len(doc.arena))
	}
	peer := follow(t, doc)
	if list := peer.Array("a"); len(list) != 2 || len(list[0].([]byte)) != 0 || list[1] != "x" {
		t.Errorf("array is %v", list)
	}
}

// A keystroke in a document of some size allocates nothing in the end.
func TestKeystrokeAllocations(t *testing.T) {
	writer := New(Options{ClientID: 9})
	doc := New(Options{})
	first := transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(0, strings.Repeat("some text ", 500)) })
	if err := doc.ApplyUpdate(first); err != nil {
		t.Fatal(err)
	}
	var updates [][]byte
	for i := range 2100 {
		updates = append(updates, transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(2500+i, "x") }))
	}
	next := 0
	if per := testing.AllocsPerRun(2000, func() {
		if err := doc.ApplyUpdate(updates[next]); err != nil {
			t.Fatal(err)
		}
		next++
	}); per > 0 {
		t.Errorf("%v allocations a keystroke", per)
	}
}

// Values as JavaScript has them, where Go has others.
func TestAsInJavaScript(t *testing.T) {
	for name, want := range map[string]string{
		"DIV": "div", "İI": "i\u0307i", "ΑΣ": "ας", "ΑΣΑ": "ασα", "Σ": "σ", "aΣ.": "aς.", "aΣ.b": "aσ.b", "ΑΣ\u0301": "ας\u0301",
	} {
		if got := jsLower(name); got != want {
			t.Errorf("%q in lower case is %q, JavaScript has %q", name, got, want)
		}
	}
	// There, all of what is not a number is this.
	want := []byte{anyFloat64, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}
	for _, nan := range []float64{math.NaN(), math.Float64frombits(1<<63 | 0x7ff8<<48 | 5)} {
		if got := appendAny(nil, nan); !bytes.Equal(got, want) {
			t.Errorf("NaN is written as %x, JavaScript writes %x", got, want)
		}
	}
}
