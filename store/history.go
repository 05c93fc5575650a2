package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// This file is what a room's document was: its updates as a history, and the base into which
// those are folded that are older than history is kept.

// HistoryGoneError says that a moment is before what is kept of a room's history.
type HistoryGoneError struct {
	Since time.Time // the first moment that is known
}

func (e *HistoryGoneError) Error() string {
	return "the history of this room is kept from " + e.Since.Format(time.RFC3339Nano) + " on"
}

// Base is what a room's document was when its history begins.
type Base struct {
	Seq   int64     // of the last update in it
	At    time.Time // of the latest one
	State []byte    // an update that holds all of them
}

// Base gives what the history of a room begins with, or nil if it begins with nothing.
func (s *Store) Base(ctx context.Context, room string) (*Base, error) {
	var row struct {
		Seq  int64  `db:"seq"`
		At   int64  `db:"at"`
		Data []byte `db:"data"`
	}
	err := s.read.GetContext(ctx, &row, `SELECT seq, at, data FROM bases WHERE room_id = ?`, room)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read base of room %s: %w", room, err)
	}
	state, err := s.decode.DecodeAll(row.Data, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack base of room %s: %w", room, err)
	}
	return &Base{row.Seq, fromMicros(row.At), state}, nil
}

// LastSeq gives the number of a room's last update, or 0.
func (s *Store) LastSeq(ctx context.Context, room string) (seq int64, err error) {
	err = s.read.GetContext(ctx, &seq, `SELECT MAX(COALESCE((SELECT MAX(seq) FROM updates WHERE room_id = ?), 0),
		COALESCE((SELECT seq FROM bases WHERE room_id = ?), 0))`, room, room)
	if err != nil {
		return 0, fmt.Errorf("find the last update of room %s: %w", room, err)
	}
	return seq, nil
}

// ReplayUntil gives to apply what made up a room's document at a moment: a state that was
// kept from before, if there is one, and the updates after it, in order. Before the first
// update there is nothing. The error is a *HistoryGoneError for a moment that is not known any
// more, ErrNotFound for a room that is not there, or what apply said.
func (s *Store) ReplayUntil(ctx context.Context, room string, at time.Time, apply func(update []byte) error) error {
	return s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		seq, err := lastUntil(ctx, tx, room, h, at)
		if err != nil || seq == 0 {
			return err
		}
		return s.replay(ctx, tx, room, h, seq, apply)
	})
}

// lastUntil gives the number of the last update until a time, or 0 before the first.
func lastUntil(ctx context.Context, tx *sqlx.Tx, room string, h head, at time.Time) (int64, error) {
	// By number and not by time alone: where the clock was set back, an update
	// must not be without those it builds on.
	var r row
	err := tx.QueryRowContext(ctx, `SELECT seq, n, at, author, data FROM updates WHERE room_id = ? AND at <= ? ORDER BY seq DESC LIMIT 1`,
		room, micros(at)).Scan(&r.seq, &r.n, &r.at, &r.author, &r.data)
	switch {
	case err == nil:
	case !errors.Is(err, sql.ErrNoRows):
		return 0, fmt.Errorf("find the last update until %v: %w", at, err)
	case h.BaseSeq > 0 && micros(at) < h.BaseAt:
		return 0, h.gone()
	default:
		return h.BaseSeq, nil
	}
	updates, err := r.updates()
	if err != nil {
		return 0, fmt.Errorf("read updates up to %d: %w", r.seq, err)
	}
	last := len(updates) - 1
	for last > 0 && updates[last].At.After(at) { // the first is not
		last--
	}
	return updates[last].Seq, nil
}

// ReplayUntilSeq is ReplayUntil for the moment after an update.
func (s *Store) ReplayUntilSeq(ctx context.Context, room string, seq int64, apply func(update []byte) error) error {
	return s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		return s.replay(ctx, tx, room, h, seq, apply)
	})
}

// head is which states of a room are kept; 0 is for those that are not.
type head struct {
	BaseSeq     int64 `db:"base_seq"`
	BaseAt      int64 `db:"base_at"`
	SnapshotSeq int64 `db:"snapshot_seq"`
}

func (h head) gone() error { return &HistoryGoneError{fromMicros(h.BaseAt)} }

func headOf(ctx context.Context, tx *sqlx.Tx, room string) (h head, err error) {
	err = tx.GetContext(ctx, &h, `SELECT COALESCE(b.seq, 0) AS base_seq, COALESCE(b.at, 0) AS base_at, COALESCE(s.seq, 0) AS snapshot_seq
		FROM rooms LEFT JOIN bases b ON b.room_id = rooms.id LEFT JOIN snapshots s ON s.room_id = rooms.id WHERE rooms.id = ?`, room)
	if errors.Is(err, sql.ErrNoRows) {
		return h, fmt.Errorf("room %s: %w", room, ErrNotFound)
	}
	if err != nil {
		return h, fmt.Errorf("read room: %w", err)
	}
	return h, nil
}

// replay begins with the latest state that is not past seq.
func (s *Store) replay(ctx context.Context, tx *sqlx.Tx, room string, h head, seq int64, apply func([]byte) error) error {
	if seq < h.BaseSeq {
		return h.gone()
	}
	from, table := h.BaseSeq, "bases"
	if h.SnapshotSeq > h.BaseSeq && h.SnapshotSeq <= seq {
		from, table = h.SnapshotSeq, "snapshots"
	}
	if from > 0 {
		state, err := s.state(ctx, tx, room, table)
		if err != nil {
			return err
		}
		if err := apply(state); err != nil {
			return fmt.Errorf("state of update %d: %w", from, err)
		}
	}
	return eachUpdate(ctx, tx, room, from, seq, func(u Stored) error {
		if err := apply(u.Data); err != nil {
			return fmt.Errorf("update %d: %w", u.Seq, err)
		}
		return nil
	})
}

// state reads a state of a room from the table bases or snapshots.
func (s *Store) state(ctx context.Context, tx *sqlx.Tx, room, table string) ([]byte, error) {
	var packed []byte
	if err := tx.GetContext(ctx, &packed, `SELECT data FROM `+table+` WHERE room_id = ?`, room); err != nil {
		return nil, fmt.Errorf("read %s of room %s: %w", table, room, err)
	}
	state, err := s.decode.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack %s of room %s: %w", table, room, err)
	}
	return state, nil
}

const (
	// pageBytes is how much a page of updates has, but for one update more.
	pageBytes = 1 << 20
	// foldBytes and foldRows bound what is folded in one transaction, for which others
	// who write wait.
	foldBytes = 8 << 20
	foldRows  = 10_000
)

// errEnough ends a loop over rows.
var errEnough = errors.New("enough")

// UpdatesAfter gives a page of a room's updates after one, up to another, in order: all, or
// about 1 MiB of them. None is the end. If some of them are not kept any more it is a
// *HistoryGoneError.
func (s *Store) UpdatesAfter(ctx context.Context, room string, after, until int64) (page []Stored, err error) {
	err = s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		if after < h.BaseSeq {
			return h.gone()
		}
		size := 0
		err = eachUpdate(ctx, tx, room, after, until, func(u Stored) error {
			if size >= pageBytes {
				return errEnough
			}
			page = append(page, u)
			size += len(u.Data) + queuedOverhead
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
	return page, err
}

// RoomsWithUpdatesUntil gives the first rooms after one, by id, whose history begins with an
// update that is as old as a moment or older.
func (s *Store) RoomsWithUpdatesUntil(ctx context.Context, cutoff time.Time, after string, limit int) (rooms []string, err error) {
	err = s.read.SelectContext(ctx, &rooms, `SELECT id FROM rooms WHERE id > ? AND
		(SELECT at FROM updates WHERE room_id = rooms.id ORDER BY seq LIMIT 1) <= ? ORDER BY id LIMIT ?`, after, micros(cutoff), limit)
	if err != nil {
		return nil, fmt.Errorf("find rooms with updates until %v: %w", cutoff, err)
	}
	return rooms, nil
}

// OldUpdates is the beginning of a room's history, which Fold replaces by one state.
type OldUpdates struct {
	Room string
	From int64 // of the base that it builds on, or 0
	Base []byte
	Seq  int64 // of the last update
	// At is of the latest update, those of the base included.
	At      time.Time
	Updates [][]byte
}

// OldUpdates gives the updates with which a room's history begins and that no moment after
// the cutoff needs, or as many of them as are folded at once; nil if there are none. A moment
// is a time, or a run that was started after the cutoff or has not ended. The base that they
// build on is left out if the caller has it, which have says by its number.
func (s *Store) OldUpdates(ctx context.Context, room string, cutoff time.Time, have int64) (old *OldUpdates, err error) {
	err = s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		var run sql.NullInt64 // the last update of the first run that must be known
		err = tx.GetContext(ctx, &run, `SELECT MIN(doc_seq) FROM runs WHERE room_id = ? AND (created_at > ? OR state <> 'finished')`, room, micros(cutoff))
		if err != nil {
			return fmt.Errorf("find runs since %v: %w", cutoff, err)
		}
		found := &OldUpdates{Room: room, From: h.BaseSeq, At: fromMicros(h.BaseAt)}
		rows, size := 0, 0
		err = eachRow(ctx, tx, room, h.BaseSeq, maxSeq, func(r row) error {
			updates, err := r.updates()
			if err != nil {
				return fmt.Errorf("read updates up to %d: %w", r.seq, err)
			}
			// Whole rows, up to the first with an update after the cutoff: where the clock was
			// set back, older ones may follow, which then stay.
			last := updates[0].At
			for _, u := range updates {
				if u.At.After(last) {
					last = u.At
				}
			}
			if last.After(cutoff) || (run.Valid && r.seq > run.Int64) || rows >= foldRows || size >= foldBytes {
				return errEnough
			}
			for _, u := range updates {
				found.Updates = append(found.Updates, u.Data)
			}
			found.Seq = r.seq
			if last.After(found.At) || rows == 0 && h.BaseSeq == 0 {
				found.At = last
			}
			rows++
			size += len(r.data)
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if rows == 0 {
			return nil
		}
		if h.BaseSeq > 0 && h.BaseSeq != have {
			if found.Base, err = s.state(ctx, tx, room, "bases"); err != nil {
				return err
			}
		}
		old = found
		return nil
	})
	return old, err
}

// Fold replaces updates by the state that they and the base before them come to. A history
// that was folded by somebody else meanwhile stays as it is, which is an error; a room that was
// deleted is ErrNotFound.
func (s *Store) Fold(ctx context.Context, old *OldUpdates, state []byte) error {
	packed := s.encode.EncodeAll(state, nil)
	// Light: after a power cut the updates are there again, and are folded again.
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, old.Room)
		if err != nil {
			return err
		}
		if h.BaseSeq != old.From {
			return fmt.Errorf("fold room %s from update %d on: it is folded up to %d", old.Room, old.From, h.BaseSeq)
		}
		for _, step := range []struct {
			what, do string
			args     []any
		}{
			{"store base", `INSERT INTO bases (room_id, seq, at, data) VALUES (?, ?, ?, ?)
				ON CONFLICT (room_id) DO UPDATE SET seq = excluded.seq, at = excluded.at, data = excluded.data`, []any{old.Room, old.Seq, micros(old.At), packed}},
			{"delete folded updates", `DELETE FROM updates WHERE room_id = ? AND seq <= ?`, []any{old.Room, old.Seq}},
			{"delete older snapshot", `DELETE FROM snapshots WHERE room_id = ? AND seq <= ?`, []any{old.Room, old.Seq}},
		} {
			if _, err := tx.ExecContext(ctx, step.do, step.args...); err != nil {
				return fmt.Errorf("%s of room %s: %w", step.what, old.Room, err)
			}
		}
		return nil
	})
}

// trimmedEvents is how many events are deleted in one transaction.
const trimmedEvents = 2000

// TrimEvents deletes events that are as old as a moment or older, at most 2,000. n is how many;
// 0 is the end.
func (s *Store) TrimEvents(ctx context.Context, cutoff time.Time) (n int64, err error) {
	err = s.lightTx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at <= ? ORDER BY at LIMIT ?)`, micros(cutoff), trimmedEvents)
		if err != nil {
			return fmt.Errorf("delete events until %v: %w", cutoff, err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}
