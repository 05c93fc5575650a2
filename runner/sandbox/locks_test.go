package sandbox

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"
)

func TestCountLocks(t *testing.T) {
	const list = `1: POSIX  ADVISORY  WRITE 1234 00:1f:5 0 EOF
1: -> POSIX  ADVISORY  WRITE 77 00:1f:5 0 EOF
2: OFDLCK ADVISORY  WRITE -1 00:1f:5 0 0
3: FLOCK  ADVISORY  WRITE 1234 fe:00:6 0 EOF
4: POSIX  ADVISORY  READ  1234 00:1f:5 7 7
5: LEASE  ACTIVE    READ 9 00:1f:5 0 EOF
`
	counts, err := countLocks(strings.NewReader(list))
	if err != nil || counts.total != 6 || counts.cut || !maps.Equal(counts.of, map[int]int{1234: 2, 77: 1}) {
		t.Errorf("got %+v (%v)", counts, err)
	}
	if counts, err := countLocks(strings.NewReader(strings.Repeat("1: POSIX  ADVISORY  WRITE 5 00:1f:5 0 EOF\n", maxLockLines+1))); err != nil || !counts.cut || counts.total != maxLockLines {
		t.Errorf("of a long list: %d, cut %v (%v)", counts.total, counts.cut, err)
	}
	if _, err := countLocks(strings.NewReader("locks\n")); err == nil {
		t.Error("something else was taken for a list")
	}
}

// Locks are no group's memory. A box that makes very many ends as one whose memory ran out,
// however it makes them; one with some does not.
func TestLocks(t *testing.T) {
	if os.Getenv("CORUN_RUNSC") != "" {
		t.Skip("they are in the memory of gVisor's kernel")
	}
	const flood = `
import errno, fcntl, os, signal, struct, time
def flood():
    while True:
        fd = os.memfd_create('a')
        for at in range(0, 20000, 2): fcntl.lockf(fd, fcntl.LOCK_EX, 1, at)
`
	for name, c := range map[string]struct {
		code   string
		memory int64
	}{
		"one process":    {flood + "flood()", 256 << 20},
		"many processes": {flood + "for _ in range(20):\n    if os.fork() == 0: flood()\nsignal.pause()", 256 << 20},
		"much memory":    {flood + "flood()", 4 << 30}, // for more than are looked at
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			s.Limits.MemoryBytes = c.memory
			r := python(t, s, 20*time.Second, c.code)
			select {
			case <-r.box.OOM():
			default:
				t.Errorf("the flood ended with %+v, %v and %q", r.exit, r.err, r.stderr)
			}
		})
	}
	// Locks that the list names no process for are not to be had, nor processes that keep
	// another's.
	r := python(t, spec(), time.Minute, `
import ctypes, errno, fcntl, os, sqlite3, struct, time
fd = os.memfd_create('a')
for at in range(0, 1000, 2): fcntl.lockf(fd, fcntl.LOCK_EX, 1, at)
for command in 37, 38:
    try: fcntl.fcntl(fd, command, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 5000, 1, 0)); print('locked')
    except OSError as e: print(errno.errorcode[e.errno])
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 0x400 | 17, 0, 0, 0, 0), errno.errorcode[ctypes.get_errno()])
db = sqlite3.connect('a.db')
db.execute('create table t(x)'); db.execute('insert into t values (1)'); db.commit()
time.sleep(1)
print('done')
`)
	if want := "EINVAL\nEINVAL\n-1 EPERM\ndone\n"; r.err != nil || r.stdout != want {
		t.Errorf("it printed %q, want %q; it ended with %+v, %v, %s", r.stdout, want, r.exit, r.err, r.stderr)
	}
}
