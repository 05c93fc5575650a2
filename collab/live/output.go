package live

import (
	"bytes"
	"encoding/binary"
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
	run      uint32
	streams  [4][]byte
	segments []segment
}

// segment is a stretch of one stream. Streams that alternate make many.
type segment struct {
	end    int64 // position after it
	offset int64 // of its first byte in its stream
	stream uint8
}

func newOutput() *output { return &output{} }

func (o *output) len() int64 {
	if len(o.segments) == 0 {
		return 0
	}
	return o.segments[len(o.segments)-1].end
}

func (o *output) append(stream uint8, data []byte) {
	if len(data) == 0 || int(stream) >= len(o.streams) {
		return
	}
	end, offset := o.len()+int64(len(data)), int64(len(o.streams[stream]))
	o.streams[stream] = append(o.streams[stream], data...)
	if n := len(o.segments); n > 0 && o.segments[n-1].stream == stream {
		o.segments[n-1].end = end
		return
	}
	o.segments = append(o.segments, segment{end, offset, stream})
}

// at finds the segment that holds position pos < len.
func (o *output) at(pos int64) int {
	return sort.Search(len(o.segments), func(i int) bool { return o.segments[i].end > pos })
}

// start is the position of a segment's first byte.
func (o *output) start(i int) int64 {
	if i == 0 {
		return 0
	}
	return o.segments[i-1].end
}

// count gives the bytes of each stream in [from, to).
func (o *output) count(from, to int64) (n [4]int64) {
	for i := o.at(from); i < len(o.segments) && o.start(i) < to; i++ {
		n[o.segments[i].stream] += min(to, o.segments[i].end) - max(from, o.start(i))
	}
	return n
}

// bytes gives what one segment holds of [pos, limit), with its stream and the
// offset of the first byte there.
func (o *output) bytes(pos, limit int64) (data []byte, stream uint8, offset int64) {
	i := o.at(pos)
	seg := o.segments[i]
	offset = seg.offset + pos - o.start(i)
	return o.streams[seg.stream][offset : offset+min(limit, seg.end)-pos], seg.stream, offset
}

// frame encodes the output frame that starts at pos and ends with its segment
// or at limit, and gives the position after it:
//
//	u8 stream, u32 BE run number, u64 BE offset in that stream, bytes
func (o *output) frame(pos, limit int64) (frame []byte, next int64) {
	data, stream, offset := o.bytes(pos, limit)
	frame = make([]byte, 13, 13+len(data))
	frame[0] = stream
	binary.BigEndian.PutUint32(frame[1:], o.run)
	binary.BigEndian.PutUint64(frame[5:], uint64(offset))
	return append(frame, data...), pos + int64(len(data))
}

// lineStart gives the start of the first line at or after pos, so that output
// goes on at a line after a gap, or pos where no line ends soon.
func (o *output) lineStart(pos int64) int64 {
	const look = 4 << 10
	data, _, _ := o.bytes(pos, pos+look)
	if i := bytes.IndexByte(data, '\n'); i >= 0 && pos+int64(i)+1 < o.len() {
		return pos + int64(i) + 1
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

// RunOutput adds to the current run's output. data is copied.
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
