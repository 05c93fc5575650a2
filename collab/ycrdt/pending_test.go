package ycrdt

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

// Pieces of updates that wait and overlap, cut within surrogate pairs: the smallest
// histories of test/fuzz/cuts.mjs in which something else once came of them. What is
// wanted is what yjs has then, encoded in version 2.
var cutHistories = []struct {
	updates []string
	want    string
}{
	{[]string{
		"0101020384020205efbfbd626300",
		"0101020184020007efbfbdf09f988000",
		"010102000401047465787408f09f9880f09f988000",
	}, "AAABAgAAAQQTEHRleHTvv73vv73wn5iAYmMEBgEBAAABAQAA"},
	{[]string{
		"0101010784010603efbfbd00",
		"0201020284020101610101078401060befbfbdf09f9880f09f988000",
	}, "AAAEQgBBAAICCgABhA8MYe+/vfCfmIDwn5iAAQUAAAACAQIBBwA="},
	{[]string{
		"01010104c40103010003efbfbd00",
		"0101010344010004f09f988000",
		"01020100040104746578740561f09f988044010004f09f988000",
	}, "AAACQQAAAQADBABEEQ10ZXh0YfCfmIDwn5iABAMCAQEAAAECAAA="},
}

func TestOverlappingPieces(t *testing.T) {
	for i, c := range cutHistories {
		doc := New(Options{})
		for _, u := range c.updates {
			update, err := hex.DecodeString(u)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 2 { // once more is nothing new
				changes, pending := doc.Changes(), doc.pendingBytes
				if err := doc.ApplyUpdate(update); err != nil {
					t.Fatal(err)
				}
				if n > 0 && (doc.Changes() != changes || doc.pendingBytes != pending) {
					t.Errorf("case %d: an update that came again is news", i)
				}
				checkStore(t, doc)
				checkWaiting(t, doc)
			}
		}
		got, err := doc.EncodeStateAsUpdateV2(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := base64.StdEncoding.EncodeToString(got); got != c.want {
			t.Errorf("case %d: %s, want %s", i, got, c.want)
		}
	}
}

// A piece that is of what waits already is nothing new, wherever it was cut.
func TestRepeatedPieces(t *testing.T) {
	piece := func(from, to uint64) []byte {
		var e encoder
		e.add(5, from, &view{info: kindString | infoOrigin, origin: rawID{5, from - 1}, length: to - from, body: []byte(strings.Repeat("x", int(to-from)))})
		e.endStructs()
		e.deleteSet(nil)
		return e.finish()
	}
	doc := New(Options{})
	if err := doc.ApplyUpdate(piece(10, 30)); err != nil {
		t.Fatal(err)
	}
	changes, pending := doc.Changes(), doc.pendingBytes
	for from := uint64(10); from < 30; from++ {
		for to := from + 1; to <= 30; to++ {
			if err := doc.ApplyUpdate(piece(from, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkWaiting(t, doc)
	if doc.Changes() != changes || doc.pendingBytes != pending {
		t.Errorf("pieces of what waits are news: %d changes, %d bytes instead of %d", doc.Changes()-changes, doc.pendingBytes, pending)
	}
	if err := doc.ApplyUpdate(piece(25, 40)); err != nil || doc.Changes() == changes {
		t.Errorf("a piece with something new is none: %v", err)
	}
	checkWaiting(t, doc)
	var e encoder
	e.add(5, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 10, body: []byte("0123456789")})
	e.endStructs()
	e.deleteSet(nil)
	if err := doc.ApplyUpdate(e.finish()); err != nil {
		t.Fatal(err)
	}
	checkWaiting(t, doc)
	if got := doc.Text("t"); got != "0123456789"+strings.Repeat("x", 30) || doc.pendingBytes != 0 {
		t.Errorf("%q, and %d bytes wait", got, doc.pendingBytes)
	}
}

// An update that is refused after it was merged with what waited leaves that as it was.
func TestRefusedAfterMerging(t *testing.T) {
	const n = 3000
	var first, second, third encoder
	first.add(1, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: n, body: []byte(strings.Repeat("x", n))})
	second.add(2, 3, &view{info: kindString | infoOrigin, origin: rawID{2, 2}, length: 4, body: []byte("dfgh")})
	second.add(2, 9, &view{info: kindString | infoOrigin, origin: rawID{2, 8}, length: 1, body: []byte("j")})
	third.add(5, 5, &view{info: kindString | infoOrigin, origin: rawID{4, 2}, length: 1, body: []byte("z")})
	third.add(2, 5, &view{info: kindString | infoOrigin, origin: rawID{2, 4}, length: 3, body: []byte("ghi")})
	for i := range uint64(n - 10) {
		third.add(5*n-i, 0, &view{info: kindString | infoRightOrigin, rightOrigin: rawID{1, i + 6}, length: 1, body: []byte("y")})
	}
	var updates [][]byte
	for _, e := range []*encoder{&first, &second, &third} {
		e.endStructs()
		e.deleteSet(nil)
		updates = append(updates, e.finish())
	}
	for _, limit := range []int{100, 100_000, 1 << 20, 10 << 20} {
		doc := New(Options{MaxWork: -1})
		for _, u := range updates[:2] {
			if err := doc.ApplyUpdate(u); err != nil {
				t.Fatal(err)
			}
		}
		before, pending := encoded(t, doc), doc.pendingBytes
		doc.opts.MaxWork = limit
		if err := doc.ApplyUpdate(updates[2]); !errors.Is(err, ErrTooCostly) {
			t.Fatalf("with %d steps: %v", limit, err)
		}
		checkWaiting(t, doc)
		if !bytes.Equal(before, encoded(t, doc)) || doc.pendingBytes != pending {
			t.Errorf("with %d steps something is left", limit)
		}
	}
}

// The restoring is put to the test where all has been merged already.
func TestRestoreMerged(t *testing.T) {
	for _, c := range cutHistories {
		doc := New(Options{})
		for _, u := range c.updates {
			update, _ := hex.DecodeString(u)
			before, pending := encoded(t, doc), doc.pendingBytes
			if err := doc.decode(update, false); err != nil {
				t.Fatal(err)
			}
			doc.begin()
			was := saved{len(doc.names), doc.pendingDeletes}
			doc.integrateAll()
			doc.mergeWaiting()
			doc.applyDeletes()
			doc.retry()
			doc.closeHoles()
			if err := doc.restore(was); !errors.Is(err, ErrTooCostly) {
				t.Fatal(err)
			}
			doc.shrink()
			checkWaiting(t, doc)
			if !bytes.Equal(before, encoded(t, doc)) || doc.pendingBytes != pending {
				t.Errorf("%d bytes wait instead of %d", doc.pendingBytes, pending)
			}
			if err := doc.ApplyUpdate(update); err != nil {
				t.Fatal(err)
			}
		}
		got, _ := doc.EncodeStateAsUpdateV2(nil)
		if got := base64.StdEncoding.EncodeToString(got); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// A few bytes cannot have much merged again and again, and nothing is lost where they
// overlap and are not merged any more.
func TestMergingIsBounded(t *testing.T) {
	const n = 60_000
	gaps := hostileUpdate(func(e *encoder) []deletion {
		for i := range uint64(n) {
			e.add(1, 3*i+1, &view{info: kindString | infoOrigin, origin: rawID{2, 5}, length: 2, body: []byte("xy")})
		}
		return nil
	}, false)
	doc := New(Options{MaxPendingBytes: 64 << 20})
	if err := doc.ApplyUpdate(gaps); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for i := range uint64(2000) {
		var e encoder
		e.add(1, 3*i+2, &view{info: kindString | infoOrigin, origin: rawID{1, 3*i + 1}, length: 2, body: []byte("yz")})
		e.endStructs()
		e.deleteSet(nil)
		if err := doc.ApplyUpdate(e.finish()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("2000 pieces took %v", time.Since(begun))
	if doc.mergeCredit > maxMergeCredit/4 {
		t.Errorf("there is credit for %d bytes left: it was no test", doc.mergeCredit)
	}
	checkStore(t, doc)
	var e encoder
	e.add(2, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 6, body: []byte("......")})
	e.add(1, 0, &view{info: kindString | infoOrigin, origin: rawID{2, 5}, length: 1, body: []byte("z")})
	e.endStructs()
	e.deleteSet(nil)
	if err := doc.ApplyUpdate(e.finish()); err != nil {
		t.Fatal(err)
	}
	checkStore(t, doc)
	// All up to the first gap is there, and the rest waits.
	if got := doc.stateOf(1); got != 3*2000+3 {
		t.Errorf("%d units of the client are there", got)
	}
}

// Groups of one client in one update that overlap: nothing of them is lost.
func TestOverlapWithinAnUpdate(t *testing.T) {
	text := func(e *encoder, clock uint64, body string) {
		e.add(1, clock, &view{info: kindString | infoOrigin, origin: rawID{1, clock - 1}, length: uint64(len(body)), body: []byte(body)})
	}
	var first encoder
	text(&first, 1, "bc")
	first.add(1, 3, &view{info: kindSkip, length: 4})
	text(&first, 7, "hij")
	text(&first, 4, "ef")
	var second, third encoder
	text(&second, 5, "fg")
	third.add(1, 0, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: 1, body: []byte("a")})
	text(&third, 3, "d")
	doc := New(Options{})
	for _, e := range []*encoder{&first, &second, &third} {
		e.endStructs()
		e.deleteSet(nil)
		update := e.finish()
		for range 2 {
			if err := doc.ApplyUpdate(update); err != nil {
				t.Fatal(err)
			}
			checkStore(t, doc)
		}
	}
	if got := doc.Text("t"); got != "abcdefghij" || doc.pendingBytes != 0 {
		t.Errorf("%q, and %d bytes wait", got, doc.pendingBytes)
	}
}

// checkWaiting checks what the document knows about what waits.
func checkWaiting(t testing.TB, d *Doc) {
	t.Helper()
	size, groups := deletionSize*len(d.pendingDeletes), make(map[uint64]int)
	for client, list := range d.waiting {
		if list.Len() == 0 {
			t.Errorf("nothing waits for client %d, but there is a list", client)
		}
		for _, w := range *list {
			g := w.group
			e := d.extents[g.client]
			if !g.kept || !g.waits || g.needs != client || g.before != nil || e.from > g.blocks[0].clock || e.to < g.blocks[len(g.blocks)-1].end() {
				t.Errorf("a group of client %d waits for %d: %+v", g.client, client, g)
			}
			size += g.size
			groups[g.client]++
		}
	}
	for client, e := range d.extents {
		if e.groups != groups[client] {
			t.Errorf("of client %d %d groups wait, not %d", client, groups[client], e.groups)
		}
	}
	if len(d.extents) != len(groups) || size != d.pendingBytes || len(d.woken) > 0 || len(d.merged) > 0 || len(d.later) > 0 {
		t.Errorf("%d bytes wait, not %d; of %d clients, not %d", size, d.pendingBytes, len(groups), len(d.extents))
	}
}

// What waited is taken in from the highest client on, as by yjs: whether something is deleted
// before or after there is more in it decides which of the deleted are joined.
// Each update begins with its version; the want is what yjs has in the end.
func TestOrderOfWhatWaited(t *testing.T) {
	updates := []string{
		"1AQHWqdWe+4XLDAUoAQNtYXABYgF2AgIxMHcYw5/ihpJoZWxsbyDwn5iAaGVsbG8gYgkBA++9nnvDP////////wA=",
		"1AQLWqdWe+4XLDAOo1qnVnvuFywwBAX0/KAEDbWFwATABdgIE8J+YgH1AAWt6AAAAAAAAAP8B1qnVnvuFywwBAQE=",
		"2AAAG3q3hjgwBAhMAAAOnAAQNC/CfmIAK5pel5pysBQEAAQIAAQISAd7WsIcGAQkE",
		"1AgLWqdWe+4XLDAGI1qnVnvuFywwAAX3AASgBA21hcAZsZW5ndGgBdgICMTB8v8AAAAB7PnrX8pq8r0gF3tawhwYHh97WsIcGAQEnAN7WsIcGBwFrACcA3tawhwYHAWICBADe1rCHBgkKYu6AgOaXpeacrIfe1rCHBgADA0RJVgHe1rCHBgEABw==",
		"1AQPe1rCHBgAoAQNtYXABYQF8/4AAACcBA21hcAFiAgQA3tawhwYBCfCfh6nwn4eqeAA=",
		"1AQPe1rCHBg+o1qnVnvuFywwAAX4oAN7WsIcGBwFhAXsAAAAAAAAAAScBA21hcAFrAgHWqdWe+4XLDAEAAQ==",
		"1AQHWqdWe+4XLDAAoAQNtYXABYQF9QAHWqdWe+4XLDAEAAQ==",
	}
	const want = "AgbWqdWe+4XLDAAhAQNtYXABYQGh1qnVnvuFywwAASgBA21hcAZsZW5ndGgBdgICMTB8v8AAAAB7PnrX8pq8r0io1qnVnvuFywwBAX0/KAEDbWFwATABdgIE8J+YgH1AAWt6AAAAAAAAAP8oAQNtYXABYgF2AgIxMHcYw5/ihpJoZWxsbyDwn5iAaGVsbG8gYgkBA++9nnvDP////////wre1rCHBgAhAQNtYXABYQEhAQNtYXABYgEABaHe1rCHBgEBAAah3tawhwYAAaHWqdWe+4XLDAABAAEnAQNtYXABawIABgLWqdWe+4XLDAEAAt7WsIcGAgAREgY="
	doc := New(Options{ClientID: 200})
	for _, u := range updates {
		applyEncoded(t, doc, u)
	}
	if got := base64.StdEncoding.EncodeToString(encoded(t, doc)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// applyEncoded applies an update in base64, after the number of its version.
func applyEncoded(t *testing.T, doc *Doc, u string) {
	t.Helper()
	update, err := base64.StdEncoding.DecodeString(u[1:])
	if err != nil {
		t.Fatal(err)
	}
	apply := doc.ApplyUpdate
	if u[0] == '2' {
		apply = doc.ApplyUpdateV2
	}
	if err := apply(update); err != nil {
		t.Fatal(err)
	}
}

// A text has no formats when the edit that gave it its first ones was undone. yjs cleans up
// the formats of all texts of a document where a nested one that has some is changed.
func TestFirstFormatsUndone(t *testing.T) {
	doc := New(Options{ClientID: 1117826586181259})
	applyEncoded(t, doc, "2AAAJ0oC89Pn44BECAwQCAAAFhwAEAIgFA++/vQEBAAECAQEBAwN7QZ1vNFSAAAAA")
	applyEncoded(t, doc, "2AAAIkoC89Pn44BEAAAMEAAgRDXRleHTwn5iAYXJyYXkEAgUBAQABAQECAHYBAWJ0A8kXAQA=")
	failed := errors.New("failed")
	nested := func(tx *Txn) Text {
		text, err := tx.TextOf(doc.Array("array")[1].(Shared))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if _, err := doc.Transact(func(tx *Txn) error {
		return errors.Join(tx.Text("text").Delete(1, 1), tx.Text("text").Format(0, 1, Object{{Key: "i", Value: true}}))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := doc.Transact(func(tx *Txn) error {
		return errors.Join(nested(tx).Format(0, 1, Object{{Key: "i", Value: true}}), failed)
	}); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	applyEncoded(t, doc, "2AAARiKSNy+vHuh3SgLz0+fjgEQMDAAIEAQIFwQCBACgDAWsBAQAAAkEBAgIAAQZ5AojSxuX1o90OAQABkoCe+ry88AgBAAE=")
	const want = "AwKI0sbl9aPdDgDBkoCe+ry88AgAkoCe+ry88AgBAYGSgJ76vLzwCAEBB5KAnvq8vPAIAAEBBHRleHQBgZKAnvq8vPAIAAEIAQVhcnJheQF2AQFidAPJFwGHkoCe+ry88AgCAgQAkoCe+ry88AgDA++/vYiSgJ76vLzwCAMBe0GdbzRUgAAAKACSgJ76vLzwCAMBawF5Aov928SElf4BAEaSgJ76vLzwCAABaQR0cnVlhpKAnvq8vPAIAQFpBG51bGwCiNLG5fWj3Q4BAAKSgJ76vLzwCAEAAg=="
	if got := base64.StdEncoding.EncodeToString(encoded(t, doc)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
