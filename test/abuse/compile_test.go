package abuse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"corun/runner/image"
	"corun/runner/sandbox"
)

// What a compiler can be made to do. There is none in the default image, so this is the
// machine's own, read-only, in a box with the profile and the limits of compilation.
func TestCompilers(t *testing.T) {
	if _, err := os.Stat("/usr/bin/gcc"); err != nil {
		t.Skip("this machine has no gcc")
	}
	img, err := image.Host(filepath.Join(shared.dir, "compilers"))
	if err != nil {
		t.Fatal(err)
	}
	limits := sandbox.DefaultLimits()
	limits.MemoryBytes = 1 << 30
	spec, err := shared.spec("compile", limits)
	if err != nil {
		t.Fatal(err)
	}
	spec.Rootfs, spec.Usr = img.Rootfs, img.Usr
	secret := filepath.Join(shared.dir, "secret.h")
	if err := os.WriteFile(secret, []byte("#error the secret of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const (
		cpuTime, wallTime = 3 * time.Second, 6 * time.Second
		c                 = "gcc -c main.c -o out"
		cxx               = "g++ -c -x c++ -std=c++17 -ftemplate-depth=100000 main.c -o out"
	)
	macros := "#define A0(x) x x x x x x x x x x\n"
	for i := range 9 {
		macros += "#define A" + string(rune('1'+i)) + "(x) A" + string(rune('0'+i)) + "(x x x x x x x x x x)\n"
	}
	for name, attack := range map[string]struct {
		command, source string
		fails           bool     // it must not compile; else either is right
		says            []string // what the compiler says holds one of these
		silent          string   // and never this
	}{
		"include of /dev/zero":   {command: c, source: "#include \"/dev/zero\"\n"},
		"include of /dev/random": {command: c, source: "#include \"/dev/urandom\"\n", fails: true},
		"include of a terminal":  {command: c, source: "#include \"/dev/tty\"\n#include \"/dev/stdin\"\n"},
		"include of a FIFO":      {command: "mkfifo f; " + c, source: "#include \"f\"\n"},
		"include of itself":      {command: c, source: "#include \"main.c\"\n#include \"main.c\"\n", fails: true, says: []string{"nested"}},
		"include of the host":    {command: c, source: "#include \"" + secret + "\"\n#include \"/etc/shadow\"\n", fails: true, says: []string{"No such file", "denied"}, silent: "the secret"},
		"include by a link":      {command: "ln -s " + secret + " link.h; ln -s /proc/1/root/etc/shadow s.h; " + c, source: "#include \"link.h\"\n", silent: "the secret"},
		"assembler's incbin":     {command: c, source: "__asm__(\".incbin \\\"/dev/zero\\\"\");\n"},
		"incbin of the host":     {command: c, source: "__asm__(\".incbin \\\"" + secret + "\\\"\");\n", fails: true},
		"#embed":                 {command: c, source: "const unsigned char a[] = {\n#embed \"/dev/zero\"\n};\n"},
		"a macro bomb":           {command: c, source: macros + "int a = 0 A9(+ 1);\n", fails: true},
		"a template bomb":        {command: cxx, source: "template<int N> struct a { a<N + 1> x; static constexpr int v = sizeof(x); };\nint b = a<0>::v;\n", fails: true},
		"a template tree":        {command: cxx, source: "template<int N, int M> struct f { static const int v = f<N - 1, 2 * M>::v + f<N - 1, 2 * M + 1>::v; };\ntemplate<int M> struct f<0, M> { static const int v = 1; };\nint a = f<27, 0>::v;\n", fails: true},
		"constexpr without end":  {command: cxx + " -fconstexpr-ops-limit=100000000000 -fconstexpr-loop-limit=2147483647", source: "constexpr int f() { int n = 0; for (unsigned long i = 0; i < 100000000000ul; i++) n ^= i; return n; }\nconstexpr int a = f();\n", fails: true},
		"a gigantic array":       {command: c, source: "char a[1ull << 40] = {1};\n", fails: true},
		"many arrays":            {command: c, source: manyArrays(), fails: true},
		"a huge line":            {command: c, source: "int a[] = {" + strings.Repeat("0,", 1<<20) + "};\n"},
		"deep parentheses":       {command: c, source: "int a = " + strings.Repeat("(", 200000) + "1" + strings.Repeat(")", 200000) + ";\n"},
		"a plugin":               {command: "gcc -fplugin=./main.c -c main.c -o out", source: "int a;\n", fails: true},
		"a wrapper":              {command: "gcc -wrapper sh,-c,'id; exit 1' -c main.c -o out", source: "int a;\n", fails: true, silent: "uid=0"},
		"a linker script":        {command: "gcc main.c -o out -Wl,-T," + secret, source: "int main(void) { return 0; }\n", fails: true, silent: "the secret"},
		"output elsewhere":       {command: "gcc -c main.c -o /usr/lib/out || gcc -c main.c -o /etc/out || gcc -c main.c -o /dev/null/out", source: "int a;\n", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			box, err := shared.launcher.Build(ctx, spec)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := box.Destroy(ctx); err != nil {
					t.Error(err)
				}
				shared.unmoved(t)
			}()
			p, err := box.Start(ctx, sandbox.Command{
				Args: []string{"sh", "-c", attack.command}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/work", "LANG=C.UTF-8", "TMPDIR=/tmp"},
				Files: []sandbox.File{{Path: "main.c", Content: []byte(attack.source)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			_ = p.Stdin().Close()
			var said bytes.Buffer
			var mu sync.Mutex
			var readers sync.WaitGroup
			for _, r := range []io.Reader{p.Stdout(), p.Stderr()} {
				readers.Go(func() {
					text, _ := io.ReadAll(io.LimitReader(r, 1<<20)) // its end is the box's
					mu.Lock()
					defer mu.Unlock()
					said.Write(text)
				})
			}
			exit, ended := compiled(ctx, t, box, p, cpuTime, wallTime)
			if err := box.Kill(); err != nil {
				t.Error(err)
			}
			readers.Wait()
			if attack.fails && ended && exit == (sandbox.Exit{}) {
				t.Errorf("it was compiled; the compiler said %.500q", said.String())
			}
			ok := len(attack.says) == 0
			for _, part := range attack.says {
				ok = ok || strings.Contains(said.String(), part)
			}
			if !ok || attack.silent != "" && strings.Contains(said.String(), attack.silent) {
				t.Errorf("the compiler said %.1000q", said.String())
			}
			if uponGVisor {
				return // its files cannot be collected
			}
			made, err := box.Collect(ctx, sandbox.CollectLimits{Bytes: 64 << 20, Files: 1000, Depth: 8})
			if err != nil && !errors.Is(err, sandbox.ErrTooMuch) {
				t.Error(err)
			}
			for _, f := range made.Files {
				if attack.silent != "" && f.Path != "main.c" && bytes.Contains(f.Content, []byte(attack.silent)) {
					t.Errorf("%s holds what the host has", f.Path)
				}
			}
		})
	}
}

// manyArrays are as large as a linker takes, and together more than a box.
func manyArrays() string {
	var b strings.Builder
	for i := range 64 {
		b.WriteString("char a" + strings.Repeat("x", i) + "[32 << 20] = {1};\n")
	}
	return b.String()
}

// compiled keeps the clocks of a compilation, from outside. It says whether it ended by
// itself, or by the kernel's hand for lack of memory.
func compiled(ctx context.Context, t *testing.T, box *sandbox.Box, p *sandbox.Process, cpu, wall time.Duration) (sandbox.Exit, bool) {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, wall)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		look := time.NewTicker(20 * time.Millisecond) // the accounting has no event
		defer look.Stop()
		for {
			select {
			case <-done:
				return
			case <-box.OOM():
				cancel()
				return
			case <-look.C:
				if u, err := box.Usage(); err == nil && u.CPU > cpu {
					cancel()
					return
				}
			}
		}
	}()
	exit, err := p.Wait(limit)
	if err != nil && !errors.Is(err, sandbox.ErrBoxGone) && limit.Err() == nil {
		t.Error(err)
	}
	return exit, err == nil
}
