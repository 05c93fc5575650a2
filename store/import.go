package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/mattn/go-sqlite3"
)

// This file stores rooms that come from elsewhere, in pieces, so that a server that uses the
// same database is not kept from writing. Until FinishImport nobody can enter such a room, as
// it has no tokens.

// BeginImport makes a room as it is given, without tokens, and with what its history begins
// with, or nil. The error is ErrExists if there is one of that id.
func (s *Store) BeginImport(ctx context.Context, room Room, base *Base) error {
	var packed []byte
	if base != nil {
		packed = s.encode.EncodeAll(base.State, nil)
	}
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO rooms (id, title, language, locked, driver_only, runs_enabled, ended, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			room.ID, room.Title, room.Language, room.Locked, room.DriverOnly, room.RunsEnabled, room.Ended, micros(room.CreatedAt))
		var constraint sqlite3.Error
		if errors.As(err, &constraint) && constraint.ExtendedCode == sqlite3.ErrConstraintPrimaryKey {
			return fmt.Errorf("import room %s: %w", room.ID, ErrExists)
		}
		if err != nil {
			return fmt.Errorf("import room: %w", err)
		}
		if base == nil {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO bases (room_id, seq, at, data) VALUES (?, ?, ?, ?)`, room.ID, base.Seq, micros(base.At), packed); err != nil {
			return fmt.Errorf("import base: %w", err)
		}
		return nil
	})
}

// ImportUpdates stores updates with their numbers, times and authors.
func (s *Store) ImportUpdates(ctx context.Context, room string, updates []Stored) error {
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		insert := tx.StmtxContext(ctx, s.updates.insert)
		for _, u := range updates {
			if _, err := insert.ExecContext(ctx, room, u.Seq, 1, micros(u.At), u.Author, u.Data); err != nil {
				return fmt.Errorf("import update %d: %w", u.Seq, err)
			}
		}
		return nil
	})
}

// ImportRun stores a run that has ended, under its own number.
func (s *Store) ImportRun(ctx context.Context, run *Run) error {
	record, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO runs (room_id, number, state, doc_seq, created_at, record) VALUES (?, ?, ?, ?, ?, ?)`,
			run.Room, run.Number, run.State, run.DocSeq, micros(run.CreatedAt), string(record))
		if err != nil {
			return fmt.Errorf("import run %d: %w", run.Number, err)
		}
		return nil
	})
}

// FinishImport gives a room its tokens, with which it can be entered. All of it is on the disk
// then.
func (s *Store) FinishImport(ctx context.Context, room string, hashes map[Role][32]byte) error {
	return s.tx(ctx, func(tx *sqlx.Tx) error { return insertTokens(ctx, tx, room, hashes) })
}
