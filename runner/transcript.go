package runner

import (
	"context"
	"fmt"
	"time"

	"corun/store"
)

const (
	// transcriptPause is the least time between two writes of one run's output.
	// A crash of the whole machine loses no more than that.
	transcriptPause = 100 * time.Millisecond
	// transcriptRowBytes is the most in one row, and transcriptRowSpan the time from its first
	// byte to its last: what comes together for the eye is one row. An answer begins one, so that
	// it stands in the log after what was typed.
	transcriptRowBytes = 64 << 10
	transcriptRowSpan  = 16 * time.Millisecond
	// transcriptPartBytes is the most that is joined at once.
	transcriptPartBytes = 512 << 10
	// transcriptRetry is the pause after a write that failed.
	transcriptRetry = time.Second
)

// transcript writes a run's output to the store behind its back, in batches.
type transcript struct {
	run  *Run
	stop chan struct{} // closed when the output is complete
	done chan struct{}
	// The supervisor's: what is shown survives in tail until it is stored. It is nil before the
	// first output.
	tail   *store.Tail
	unkept bool
	// Owned by write; err may be read after done.
	chunks int    // of the log, stored
	rows   int    // stored
	joined []byte // memory of rows that are being stored
	err    error
}

// startTranscript begins to write. finish ends it.
func startTranscript(run *Run) *transcript {
	t := &transcript{run: run, stop: make(chan struct{}), done: make(chan struct{})}
	go t.write()
	return t
}

// keep makes what is about to be shown survive this process. On a full disk, say, it is shown
// all the same: that is told once.
func (t *transcript) keep(chunks []Chunk) {
	if len(chunks) == 0 || t.unkept {
		return
	}
	var err error
	if t.tail == nil {
		t.tail, err = t.run.runner.store.Tail(t.run.job.Room, t.run.Number())
	}
	if err == nil {
		rows := make([]store.Chunk, len(chunks))
		for i, c := range chunks {
			rows[i] = store.Chunk{Stream: c.Stream, At: c.At, Data: c.Data}
		}
		err = t.tail.Append(rows...)
	}
	if err != nil {
		t.unkept = true
		t.run.runner.log.Error("output may be shown that does not survive this process", "room", t.run.job.Room, "run", t.run.Number(), "error", err)
	}
}

// finish returns when all output is stored, or with the reason why it is not.
func (t *transcript) finish() error {
	close(t.stop)
	<-t.done
	return t.err
}

// leave gives the tail up, when the verdict was stored as well: without that the run would be
// lost, and be given what is in its tail.
func (t *transcript) leave(stored bool) {
	if t.tail == nil {
		return
	}
	end := t.tail.Release
	if stored {
		end = t.tail.Close
	}
	if err := end(); err != nil {
		t.run.runner.log.Error("give up output that was kept", "room", t.run.job.Room, "run", t.run.Number(), "error", err)
	}
}

func (t *transcript) write() {
	defer close(t.done)
	stopped := false
	for {
		_, changed, _ := t.run.output.since(t.chunks)
		t.err = t.flush()
		if stopped {
			return
		}
		pause := transcriptPause
		if t.err != nil {
			t.run.runner.log.Error("store output", "room", t.run.job.Room, "error", t.err)
			pause = transcriptRetry
		}
		select {
		case <-time.After(pause):
		case <-t.stop:
			stopped = true
			continue
		}
		if t.err != nil {
			continue
		}
		select {
		case <-changed:
		case <-t.stop:
			stopped = true
		}
	}
}

// flush stores what there is.
func (t *transcript) flush() error {
	chunks, _, _ := t.run.output.since(t.chunks)
	for len(chunks) > 0 {
		part := chunks[:within(chunks, transcriptPartBytes)]
		rows, memory := joinChunks(part, t.joined[:0])
		t.joined = memory
		list := make([]store.Chunk, len(rows))
		for i := range rows {
			list[i] = rows[i].Chunk
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		stored, err := t.run.runner.store.AppendOutput(ctx, t.run.job.Room, t.run.Number(), t.rows, list)
		cancel()
		t.rows += stored
		for _, row := range rows[:stored] {
			t.chunks += row.of
		}
		if err != nil {
			return fmt.Errorf("store output of run %d: %w", t.run.Number(), err)
		}
		chunks = chunks[len(part):]
	}
	return nil
}

// within counts the first chunks that have at most so many bytes together, or one.
func within(chunks []Chunk, bytes int) int {
	for i, c := range chunks {
		if bytes -= len(c.Data); bytes < 0 {
			return max(i, 1)
		}
	}
	return len(chunks)
}

// joinedChunk is a row, and how many chunks it is of.
type joinedChunk struct {
	store.Chunk
	of int
}

// joinChunks makes few rows of many chunks, which it does not change. Rows of several are in
// memory, which it appends to and gives back: what floods would keep the collector busy.
func joinChunks(chunks []Chunk, memory []byte) ([]joinedChunk, []byte) {
	var rows []joinedChunk
	from := 0 // where the last row begins in memory
	for _, c := range chunks {
		last := len(rows) - 1
		if last < 0 || c.answer || rows[last].Stream != c.Stream || len(rows[last].Data)+len(c.Data) > transcriptRowBytes || c.At.Sub(rows[last].At) > transcriptRowSpan {
			rows = append(rows, joinedChunk{store.Chunk{Stream: c.Stream, At: c.At, Offset: c.Offset, Data: c.Data}, 1})
			continue
		}
		row := &rows[last]
		if row.of == 1 {
			from = len(memory)
			memory = append(memory, row.Data...)
		}
		memory = append(memory, c.Data...)
		row.Data, row.of = memory[from:], row.of+1
	}
	return rows, memory
}
