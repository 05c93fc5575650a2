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
	// its first file. The program's arguments follow.
	Run []string `toml:"run"`
	// Env is added to the environment that every program has.
	Env map[string]string `toml:"env"`
	// Template is a short program to start from.
	Template []File `toml:"template"`
}

// File is one file of a template.
type File struct {
	Path    string `toml:"path"`
	Content string `toml:"content"`
}

// entryMark is what stands for the entry's path in Run.
const entryMark = "{entry}"

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
	for key, command := range map[string][]string{"version": p.Version, "run": p.Run} {
		if len(command) == 0 || !path.IsAbs(command[0]) {
			return fmt.Errorf("%s: it must begin with the absolute path of a program", key)
		}
	}
	if !slices.ContainsFunc(p.Run, func(arg string) bool { return strings.Contains(arg, entryMark) }) {
		return fmt.Errorf("run: %s must stand where the program's path goes", entryMark)
	}
	for name := range p.Env {
		if !variableForm.MatchString(name) {
			return fmt.Errorf("env %q: use capitals, digits and _", name)
		}
	}
	for _, f := range p.Template {
		if !fs.ValidPath(f.Path) || f.Path == "." {
			return fmt.Errorf("template path %q: it must be a relative path", f.Path)
		}
	}
	return nil
}

// Owns tells whether a file has one of the language's extensions.
func (p *Profile) Owns(file string) bool {
	return slices.Contains(p.Extensions, strings.ToLower(path.Ext(file)))
}

// Command is what runs the program that begins in the file entry.
func (p *Profile) Command(entry string, args []string) []string {
	if strings.HasPrefix(entry, "-") {
		entry = "./" + entry // no interpreter shall take it for an option
	}
	command := make([]string, 0, len(p.Run)+len(args))
	for _, arg := range p.Run {
		command = append(command, strings.ReplaceAll(arg, entryMark, entry))
	}
	return append(command, args...)
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
