// Package store keeps what must outlive the process: rooms, tokens, documents
// as logs of updates, runs with their output, and the event log. It is used by
// collab, runner and web and imports none of them.
//
// SQLite in WAL mode: one connection writes, several read. What writes often
// and must be durable before it is shown, a document's updates, goes through
// the group commit in updates.go.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"runtime"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/klauspost/compress/zstd"
	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"

	"corun/migrations"
)

var (
	// ErrNotFound says that there is no such row, or that a token opens nothing.
	ErrNotFound = errors.New("not found")
	// ErrExists says that the name is taken.
	ErrExists = errors.New("exists already")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)

// Durability is what a committed update survives.
type Durability string

const (
	// DurableFsync survives a power cut: each commit is flushed to the disk.
	DurableFsync Durability = "fsync"
	// DurableProcess survives the death of the process, not of the machine.
	DurableProcess Durability = "process"
)

// Options tune a store; the zero value is right for production.
type Options struct {
	Durability Durability       // default DurableFsync
	Now        func() time.Time // default time.Now
}

// Store is safe for concurrent use.
type Store struct {
	lock    *os.File // held while it is open
	write   *sqlx.DB // one connection
	read    *sqlx.DB
	flushes bool   // each commit, but for lightTx
	tails   string // the folder of Tail
	now     func() time.Time
	updates *Updates
	moves   *checkpointer
	encode  *zstd.Encoder
	decode  *zstd.Decoder
}

// restingReader is how long a connection that reads is kept open unused.
const restingReader = 15 * time.Second

// maxSnapshotBytes bounds what a stored snapshot may unpack to.
const maxSnapshotBytes = 256 << 20

// Open opens the database at rawURL, sqlite:PATH, makes it if it is missing and
// brings its schema up to date.
func Open(ctx context.Context, rawURL string, opts Options) (_ *Store, err error) {
	path, err := Path(rawURL)
	if err != nil {
		return nil, err
	}
	s := &Store{now: opts.Now, tails: tailFolder(path)}
	if s.now == nil {
		s.now = time.Now
	}
	synchronous := "FULL"
	switch opts.Durability {
	case "", DurableFsync:
		s.flushes = true
	case DurableProcess:
		synchronous = "NORMAL"
	default:
		return nil, fmt.Errorf("durability %q is not known: use fsync or process", opts.Durability)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeDatabases())
		}
	}()
	if s.lock, err = lock(path, false); err != nil {
		return nil, err
	}
	if s.write, err = connect(ctx, path, synchronous, "rwc"); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	if _, err := s.write.ExecContext(ctx, fmt.Sprintf("PRAGMA wal_autocheckpoint=%d", longLog)); err != nil {
		return nil, fmt.Errorf("set up database: %w", err)
	}
	if err := migrate(ctx, s.write); err != nil {
		return nil, err
	}
	if s.read, err = connect(ctx, path, synchronous, "ro"); err != nil {
		return nil, err
	}
	s.read.SetMaxOpenConns(readers())
	// One that is opened reads the schema and prepares every statement anew, which takes
	// longer than what is asked of it; the memory it has is worth giving back when it rests.
	s.read.SetMaxIdleConns(readers())
	s.read.SetConnMaxIdleTime(restingReader)
	if s.encode, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)); err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	if s.decode, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSnapshotBytes)); err != nil {
		return nil, fmt.Errorf("make decompressor: %w", err)
	}
	mover, err := connect(ctx, path, synchronous, "rw")
	if err != nil {
		return nil, err
	}
	mover.SetMaxOpenConns(1)
	s.moves = newCheckpointer(mover)
	if s.updates, err = newUpdates(s.write, s.now, s.moves.wrote); err != nil {
		return nil, err
	}
	return s, nil
}

// connect opens a pool. Pragmas stand in the DSN so that every connection of
// the pool has them.
func connect(ctx context.Context, path, synchronous, mode string) (*sqlx.DB, error) {
	q := url.Values{
		"_journal_mode": {"WAL"}, "_synchronous": {synchronous}, "_busy_timeout": {"5000"},
		"_foreign_keys": {"on"}, "_txlock": {"immediate"}, "_cache_size": {"-1000"}, "_stmt_cache_size": {"32"},
	}
	if mode == "ro" {
		q.Del("_journal_mode") // is a property of the file, which a reader cannot set
		q.Del("_txlock")
		q.Set("_query_only", "on")
	}
	db, err := openURI(ctx, uri(path, mode)+"&"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}

// openURI opens a pool and sees that it works.
func openURI(ctx context.Context, uri string) (*sqlx.DB, error) {
	db, err := sqlx.Open("sqlite3", uri)
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// uri names a file for SQLite.
func uri(path, mode string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=" + mode
}

func migrate(ctx context.Context, db *sqlx.DB) error { return migrateTo(ctx, db, latest) }

// latest stands for the last migration that there is.
const latest = math.MaxInt64

// migrateTo brings the schema up to a version, or to the latest before it.
func migrateTo(ctx context.Context, db *sqlx.DB, version int64) error {
	files, err := fs.Sub(migrations.FS, "sqlite")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.DB, files, goose.WithVerbose(false))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

// Close writes what is queued and closes the database.
func (s *Store) Close() error {
	s.updates.close()
	s.decode.Close()
	return errors.Join(s.encode.Close(), s.closeDatabases())
}

func (s *Store) closeDatabases() error {
	var errs []error
	if s.moves != nil {
		errs = append(errs, s.moves.close())
	}
	// Readers first: the last connection to close checkpoints the log.
	for _, db := range []*sqlx.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close()) // gives it back
	}
	return errors.Join(errs...)
}

// readers is how many connections may read at once.
func readers() int { return max(4, runtime.NumCPU()) }

// FreeMemory lets go of what makes the next questions faster.
func (s *Store) FreeMemory(ctx context.Context) error {
	s.read.SetMaxIdleConns(0) // closes those that rest
	s.read.SetMaxIdleConns(readers())
	if _, err := s.write.ExecContext(ctx, "PRAGMA shrink_memory"); err != nil {
		return fmt.Errorf("free memory: %w", err)
	}
	return nil
}

// Ping tells whether the database can be read and, if the last write of updates
// failed, whether it can be written again.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.GetContext(ctx, &one, "SELECT 1"); err != nil {
		return fmt.Errorf("read from database: %w", err)
	}
	return s.updates.health(ctx)
}

// tx runs fn in one transaction on the writing connection.
func (s *Store) tx(ctx context.Context, fn func(*sqlx.Tx) error) error {
	if err := inTx(ctx, s.write.BeginTxx, fn); err != nil {
		return err
	}
	s.moves.wrote(fewPages)
	return nil
}

// readTx runs fn in one transaction that sees the database as it is at one moment. What is
// written meanwhile grows the log of the database, so fn must not wait for anybody.
func (s *Store) readTx(ctx context.Context, fn func(*sqlx.Tx) error) error {
	tx, err := s.read.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin reading: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return fn(tx)
}

// IsDiskError tells an error that is the disk's fault: it is full, say, or broken.
func IsDiskError(err error) bool {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case sqlite3.ErrFull, sqlite3.ErrIoErr, sqlite3.ErrReadonly, sqlite3.ErrCantOpen:
		return true
	}
	return false
}

// lightTx is tx for what people do not see as saved: runs that begin, their output, events.
// It survives the death of the process; that of the machine it survives from the next
// commit on that is flushed (https://sqlite.org/pragma.html#pragma_synchronous: what was
// committed before is in the same log). A flush takes milliseconds, for which whoever
// pressed Run, and the next keystroke, would wait.
func (s *Store) lightTx(ctx context.Context, fn func(*sqlx.Tx) error) (err error) {
	if !s.flushes {
		return s.tx(ctx, fn)
	}
	conn, err := s.write.Connx(ctx)
	if err != nil {
		return fmt.Errorf("wait for the writing connection: %w", err)
	}
	defer func() { _ = conn.Close() }() // gives it back
	if _, err := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous=NORMAL"); err != nil {
		return fmt.Errorf("begin without flushing: %w", err)
	}
	defer func() {
		if _, failed := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous=FULL"); failed != nil {
			// Another connection, which flushes, takes its place.
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	if err := inTx(ctx, conn.BeginTxx, fn); err != nil {
		return err
	}
	s.moves.wrote(fewPages)
	return nil
}

func inTx(ctx context.Context, begin func(context.Context, *sql.TxOptions) (*sqlx.Tx, error), fn func(*sqlx.Tx) error) error {
	tx, err := begin(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func micros(t time.Time) int64 { return t.UnixMicro() }

// nullMicros is NULL for the zero time.
func nullMicros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: micros(t), Valid: !t.IsZero()}
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
