package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	profiles "corun/sandbox-profiles"
)

// recipeLayout is part of a recipe's hash. It is raised when Build makes something else
// from the same recipe.
const recipeLayout = 2

// Recipe says what is in an image.
type Recipe struct {
	Label    string   `toml:"name"`
	Packages []string `toml:"packages"`
	// Languages adds what every language needs.
	Languages bool `toml:"languages"`
	languages languages
	release   release
}

// release is the distribution that packages are taken from: this machine's.
type release struct{ id, codename string }

// DefaultRecipe is the recipe of the image that boxes use unless told otherwise,
// for this machine's distribution.
func DefaultRecipe() (Recipe, error) {
	return ReadRecipe("default")
}

// RecipeNames are the recipes in the binary.
func RecipeNames() []string {
	files, err := fs.Glob(profiles.FS, "images/*.toml")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".toml")
	}
	return files
}

// ReadRecipe reads a recipe, for this machine's distribution: one in the binary, by its
// name, or a file, by a path that has a slash or ends in .toml.
func ReadRecipe(name string) (Recipe, error) {
	var data []byte
	var err error
	switch {
	case strings.Contains(name, "/") || strings.HasSuffix(name, ".toml"):
		data, err = os.ReadFile(name)
	case slices.Contains(RecipeNames(), name):
		data, err = fs.ReadFile(profiles.FS, "images/"+name+".toml")
	default:
		return Recipe{}, fmt.Errorf("there is no recipe %q: there are %s, or give a file's path", name, strings.Join(RecipeNames(), ", "))
	}
	if err != nil {
		return Recipe{}, fmt.Errorf("read recipe: %w", err)
	}
	var r Recipe
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&r); err != nil {
		return Recipe{}, fmt.Errorf("read recipe %s: %w", name, err)
	}
	if err := r.check(); err != nil {
		return Recipe{}, fmt.Errorf("read recipe %s: %w", name, err)
	}
	if r.Languages {
		if r.languages, err = readLanguages(profiles.FS); err != nil {
			return Recipe{}, fmt.Errorf("read recipe %s: %w", name, err)
		}
		r.Packages = append(r.Packages, r.languages.packages...)
	}
	r.release, err = thisRelease()
	return r, err
}

// goodPackage is what Debian's policy (5.6.7) allows as a package's name, with an
// architecture maybe: nothing that another program could take for an option.
var goodPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?$`)

func (r Recipe) check() error {
	if !goodName.MatchString(r.Label) {
		return fmt.Errorf("name is %q: use a-z, 0-9, dot, dash and underscore, and a letter or digit first", r.Label)
	}
	if len(r.Packages) == 0 {
		return errors.New("packages is empty: name at least one, as bash")
	}
	return checkPackages(r.Packages)
}

func checkPackages(names []string) error {
	for _, p := range names {
		if !goodPackage.MatchString(p) {
			return fmt.Errorf("packages has %q, which is no name of a package", p)
		}
	}
	return nil
}

// thisRelease reads os-release(5).
func thisRelease() (r release, err error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return r, fmt.Errorf("find this machine's distribution: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			r.id = value
		case "VERSION_CODENAME":
			r.codename = value
		}
	}
	return r, nil
}

// Name is the name of the image that the recipe makes.
func (r Recipe) Name() string {
	packages := slices.Sorted(slices.Values(r.Packages))
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %s %s %s", recipeLayout, r.release.id, r.release.codename, strings.Join(slices.Compact(packages), " "))
	r.languages.hash(sum)
	return r.Label + "-" + hex.EncodeToString(sum.Sum(nil)[:6])
}
