package abuse

import (
	"testing"

	"corun/store"
)

// A box has one terminal, whose outer side is the host's. A program that opened others
// could write to their outer sides, and have the kernel echo that in a time that is charged
// to nobody. It gets none, whatever it does to the one that is there.
func TestTerminals(t *testing.T) {
	const grab = `
answers = set()
def grab():
    for path in '/dev/ptmx', '/dev/pts/ptmx':
        for _ in range(3):
            try: os.close(os.open(path, os.O_RDWR | os.O_NOCTTY)); answers.add('opened')
            except OSError as e: answers.add(errno.errorcode[e.errno])
grab()
`
	const flood = `
children = []
for _ in range(20):
    children.append(os.fork())
    if children[-1] == 0:
        for _ in range(200): grab()
        os._exit(len(answers) > 1)
answers.update('a child differs' for pid in children if os.waitpid(pid, 0)[1] != 0)
`
	const tell = "print(*sorted(answers), flush=True)\n"
	try(t, map[string]attack{
		"pipes": {want: store.StatusExited, prints: "ENOSPC\n", python: grab + `
pid = os.fork()
if pid == 0:
    os.setsid()
    os.open('/dev/pts/0', os.O_RDWR) # the end of a session hangs its terminal up
    grab()
    os._exit(len(answers) > 1)
answers.update('a child differs' for _ in [0] if os.waitpid(pid, 0)[1] != 0)
grab()
for request in 0x5437, 0x540c: # TIOCVHANGUP, TIOCEXCL
    fd = os.open('/dev/pts/0', os.O_RDWR | os.O_NOCTTY)
    libc.ioctl(fd, request, 0)
    os.close(fd)
    grab()
` + flood + tell},
		"in a terminal": {terminal: true, want: store.StatusExited, prints: "ENOSPC\r\n", python: grab + flood + tell},
		"a terminal that is closed": {terminal: true, want: store.StatusExited, prints: "ENOSPC\r\n", python: grab + `
os.closerange(0, 256)
` + grab + flood + `
os.open('/dev/tty', os.O_RDWR)
os.dup(0), os.dup(0)
` + tell},
	})
}
