package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"corun/store"
)

// A database that the account can exchange for a link is not one for root to open: root's
// commands that use it do so in a process of the account's, as the server does. Files that
// the operator names are opened by root, and given to that process as descriptors.

// databaseCommands use the database and nothing else that takes root.
var databaseCommands = []string{"room", "token", "backup", "restore"}

// isDatabaseCommand tells it of what kong calls a command: "room import <file>".
func isDatabaseCommand(command string) bool {
	first, _, _ := strings.Cut(command, " ")
	return slices.Contains(databaseCommands, first)
}

// withOperand is a command that reads a file of the operator's.
type withOperand interface {
	operand() (*os.File, error)
}

// open gives a command's file, which whoever delegated the command may have opened.
func (c *common) open(cmd withOperand, name string) (*os.File, error) {
	if c.in != nil && c.in.Operand != 0 {
		return os.NewFile(uintptr(c.in.Operand), name), nil
	}
	return cmd.operand()
}

// databaseUser is by whose hand root's commands use the database, or nil if root may do it.
func (c *common) databaseUser() (*account, error) {
	if c.in != nil || os.Geteuid() != 0 {
		return nil, nil
	}
	path, err := store.Path(c.databaseURL())
	if err != nil {
		return nil, err
	}
	who, err := lookUp(c.User, nil)
	if err != nil {
		return nil, err
	}
	dir, err := who.open(filepath.Dir(path), false)
	var changeable *changeableError
	switch {
	case errors.As(err, &changeable):
		return &who, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // it is still to be made, by root
	case err != nil:
		return nil, fmt.Errorf("open the folder of the database: %w", err)
	}
	defer dir.Close()
	st, err := statOf(dir)
	switch {
	case err != nil:
		return nil, err
	case onlyRoot(int(dir.Fd()), &st):
		return nil, nil
	case !who.mayWrite(int(dir.Fd()), &st):
		return nil, fmt.Errorf("%s is not root's alone, nor of the user %s that a server becomes (it belongs to uid %d, gid %d): name whose it is with --user", filepath.Dir(path), c.User, st.Uid, st.Gid)
	}
	// One that an operator has put there as root.
	database, err := c.databaseHere()
	if err == nil && database != "" && st.Uid == 0 {
		err = who.handOver(dir, st, database)
	}
	return &who, err
}

// delegated is what a process of the account's is to do.
type delegated struct {
	args    []string
	operand *os.File // to read, or nil
	result  *os.File // an empty file to write a backup to, or nil
	out     io.Writer
	errs    io.Writer
}

// delegate does a command of root's by the account's hand.
func (a account) delegate(ctx context.Context, common *common, cmd any, d delegated) error {
	switch cmd := cmd.(type) {
	case *backupCmd:
		return cmd.write(d.out, func(result *os.File) error {
			d.result = result
			// The account's while it is written, under a name that only root can change.
			if err := result.Chown(a.uid, a.gid); err != nil {
				return err
			}
			return errors.Join(a.do(ctx, common, d), result.Chown(0, 0))
		})
	case withOperand:
		f, err := cmd.operand()
		if err != nil {
			return err
		}
		defer f.Close()
		d.operand = f
	}
	return a.do(ctx, common, d)
}

// do executes this program with other arguments as the account, and waits for it.
func (a account) do(ctx context.Context, common *common, d delegated) error {
	ended := make(chan error, 1)
	go func() {
		// On a thread that is of no use to anybody else afterwards and ends with this
		// goroutine: what it starts has its privileges and its mounts.
		runtime.LockOSThread()
		ended <- a.doHere(ctx, common, d)
	}()
	err := <-ended
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exitStatus(exit.ExitCode()) // it has said why
	}
	return err
}

func (a account) doHere(ctx context.Context, common *common, d delegated) (err error) {
	var in inherited
	if in.DataDir, err = filepath.Abs(common.DataDir); err != nil {
		return err
	}
	if err := a.show(&in, d.result); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{"corun"}, d.args...)
	// Pipes and a session of its own: the operator's terminal is not for a process that the
	// server could trace.
	cmd.Stdout, cmd.Stderr = struct{ io.Writer }{d.out}, struct{ io.Writer }{d.errs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if d.operand != nil {
		in.Operand = 3
		cmd.ExtraFiles = []*os.File{d.operand}
	}
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), inheritedEnv+"="+string(text))
	if err := a.become(); err != nil {
		return err
	}
	return cmd.Run()
}

// show makes what the account is to use reachable for it, in a mount namespace of this
// thread's, where it is not.
func (a account) show(in *inherited, result *os.File) error {
	reachable := a.reaches(in.DataDir)
	if reachable && result == nil {
		return nil
	}
	if err := privateMounts(); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
		return fmt.Errorf("make a place for the account: %w", err)
	}
	if !reachable {
		data := filepath.Join(place, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			return err
		}
		if err := unix.Mount(in.DataDir, data, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount the data directory: %w", err)
		}
		in.DataDir = data
	}
	if result == nil {
		return nil
	}
	folder := filepath.Join(place, "backup") // the account's, as SQLite may want another file beside it
	in.Result = filepath.Join(folder, "file")
	err := os.Mkdir(folder, 0o700)
	err = errors.Join(err, os.WriteFile(in.Result, nil, 0o600), os.Chown(folder, a.uid, a.gid))
	if err != nil {
		return err
	}
	// By its path, as the descriptor is of another mount namespace; it may lead elsewhere.
	if err := unix.Mount(result.Name(), in.Result, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the backup: %w", err)
	}
	meant, err1 := result.Stat()
	is, err2 := os.Stat(in.Result)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !os.SameFile(meant, is) {
		return fmt.Errorf("%s has just become another file", result.Name())
	}
	return nil
}

// flags are those that say which database is meant.
func (c *common) flags() []string {
	all := []string{"--data-dir", c.DataDir, "--user", c.User}
	if c.DatabaseURL != "" {
		all = append(all, "--database-url", c.DatabaseURL)
	}
	return all
}
