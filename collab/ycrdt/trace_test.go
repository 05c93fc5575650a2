package ycrdt

import (
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The benchmarks here are for looking at one function; bench/engine compares with
// other engines. $CORUN_TRACES is a folder with b4-updates-v1.bin.gz (a length in
// four bytes, little-endian, and an update, again and again), b4-doc-v1.bin,
// b4-doc-v2.bin and b4-final.txt.gz; bench/engine/testdata is one.
func traces(b *testing.B) string {
	dir := os.Getenv("CORUN_TRACES")
	if dir == "" {
		b.Skip("CORUN_TRACES does not name a folder of traces")
	}
	return dir
}

func traceUpdates(b *testing.B, name string) (updates [][]byte) {
	stream := gunzip(b, filepath.Join(traces(b), name))
	for len(stream) > 0 {
		n := binary.LittleEndian.Uint32(stream)
		updates = append(updates, stream[4:4+n])
		stream = stream[4+n:]
	}
	return updates
}

func BenchmarkTrace(b *testing.B) {
	updates, want := traceUpdates(b, "b4-updates-v1.bin.gz"), gunzip(b, filepath.Join(traces(b), "b4-final.txt.gz"))
	for b.Loop() {
		doc := New(Options{})
		for _, u := range updates {
			if err := doc.ApplyUpdate(u); err != nil {
				b.Fatal(err)
			}
		}
		if got := doc.Text(doc.Roots()[0]); got != string(want) {
			b.Fatalf("the text has %d bytes, want %d", len(got), len(want))
		}
	}
	b.ReportMetric(float64(len(updates)), "updates/op")
}

func BenchmarkLoad(b *testing.B) {
	for _, v := range []struct {
		name string
		v2   bool
	}{{"b4-doc-v1.bin", false}, {"b4-doc-v2.bin", true}} {
		b.Run(v.name, func(b *testing.B) {
			update, err := os.ReadFile(filepath.Join(traces(b), v.name))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := New(Options{}).apply(update, v.v2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	update, err := os.ReadFile(filepath.Join(traces(b), "b4-doc-v1.bin"))
	if err != nil {
		b.Fatal(err)
	}
	doc := New(Options{})
	if err := doc.ApplyUpdate(update); err != nil {
		b.Fatal(err)
	}
	for name, v2 := range map[string]bool{"v1": false, "v2": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := doc.encodeState(nil, v2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	updates := traceUpdates(b, "b4-updates-v1.bin.gz")[:50000]
	for b.Loop() {
		if _, err := MergeUpdates(updates...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTwoClients(b *testing.B) {
	updates := traceUpdates(b, "b2-updates-v1.bin.gz")
	for b.Loop() {
		doc := New(Options{})
		for _, u := range updates {
			if err := doc.ApplyUpdate(u); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func gunzip(b *testing.B, path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		b.Fatal(err)
	}
	return data
}
