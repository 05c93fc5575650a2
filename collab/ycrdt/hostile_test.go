package ycrdt

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

type malformed struct {
	Inputs []malformedInput `json:"inputs"`
}

type malformedInput struct {
	Enc  int    `json:"enc"` // version of the encoding
	Kind string `json:"kind"`
	Data []byte `json:"data"`
	Note string `json:"note"`
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
	for _, in := range readMalformed(t) {
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

// An input of a few bytes cannot make much work or take much memory, whatever it
// announces.
func TestMalformedCost(t *testing.T) {
	for _, in := range readMalformed(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		doc := New(Options{})
		_ = doc.apply(in.Data, in.Enc == 2)
		_, _ = mergeUpdates([][]byte{in.Data, in.Data}, in.Enc == 2)
		_, _ = convert(in.Data, in.Enc == 2)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s %s: %d bytes took %d MiB", in.Kind, in.Note, len(in.Data), took>>20)
		}
	}
}

// What a client can do that costs a naive engine time in the square of its size.
// Each takes a small part of a second here; a test that does not end fails.
func TestHostileShapes(t *testing.T) {
	const n = 40000
	shapes := map[string]func(e *encoder){
		"one key again and again": func(e *encoder) {
			for i := range uint64(n) {
				e.add(1, i, &view{info: kindAny | infoSub, parentIs: parentRoot, name: []byte("m"), sub: []byte("k"), length: 1, body: []byte{anyNull}})
			}
		},
		"two clients who wait for each other": func(e *encoder) {
			for client := uint64(2); client > 0; client-- {
				for i := range uint64(n) {
					v := &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 1, body: []byte("x")}
					if i > 0 || client == 1 {
						v.info |= infoOrigin
						v.origin = rawID{3 - client, i - (2 - client)}
						if client == 1 {
							v.origin.clock = i
						}
					}
					e.add(client, i, v)
				}
			}
		},
		"one who waits for a client that never comes, for each of many": func(e *encoder) {
			for i := range uint64(n) {
				e.add(n+10-i, 0, &view{info: kindString | infoOrigin, origin: rawID{1, 5}, length: 1, body: []byte("x")})
			}
		},
		"deletions from right to left": func(e *encoder) {
			e.add(1, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 8 * n, body: bytes.Repeat([]byte("xé"), 4*n)})
			for i := range uint64(n) {
				// Each splits what the one before has left, near its end.
				e.add(n+10-i, 0, &view{info: kindString | infoOrigin | infoRightOrigin, origin: rawID{1, 8*n - 4*i - 3}, rightOrigin: rawID{1, 8*n - 4*i - 2}, length: 1, body: []byte("y")})
			}
		},
		"clients in ascending order at one place": func(e *encoder) {
			for i := range uint64(n) {
				e.add(i+10, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 1, body: []byte("y")})
			}
		},
		"a tower of types": func(e *encoder) {
			for i := range uint64(n) {
				v := &view{info: kindType, typeKind: typeMap, parentIs: parentItem, parent: rawID{1, i - 1}, length: 1}
				if i == 0 {
					v.parentIs, v.name = parentRoot, []byte("t")
				} else {
					v.info |= infoSub
					v.sub = []byte("k")
				}
				e.add(1, i, v)
			}
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, v2 := range []bool{false, true} {
				e := encoder{v2: v2}
				shape(&e)
				e.endStructs()
				e.deleteSet([]deletion{{1, delRange{0, 1}}})
				update := e.finish()
				doc := New(Options{MaxPendingBytes: 64 << 20})
				for range 2 {
					if err := doc.apply(update, v2); err != nil {
						t.Fatal(err)
					}
				}
				checkStore(t, doc)
				readAll(doc)
				all, err := doc.encodeState(nil, v2)
				if err != nil {
					t.Fatal(err)
				}
				if err := New(Options{MaxPendingBytes: 64 << 20}).apply(all, v2); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What could make an engine take more memory, or minutes, for what an input is worth.
func TestHostileCost(t *testing.T) {
	const n = 40000
	of := func(v2 bool, structs func(e *encoder), deletes ...deletion) []byte {
		e := encoder{v2: v2}
		structs(&e)
		e.endStructs()
		e.deleteSet(deletes)
		return e.finish()
	}
	overlapping := make([]deletion, n)
	for i := range overlapping {
		overlapping[i] = deletion{1, delRange{0, n}}
	}
	values := func(kind uint8, body []byte) func(e *encoder) {
		return func(e *encoder) {
			for i := range uint64(n) { // in two roots by turns, so that none is joined with the next
				e.add(1, i, &view{info: kind, parentIs: parentRoot, name: []byte{'t' + byte(i%2)}, length: 1, body: body})
			}
		}
	}
	torn := func(e *encoder) {
		e.add(9, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 2 * n, body: bytes.Repeat([]byte("🙂"), n)})
		for i := range uint64(n) {
			e.add(8, i, &view{info: kindString | infoOrigin, origin: rawID{9, 2 * (n - i - 1)}, length: 1, body: []byte("x")})
		}
	}
	types := func(e *encoder) {
		for i := range uint64(100_000) {
			e.add(1, i, &view{info: kindType, typeKind: typeMap, parentIs: parentRoot, length: 1})
		}
	}
	for name, c := range map[string]struct {
		v2     bool
		update []byte
	}{
		"deletions that overlap":      {false, of(false, values(kindAny, []byte{anyNull}), overlapping...)},
		"values of old arrays":        {true, of(true, values(kindJSON, []byte("\x041234")))},
		"characters torn, v1":         {false, of(false, torn)},
		"characters torn, v2":         {true, of(true, torn)},
		"types in a few bytes":        {true, of(true, types)},
		"a key that stands for many":  {true, repeatedKey(kindFormat, n)},
		"an element's name, for many": {true, repeatedKey(kindType, n)},
	} {
		t.Run(name, func(t *testing.T) {
			doc, _ := seedDoc(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := doc.apply(c.update, c.v2)
			runtime.ReadMemStats(&after)
			if refuse := strings.Contains(name, "for many") || strings.Contains(name, "stands"); (err != nil) != refuse {
				t.Errorf("applied: %v", err)
			}
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 64<<20 {
				t.Errorf("%d bytes took %d MiB", len(c.update), bytes>>20)
			}
			checkStore(t, doc)
			if _, err := doc.Transact(func(tx *Txn) error { return tx.Text("text").Insert(0, "x") }); err != nil {
				t.Error(err)
			}
		})
	}
}

// raceFactor is how many times as much memory may be taken as without the race detector;
// hostileStructs is how many structs hostile updates have.
var raceFactor, hostileStructs uint64 = 1, 60_000

// Whatever is valid costs memory in proportion. The most is for structs of a few bytes, each
// of which is a block, an item and what it holds. What time it takes is in BenchmarkHostile.
func TestHostileMemory(t *testing.T) {
	for name, shape := range hostileUpdates(hostileStructs) {
		limit := uint64(48 << 20)
		switch name {
		case "clients":
			limit = 32 << 20
		case "maps of one key", "torn by clients", "gaps": // two things of each
			limit = 56 << 20
		}
		for _, v2 := range []bool{false, true} {
			update := hostileUpdate(shape, v2)
			doc := New(Options{MaxPendingBytes: 64 << 20})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := doc.apply(update, v2)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > raceFactor*limit*hostileStructs/60_000 {
				t.Errorf("%s, version 2 %v: %d bytes took %d MiB", name, v2, len(update), bytes>>20)
			}
			checkStore(t, doc)
		}
	}
}

// Holes in the lists of structs make no difference.
func TestHoles(t *testing.T) {
	splits, next := manySplits, nextHole
	defer func() { manySplits, nextHole = splits, next }()
	holed := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		const n = 400
		var updates [][]byte
		state, at := uint64(0), uint64(0)
		for range 3 {
			var e encoder
			for range 1 + r.IntN(2) {
				e.add(9, state, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: n, body: []byte(strings.Repeat("a🙂é", n/4))})
				state += n
			}
			for range r.Uint64N(200) {
				v := &view{info: kindString | infoOrigin, origin: rawID{9, r.Uint64N(state)}, length: 2, body: []byte("xy")}
				if r.IntN(2) == 0 {
					v.info = kindString | infoRightOrigin
					v.rightOrigin = v.origin
				}
				e.add(8, 2*at, v)
				at++
			}
			e.endStructs()
			var set []deletion
			for range r.IntN(100) {
				set = append(set, deletion{9, delRange{r.Uint64N(state), 1 + r.Uint64N(30)}})
			}
			e.deleteSet(joinDeletions(set))
			updates = append(updates, e.finish())
		}
		var want []byte
		for _, limits := range [][2]int{{1 << 20, 1 << 20}, {0, 1}, {3, 2}, {10, 20}} {
			manySplits, nextHole = limits[0], limits[1]
			doc := New(Options{ClientID: 1})
			for _, u := range updates {
				if err := doc.ApplyUpdate(u); err != nil {
					t.Fatal(err)
				}
				checkStore(t, doc)
				if cap(doc.tx.holed) > 0 {
					holed++
				}
			}
			if got := encoded(t, doc); want == nil {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Fatalf("seed %d: with %v the document is another one", seed, limits)
			}
		}
	}
	if holed == 0 {
		t.Error("there was never a hole")
	}
}

// What waits costs others nothing: most updates are of no use to it.
func TestPendingDeletesCost(t *testing.T) {
	doc := New(Options{})
	set := make([]deletion, 60_000)
	for i := range set {
		set[i] = deletion{1<<31 - uint64(i)/2, delRange{2 + 2*uint64(i%2), 1}}
	}
	var e encoder
	e.endStructs()
	e.deleteSet(set)
	if err := doc.ApplyUpdate(e.finish()); err != nil {
		t.Fatal(err)
	}
	writer := New(Options{ClientID: 7})
	i := 0
	allocs := testing.AllocsPerRun(100, func() {
		update := transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(i, "x") })
		i++
		if err := doc.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := doc.ApplyUpdate(transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(i, "x") })); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 64<<10 {
		t.Errorf("a keystroke took %d bytes, %v allocations", bytes, allocs)
	}
	// Those that it is of use to get what they wait for, and no others.
	victim := New(Options{ClientID: 1<<31 - 5})
	if err := doc.ApplyUpdate(transact(t, victim, func(tx *Txn) error { return tx.Text("v").Insert(0, "abc") })); err != nil {
		t.Fatal(err)
	}
	if got := doc.Text("v"); got != "ab" || len(doc.pendingDeletes) != len(set)-1 {
		t.Errorf("text is %q, %d deletions wait", got, len(doc.pendingDeletes))
	}
}

// What one version of the encoding can hold is what the other can.
func TestDeepValues(t *testing.T) {
	for _, c := range []struct {
		depth  int
		within string
		fits   bool
	}{{maxAnyDepth + 1, "", true}, {maxAnyDepth, `"]\\\"[["`, true}, {maxAnyDepth + 1, "1", false}, {maxAnyDepth + 2, "", false}, {9000, "", false}} {
		for _, brackets := range []string{"[]", "{}"} {
			open := brackets[:1]
			if open == "{" {
				if c.within == "" {
					continue
				}
				open = `{"[":`
			}
			var e encoder
			body := strings.Repeat(open, c.depth) + c.within + strings.Repeat(brackets[1:], c.depth)
			e.add(1, 0, &view{info: kindEmbed, parentIs: parentRoot, name: []byte("t"), length: 1, body: []byte(body)})
			e.endStructs()
			e.deleteSet(nil)
			doc := New(Options{})
			err := doc.ApplyUpdate(e.finish())
			if (err == nil) != c.fits {
				t.Errorf("%d levels around %q: %v", c.depth, c.within, err)
			}
			state, err := doc.EncodeStateAsUpdateV2(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := New(Options{}).ApplyUpdateV2(state); err != nil {
				t.Errorf("%d levels around %q, in version 2: %v", c.depth, c.within, err)
			}
		}
	}
}

// repeatedKey is an update of n structs that all have one long key, given once.
func repeatedKey(kind uint8, n int) []byte {
	key := bytes.Repeat([]byte("k"), n)
	var keyNumbers diffEncoder
	for range n {
		keyNumbers.write(0)
	}
	var typeKinds, lengths uintEncoder
	text := []byte("t")
	text = append(text, key...)
	lengths.write(1)
	lengths.write(uint64(n))
	for range n - 1 {
		text = append(text, 't')
		lengths.write(1)
	}
	b := []byte{0}
	b = appendText(b, keyNumbers.finish())
	b = appendText(b, appendSigned(nil, 1, false)) // clients
	b = appendText(appendText(b, ""), "")
	b = appendText(b, []byte{kind})
	b = appendText(b, append(appendText(nil, text), lengths.finish()...))
	b = appendText(b, []byte{1}) // roots are the parents
	if kind == kindType {
		for range n {
			typeKinds.write(typeXMLElement)
		}
	}
	b = appendText(appendText(b, typeKinds.finish()), "")
	b = appendUint(appendUint(appendUint(b, 1), uint64(n)), 0)
	if kind == kindFormat {
		b = append(b, bytes.Repeat([]byte{anyTrue}, n)...)
	}
	return append(b, 0)
}

// Inserts that contest each other's places cost the square of their number with any
// Yjs engine. One update of too many is refused, and nothing of it is left: not in
// the text, not among what waits.
func TestTooCostly(t *testing.T) {
	const n = 4000
	text := strings.Repeat("x", n-3) + "🙂x"
	var base encoder
	base.add(1, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: n, body: []byte(text)})
	base.endStructs()
	base.deleteSet([]deletion{{1, delRange{5, 3}}, {1, delRange{n + 50, 2}}})
	update := base.finish()
	var waits encoder
	waits.add(2, 3, &view{info: kindString | infoOrigin, origin: rawID{1, 5}, length: 1, body: []byte("x")})
	waits.endStructs()
	waits.deleteSet(nil)
	var contested encoder
	for i := range uint64(n - 10) {
		// Each goes before another character, and so looks at all before it.
		contested.add(3*n-i, 0, &view{info: kindString | infoRightOrigin, rightOrigin: rawID{1, i + 6}, length: 1, body: []byte("y")})
	}
	contested.add(2, 0, &view{info: kindString | infoOrigin, origin: rawID{1, n - 3}, length: 3, body: []byte("zzz")}) // splits the character, wakes what waits
	contested.endStructs()
	contested.deleteSet([]deletion{{1, delRange{20, 5}}})
	last := contested.finish()

	free := New(Options{MaxWork: -1})
	for _, u := range [][]byte{update, waits.finish(), last} {
		if err := free.ApplyUpdate(u); err != nil {
			t.Fatal(err)
		}
	}
	checkStore(t, free)
	work := free.tx.work
	if work < n*n {
		t.Fatalf("that was no work: %d steps", work)
	}
	// It can be too much at any point.
	for _, limit := range []int{work - 1, work / 2, work / 100, 100} {
		doc := New(Options{MaxWork: limit, ClientID: 99})
		doc.opts.MaxWork = -1
		for _, u := range [][]byte{update, waits.finish()} {
			if err := doc.ApplyUpdate(u); err != nil {
				t.Fatal(err)
			}
		}
		doc.opts.MaxWork = limit
		before, pending, changes := encoded(t, doc), doc.pendingBytes, doc.Changes()
		if err := doc.ApplyUpdate(last); !errors.Is(err, ErrTooCostly) {
			t.Fatalf("with %d steps: %v", limit, err)
		}
		checkStore(t, doc)
		if !bytes.Equal(before, encoded(t, doc)) || doc.pendingBytes != pending || doc.Changes() != changes || doc.ClientID() != 99 {
			t.Fatalf("with %d steps something is left: %d bytes wait, not %d", limit, doc.pendingBytes, pending)
		}
		doc.opts.MaxWork = -1
		if err := doc.ApplyUpdate(last); err != nil {
			t.Fatal(err)
		}
		checkStore(t, doc)
		if !bytes.Equal(encoded(t, doc), encoded(t, free)) {
			t.Errorf("with %d steps the document is another one later", limit)
		}
	}
}

// Two stretches of one client in an update, the later one first: both are read.
func TestStretchesOfAClient(t *testing.T) {
	writer := New(Options{ClientID: 7})
	first := transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(0, "abc") })
	second := transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(3, "def") })
	// Each is one group, and no deletions.
	both := append([]byte{2}, second[1:len(second)-1]...)
	both = append(both, first[1:]...)
	doc := New(Options{})
	if err := doc.ApplyUpdate(both); err != nil {
		t.Fatal(err)
	}
	if got := doc.Text("t"); got != "abcdef" {
		t.Errorf("text is %q", got)
	}
	v2, err := ConvertUpdateV1ToV2(both)
	if err != nil {
		t.Fatal(err)
	}
	again := New(Options{})
	if err := again.ApplyUpdateV2(v2); err != nil || again.Text("t") != "abcdef" {
		t.Errorf("converted: %q %v", again.Text("t"), err)
	}
}

// Who fills what waits keeps nobody else from editing.
func TestPendingLimit(t *testing.T) {
	doc := New(Options{MaxPendingBytes: 20000})
	refused := 0
	for i := range uint64(1000) {
		var e encoder
		e.add(2, 10+2*i, &view{info: kindString | infoOrigin, origin: rawID{1, 5}, length: 1, body: []byte("x")})
		e.endStructs()
		e.deleteSet(nil)
		before := encoded(t, doc)
		if err := doc.ApplyUpdate(e.finish()); errors.Is(err, ErrPendingLimit) {
			refused++
			if !bytes.Equal(before, encoded(t, doc)) {
				t.Fatal("an update that was refused changed the document")
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 || doc.pendingBytes > 20000 {
		t.Fatalf("%d were refused, %d bytes wait", refused, doc.pendingBytes)
	}
	writer := New(Options{ClientID: 1})
	for range 8 {
		update := transact(t, writer, func(tx *Txn) error { return tx.Text("t").Insert(0, "y") })
		if err := doc.ApplyUpdate(update); err != nil {
			t.Fatalf("an edit that waits for nothing: %v", err)
		}
	}
	if got := doc.Text("t"); len(got) != 8 {
		t.Errorf("text is %q", got)
	}
	if structs, _ := doc.Pending(); !structs {
		t.Error("nothing waits any more")
	}
}

func readMalformed(t testing.TB) []malformedInput {
	var m malformed
	readGzip(t, filepath.Join(corpus, "malformed.json.gz"), &m)
	return m.Inputs
}

func FuzzApplyUpdate(f *testing.F) {
	for _, in := range readMalformed(f) {
		if len(in.Data) < 4096 {
			f.Add(in.Data, in.Data, in.Enc == 2)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte, v2 bool) { fuzzApply(t, v2, first, second) })
}

func fuzzApply(t *testing.T, v2 bool, updates ...[]byte) {
	doc, _ := seedDoc(t)
	for _, update := range updates {
		before := encoded(t, doc)
		if err := doc.apply(update, v2); err != nil {
			if !bytes.Equal(before, encoded(t, doc)) {
				t.Fatalf("refused with %v, but the document changed", err)
			}
		}
		checkStore(t, doc)
	}
	for _, version := range []bool{false, true} {
		all, err := doc.encodeState(nil, version)
		if err != nil {
			t.Fatal(err)
		}
		again := New(Options{ClientID: 2})
		if err := again.apply(all, version); err != nil {
			t.Fatalf("the document's own encoding is refused: %v", err)
		}
		checkStore(t, again)
		if structs, _ := doc.Pending(); structs {
			continue // what waits may contradict itself, too
		}
		// What is in it may differ: what is no history of any editor can contradict
		// itself, and then order decides, with yjs too.
		if got, want := again.StateVector(), doc.StateVector(); !bytes.Equal(got, want) {
			t.Fatalf("the state vector is %x after a round trip, was %x", got, want)
		}
	}
	readAll(doc)
	if _, err := doc.Transact(func(tx *Txn) error {
		return errors.Join(tx.Text("text").Insert(0, "x"), tx.Text("text").Format(0, 1, Object{{"b", true}}), tx.Map("m").Set("k", 1))
	}); err != nil {
		t.Fatal(err)
	}
	checkStore(t, doc)
}

// readAll reads a document in every way that there is.
func readAll(doc *Doc) {
	for _, root := range doc.Roots() {
		s := doc.Root(root)
		_ = s.Delta()
		_ = s.String()
		_, _ = s.MarshalJSON()
		for i := 0; i <= s.Len() && i < 8; i++ {
			if p, err := s.Position(i, i%3-1); err == nil {
				_, _, _ = doc.Resolve(p)
			}
		}
	}
}

// Without a document: what is made of updates is an update again.
func FuzzUpdates(f *testing.F) {
	for _, in := range readMalformed(f) {
		if len(in.Data) < 4096 {
			f.Add(in.Data, in.Data, in.Enc == 2)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte, v2 bool) {
		sv, err := stateVectorOf(first, v2)
		if _, err2 := parseMeta(first, v2); (err == nil) != (err2 == nil) {
			t.Fatalf("it has a state vector (%v), but no meta (%v)", err, err2)
		}
		if err != nil {
			return
		}
		if other, err := convert(first, v2); err != nil {
			t.Fatal(err)
		} else if _, err := convert(other, !v2); err != nil {
			t.Fatalf("converted, it cannot be read: %v", err)
		}
		diff, err := diffUpdate(first, sv, v2)
		if err != nil {
			t.Fatal(err)
		}
		merged, err := mergeUpdates([][]byte{first, second, diff}, v2)
		if err != nil {
			return // the second is no update
		}
		if err := New(Options{}).apply(merged, v2); err != nil && !errors.Is(err, ErrPendingLimit) {
			t.Fatalf("merged, they cannot be applied: %v", err)
		}
	})
}

// The small decoders: what they take they write again.
func FuzzSmallDecoders(f *testing.F) {
	fixed := []string{"\x00", "\x01\x05\x07", "\x00\x05\x07\x01", "\x01\x01t\x40", "\x02\x05\x07", "\x01\x05\x01\x02\x03\x01\x05\x07", `{"a":[1,-0.5e3,"\u00e9\ud800",null],"1":{}}`}
	for _, s := range fixed {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeSnapshot(b); err == nil {
			if again, err := DecodeSnapshot(s.Encode()); err != nil || !bytes.Equal(again.EncodeV2(), s.EncodeV2()) {
				t.Fatalf("snapshot %x: %v", b, err)
			}
		}
		if s, err := DecodeSnapshotV2(b); err == nil {
			if again, err := DecodeSnapshotV2(s.EncodeV2()); err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
				t.Fatalf("snapshot %x: %v", b, err)
			}
		}
		if p, err := DecodePosition(b); err == nil {
			if again, err := DecodePosition(p.Encode()); err != nil || !reflect.DeepEqual(p, again) {
				t.Fatalf("position %x: %v", b, err)
			}
		}
		_, _ = DecodeStateVector(b)
		if json.Valid(b) {
			v := decodeJSON(b)
			text := appendJSON(nil, v)
			if !json.Valid(text) || !bytes.Equal(text, appendJSON(nil, decodeJSON(text))) {
				t.Fatalf("JSON %q became %q", b, text)
			}
		}
		r := reader{buf: b}
		if r.walkAny(0); r.err == nil {
			again := reader{buf: b}
			v := again.any()
			value := appendAny(nil, v)
			third := reader{buf: value}
			if third.walkAny(0); third.err != nil {
				t.Fatalf("value %x was written as %x: %v", b, value, third.err)
			}
			if !json.Valid(appendJSON(nil, v)) {
				t.Fatalf("value %x is %s as JSON", b, appendJSON(nil, v))
			}
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
