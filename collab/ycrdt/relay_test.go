package ycrdt

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// relayed takes updates in and hands on what Relay gives to a peer. After each the peer has
// what the document has, but for what waits: of that it never hears.
type relayed struct {
	t         *testing.T
	doc, peer *Doc
	whole     int // updates that were handed on as they came
	encoded   int // those that were not
	cleaned   int // those that made formats redundant
}

func newRelayed(t *testing.T, gc bool) *relayed {
	opts := Options{DisableGC: !gc, MaxWork: -1}
	return &relayed{t: t, doc: New(opts), peer: New(opts)}
}

func (r *relayed) take(update []byte) (out []byte) {
	r.t.Helper()
	before := r.doc.StateVector()
	news, err := r.doc.Relay(update)
	if err != nil {
		r.t.Fatal(err)
	}
	out = news.Update
	switch {
	case news.Whole:
		r.whole++
		if !bytes.Equal(out, update) {
			r.t.Fatalf("an update that came whole is handed on as %x instead of %x", out, update)
		}
	case out != nil:
		r.encoded++
		// What was there before is not sent again.
		had, _ := DecodeStateVector(before)
		meta, err := ParseUpdateMeta(out)
		if err != nil {
			r.t.Fatal(err)
		}
		for client, from := range meta.From {
			if from != had[client] && len(r.doc.tx.torn) == 0 {
				r.t.Fatalf("%x is handed on, from clock %d of a client on of which %d is known", out, from, had[client])
			}
		}
	}
	if out != nil {
		if err := r.peer.ApplyUpdate(out); err != nil {
			r.t.Fatalf("what is handed on cannot be taken in: %v", err)
		}
	}
	if news.Cleaned != nil {
		r.cleaned++
		if err := r.peer.ApplyUpdate(news.Cleaned); err != nil {
			r.t.Fatalf("what was cleaned up cannot be taken in: %v", err)
		}
	}
	if structs, deletes := r.peer.Pending(); structs || deletes {
		r.t.Fatalf("of %x something waits at a peer", out)
	}
	have, err := r.doc.EncodeIntegrated(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if got, err := r.peer.EncodeStateAsUpdate(nil); err != nil || !bytes.Equal(got, have) {
		r.t.Fatalf("after %x a peer has\n%x, and the document\n%x", update, got, have)
	}
	return out
}

// In whichever order updates come, peers are in step with what is integrated.
func TestRelayCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "cases", "*", "*.json.gz"))
	if err != nil || len(files) < 200 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	encoded, cleaned := 0, 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json.gz"), func(t *testing.T) {
			var c corpusCase
			readGzip(t, file, &c)
			if len(c.Updates) > 300 {
				c.Updates = c.Updates[:300]
			}
			for seed := range uint64(3) {
				r := newRelayed(t, c.GC)
				order := rand.New(rand.NewPCG(seed, 0)).Perm(len(c.Updates))
				for i := range order {
					if seed == 0 {
						order[i] = i
					}
					r.take(c.Updates[order[i]].V1)
				}
				encoded += r.encoded
				cleaned += r.cleaned
			}
		})
	}
	if encoded < 1000 || cleaned == 0 {
		t.Errorf("only %d of the updates brought what had waited, %d made formats redundant", encoded, cleaned)
	}
}

func TestRelayCuts(t *testing.T) {
	for _, c := range cutHistories {
		r := newRelayed(t, true)
		for _, u := range c.updates {
			update, err := hex.DecodeString(u)
			if err != nil {
				t.Fatal(err)
			}
			r.take(update)
		}
	}
}

// piecesOf cuts the structs of an update at random into pieces that may overlap.
func piecesOf(t *testing.T, update []byte, n int, rnd *rand.Rand) (pieces [][]byte) {
	var m merger
	if err := m.add(update, false); err != nil {
		t.Fatal(err)
	}
	for range n {
		var e encoder
		for _, g := range m.groups() {
			end := g.end()
			from := g.blocks[0].clock + rnd.Uint64N(end-g.blocks[0].clock)
			to := from + 1 + rnd.Uint64N(min(end-from, 12))
			var v view
			for _, b := range g.blocks {
				if b.end() <= from || b.clock >= to {
					continue
				}
				buf := g.buf
				if b.clock < from {
					buf = b.cut(from-b.clock, g.client, buf)
				}
				b.view(&v, buf)
				if b.end() > to {
					v.keep(to - b.clock)
				}
				e.add(g.client, b.clock, &v)
			}
		}
		e.endStructs()
		var deletes []deletion
		for _, del := range m.deletes {
			if rnd.IntN(3) == 0 {
				deletes = append(deletes, del)
			}
		}
		e.deleteSet(joinDeletions(deletes))
		pieces = append(pieces, e.finish())
	}
	return pieces
}

// Pieces that nobody's editor makes: cut anywhere, also within characters.
func TestRelayPieces(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		docs := []*Doc{New(Options{ClientID: 5}), New(Options{ClientID: 9})}
		for range 12 {
			a, b := docs[rnd.IntN(2)], docs[rnd.IntN(2)]
			update, err := a.Transact(func(tx *Txn) error {
				text, length := tx.Text("t"), len([]rune(a.Text("t")))
				if length > 6 && rnd.IntN(3) == 0 {
					return text.Delete(2*rnd.IntN(length-2), 2)
				}
				return text.Insert(2*rnd.IntN(length+1), strings.Repeat("😀", 1+rnd.IntN(4)))
			})
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				if err := b.ApplyUpdate(update); err != nil {
					t.Fatal(err)
				}
			}
		}
		all := encoded(t, docs[0])
		r := newRelayed(t, true)
		for _, piece := range piecesOf(t, all, 60, rnd) {
			r.take(piece)
		}
		r.take(all)
	}
}
