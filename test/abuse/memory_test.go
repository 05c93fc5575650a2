package abuse

import (
	"os"
	"testing"
	"time"

	"corun/runner"
	"corun/store"
)

const mib = 1 << 20

// small is a memory limit that bombs reach soon.
var small = runner.Lower{MemoryBytes: 64 * mib}

func TestMemory(t *testing.T) {
	memory := func(code string) attack {
		return attack{python: "print('begins', flush=True)\n" + code, limits: small, want: store.StatusMemoryLimit, says: "64 MiB", prints: "begins\n"}
	}
	try(t, map[string]attack{
		"anonymous memory": memory("b = []\nwhile True: b.append(bytearray(1 << 20))"),
		"private mappings": memory("import mmap\nb = []\nwhile True:\n    m = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n    m.write(b'x' * (4 << 20)); b.append(m)"),
		"shared mappings":  memory("import mmap\nb = []\nwhile True:\n    m = mmap.mmap(-1, 4 << 20)\n    m.write(b'x' * (4 << 20)); b.append(m)"),
		"tmpfs": memory(`
b = bytearray(24 << 20)
for i in range(60):
    with open('/tmp/%d' % i, 'wb') as f: f.write(b'x' * (1 << 20))
while True: b += bytearray(1 << 20)`),
		"/dev/shm":        memory("b = bytearray(24 << 20)\nf = open('/dev/shm/a', 'wb')\nfor i in range(30): f.write(b'x' * (1 << 20)); f.flush()\nf = open('/dev/shm/b', 'wb')\nfor i in range(30): f.write(b'x' * (1 << 20)); f.flush()\nwhile True: b += bytearray(1 << 20)"),
		"memfd":           memory("b = []\nwhile True:\n    f = os.memfd_create('a'); b.append(f)\n    os.write(f, b'x' * (16 << 20))"),
		"System V shared": memory("libc.shmat.restype = ctypes.c_void_p\nwhile True:\n    i = call(29, 0, 16 << 20, 0o1600)\n    p = libc.shmat(i, None, 0)\n    ctypes.memset(p, 1, 16 << 20)"),
		"System V messages": memory(`
while True:
    q = call(68, 0, 0o1600)
    m = struct.pack('l', 1) + b'x' * 8000
    try:
        while True: call(69, q, m, 8000, 0o4000)
    except OSError: pass`),
		"pipes and sockets": memory(`
import fcntl
b, full = [], b'x' * (1 << 20)
while True:
    if os.fork() == 0:   # each process has 256 descriptors
        try:
            while True:
                x, y = socket.socketpair()
                x.setblocking(False)
                x.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                b.append((x, y))
                try:
                    while True: x.send(full[:65536])
                except BlockingIOError: pass
        except OSError: signal.pause()`),
		"pipes": memory(`
import fcntl
for _ in range(5): os.fork()
pairs, error = fill(os.pipe)
for r, w in pairs:
    try: fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 1 << 20)
    except OSError: pass
    os.set_blocking(w, False)
    fill(lambda: os.write(w, b'x' * 65536))
signal.pause()`),
		"semaphores": memory("while True:\n    call(64, 0, 32000, 0o600)"),
		"page tables": {c: `
#include <sys/mman.h>
int main(void) {
	/* a page in each two megabytes, so that there is a table for each */
	unsigned long size = 64ul << 30;
	char *at = mmap(0, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	madvise(at, size, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < size; i += 2 << 20) (void)*(volatile char *)(at + i);
	return 0;
}`, limits: small, want: store.StatusMemoryLimit, says: "64 MiB"},
		// Their memory is charged to nobody until they are accepted.
		"connections that nobody accepts": memory(`
kept = []
while True:
    kept.append(socket.create_server(('127.0.0.1', 0), backlog=4096))
    for _ in range(1000): socket.create_connection(kept[-1].getsockname()).close()`),
		// What takes the kernel long to take away must not hold back what became of the run.
		"much to take away": {c: `
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
	puts("begins"), fflush(stdout);
	for (int i = 0; i < 40; i++)
		if (fork() == 0) {
			for (int n = 0; n < 20000; n++) mmap(0, 4096, n % 2 ? PROT_READ : PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			for (;;) pause();
		}
	for (;;) pause();
}`, limits: runner.Lower{Wall: 3 * time.Second}, want: store.StatusTimeout, prints: "begins\n"},
		"huge pages": {c: `
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(void) {
	unsigned long size = 256 << 20;
	void *at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	printf(at == MAP_FAILED ? "refused\n" : "given\n"), fflush(stdout);
	at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(at, size, MADV_HUGEPAGE);
	memset(at, 1, size);
	return 0;
}`, limits: small, want: store.StatusMemoryLimit, says: "64 MiB", prints: "refused\n"},
		"mappings": {c: `
#include <errno.h>
#include <unistd.h>
#include <sys/mman.h>
int main(void) {
	/* neighbours of different protection cannot be joined */
	for (int i = 0; mmap(0, 4096, i % 2 ? PROT_READ : PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; i++) ;
	_exit(errno == ENOMEM ? 42 : 1);
}`, want: store.StatusExited, code: 42},
		"reserved, not used": {c: `
#include <sys/mman.h>
int main(void) {
	char *at = mmap(0, 1ul << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	at[1ul << 39] = 42;
	return at[1ul << 39];
}`, limits: small, want: store.StatusExited, code: 42},
		"mapped files": memory(`
import mmap
kept = []
for i in range(3):
    fd = os.open('/work/%d' % i, os.O_CREAT | os.O_RDWR)
    os.truncate(fd, 24 << 20)
    kept.append(mmap.mmap(fd, 24 << 20))
    for at in range(0, 24 << 20, 4096): kept[-1][at] = 1`),
		"of a child":       memory("if os.fork() == 0:\n    b = []\n    while True: b.append(bytearray(1 << 20))\nos.wait()\ntime.sleep(1000)"),
		"of many children": memory("for _ in range(40):\n    if os.fork() == 0:\n        b = bytearray(os.urandom(4 << 20))\n        signal.pause()\nsignal.pause()"),
		"a stack": {c: `
#include <alloca.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
static int down(int n) { char *p = alloca(1 << 16); memset(p, n, 1 << 16); return down(n + 1) + p[7]; }
int main(void) {
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_STACK, &all);
	if (!getenv("AGAIN")) { setenv("AGAIN", "1", 1); execl("./program", "./program", NULL); }
	return down(1);
}
`, limits: small, want: store.StatusMemoryLimit},
		"page cache": {bash: "cat $(find /usr/lib /usr/bin -type f -size +100k | head -n 200) > /dev/null; cat $(find /usr/lib -type f -size +100k | head -n 200) > /dev/null; echo alive",
			limits: small, want: store.StatusExited, prints: "alive\n"},
		"more than there is": {python: "import mmap\ntry:\n    m = mmap.mmap(-1, 1 << 46)\n    print('mapped')\nexcept OSError as e: print(errno.errorcode[e.errno])", limits: small, want: store.StatusExited, prints: "ENOMEM\n"},
		"JavaScript":         {bash: "exec node -e 'const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))'", want: store.StatusMemoryLimit, says: "256 MiB"},
		"locked memory": {python: "attempt('mlockall', lambda: call(151, 3))\nimport mmap\nm = mmap.mmap(-1, 1 << 20)\nattempt('mlock', lambda: libc.mlock(ctypes.addressof(ctypes.c_char.from_buffer(m)), 1 << 20))",
			want: store.StatusExited, prints: "mlockall ENOMEM\nmlock -1\n"},
		"POSIX message queues": {python: `
n = 0
try:
    while n < 100:
        call(240, b'q%d' % n, 0o102, 0o600, struct.pack('llll', 0, 10, 8192, 0) + bytes(32)); n += 1
except OSError as e: print('bounded', n < 12, errno.errorcode[e.errno])`, want: store.StatusExited, prints: "bounded True EMFILE\n"},
		"timers": {c: `
#include <errno.h>
#include <stdio.h>
#include <time.h>
int main(void) {
	timer_t timer;
	while (timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0) ;
	printf(errno == EAGAIN ? "bounded\n" : "otherwise\n");
	return 0;
}`, limits: small, want: store.StatusExited, prints: "bounded\n"},
	})
}

func TestFiles(t *testing.T) {
	try(t, map[string]attack{
		"a sparse file":         {python: "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nattempt('sparse', lambda: os.truncate(os.open('a', os.O_CREAT | os.O_RDWR), 1 << 40))", want: store.StatusExited, prints: "sparse EFBIG\n"},
		"a huge file":           {python: "f = open('a', 'wb', 0)\nwhile True: f.write(b'x' * (1 << 20))", want: store.StatusExited, code: 1},
		"a huge file, unheeded": {bash: "exec dd if=/dev/zero of=a bs=1M count=100 2>/dev/null", want: store.StatusSignaled, signal: "SIGXFSZ"},
		"a full disk":           {python: "def fill():\n    for i in range(100):\n        with open('/tmp/%d' % i, 'wb') as f: f.write(b'x' * (1 << 20))\nattempt('fill', fill)\nattempt('elsewhere', lambda: open('/work/a', 'wb', 0).write(b'x' * 8192))\nattempt('elsewhere', lambda: open('/dev/shm/a', 'wb', 0).write(b'x' * 8192))", want: store.StatusExited, has: []string{"fill ENOSPC\n", "elsewhere ENOSPC\nelsewhere ENOSPC\n"}},
		"an inode flood":        {python: "n = 0\ndef flood():\n    global n\n    while True: os.close(os.open('/tmp/%d' % n, os.O_CREAT | os.O_RDWR)); n += 1\nattempt('flood', flood)\nprint(3000 < n <= 4096)", want: store.StatusExited, prints: "flood ENOSPC\nTrue\n"},
		"hard links":            {python: "open('a', 'w')\nn = 0\ndef flood():\n    global n\n    while True: os.link('a', str(n)); n += 1\nattempt('flood', flood)\nprint(n <= 4096)", want: store.StatusExited, prints: "flood ENOSPC\nTrue\n"},
		"extended attributes":   {python: "open('a', 'w')\ndef flood():\n    i = 0\n    while True: os.setxattr('a', 'user.%d' % i, b'x' * 60000); i += 1\nattempt('flood', flood)", limits: small, want: store.StatusExited, has: []string{"flood E"}},
		"deep folders":          {python: "n = 0\ndef flood():\n    global n\n    while True: os.mkdir('d' * 255); os.chdir('d' * 255); n += 1\nattempt('flood', flood)\nprint(n > 1000)", want: store.StatusExited, has: []string{"flood ENOSPC\n"}},
		"descriptors":           {python: "import resource\ndef flood():\n    while True: os.open('/dev/null', os.O_RDONLY)\nattempt('flood', flood)\ntry: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))\nexcept ValueError as e: print(e)", want: store.StatusExited, prints: "flood EMFILE\nnot allowed to raise maximum limit\n"},
		"odd names":             {python: "for n in b'new\\nline', b'\\xff\\xfe', b'n' * 255, b'-rf', b'$(reboot)': open(n, 'w')\nattempt('256', lambda: open('n' * 256, 'w'))\nprint(len(os.listdir(b'.')))", want: store.StatusExited, prints: "256 ENAMETOOLONG\n6\n"},
		"odd files":             {python: "attempt('fifo', lambda: os.mkfifo('fifo'))\nattempt('socket', lambda: socket.socket(socket.AF_UNIX).bind('socket'))\nattempt('link', lambda: os.symlink('/proc/1/root', 'link'))\nattempt('char', lambda: os.mknod('c', stat.S_IFCHR | 0o666, os.makedev(1, 3)))\nattempt('block', lambda: os.mknod('b', stat.S_IFBLK | 0o666, os.makedev(254, 0)))\nattempt('read', lambda: os.listdir('link'))", want: store.StatusExited, prints: "fifo None\nsocket None\nlink None\nchar EPERM\nblock EPERM\nread ENOENT\n"},
		"odd things as outputs": {python: `
os.mkdir('out'); os.chdir('out')
open('a', 'w').write('mine')
os.mkfifo('fifo')
socket.socket(socket.AF_UNIX).bind('socket')
for name, to in {'passwd': '/etc/passwd', 'canary': 'HOST_CANARY', 'root': '/proc/1/root', 'self': '/proc/self/mem', 'tty': '/dev/tty', 'loop': 'loop', 'up': '../..'}.items(): os.symlink(to, name)
os.link('a', 'b'); os.chmod('b', 0o4777)
os.symlink('/', 'folder'); os.mkdir('d'); os.symlink('/etc', 'd/etc')
open('secret', 'w').write('hidden'); os.chmod('secret', 0)
open(b'\xff\n', 'w').write('odd')
print('done')`, want: store.StatusExited, prints: "done\n", leaves: []string{"a mine", "b mine", "secret hidden"}},
		"a link as the folder of outputs": {python: "os.symlink('/etc', 'out')\nprint('done')", want: store.StatusExited, prints: "done\n", leaves: []string{}},
		"endless outputs": {python: "os.mkdir('out')\nfor i in range(2000): os.truncate(os.open('out/%d' % i, os.O_CREAT | os.O_RDWR), 32 << 20) if i % 100 == 0 else os.close(os.open('out/%d' % i, os.O_CREAT))\nprint('done')",
			want: store.StatusExited, says: "Nothing of what it left", prints: "done\n", leaves: []string{}},
		"the image": {python: `
for p in '/x', '/usr/x', '/etc/passwd', '/usr/bin/python3', '/dev/x', '/bin/sh', '/var/x', '/root/x', '/sys/x', '/run/x':
    try: open(p, 'ab'); print(p, 'written')
    except OSError as e: pass
attempt('remove', lambda: os.unlink('/etc/passwd'))
attempt('mode', lambda: os.chmod('/usr/bin/env', 0o4777))
attempt('owner', lambda: os.chown('/etc/passwd', 1000, 1000))
attempt('times', lambda: os.utime('/etc/passwd'))
attempt('rename', lambda: os.rename('/usr', '/rsu'))`, want: store.StatusExited, prints: "remove EROFS\nmode EROFS\nowner EROFS\ntimes EROFS\nrename EROFS\n"},
		"a setuid program": {c: `
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
	if (argc > 1) { printf("%d %d\n", getuid(), geteuid()); return 0; }
	chmod("program", 06755);
	execl("./program", "program", "again", NULL);
}
`, want: store.StatusExited, prints: "1000 1000\n"},
		"setuid programs of the image": {bash: "find " + wholeImage() + " -xdev -perm /6000 -type f 2>/dev/null; echo none", want: store.StatusExited, prints: "none\n"},
	})
}

// wholeImage is where programs are looked for. To look at every file of a large image takes
// longer upon gVisor than a run may: there it is where programs are.
func wholeImage() string {
	if os.Getenv("CORUN_ISOLATION") == "gvisor" {
		return "/usr/bin /usr/sbin /usr/libexec /usr/local /opt"
	}
	return "/"
}
