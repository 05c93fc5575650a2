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
}

const (
	// maxQueuedBytes bounds the updates that wait for the writer. It is reached
	// when the disk stands still; then appends fail rather than fill the memory.
	maxQueuedBytes = 64 << 20
	// maxBatch bounds one transaction, so that its commit does not take long.
	maxBatch = 4096
)

// ErrOverloaded says that the writer is too far behind.
var ErrOverloaded = errors.New("the store is too far behind to take more")

// Updates appends updates with group commit: while one transaction is being
// committed the updates of all rooms gather, and the next takes them all, so
// that one flush of the disk serves many. One goroutine writes; close ends it.
type Updates struct {
	db   *sqlx.DB
	now  func() time.Time
	done chan struct{}

	mu     sync.Mutex // guards below
	wake   *sync.Cond
	queue  []queued
	bytes  int
	closed bool
	failed error // of the last transaction
}

type queued struct {
	update Update
	at     int64
	done   func(error)
}

func newUpdates(db *sqlx.DB, now func() time.Time) *Updates {
	u := &Updates{db: db, now: now, done: make(chan struct{})}
	u.wake = sync.NewCond(&u.mu)
	go u.run()
	return u
}

// Updates is the way to append updates.
func (s *Store) Updates() *Updates { return s.updates }

// Append queues an update and returns at once. done is called when it is
// durable, or with the error for which it is not; in order for each room, from
// the writer's goroutine, which it must not block. After a failure the
// room's owner must load the document again: later updates may have failed too.
func (u *Updates) Append(update Update, done func(error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	// The caller is told by the writer in any case, so that a room hears of its
	// updates in order.
	u.queue = append(u.queue, queued{update, micros(u.now()), done})
	u.bytes += len(update.Data)
	u.wake.Signal()
}

func (u *Updates) run() {
	defer close(u.done)
	for {
		u.mu.Lock()
		for len(u.queue) == 0 && !u.closed {
			u.wake.Wait()
		}
		batch := u.queue
		overloaded := u.bytes > maxQueuedBytes
		if len(batch) > maxBatch && !overloaded {
			batch = batch[:maxBatch:maxBatch]
			u.queue = u.queue[maxBatch:]
		} else {
			u.queue = nil
		}
		for _, q := range batch {
			u.bytes -= len(q.update.Data)
		}
		closed := u.closed
		u.mu.Unlock()
		if len(batch) == 0 && closed {
			return
		}
		failed, err := u.write(batch, overloaded)
		u.mu.Lock()
		u.failed = err
		u.mu.Unlock()
		for _, q := range batch {
			if err != nil {
				q.done(err)
			} else {
				q.done(failed[q.update.Room])
			}
		}
	}
}

// write stores a batch. A room whose updates the schema refuses, because it was
// deleted meanwhile, is in failed and does not take the others with it.
func (u *Updates) write(batch []queued, overloaded bool) (failed map[string]error, err error) {
	if overloaded {
		return nil, ErrOverloaded
	}
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
	tx, err := u.db.BeginTxx(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	insert, err := tx.PreparexContext(ctx, `INSERT INTO updates (room_id, seq, at, author, data) VALUES (?, ?, ?, ?, ?)`)
	if err != nil {
		return "", fmt.Errorf("prepare insert: %w", err)
	}
	defer insert.Close()
	for _, q := range batch {
		if failed[q.update.Room] != nil {
			continue
		}
		_, err := insert.ExecContext(ctx, q.update.Room, q.update.Seq, q.at, q.update.Author, q.update.Data)
		var refusal sqlite3.Error
		if errors.As(err, &refusal) && refusal.Code == sqlite3.ErrConstraint {
			return q.update.Room, fmt.Errorf("store update %d of room %s: %w", q.update.Seq, q.update.Room, err)
		}
		if err != nil {
			return "", fmt.Errorf("store updates: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return "", fmt.Errorf("commit updates: %w", err)
	}
	return "", nil
}

// health gives the error of the last transaction, if it failed.
func (u *Updates) health() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// close writes what is queued and ends the writer.
func (u *Updates) close() {
	u.mu.Lock()
	u.closed = true
	u.wake.Signal()
	u.mu.Unlock()
	<-u.done
}
