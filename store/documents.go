package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Document is what a room's document is loaded from: a snapshot, if there is
// one, and the updates after it.
type Document struct {
	Room     *Room
	Snapshot []byte // an update that holds all up to a number, or nil
	Updates  [][]byte
	LastSeq  int64 // of the last update, 0 if there is none
	// SinceSnapshot counts Updates in bytes.
	SinceSnapshot int
	// Past holds, for an open room, the state vectors of documents of its name that were
	// deleted.
	Past [][]byte
}

// LoadDocument reads a room and its document. An error is never an empty document.
func (s *Store) LoadDocument(ctx context.Context, room string) (*Document, error) {
	var row struct {
		roomRow
		Seq  sql.NullInt64 `db:"seq"`
		Data []byte        `db:"data"`
	}
	err := s.read.GetContext(ctx, &row, `SELECT rooms.*, snapshots.seq, snapshots.data FROM rooms
		LEFT JOIN snapshots ON snapshots.room_id = rooms.id WHERE rooms.id = ?`, room)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("room %s: %w", room, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read room and snapshot: %w", err)
	}
	doc := &Document{Room: row.room(), LastSeq: row.Seq.Int64}
	if row.Seq.Valid {
		if doc.Snapshot, err = s.decode.DecodeAll(row.Data, nil); err != nil {
			return nil, fmt.Errorf("unpack snapshot of room %s: %w", room, err)
		}
	}
	if doc.Room.Open {
		if doc.Past, err = s.pastDocuments(ctx, room); err != nil {
			return nil, err
		}
	}
	return doc, s.readUpdates(ctx, doc, func(u Stored) bool { return u.Seq > row.Seq.Int64 },
		`WHERE room_id = ? AND seq > ? ORDER BY seq`, room, row.Seq.Int64)
}

// UpdatesUntilSeq gives a room's updates up to one, from the first.
func (s *Store) UpdatesUntilSeq(ctx context.Context, room string, seq int64) ([][]byte, error) {
	if _, err := s.Room(ctx, room); err != nil {
		return nil, err
	}
	doc := new(Document)
	err := s.readUpdates(ctx, doc, func(u Stored) bool { return u.Seq <= seq },
		`WHERE room_id = ? AND seq - n < ? ORDER BY seq`, room, seq)
	return doc.Updates, err
}

// UpdatesUntil gives a room's updates up to a moment, from the first.
func (s *Store) UpdatesUntil(ctx context.Context, room string, at time.Time) ([][]byte, error) {
	if _, err := s.Room(ctx, room); err != nil {
		return nil, err
	}
	doc := new(Document)
	// By number and not by time alone: where the clock was set back, an update
	// must not be without those it builds on.
	var last struct {
		Seq int64 `db:"seq"`
		N   int64 `db:"n"`
	}
	err := s.read.GetContext(ctx, &last, `SELECT seq, n FROM updates WHERE room_id = ? AND at <= ? ORDER BY seq DESC LIMIT 1`, room, micros(at))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the last update until %v: %w", at, err)
	}
	first, over := last.Seq-last.N+1, false // of that row, which may go on after the moment
	err = s.readUpdates(ctx, doc, func(u Stored) bool {
		over = over || (u.Seq > first && u.At.After(at))
		return !over
	}, `WHERE room_id = ? AND seq <= ? ORDER BY seq`, room, last.Seq)
	return doc.Updates, err
}

// readUpdates adds to doc those of the stored updates that where names and keep wants.
func (s *Store) readUpdates(ctx context.Context, doc *Document, keep func(Stored) bool, where string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, `SELECT seq, n, at, author, data FROM updates `+where, args...)
	if err != nil {
		return fmt.Errorf("read updates: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.seq, &r.n, &r.at, &r.author, &r.data); err != nil {
			return fmt.Errorf("read update: %w", err)
		}
		updates, err := r.updates()
		if err != nil {
			return fmt.Errorf("read updates up to %d: %w", r.seq, err)
		}
		for _, u := range updates {
			if !keep(u) {
				continue
			}
			doc.Updates = append(doc.Updates, u.Data)
			doc.LastSeq = u.Seq
			doc.SinceSnapshot += len(u.Data)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read updates: %w", err)
	}
	return nil
}

// SaveSnapshot stores the encoded document as of update seq, for loading. The
// updates stay.
func (s *Store) SaveSnapshot(ctx context.Context, room string, seq int64, data []byte) error {
	_, err := s.write.ExecContext(ctx, `INSERT INTO snapshots (room_id, seq, data) VALUES (?, ?, ?)
		ON CONFLICT (room_id) DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > snapshots.seq`,
		room, seq, s.encode.EncodeAll(data, nil))
	if err != nil {
		return fmt.Errorf("store snapshot of room %s: %w", room, err)
	}
	return nil
}
