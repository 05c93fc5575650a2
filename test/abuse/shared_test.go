package abuse

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"corun/runner"
	"corun/store"
)

// What the kernel has once for all boxes: counts that it keeps for a user or for the
// machine, memory that it does not charge to who uses it, and files that many see.
// These are tried one after another, as each is about what is left for the others.
func TestShared(t *testing.T) {
	for name, a := range map[string]attack{
		// Counted for who made the box's user namespace, too (kernel/ucount.c).
		"inotify instances": {held: true, want: store.StatusExited, python: `
def instance():
    fd = libc.inotify_init1(0)
    if fd < 0: raise OSError(ctypes.get_errno(), '')
    return fd
kept, error = fill(instance)
held()`},
		"queued signals": {held: true, want: store.StatusExited, python: `
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
def queue():
    if libc.sigqueue(os.getpid(), 40, None) < 0: raise OSError(ctypes.get_errno(), '')
fill(queue)
held()`},
		"timers": {held: true, want: store.StatusExited, python: `
def timer():
    if libc.timer_create(1, None, ctypes.byref(ctypes.c_void_p())) < 0: raise OSError(ctypes.get_errno(), '')
fill(timer)
held()`},
		"message queues": {held: true, want: store.StatusExited, python: `
n = 0
def queue():
    global n
    n += 1
    fd = libc.mq_open(b'/%d' % n, os.O_CREAT | os.O_RDWR, 0o600, None)
    if fd < 0: raise OSError(ctypes.get_errno(), '')
    os.close(fd) # it stays
fill(queue)
held()`},
		"locked memory": {held: true, want: store.StatusExited, python: `
import mmap
for _ in range(60):
    if os.fork() == 0:
        fill(lambda: mmap.mmap(-1, 4096, 0x2022)) # MAP_LOCKED
        signal.pause()
time.sleep(0.1)
held()`},
		"epoll watches": {held: true, want: store.StatusExited, python: `
import select
files = [os.dup(0) for _ in range(120)]
def poll():
    p = select.epoll()
    for f in files: p.register(f)
    return p
kept, error = fill(poll)
held()`},
		"descriptors in flight": {held: true, want: store.StatusExited, python: `
import array
a, b = socket.socketpair()
a.setblocking(False)
def send(): a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 200))])
fill(send)
held()`},
		// Whoever has a file open can have a lock on it, which the kernel charges to nobody.
		"locks": {want: store.StatusMemoryLimit, c: `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
	for (int i = 0; i < 4; i++) fork();
	for (int file = 0;; file = (file + 1) % 200) {
		char name[64];
		snprintf(name, sizeof name, "/work/%d-%d", getpid(), file);
		int fd = open(name, O_CREAT | O_RDWR, 0600);
		if (fd < 0) fd = 3 + file;
		for (long at = 400; at > 0; at -= 2) { /* neighbours would be joined */
			struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
			fcntl(fd, F_SETLK, &lock);
		}
	}
}`},
	} {
		t.Run(name, func(t *testing.T) { shared.try(t, a) })
	}
	t.Run("socket buffers", socketBuffers)
}

// What sockets hold is memory of the box, whichever kind they are of: it must not have
// much more on the host than it may have.
func socketBuffers(t *testing.T) {
	const most = 64 * mib
	for name, code := range map[string]string{
		"TCP": `
l = socket.create_server(('127.0.0.1', 0), backlog=4096)
def filled():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
    s.settimeout(0.5)
    s.connect(l.getsockname())
    s.setblocking(False)
    fill(lambda: s.send(block))
    return s`,
		"UDP": `
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setblocking(False)
def filled():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
    s.bind(('127.0.0.1', 0))
    for _ in range(10): sender.sendto(block[:60000], s.getsockname())
    return s`,
	} {
		t.Run(name, func(t *testing.T) {
			before := socketMemory(t)
			shared.try(t, attack{
				held: true, limits: runner.Lower{MemoryBytes: most}, want: store.StatusExited,
				python: "block = b'x' * (1 << 20)\n" + code + "\nkept = []\ntry:\n    while len(kept) < 100: kept.append(filled())\nexcept OSError: pass\nheld()",
				beside: func(t *testing.T) {
					if now := socketMemory(t); now-before > most {
						t.Errorf("the machine's sockets hold %d MiB, of a box that may have %d MiB", (now-before)/mib, most/mib)
					}
				},
			})
		})
	}
}

// socketMemory is what the buffers of all TCP and UDP sockets of the machine take, in
// bytes (proc_net_sockstat in net/ipv4/proc.c: the number behind mem, in pages).
func socketMemory(t *testing.T) (bytes int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		for i := 1; i < len(fields); i++ {
			if fields[i-1] == "mem" {
				pages, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				bytes += pages * os.Getpagesize()
			}
		}
	}
	return bytes
}

// A box's devices and the files of its image look the same in all boxes. What one does
// with them must not be felt in another: neither locks nor watches.
func TestNeighbours(t *testing.T) {
	for _, file := range []string{
		"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/usr/bin/env", "/etc/passwd", "/etc/hostname",
		"/dev", "/dev/pts", "/dev/shm", "/proc", "/", "/usr", "/usr/lib", "/work", "/tmp",
	} {
		info, err := os.Stat(filepath.Join(shared.image.Rootfs, file))
		folder := strings.Count(file, "/") == 1 || err == nil && info.IsDir() || file == "/dev/pts" || file == "/dev/shm"
		t.Run(file, func(t *testing.T) {
			// The witness looks at folders itself.
			if said, err := shared.witness.ask("watch " + file); err != nil || said != "OK" {
				t.Fatal(said, err)
			}
			shared.try(t, attack{
				held: true, want: store.StatusExited, has: []string{"lock None\n", "record "},
				beside: func(t *testing.T) {
					if said, err := shared.witness.ask("watched"); err != nil || said != "nothing" && !folder {
						t.Errorf("the witness saw what was done: %s, %v", said, err)
					}
					if said, err := shared.witness.ask("lock " + file); err != nil || said != "OK" {
						t.Errorf("the witness gets no lock: %s, %v", said, err)
					}
				},
				python: fmt.Sprintf(`
import fcntl
file = %q
fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
attempt('lock', lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
attempt('record', lambda: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB))
attempt('read', lambda: len(os.read(fd, 1)))
attempt('write', lambda: os.write(os.open(file, os.O_WRONLY | os.O_NONBLOCK), b'x'))
held()`, file),
			})
		})
	}
}

// Names that the witness has in its own namespaces are not there for others.
func TestNames(t *testing.T) {
	try(t, map[string]attack{
		"names of another box": {want: store.StatusExited, python: `
attempt('abstract socket', lambda: socket.socket(socket.AF_UNIX).connect('\0corun-abuse-was-here'))
attempt('TCP', lambda: socket.create_connection(('127.0.0.1', 7777), 5))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.connect(('127.0.0.1', 7777))
u.send(b'x')
time.sleep(0.01)
attempt('UDP', lambda: u.send(b'x'))
attempt('shared memory', lambda: call(29, 0x636f7275, 0, 0))
attempt('semaphores', lambda: call(64, 0x636f7275, 0, 0))
attempt('messages', lambda: call(68, 0x636f7275, 0))
attempt('queue', lambda: call(240, b'corun-abuse-was-here', os.O_RDWR, 0, None))
print([os.path.exists(f + '/own') for f in ('/work', '/tmp', '/dev/shm')])`,
			prints: "abstract socket ECONNREFUSED\nTCP ECONNREFUSED\nUDP ECONNREFUSED\nshared memory ENOENT\nsemaphores ENOENT\nmessages ENOENT\nqueue ENOENT\n[False, False, False]\n"},
		// The limit on buffers is none on what goes through them.
		"much over the loopback": {want: store.StatusExited, limits: small, prints: "100000000\n", python: `
l = socket.create_server(('127.0.0.1', 0))
def flood():
    with socket.create_connection(l.getsockname()) as s:
        for _ in range(100): s.sendall(bytes(1000000))
threading.Thread(target=flood).start()
s, n = l.accept()[0], 0
while b := s.recv(65536): n += len(b)
print(n)`},
		"the same names": {want: store.StatusExited, python: `
s = socket.socket(socket.AF_UNIX)
s.bind('\0corun-abuse-was-here')
t = socket.create_server(('127.0.0.1', 7777))
i = call(29, 0x636f7275, 4096, 0o1666)
libc.shmat.restype = ctypes.c_void_p
ctypes.memset(libc.shmat(i, None, 0), 1, 4096)
call(71, call(68, 0x636f7275, 0o1666), 0, None)
call(66, call(64, 0x636f7275, 1, 0o1666), 0, 16, 7)
q = libc.mq_open(b'/corun-abuse-was-here', os.O_CREAT | os.O_RDWR, 0o666, None)
print(libc.mq_send(q, b'x', 1, 0))
for d in '/work', '/tmp', '/dev/shm':
    open(d + '/own', 'w').write('mine')
print('done')`, prints: "0\ndone\n"},
	})
}
