package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"corun/runner"
)

// localFile is a file to be run: where it is and what it is called in the box.
type localFile struct {
	from, path string
	named      bool // on the command line, not only its folder
}

// listFiles finds the files. Below the working directory they keep their paths; others
// have theirs from the first one's folder, or only their names.
func listFiles(args []string) (files []localFile, err error) {
	base := ""
	for _, arg := range args {
		if arg == "-" {
			continue
		}
		info, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("read program: %w", err)
		}
		if base == "" {
			if base, err = baseOf(arg, info.IsDir()); err != nil {
				return nil, err
			}
		}
		if !info.IsDir() {
			name, err := nameBelow(base, arg)
			if err != nil {
				return nil, err
			}
			files = append(files, localFile{arg, name, true})
			continue
		}
		err = filepath.WalkDir(arg, func(at string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case at != arg && strings.HasPrefix(d.Name(), "."): // .git and the like
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case !d.Type().IsRegular():
				return nil
			}
			name, err := nameBelow(base, at)
			files = append(files, localFile{at, name, false})
			if limit := runner.DefaultLimits().SourceFiles; len(files) > limit {
				return fmt.Errorf("there are more than %d files, which is the most: name those that the program needs", limit)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read folder %s: %w", arg, err)
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("there is no file in %s", arg)
		}
	}
	// A file that its folder names again is there once.
	seen := make(map[string]bool)
	return slices.DeleteFunc(files, func(f localFile) bool {
		again := seen[f.path] && !f.named
		seen[f.path] = true
		return again
	}), nil
}

// baseOf is the folder that paths are relative to: the working directory, or that of the
// first file where it is not below.
func baseOf(first string, folder bool) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	at, err := filepath.Abs(first)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", first, err)
	}
	if below, err := filepath.Rel(here, at); err == nil && filepath.IsLocal(below) {
		return here, nil
	}
	if folder {
		return at, nil
	}
	return filepath.Dir(at), nil
}

func nameBelow(base, file string) (string, error) {
	at, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	if below, err := filepath.Rel(base, at); err == nil && filepath.IsLocal(below) {
		return filepath.ToSlash(below), nil
	}
	return filepath.Base(at), nil
}

func readFiles(files []localFile) (all []runner.File, err error) {
	limit := runner.DefaultLimits().SourceBytes
	for _, f := range files {
		info, err := os.Stat(f.from)
		if err != nil {
			return nil, fmt.Errorf("read program: %w", err)
		}
		if limit -= info.Size(); limit < 0 { // before much is read
			return nil, fmt.Errorf("the files have more than %d MiB together with %s, which is the most: name those that the program needs", runner.DefaultLimits().SourceBytes>>20, f.from)
		}
		data, err := os.ReadFile(f.from)
		if err != nil {
			return nil, fmt.Errorf("read program: %w", err)
		}
		all = append(all, runner.File{Path: f.path, Content: string(data)})
	}
	return all, nil
}
