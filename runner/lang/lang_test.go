package lang

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const whole = `
name = "python"
aliases = ["py"]
extensions = [".py"]
entry = "main.py"
version = ["/usr/bin/python3", "--version"]
run = ["/usr/bin/python3", "-B", "{entry}"]
[env]
PYTHONUNBUFFERED = "1"
[[template]]
path = "main.py"
content = '''

print(1)
'''
`

func TestParse(t *testing.T) {
	p, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Template[0].Content, "print(1)\n"; got != want {
		t.Errorf("template is %q, want %q", got, want)
	}
	got := p.Command("a.py", []string{"x", "{entry}"})
	if want := []string{"/usr/bin/python3", "-B", "a.py", "x", "{entry}"}; !slices.Equal(got, want) {
		t.Errorf("command is %q, want %q", got, want)
	}
	got = p.Command("-c", nil)
	if want := []string{"/usr/bin/python3", "-B", "./-c"}; !slices.Equal(got, want) {
		t.Errorf("command is %q, want %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in the whole profile", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	for name, c := range map[string]struct{ text, wants string }{
		"not TOML":               {"name = ", "decode"},
		"an unknown key":         {replace("aliases", "alias"), "alias"},
		"an unknown key below":   {replace("path =", "file ="), "file"},
		"a name in capitals":     {replace(`"python"`, `"Python"`), `name "Python"`},
		"no name":                {replace(`name = "python"`, ""), `name ""`},
		"no extension":           {replace(`[".py"]`, "[]"), "extensions"},
		"an extension, no dot":   {replace(`[".py"]`, `["py"]`), `extension "py"`},
		"an entry elsewhere":     {replace(`"main.py"`, `"../main.py"`), "entry"},
		"an entry of another":    {replace(`"main.py"`, `"main.rb"`), "entry"},
		"a version, not a path":  {replace(`["/usr/bin/python3", "--version"]`, `["python3"]`), "version"},
		"no command":             {replace(`run = ["/usr/bin/python3", "-B", "{entry}"]`, ""), "run"},
		"no place for the entry": {replace(`"{entry}"`, `"main.py"`), "{entry}"},
		"a variable in lower":    {replace("PYTHONUNBUFFERED =", "path ="), "env"},
		"a template outside":     {replace("path = \"main.py\"", "path = \"/etc/passwd\""), "template"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.wants) {
				t.Errorf("the error does not name %q: %v", c.wants, err)
			}
		})
	}
}

func TestChooseEntry(t *testing.T) {
	p, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		paths     []string
		preferred string
		want      string
	}{
		"the usual one":            {[]string{"a.py", "main.py"}, "", "main.py"},
		"the preferred one":        {[]string{"a.py", "main.py"}, "a.py", "a.py"},
		"first of the language":    {[]string{"notes.txt", "b.py", "a.py"}, "", "b.py"},
		"preferred of another":     {[]string{"main.js", "b.py"}, "main.js", "b.py"},
		"only one of another":      {[]string{"main.js"}, "main.js", "main.js"},
		"preferred that has gone":  {[]string{"b.py"}, "a.py", "b.py"},
		"an extension in capitals": {[]string{"B.PY"}, "", "B.PY"},
		"none":                     {[]string{"notes.txt"}, "", ""},
		"no files":                 {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.ChooseEntry(c.paths, c.preferred); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	other := strings.NewReplacer(`"python"`, `"other"`, `["py"]`, `["python"]`).Replace(whole)
	for name, c := range map[string]struct {
		files fstest.MapFS
		wants string
	}{
		"no profile": {fstest.MapFS{}, "no *.toml"},
		"a bad one":  {fstest.MapFS{"l/a.toml": {Data: []byte("x = 1")}}, "l/a.toml"},
		"a name twice": {fstest.MapFS{
			"l/a.toml": {Data: []byte(whole)}, "l/b.toml": {Data: []byte(other)},
		}, `"python"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(c.files, "l")
			if err == nil || !strings.Contains(err.Error(), c.wants) {
				t.Errorf("got %v, want an error that names %q", err, c.wants)
			}
		})
	}
}

func TestFindVersion(t *testing.T) {
	for output, want := range map[string]string{
		"Python 3.11.2\n": "3.11.2",
		"v18.19.0\n":      "18.19.0",
		"GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)\nCopyright": "5.2.15",
		"unknown": "",
	} {
		if got := FindVersion([]byte(output)); got != want {
			t.Errorf("FindVersion(%q) is %q, want %q", output, got, want)
		}
	}
}

// The profiles that are shipped must be good ones.
func TestShippedProfiles(t *testing.T) {
	set, err := Load(os.DirFS("../../sandbox-profiles"), "languages")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"python", "PY", "javascript", "node", "bash"} {
		if _, ok := set.Find(name); !ok {
			t.Errorf("there is no language %q", name)
		}
	}
	for _, p := range set.All() {
		if len(p.Template) == 0 || p.Template[0].Path != p.Entry {
			t.Errorf("%s has no template that begins with %s", p.Name, p.Entry)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err == nil && len(p.Command(p.Entry, nil)) == 0 {
			t.Error("an accepted profile has no command")
		}
	})
}
