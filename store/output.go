package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/klauspost/compress/zstd"
)

// Chunk is a piece of a run's output. Chunks are in the order of reading, all streams
// together.
type Chunk struct {
	Stream Stream
	At     time.Time // when its first byte was read
	Offset int64     // of its first byte in its stream
	Data   []byte
}

const (
	// minPacked is the least output that is worth packing, in bytes.
	minPacked = 512
	// maxOutputTx is how many bytes, packed, are about the most in one transaction: a keystroke
	// that is being saved meanwhile waits for one of them, and no longer.
	maxOutputTx = 64 << 10
)

// AppendOutput adds chunks to a run's transcript, and gives how many of them were stored if not
// all; seq is the number of chunks stored before. Nothing of a chunk is kept in memory.
//
// They are packed: what runs away prints much that is alike, and each byte in the database's
// log is one that the next keystroke's flush writes to the disk.
func (s *Store) AppendOutput(ctx context.Context, room string, number, seq int, chunks []Chunk) (stored int, err error) {
	var rows []outputRow
	var memory []byte // of the rows
	for i, c := range chunks {
		row := outputRow{number, seq + i, c.Stream, micros(c.At), c.Offset, c.Data, 0}
		if len(c.Data) >= minPacked {
			from := len(memory)
			memory = s.encode.EncodeAll(c.Data, memory)
			if packed := memory[from:]; len(packed) < len(c.Data) {
				row.Data, row.Size = packed, len(c.Data)
			}
		}
		rows = append(rows, row)
		if len(memory) < maxOutputTx && i < len(chunks)-1 {
			continue
		}
		if err := s.insertOutput(ctx, room, rows); err != nil {
			return stored, err
		}
		stored += len(rows)
		rows, memory = rows[:0], memory[:0]
	}
	return stored, nil
}

func (s *Store) insertOutput(ctx context.Context, room string, rows []outputRow) error {
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		for _, r := range rows {
			_, err := tx.ExecContext(ctx, `INSERT INTO run_output (room_id, number, seq, stream, at, first, data, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
				room, r.Number, r.Seq, r.Stream, r.At, r.First, r.Data, r.Size)
			if err != nil {
				return fmt.Errorf("store output of run %d of room %s: %w", r.Number, room, err)
			}
		}
		return nil
	})
}

// OutputChunks gives a run's transcript.
func (s *Store) OutputChunks(ctx context.Context, room string, number int) ([]Chunk, error) {
	var rows []outputRow
	err := s.read.SelectContext(ctx, &rows, `SELECT number, seq, stream, at, first, data, size FROM run_output WHERE room_id = ? AND number = ? ORDER BY seq`, room, number)
	if err != nil {
		return nil, fmt.Errorf("read output: %w", err)
	}
	chunks := make([]Chunk, len(rows))
	for i := range rows {
		if err := rows[i].unpack(s.decode); err != nil {
			return nil, err
		}
		chunks[i] = rows[i].chunk()
	}
	return chunks, nil
}

type outputRow struct {
	Number int    `db:"number"`
	Seq    int    `db:"seq"`
	Stream Stream `db:"stream"`
	At     int64  `db:"at"`
	First  int64  `db:"first"`
	Data   []byte `db:"data"`
	Size   int    `db:"size"` // unpacked; 0 if Data is not packed
}

// unpack makes Data what was printed.
func (r *outputRow) unpack(decode *zstd.Decoder) (err error) {
	if r.Size == 0 {
		return nil
	}
	if r.Data, err = decode.DecodeAll(r.Data, make([]byte, 0, r.Size)); err != nil {
		return fmt.Errorf("unpack output %d of run %d: %w", r.Seq, r.Number, err)
	}
	r.Size = 0
	return nil
}

func (r outputRow) chunk() Chunk { return Chunk{r.Stream, fromMicros(r.At), r.First, r.Data} }
