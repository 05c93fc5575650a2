package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"corun/runner/lang"
	"corun/runner/sandbox"
	profiles "corun/sandbox-profiles"
)

const (
	boxHostname = "corun"
	boxUser     = "runner"
	homeDir     = "/work"
	// tryWithin bounds how long a language may take to tell its version.
	tryWithin = 20 * time.Second
	// versionBytes is the most that is read of a version.
	versionBytes = 4 << 10
)

// Language is a language that works here, as callers of the API see it.
type Language struct {
	Name       string         `json:"name"`
	Version    string         `json:"version"`
	Aliases    []string       `json:"aliases"`
	Extensions []string       `json:"extensions"`
	Entry      string         `json:"entry"`
	Limits     LanguageLimits `json:"limits"`
	// Format tells that its files can be formatted.
	Format bool `json:"format"`
	// Problem is what is wrong with a language that works all the same: that its programs
	// start slowly, and why.
	Problem string `json:"problem,omitempty"`
}

// LanguageLimits are the limits of a run as callers of the API see them. The
// wall clock is that of pipes, unless it says terminal.
type LanguageLimits struct {
	CPUTimeMS      int64   `json:"cpu_time_ms"`
	WallMS         int64   `json:"wall_ms"`
	TerminalWallMS int64   `json:"terminal_wall_ms"`
	IdleMS         int64   `json:"terminal_idle_ms"`
	CPUs           float64 `json:"cpus"`
	MemoryBytes    int64   `json:"memory_bytes"`
	Processes      int     `json:"processes"`
	OutputBytes    int64   `json:"output_bytes"`
}

// profileSet reads the profiles that are built in.
func profileSet() (*lang.Set, error) {
	return lang.Load(profiles.FS, "languages")
}

// Profile gives a language's profile by name or alias, whether or not it works
// here. The error names the languages there are.
func Profile(name string) (*lang.Profile, error) {
	set, err := profileSet()
	if err != nil {
		return nil, err
	}
	p, ok := set.Find(name)
	if !ok {
		return nil, unknownLanguage(name, set)
	}
	return p, nil
}

// ProfileOf gives the language of a file, by its extension, whether or not it works here;
// nil when no language has it.
func ProfileOf(file string) (*lang.Profile, error) {
	set, err := profileSet()
	if err != nil {
		return nil, err
	}
	for _, p := range set.All() {
		if p.Owns(file) {
			return p, nil
		}
	}
	return nil, nil
}

// chosenProfiles gives those of the profiles that are wanted; nil wants all.
func chosenProfiles(names []string) (*lang.Set, error) {
	all, err := profileSet()
	if err != nil || names == nil {
		return all, err
	}
	wanted := make(map[*lang.Profile]bool)
	for _, name := range names {
		p, ok := all.Find(name)
		if !ok {
			return nil, unknownLanguage(name, all)
		}
		wanted[p] = true
	}
	return all.Select(func(p *lang.Profile) bool { return wanted[p] }), nil
}

// Languages gives the languages that work here, by name.
func (r *Runner) Languages() []Language {
	all := slices.Clone(r.languages)
	for i := range all {
		all[i].Problem = r.problem(all[i].Name)
	}
	return all
}

// problem says why a language's runtime cannot be started ahead.
func (r *Runner) problem(name string) string {
	p, _ := r.langs.Find(name)
	if p.Warm == nil {
		return ""
	}
	for _, mode := range []string{ModeTerminal, ModePipes} {
		if failure := r.pools.of(r.warmKind(p, mode)).Failure; failure != nil {
			return fmt.Sprintf("programs start slowly, for the runtime cannot be started ahead: %v", failure)
		}
	}
	return ""
}

// Language gives one of them by name or alias.
func (r *Runner) Language(name string) (Language, bool) {
	if p, ok := r.langs.Find(name); ok {
		for _, l := range r.languages {
			if l.Name == p.Name {
				l.Problem = r.problem(l.Name)
				return l, true
			}
		}
	}
	return Language{}, false
}

// Template gives a short program of a language to start from, the file that is
// run first; nil for a language that is not here.
func (r *Runner) Template(name string) []File {
	p, ok := r.langs.Find(name)
	if !ok {
		return nil
	}
	files := make([]File, len(p.Template))
	for i, f := range p.Template {
		files[i] = File{Path: f.Path, Content: f.Content}
	}
	return files
}

// tryLanguages keeps the languages that tell their version in a box, and those of their
// formatters, if they are wanted, that take an example.
func (r *Runner) tryLanguages(ctx context.Context, all *lang.Set, formatters bool) error {
	var failures []error
	r.tried, r.failures = all.All(), make(map[string]error)
	versions, formats, errs := r.versions(ctx, all.All(), formatters)
	r.formats = formats
	r.langs = all.Select(func(p *lang.Profile) bool {
		if err := errs[p]; err != nil {
			r.log.Warn("language does not work here", "language", p.Name, "error", err)
			r.failures[p.Name] = err
			failures = append(failures, fmt.Errorf("%s: %w", p.Name, err))
			return false
		}
		r.languages = append(r.languages, r.describe(p, versions[p]))
		return true
	})
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("try languages: %w", err)
	}
	if len(r.languages) == 0 {
		return fmt.Errorf("no language works here: %w", errors.Join(failures...))
	}
	return nil
}

// versions tries languages and, if they are wanted, their formatters, as many at once as there
// are processors.
func (r *Runner) versions(ctx context.Context, all []*lang.Profile, formatters bool) (map[*lang.Profile]string, map[string]bool, map[*lang.Profile]error) {
	var mu sync.Mutex
	versions, formats, errs := make(map[*lang.Profile]string), make(map[string]bool), make(map[*lang.Profile]error)
	next := make(chan *lang.Profile)
	var tries sync.WaitGroup
	// One that has ended may still have its place when the next enters; none is to be refused.
	for range max(1, min(runtime.NumCPU(), r.queue.left()/2)) {
		tries.Go(func() {
			for p := range next {
				version, err := r.tryLanguage(ctx, p)
				format := formatters && err == nil && p.Format != nil
				if format {
					if failure := r.tryFormatter(ctx, p); failure != nil {
						format = false
						r.log.Warn("formatter does not work here", "language", p.Name, "error", failure)
					}
				}
				mu.Lock()
				versions[p], formats[p.Name], errs[p] = version, format, err
				mu.Unlock()
			}
		})
	}
	for _, p := range all {
		next <- p
	}
	close(next)
	tries.Wait()
	r.active.Wait() // who comes first finds no formatter in their place
	return versions, formats, errs
}

// tryLanguage runs a language's version command in a box of its own.
func (r *Runner) tryLanguage(ctx context.Context, p *lang.Profile) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	limits := r.limits.forLanguage(p)
	k := r.runKind(p, limits.Box)
	if p.Compile != nil {
		k = r.compileKind(p, limits.Compile.Box)
	}
	box, err := r.pools.take(ctx, k)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, destroy(box)) }()
	process, err := box.Start(ctx, sandbox.Command{Args: p.Version, Env: environment(p.Env, ModePipes), Dir: homeDir})
	if err != nil {
		return "", fmt.Errorf("start version command: %w", err)
	}
	// The box dies with ctx, which ends the reading too.
	stop := context.AfterFunc(ctx, func() { _ = box.Kill() })
	defer stop()
	output, err := io.ReadAll(io.LimitReader(process.Stdout(), versionBytes))
	if err != nil {
		return "", fmt.Errorf("read version: %w", err)
	}
	exit, err := process.Wait(ctx)
	if err != nil {
		return "", fmt.Errorf("wait for version command: %w", err)
	}
	version = lang.FindVersion(output)
	if exit.Code != 0 || exit.Signal != 0 || version == "" {
		return "", fmt.Errorf("version command ended with code %d, signal %d and printed %.200q", exit.Code, exit.Signal, output)
	}
	return version, nil
}

func (r *Runner) describe(p *lang.Profile, version string) Language {
	l := r.limits.forLanguage(p)
	return Language{
		Name: p.Name, Version: version, Aliases: notNil(p.Aliases), Extensions: notNil(p.Extensions), Entry: p.Entry, Format: r.formats[p.Name],
		Limits: LanguageLimits{
			CPUTimeMS: l.CPUTime.Milliseconds(), WallMS: l.WallPipes.Milliseconds(),
			TerminalWallMS: l.WallTerminal.Milliseconds(), IdleMS: l.Idle.Milliseconds(),
			CPUs: l.Box.CPUs, MemoryBytes: l.Box.MemoryBytes, Processes: l.Box.Processes, OutputBytes: l.OutputBytes,
		},
	}
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// environment is all that a program finds in its environment.
func environment(own map[string]string, mode string) []string {
	env := map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin",
		"HOME": homeDir,
		"LANG": "C.UTF-8",
		"USER": boxUser,
		"TERM": "dumb",
	}
	if mode == ModeTerminal {
		env["TERM"] = "xterm-256color"
		env["COLORTERM"] = "truecolor"
	}
	maps.Copy(env, own)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
