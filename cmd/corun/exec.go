package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"corun/runner"
	"corun/store"
	"corun/web"
)

const (
	// exitNotByItself is the exit code for a program that Corun ended or that could not
	// be compiled or begun.
	exitNotByItself = 125
	// exitStopped is the one for a program that Ctrl+C ended, or Ctrl+] in a terminal.
	exitStopped = exitSignal + int(syscall.SIGINT)
	// exitSignal is added to the number of the signal that ended a program, as shells do.
	exitSignal = 128
)

type execCmd struct {
	boxFlags
	Language string   `short:"l" help:"Language of the program. Default: by the first file's extension."`
	Files    []string `arg:"" optional:"" help:"Files to run, and folders with more of them; the first file is the one that starts. Without any, or for -, the program is read from standard input. What follows -- are the program's arguments." placeholder:"FILE"`
	Args     []string `help:"Argument for the program; can be given several times." name:"arg" short:"a" sep:"none"`
	Stdin    string   `help:"File to give the program as its input, instead of standard input." type:"existingfile" placeholder:"FILE"`
	Terminal bool     `short:"t" help:"Give the program this terminal. Ctrl+] ends the run."`
	Out      string   `short:"o" help:"Folder for what the program leaves in /work/out." placeholder:"DIR"`
	JSON     bool     `help:"Print what became of it as JSON, as POST /api/v1/execute does."`

	Memory    byteSize      `help:"Lower the limit of memory, such as to 64MiB." default:"0" placeholder:"SIZE"`
	Time      time.Duration `help:"Lower the limit of time, such as to 2s." placeholder:"TIME"`
	CPUTime   time.Duration `name:"cpu-time" help:"Lower the limit of processor time." placeholder:"TIME"`
	Processes int           `help:"Lower the limit of processes and threads." placeholder:"N"`

	Quiet   bool `short:"q" help:"Say nothing of how the program ended. Its exit code does, and more is said only if it did not end by itself."`
	Verbose bool `short:"v" help:"Say how the program ended, and what it used, in any case."`
}

// Help is shown by --help.
func (c *execCmd) Help() string {
	return `Exits as the program did: with its code, or with 128 and the number of the signal that
ended it; with 130 after Ctrl+C; and with 125 if it reached a limit, or could not be
compiled or begun.

  corun exec main.py -- --an-argument
  corun exec -t game.py
  corun exec --out plots --time 5s plot.py data.csv
  echo 'print(1)' | corun exec -l python`
}

// Run executes the files in one box.
func (c *execCmd) Run(ctx context.Context, out io.Writer, common *common, log *slog.Logger) error {
	if err := c.check(); err != nil {
		return err
	}
	req, err := c.request()
	if err != nil {
		return err
	}
	// Where nobody reads any more, as after head, writing must fail and not end us: the
	// box has to be taken away. To ignore the signal would be passed on to programs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	run, stop, err := c.open(ctx, common, log, req.Language)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if err := stop(closing); err != nil {
			log.Error("stop runner", "error", err)
		}
	}()
	if c.JSON {
		return c.inJSON(ctx, run, req, out)
	}
	return c.live(ctx, run, req, out)
}

// check refuses flags that cannot be meant together.
func (c *execCmd) check() error {
	program := len(c.Files) == 0 || slices.Contains(c.Files, "-") // is read from standard input
	switch {
	case c.Terminal && c.JSON:
		return errors.New("--json keeps stdout and stderr apart, and a terminal does not: leave --terminal or --json out")
	case c.Terminal && (c.Stdin != "" || program):
		return errors.New("with --terminal the program's input is the keyboard: give the program as a file, and leave --stdin out")
	case c.Terminal && !term.IsTerminal(int(os.Stdin.Fd())):
		return errors.New("--terminal needs standard input to be a terminal, and it is none: leave --terminal out")
	case program && len(c.Files) > 1 && c.Files[0] != "-":
		return errors.New("the program on standard input is the one that starts: give - as the first file")
	case program && c.Language == "":
		return errors.New("a program on standard input has no extension to tell its language by: say it with --language")
	}
	return nil
}

// request says what is to be run.
func (c *execCmd) request() (req runner.Request, err error) {
	req = runner.Request{
		Args: c.Args, Mode: runner.ModePipes, By: "exec", ByName: "exec",
		Limits: &runner.Lower{MemoryBytes: int64(c.Memory), Wall: c.Time, CPUTime: c.CPUTime, Processes: c.Processes},
	}
	files, err := listFiles(c.Files)
	if err != nil {
		return req, err
	}
	language, err := c.language(files)
	if err != nil {
		return req, err
	}
	req.Language = language
	if c.Terminal {
		req.Mode = runner.ModeTerminal
	}
	if req.Files, err = readFiles(files); err != nil {
		return req, err
	}
	switch {
	case len(c.Files) == 0 || c.Files[0] == "-":
		program, err := io.ReadAll(os.Stdin)
		if err != nil {
			return req, fmt.Errorf("read program: %w", err)
		}
		profile, err := runner.Profile(language)
		if err != nil {
			return req, err
		}
		req.Entry = profile.Entry
		req.Files = slices.Insert(req.Files, 0, runner.File{Path: req.Entry, Content: string(program)})
		req.Stdin = new("")
	case files[0].named:
		req.Entry = files[0].path
	}
	if c.Stdin != "" && c.JSON {
		input, err := os.ReadFile(c.Stdin)
		if err != nil {
			return req, fmt.Errorf("read input: %w", err)
		}
		req.Stdin = new(string(input))
	} else if c.Stdin != "" {
		req.Stdin = nil // it is read while the program runs
	}
	return req, nil
}

// language is what was said, or what the first file's name says.
func (c *execCmd) language(files []localFile) (string, error) {
	if c.Language != "" {
		profile, err := runner.Profile(c.Language)
		if err != nil {
			return "", err
		}
		return profile.Name, nil
	}
	if !files[0].named {
		return "", fmt.Errorf("%s is a folder: give the file in it that starts before it, or say the language with --language", c.Files[0])
	}
	profile, err := runner.ProfileOf(files[0].path)
	if err != nil {
		return "", err
	}
	if profile == nil {
		return "", fmt.Errorf("the name of %s does not tell its language: say it with --language", files[0].from)
	}
	return profile.Name, nil
}

// open gives a runner for one run of a language.
func (c *execCmd) open(ctx context.Context, common *common, log *slog.Logger, language string) (*runner.Runner, func(context.Context) error, error) {
	if err := common.makeDataDir(); err != nil {
		return nil, nil, err
	}
	launcher, img, err := c.boxFlags.open(ctx, common, log, fmt.Sprintf("corun-exec-%d", os.Getpid()))
	if err != nil {
		return nil, nil, err
	}
	return c.boxFlags.start(ctx, runner.Config{Launcher: launcher, Image: img, NoPool: true, Languages: []string{language}, Log: log})
}

// inJSON runs the program and prints what became of it.
func (c *execCmd) inJSON(ctx context.Context, run *runner.Runner, req runner.Request, out io.Writer) error {
	if req.Stdin == nil {
		req.Stdin = new("")
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			input, err := io.ReadAll(os.Stdin)
			if err != nil {
				return fmt.Errorf("read input: %w", err)
			}
			*req.Stdin = string(input)
		}
	}
	result, err := run.Execute(ctx, runner.ExecuteRequest{
		Language: req.Language, Entry: req.Entry, Files: req.Files, Args: req.Args, Stdin: []string{*req.Stdin}, By: req.By, Run: req.Limits,
	})
	if err != nil {
		return inFlags(err)
	}
	answer := web.AnswerOf(result, false)
	last := result.Compile
	if len(result.Runs) > 0 {
		last = &result.Runs[0]
		if err := c.save(last.Artefacts); err != nil {
			return err
		}
	}
	answer.Runs = nil
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(answer); err != nil {
		return printed(err)
	}
	return exitOf(last.Status, last.Code, last.Signal)
}

// live runs the program and prints what it prints when it does.
func (c *execCmd) live(ctx context.Context, run *runner.Runner, req runner.Request, out io.Writer) error {
	input := io.Reader(os.Stdin)
	if c.Stdin != "" {
		f, err := os.Open(c.Stdin)
		if err != nil {
			return fmt.Errorf("read input: %w", err)
		}
		defer f.Close()
		input = f
	}
	var one *runner.Run
	lent := func() {} // gives the terminal back
	req.Began = func(r *runner.Run) { one = r }
	if c.Terminal {
		t, err := lendTerminal(&req)
		if err != nil {
			return err
		}
		lent = t.close
		var leave context.CancelFunc
		ctx, leave = context.WithCancel(ctx)
		defer leave()
		input = &escapeReader{os.Stdin, leave}
		req.Began = func(r *runner.Run) {
			one = r
			go t.follow(r)
		}
	}
	screen := &lines{start: true}
	result, err := run.Exec(ctx, req, input, io.MultiWriter(out, screen), io.MultiWriter(os.Stderr, screen))
	lent() // before any word of ours
	if err != nil {
		return inFlags(printed(err))
	}
	left := one.Artefacts()
	if err := c.save(left); err != nil {
		return err
	}
	c.report(result, left, screen.start)
	return exitOf(result.Status, result.ExitCode, result.Signal)
}

// lines knows whether what was printed ends at the start of a line.
type lines struct{ start bool }

func (l *lines) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.start = p[len(p)-1] == '\n'
	}
	return len(p), nil
}

// report says what the exit code does not.
func (c *execCmd) report(result store.Run, left []runner.Artefact, lineStart bool) {
	var words []string
	if result.Status != store.StatusExited || c.Verbose {
		words = append(words, result.Message)
	}
	if c.Verbose {
		words = append(words, fmt.Sprintf("It took %.0f ms, %.0f ms of processor time and %.1f MiB of memory, and began after %.0f ms.",
			result.Usage.WallMS, result.Usage.CPUMS, float64(result.Usage.MemoryPeakBytes)/(1<<20), result.StartupMS))
	}
	if len(left) > 0 && c.Out == "" {
		words = append(words, fmt.Sprintf("It left files in /work/out (%d): --out DIR keeps them.", len(left)))
	}
	if c.Quiet || len(words) == 0 {
		return
	}
	if !lineStart {
		fmt.Fprintln(os.Stderr)
	}
	for _, w := range words {
		fmt.Fprintln(os.Stderr, "corun:", w)
	}
}

// save writes what a program has left. Nothing of it gets out of the folder.
func (c *execCmd) save(left []runner.Artefact) error {
	if c.Out == "" {
		return nil
	}
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return fmt.Errorf("make folder for what the program left: %w", err)
	}
	root, err := os.OpenRoot(c.Out)
	if err != nil {
		return fmt.Errorf("open folder for what the program left: %w", err)
	}
	defer root.Close()
	for _, f := range left {
		if err := root.MkdirAll(path.Dir(f.Path), 0o777); err != nil {
			return fmt.Errorf("keep what the program left: %w", err)
		}
		if err := root.WriteFile(f.Path, f.Data, 0o666); err != nil {
			return fmt.Errorf("keep what the program left: %w", err)
		}
	}
	return nil
}

// exitOf is how a verdict is told to who started us.
func exitOf(status store.Status, code *int, sig *string) error {
	switch {
	case status == store.StatusExited && code != nil && *code == 0:
		return nil
	case status == store.StatusExited && code != nil:
		return exitStatus(*code)
	case status == store.StatusSignaled && sig != nil:
		return exitStatus(exitSignal + int(unix.SignalNum(*sig)))
	case status == store.StatusStopped:
		return exitStatus(exitStopped)
	}
	return exitStatus(exitNotByItself)
}

// printed says nothing of a reader that has gone: it knows.
func printed(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return exitStatus(exitSignal + int(syscall.SIGPIPE))
	}
	return err
}

// inFlags names what the runner refused as the command line does.
func inFlags(err error) error {
	var refused *runner.InputError
	if !errors.As(err, &refused) {
		return err
	}
	flag, ok := map[string]string{
		"limits.memory": "--memory", "limits.wall_time": "--time", "limits.cpu_time": "--cpu-time", "limits.processes": "--processes",
		"args": "the program's arguments", "stdin": "the input", "files": "the files", "entry": "the file that starts",
	}[refused.Field]
	if !ok {
		return err
	}
	return fmt.Errorf("%s: %s", flag, refused.Detail)
}
