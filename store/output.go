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

// minPacked is the least output that is worth packing, in bytes.
const minPacked = 512

// AppendOutput adds chunks to a run's transcript; seq is the number of chunks
// stored before.
//
// They are packed: what runs away prints much that is alike, and each byte in the database's
// log is one that the next keystroke's flush writes to the disk.
func (s *Store) AppendOutput(ctx context.Context, room string, number, seq int, chunks []Chunk) error {
	rows := make([]outputRow, len(chunks))
	for i, c := range chunks {
		rows[i] = outputRow{number, seq + i, c.Stream, micros(c.At), c.Offset, c.Data, 0}
		if len(c.Data) < minPacked {
			continue
		}
		if packed := s.encode.EncodeAll(c.Data, make([]byte, 0, len(c.Data))); len(packed) < len(c.Data) {
			rows[i].Data, rows[i].Size = packed, len(c.Data)
		}
	}
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		for _, r := range rows {
			_, err := tx.ExecContext(ctx, `INSERT INTO run_output (room_id, number, seq, stream, at, first, data, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
				room, r.Number, r.Seq, r.Stream, r.At, r.First, r.Data, r.Size)
			if err != nil {
				return fmt.Errorf("store output of run %d of room %s: %w", number, room, err)
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
