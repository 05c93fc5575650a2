package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// SQLite moves what its log holds into the database file when the log has become long, and
// whoever commits then waits for it: a keystroke, for tens of milliseconds, where a program's
// output has filled the log. Here a connection of its own does that meanwhile, which holds up
// nobody (PRAGMA wal_checkpoint(PASSIVE), https://sqlite.org/wal.html#ckpt).

const (
	// checkpointEvery is the time between two checkpoints, unless much is written.
	checkpointEvery = time.Second
	// checkpointBytes is so much: it is moved at once, lest the log becomes long.
	checkpointBytes = 2 << 20
	// fewPages is what a transaction that is not the updates' is taken to write.
	fewPages = 4 * logPage
	// checkpointWithin bounds one; what is left of the log is moved by the next.
	checkpointWithin = 30 * time.Second
	// longLog is how many pages the log may have before whoever commits moves what is left of
	// it: 16 MiB. The log begins anew only when all is moved, and who writes without a pause is
	// always a little ahead.
	longLog = 4096
)

// checkpointer moves the log while there is something to be moved. close ends it.
type checkpointer struct {
	db   *sqlx.DB      // one connection
	wake chan struct{} // holds a token when something was written
	soon chan struct{} // and when that was much
	late atomic.Int64  // bytes that were written since the last checkpoint, about
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}
}

func newCheckpointer(db *sqlx.DB) *checkpointer {
	c := &checkpointer{db: db, wake: make(chan struct{}, 1), soon: make(chan struct{}, 1), done: make(chan struct{})}
	c.ctx, c.end = context.WithCancel(context.Background())
	go c.run()
	return c
}

// wrote says that something was committed, and how many bytes that was about.
func (c *checkpointer) wrote(bytes int) {
	signal(c.wake)
	if c.late.Add(int64(bytes)) >= checkpointBytes {
		signal(c.soon)
	}
}

// signal leaves a token, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c *checkpointer) run() {
	defer close(c.done)
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		select {
		case <-time.After(checkpointEvery):
		case <-c.soon:
		case <-c.ctx.Done():
			return
		}
		c.late.Store(0)
		ctx, cancel := context.WithTimeout(c.ctx, checkpointWithin)
		// What fails is tried again after the next write; a database that fails is noticed by
		// who writes, and tells.
		_, _ = c.db.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
		cancel()
	}
}

func (c *checkpointer) close() error {
	c.end()
	<-c.done
	return c.db.Close()
}
