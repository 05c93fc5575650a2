package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"corun/runner/image"
	"corun/runner/sandbox"
)

// A server does not make boxes itself, and one that is started as root does not stay
// root. It opens its listeners,
// gets the image ready, starts a launcher (this binary under another name, which
// keeps root, faces no network and does nothing but make boxes) and then executes
// itself again as a user without privileges, in the same process, so that nothing
// of root's is left in its memory. See sandbox.Serve for what it may ask of the
// launcher.

const (
	// launcherName is what the launcher is called, and how it knows what it is.
	launcherName = "corun-launcher"
	// inheritedEnv tells the second stage what the first has prepared.
	inheritedEnv = "CORUN_INHERITED"
	// spareID is the user and group of a server where no user of the wanted name
	// exists: an id that distributions give to nobody.
	spareID = 64_077
)

// inherited is what the first stage leaves to the second, or a command of root's to the
// process of the account's that it is done in. Numbers are of descriptors.
type inherited struct {
	Public, Admin, Launcher int
	DataDir                 string // as the second stage sees it
	Image                   image.Image

	Operand int    // the file that a command reads, or 0
	Result  string // the empty file that a backup is written to
}

// takeInherited gives what a first stage has left, or nil.
func takeInherited() (*inherited, error) {
	text, ok := os.LookupEnv(inheritedEnv)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(inheritedEnv); err != nil {
		return nil, fmt.Errorf("forget %s: %w", inheritedEnv, err)
	}
	var in inherited
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("read %s: %w", inheritedEnv, err)
	}
	return &in, nil
}

// listener makes a listener of an inherited descriptor.
func inheritListener(fd int, what string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), what)
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over the %s listener: %w", what, err)
	}
	return l, nil
}

// account is whom a server becomes.
type account struct{ uid, gid int }

// lookUp finds an account. log, which may be nil, is told if there is none.
func lookUp(name string, log *slog.Logger) (account, error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		if log == nil {
			return account{spareID, spareID}, nil
		}
		log.Warn("there is no such user; the server gets an id that nobody has", "user", name, "uid", spareID,
			"mend", "useradd --system --no-create-home --shell /usr/sbin/nologin "+name)
		return account{spareID, spareID}, nil
	}
	if err != nil {
		return account{}, fmt.Errorf("look up the user %s: %w", name, err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return account{}, fmt.Errorf("look up the user %s: %w", name, err)
	}
	if uid == 0 {
		return account{}, fmt.Errorf("the user %s is root: name one without privileges", name)
	}
	return account{uid, gid}, nil
}

// giveUpPrivileges starts the launcher and executes this program again without root, or
// without the means to become it. It returns only if that fails.
func (c *serveCmd) giveUpPrivileges(ctx context.Context, common *common, log *slog.Logger, public, admin net.Listener) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	isRoot, who := os.Geteuid() == 0, account{}
	if isRoot {
		var err error
		if who, err = lookUp(common.User, log); err != nil {
			return err
		}
		if err := who.take(common); err != nil {
			return err
		}
	} else if err := common.makeDataDir(); err != nil {
		return err
	}
	img, err := c.boxFlags.image(ctx, common, os.Stderr)
	if err != nil {
		return err
	}
	socket, err := c.startLauncher(common, log, "corun-"+portOf(public.Addr()), img)
	if err != nil {
		return err
	}
	in := inherited{Image: img}
	for _, pass := range []struct {
		to   *int
		from interface{ File() (*os.File, error) }
	}{{&in.Public, public.(*net.TCPListener)}, {&in.Admin, admin.(*net.TCPListener)}} {
		f, err := pass.from.File()
		if err != nil {
			return fmt.Errorf("pass a listener on: %w", err)
		}
		if *pass.to, err = keepOnExec(f); err != nil {
			return err
		}
	}
	if in.Launcher, err = keepOnExec(socket); err != nil {
		return err
	}
	if !isRoot {
		return fmt.Errorf("give up privileges: %w", executeWithout(common.DataDir, in))
	}
	return fmt.Errorf("give up root: %w", who.execute(common.DataDir, in))
}

// keepOnExec gives a copy of a descriptor that goes with an exec.
func keepOnExec(f *os.File) (int, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 3)
	if err != nil {
		return 0, fmt.Errorf("pass a descriptor on: %w", err)
	}
	return fd, nil
}

// take makes the data directory one that the account can work in, and the database there
// the account's.
func (a account) take(common *common) error {
	dir, was, err := a.settle(common.DataDir)
	if err != nil {
		return err
	}
	database, err := common.databaseHere()
	if err == nil && database != "" {
		err = a.handOver(dir, was, database)
	}
	return errors.Join(err, dir.Close())
}

// place is where the data directory is mounted where its own path leads through
// directories that only root may enter, such as root's home. Nobody else sees the
// mount.
const place = "/mnt"

// execute executes this program again, as the account, without capabilities, for
// good. All is done on one thread, which the exec makes the only one: there is no
// moment when some threads have privileges and others do not.
func (a account) execute(dataDir string, in inherited) error {
	runtime.LockOSThread()
	if err := privateMounts(); err != nil {
		return err
	}
	var err error
	if in.DataDir, err = filepath.Abs(dataDir); err != nil {
		return err
	}
	if !a.reaches(in.DataDir) {
		if err := unix.Mount(in.DataDir, place, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount the data directory for the server: %w", err)
		}
		in.DataDir = place
	}
	return in.execute(a.become)
}

// privateMounts gives this thread a mount namespace of its own.
func privateMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// executeWithout executes this program again as a process that gains nothing by whatever
// it may execute. It has no other privileges.
func executeWithout(dataDir string, in inherited) error {
	runtime.LockOSThread() // see account.execute
	var err error
	if in.DataDir, err = filepath.Abs(dataDir); err != nil {
		return err
	}
	return in.execute(func() error {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
		return nil
	})
}

// execute executes this program again as its second stage, once become has changed this
// thread.
func (in inherited) execute(become func() error) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	exe, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open this program: %w", err)
	}
	if err := become(); err != nil {
		return err
	}
	env := append(os.Environ(), inheritedEnv+"="+string(text))
	return execveat(exe, os.Args, env)
}

// reaches tells whether the account may enter all directories on a path.
func (a account) reaches(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return false
		}
		allowed := st.Mode&0o001 != 0
		if int(st.Uid) == a.uid {
			allowed = st.Mode&0o100 != 0
		} else if int(st.Gid) == a.gid {
			allowed = st.Mode&0o010 != 0
		}
		if !allowed {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

// become gives up all privileges of this thread, for good.
func (a account) become() error {
	for capability := uintptr(0); capability <= 63; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			if errors.Is(err, unix.EINVAL) {
				break // past the last that this kernel knows
			}
			return fmt.Errorf("drop the bounding set: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	// Of this thread alone: the functions of the standard library change all.
	group, id := uintptr(a.gid), uintptr(a.uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("drop groups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, group, group, group); errno != 0 {
		return fmt.Errorf("become group %d: %w", a.gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
		return fmt.Errorf("become user %d: %w", a.uid, errno)
	}
	return nil
}

// execveat executes an open file, to which the path may lead through directories
// that the new user may not enter.
func execveat(fd int, args, env []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	empty := [1]byte{}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("execute this program again: %w", errno)
}

// launcherConfig is the launcher's only argument.
type launcherConfig struct {
	Name                string
	Images              []string
	Isolation           sandbox.Isolation
	Runsc               string
	WithoutLimits       bool
	RunDir              string
	LogFormat, LogLevel string
}

// startLauncher gives the asker's end of its socket. The launcher ends with that.
func (b boxFlags) startLauncher(common *common, log *slog.Logger, name string, img image.Image) (*os.File, error) {
	runDir, err := runDir(common.DataDir)
	if err != nil {
		return nil, err
	}
	boxes := b.sandboxConfig(name, log)
	if boxes.Runsc != "" {
		if boxes.Runsc, err = filepath.Abs(boxes.Runsc); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(launcherConfig{
		Name: name, Images: []string{img.Rootfs, img.Usr}, Isolation: boxes.Isolation, Runsc: boxes.Runsc, WithoutLimits: boxes.WithoutLimits, RunDir: runDir,
		LogFormat: common.LogFormat, LogLevel: common.LogLevel,
	})
	if err != nil {
		return nil, err
	}
	inside, asker, err := sandbox.Pair()
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	cmd, err := sandbox.StartLauncher(func() *exec.Cmd {
		return &exec.Cmd{
			Path: "/proc/self/exe", Args: []string{launcherName, string(text)}, Dir: "/", Env: []string{},
			Stderr: os.Stderr, ExtraFiles: []*os.File{inside},
			// Ctrl+C in a terminal is for the server: boxes must live until it has ended.
			SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		}
	}, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the launcher: %w", err), asker.Close())
	}
	return asker, cmd.Process.Release()
}

// runDir is where locks are: for root the system's folder, for others the session's, or
// the data directory.
func runDir(dataDir string) (string, error) {
	if os.Geteuid() == 0 {
		return "", nil
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && unix.Access(dir, unix.W_OK) == nil {
		return dir, nil
	}
	return filepath.Abs(dataDir)
}

// launcherMain is what the launcher does.
func launcherMain(argument string) error {
	var cfg launcherConfig
	if err := json.Unmarshal([]byte(argument), &cfg); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	log := newLogger(os.Stderr, common{LogFormat: cfg.LogFormat, LogLevel: cfg.LogLevel})
	// It ends when the server does, and not before.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return sandbox.Serve(context.Background(), os.NewFile(3, "server"), sandbox.Config{
		Name: cfg.Name, OwnProcess: true, Isolation: cfg.Isolation, Runsc: cfg.Runsc, WithoutLimits: cfg.WithoutLimits, RunDir: cfg.RunDir, Log: log,
	}, cfg.Images)
}
