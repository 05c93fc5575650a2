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
	// transcriptTxBytes is the most that is written in one transaction.
	transcriptTxBytes = 64 << 10
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
	chunks int // of the log, stored
	rows   int // stored
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

// flush stores what there is, in several transactions if that is much: a keystroke that is being
// saved meanwhile waits for one of them, and no longer.
func (t *transcript) flush() error {
	chunks, _, _ := t.run.output.since(t.chunks)
	for len(chunks) > 0 {
		part := chunks[:within(chunks, transcriptTxBytes)]
		rows := joinChunks(part)
		ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
		err := t.run.runner.store.AppendOutput(ctx, t.run.job.Room, t.run.Number(), t.rows, rows)
		cancel()
		if err != nil {
			return fmt.Errorf("store output of run %d: %w", t.run.Number(), err)
		}
		t.chunks += len(part)
		t.rows += len(rows)
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

// joinChunks makes few rows of many chunks.
func joinChunks(chunks []Chunk) []store.Chunk {
	var rows []store.Chunk
	copied := false // the last row is ours to append to
	for _, c := range chunks {
		last := len(rows) - 1
		if last < 0 || c.answer || rows[last].Stream != c.Stream || len(rows[last].Data)+len(c.Data) > transcriptRowBytes || c.At.Sub(rows[last].At) > transcriptRowSpan {
			rows = append(rows, store.Chunk{Stream: c.Stream, At: c.At, Offset: c.Offset, Data: c.Data})
			copied = false
			continue
		}
		if !copied {
			rows[last].Data = append([]byte(nil), rows[last].Data...)
			copied = true
		}
		rows[last].Data = append(rows[last].Data, c.Data...)
	}
	return rows
}
