package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A program that takes dumps is started for no crash in a box.
func TestCoreLimit(t *testing.T) {
	for pattern, want := range map[string]uint64{"core\n": 0, "/var/crash/%p\n": 0, "|/usr/share/apport/apport %p\n": 1, "@/run/dumps.sock\n": 1} {
		file := filepath.Join(t.TempDir(), "pattern")
		if err := os.WriteFile(file, []byte(pattern), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := coreBytes(file); got != want {
			t.Errorf("%q: the limit is %d, want %d", pattern, got, want)
		}
	}
	if coreBytes(filepath.Join(t.TempDir(), "none")) != 1 {
		t.Error("where the pattern cannot be read it may be a pipe")
	}
	want := fmt.Sprintf("(%[1]d, %[1]d)\n", coreBytes(corePattern))
	r := python(t, spec(), 20*time.Second, `
import resource
print(resource.getrlimit(resource.RLIMIT_CORE))
for limit in (0, 0), (1, 1):
    try: resource.setrlimit(resource.RLIMIT_CORE, limit); print('set')
    except ValueError: pass
`)
	if r.stdout != want {
		t.Errorf("it printed %q, want %q\n%s", r.stdout, want, r.stderr)
	}
}
