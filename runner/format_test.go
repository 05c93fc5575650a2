package runner

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"corun/store"
)

// What a formatter has come to is a text or words that a person can use.
func TestFormattedBy(t *testing.T) {
	code := func(n int) *int { return &n }
	exited := func(n int, stdout, stderr string) StageResult {
		return StageResult{Status: store.StatusExited, Code: code(n), Stdout: []byte(stdout), Stderr: []byte(stderr)}
	}
	for name, c := range map[string]struct {
		end    StageResult
		text   string // of the file
		want   string // formatted
		detail string // or part of the refusal, "" for an error that is the server's
		line   int
	}{
		"a text":              {exited(0, "a = 1\n", ""), "a=1\n", "a = 1\n", "", 0},
		"a text with warning": {exited(0, "a = 1\n", "careful\n"), "a=1\n", "a = 1\n", "", 0},
		"nothing of nothing":  {exited(0, "", ""), " \n", "", "", 0},
		"nothing of a text":   {exited(0, "", ""), "a", "", "said nothing", 0},
		"no text":             {exited(0, "\xff", ""), "a", "", "no text", 0},
		"gofmt":               {exited(2, "", "<standard input>:3:2: expected declaration, found x\n"), "x", "", "cannot read the file: lib/x.y:3:2: expected declaration, found x", 3},
		"black":               {exited(123, "", "error: cannot format -: Cannot parse: 4:7: def f(:\n"), "x", "", "Cannot parse: 4:7", 4},
		"rustfmt":             {exited(1, "", "error: expected one of `;`\n --> <stdin>:12:5\n   |\n"), "x", "", "--> lib/x.y:12:5", 12},
		"perltidy":            {exited(2, "", "Perltidy version is 20220613\n7: unbalanced brace\n"), "x", "", "unbalanced", 7},
		"in words":            {exited(1, "", "syntax error in line 9\n"), "x", "", "line 9", 9},
		"without a place":     {exited(1, "", "no\n"), "x", "", "cannot read the file: no", 0},
		"in silence":          {exited(7, "", ""), "x", "", "ended with code 7 and said nothing", 0},
		"a flood of words":    {exited(1, "", strings.Repeat("ä", 4000)), "x", "", "ä", 0},
		"too slow":            {StageResult{Status: store.StatusTimeout, CPU: formatWithin}, "x", "", "takes too long for this file: 10 s", 0},
		"too much work":       {StageResult{Status: store.StatusCPULimit}, "x", "", "takes too long", 0},
		"too much memory":     {StageResult{Status: store.StatusMemoryLimit}, "x", "", "more memory", 0},
		"too much":            {StageResult{Status: store.StatusOutputLimit, Message: "too much"}, "x", "", "too large", 0},
		"broken off":          {StageResult{Status: store.StatusSignaled}, "x", "", "broke off", 0},
		"the server's fault":  {StageResult{Status: store.StatusFailed, Message: "no box"}, "x", "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := formattedBy(c.end, FormatRequest{Path: "lib/x.y", Content: c.text})
			var refused *FormatError
			switch {
			case c.end.Status == store.StatusFailed:
				if err == nil || errors.As(err, &refused) {
					t.Errorf("got %q, %v", got, err)
				}
			case c.detail == "":
				if err != nil || got != c.want {
					t.Errorf("got %q, %v, want %q", got, err, c.want)
				}
			case !errors.As(err, &refused):
				t.Errorf("got %q, %v, want a refusal", got, err)
			case !strings.Contains(refused.Detail, c.detail) || refused.Line != c.line:
				t.Errorf("got %q in line %d, want %q in line %d", refused.Detail, refused.Line, c.detail, c.line)
			case len(refused.Detail) > formatterWords+100:
				t.Errorf("the refusal has %d bytes", len(refused.Detail))
			}
		})
	}
}

// What got no processor says nothing of the file.
func TestFormatWithoutProcessor(t *testing.T) {
	_, err := formattedBy(StageResult{Status: store.StatusTimeout, CPU: time.Second}, FormatRequest{Path: "x.y", Content: "x"})
	var busy *LimitError
	if !errors.As(err, &busy) || !busy.Global || busy.RetryAfter == 0 {
		t.Errorf("got %v", err)
	}
}

func TestFormat(t *testing.T) {
	if os.Getenv("CORUN_IMAGE_DIR") == "" {
		t.Skip("the host need not have the formatters: CORUN_IMAGE_DIR is not set")
	}
	r := testRunner(t, func(c *Config) { c.Quotas, c.Languages = &Quotas{1000, 1000, 1000, 1000}, nil })
	ask := func(path, text string) (string, error) {
		got, _, err := r.Format(t.Context(), FormatRequest{Room: "r", IP: "192.0.2.1", Path: path, Content: text})
		return got, err
	}
	for path, c := range map[string]struct{ text, want string }{
		"lib/a.go": {"package a\nfunc  f( ) {\nreturn }\n", "package a\n\nfunc f() {\n\treturn\n}\n"},
		"a.py":     {"x = {  'a':1 }\n", "x = {\"a\": 1}\n"},
		"a.rs":     {"fn main(){let x=1;}\n", "fn main() {\n    let x = 1;\n}\n"},
		"-a.sh":    {"if true\nthen\necho  a\nfi\n", "if true; then\n  echo a\nfi\n"},
		"a.pl":     {"if(1){print 1}\n", "if (1) { print 1 }\n"},
		"a.c":      {"int main(void){return 0;}\n", "int main(void) { return 0; }\n"},
		"a.cpp":    {"int  main( ){return 0;}\n", "int main() { return 0; }\n"},
		"A.java":   {"class A{int x=1;}\n", "class A {\n    int x = 1;\n}\n"},
		"a.js":     {"const  x={a:1}\n", "const x = {\n  a: 1\n}\n"},
		"a.ts":     {"let  x:number=1;\n", "let x: number = 1;\n"},
		"a.cs":     {"class A{int x=1;}\n", "class A\n{\n    int x = 1;\n}\n"},
		// Nothing of the room is in the box, and no names of files lead out of it.
		"empty.py": {"", ""},
	} {
		t.Run(path, func(t *testing.T) {
			got, err := ask(path, c.text)
			if err != nil || got != c.want {
				t.Fatalf("got %q, %v, want %q", got, err, c.want)
			}
			again, err := ask(path, got)
			if err != nil || again != got {
				t.Errorf("again it is %q, %v", again, err)
			}
		})
	}
	for path, text := range map[string]string{
		"a.go": "package a\n\nfunc f( {\n", "a.py": "a = 1\n\ndef f(:\n", "a.rs": "\n\nfn main( {\n", "a.sh": "a\nb\nif (\n",
	} {
		t.Run("broken "+path, func(t *testing.T) {
			got, err := ask(path, text)
			var refused *FormatError
			if !errors.As(err, &refused) || refused.Line < 3 || refused.Line > 4 {
				t.Errorf("got %q, %v (%+v), want a refusal of line 3 or 4", got, err, refused)
			}
		})
	}
	t.Run("broken a.pl", func(t *testing.T) {
		var refused *FormatError
		if got, err := ask("a.pl", "if (1) { print 1;\n"); !errors.As(err, &refused) {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("no formatter", func(t *testing.T) {
		var none *NoFormatterError
		for _, path := range []string{"a.lua", "README", "a.txt"} {
			if got, err := ask(path, "x"); !errors.As(err, &none) {
				t.Errorf("%s: got %q, %v", path, got, err)
			}
		}
	})
	t.Run("too large", func(t *testing.T) {
		var size *SizeError
		if _, err := ask("a.py", strings.Repeat("#\n", maxFormatBytes/2+1)); !errors.As(err, &size) {
			t.Errorf("got %v", err)
		}
		if _, err := ask("a.go", "package a\n\n//"+strings.Repeat("x", maxFormatBytes-20)+"\n"); err != nil {
			t.Errorf("the largest: %v", err)
		}
	})
	for _, l := range r.Languages() {
		if p, _ := r.langs.Find(l.Name); l.Format != (p.Format != nil) {
			t.Errorf("%s: format is %t", l.Name, l.Format)
		}
	}
}

func TestFormatQuota(t *testing.T) {
	r := testRunner(t, func(c *Config) { c.Quotas, c.Languages = &Quotas{10, 10, 2, 3}, []string{"bash"} })
	r.formats["bash"] = true
	p, _ := r.langs.Find("bash")
	p.Format = []string{"/bin/cat"}
	ask := func(room, ip string) error {
		got, _, err := r.Format(t.Context(), FormatRequest{Room: room, IP: ip, Path: "a.sh", Content: "echo\n"})
		if err == nil && got != "echo\n" {
			t.Errorf("got %q", got)
		}
		return err
	}
	var limit *LimitError
	check(t, ask("a", "192.0.2.1"))
	check(t, ask("a", "192.0.2.1"))
	if err := ask("a", "192.0.2.2"); !errors.As(err, &limit) || !strings.Contains(limit.Detail, "in this room") {
		t.Errorf("the room's third: %v", err)
	}
	check(t, ask("b", "192.0.2.1"))
	if err := ask("b", "192.0.2.1"); !errors.As(err, &limit) || !strings.Contains(limit.Detail, "at your address") {
		t.Errorf("the address's fourth: %v", err)
	}
	check(t, ask("b", "192.0.2.2")) // and the refusal took nothing of the room's
}
