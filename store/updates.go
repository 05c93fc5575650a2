package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/mattn/go-sqlite3"
)

// Update is one update of a room's document, in Yjs's encoding, version 1.
type Update struct {
	Room   string
	Seq    int64 // 1, 2, 3… within the room; the room's owner counts
	Author string
	Data   []byte // not changed after Append
	// Opens says that an open room is to be made for it, if there is none of that name.
	Opens bool
}

const (
	// maxQueuedBytes bounds the updates that wait for the writer. It is reached
	// when the disk stands still; then appends fail rather than fill the memory.
	maxQueuedBytes = 64 << 20
	// smallBytes is how much more may wait of updates that are not larger than smallUpdate, as
	// keystrokes are, while others fill the queue.
	smallBytes  = 8 << 20
	smallUpdate = 4 << 10
	// queuedOverhead is what a waiting update costs beside its data, in bytes, so
	// that a flood of tiny updates meets the bound too.
	queuedOverhead = 256
	// logPage is what a row takes of the log at the least: SQLite writes pages.
	logPage = 4 << 10
	// maxBatch bounds one transaction, so that its commit does not take long.
	maxBatch = 4096
	// roomShare is how many bytes of one room are in it, but for one update that is larger:
	// they are written in about the time that a flush takes.
	roomShare = 128 << 10
)

// ErrOverloaded says that the writer is too far behind.
var ErrOverloaded = errors.New("the store is too far behind to take more")

// ErrRefused says that the schema refuses an update: its room was deleted, or another server
// writes to the same room. Updates of other rooms are not concerned.
var ErrRefused = errors.New("refused")

// Updates appends updates with group commit: while one transaction is being
// committed the updates of all rooms gather, and the next takes them all, so
// that one flush of the disk serves many. One goroutine writes; close ends it.
type Updates struct {
	db     *sqlx.DB
	insert *sqlx.Stmt
	now    func() time.Time
	wrote  func(bytes int) // told of each commit
	done   chan struct{}
	logged int // about how much the database's log has grown, in bytes; owned by run

	mu     sync.Mutex // guards below
	wake   *sync.Cond
	queue  []queued
	bytes  int
	closed bool
	failed error // of the last transaction
}

// queued is an update, or something else to be written.
type queued struct {
	update  Update
	at      int64
	do      func(*sqlx.Tx) error // or nil
	done    func(error)
	refused error // of what was not taken in; only its turn to be told is waited for
	failed  error // of do
}

func (q *queued) size() int { return len(q.update.Data) + queuedOverhead }

func newUpdates(db *sqlx.DB, now func() time.Time, wrote func(bytes int)) (*Updates, error) {
	insert, err := db.Preparex(`INSERT INTO updates (room_id, seq, n, at, author, data) VALUES (?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return nil, fmt.Errorf("prepare insert: %w", err)
	}
	u := &Updates{db: db, insert: insert, now: now, wrote: wrote, done: make(chan struct{})}
	u.wake = sync.NewCond(&u.mu)
	go u.run()
	return u, nil
}

// Updates is the way to append updates.
func (s *Store) Updates() *Updates { return s.updates }

// Append queues an update and returns at once. done is called when it is
// durable, or with the error for which it is not; in order for each room, from
// the writer's goroutine, which it must not block. After a failure the
// room's owner must wait until it was told of all that it appended and load the
// document again: of later updates some may be stored.
//
// The errors are ErrOverloaded when too much waits, ErrClosed after Close (then
// done is called before Append returns), or the database's.
func (u *Updates) Append(update Update, done func(error)) {
	q := queued{update: update, at: micros(u.now()), done: done}
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		done(ErrClosed)
		return
	}
	if most := maxQueuedBytes + smallBytes; u.bytes+q.size() > most || (u.bytes > maxQueuedBytes-q.size() && q.size() > smallUpdate) {
		// The writer tells of it in its turn, so that a room hears of its updates
		// in order. Other rooms' updates are not concerned.
		q.refused, q.update.Data = ErrOverloaded, nil
	}
	u.queue = append(u.queue, q)
	u.bytes += q.size()
	u.wake.Signal()
	u.mu.Unlock()
}

// together runs do in the writer's next transaction, with the updates that wait, so that one
// flush serves all. What do does is undone if it fails. It may run twice.
func (u *Updates) together(do func(*sqlx.Tx) error) error {
	result := make(chan error, 1)
	q := queued{do: do, done: func(err error) { result <- err }}
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return ErrClosed
	}
	u.queue = append(u.queue, q)
	u.bytes += q.size()
	u.wake.Signal()
	u.mu.Unlock()
	return <-result
}

func (u *Updates) run() {
	defer close(u.done)
	for {
		u.mu.Lock()
		for len(u.queue) == 0 && !u.closed {
			u.wake.Wait()
		}
		batch := u.next()
		closed := u.closed
		u.mu.Unlock()
		if len(batch) == 0 && closed {
			return
		}
		failed, err := u.write(batch)
		bytes := 0
		for i := range batch {
			bytes += batch[i].size()
		}
		u.wrote(u.logged)
		u.logged = 0
		u.mu.Lock()
		u.failed = err
		u.bytes -= bytes // only now: what is being written is memory too
		u.mu.Unlock()
		for _, q := range batch {
			switch {
			case q.refused != nil:
				q.done(q.refused)
			case err != nil:
				q.done(err)
			case q.do != nil:
				q.done(q.failed)
			default:
				q.done(failed[q.update.Room])
			}
		}
	}
}

// next takes off the queue what one transaction writes: of each room no more than its share, so
// that a keystroke elsewhere waits for no flood. mu is held.
func (u *Updates) next() (batch []queued) {
	if len(u.queue) <= maxBatch && u.bytes <= roomShare {
		batch, u.queue = u.queue, nil
		return batch
	}
	taken := make(map[string]int) // bytes; more than the share once something of the room is left
	rest := u.queue[:0]
	for _, q := range u.queue {
		room := q.update.Room
		switch had := taken[room]; {
		case len(batch) == maxBatch:
			rest = append(rest, q)
		case q.do != nil:
			batch = append(batch, q)
		case had > 0 && had+q.size() > roomShare: // one at least, however large
			taken[room] = roomShare + 1
			rest = append(rest, q)
		default:
			taken[room] = had + q.size()
			batch = append(batch, q)
		}
	}
	clear(u.queue[len(rest):]) // their memory is not the queue's any more
	u.queue = rest
	return batch
}

// write stores a batch. A room whose updates the schema refuses, because it was
// deleted meanwhile, is in failed and does not take the others with it.
func (u *Updates) write(batch []queued) (failed map[string]error, err error) {
	for {
		room, err := u.commit(batch, failed)
		if room == "" {
			return failed, err
		}
		if failed == nil {
			failed = make(map[string]error)
		}
		failed[room] = err
	}
}

// commit stores the updates of all rooms but those that failed. If one room's
// updates are refused it names the room; then nothing was stored.
func (u *Updates) commit(batch []queued, failed map[string]error) (refused string, err error) {
	// Nobody who appends waits with a context: an update is either stored or
	// its room is told.
	ctx := context.Background()
	var tx *sqlx.Tx // once something needs one
	var insert *sqlx.Stmt
	begin := func() error {
		if tx != nil {
			return nil
		}
		var err error
		if tx, err = u.db.BeginTxx(ctx, nil); err != nil {
			return fmt.Errorf("begin transaction: %w", err)
		}
		insert = tx.StmtxContext(ctx, u.insert)
		return nil
	}
	defer func() {
		if tx != nil {
			_ = tx.Rollback() // does nothing after Commit
		}
	}()
	rows := rowsOf{at: make(map[string]int)}
	write := func() (refused string, err error) {
		for i := range rows.list {
			if refused, err := rows.list[i].insert(ctx, insert); err != nil {
				return refused, err
			}
			u.logged += len(rows.list[i].data) + logPage
		}
		rows.clear()
		return "", nil
	}
	for i := range batch {
		q := &batch[i]
		switch {
		case q.refused != nil || failed[q.update.Room] != nil:
		case q.do == nil:
			if q.update.Opens {
				if err := begin(); err != nil {
					return "", err
				}
				if refused, err := openRoom(ctx, tx, q); err != nil {
					return refused, err
				}
			}
			rows.add(q)
		default:
			if err := begin(); err != nil {
				return "", err
			}
			if refused, err := write(); err != nil {
				return refused, err
			}
			if q.failed, err = nested(ctx, tx, q.do); err != nil {
				return "", err
			}
		}
	}
	if tx == nil && len(rows.list) == 1 {
		// A statement alone is a transaction, for a fraction of the work.
		u.logged += len(rows.list[0].data) + logPage
		return rows.list[0].insert(ctx, u.insert)
	}
	if err := begin(); err != nil {
		return "", err
	}
	if refused, err := write(); err != nil {
		return refused, err
	}
	if err := tx.Commit(); err != nil {
		return "", fmt.Errorf("commit updates: %w", err)
	}
	return "", nil
}

// openRoom makes the open room of an update that is the first. If there is a room of that name
// that is not open it refuses the update.
func openRoom(ctx context.Context, tx *sqlx.Tx, q *queued) (refused string, err error) {
	made, err := tx.ExecContext(ctx, `INSERT INTO rooms (id, title, language, open, created_at) VALUES (?, '', '', TRUE, ?)
		ON CONFLICT (id) DO NOTHING`, q.update.Room, q.at)
	if err != nil {
		return "", fmt.Errorf("create room: %w", err)
	}
	if n, err := made.RowsAffected(); err != nil || n == 1 {
		return "", err // SQLite's driver gives none
	}
	var open bool
	if err := tx.GetContext(ctx, &open, `SELECT open FROM rooms WHERE id = ?`, q.update.Room); err != nil {
		return "", fmt.Errorf("look for room: %w", err)
	}
	if !open {
		return q.update.Room, fmt.Errorf("store update of room %s, which is not open: %w", q.update.Room, ErrRefused)
	}
	return "", nil
}

// insert stores the row. If the schema refuses it, it names the room.
func (r *row) insert(ctx context.Context, insert *sqlx.Stmt) (refused string, err error) {
	_, err = insert.ExecContext(ctx, r.room, r.seq, r.n, r.at, r.author, r.data)
	var refusal sqlite3.Error
	if errors.As(err, &refusal) && refusal.Code == sqlite3.ErrConstraint {
		return r.room, fmt.Errorf("store update %d of room %s: %w: %w", r.seq, r.room, ErrRefused, err)
	}
	if err != nil {
		return "", fmt.Errorf("store updates: %w", err)
	}
	return "", nil
}

// nested runs do and undoes what it did if it fails. err is not its failure but one to do so.
func nested(ctx context.Context, tx *sqlx.Tx, do func(*sqlx.Tx) error) (failed, err error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT one"); err != nil {
		return nil, fmt.Errorf("begin nested transaction: %w", err)
	}
	end := "RELEASE one"
	if failed = do(tx); failed != nil {
		end = "ROLLBACK TO one; RELEASE one"
	}
	if _, err := tx.ExecContext(ctx, end); err != nil {
		return failed, errors.Join(failed, fmt.Errorf("end nested transaction: %w", err))
	}
	return failed, nil
}

// health tells whether updates can be stored. After a failure it tries a write
// of its own: nobody edits where nothing can be saved, so that no update may
// come to show that the database has recovered.
func (u *Updates) health(ctx context.Context) error {
	u.mu.Lock()
	failed := u.failed
	u.mu.Unlock()
	if failed == nil {
		return nil
	}
	if _, err := u.db.ExecContext(ctx, `PRAGMA user_version = 1`); err != nil { // writes the file's first page; not used otherwise
		return fmt.Errorf("%w; still: %w", failed, err)
	}
	u.mu.Lock()
	u.failed = nil
	u.mu.Unlock()
	return nil
}

// close writes what is queued and ends the writer.
func (u *Updates) close() {
	u.mu.Lock()
	u.closed = true
	u.wake.Signal()
	u.mu.Unlock()
	<-u.done
	_ = u.insert.Close() // the database is about to be closed
}
