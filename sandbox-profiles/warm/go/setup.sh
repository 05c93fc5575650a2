#!/bin/sh
# Makes what compiles Go in an image: the standard library, compiled, and the driver
# (driver.go), which takes the place of the script build. What is only for making Go
# itself goes.
set -eu
here=/opt/corun/go
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOCACHE="$work/cache" GO111MODULE=off CGO_ENABLED=0
root=$(go env GOROOT)
tools=$(go env GOTOOLDIR)

# Without cgo the linker needs no C compiler, and programs need no library of C's. Without
# what debuggers need it reads the library in three quarters of the time; what is linked
# has nothing of that in either case.
mkdir -p "$here/pkg"
go list -gcflags=-dwarf=false -export -f '{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}' std | while read -r path file; do
	copy=$here/pkg/$(echo "$path" | tr / _).a
	cp "$file" "$copy"
	echo "packagefile $path=$copy"
done >"$here/packages"

go build -ldflags "-s -w -X main.tools=$tools" -o "$work/build" "$here/driver.go"
cd "$work"
printf 'package main\n\nimport "net/http"\n\nfunc main() { _ = http.Client{} }\n' >try.go
./build tried try.go try.go
./tried
install -m 0755 build "$here/build"

# Tools of tools, and the tests of the compiler.
for tool in addr2line api cover dist doc fix nm objdump pprof test2json trace; do
	rm -f "$tools/$tool"
done
rm -rf "$root"/pkg/*/cmd
source=$(readlink -f "$root/src")
rm -rf "$source/cmd" "$source/../test" "$source/../api"
