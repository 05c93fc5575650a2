package main

import (
	"fmt"
	"strings"
)

// program says a line, which has a token of its source and its argument in it.
type program struct {
	title    string
	language string
	path     string
	source   string // TOKEN stands for the token
	// build are the plain commands that make a program of it, if any; start is the one
	// that prints. They are executed in its folder.
	build [][]string
	start []string
	env   []string // of the plain commands
	ways  []way
}

// way is how Corun is to run a program.
type way struct {
	how           string
	again         bool // the same source every time
	cold          bool // nothing waits
	goal, goalP99 float64
}

func (p *program) compiled() bool { return len(p.build) > 0 }

func (p *program) text(token string) string { return strings.ReplaceAll(p.source, "TOKEN", token) }

// unbuffered is Python's setting in boxes: what is printed is seen at once. It makes bare
// Python's first byte come a little earlier too.
const unbuffered = "PYTHONUNBUFFERED=1"

var programs = []*program{
	{
		title: "Python", language: "python", path: "main.py", source: "import sys\nprint('TOKEN ' + sys.argv[1])\n",
		start: []string{"/usr/bin/python3", "main.py"}, env: []string{unbuffered},
		ways: []way{
			{how: "warm", again: true, goal: 0.2, goalP99: 0.6},
			{how: "pool empty", again: true, cold: true, goal: 1.3},
		},
	},
	{
		title: "Node", language: "javascript", path: "main.js", source: "console.log('TOKEN ' + process.argv[2]);\n",
		start: []string{"/usr/bin/node", "main.js"},
		ways:  []way{{how: "warm", again: true, goal: 0.08}},
	},
	{
		title: "Java", language: "java", path: "Main.java",
		source: "public class Main {\n    public static void main(String[] args) {\n        System.out.println(\"TOKEN \" + args[0]);\n    }\n}\n",
		start:  []string{"/usr/bin/java", "Main.java"},
		ways:   []way{{how: "changed source", goal: 0.03}},
	},
	{
		title: "C", language: "c", path: "main.c",
		source: "#include <stdio.h>\n\nint main(int argc, char **argv) {\n    return printf(\"TOKEN %s\\n\", argv[1]) < 0;\n}\n",
		build:  [][]string{{"/usr/bin/gcc", "-o", "main", "main.c"}}, start: []string{"./main"},
		ways: []way{{how: "changed source", goal: 0.9}, {how: "same source", again: true, goal: 0.1}},
	},
	{
		title: "C++ with iostream", language: "cpp", path: "main.cpp",
		source: "#include <iostream>\n\nint main(int argc, char **argv) {\n    std::cout << \"TOKEN \" << argv[1] << std::endl;\n}\n",
		build:  [][]string{{"/usr/bin/g++", "-o", "main", "main.cpp"}}, start: []string{"./main"},
		ways: []way{{how: "changed source", goal: 0.25}},
	},
	{
		title: "Go", language: "go", path: "main.go",
		source: "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tfmt.Println(\"TOKEN\", os.Args[1])\n}\n",
		build:  [][]string{{"/usr/bin/go", "build", "-o", "main", "main.go"}}, start: []string{"./main"},
		ways: []way{{how: "changed source", goal: 0.5}},
	},
	{
		title: "TypeScript", language: "typescript", path: "main.ts",
		source: "const said: string = 'TOKEN ' + process.argv[2];\nconsole.log(said);\n",
		build:  [][]string{{"/usr/bin/esbuild", "--bundle", "--platform=node", "--log-level=warning", "--outfile=main.cjs", "main.ts"}},
		start:  []string{"/usr/bin/node", "main.cjs"},
		ways:   []way{{how: "changed source"}},
	},
	{
		title: "Ruby", language: "ruby", path: "main.rb", source: "puts 'TOKEN ' + ARGV[0]\n",
		start: []string{"/usr/bin/ruby", "main.rb"},
		ways:  []way{{how: "same source", again: true}},
	},
}

func languageNames() (names []string) {
	for _, p := range programs {
		names = append(names, p.language)
	}
	return names
}

func programOf(language string) *program {
	for _, p := range programs {
		if p.language == language {
			return p
		}
	}
	return nil
}

// choose finds the programs that -only names; a wrong name must not pass for a benchmark
// in which nothing is wrong.
func choose(only string) ([]*program, error) {
	if only == "" {
		return programs, nil
	}
	var chosen []*program
	for name := range strings.SplitSeq(only, ",") {
		p := programOf(name)
		if p == nil {
			return nil, fmt.Errorf("nothing is measured of %q; there are %s", name, strings.Join(languageNames(), ", "))
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}
