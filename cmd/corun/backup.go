package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"corun/store"
)

type backupCmd struct {
	File string `arg:"" help:"File to write, which must not be there yet."`
}

// Help is shown by --help.
func (backupCmd) Help() string {
	return `Copies the database, as it is at one moment, into one file: rooms, documents with their
history, runs, output, events, and the hashes of tokens. The server may be running and
people be writing. The file has its name only when it is whole and on the disk. Images are
not in it; they can be built again.`
}

// Run writes the backup.
func (c *backupCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	copyTo := func(file string) error {
		err := store.CopyTo(ctx, common.databaseURL(), file)
		if errors.Is(err, store.ErrInUse) {
			return errors.New("the database is being restored: try again when that is done")
		}
		return err
	}
	if common.in != nil {
		return copyTo(common.in.Result) // root gives it its name
	}
	return c.write(out, func(f *os.File) error { return copyTo(f.Name()) })
}

// write makes the file, whole or not at all.
func (c *backupCmd) write(out io.Writer, fill func(empty *os.File) error) error {
	err := store.WriteBackup(c.File, fill)
	var said exitStatus
	switch {
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%s is there already and is not overwritten: name another file", c.File)
	case errors.As(err, &said):
		return said
	case err != nil:
		return fmt.Errorf("back up: %w", err)
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return fmt.Errorf("look at the backup: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s: %d bytes\n", c.File, info.Size())
	return err
}

type restoreCmd struct {
	File  string `arg:"" help:"Backup to restore, which corun backup has written." type:"path"`
	Force bool   `help:"Replace the database that is there; it is kept beside the new one."`
}

// Help is shown by --help.
func (restoreCmd) Help() string {
	return `Makes the database from a backup, once the backup was checked: that it is sound, and of
this version of Corun or an older one. The server must be stopped. A database that is there
already is replaced only with --force, and then kept under another name.`
}

func (c *restoreCmd) operand() (*os.File, error) { return store.OpenBackup(c.File) }

// Run restores the backup.
func (c *restoreCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	backup, err := common.open(c, c.File)
	if err != nil {
		return err
	}
	defer backup.Close()
	if err := common.makeDataDir(); err != nil {
		return err
	}
	aside, err := store.Restore(ctx, common.databaseURL(), backup, c.Force)
	if aside != "" {
		fmt.Fprintf(out, "the former database is %s\n", aside)
	}
	switch {
	case errors.Is(err, store.ErrInUse):
		return errors.New("a server or another corun uses the database: stop it first")
	case errors.Is(err, store.ErrExists):
		return errors.New("there is a database already: --force replaces it, and keeps it under another name")
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	}
	_, err = fmt.Fprintln(out, "restored")
	return err
}
