package runner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"corun/store"
)

func TestGatherJoins(t *testing.T) {
	g := newGather()
	g.put(store.Stdout, []byte("a"))
	g.put(store.Stdout, []byte("b"))
	g.put(store.Stderr, []byte("c"))
	g.put(store.Stdout, []byte("d"))
	<-g.ready
	var got []string
	for _, p := range g.take() {
		got = append(got, p.stream.String()+":"+string(p.data))
	}
	if want := []string{"stdout:ab", "stderr:c", "stdout:d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(g.take()) != 0 {
		t.Error("taken twice")
	}
}

func TestGatherBoundsAlternation(t *testing.T) {
	g := newGather()
	var want [3]string
	for i := range 1000 {
		stream := store.Stream(1 + i%2)
		letter := string(rune('a' + i%26))
		g.put(stream, []byte(letter))
		want[stream] += letter
	}
	pieces := g.take()
	if len(pieces) > maxGatheredPieces {
		t.Errorf("%d pieces, at most %d wanted", len(pieces), maxGatheredPieces)
	}
	var got [3]string
	for _, p := range pieces {
		got[p.stream] += string(p.data)
	}
	if got != want {
		t.Error("a stream's own order was lost")
	}
}

// A reader waits while the supervisor is busy, and goes on when it takes or
// drops.
func TestGatherIsBounded(t *testing.T) {
	for name, free := range map[string]func(*gather){
		"taken":   func(g *gather) { g.take() },
		"dropped": func(g *gather) { g.drop() },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGather()
			source := &counter{r: io.LimitReader(zeros{}, 4<<20)}
			done := make(chan struct{})
			go func() {
				defer close(done)
				g.copyFrom(t.Context(), store.Stdout, source, rate.NewLimiter(rate.Inf, readBytes))
			}()
			for {
				select {
				case <-g.ready:
				case <-done:
					if source.n != 4<<20 {
						t.Errorf("%d bytes were read", source.n)
					}
					return
				}
				if got := g.held(); got > maxGatheredBytes+readBytes {
					t.Fatalf("%d bytes are held", got)
				}
				free(g)
			}
		})
	}
}

func (g *gather) held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestOutputLog(t *testing.T) {
	l := newOutputLog()
	_, changed, _ := l.since(0)
	added, over := l.add([]piece{{store.Stdout, []byte("abc")}, {store.Stderr, []byte("de")}}, 100)
	if len(added) != 2 || over {
		t.Fatalf("added %v, over %v", added, over)
	}
	<-changed
	added, over = l.add([]piece{{store.Stdout, []byte("fgh")}, {store.Stderr, []byte("i")}}, 2)
	if !over || len(added) != 1 || string(added[0].Data) != "fg" || added[0].Offset != 3 {
		t.Errorf("added %v, over %v; want fg at 3, and more", added, over)
	}
	if got, want := l.size(), (store.OutputSizes{Stdout: 5, Stderr: 2}); got != want {
		t.Errorf("sizes are %+v, want %+v", got, want)
	}
	l.end()
	chunks, changed, ended := l.since(1)
	<-changed
	if len(chunks) != 2 || !ended {
		t.Errorf("%d chunks from the second on, ended %v", len(chunks), ended)
	}
	if chunks, _, _ = l.since(100); len(chunks) != 0 {
		t.Errorf("%d chunks after the last", len(chunks))
	}
}

func TestOutputLogExactlyFull(t *testing.T) {
	if _, over := newOutputLog().add([]piece{{store.PTY, []byte("abc")}}, 3); over {
		t.Error("output that just fits is over the limit")
	}
}

func TestJoinChunks(t *testing.T) {
	big := bytes.Repeat([]byte("x"), transcriptRowBytes-1)
	at := time.Now()
	chunks := []Chunk{
		{store.Stdout, 0, []byte("a"), at, false}, {store.Stdout, 1, []byte("b"), at, false}, {store.Stdout, 2, []byte("c"), at.Add(transcriptRowSpan), false},
		{store.Stderr, 0, []byte("d"), at, false}, {store.Stdout, 3, big, at, false}, {store.Stdout, 3 + int64(len(big)), []byte("ef"), at, false},
		{store.Stdout, 5 + int64(len(big)), []byte("gh"), at.Add(2 * transcriptRowSpan), false},
		{store.Stdout, 7 + int64(len(big)), []byte("ij"), at.Add(2 * transcriptRowSpan), true},
	}
	rows, _ := joinChunks(chunks, nil)
	var got []string
	of := 0
	for _, r := range rows {
		got = append(got, r.Stream.String()+" "+string(r.Data[:min(3, len(r.Data))]))
		of += r.of
	}
	if of != len(chunks) {
		t.Errorf("rows are of %d chunks", of)
	}
	if want := []string{"stdout abc", "stderr d", "stdout xxx", "stdout ef", "stdout gh", "stdout ij"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if string(chunks[0].Data) != "a" {
		t.Error("a chunk that others hold was changed")
	}
}

func TestWithin(t *testing.T) {
	chunks := []Chunk{{Data: make([]byte, 3)}, {Data: make([]byte, 4)}, {Data: make([]byte, 5)}}
	for bytes, want := range map[int]int{1: 1, 3: 1, 6: 1, 7: 2, 11: 2, 12: 3, 100: 3} {
		if got := within(chunks, bytes); got != want {
			t.Errorf("within %d bytes there are %d, want %d", bytes, got, want)
		}
	}
	if within(nil, 1) != 0 {
		t.Error("of none there are some")
	}
}

func TestInputIsBounded(t *testing.T) {
	in := newInput()
	half := make([]byte, maxInputBytes/2)
	for range 2 {
		if err := in.add("ann", half); err != nil {
			t.Fatal(err)
		}
	}
	var refused *InputError
	if err := in.add("ann", []byte("x")); !errors.As(err, &refused) {
		t.Fatalf("got %v, want an InputError", err)
	}
	if p, _ := in.next(); len(p) != inputWriteBytes {
		t.Fatalf("%d bytes to write, want %d", len(p), inputWriteBytes)
	}
	if err := in.add("ben", []byte("x")); err != nil {
		t.Errorf("after some was written: %v", err)
	}
	if got := in.by(); got["ann"] != maxInputBytes || got["ben"] != 1 {
		t.Errorf("counted %v", got)
	}
	in.close()
	if err := in.add("ann", half); err != nil {
		t.Errorf("a program that reads no more is no error: %v", err)
	}
	in.finish()
	if err := in.add("ann", half); !errors.As(err, &refused) {
		t.Errorf("input after its end: got %v", err)
	}
}

func TestInputWriter(t *testing.T) {
	in := newInput()
	var got bytes.Buffer
	text := strings.Repeat("0123456789", 10_000)
	if err := in.add("", []byte(text)); err != nil {
		t.Fatal(err)
	}
	in.finish()
	in.writeTo(t.Context(), &got)
	if got.String() != text {
		t.Errorf("%d of %d bytes arrived", got.Len(), len(text))
	}
}

func TestInputWriterEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	newInput().writeTo(ctx, io.Discard) // returns

	in := newInput()
	if err := in.add("", []byte("x")); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	r.Close()
	in.writeTo(t.Context(), w)
	if p, _ := in.next(); len(p) != 0 {
		t.Error("input is kept for a program that reads no more")
	}
}

func TestFinishLine(t *testing.T) {
	for typed, want := range map[string]string{
		"":     "\x04",
		"a\n":  "a\n\x04",
		"a\r":  "a\r\x04",
		"half": "half\x04\x04",
	} {
		in := newInput()
		if typed != "" {
			if err := in.add("", []byte(typed)); err != nil {
				t.Fatal(err)
			}
		}
		in.finishLine()
		if got, _ := in.next(); string(got) != want {
			t.Errorf("after %q: %q, want %q", typed, got, want)
		}
		if err := in.add("", []byte("more")); err != nil {
			t.Errorf("a terminal's input goes on: %v", err)
		}
	}
}

func TestInputReadFrom(t *testing.T) {
	in := newInput()
	source := io.LimitReader(zeros{}, 3*maxInputBytes)
	done := make(chan error, 1)
	go func() { done <- in.readFrom(t.Context(), source) }()
	var n counter
	n.r = zeros{}
	in.writeTo(t.Context(), writerFunc(func(p []byte) { n.n += len(p) }))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n.n != 3*maxInputBytes {
		t.Errorf("%d of %d bytes arrived", n.n, 3*maxInputBytes)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }
