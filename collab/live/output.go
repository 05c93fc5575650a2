package live

import (
	"bytes"
	"encoding/binary"
	"iter"
	"sort"

	"corun/store"
)

// Streams of a program's output, as in the first byte of an output frame.
const (
	StreamStdout = 1
	StreamStderr = 2
	StreamPTY    = 3
)

func streamName(s uint8) string {
	switch s {
	case StreamStdout:
		return "stdout"
	case StreamStderr:
		return "stderr"
	default:
		return "pty"
	}
}

// Chunk is a piece of one stream's output.
type Chunk struct {
	Stream uint8
	Data   []byte
}

// output is what one run printed, in the order in which it was read, all
// streams together: a position in it counts the bytes of all of them. It grows
// to the limit on kept output (8 MiB) and belongs to the room's lock.
type output struct {
	run    uint32
	pieces []piece
	sizes  [4]int64 // of the streams
}

// piece is a stretch of one stream.
type piece struct {
	end    int64 // position after it
	offset int64 // of its first byte in its stream
	stream uint8
	own    bool // data may be appended to
	data   []byte
}

const (
	// minShared is from how many bytes on what was printed is kept as it came: copies of a
	// flood would keep the collector busy, and with it a processor that somebody's keystroke
	// waits for.
	minShared = 4 << 10
	// maxOwnBytes is the most that small pieces are joined to.
	maxOwnBytes = 32 << 10
)

func newOutput() *output { return &output{} }

func (o *output) len() int64 {
	if len(o.pieces) == 0 {
		return 0
	}
	return o.pieces[len(o.pieces)-1].end
}

// append keeps data, which must not be changed any more.
func (o *output) append(stream uint8, data []byte) {
	if len(data) == 0 || int(stream) >= len(o.sizes) {
		return
	}
	n, own := int64(len(data)), len(data) < minShared
	offset, end := o.sizes[stream], o.len()+n
	o.sizes[stream] += n
	if last := len(o.pieces) - 1; own && last >= 0 {
		if p := &o.pieces[last]; p.own && p.stream == stream && len(p.data)+len(data) <= maxOwnBytes {
			p.data, p.end = append(p.data, data...), end
			return
		}
	}
	if own {
		data = bytes.Clone(data)
	}
	o.pieces = append(o.pieces, piece{end, offset, stream, own, data})
}

// at finds the piece that holds position pos < len.
func (o *output) at(pos int64) int {
	return sort.Search(len(o.pieces), func(i int) bool { return o.pieces[i].end > pos })
}

// start is the position of a piece's first byte.
func (o *output) start(i int) int64 { return o.pieces[i].end - int64(len(o.pieces[i].data)) }

// count gives the bytes of each stream in [from, to).
func (o *output) count(from, to int64) (n [4]int64) {
	for i := o.at(from); i < len(o.pieces) && o.start(i) < to; i++ {
		n[o.pieces[i].stream] += min(to, o.pieces[i].end) - max(from, o.start(i))
	}
	return n
}

// stretch gives what comes of one stream from pos on, below limit, piece by piece.
func (o *output) stretch(pos, limit int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := o.at(pos)
		for stream := o.pieces[i].stream; i < len(o.pieces) && pos < limit && o.pieces[i].stream == stream; i++ {
			p, start := &o.pieces[i], o.start(i)
			end := min(limit, p.end)
			if !yield(p.data[pos-start : end-start]) {
				return
			}
			pos = end
		}
	}
}

// frame appends to buf the output frame that starts at pos and ends with the stretch of its
// stream or at limit, and gives the position after it:
//
//	u8 stream, u32 BE run number, u64 BE offset in that stream, bytes
func (o *output) frame(buf []byte, pos, limit int64) (frame []byte, next int64) {
	i := o.at(pos)
	frame = append(buf, o.pieces[i].stream)
	frame = binary.BigEndian.AppendUint32(frame, o.run)
	frame = binary.BigEndian.AppendUint64(frame, uint64(o.pieces[i].offset+pos-o.start(i)))
	for data := range o.stretch(pos, limit) {
		frame = append(frame, data...)
		pos += int64(len(data))
	}
	return frame, pos
}

// lineStart gives the start of the first line at or after pos, so that output
// goes on at a line after a gap, or pos where no line ends soon.
func (o *output) lineStart(pos int64) int64 {
	const look = 4 << 10
	at := pos
	for data := range o.stretch(pos, pos+look) {
		if i := int64(bytes.IndexByte(data, '\n')); i >= 0 && at+i+1 < o.len() {
			return at + i + 1
		}
		at += int64(len(data))
	}
	return pos
}

// RunQueued, RunStarted and the others tell everybody of a run's life. The
// run's row is in the store before they are called.

// RunQueued announces a run that was accepted, which answers whoever started it;
// position 0 is next.
func (r *Room) RunQueued(run store.Run, position int, a Answer) {
	r.setRun(run, map[string]any{"type": "run.queued", "run": run, "position": position}, a)
}

// RunStarted announces that the program was executed.
func (r *Room) RunStarted(run store.Run) {
	r.setRun(run, map[string]any{"type": "run.started", "run": run}, Answer{})
}

// RunStage announces the stage a run is in, compile or run.
func (r *Room) RunStage(run store.Run) {
	r.setRun(run, map[string]any{"type": "run.stage", "run": run, "stage": run.Stage}, Answer{})
}

// RunTest announces what became of a test case, to each role what view gives of it. run counts
// it already.
func (r *Room) RunTest(run store.Run, view func(store.Role) any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run = &run
	r.broadcastByRole(func(role store.Role) any {
		return map[string]any{"type": "test.result", "run": run, "case": view(role)}
	})
}

// RunExited announces the verdict; everybody has the output before it.
func (r *Room) RunExited(run store.Run) {
	r.setRun(run, map[string]any{"type": "run.exited", "run": run}, Answer{})
}

func (r *Room) setRun(run store.Run, msg map[string]any, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil || r.run.Number != run.Number {
		r.output = newOutput()
		r.output.run = uint32(run.Number)
	}
	r.run = &run
	r.broadcastAnswer(msg, a.To, a.Ref)
}

// RunOutput adds to the current run's output. data must not be changed any more.
func (r *Room) RunOutput(number int, stream uint8, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.output == nil || r.output.run != uint32(number) {
		return
	}
	r.output.append(stream, data)
	for _, m := range r.members {
		m.signal()
	}
}
