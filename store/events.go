package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	return s.lightTx(ctx, func(tx *sqlx.Tx) error { return appendEvents(ctx, tx, events) })
}

func appendEvents(ctx context.Context, tx *sqlx.Tx, events []Event) error {
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
}

// ChatEvents gives the last events of kind chat, oldest first, without those that were erased.
func (s *Store) ChatEvents(ctx context.Context, room string, limit int) ([]Event, error) {
	var rows []eventRow
	// The kind is in words, as the index has these events alone.
	err := s.read.SelectContext(ctx, &rows, `SELECT id, at, kind, data FROM events WHERE room_id = ? AND kind = 'chat'
		AND json_extract(data, '$.removed_by') IS NULL ORDER BY id DESC LIMIT ?`, room, limit)
	if err != nil {
		return nil, fmt.Errorf("read chat: %w", err)
	}
	slices.Reverse(rows)
	return eventsOf(room, rows), nil
}

// EraseChat takes text and links out of the event of a chat's message, which from then on says
// who did so. The error is ErrNotFound if there is none of that id.
func (s *Store) EraseChat(ctx context.Context, room, message, by string) error {
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE events SET data = json_set(data, '$.message.text', '', '$.message.links', json('[]'), '$.removed_by', ?)
			WHERE room_id = ? AND kind = 'chat' AND json_extract(data, '$.message.id') = ?`, by, room, message)
		if err != nil {
			return fmt.Errorf("erase a message of the chat: %w", err)
		}
		if n, err := res.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("message %s of room %s: %w", message, room, ErrNotFound)
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
