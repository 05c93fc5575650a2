package image

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// languagesFolder is where an image has the files of sandbox-profiles/warm, and what
// setup commands make.
const languagesFolder = "opt/corun"

// languages is what an image needs for the programs of all languages. All else that
// a profile says is for runs.
type languages struct {
	packages []string
	setup    []setup // by the name of the profile's file
	files    fs.FS   // of sandbox-profiles/warm; nil for none
}

// setup is what one language does in a new image once the packages are there.
type setup struct {
	Packages []string `toml:"packages"`
	Setup    []string `toml:"setup"`
}

func readLanguages(all fs.FS) (l languages, err error) {
	profiles, err := fs.Glob(all, "languages/*.toml")
	if err != nil {
		return l, err
	}
	for _, name := range profiles {
		data, err := fs.ReadFile(all, name)
		if err != nil {
			return l, err
		}
		var s setup
		if err := toml.Unmarshal(data, &s); err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
		if err := checkPackages(s.Packages); err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
		l.packages = append(l.packages, s.Packages...)
		l.setup = append(l.setup, s)
	}
	l.files, err = fs.Sub(all, "warm")
	return l, err
}

// walk calls do for every file, by name.
func (l languages) walk(do func(name string, data []byte) error) error {
	if l.files == nil {
		return nil
	}
	return fs.WalkDir(l.files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := fs.ReadFile(l.files, name)
		if err != nil {
			return err
		}
		return do(name, data)
	})
}

// hash adds all but the packages to a recipe's hash.
func (l languages) hash(sum hash.Hash) {
	for _, s := range l.setup {
		for _, command := range s.Setup {
			fmt.Fprintf(sum, "\nsetup %d %s", len(command), command)
		}
	}
	err := l.walk(func(name string, data []byte) error {
		fmt.Fprintf(sum, "\nfile %s %d ", name, len(data))
		sum.Write(data)
		return nil
	})
	if err != nil {
		panic(err) // they are in the binary
	}
}

// write puts the files below a folder of root; scripts can be executed. One that is there
// already and the same is left alone, as programs may be reading it.
func (l languages) write(root *os.Root, folder string) error {
	return l.walk(func(name string, data []byte) error {
		name = path.Join(folder, name)
		if there, err := root.ReadFile(name); err == nil && bytes.Equal(there, data) {
			return nil
		}
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		for i := range name {
			if name[i] != '/' {
				continue
			}
			if err := root.Mkdir(name[:i], 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := root.Chmod(name[:i], 0o755); err != nil { // whatever the umask
				return err
			}
		}
		if err := root.WriteFile(name, data, mode); err != nil {
			return err
		}
		return root.Chmod(name, mode)
	})
}

// hooks are the arguments with which mmdebstrap brings the files into the new root and
// runs the setup commands there, as its root: the machine's or, without root, the
// user namespace's. spare is a folder for the files until then.
func (l languages) hooks(spare string) ([]string, error) {
	var args []string
	if l.files != nil {
		root, err := os.OpenRoot(spare)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		if err := l.write(root, languagesFolder); err != nil {
			return nil, fmt.Errorf("write the languages' files: %w", err)
		}
		from := filepath.Join(spare, languagesFolder)
		args = append(args, "--customize-hook=copy-in "+quote(from)+" "+quote("/"+path.Dir(languagesFolder)))
	}
	for _, s := range l.setup {
		for _, command := range s.Setup {
			// What is set on this machine is not for the image.
			args = append(args, `--customize-hook=exec chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 /bin/sh -euc `+quote(command))
		}
	}
	return args, nil
}

// quote makes one word of s for a shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
