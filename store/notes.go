package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/mattn/go-sqlite3"
)

// NotesID is the id under which the private notes of a room's hosts are stored, as the document
// of a row in rooms. It is no name that an open room can have, and no token opens it.
func NotesID(room string) string { return room + "/notes" }

// EnsureNotes makes the private notes of a room if it has none yet. The error is ErrNotFound
// for a room that is not there.
func (s *Store) EnsureNotes(ctx context.Context, room string) error {
	id := NotesID(room)
	if _, err := s.Room(ctx, id); !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO rooms (id, title, language, created_at, notes_of) VALUES (?, '', '', ?, ?) ON CONFLICT (id) DO NOTHING`,
			id, micros(s.now()), room)
		var constraint sqlite3.Error
		if errors.As(err, &constraint) && constraint.ExtendedCode == sqlite3.ErrConstraintForeignKey {
			return fmt.Errorf("notes of room %s: %w", room, ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("make notes: %w", err)
		}
		return nil
	})
}
