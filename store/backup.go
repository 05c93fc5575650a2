package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sys/unix"
)

// ErrInUse says that a server or a tool has the database open.
var ErrInUse = errors.New("the database is in use")

// Path is the file of a database, sqlite:PATH.
func Path(rawURL string) (string, error) {
	path, ok := strings.CutPrefix(rawURL, "sqlite:")
	path = strings.TrimPrefix(path, "//")
	if !ok || path == "" {
		scheme, _, _ := strings.Cut(rawURL, ":")
		return "", fmt.Errorf("database %q is not supported: use sqlite: and the path of a file", scheme+":")
	}
	return path, nil
}

// lock takes the lock of a database, which is a file beside it, and gives what holds it. All
// who use the database share it; only Restore, which takes the file away, has it alone. It
// does not wait.
func lock(path string, alone bool) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock of database %s: %w", path, err)
	}
	how := unix.LOCK_SH
	if alone {
		how = unix.LOCK_EX
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	return nil, fmt.Errorf("lock database %s: %w", path, err)
}

// Backup writes the database at rawURL, as it is at one moment, to a new file, which it does
// not overwrite. Others may use and write the database meanwhile. The file is whole and on the
// disk when it has its name. It is a database, with all in it that the other has: only its
// owner can read it.
func Backup(ctx context.Context, rawURL, file string) error {
	return WriteBackup(file, func(empty *os.File) error { return CopyTo(ctx, rawURL, empty.Name()) })
}

// WriteBackup is Backup where who fills the file may be another than who names it.
func WriteBackup(file string, fill func(empty *os.File) error) error {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("write backup %s: %w", file, ErrExists)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".partial-*") // for its owner alone
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it has its name by then, or is of no use
	defer temp.Close()
	if err := fill(temp); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("flush backup: %w", err)
	}
	if err := publish(temp.Name(), file); err != nil {
		return fmt.Errorf("name backup %s: %w", file, err)
	}
	return nil
}

// CopyTo writes the database at rawURL, as it is at one moment, to an empty file, and checks
// the copy.
func CopyTo(ctx context.Context, rawURL, file string) error {
	path, err := Path(rawURL)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find the database: %w", err)
	}
	held, err := lock(path, false)
	if err != nil {
		return err
	}
	defer held.Close()
	db, err := connect(ctx, path, "FULL", "rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, file)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	return checkCopy(ctx, file)
}

// publish gives a file its name, unless there is a file of that name, for good.
func publish(temp, file string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, file, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // this file system cannot
		err = os.Link(temp, file)
	}
	if errors.Is(err, os.ErrExist) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	return syncFolder(file)
}

// syncFolder flushes the names in the folder of a file.
func syncFolder(file string) error {
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// checkCopy tells whether a file that nobody writes to is a sound database of Corun's, of this
// version or one before it.
func checkCopy(ctx context.Context, file string) error {
	db, err := openURI(ctx, uri(file, "ro")+"&immutable=1&_query_only=on")
	if err != nil {
		return fmt.Errorf("%s is no database, or a damaged one: %w", file, err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var faults []string
	if err := db.SelectContext(ctx, &faults, `PRAGMA integrity_check(5)`); err != nil {
		return fmt.Errorf("%s is no database, or a damaged one: %w", file, err)
	}
	if len(faults) != 1 || faults[0] != "ok" {
		return fmt.Errorf("%s is damaged: %s", file, strings.Join(faults, "; "))
	}
	rows, err := db.QueryContext(ctx, `PRAGMA foreign_key_check`)
	if err != nil {
		return fmt.Errorf("check %s: %w", file, err)
	}
	orphans := rows.Next()
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("check %s: %w", file, err)
	}
	if orphans {
		return fmt.Errorf("%s is damaged: it has rows whose room or run is missing", file)
	}
	return checkSchema(ctx, db, file)
}

// checkSchema compares a database's tables with those that the migrations make.
func checkSchema(ctx context.Context, db *sqlx.DB, file string) error {
	const versionOf = `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`
	var version, known int64
	if err := db.GetContext(ctx, &version, versionOf); err != nil || version < 1 {
		return fmt.Errorf("%s is no database of Corun's", file)
	}
	fresh, err := openURI(ctx, "file::memory:?_foreign_keys=on")
	if err != nil {
		return fmt.Errorf("open a database in memory: %w", err)
	}
	defer fresh.Close()
	fresh.SetMaxOpenConns(1)
	if err := migrateTo(ctx, fresh, version); err != nil {
		return err
	}
	if err := fresh.GetContext(ctx, &known, versionOf); err != nil {
		return fmt.Errorf("read the version of a schema: %w", err)
	}
	if version > known {
		return fmt.Errorf("%s was made by a newer version of Corun: its schema has the number %d, and this one knows up to %d", file, version, known)
	}
	var schemas [2][]string
	for i, db := range []*sqlx.DB{db, fresh} {
		err := db.SelectContext(ctx, &schemas[i], `SELECT type || ' ' || name || ': ' || COALESCE(sql, '') FROM sqlite_master
			WHERE tbl_name NOT IN ('goose_db_version', 'sqlite_sequence') ORDER BY 1`)
		if err != nil {
			return fmt.Errorf("read the schema of %s: %w", file, err)
		}
	}
	if strings.Join(schemas[0], "\n") != strings.Join(schemas[1], "\n") {
		return fmt.Errorf("%s has other tables than a database of Corun's has", file)
	}
	return nil
}

// OpenBackup opens a backup for Restore.
func OpenBackup(file string) (*os.File, error) {
	// Such a log has what is not in the file yet.
	if info, err := os.Stat(file + "-wal"); err == nil && info.Size() > 0 {
		return nil, fmt.Errorf("%s is a database in use, and no backup: make one of it with corun backup", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	return f, nil
}

// Restore makes the database at rawURL from a backup, which is checked first and stays as it
// is. An older schema is brought up to date. Where there is a database already the error is
// ErrExists, unless force: then that one is kept beside it, under the name that is given. A
// database that somebody has open is ErrInUse. Either all is done or nothing.
func Restore(ctx context.Context, rawURL string, backup *os.File, force bool) (aside string, err error) {
	path, err := Path(rawURL)
	if err != nil {
		return "", err
	}
	held, err := lock(path, true)
	if err != nil {
		return "", err
	}
	defer held.Close()
	exists := false
	for _, name := range []string{path, path + "-wal"} {
		if _, err := os.Lstat(name); err == nil {
			exists = true
		}
	}
	if exists && !force {
		return "", fmt.Errorf("restore to %s: %w", path, ErrExists)
	}
	temp, err := copyBeside(path, backup)
	if err != nil {
		return "", err
	}
	defer func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(temp + suffix) // it has its name by then, or is of no use
		}
	}()
	if err := checkCopy(ctx, temp); err != nil {
		return "", fmt.Errorf("check backup %s: %w", backup.Name(), err)
	}
	if err := bringUpToDate(ctx, temp); err != nil {
		return "", err
	}
	if !exists {
		if err := publish(temp, path); err != nil {
			return "", fmt.Errorf("name database %s: %w", path, err)
		}
		return "", nil
	}
	aside = path + ".before-" + time.Now().UTC().Format("20060102T150405.000")
	if err := putAside(ctx, path, aside); err != nil {
		return "", err
	}
	if err := os.Rename(temp, path); err != nil {
		return aside, fmt.Errorf("name database: %w", err)
	}
	if err := syncFolder(path); err != nil {
		return aside, fmt.Errorf("flush the name of the database: %w", err)
	}
	return aside, nil
}

// copyBeside copies a file into the folder of path, where a rename makes it that, and flushes
// it.
func copyBeside(path string, from *os.File) (name string, err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".restore-*")
	if err != nil {
		return "", fmt.Errorf("copy backup: %w", err)
	}
	_, err = io.Copy(temp, from)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("copy backup: %w", err), os.Remove(temp.Name()))
	}
	return temp.Name(), nil
}

// bringUpToDate migrates a database that nobody uses. When it is closed all is in its file.
func bringUpToDate(ctx context.Context, path string) error {
	db, err := connect(ctx, path, "FULL", "rw")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	return errors.Join(migrate(ctx, db), db.Close())
}

// putAside gives the database another name too, and takes its log away from the first, so
// that another file can get that name without a moment when there is none.
func putAside(ctx context.Context, path, aside string) error {
	// What is in its log gets into its file. One that is damaged stays as it is.
	if db, err := connect(ctx, path, "FULL", "rw"); err == nil {
		_, _ = db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
		_ = db.Close()
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put the former database aside: %w", err)
		}
	}
	err := os.Link(path, aside)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) { // this file system cannot
		err = os.Rename(path, aside)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("put the former database aside: %w", err)
	}
	return nil
}
