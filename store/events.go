package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/mattn/go-sqlite3"
)

// Event is an entry of a room's log that is neither an edit nor output: who came and went,
// who drove, what was typed for a program, how runs went. See Log.
type Event struct {
	ID     int64
	RoomID string
	At     time.Time
	Kind   string
	Data   json.RawMessage
}

// AppendEvents stores events in their order. Those of rooms that were deleted
// meanwhile are left out.
func (s *Store) AppendEvents(ctx context.Context, events []Event) error {
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		for _, e := range events {
			_, err := tx.ExecContext(ctx, `INSERT INTO events (room_id, at, kind, data) VALUES (?, ?, ?, ?)`, e.RoomID, micros(e.At), e.Kind, string(e.Data))
			var refusal sqlite3.Error
			if errors.As(err, &refusal) && refusal.Code == sqlite3.ErrConstraint {
				continue
			}
			if err != nil {
				return fmt.Errorf("store event: %w", err)
			}
		}
		return nil
	})
}

// Events gives a room's events after one, oldest first.
func (s *Store) Events(ctx context.Context, room string, after int64, limit int) ([]Event, error) {
	var rows []eventRow
	err := s.read.SelectContext(ctx, &rows, `SELECT id, at, kind, data FROM events WHERE room_id = ? AND id > ? ORDER BY id LIMIT ?`, room, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return eventsOf(room, rows), nil
}
