package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soon bounds what must happen, however busy the machine is.
const soon = 60 * time.Second

// calls is what the programs below begin with.
const calls = `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return 'OK' if result >= 0 else errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))
`

// TestRefusedCalls makes each call from a program and compares the answer. The
// numbers are amd64's.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	const eperm, enosys = "EPERM", "ENOSYS"
	cases := []struct{ name, args, want string }{
		{"mount", "165, b'none', b'/tmp', b'tmpfs', 0, None", eperm},
		{"umount2", "166, b'/tmp', 2", eperm},
		{"pivot_root", "155, b'/tmp', b'/tmp'", eperm},
		{"chroot", "161, b'/tmp'", eperm},
		{"fsopen", "430, b'tmpfs', 0", eperm},
		{"fsmount", "432, 0, 0, 0", eperm},
		{"open_tree", "428, -100, b'/', 1", eperm},
		{"move_mount", "429, -1, b'', -1, b'', 0", eperm},
		{"mount_setattr", "442, -1, b'', 0, None, 0", eperm},
		{"unshare user", "272, 0x10000000", eperm},
		{"unshare mount", "272, 0x20000", eperm},
		{"setns", "308, 0, 0", eperm},
		{"clone new user", "56, 0x10000011, 0, 0, 0, 0", eperm},
		{"clone new net", "56, 0x40000011, 0, 0, 0, 0", eperm},
		{"clone new pid", "56, 0x20000011, 0, 0, 0, 0", eperm},
		{"clone new mount", "56, 0x20011, 0, 0, 0, 0", eperm},
		{"clone new cgroup", "56, 0x2000011, 0, 0, 0, 0", eperm},
		{"clone new uts", "56, 0x4000011, 0, 0, 0, 0", eperm},
		{"clone new ipc", "56, 0x8000011, 0, 0, 0, 0", eperm},
		{"clone3", "435, None, 88", enosys},
		{"ptrace", "101, 16, 1, 0, 0", eperm},
		{"process_vm_readv", "310, 1, None, 0, None, 0, 0", eperm},
		{"process_vm_writev", "311, 1, None, 0, None, 0, 0", eperm},
		{"pidfd_getfd", "438, 0, 0, 0", eperm},
		{"kcmp", "312, 1, 1, 0, 0, 0", eperm},
		{"bpf", "321, 0, None, 0", eperm},
		{"perf_event_open", "298, None, 0, -1, -1, 0", eperm},
		{"io_uring_setup", "425, 8, None", eperm},
		{"userfaultfd", "323, 0", eperm},
		{"keyctl", "250, 0, -3, 0", eperm},
		{"add_key", "248, b'user', b'a', b'b', 1, -3", eperm},
		{"request_key", "249, b'user', b'a', None, 0", eperm},
		{"kexec_load", "246, 0, 0, None, 0", eperm},
		{"init_module", "175, None, 0, b''", eperm},
		{"finit_module", "313, 0, b'', 0", eperm},
		{"open_by_handle_at", "304, -100, None, 0", eperm},
		{"name_to_handle_at", "303, -100, b'/', None, None, 0", eperm},
		{"fanotify_init", "300, 0, 0", eperm},
		{"memfd_secret", "447, 0", eperm},
		{"quotactl", "179, 0, None, 0, None", eperm},
		{"swapon", "167, b'/tmp/a', 0", eperm},
		{"reboot", "169, 0, 0, 0, None", eperm},
		{"syslog", "103, 3, None, 0", eperm},
		{"sethostname", "170, b'a', 1", eperm},
		{"mknod device", "133, b'/tmp/null', 0o20666, 0x103", eperm},
		{"personality", "135, 0x0040000", enosys},
		{"no such call", "999", enosys},
		{"socket netlink", "41, 16, 3, 0", eperm},
		{"socket netlink datagram", "41, 16, 2, 0", eperm},
		{"socket packet", "41, 17, 2, 0", eperm},
		{"socket alg", "41, 38, 5, 0", eperm},
		{"socket vsock", "41, 40, 1, 0", eperm},
		{"socket vsock, high bits", "41, 0x100000000 + 40, 1, 0", eperm},
		{"socket raw", "41, 2, 3, 1", eperm},
		{"socket raw, cloexec", "41, 2, 3 + 0o2000000, 1", eperm},
		{"socket raw, high bits", "41, 2, 0x100000003, 1", eperm},
		{"socket raw v6", "41, 10, 3, 58", eperm},
		{"TIOCSTI", "16, 0, 0x5412, b'x'", eperm},
		{"TIOCSTI, high bits", "16, 0, 0x100005412, b'x'", eperm},
		{"TIOCLINUX", "16, 0, 0x541c, b'x'", eperm},
		{"seccomp listener", "317, 1, 8, None", eperm},
		{"setuid", "105, 0", "EINVAL"}, // a uid that the box does not have, or no right to it
		{"capset", "126, None, None", "EFAULT"},
	}
	var program strings.Builder
	program.WriteString(calls)
	for i, c := range cases {
		fmt.Fprintf(&program, "print(%d, call(%s), flush=True)\n", i, c.args)
	}
	r := python(t, spec(), soon, program.String())
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("%d answers to %d calls; %+v, %s", len(lines), len(cases), r.exit, r.stderr)
	}
	for i, c := range cases {
		got := strings.TrimPrefix(lines[i], fmt.Sprintf("%d ", i))
		// What needs a capability or another uid may say either.
		if got != c.want && (c.name != "setuid" || got != eperm) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestForeignCallsKill: the calls of other architectures have other numbers,
// which no rule here means.
func TestForeignCallsKill(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"x32": "call(0x40000000 + 39)",
		"int 0x80": `
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := python(t, spec(), soon, calls+program+"\nprint('alive')")
			if r.exit.Signal != syscall.SIGSYS || r.stdout != "" {
				t.Errorf("%+v %q %q", r.exit, r.stdout, r.stderr)
			}
		})
	}
}

// TestMemoryBombs: the verdict is the kernel's own count.
func TestMemoryBombs(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"anonymous": "b = []\nwhile True: b.append(bytearray(1 << 20))",
		"tmpfs": `
for i in range(16):
    with open('/work/%d' % i, 'wb') as f:
        for _ in range(8): f.write(b'x' * (1 << 20))
b = []
while True: b.append(bytearray(1 << 20))`,
		"children": `
import os
while True:
    if os.fork() == 0:
        b = bytearray(8 << 20)
        while True: pass`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec()
			s.Limits.MemoryBytes = 40 << 20
			r := python(t, s, soon, program)
			if r.usage.OOMKills == 0 {
				t.Errorf("no kill for memory was counted: %+v %+v %s", r.exit, r.usage, r.stderr)
			}
			if r.usage.MemoryPeak > s.Limits.MemoryBytes {
				t.Errorf("%d bytes were used", r.usage.MemoryPeak)
			}
			select {
			case <-r.box.OOM():
			case <-time.After(soon):
				t.Error("nothing was said of the lack of memory")
			}
			select {
			case <-r.box.Exited():
			case <-time.After(soon):
				t.Error("the box lives on")
			}
		})
	}
}

func TestScratchIsBounded(t *testing.T) {
	t.Parallel()
	r := python(t, spec(), soon, `
import errno, os
def attempt(name, f):
    try:
        f()
        print(name, 'OK')
    except OSError as e:
        print(name, errno.errorcode[e.errno])
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
attempt('sparse', lambda: os.truncate(os.open('/work/sparse', os.O_CREAT | os.O_RDWR), 1 << 40))
def fill():
    for i in range(100):
        with open('/work/fill%d' % i, 'wb') as f:
            f.write(b'x' * (1 << 20))
attempt('fill', fill)
for i in range(100):
    try: os.unlink('/work/fill%d' % i)
    except FileNotFoundError: pass
def inodes():
    for i in range(10000): os.close(os.open('/tmp/i%d' % i, os.O_CREAT | os.O_RDWR))
attempt('inodes', inodes)
def fds():
    for i in range(1000): os.open('/dev/null', os.O_RDONLY)
attempt('fds', fds)
`)
	if want := "sparse EFBIG\nfill ENOSPC\ninodes ENOSPC\nfds EMFILE\n"; r.stdout != want {
		t.Errorf("%q %q", r.stdout, r.stderr)
	}
}

// TestProcessLimit: the program has exactly its number of processes.
func TestProcessLimit(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Limits.MemoryBytes = 1 << 30
	r := python(t, s, soon, `
import os, time
n = 1
try:
    while True:
        if os.fork() == 0: time.sleep(1000)
        n += 1
except BlockingIOError:
    print(n)
`)
	if want := fmt.Sprintln(DefaultLimits().Processes); r.stdout != want {
		t.Errorf("%q %q, %+v, %v, %+v", r.stdout, r.stderr, r.exit, r.err, r.usage)
	}
}

// TestForkBomb ends by the outer clock, whatever it does.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	r := runIn(t, spec(), 2*time.Second, nil, "bash", "-c", ":(){ :|:& };:; trap '' TERM INT HUP; while :; do :; done")
	if r.err != nil && !errors.Is(r.err, ErrBoxGone) {
		t.Error(r.err)
	}
}

// TestSpin: the processor time that is reported is the kernel's.
func TestSpin(t *testing.T) {
	t.Parallel()
	box := build(t, spec())
	p, err := box.Start(context.Background(), Command{Args: []string{"bash", "-c", "trap '' TERM; echo ready; while :; do :; done"}, Env: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	if line, err := p.Stdout().Read(make([]byte, 6)); err != nil || line != 6 {
		t.Fatal(line, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) { // the accounting has no event
		u, err := box.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU > 200*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s of processor time", u.CPU)
		}
	}
	if err := box.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(t.Context()); !errors.Is(err, ErrBoxGone) {
		t.Errorf("ended with %v", err)
	}
}

// TestDaemon: what has left the program's session dies with the box.
func TestDaemon(t *testing.T) {
	t.Parallel()
	r := runIn(t, spec(), soon, nil, "bash", "-c", "(setsid setsid sleep 1000 >/dev/null 2>&1 </dev/null & ); echo done")
	if r.stdout != "done\n" || r.exit != (Exit{}) {
		t.Errorf("%+v", r)
	}
}

// TestInside: what a program sees of the world.
func TestInside(t *testing.T) {
	t.Parallel()
	secret := fmt.Sprintf("%s/secret", t.TempDir())
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	program := fmt.Sprintf(`
import errno, os, socket
def attempt(name, f):
    try:
        print(name, f())
    except OSError as e:
        print(name, errno.errorcode[e.errno])
status = dict(l.split(':', 1) for l in open('/proc/self/status'))
for k in 'Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp':
    print(k, ' '.join(status[k].split()))
print('env', sorted(os.environ))
print('host', socket.gethostname())
print('cwd', os.getcwd())
print('fds', [n for n in sorted(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd/' + n)])
print('pids', [p for p in os.listdir('/proc') if p.isdigit() and p != str(os.getpid())])
print('proc', [n for n in os.listdir('/proc') if not n.isdigit() and n not in ('self', 'thread-self')])
print('cgroups', {l.rstrip().split(':')[2] for l in open('/proc/self/cgroup')})
print('dev', sorted(os.listdir('/dev')))
attempt('host file', lambda: open(%q).read())
attempt('init', lambda: open('/proc/1/environ').read())
attempt('write root', lambda: open('/file', 'w'))
attempt('write usr', lambda: open('/usr/bin/x', 'w'))
attempt('write proc', lambda: open('/proc/1/oom_score_adj', 'w'))
attempt('sysrq', lambda: open('/proc/sysrq-trigger', 'w'))
attempt('sysctl', lambda: open('/proc/sys/kernel/core_pattern', 'w'))
attempt('host port', lambda: socket.create_connection(('127.0.0.1', %d), 5))
attempt('internet', lambda: socket.create_connection(('192.0.2.1', 80), 5))
attempt('kill init', lambda: os.kill(1, 9))
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
attempt('reach up', lambda: sorted(os.listdir('/..')) == sorted(os.listdir('/')))
`, secret, listener.Addr().(*net.TCPAddr).Port)
	r := python(t, spec(), soon, program)
	want := []string{
		"Uid 1000 1000 1000 1000", "Gid 1000 1000 1000 1000", "Groups",
		"CapInh 0000000000000000", "CapPrm 0000000000000000", "CapEff 0000000000000000", "CapBnd 0000000000000000", "CapAmb 0000000000000000",
		"NoNewPrivs 1", "Seccomp 2", "env ['HOME', 'LANG', 'PATH']", "host corun", "cwd /work", "fds ['0', '1', '2']",
		"pids []", "proc []", "cgroups {'/'}",
		"dev ['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero']",
		"host file ENOENT", "init ENOENT", "write root EROFS", "write usr EROFS", "write proc ENOENT", "sysrq ENOENT", "sysctl ENOENT",
		"host port ECONNREFUSED", "internet ENETUNREACH", "kill init EPERM", "priority EACCES", "reach up True",
	}
	got := strings.Split(strings.TrimSpace(r.stdout), "\n")
	for i := range max(len(got), len(want)) {
		g, w := "", ""
		if i < len(got) {
			g = strings.TrimSpace(got[i])
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("got %q, want %q", g, w)
		}
	}
	if r.stderr != "" {
		t.Error(r.stderr)
	}
}
