package ycrdt

import (
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkTrace applies a real editing history, update by update: the folder
// $CORUN_TRACES holds b4-updates-v1.bin.gz (a length in four bytes, little-endian,
// and an update, again and again) and b4-final.txt.gz.
func BenchmarkTrace(b *testing.B) {
	dir := os.Getenv("CORUN_TRACES")
	if dir == "" {
		b.Skip("CORUN_TRACES does not name a folder of traces")
	}
	stream, want := gunzip(b, filepath.Join(dir, "b4-updates-v1.bin.gz")), gunzip(b, filepath.Join(dir, "b4-final.txt.gz"))
	var updates [][]byte
	for len(stream) > 0 {
		n := binary.LittleEndian.Uint32(stream)
		updates = append(updates, stream[4:4+n])
		stream = stream[4+n:]
	}
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
