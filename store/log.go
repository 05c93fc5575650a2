package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/klauspost/compress/zstd"
)

// This file is a room's log: all that happened in it, in order, on one clock. What is large
// has a table of its own and is kept once: edits are the document's updates, output is the
// transcripts' rows. All else is events. A reader sees one log.

// Position is how far a reader has got in a room's log; the zero value is its begin.
type Position struct {
	Event  int64 // the last event
	Update int64 // the last update
	Run    int   // of the last row of output, and how many rows of that run
	Rows   int
}

// String is the position as callers hand it back: see ParsePosition.
func (p Position) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", p.Event, p.Update, p.Run, p.Rows)
}

// ParsePosition reads what String gave.
func ParsePosition(s string) (p Position, err error) {
	var n [4]int64
	parts := strings.Split(s, ".")
	if len(parts) != len(n) {
		return p, errors.New("a position is four numbers with dots between them")
	}
	for i, part := range parts {
		if n[i], err = strconv.ParseInt(part, 10, 64); err != nil || n[i] < 0 || (i > 1 && n[i] >= 1<<31) {
			return p, fmt.Errorf("a position has no part %.30q", part)
		}
	}
	return Position{n[0], n[1], int(n[2]), int(n[3])}, nil
}

// Entry is one thing that happened. One of Event, Edit and Output is not nil.
type Entry struct {
	At     time.Time
	Event  *Event
	Edit   *Edit
	Output *Printed
}

// Edit is what one author did to the document without a pause.
type Edit struct {
	Author   string
	From, To int64 // the first and the last update
	Until    time.Time
	Bytes    int64  // of the updates
	Data     []byte // the update, where each was asked for
}

// Printed is a piece of a run's output.
type Printed struct {
	Run int
	Chunk
}

// LogQuery says what is read of a log.
type LogQuery struct {
	After         Position
	Until         time.Time // nothing that is later; the zero time for all
	Kinds         []string  // of events; nil for all
	Edits, Output bool
	// EachUpdate gives each update as an edit of its own, with its bytes.
	EachUpdate bool
	Limit      int // of entries
}

// LogPage is a piece of a log.
type LogPage struct {
	Entries []Entry
	Next    Position // after the last of Entries
	More    bool     // there is more now
}

const (
	// editPause is for how long an author who goes on editing may rest, and editSpan how long
	// one edit may be, in a log that does not give each update.
	editPause = 2 * time.Second
	editSpan  = time.Minute
	// logRows bounds what is looked at for one page, of each kind. With them goes pageBytes.
	logRows = 5000
)

// errTaken ends the reading of a source of which a page has enough.
var errTaken = errors.New("enough")

// Log gives the next page of a room's log. Updates that were folded into a base are not in it.
func (s *Store) Log(ctx context.Context, room string, q LogQuery) (page LogPage, err error) {
	err = s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		q.After.Update = max(q.After.Update, h.BaseSeq)
		m := &merge{q: q, next: q.After, decode: s.decode}
		for _, read := range []func(context.Context, *sqlx.Tx, string) error{m.readEvents, m.readUpdates, m.readOutput} {
			if err := read(ctx, tx, room); err != nil {
				return err
			}
		}
		page = m.page()
		return nil
	})
	return page, err
}

// merge makes one log of three, each of which is in order.
type merge struct {
	q       LogQuery
	next    Position
	events  source[Event]
	updates source[Stored]
	output  source[outputRow]
	decode  *zstd.Decoder
}

// source is what was read of a table. cut says that there is more of it.
type source[T any] struct {
	rows []T
	cut  bool
}

// first gives the time of what comes next, if anything was read of it. Where all that was
// read is taken, and there is more, nothing later than that can be known to be next.
func (s *source[T]) first(at func(T) time.Time) (t time.Time, ok, blocked bool) {
	if len(s.rows) == 0 {
		return t, false, s.cut
	}
	return at(s.rows[0]), true, false
}

func (s *source[T]) take() T {
	row := s.rows[0]
	s.rows = s.rows[1:]
	return row
}

func (m *merge) readEvents(ctx context.Context, tx *sqlx.Tx, room string) error {
	if m.q.Kinds != nil && len(m.q.Kinds) == 0 {
		return nil
	}
	query, args := `SELECT id, at, kind, data FROM events WHERE room_id = ? AND id > ?`, []any{room, m.q.After.Event}
	if m.q.Kinds != nil {
		in, kinds, err := sqlx.In(` AND kind IN (?)`, m.q.Kinds)
		if err != nil {
			return fmt.Errorf("choose events: %w", err)
		}
		query, args = query+in, append(args, kinds...)
	}
	rows, err := tx.QueryxContext(ctx, query+` ORDER BY id LIMIT ?`, append(args, m.q.Limit+1)...)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var r eventRow
		if err := rows.StructScan(&r); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if len(m.events.rows) == m.q.Limit || size > pageBytes {
			m.events.cut = true
			break
		}
		m.events.rows = append(m.events.rows, r.event(room))
		size += len(r.Data)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return nil
}

func (m *merge) readUpdates(ctx context.Context, tx *sqlx.Tx, room string) error {
	if !m.q.Edits {
		return nil
	}
	size := 0
	err := eachUpdate(ctx, tx, room, m.q.After.Update, maxSeq, func(u Stored) error {
		if len(m.updates.rows) == logRows || size > pageBytes {
			m.updates.cut = true
			return errTaken
		}
		m.updates.rows = append(m.updates.rows, u)
		size += len(u.Data)
		return nil
	})
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

func (m *merge) readOutput(ctx context.Context, tx *sqlx.Tx, room string) error {
	if !m.q.Output {
		return nil
	}
	rows, err := tx.QueryxContext(ctx, `SELECT number, seq, stream, at, first, data, size FROM run_output
		WHERE room_id = ? AND (number, seq) >= (?, ?) ORDER BY number, seq`, room, m.q.After.Run, m.q.After.Rows)
	if err != nil {
		return fmt.Errorf("read output: %w", err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var r outputRow
		if err := rows.StructScan(&r); err != nil {
			return fmt.Errorf("read output: %w", err)
		}
		if len(m.output.rows) == min(m.q.Limit, logRows) || size > pageBytes {
			m.output.cut = true
			break
		}
		if err := r.unpack(m.decode); err != nil {
			return err
		}
		m.output.rows = append(m.output.rows, r)
		size += len(r.Data)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read output: %w", err)
	}
	return nil
}

// page takes what comes first, again and again.
func (m *merge) page() LogPage {
	var all []Entry
	for {
		e, next, ok := m.peek()
		if !ok {
			break
		}
		late := !m.q.Until.IsZero() && e.At.After(m.q.Until)
		if late || !m.joins(all, e) && len(all) == m.q.Limit {
			return LogPage{all, m.next, !late}
		}
		next()
		if m.joins(all, e) {
			last := all[len(all)-1].Edit
			last.To, last.Until = e.Edit.To, e.At
			last.Bytes += e.Edit.Bytes
			continue
		}
		all = append(all, e)
	}
	return LogPage{all, m.next, m.events.cut || m.updates.cut || m.output.cut}
}

// joins tells whether an edit goes on with the last entry.
func (m *merge) joins(all []Entry, e Entry) bool {
	if e.Edit == nil || m.q.EachUpdate || len(all) == 0 {
		return false
	}
	last := all[len(all)-1]
	return last.Edit != nil && last.Edit.Author == e.Edit.Author &&
		e.At.Sub(last.Edit.Until) <= editPause && e.At.Sub(last.At) <= editSpan
}

// peek gives the next entry and what takes it.
func (m *merge) peek() (e Entry, take func(), ok bool) {
	event, hasEvent, noEvent := m.events.first(func(e Event) time.Time { return e.At })
	update, hasUpdate, noUpdate := m.updates.first(func(u Stored) time.Time { return u.At })
	printed, hasOutput, noOutput := m.output.first(func(r outputRow) time.Time { return fromMicros(r.At) })
	if noEvent || noUpdate || noOutput {
		return e, nil, false
	}
	switch {
	case hasEvent && (!hasUpdate || !event.After(update)) && (!hasOutput || !event.After(printed)):
		row := m.events.rows[0]
		return Entry{At: event, Event: &row}, func() { m.next.Event = m.events.take().ID }, true
	case hasUpdate && (!hasOutput || !update.After(printed)):
		u := m.updates.rows[0]
		edit := &Edit{Author: u.Author, From: u.Seq, To: u.Seq, Until: u.At, Bytes: int64(len(u.Data))}
		if m.q.EachUpdate {
			edit.Data = u.Data
		}
		return Entry{At: update, Edit: edit}, func() { m.next.Update = m.updates.take().Seq }, true
	case hasOutput:
		row := m.output.rows[0]
		return Entry{At: printed, Output: &Printed{row.Number, row.chunk()}}, func() {
			m.output.take()
			m.next.Run, m.next.Rows = row.Number, row.Seq+1
		}, true
	}
	return e, nil, false
}

// LogSpan is from the first entry of a log to the last.
type LogSpan struct{ Start, End time.Time }

// LogSpan tells from when to when a room's log is; the times are zero where it is empty.
func (s *Store) LogSpan(ctx context.Context, room string) (span LogSpan, err error) {
	err = s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		var start, end sql.NullInt64
		err = tx.QueryRowxContext(ctx, `SELECT MIN(a), MAX(z) FROM (
			SELECT MIN(at) AS a, MAX(at) AS z FROM events WHERE room_id = ?
			UNION ALL SELECT (SELECT at FROM updates WHERE room_id = ? ORDER BY seq LIMIT 1), (SELECT at FROM updates WHERE room_id = ? ORDER BY seq DESC LIMIT 1)
			UNION ALL SELECT (SELECT at FROM run_output WHERE room_id = ? ORDER BY number LIMIT 1), (SELECT at FROM run_output WHERE room_id = ? ORDER BY number DESC, seq DESC LIMIT 1))`,
			room, room, room, room, room).Scan(&start, &end)
		if err != nil {
			return fmt.Errorf("find the span of the log: %w", err)
		}
		if start.Valid {
			span = LogSpan{fromMicros(max(start.Int64, h.BaseAt)), fromMicros(max(end.Int64, h.BaseAt))}
		}
		return nil
	})
	return span, err
}

// Moment is what a room's log had come to at a time.
type Moment struct {
	Position
	// Sizes are what the run of Position had printed.
	Sizes OutputSizes
}

// MomentAt gives the position behind all that happened until a time. The error is a
// *HistoryGoneError for one that is not known any more.
func (s *Store) MomentAt(ctx context.Context, room string, at time.Time) (m Moment, err error) {
	err = s.readTx(ctx, func(tx *sqlx.Tx) error {
		h, err := headOf(ctx, tx, room)
		if err != nil {
			return err
		}
		if m.Update, err = lastUntil(ctx, tx, room, h, at); err != nil {
			return err
		}
		err = tx.GetContext(ctx, &m.Event, `SELECT COALESCE((SELECT id FROM events WHERE room_id = ? AND at <= ? ORDER BY at DESC, id DESC LIMIT 1), 0)`, room, micros(at))
		if err != nil {
			return fmt.Errorf("find the last event until %v: %w", at, err)
		}
		err = tx.GetContext(ctx, &m.Run, `SELECT COALESCE((SELECT number FROM runs WHERE room_id = ? AND created_at <= ? ORDER BY number DESC LIMIT 1), 0)`, room, micros(at))
		if err != nil {
			return fmt.Errorf("find the last run until %v: %w", at, err)
		}
		var streams []struct {
			Stream Stream `db:"stream"`
			Rows   int    `db:"n"`
			End    int64  `db:"printed"`
		}
		err = tx.SelectContext(ctx, &streams, `SELECT stream, COUNT(*) AS n, MAX(first + IIF(size > 0, size, LENGTH(data))) AS printed FROM run_output
			WHERE room_id = ? AND number = ? AND at <= ? GROUP BY stream`, room, m.Run, micros(at))
		if err != nil {
			return fmt.Errorf("find the output until %v: %w", at, err)
		}
		for _, st := range streams {
			m.Rows += st.Rows
			m.Sizes.Add(st.Stream, int(st.End))
		}
		return nil
	})
	return m, err
}

// EventsUntil gives a room's events of some kinds up to one, from the last of the kind first
// on, oldest first.
func (s *Store) EventsUntil(ctx context.Context, room string, until int64, first string, kinds []string) ([]Event, error) {
	query, args, err := sqlx.In(`SELECT id, at, kind, data FROM events WHERE room_id = ? AND id <= ? AND kind IN (?) AND id >=
		COALESCE((SELECT MAX(id) FROM events WHERE room_id = ? AND id <= ? AND kind = ?), 0) ORDER BY id`, room, until, kinds, room, until, first)
	if err != nil {
		return nil, fmt.Errorf("choose events: %w", err)
	}
	var rows []eventRow
	if err := s.read.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return eventsOf(room, rows), nil
}

// Erase puts another name in the place of a participant's in a room's events and runs.
func (s *Store) Erase(ctx context.Context, room, participant, name string) error {
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		var rows []eventRow
		// A name stands in an event only beside its id.
		err := tx.SelectContext(ctx, &rows, `SELECT id, at, kind, data FROM events WHERE room_id = ? AND instr(data, ?) > 0`, room, strconv.Quote(participant))
		if err != nil {
			return fmt.Errorf("find events of %s: %w", participant, err)
		}
		for _, r := range rows {
			data, changed, err := renamed([]byte(r.Data), participant, name)
			if err != nil {
				return fmt.Errorf("event %d: %w", r.ID, err)
			}
			if !changed {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE events SET data = ? WHERE id = ?`, string(data), r.ID); err != nil {
				return fmt.Errorf("erase a name in event %d: %w", r.ID, err)
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE runs SET record = json_set(record, '$.started_by_name', ?)
			WHERE room_id = ? AND json_extract(record, '$.started_by') = ?`, name, room, participant)
		if err != nil {
			return fmt.Errorf("erase a name in runs: %w", err)
		}
		return nil
	})
}

// renamed sets the name in each object of a JSON value that has the participant's id, or says
// that they began a run.
func renamed(data []byte, participant, name string) (out []byte, changed bool, err error) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, false, fmt.Errorf("decode: %w", err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, each := range v {
				walk(each)
			}
		case map[string]any:
			for id, field := range map[string]string{"id": "name", "by": "by_name", "started_by": "started_by_name"} {
				if _, named := v[field]; named && v[id] == participant {
					v[field], changed = name, true
				}
			}
			for _, each := range v {
				walk(each)
			}
		}
	}
	walk(v)
	out, err = json.Marshal(v)
	return out, changed, err
}

// eventRow is a row of the table events.
type eventRow struct {
	ID   int64  `db:"id"`
	At   int64  `db:"at"`
	Kind string `db:"kind"`
	Data string `db:"data"`
}

func (r eventRow) event(room string) Event {
	return Event{r.ID, room, fromMicros(r.At), r.Kind, json.RawMessage(r.Data)}
}

func eventsOf(room string, rows []eventRow) []Event {
	events := make([]Event, 0, len(rows))
	for _, r := range rows {
		events = append(events, r.event(room))
	}
	return events
}
