package ycrdt

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// hostileUpdates are valid updates of which a few bytes make much, or would make an
// engine that doubles, copies or looks again work much. n scales them.
func hostileUpdates(n uint64) map[string]func(e *encoder) []deletion {
	text := func(e *encoder, client, clock uint64, body string) {
		e.add(client, clock, &view{info: kindString, parentIs: parentRoot, name: []byte("t"), length: uint64(utf16Len([]byte(body))), body: []byte(body)})
	}
	after := func(e *encoder, client, clock uint64, origin rawID) {
		e.add(client, clock, &view{info: kindString | infoOrigin, origin: origin, length: 1, body: []byte("x")})
	}
	return map[string]func(e *encoder) []deletion{
		"clients": func(e *encoder) []deletion {
			for i := range n {
				text(e, 1<<31-i, 0, "x")
			}
			return nil
		},
		"clients that wait": func(e *encoder) []deletion {
			for i := range n {
				after(e, 1<<31-i, 0, rawID{1, 5})
			}
			return nil
		},
		"clients that wait for one each": func(e *encoder) []deletion {
			for i := range n {
				after(e, 1<<31-i, 0, rawID{1<<30 + i, 5})
			}
			return nil
		},
		"gaps": func(e *encoder) []deletion {
			for i := range n {
				after(e, 1, 2*i+1, rawID{2, 5})
			}
			return nil
		},
		"torn": func(e *encoder) []deletion {
			text(e, 9, 0, string(bytes.Repeat([]byte("🙂"), int(n))))
			for i := range n {
				after(e, 8, i, rawID{9, 2 * (n - i - 1)})
			}
			return nil
		},
		"torn from the left": func(e *encoder) []deletion {
			text(e, 9, 0, string(bytes.Repeat([]byte("🙂"), int(n))))
			for i := range n {
				after(e, 8, i, rawID{9, 2 * i})
			}
			return nil
		},
		"torn anywhere": func(e *encoder) []deletion {
			text(e, 9, 0, string(bytes.Repeat([]byte("🙂"), int(n))))
			for i := range n {
				after(e, 8, i, rawID{9, 2 * (i * 7919 % n)})
			}
			return nil
		},
		"torn by clients": func(e *encoder) []deletion {
			text(e, 1<<32, 0, string(bytes.Repeat([]byte("🙂"), int(n))))
			for i := range n {
				after(e, 1<<31-i, 0, rawID{1 << 32, 2 * (i * 7919 % n)})
			}
			return nil
		},
		"torn by deletions": func(e *encoder) []deletion {
			text(e, 9, 0, string(bytes.Repeat([]byte("🙂"), int(n))))
			set := make([]deletion, n)
			for i := range set {
				set[i] = deletion{9, delRange{2*uint64(i) + 1, 1}}
			}
			return set
		},
		"keys": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i, &view{info: kindAny | infoSub, parentIs: parentRoot, name: []byte("m"), sub: fmt.Appendf(nil, "%x", i), length: 1, body: []byte{anyNull}})
			}
			return nil
		},
		"roots": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i, &view{info: kindAny, parentIs: parentRoot, name: fmt.Appendf(nil, "%x", i), length: 1, body: []byte{anyNull}})
			}
			return nil
		},
		"types": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i, &view{info: kindType, typeKind: typeMap, parentIs: parentRoot, name: []byte("t"), length: 1})
			}
			return nil
		},
		"maps of one key": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i, &view{info: kindType, typeKind: typeMap, parentIs: parentRoot, name: []byte("t"), length: 1})
			}
			for i := range n {
				e.add(1, n+i, &view{info: kindAny | infoSub, parentIs: parentItem, parent: rawID{1, i}, sub: []byte("k"), length: 1, body: []byte{anyNull}})
			}
			return nil
		},
		"documents": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i, &view{info: kindDoc, parentIs: parentRoot, name: []byte("t"), length: 1, head: []byte("g"), body: []byte{anyObject, 0}})
			}
			return nil
		},
		"collected": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i, &view{info: kindGC, length: 1})
			}
			return nil
		},
		"skips": func(e *encoder) []deletion {
			for i := range n {
				e.add(1, i<<20, &view{info: kindSkip, length: 1 << 20})
			}
			return nil
		},
		"deletions of what is not there": func(e *encoder) []deletion {
			set := make([]deletion, n)
			for i := range set {
				set[i] = deletion{9, delRange{2 * uint64(i), 1}}
			}
			return set
		},
		"deletions of clients that are not there": func(e *encoder) []deletion {
			set := make([]deletion, n)
			for i := range set {
				set[i] = deletion{1<<31 - uint64(i), delRange{0, 1}}
			}
			return set
		},
		"deletions of every second": func(e *encoder) []deletion {
			text(e, 9, 0, string(bytes.Repeat([]byte("x"), int(2*n))))
			set := make([]deletion, n)
			for i := range set {
				set[i] = deletion{9, delRange{2 * uint64(i), 1}}
			}
			return set
		},
	}
}

func hostileUpdate(shape func(e *encoder) []deletion, v2 bool) []byte {
	e := encoder{v2: v2}
	deletes := shape(&e)
	e.endStructs()
	e.deleteSet(deletes)
	return e.finish()
}

func BenchmarkHostile(b *testing.B) {
	for name, shape := range hostileUpdates(60_000) {
		for _, v2 := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s, v%d", name, map[bool]int{false: 1, true: 2}[v2]), func(b *testing.B) {
				update := hostileUpdate(shape, v2)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for b.Loop() {
					if err := New(Options{MaxPendingBytes: 64 << 20}).apply(update, v2); err != nil {
						b.Fatal(err)
					}
				}
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(len(update))/1e6, "MB-update")
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/(1<<20), "MiB/op")
			})
		}
	}
}

// A keystroke costs what it costs, however much waits.
func BenchmarkKeystrokeBesidePending(b *testing.B) {
	for name, shape := range hostileUpdates(60_000) {
		doc := New(Options{MaxPendingBytes: 64 << 20})
		if err := doc.ApplyUpdate(hostileUpdate(shape, false)); err != nil {
			b.Fatal(err)
		}
		if structs, deletes := doc.Pending(); !structs && !deletes {
			continue
		}
		b.Run(name, func(b *testing.B) {
			writer := New(Options{ClientID: 77})
			updates := make([][]byte, 1000)
			for i := range updates {
				update, err := writer.Transact(func(tx *Txn) error { return tx.Text("typed").Insert(i, "x") })
				if err != nil {
					b.Fatal(err)
				}
				updates[i] = update
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := doc.ApplyUpdate(updates[i%len(updates)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
