package abuse

import (
	"runtime"
	"strings"
	"testing"

	"corun/store"
)

// refused is a program that makes bare system calls, each of which has to be answered
// with EPERM. The numbers are amd64's.
func refused(calls string) attack {
	var code, want strings.Builder
	for line := range strings.Lines(strings.TrimSpace(calls)) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), ": ")
		code.WriteString("attempt('" + name + "', lambda: call(" + args + "))\n")
		want.WriteString(name + " EPERM\n")
	}
	return attack{python: code.String(), want: store.StatusExited, prints: want.String()}
}

func TestKernel(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers of the calls are amd64's; runner/sandbox tries every call on both")
	}
	killed := func(c string) attack {
		return attack{c: c, want: store.StatusSignaled, signal: "SIGSYS"}
	}
	try(t, map[string]attack{
		"ptrace":                 refused("attach: 101, 16, os.getppid(), 0, 0\ntraceme: 101, 0, 0, 0, 0\nseize: 101, 0x4206, 1, 0, 0"),
		"memory of another":      refused("read: 310, 1, None, 0, None, 0, 0\nwrite: 311, os.getppid(), None, 0, None, 0, 0\nmadvise: 440, 0, None, 0, 0, 0\nrelease: 448, 0, 0"),
		"descriptors of another": refused("pidfd_getfd: 438, 0, 0, 0\nkcmp: 312, 1, 1, 0, 0, 0"),
		"mount": refused("mount: 165, b'none', b'/tmp', b'tmpfs', 0, None\nbind: 165, b'/', b'/tmp', None, 4096, None\nremount: 165, None, b'/', None, 32, None\n" +
			"umount: 166, b'/tmp', 2\npivot_root: 155, b'/tmp', b'/tmp'\nchroot: 161, b'/tmp'"),
		"mount, the new way": refused("fsopen: 430, b'tmpfs', 0\nfsconfig: 431, 0, 0, None, None, 0\nfsmount: 432, 0, 0, 0\nfspick: 433, -100, b'/', 0\n" +
			"open_tree: 428, -100, b'/', 1\nmove_mount: 429, -100, b'/', -100, b'/tmp', 0\nmount_setattr: 442, -100, b'/', 0, None, 0"),
		"namespaces": refused("setns: 308, os.open('/proc/self/ns/net', 0), 0\nuser: 272, 0x10000000\nmount: 272, 0x20000\npid: 272, 0x20000000\nnet: 272, 0x40000000\n" +
			"cgroup: 272, 0x2000000\nipc: 272, 0x8000000\nuts: 272, 0x4000000\ntime: 272, 0x80\nall: 272, 0x7e020080\nfiles: 272, 0x400"),
		"namespaces by clone": refused("user: 56, 0x10000011, 0, 0, 0, 0\nnet: 56, 0x40000011, 0, 0, 0, 0\npid: 56, 0x20000011, 0, 0, 0, 0\nmount: 56, 0x20011, 0, 0, 0, 0\n" +
			"cgroup: 56, 0x2000011, 0, 0, 0, 0\nuts: 56, 0x4000011, 0, 0, 0, 0\nipc: 56, 0x8000011, 0, 0, 0, 0\nall: 56, 0x7e020011, 0, 0, 0, 0"),
		"namespaces by clone3": {python: "b = ctypes.create_string_buffer(88)\nstruct.pack_into('QQQQQ', b, 0, 0x10000000, 0, 0, 0, 17)\nattempt('clone3', lambda: call(435, b, 88))", want: store.StatusExited, prints: "clone3 ENOSYS\n"},
		"devices":              refused("char: 133, b'/tmp/a', 0o20666, 0x103\nblock: 133, b'/tmp/a', 0o60666, 0xfe00\nat: 259, -100, b'/tmp/a', 0o20666, 0x101"),
		"bpf":                  refused("map: 321, 0, bytes(128), 128\nprog: 321, 5, bytes(128), 128"),
		"perf":                 refused("open: 298, bytes(128), 0, -1, -1, 0"),
		"io_uring":             refused("setup: 425, 8, bytes(256)\nenter: 426, 0, 1, 1, 0, None, 0\nregister: 427, 0, 0, None, 0"),
		"userfaultfd":          refused("any: 323, 0\nuser: 323, 1"),
		"memfd_secret":         refused("secret: 447, 0"),
		"fanotify":             refused("init: 300, 0, 0\nmark: 301, 0, 1, 1, -100, b'/'"),
		"quota":                refused("quotactl: 179, 0x80000700, b'/dev/vda', 0, None\nfd: 443, 0, 0, 0, None"),
		"writing all disks":    {python: "attempt('sync', lambda: call(162))\nbegan = time.monotonic()\nfor _ in range(10000): os.sync()\nprint(time.monotonic() - began < 2)", want: store.StatusExited, prints: "sync 0\nTrue\n"},
		"swap":                 refused("on: 167, b'/tmp/a', 0\noff: 168, b'/tmp/a'"),
		"keys":                 refused("add: 248, b'user', b'a', b'b', 1, -3\nrequest: 249, b'user', b'a', None, 0\njoin: 250, 1, b'a'\nread: 250, 11, -5, None, 0"),
		"handles":              refused("open: 304, -100, bytes(128), 0\nname: 303, -100, b'/', bytes(128), bytes(4), 0"),
		"modules and kernels":  refused("init: 175, b'', 0, b''\nfinit: 313, 0, b'', 0\ndelete: 176, b'a', 0\nkexec: 246, 0, 0, None, 0\nkexec_file: 320, 0, 0, 0, None, 0\nreboot: 169, 0xfee1dead, 672274793, 0x1234567, None"),
		"the machine":          refused("syslog: 103, 3, bytes(100), 100\nhostname: 170, b'a', 1\ndomain: 171, b'a', 1\nsettime: 227, 0, bytes(16)\nadjust: 159, bytes(208)\niopl: 172, 3\nioperm: 173, 0x70, 1, 1\nacct: 163, b'/tmp/a'\nhangup: 153"),
		"seccomp listener":     refused("listener: 317, 1, 8, bytes(16)\nwith sync: 317, 1, 9, bytes(16)"),
		"memory policy":        refused("mbind: 237, 0, 0, 0, None, 0, 0\nset: 238, 0, None, 0\nmigrate: 256, 1, 0, None, None\nmove: 279, 1, 0, None, None, None, 0"),
		"filters of sockets": {python: `
code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))
program = struct.pack('HxxxxxxQ', 1, ctypes.addressof(code))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for option in 26, 50, 51, 52:
    attempt(option, lambda: s.setsockopt(socket.SOL_SOCKET, option, program))
attempt('high', lambda: call(54, s.fileno(), (1 << 32) + 1, (1 << 32) + 26, program, 16))
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
attempt('flow label', lambda: s.setsockopt(41, 32, bytes(15) + b'\1' + struct.pack('IBBHHHI', 0, 0, 1, 1, 60, 6, 0)))`, want: store.StatusExited,
			has: []string{"26 EPERM\n", "50 E", "51 EPERM\n", "52 E", "high EPERM\n", "flow label EPERM\n"}},
		"a filter of its own": {c: `
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <errno.h>
#include <unistd.h>
int main(void) {
	/* allows everything: the stricter of all filters must go on to decide */
	struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {1, all};
	int loaded = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
	int mounted = mount("none", "/tmp", "tmpfs", 0, NULL);
	printf("%d %d %d\n", loaded, mounted, errno == EPERM);
	return 0;
}`, want: store.StatusExited, prints: "0 -1 1\n"},
		"int 0x80":       killed("int main(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20)); return 0; }"),
		"int 0x80 mount": killed("int main(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(21), \"b\"(0), \"c\"(0), \"d\"(0)); return 0; }"),
		"x32":            killed("#include <unistd.h>\nint main(void) { return syscall(0x40000000 + 39) < 0; }"),
		"x32 ptrace":     killed("#include <unistd.h>\nint main(void) { return syscall(0x40000000 + 521, 0, 0, 0, 0) < 0; }"),
		"a 32-bit far call": {c: `
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
int main(void) {
	/* into the compatibility segment, where sysenter and int 0x80 are */
	unsigned char *page = mmap((void *)0x10000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	unsigned char code[] = {0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xf4};
	memcpy(page, code, sizeof code);
	struct { uint32_t to; uint16_t segment; } __attribute__((packed)) far = {0x10000, 0x23};
	__asm__ volatile("ljmp *%0" : : "m"(far));
	return 0;
}`, want: store.StatusSignaled, signal: "SIGSYS"},
		"unknown calls": {python: "for n in 460, 500, 999, 1 << 20, 0x3fffffff:\n    attempt(n, lambda: call(n, 0, 0, 0))", want: store.StatusExited, prints: "460 ENOSYS\n500 ENOSYS\n999 ENOSYS\n1048576 ENOSYS\n1073741823 ENOSYS\n"},
		"personality":   {python: "attempt('no randomness', lambda: call(135, 0x0040000))\nattempt('32 bits', lambda: call(135, 8))\nattempt('read implies exec', lambda: call(135, 0x400000))\nattempt('ask', lambda: call(135, 0xffffffff))", want: store.StatusExited, prints: "no randomness ENOSYS\n32 bits ENOSYS\nread implies exec ENOSYS\nask 0\n"},
		"capabilities": {python: `
status = dict(l.split(':', 1) for l in open('/proc/self/status'))
print(*[status[k].strip() for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')])
header, data = struct.pack('Ii', 0x20080522, 0), struct.pack('IIIIII', *[0xffffffff] * 6)
attempt('capset', lambda: call(126, header, data))
attempt('ambient', lambda: 1 / 0 if libc.prctl(47, 2, 21, 0, 0) == 0 else 'refused')
attempt('keep', lambda: libc.prctl(8, 1))
attempt('setuid', lambda: os.setuid(0))
attempt('setgid', lambda: os.setgid(0))
attempt('setgroups', lambda: os.setgroups([0]))
attempt('setresuid', lambda: os.setresuid(0, 0, 0))
attempt('chown', lambda: os.chown('main.py', 0, 0))
attempt('new privileges', lambda: libc.prctl(38, 0, 0, 0, 0))`, want: store.StatusExited,
			prints: strings.Repeat("0000000000000000 ", 5) + "1 2\ncapset EPERM\nambient refused\nkeep 0\nsetuid EPERM\nsetgid EPERM\nsetgroups EPERM\nsetresuid EPERM\nchown EPERM\nnew privileges -1\n"},
		"sockets": {python: `
for name, args in {'raw': (2, 3, 1), 'raw v6': (10, 3, 58), 'packet': (17, 2, 0), 'netlink': (16, 3, 0), 'netlink audit': (16, 3, 9), 'vsock': (40, 1, 0), 'alg': (38, 5, 0),
                   'bluetooth': (31, 3, 0), 'can': (29, 3, 1), 'tipc': (30, 1, 0), 'rds': (21, 5, 0), 'xdp': (44, 3, 0), 'qipcrtr': (42, 2, 0), 'key': (15, 3, 2), 'smc': (43, 1, 0), 'nfc': (39, 5, 0)}.items():
    attempt(name, lambda: call(41, *args))
    attempt(name + ' high', lambda: call(41, (1 << 32) + args[0], (1 << 32) + args[1], args[2]))`, want: store.StatusExited,
			hasNot: []string{" 3\n", " 4\n", "EAFNOSUPPORT", "ESOCKTNOSUPPORT"}, has: []string{"raw EPERM\nraw high EPERM\n", "packet EPERM\npacket high EPERM\n", "netlink EPERM\n", "vsock EPERM\nvsock high EPERM\n", "alg EPERM\n"}},
		"the network": {python: `
for host, port in ('127.0.0.1', HOST_PORT), ('::1', HOST_PORT), ('0.0.0.0', HOST_PORT):
    attempt('host', lambda: socket.create_connection((host, port), 5))
for host in '192.0.2.1', '169.254.169.254', '10.0.0.1', '2001:db8::1':
    attempt('beyond', lambda: socket.create_connection((host, 80), 5))
def send(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('255.255.255.255', 53))
attempt('broadcast', send)
print([n for _, n in socket.if_nameindex()] if False else open('/proc/self/net/dev').read().count(':') if os.path.exists('/proc/self/net/dev') else 'hidden')
s = socket.create_server(('127.0.0.1', 8000)); c = socket.create_connection(('127.0.0.1', 8000)); s.accept()
print('its own loopback')`, want: store.StatusExited,
			prints: "host ECONNREFUSED\nhost ECONNREFUSED\nhost ECONNREFUSED\nbeyond ENETUNREACH\nbeyond ENETUNREACH\nbeyond ENETUNREACH\nbeyond ENETUNREACH\nbroadcast ENETUNREACH\n1\nits own loopback\n"},
		"abstract sockets": {python: "attempt('host', lambda: socket.socket(socket.AF_UNIX).connect('\\0HOST_SOCKET'))\nattempt('X', lambda: socket.socket(socket.AF_UNIX).connect('\\0/tmp/.X11-unix/X0'))", want: store.StatusExited, prints: "host ECONNREFUSED\nX ECONNREFUSED\n"},
		"programs in memory": {c: `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
	if (argc > 1) {
		int n = 1; /* it is bound by the same limits */
		for (;;) {
			int child = fork();
			if (child == 0) for (;;) pause();
			if (child < 0) break;
			n++;
		}
		printf("%d\n", n);
		return 0;
	}
	int to = memfd_create("program", MFD_CLOEXEC), from = open("program", O_RDONLY);
	while (sendfile(to, from, NULL, 1 << 20) > 0) ;
	char *args[] = {"program", "again", NULL};
	return fexecve(to, args, environ);
}`, want: store.StatusExited, prints: "64\n", says: "more than the 64 processes"},
	})
}
