package runner

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"corun/runner/lang"
	"corun/runner/sandbox"
	"corun/store"
)

// Modes of a run.
const (
	// ModeTerminal gives the program a terminal of its own.
	ModeTerminal = "terminal"
	// ModePipes keeps stdout and stderr apart.
	ModePipes = "pipes"
	// ModeTests runs the program for each of Request.Cases, with pipes and in a box of its own.
	ModeTests = "tests"
)

// Where a run's input comes from: the driver types it, or it is given with the run and whole.
const (
	stdinDriver = "driver"
	stdinGiven  = "given"
)

const (
	maxPathBytes  = 255
	maxArgs       = 128
	maxArgBytes   = 64 << 10 // all together
	maxStdinBytes = 1 << 20
	maxTermSide   = 1000
	// ownInodes are of a box's own folders, of what was compiled, and of a runtime's files.
	ownInodes   = 96
	defaultCols = 80
	defaultRows = 24
)

// Request asks for a run.
type Request struct {
	Room   string
	By     string // id of the participant who starts it
	ByName string
	IP     string // where the request came from, for the quotas

	Language string // name or alias
	// Entry is the path of the file to run. Without it the runner chooses:
	// DefaultEntry, the language's usual one, the first of the language.
	Entry        string
	DefaultEntry string
	Args         []string
	// Mode is ModeTerminal, ModePipes or ModeTests; without it, a terminal unless Stdin is
	// given.
	Mode string
	// Stdin is typed for the program. With pipes it is the whole input;
	// without it, and in a terminal, input comes from Run.Stdin.
	Stdin      *string
	Cols, Rows int // of the terminal; 0 for the usual size
	Files      []File
	// Cases are what ModeTests runs the program for. Each has its own input and arguments.
	Cases  []store.TestCase
	Limits *Lower
	// CompileLimits lower those of the compile stage.
	CompileLimits *Lower

	// StateVector and DocSeq say which state of the document Files is. They are
	// kept with the run.
	StateVector []byte
	DocSeq      int64

	// Events is told what becomes of the run, in order, by one goroutine; the
	// last is EventExited, always. It must not block for long: the program
	// waits meanwhile. It is not called when Start fails.
	Events func(Event)
	// Began is given the run by Exec before anything becomes of it, so that it can be
	// resized, typed into and stopped meanwhile.
	Began func(*Run)
}

// File is one file of the snapshot that is run.
type File struct {
	Path    string // relative, with slashes
	Content string
}

// InputError refuses a request that cannot be right. Field is its JSON name.
type InputError struct {
	Field  string
	Detail string // what was wrong and what would be right
}

func (e *InputError) Error() string { return e.Field + ": " + e.Detail }

// LimitError refuses a request that may be right later.
type LimitError struct {
	Detail     string
	RetryAfter time.Duration
	Global     bool // the server is full; otherwise the caller's own quota is
}

func (e *LimitError) Error() string { return e.Detail }

// job is a request that was found good, with everything worked out.
type job struct {
	Request
	profile *lang.Profile
	limits  Limits
	// built is the program, where that is known before the run; nil where there is no
	// compile stage, or it is still to come.
	built *built
	// given are files that the program finds beside its own, and its compiler does not.
	given []sandbox.File
	// tests are the cases of a run of them, which is in ModePipes itself; nil for any other.
	tests []*testCase
	// trial says that nobody minds if there is no such program.
	trial bool
}

// prepare checks a request and works out what it left open.
func prepare(req Request, langs *lang.Set, limits Limits) (*job, error) {
	p, ok := langs.Find(req.Language)
	if !ok {
		return nil, unknownLanguage(req.Language, langs)
	}
	tests := req.Mode == ModeTests
	switch req.Mode {
	case ModeTerminal, ModePipes:
	case ModeTests:
		if req.Stdin != nil || len(req.Args) > 0 {
			return nil, &InputError{"mode", "each test has its own stdin and args: leave them out, or use terminal or pipes"}
		}
		req.Mode = ModePipes
	case "":
		req.Mode = ModeTerminal
		if req.Stdin != nil {
			req.Mode = ModePipes
		}
	default:
		return nil, &InputError{"mode", fmt.Sprintf("mode is %q: use terminal, pipes or tests", req.Mode)}
	}
	usual := limits
	limits = limits.forLanguage(p)
	if err := checkFiles(req.Files, limits); err != nil {
		return nil, err
	}
	if err := chooseEntry(&req, p); err != nil {
		return nil, err
	}
	if err := checkArgs(req.Args); err != nil {
		return nil, err
	}
	if req.Stdin != nil && len(*req.Stdin) > maxStdinBytes {
		return nil, &InputError{"stdin", fmt.Sprintf("it is %s: %s is the most", byteWords(int64(len(*req.Stdin))), byteWords(maxStdinBytes))}
	}
	if req.Cols == 0 && req.Rows == 0 {
		req.Cols, req.Rows = defaultCols, defaultRows
	}
	if _, err := terminalSize(req.Cols, req.Rows); err != nil {
		return nil, err
	}
	if wall := limits.wall(req.Mode); req.Limits != nil && req.Limits.Wall > wall {
		return nil, outOfRange("limits.wall_time", int64(req.Limits.Wall), 1, int64(wall), durationWords)
	}
	lowered, err := limits.lowered(req.Limits, req.CompileLimits)
	if err != nil {
		return nil, err
	}
	j := &job{Request: req, profile: p, limits: lowered}
	if tests {
		if j.tests, err = prepareTests(j, langs, usual); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func unknownLanguage(name string, langs *lang.Set) *InputError {
	var names []string
	for _, p := range langs.All() {
		names = append(names, p.Name)
	}
	if name == "" {
		return &InputError{"language", "it is missing: use one of " + strings.Join(names, ", ")}
	}
	return &InputError{"language", fmt.Sprintf("there is no language %q here: use one of %s", name, strings.Join(names, ", "))}
}

func chooseEntry(req *Request, p *lang.Profile) error {
	paths := make([]string, len(req.Files))
	for i, f := range req.Files {
		paths[i] = f.Path
		if f.Path == req.Entry {
			return nil
		}
	}
	if req.Entry != "" {
		return &InputError{"entry", fmt.Sprintf("there is no file %q: use the path of one of the files", req.Entry)}
	}
	if req.Entry = p.ChooseEntry(paths, req.DefaultEntry); req.Entry == "" {
		return &InputError{"entry", fmt.Sprintf("none of the files is of the language %s: name one %s, or say which file to run", p.Name, p.Entry)}
	}
	return nil
}

// checkFiles checks a snapshot as strictly as the room does that it comes from:
// nothing else stands between a path and the box's file system.
func checkFiles(files []File, limits Limits) error {
	if len(files) == 0 {
		return &InputError{"files", "there is none: give at least the program"}
	}
	if len(files) > limits.SourceFiles {
		return &InputError{"files", fmt.Sprintf("there are %d: %d is the most", len(files), limits.SourceFiles)}
	}
	var bytes int64
	seen, folders := make(map[string]bool, len(files)), make(map[string]bool)
	for _, f := range files {
		if err := checkPath(f.Path); err != nil {
			return err
		}
		if seen[f.Path] {
			return &InputError{"files", fmt.Sprintf("two files have the path %q: give each its own", f.Path)}
		}
		seen[f.Path] = true
		bytes += int64(len(f.Content))
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if seen[dir] {
				return &InputError{"files", fmt.Sprintf("%q is a file, so %q cannot lie in it: rename one of them", dir, f.Path)}
			}
			folders[dir] = true
		}
	}
	if n, most := int64(len(files)+len(folders)), limits.Box.ScratchInodes-ownInodes; n > most {
		return &InputError{"files", fmt.Sprintf("with the folders that they lie in they are %d: %d is the most", n, most)}
	}
	if bytes > limits.SourceBytes {
		return &InputError{"files", fmt.Sprintf("they are %s together: %s is the most", byteWords(bytes), byteWords(limits.SourceBytes))}
	}
	return nil
}

func checkPath(p string) error {
	if len(p) > maxPathBytes || !utf8.ValidString(p) || !fs.ValidPath(p) || p == "." || strings.ContainsFunc(p, unicode.IsControl) {
		return &InputError{"files", fmt.Sprintf("the path %.300q cannot be used: it must be relative, with / between its parts, at most %d bytes, and without .. or control characters", p, maxPathBytes)}
	}
	return nil
}

func checkArgs(args []string) error {
	bytes := 0
	for _, a := range args {
		bytes += len(a) + 1
		if strings.ContainsRune(a, 0) {
			return &InputError{"args", "an argument cannot hold a NUL character"}
		}
	}
	if len(args) > maxArgs || bytes > maxArgBytes {
		return &InputError{"args", fmt.Sprintf("there are %d with %s: %d with %s is the most", len(args), byteWords(int64(bytes)), maxArgs, byteWords(maxArgBytes))}
	}
	return nil
}

func terminalSize(cols, rows int) (sandbox.Size, error) {
	for _, side := range []struct {
		field string
		n     int
	}{{"cols", cols}, {"rows", rows}} {
		if side.n < 1 || side.n > maxTermSide {
			return sandbox.Size{}, &InputError{side.field, fmt.Sprintf("%s is %d: use a number from 1 to %d", side.field, side.n, maxTermSide)}
		}
	}
	return sandbox.Size{Cols: uint16(cols), Rows: uint16(rows)}, nil
}

// command is what the box of the program executes. What was compiled takes the place
// of a source file of that name.
func (j *job) command(size sandbox.Size) sandbox.Command {
	c := j.within(size, j.profile.Command(j.Entry, j.Args), j.profile.Env, j.limits.CPUTime)
	if j.built != nil {
		name := j.profile.Compile.Output
		c.Files = slices.DeleteFunc(c.Files, func(f sandbox.File) bool {
			return f.Path == name || strings.HasPrefix(f.Path, name+"/")
		})
		c.Files = append(c.Files, sandbox.File{Path: name, Content: j.built.program, Mode: 0o755})
	}
	c.Files = append(c.Files, j.given...)
	return c
}

// warmCommand is what a runtime that was started ahead is told.
func (j *job) warmCommand(size sandbox.Size) sandbox.Command {
	c := j.command(size)
	c.Args = append([]string{j.profile.Begins(j.Entry)}, j.Args...)
	return c
}

// compileCommand is what the box of the compile stage executes.
func (j *job) compileCommand(size sandbox.Size) sandbox.Command {
	paths := make([]string, len(j.Files))
	for i, f := range j.Files {
		paths[i] = f.Path
	}
	args := j.profile.CompileCommand(j.Entry, paths, j.profile.Compile.Output)
	return j.within(size, args, j.profile.Compile.Env, j.limits.Compile.CPUTime)
}

// sealedCompileCommand is the same where nothing can be read of what a box leaves: what
// the compiler prints goes to stderr, and then what it has made to stdout.
func (j *job) sealedCompileCommand(size sandbox.Size) sandbox.Command {
	c := j.compileCommand(size)
	c.Terminal = nil
	c.Args = append([]string{"/bin/sh", "-c", `"$@" >&2 || exit; exec cat <"$0"`, j.profile.Compile.Output}, c.Args...)
	return c
}

// within is a command among the run's files and with its streams.
func (j *job) within(size sandbox.Size, args []string, env map[string]string, cpu time.Duration) sandbox.Command {
	c := sandbox.Command{Args: args, Env: environment(env, j.Mode), Dir: homeDir, CPUTime: cpu}
	for _, f := range j.Files {
		c.Files = append(c.Files, sandbox.File{Path: f.Path, Content: []byte(f.Content), Mode: 0o644})
	}
	if j.Mode == ModeTerminal {
		c.Terminal = &size
	}
	return c
}

// record is the run's row before it began.
func (j *job) record(now time.Time) store.Run {
	args, stdin := j.Args, stdinDriver
	if args == nil {
		args = []string{}
	}
	if j.tests != nil || j.Stdin != nil && j.Mode == ModePipes {
		stdin = stdinGiven
	}
	row := store.Run{
		Room: j.Room, Language: j.profile.Name, Entry: j.Entry, Args: args, Mode: j.Mode, Stdin: stdin, Attempt: 1,
		State: store.RunQueued, StartedBy: j.By, StartedByName: j.ByName,
		CreatedAt: now.UTC(), StateVector: j.StateVector, DocSeq: j.DocSeq,
	}
	if j.tests != nil {
		row.Mode, row.Tests = ModeTests, &store.TestSummary{Total: len(j.tests)}
		for _, c := range j.tests {
			row.Tests.MaxPoints += c.Points
		}
	}
	return row
}
