// Command build compiles a Go program in a box: it runs the compiler and the linker as
// go build would, but without the questions that go build asks first (is every package of
// the standard library up to date?), as in an image they have one answer.
//
// usage: build OUTPUT ENTRY SOURCE...
//
// That is for programs of one package that imports nothing but the standard library. All
// others, and what is not plain about a file, are left to go build.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	goCommand = "/usr/bin/go"
	// packages tells where the compiled standard library is, in the form of the
	// compiler's and linker's -importcfg; setup.sh makes it.
	packages = "/opt/corun/go/packages"
)

// tools is the folder of the compiler and the linker; setup.sh sets it.
var tools string

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "There is no file to compile.")
		os.Exit(1)
	}
	output, entry, sources := os.Args[1], os.Args[2], os.Args[3:]
	files := packageOf(filepath.Dir(entry), sources)
	plain, err := isPlain(files)
	if err == nil && plain {
		err = build(output, files)
	} else if err == nil {
		err = goBuild(output, filepath.Dir(entry), files)
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		os.Exit(1) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// packageOf gives the files of a folder that are no tests.
func packageOf(dir string, sources []string) []string {
	var files []string
	for _, file := range sources {
		if filepath.Dir(file) == dir && !strings.HasSuffix(file, "_test.go") {
			files = append(files, file)
		}
	}
	return files
}

// isPlain tells whether the files are a program that needs the standard library alone,
// and all of them whatever the machine.
func isPlain(files []string) (bool, error) {
	for _, name := range []string{"go.mod", "go.work"} {
		if _, err := os.Lstat(name); err == nil {
			return false, nil
		}
	}
	library, err := os.ReadFile(packages)
	if err != nil {
		return false, fmt.Errorf("read the list of packages: %w", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		// Its name may be for one system; go build passes over names that begin so.
		if strings.Contains(name, "_") || strings.HasPrefix(name, ".") {
			return false, nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		for _, mark := range []string{"//go:build", "//go:embed", "// +build", "//+build"} {
			if bytes.Contains(text, []byte(mark)) {
				return false, nil
			}
		}
		// What is wrong before the first declaration go build says in its own words.
		f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
		if err != nil || f.Name.Name != "main" {
			return false, nil
		}
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil || path != "unsafe" && !bytes.Contains(library, []byte("packagefile "+path+"=")) {
				return false, nil
			}
		}
	}
	return len(files) > 0, nil
}

func build(output string, files []string) error {
	work, err := os.MkdirTemp("", "go-build")
	if err != nil {
		return err
	}
	archive := filepath.Join(work, "main.a")
	args := []string{"-o", archive, "-p", "main", "-complete", "-dwarf=false", "-importcfg", packages, "-pack"}
	for _, file := range files {
		if filepath.Dir(file) == "." {
			file = "./" + filepath.Base(file)
		}
		args = append(args, file)
	}
	if err := tool("compile", args...); err != nil {
		return err
	}
	// Without the symbol table and what debuggers need: a panic names files and lines
	// all the same.
	return tool("link", "-o", output, "-importcfg", packages, "-buildmode=exe", "-s", "-w", archive)
}

// tool runs the compiler or the linker. What it says has the heading that go build gives.
func tool(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(tools, name), args...)
	// There is memory enough for what is left behind in the meantime, but for programs that
	// are very large.
	cmd.Env = append(os.Environ(), "GOGC=off", "GOMEMLIMIT=256MiB")
	said, err := cmd.CombinedOutput()
	if len(said) > 0 {
		fmt.Fprintf(os.Stderr, "# command-line-arguments\n%s", said)
	}
	return err
}

func goBuild(output, dir string, files []string) error {
	args := []string{"build", "-ldflags=-s", "-o", output}
	if _, err := os.Lstat("go.mod"); err == nil {
		args = append(args, "./"+dir)
	} else {
		args = append(args, files...)
	}
	cmd := exec.Command(goCommand, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
