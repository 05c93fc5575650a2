// Command corun is the whole of Corun: the server, its tools and, re-executed
// under other names, the launcher that makes boxes for a server without root
// (privilege.go) and the first process of every box (package sandbox).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"corun/store"
)

// version is set by the linker (make build).
var version = "devel"

// cli is the command line. Every flag has a twin in the environment,
// CORUN_<FLAG>, which kong derives.
type cli struct {
	common

	Serve   serveCmd   `cmd:"" help:"Run the server: rooms, runs and page in one process."`
	Doctor  doctorCmd  `cmd:"" help:"Check kernel, cgroups, seccomp, image and store; name each fault and its mend."`
	Exec    execCmd    `cmd:"" help:"Run files once in a box, without a server."`
	Image   imageCmd   `cmd:"" help:"Make and look after the root file systems of boxes."`
	Room    roomCmd    `cmd:"" help:"Make, list and delete rooms."`
	Token   tokenCmd   `cmd:"" help:"Make, list and revoke API tokens."`
	Backup  backupCmd  `cmd:"" help:"Copy the database into a file, also while the server runs."`
	Restore restoreCmd `cmd:"" help:"Make the database from a backup, while the server is stopped."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// common are the flags that several commands need.
type common struct {
	DataDir     string `help:"Where the database and images are kept." default:"${data_dir}" type:"path" placeholder:"DIR"`
	DatabaseURL string `name:"database-url" help:"Database, sqlite:FILE. Default: corun.db in the data directory." placeholder:"URL"`
	ImageDir    string `help:"Where images are kept. Default: images in the data directory." type:"path" placeholder:"DIR"`
	User        string `help:"Whom a server becomes that is started as root, and by whose hand root's other commands use its database." default:"corun" placeholder:"NAME"`
	LogFormat   string `help:"Format of the log: text or json." enum:"text,json" default:"text"`
	LogLevel    string `help:"Least level that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`

	in *inherited // of who has executed this; or nil
}

func main() {
	if len(os.Args) == 2 && os.Args[0] == launcherName {
		if err := launcherMain(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, launcherName+":", err)
			os.Exit(1)
		}
		return
	}
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	var status exitStatus
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(int(status))
	default:
		fmt.Fprintln(os.Stderr, "corun:", err)
		os.Exit(1)
	}
}

// exitStatus ends the process with a code and no further words.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c cli
	parser, err := kong.New(&c,
		kong.Name("corun"),
		kong.Description("Collaborative code rooms: edit together, run, and see the output live."),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.DefaultEnvars("CORUN"),
		kong.Vars{"data_dir": defaultDataDir(), "admin_addr": defaultAdminAddr},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		return fmt.Errorf("define command line: %w", err)
	}
	args, rest := cutArguments(args)
	parsed, err := parser.Parse(args)
	if err != nil {
		return err
	}
	c.Exec.Args = append(c.Exec.Args, rest...)
	log := newLogger(stderr, c.common)
	slog.SetDefault(log)
	if c.in, err = takeInherited(); err != nil {
		return err
	}
	if c.in != nil {
		c.DataDir = c.in.DataDir
	}
	if isDatabaseCommand(parsed.Command()) {
		who, err := c.databaseUser()
		if err != nil {
			return err
		}
		if who != nil {
			return who.delegate(ctx, &c.common, parsed.Selected().Target.Addr().Interface(), delegated{args: args, out: stdout, errs: stderr})
		}
	}
	return parsed.Run(&c.common, log)
}

// cutArguments takes off what follows -- where that is for the program of exec, and no
// more files.
func cutArguments(args []string) (ours, programs []string) {
	i := slices.Index(args, "--")
	if i < 0 || !slices.Contains(args[:i], "exec") {
		return args, nil
	}
	return args[:i], args[i+1:]
}

func newLogger(w io.Writer, c common) *slog.Logger {
	var level slog.Level
	// The flag's enum admits only names that slog knows.
	_ = level.UnmarshalText([]byte(c.LogLevel))
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// defaultDataDir is ./data, or /var/lib/corun for a binary installed below /usr
// or /opt.
func defaultDataDir() string {
	exe, err := os.Executable()
	if err == nil && (strings.HasPrefix(exe, "/usr/") || strings.HasPrefix(exe, "/opt/")) {
		return "/var/lib/corun"
	}
	return "data"
}

func (c common) imageDir() string {
	if c.ImageDir != "" {
		return c.ImageDir
	}
	return filepath.Join(c.DataDir, imagesFolder)
}

func (c common) databaseURL() string {
	if c.DatabaseURL != "" {
		return c.DatabaseURL
	}
	return "sqlite:" + filepath.Join(c.DataDir, "corun.db")
}

// databaseHere is the name of a database that lies in the data directory, or "".
func (c common) databaseHere() (string, error) {
	path, err := store.Path(c.databaseURL())
	if err != nil {
		return "", err
	}
	folder, err1 := filepath.Abs(filepath.Dir(path))
	dataDir, err2 := filepath.Abs(c.DataDir)
	if err := errors.Join(err1, err2); err != nil || folder != dataDir {
		return "", err
	}
	return filepath.Base(path), nil
}

// imagesFolder is in the data directory.
const imagesFolder = "images"

// makeDataDir creates the data directory, readable by its owner alone.
func (c common) makeDataDir() error {
	if os.Geteuid() == 0 {
		who, err := lookUp(c.User, nil)
		if err != nil {
			return err
		}
		dir, err := who.open(c.DataDir, true)
		if err != nil {
			return fmt.Errorf("create data directory: %w", err)
		}
		return dir.Close()
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	return nil
}

type versionCmd struct{}

func (versionCmd) Run(out io.Writer) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				revision = " " + s.Value[:12]
			}
		}
	}
	_, err := fmt.Fprintf(out, "corun %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
