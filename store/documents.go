package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/jmoiron/sqlx"
)

// Document is what a room's document is loaded from: a state, if one was kept, and the
// updates after it.
type Document struct {
	Room *Room
	// Snapshot is an update that holds all up to a number, or nil: the last snapshot or,
	// where that is older or missing, what history begins with.
	Snapshot []byte
	Updates  [][]byte
	LastSeq  int64 // of the last update, 0 if there is none
	Count    int   // of the updates
	// SinceSnapshot counts them in bytes.
	SinceSnapshot int
	// Past holds, for an open room, the state vectors of documents of its name that were
	// deleted.
	Past [][]byte
}

// LoadDocument reads a room and its document. An error is never an empty document.
func (s *Store) LoadDocument(ctx context.Context, room string) (*Document, error) {
	var snapshot []byte
	var updates [][]byte
	doc, err := s.ReadDocument(ctx, room, nil, func(state []byte) error {
		snapshot = state
		return nil
	}, func(update []byte) error {
		updates = append(updates, update)
		return nil
	})
	if err != nil {
		return nil, err
	}
	doc.Snapshot, doc.Updates = snapshot, updates
	return doc, nil
}

// ReadDocument is LoadDocument for one who takes in what there is, the state, if there is
// one, and then update after update: since the last snapshot there may be more of them than
// is good to have in memory. Snapshot and Updates stay nil. With ErrNotFound comes what there
// was before of that name: Past. head, or nil, is given the room first, and its error ends it.
func (s *Store) ReadDocument(ctx context.Context, room string, head func(*Room) error, state, update func([]byte) error) (*Document, error) {
	// Most of what an open server is asked for has never been: that takes one question.
	var there bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM rooms WHERE id = ?1)
		OR EXISTS (SELECT 1 FROM past_documents WHERE room_id = ?1)`, room).Scan(&there)
	if err != nil {
		return nil, fmt.Errorf("look for room: %w", err)
	}
	if !there {
		return new(Document), fmt.Errorf("room %s: %w", room, ErrNotFound)
	}
	var doc *Document
	// In one transaction: between two, updates may have been folded.
	err = s.readTx(ctx, func(tx *sqlx.Tx) error {
		var row struct {
			roomRow
			Seq  int64  `db:"seq"`
			Data []byte `db:"data"`
		}
		err := tx.GetContext(ctx, &row, `SELECT rooms.*, MAX(COALESCE(s.seq, 0), COALESCE(b.seq, 0)) AS seq,
			CASE WHEN s.seq >= COALESCE(b.seq, 0) THEN s.data ELSE b.data END AS data
			FROM rooms LEFT JOIN snapshots s ON s.room_id = rooms.id LEFT JOIN bases b ON b.room_id = rooms.id WHERE rooms.id = ?`, room)
		if errors.Is(err, sql.ErrNoRows) {
			past, err := deletedDocuments(ctx, tx, room)
			if err != nil {
				return err
			}
			doc = &Document{Past: past}
			return fmt.Errorf("room %s: %w", room, ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("read room and snapshot: %w", err)
		}
		doc = &Document{Room: row.room(), LastSeq: row.Seq}
		if head != nil {
			if err := head(doc.Room); err != nil {
				return err
			}
		}
		if row.Data != nil {
			data, err := s.decode.DecodeAll(row.Data, nil)
			if err != nil {
				return fmt.Errorf("unpack snapshot of room %s: %w", room, err)
			}
			if err := state(data); err != nil {
				return err
			}
		}
		if doc.Room.Open {
			if doc.Past, err = deletedDocuments(ctx, tx, room); err != nil {
				return err
			}
		}
		return eachUpdate(ctx, tx, room, row.Seq, maxSeq, func(u Stored) error {
			doc.Count++
			doc.LastSeq = u.Seq
			doc.SinceSnapshot += len(u.Data)
			return update(u.Data)
		})
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return doc, err
}

// maxSeq is after all updates.
const maxSeq = math.MaxInt64

// eachRow gives the rows of a room that hold updates after one, up to another, in order.
func eachRow(ctx context.Context, tx *sqlx.Tx, room string, after, until int64, fn func(row) error) error {
	rows, err := tx.QueryContext(ctx, `SELECT seq, n, at, author, data FROM updates WHERE room_id = ? AND seq > ? AND seq - n < ? ORDER BY seq`, room, after, until)
	if err != nil {
		return fmt.Errorf("read updates: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.seq, &r.n, &r.at, &r.author, &r.data); err != nil {
			return fmt.Errorf("read update: %w", err)
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read updates: %w", err)
	}
	return nil
}

// eachUpdate gives the updates of a room after one, up to another, in order.
func eachUpdate(ctx context.Context, tx *sqlx.Tx, room string, after, until int64, fn func(Stored) error) error {
	return eachRow(ctx, tx, room, after, until, func(r row) error {
		updates, err := r.updates()
		if err != nil {
			return fmt.Errorf("read updates up to %d: %w", r.seq, err)
		}
		for _, u := range updates {
			if u.Seq <= after || u.Seq > until {
				continue
			}
			if err := fn(u); err != nil {
				return err
			}
		}
		return nil
	})
}

// SaveSnapshot stores the encoded document as of update seq, for loading. The
// updates stay.
func (s *Store) SaveSnapshot(ctx context.Context, room string, seq int64, data []byte) error {
	packed := s.encode.EncodeAll(data, nil)
	err := s.lightTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO snapshots (room_id, seq, data) SELECT ?, ?, ?
			WHERE NOT EXISTS (SELECT 1 FROM bases WHERE room_id = ? AND seq >= ?)
			ON CONFLICT (room_id) DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > snapshots.seq`,
			room, seq, packed, room, seq)
		return err
	})
	if err != nil {
		return fmt.Errorf("store snapshot of room %s: %w", room, err)
	}
	return nil
}
