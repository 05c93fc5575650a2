package runner

import (
	"os"
	"slices"
	"strings"
	"testing"

	"corun/store"
)

// What compiles programs in an image is there to be quick. They mean what they mean to the
// distribution's own commands, and so do the messages.
func TestCompilers(t *testing.T) {
	if os.Getenv("CORUN_IMAGE_DIR") == "" {
		t.Skip("the image is not the one that is tested: CORUN_IMAGE_DIR is not set")
	}
	r := testRunner(t, func(c *Config) {
		c.Quotas, c.Languages = &Quotas{1000, 1000, 1000, 1000}, []string{"c", "cpp", "go", "rust", "csharp", "python", "sql"}
	})
	type files map[string]string
	for name, c := range map[string]struct {
		language, entry string
		files           files
		says            []string // the compiler, in this order
		prints          string   // the program; "" if it does not compile
	}{
		"C of two files": {"c", "main.c", files{
			"main.c":  "#include <stdio.h>\nint twice(int);\nint main(void) { printf(\"%d\\n\", twice(21)); }\n",
			"lib/t.c": "int twice(int x) { return 2 * x; }\n",
		}, nil, "42\n"},
		"C with mathematics": {"c", "main.c", files{
			"main.c": "#include <math.h>\n#include <stdio.h>\nint main(int argc, char **argv) { printf(\"%.0f\\n\", pow(argc + 1, 10)); }\n",
		}, nil, "1024\n"},
		"C with mathematics in a header": {"c", "main.c", files{
			"main.c": "#include \"all.h\"\nint main(int argc, char **argv) { printf(\"%.0f\\n\", pow(argc + 1, 10)); }\n",
			"all.h":  "#include <stdio.h>\n#include <math.h>\n",
		}, nil, "1024\n"},
		"C with a warning": {"c", "main.c", files{
			"main.c": "#include <stdio.h>\nint main(void) { int unused; puts(\"on\"); }\n",
		}, []string{"main.c:2:22: warning: unused variable"}, "on\n"},
		"C that lacks a function": {"c", "main.c", files{
			"main.c": "int twice(int);\nint main(void) { return twice(21); }\n",
		}, []string{"main.c", "undefined reference to 'twice'", "could not be linked"}, ""},
		"C++ that forgot a header": {"cpp", "main.cpp", files{
			"main.cpp": "#include <iostream>\nint main() { std::map<int, int> m; std::cout << std::sort; }\n",
		}, []string{"main.cpp:2:19: error: ‘map’ is not a member of ‘std’", "defined in header ‘<map>’", "‘sort’ is not a member"}, ""},
		"C++ with names of headers it has not": {"cpp", "main.cpp", files{
			"main.cpp": "// all its own\n/* really\n */\n#include <iostream>\nusing namespace std;\nint sort = 1, clamp = 2;\nint lower_bound(int a, int b) { return a + b; }\nint main() { cout << lower_bound(sort, clamp) << endl; }\n",
		}, nil, "3\n"},
		"C++ with headers in any order": {"cpp", "main.cpp", files{
			"main.cpp": "#include <map>\n  #  include <algorithm> // for sort\n#include <string>\n\n#include <iostream> /* for\n cout */\n#include <vector>\n\nint main() {\n\tstd::map<std::string, std::vector<int>> m;\n\tm[\"a\"] = {3, 1, 2};\n\tstd::sort(m[\"a\"].begin(), m[\"a\"].end());\n\tfor (int i : m[\"a\"]) std::cout << i;\n\tstd::cout << std::stoi(\"4\") << std::to_string(5) << std::endl;\n}\n",
		}, nil, "12345\n"},
		"C++ whose macro comes first": {"cpp", "main.cpp", files{
			"main.cpp": "#define NDEBUG\n#include <cassert>\n#include <iostream>\nint main() { assert(false); std::cout << \"not asked\\n\"; }\n",
		}, nil, "not asked\n"},
		"C++ with everything": {"cpp", "main.cpp", files{
			"main.cpp": "#include <bits/stdc++.h>\nusing namespace std;\nint main() { priority_queue<int> q; q.push(7); cout << q.top() << gcd(12, 18) << endl; }\n",
		}, nil, "76\n"},
		"C++ with exceptions across files": {"cpp", "main.cpp", files{
			"main.cpp": "#include <iostream>\n#include <stdexcept>\nvoid f();\nint main() { try { f(); } catch (const std::runtime_error &e) { std::cout << e.what() << '\\n'; } }\n",
			"f.cpp":    "#include <stdexcept>\nvoid f() { throw std::runtime_error(\"thrown\"); }\n",
		}, nil, "thrown\n"},
		"Go of two files": {"go", "main.go", files{
			"main.go":      "package main\n\nfunc main() { println2(twice(21)) }\n",
			"twice.go":     "package main\n\nimport \"fmt\"\n\nfunc twice(x int) int { return 2 * x }\nfunc println2(x int) { fmt.Println(x) }\n",
			"main_test.go": "package main\n\nimport \"testing\"\n\nfunc TestNothing(*testing.T) {}\n",
		}, nil, "42\n"},
		"Go with errors": {"go", "main.go", files{
			"main.go": "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tvar x int\n\tfmt.Println(\"a\" + 1)\n}\n",
		}, []string{"# command-line-arguments\n./main.go:6:6: x declared", "./main.go:7:"}, ""},
		"Go without main": {"go", "main.go", files{
			"main.go": "package main\n",
		}, []string{"# command-line-arguments\n", "function main is undeclared in the main package"}, ""},
		"Go with a package that is not there": {"go", "main.go", files{
			"main.go": "package main\n\nimport _ \"example.com/x\"\n\nfunc main() {}\n",
		}, []string{"main.go:3:8:", "example.com/x"}, ""},
		"Go with the library's largest": {"go", "main.go", files{
			"main.go": "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n\t\"os/user\"\n)\n\nfunc main() {\n\tu, err := user.Current()\n\tfmt.Println(http.StatusText(404), u.Uid, err)\n}\n",
		}, nil, "Not Found 1000 <nil>\n"},
		"Go of a module with packages": {"go", "main.go", files{
			"go.mod":       "module example.com/m\n\ngo 1.19\n",
			"main.go":      "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/m/num\"\n)\n\nfunc main() { fmt.Println(num.Twice(21)) }\n",
			"num/twice.go": "package num\n\nfunc Twice(x int) int { return 2 * x }\n",
		}, nil, "42\n"},
		"Go with an embedded file": {"go", "main.go", files{
			"main.go":  "package main\n\nimport (\n\t_ \"embed\"\n\t\"fmt\"\n)\n\n//go:embed text.txt\nvar text string\n\nfunc main() { fmt.Print(text) }\n",
			"text.txt": "embedded\n",
		}, nil, "embedded\n"},
		"Rust with a module": {"rust", "main.rs", files{
			"main.rs": "mod num;\nfn main() { println!(\"{}\", num::twice(21)); }\n",
			"num.rs":  "pub fn twice(x: i32) -> i32 { 2 * x }\n",
		}, nil, "42\n"},
		"Rust with an error": {"rust", "main.rs", files{
			"main.rs": "fn main() { let x: i32 = \"a\"; }\n",
		}, []string{"error[E0308]", "main.rs:1:26"}, ""},
		"C# of two files": {"csharp", "main.cs", files{
			"main.cs": "using System;\nusing System.Linq;\nclass Program { static void Main() { Console.WriteLine(new[] {20, 22}.Sum() + Num.Zero); } }\n",
			"num.cs":  "static class Num { public const int Zero = 0; }\n",
		}, nil, "42\n"},
	} {
		t.Run(name, func(t *testing.T) {
			req := ExecuteRequest{Language: c.language, Entry: c.entry, Stdin: []string{""}}
			for path, content := range c.files {
				req.Files = append(req.Files, File{path, content})
			}
			slices.SortFunc(req.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
			got, err := r.Execute(t.Context(), req)
			check(t, err)
			said := string(got.Compile.Output)
			rest := said
			for _, says := range c.says {
				_, after, found := strings.Cut(rest, says)
				if !found {
					t.Errorf("the compiler said %q, and not %q there", said, says)
				}
				rest = after
			}
			if len(c.says) == 0 && said != "" {
				t.Errorf("the compiler said %q", said)
			}
			switch {
			case c.prints == "" && len(got.Runs) > 0:
				t.Errorf("it compiled and printed %q", got.Runs[0].Output)
			case c.prints != "" && len(got.Runs) == 0:
				t.Errorf("it did not compile: %s %q", got.Compile.Message, said)
			case c.prints != "" && string(got.Runs[0].Output) != c.prints:
				t.Errorf("printed %q, want %q", got.Runs[0].Output, c.prints)
			}
		})
	}
	t.Run("a plot is a file", func(t *testing.T) {
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "python", Stdin: []string{""}, Files: []File{{"main.py",
			"import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()\nplt.plot([4])\nplt.pause(0.01)\nplt.pause(0.01)\n"}}})
		check(t, err)
		var names []string
		for _, a := range got.Runs[0].Artefacts {
			names = append(names, a.Path)
			if !strings.HasPrefix(string(a.Data), "\x89PNG") {
				t.Errorf("%s is no image", a.Path)
			}
		}
		if want := []string{"figure-1.png", "figure-2.png"}; !slices.Equal(names, want) || len(got.Runs[0].Output) > 0 {
			t.Errorf("got %v, want %v; printed %q", names, want, got.Runs[0].Output)
		}
	})
	t.Run("SQL ends at an error", func(t *testing.T) {
		got, err := r.Execute(t.Context(), ExecuteRequest{Language: "sql", Stdin: []string{""}, Files: []File{{"main.sql", "SELECT 1 AS one;\nSELECT * FROM absent;\nSELECT 2;\n"}}})
		check(t, err)
		run := got.Runs[0]
		if run.Status != store.StatusExited || *run.Code == 0 || !strings.Contains(string(run.Stderr), "no such table") || strings.Contains(string(run.Stdout), "2") {
			t.Errorf("got %s, %q, %q", run.Status, run.Stdout, run.Stderr)
		}
	})
}
