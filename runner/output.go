package runner

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"corun/store"
)

const (
	// readBytes is the most that is read from the program at once: a pipe's
	// whole buffer.
	readBytes = 64 << 10
	// maxGatheredBytes bounds what was read and not yet delivered. Past it the
	// program waits.
	maxGatheredBytes = 256 << 10
	// maxSpareBytes is the most memory that is held for what is read next.
	maxSpareBytes = 128 << 10
	// maxGatheredPieces bounds how often the streams alternate within one
	// delivery. A program that alternates more often than that within a few
	// milliseconds has no order between two pipes that anyone could rely on.
	maxGatheredPieces = 16
)

// Chunk is a piece of a run's output. Data is never changed after it was given
// out, and must not be changed by who gets it.
type Chunk struct {
	Stream store.Stream
	Offset int64 // of the first byte in its stream
	Data   []byte
	At     time.Time // when it was delivered
	answer bool      // something was typed since the last
}

// piece is output that has no offset yet.
type piece struct {
	stream store.Stream
	data   []byte
}

// gather is where the readers of a program's streams put what they read and
// the supervisor takes it from: what comes in one by one leaves joined, when
// the supervisor is not there yet. It is bounded; readers wait.
type gather struct {
	// ready holds a token when there is something to take.
	ready chan struct{}

	mu      sync.Mutex // guards below
	room    *sync.Cond // signalled when taken
	pieces  []piece
	spare   []byte // memory of a piece that was taken, for the next one
	bytes   int
	discard bool
}

func newGather() *gather {
	g := &gather{ready: make(chan struct{}, 1)}
	g.room = sync.NewCond(&g.mu)
	return g
}

// put adds a copy of data, waiting while too much waits to be taken.
func (g *gather) put(stream store.Stream, data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.bytes >= maxGatheredBytes && !g.discard {
		g.room.Wait()
	}
	if g.discard {
		return
	}
	g.bytes += len(data)
	if i := g.join(stream); i >= 0 {
		g.pieces[i].data = append(g.pieces[i].data, data...)
	} else {
		g.pieces = append(g.pieces, piece{stream, append(g.spare[:0], data...)})
		g.spare = nil
	}
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// join gives the piece that more of a stream is added to, or -1 for a new one.
func (g *gather) join(stream store.Stream) int {
	last := len(g.pieces) - 1
	if last >= 0 && g.pieces[last].stream == stream {
		return last
	}
	if len(g.pieces) < maxGatheredPieces {
		return -1
	}
	for last >= 0 && g.pieces[last].stream != stream {
		last--
	}
	return last
}

// take gives what was put since the last take. Its memory is no larger than that: it is kept as
// long as the run, while pieces grow by half again and again.
func (g *gather) take() []piece {
	g.mu.Lock()
	defer g.mu.Unlock()
	pieces := g.pieces
	for i := range pieces {
		grown := pieces[i].data
		pieces[i].data = bytes.Clone(grown)
		if cap(grown) <= maxSpareBytes {
			g.spare = grown
		}
	}
	g.pieces, g.bytes = nil, 0
	g.room.Broadcast()
	return pieces
}

// drop throws away what waits and all that comes.
func (g *gather) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard, g.pieces, g.spare, g.bytes = true, nil, nil, 0
	g.room.Broadcast()
}

// close throws away all that comes; what waits can still be taken.
func (g *gather) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard = true
	g.room.Broadcast()
}

// copyFrom reads a stream to its end. The program is held back to flow's rate
// until ctx ends, from when on what is left in the pipe is read at once.
//
// A terminal reports its end as an error, as does a stream closed under the
// reader, so no error is told apart from the end.
func (g *gather) copyFrom(ctx context.Context, stream store.Stream, src io.Reader, flow *rate.Limiter) {
	buf := make([]byte, readBytes)
	read := 0 // and not yet accounted for
	for {
		n, err := src.Read(buf)
		if n > 0 {
			g.put(stream, buf[:n])
		}
		// A terminal gives 4 KiB at a time. To wait after each of them would be to wake up
		// thousands of times in a second.
		if read += n; read >= readBytes {
			// The error says that ctx has ended, which lifts the limit.
			_ = flow.WaitN(ctx, read)
			read = 0
		}
		if err != nil {
			return
		}
	}
}

// newFlow limits to bytesPerSecond, all streams together.
func newFlow(bytesPerSecond int64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), 2*readBytes)
}

// outputLog is what a run has printed so far, as it was delivered.
type outputLog struct {
	mu      sync.Mutex // guards below
	chunks  []Chunk
	sizes   store.OutputSizes
	changed chan struct{} // closed and replaced when there is more
	ended   bool
	typed   bool // something was, since the last chunk
}

func newOutputLog() *outputLog { return &outputLog{changed: make(chan struct{})} }

// add appends what was taken, up to room bytes, and gives it as chunks. over
// tells that there was more.
func (l *outputLog) add(pieces []piece, room int64) (added []Chunk, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, now := len(l.chunks), time.Now()
	for _, p := range pieces {
		if int64(len(p.data)) > room {
			p.data, over = p.data[:room], true
		}
		if len(p.data) == 0 {
			continue
		}
		room -= int64(len(p.data))
		l.chunks = append(l.chunks, Chunk{p.stream, size(l.sizes, p.stream), p.data[:len(p.data):len(p.data)], now, l.typed})
		l.typed = false
		l.sizes.Add(p.stream, len(p.data))
	}
	if len(l.chunks) > from {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return l.chunks[from:], over
}

// answers says that what comes next comes after something that was typed.
func (l *outputLog) answers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.typed = true
}

// end says that there will be no more.
func (l *outputLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.changed)
	}
}

// since gives the chunks from the after-th on, what is closed when there are
// more, and whether there will be none.
func (l *outputLog) since(after int) (chunks []Chunk, changed <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after = min(max(after, 0), len(l.chunks))
	return l.chunks[after:len(l.chunks):len(l.chunks)], l.changed, l.ended
}

// count tells how many chunks there are.
func (l *outputLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.chunks)
}

// piecesOf gives chunks without their places.
func piecesOf(chunks []Chunk) []piece {
	pieces := make([]piece, len(chunks))
	for i, c := range chunks {
		pieces[i] = piece{c.Stream, c.Data}
	}
	return pieces
}

func (l *outputLog) size() store.OutputSizes {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sizes
}

func size(s store.OutputSizes, stream store.Stream) int64 {
	switch stream {
	case store.Stdout:
		return s.Stdout
	case store.Stderr:
		return s.Stderr
	}
	return s.PTY
}

func total(s store.OutputSizes) int64 { return s.Stdout + s.Stderr + s.PTY }
