// Package lang reads language profiles: how the programs of a language are
// named, started and begun. A profile is a TOML file in
// sandbox-profiles/languages; no Go code knows a language by name.
//
// The runner calls it. It does no I/O but through the file system it is given.
package lang

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Profile is one language.
type Profile struct {
	// Name is the language's name in the API, lower case.
	Name string `toml:"name"`
	// Aliases are further names that requests may use.
	Aliases []string `toml:"aliases"`
	// Extensions are those of its files, with the dot.
	Extensions []string `toml:"extensions"`
	// Entry is the path of the file that is run unless told otherwise.
	Entry string `toml:"entry"`
	// Version is a command that prints the version. That it works in a box is
	// the proof that the language is there.
	Version []string `toml:"version"`
	// Run is the command that runs a program; {entry} stands for the path of
	// its first file, or, where there is a compile stage, {output} for what that
	// made. The program's arguments follow.
	Run []string `toml:"run"`
	// Format is a command that reads a file of the language and prints it as is usual
	// in that; {entry} stands for the file's path. It ends with another code than 0
	// where it cannot read the file. None where there is no such command.
	Format []string `toml:"format"`
	// Env is added to the environment that every program has.
	Env map[string]string `toml:"env"`
	// Seccomp is the list of system calls that programs have, one of
	// sandbox-profiles/seccomp by name; "" means default.
	Seccomp string `toml:"seccomp"`
	// Compile makes the program from the sources, in a box of its own; nil where
	// sources are run as they are.
	Compile *Compile `toml:"compile"`
	// Warm starts the runtime ahead of a run; nil where that is not worth it.
	Warm *Warm `toml:"warm"`
	// Packages are those of the distribution's that an image needs for the language.
	Packages []string `toml:"packages"`
	// Setup are shell commands, run once in a new image by root, after its packages.
	Setup []string `toml:"setup"`
	// Limits are what the language needs to be other than usual.
	Limits Limits `toml:"limits"`
	// Template is a short program to start from. Given Input it prints Output, which
	// proves that the language works.
	Template []File `toml:"template"`
	Input    string `toml:"input"`
	Output   string `toml:"output"`
}

// Limits of a language's runs that are not the usual ones; 0 leaves those.
type Limits struct {
	MemoryBytes int64 `toml:"memory_bytes"`
	Processes   int   `toml:"processes"`
}

// Compile is the first of two stages. Its command is run in /work, among the
// sources, and leaves one file.
type Compile struct {
	// Command compiles. {entry} stands for the path of the file that was chosen,
	// {output} for the path of the file to make, and an argument {sources} for
	// those files that have one of Sources' extensions, each an argument.
	Command []string `toml:"command"`
	// Sources are the extensions of the files that {sources} stands for; none
	// means the language's.
	Sources []string `toml:"sources"`
	// Output is the name that the file has in /work when the program runs: one
	// without a folder.
	Output string `toml:"output"`
	// Env is added to the environment of the command.
	Env map[string]string `toml:"env"`
	// MemoryBytes is the most that the stage may use; 0 means the usual.
	MemoryBytes int64 `toml:"memory_bytes"`
}

// Warm is a runtime that is started before anybody asks and waits on descriptor
// WarmFD for what it is to run.
type Warm struct {
	// Command starts it; {entry} stands for Entry, {output} for the compile
	// stage's. Without one it is Run's. A program's arguments do not follow: they
	// come with the message.
	Command []string `toml:"command"`
	// Env is added to the environment, in warm boxes alone.
	Env map[string]string `toml:"env"`
	// AnyEntry tells that the runtime takes the entry from the message. Without
	// it a program begins in it only if its first file is Entry.
	AnyEntry bool `toml:"any_entry"`
	// Heavy tells that the start takes a processor for seconds: as long as nobody asks for
	// the language no more than one waits for each mode.
	Heavy bool `toml:"heavy"`
}

// File is one file of a template.
type File struct {
	Path    string `toml:"path"`
	Content string `toml:"content"`
}

// What stands for paths in commands.
const (
	entryMark   = "{entry}"
	outputMark  = "{output}"
	sourcesMark = "{sources}"
)

// WarmFD is the descriptor on which a runtime that was started ahead waits. It is
// a stream socket: the runtime writes one byte when it is ready and reads until the
// end of the stream: the entry's path and the program's arguments, each ended by a
// zero byte. Nothing at all means that no program will come. It closes the socket
// and becomes the program. The number is the last that a program in a box may have,
// so that hardly another one is taken for it.
const WarmFD = 255

var (
	nameForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9+#._-]{0,31}$`)
	extensionForm = regexp.MustCompile(`^\.[A-Za-z0-9+_-]{1,15}$`)
	variableForm  = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
	versionForm   = regexp.MustCompile(`\d+(\.\d+)+`)
)

// Set is all languages. It never changes after Load.
type Set struct {
	profiles []*Profile
	names    map[string]*Profile // by name and alias
}

// Load reads every *.toml file in a folder of fsys. A key that means nothing,
// a profile that lacks something and a name used twice are errors: a typing
// error in a profile must not become a language that half works.
func Load(fsys fs.FS, dir string) (*Set, error) {
	files, err := fs.Glob(fsys, path.Join(dir, "*.toml"))
	if err != nil {
		return nil, fmt.Errorf("list language profiles: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("list language profiles: no *.toml in %s", dir)
	}
	s := &Set{names: make(map[string]*Profile)}
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("read language profile: %w", err)
		}
		p, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("language profile %s: %w", file, err)
		}
		if err := s.add(p); err != nil {
			return nil, fmt.Errorf("language profile %s: %w", file, err)
		}
	}
	slices.SortFunc(s.profiles, func(a, b *Profile) int { return cmp.Compare(a.Name, b.Name) })
	return s, nil
}

func (s *Set) add(p *Profile) error {
	for _, name := range append([]string{p.Name}, p.Aliases...) {
		if other, taken := s.names[name]; taken {
			return fmt.Errorf("the name %q belongs to %s already", name, other.Name)
		}
		s.names[name] = p
	}
	s.profiles = append(s.profiles, p)
	return nil
}

// All gives the languages by name.
func (s *Set) All() []*Profile { return s.profiles }

// Select gives the set of those languages that keep wants, asked in order.
func (s *Set) Select(keep func(*Profile) bool) *Set {
	chosen := &Set{names: make(map[string]*Profile)}
	for _, p := range s.profiles {
		if !keep(p) {
			continue
		}
		chosen.profiles = append(chosen.profiles, p)
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			chosen.names[name] = p
		}
	}
	return chosen
}

// Find gives a language by its name or an alias, in any case.
func (s *Set) Find(name string) (*Profile, bool) {
	p, ok := s.names[strings.ToLower(name)]
	return p, ok
}

// Parse decodes and checks one profile.
func Parse(data []byte) (*Profile, error) {
	p := new(Profile)
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(p); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("unknown key:\n%s", unknown.String())
		}
		return nil, fmt.Errorf("decode: %w", err)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	for i := range p.Template {
		// A literal block in TOML reads best when it begins on a line of its own.
		p.Template[i].Content = strings.TrimLeft(p.Template[i].Content, "\n")
	}
	return p, nil
}

func (p *Profile) check() error {
	for _, name := range append([]string{p.Name}, p.Aliases...) {
		if !nameForm.MatchString(name) {
			return fmt.Errorf("name %q: use lower-case letters, digits and + # . _ -", name)
		}
	}
	if len(p.Extensions) == 0 {
		return errors.New("extensions: at least one is needed")
	}
	for _, ext := range p.Extensions {
		if !extensionForm.MatchString(ext) {
			return fmt.Errorf("extension %q: write it with its dot, such as .py", ext)
		}
	}
	if !fs.ValidPath(p.Entry) || !p.Owns(p.Entry) {
		return fmt.Errorf("entry %q: it must be a relative path with one of the extensions", p.Entry)
	}
	mark := entryMark
	if p.Compile != nil {
		mark = outputMark
	}
	for key, command := range map[string][]string{"version": p.Version, "run": p.Run} {
		if err := checkCommand(command); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if p.Format != nil {
		if err := checkCommand(p.Format); err != nil {
			return fmt.Errorf("format: %w", err)
		}
	}
	if !mentions(p.Run, mark) {
		return fmt.Errorf("run: %s must stand where the program's path goes", mark)
	}
	if err := errors.Join(checkEnv(p.Env), p.checkCompile(), p.checkWarm()); err != nil {
		return err
	}
	if p.Limits.MemoryBytes < 0 || p.Limits.Processes < 0 {
		return errors.New("limits: they must not be negative")
	}
	for _, f := range p.Template {
		if !fs.ValidPath(f.Path) || f.Path == "." {
			return fmt.Errorf("template path %q: it must be a relative path", f.Path)
		}
	}
	return nil
}

func checkCommand(command []string) error {
	if len(command) == 0 || !path.IsAbs(command[0]) && command[0] != outputMark {
		return errors.New("it must begin with the absolute path of a program")
	}
	return nil
}

func checkEnv(env map[string]string) error {
	for name := range env {
		if !variableForm.MatchString(name) {
			return fmt.Errorf("env %q: use capitals, digits and _", name)
		}
	}
	return nil
}

func mentions(command []string, mark string) bool {
	return slices.ContainsFunc(command, func(arg string) bool { return strings.Contains(arg, mark) })
}

func (p *Profile) checkCompile() error {
	c := p.Compile
	if c == nil {
		return nil
	}
	if err := errors.Join(checkCommand(c.Command), checkEnv(c.Env)); err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	switch {
	case !mentions(c.Command, outputMark):
		return fmt.Errorf("compile: %s must stand where the path of what is made goes", outputMark)
	case !mentions(c.Command, entryMark) && !slices.Contains(c.Command, sourcesMark):
		return fmt.Errorf("compile: %s or %s must stand where the sources go", entryMark, sourcesMark)
	case c.Output == "" || path.Base(c.Output) != c.Output || !fs.ValidPath(c.Output) || c.Output == ".":
		return fmt.Errorf("compile: output is %q: it must be a file's name without a folder", c.Output)
	case c.MemoryBytes < 0:
		return errors.New("compile: memory_bytes must not be negative")
	}
	for _, ext := range c.Sources {
		if !extensionForm.MatchString(ext) {
			return fmt.Errorf("compile: extension %q: write it with its dot, such as .c", ext)
		}
	}
	return nil
}

func (p *Profile) checkWarm() error {
	w := p.Warm
	if w == nil {
		return nil
	}
	if len(w.Command) > 0 {
		if err := checkCommand(w.Command); err != nil {
			return fmt.Errorf("warm: %w", err)
		}
	}
	if err := checkEnv(w.Env); err != nil {
		return fmt.Errorf("warm: %w", err)
	}
	return nil
}

// Owns tells whether a file has one of the language's extensions.
func (p *Profile) Owns(file string) bool {
	return slices.Contains(p.Extensions, strings.ToLower(path.Ext(file)))
}

// Command is what runs the program that begins in the file entry.
func (p *Profile) Command(entry string, args []string) []string {
	return append(p.fill(p.Run, p.Begins(entry), ""), args...)
}

// Formatter is a language whose programs are those that format a file of this one; nil
// where there is no command for that. Its entry is the file's path.
func (p *Profile) Formatter() *Profile {
	if p.Format == nil {
		return nil
	}
	return &Profile{
		Name: p.Name + "-format", Aliases: p.Aliases, Extensions: p.Extensions, Entry: p.Entry, Run: p.Format, Env: p.Env,
	}
}

// Begins is the file that the runtime is given: entry, or what the compile stage
// made of it.
func (p *Profile) Begins(entry string) string {
	if p.Compile != nil {
		return p.Compile.Output
	}
	return entry
}

// CompileCommand is what makes the program, at the path output, of the files at paths.
func (p *Profile) CompileCommand(entry string, paths []string, output string) []string {
	var command []string
	for _, arg := range p.Compile.Command {
		if arg != sourcesMark {
			command = append(command, p.fill([]string{arg}, entry, output)...)
			continue
		}
		extensions := p.Compile.Sources
		if len(extensions) == 0 {
			extensions = p.Extensions
		}
		for _, file := range paths {
			if slices.Contains(extensions, strings.ToLower(path.Ext(file))) {
				command = append(command, noOption(file))
			}
		}
	}
	return command
}

// WarmCommand is what starts the runtime ahead of a program; nil if it is not to be.
func (p *Profile) WarmCommand() []string {
	if p.Warm == nil {
		return nil
	}
	command := p.Warm.Command
	if len(command) == 0 {
		command = p.Run
	}
	return p.fill(command, p.Begins(p.Entry), "")
}

// FitsWarm tells whether a program that begins in the file entry can begin in a
// runtime that was started ahead.
func (p *Profile) FitsWarm(entry string) bool {
	return p.Warm != nil && (p.Warm.AnyEntry || p.Begins(entry) == p.Begins(p.Entry))
}

// fill puts paths in their places. What a run begins with is at the same place for
// both marks: the entry, or what was made of it.
func (p *Profile) fill(command []string, entry, output string) []string {
	if output == "" {
		output = entry
		if len(command) > 0 && command[0] == outputMark {
			output = "./" + entry // a program is looked for in PATH otherwise
		}
	}
	filled := make([]string, len(command))
	for i, arg := range command {
		filled[i] = strings.NewReplacer(entryMark, noOption(entry), outputMark, noOption(output)).Replace(arg)
	}
	return filled
}

// noOption is a path that no program takes for an option.
func noOption(file string) string {
	if strings.HasPrefix(file, "-") {
		return "./" + file
	}
	return file
}

// ChooseEntry picks the file to run among paths when nobody named one: the one
// a room prefers unless that is another language's and there is one of this
// language, then Entry, then the first with one of the extensions. It is ""
// when there is none.
func (p *Profile) ChooseEntry(paths []string, preferred string) string {
	has := preferred != "" && slices.Contains(paths, preferred)
	if has && p.Owns(preferred) {
		return preferred
	}
	if slices.Contains(paths, p.Entry) {
		return p.Entry
	}
	if i := slices.IndexFunc(paths, p.Owns); i >= 0 {
		return paths[i]
	}
	if has {
		return preferred
	}
	return ""
}

// FindVersion gives the first version number in what a Version command
// printed, or "" when there is none.
func FindVersion(output []byte) string { return string(versionForm.Find(output)) }
