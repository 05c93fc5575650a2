package abuse

import (
	"testing"

	"corun/store"
)

func TestSight(t *testing.T) {
	try(t, map[string]attack{
		"other processes": {python: `
print([p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()])
for f in 'cmdline', 'environ', 'mem', 'maps', 'root', 'cwd', 'exe', 'fd', 'ns/net', 'mountinfo', 'status', 'oom_score_adj':
    for p in 1, HOST_PID:
        try: os.open('/proc/%d/%s' % (p, f), os.O_RDONLY); print('sees', p, f)
        except OSError: pass`, want: store.StatusExited, prints: "[]\n"},
		"its own memory by proc": {python: "attempt('write', lambda: os.pwrite(os.open('/proc/self/mem', os.O_RDWR), b'x', 0))\nattempt('auxv', lambda: len(open('/proc/self/auxv', 'rb').read()) > 0)", want: store.StatusExited, prints: "write EIO\nauxv True\n"},
		"the kernel by proc": {python: `
for f in ('sys/kernel/core_pattern', 'sysrq-trigger', 'kcore', 'kallsyms', 'kmsg', 'keys', 'key-users', 'modules', 'cmdline', 'version', 'config.gz', 'slabinfo', 'iomem', 'ioports',
          'timer_list', 'sched_debug', 'interrupts', 'diskstats', 'partitions', 'swaps', 'cpuinfo', 'meminfo', 'stat', 'loadavg', 'uptime', 'vmallocinfo', 'pagetypeinfo', 'bus/pci/devices', 'acpi', 'scsi/scsi', 'fs/ext4',
          'sys/kernel/random/boot_id', 'sys/fs/binfmt_misc/register', 'sys/kernel/modprobe', 'sys/vm/overcommit_memory', 'driver', 'irq', 'tty/drivers', 'sysvipc/shm'):
    if os.path.exists('/proc/' + f): print('sees', f)
print(sorted(n for n in os.listdir('/proc') if not n.isdigit()))
print(os.path.exists('/sys/kernel'), os.path.exists('/sys/fs/cgroup'))
for f in ('/proc/self/sessionid', '/proc/self/loginuid', '/proc/self/uid_map', '/proc/self/setgroups', '/proc/self/timens_offsets', '/proc/self/clear_refs', '/proc/self/attr/current'):
    try: os.write(os.open(f, os.O_WRONLY), b'0 0 1'); print('wrote', f)
    except OSError: pass`, want: store.StatusExited, has: []string{"['self', 'thread-self']\nFalse False\n"}, hasNot: []string{"sees", "wrote"}},
		"descriptors that leaked": {python: `
for f in sorted(os.listdir('/proc/self/fd'), key=int):
    try: print(f, os.readlink('/proc/self/fd/' + f).split(':')[0])
    except FileNotFoundError: pass`, want: store.StatusExited, prints: "0 pipe\n1 pipe\n2 pipe\n"},
		"descriptors that leaked, terminal": {terminal: true, python: "for f in range(4096):\n    try: print(f, os.fstat(f).st_rdev == os.fstat(0).st_rdev)\n    except OSError: pass\nprint(os.ttyname(0))", want: store.StatusExited, prints: "0 True\r\n1 True\r\n2 True\r\n/dev/pts/0\r\n"},
		"the environment": {python: `
print(sorted(set(os.environ) - {'MPLBACKEND', 'OPENBLAS_NUM_THREADS', 'PYTHONUNBUFFERED'})) # those are the profile's
text = ' '.join(os.environ.values()) + open('/proc/self/environ').read()
print('HOST_DIR' in text, 'HOST_IMAGES' in text, 'CORUN' in text, 'token' in text.lower())
print(socket.gethostname(), os.uname().nodename, os.getcwd(), os.getuid(), os.getgid(), os.getgroups())`, want: store.StatusExited,
			has: []string{"['HOME', 'LANG', 'PATH', 'TERM', 'USER']\n", "False False False False\n", "corun corun /work 1000 1000 []\n"}, hasNot: []string{"HOSTNAME'", "SSH", "USER_", "SUDO"}},
		"where its files come from": {python: `
text = open('/proc/self/mountinfo').read() + open('/proc/self/mounts').read() + open('/proc/self/mountstats').read()
print([w for w in ('HOST_DIR', 'HOST_IMAGES', '/dev/vda', '/dev/sda', 'ext4', '/var/lib', 'corun', '/home', 'rootfs') if w in text])
print(sorted({l.split()[4] for l in open('/proc/self/mountinfo')}))`, want: store.StatusExited, prints: "[]\n['/', '/dev', '/dev/pts', '/dev/shm', '/proc', '/tmp', '/work']\n"},
		"its cgroup": {python: `
print({l.strip().split(':', 2)[2] for l in open('/proc/self/cgroup')})
import glob
print(glob.glob('/sys/fs/cgroup/*'), [p for p in ('release_agent', 'cgroup.procs') if os.path.exists('/sys/fs/cgroup/' + p)])
attempt('release agent', lambda: open('/sys/fs/cgroup/release_agent', 'w'))`, want: store.StatusExited, prints: "{'/'}\n[] []\nrelease agent ENOENT\n"},
		"the host's files": {python: `
for p in 'HOST_CANARY', 'HOST_DIR', 'HOST_DIR/corun.db', '/etc/shadow', '/root/.ssh', '/home', '/run/docker.sock', '/var/run/docker.sock', '/boot', '/proc/1/root/etc/shadow', '/dev/vda', '/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/fuse', '/dev/net/tun', '/dev/loop0', '/image', '/box', '/empty', '/..HOST_CANARY', '/../../HOST_CANARY', '/dev/fd/../../../HOST_CANARY':
    try:
        os.listdir(p) if os.path.isdir(p) else open(p, 'rb').read(1)
        if os.path.isdir(p) and not os.listdir(p): continue
        print('sees', p)
    except OSError: pass
attempt('up', lambda: sorted(os.listdir('/..')) == sorted(os.listdir('/')))
d = os.open('/', os.O_RDONLY)
attempt('up by descriptor', lambda: sorted(os.listdir(os.open('../../..', os.O_RDONLY, dir_fd=d))) == sorted(os.listdir('/')))
print(sorted(os.listdir('/dev')))
print(sorted(os.listdir('/dev/shm')), sorted(os.listdir('/tmp')), os.listdir('/work'))`, want: store.StatusExited,
			prints: "up True\nup by descriptor True\n['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero']\n[] [] ['main.py']\n"},
		"the runner's binary": {python: `
for p in '/proc/self/exe', '/proc/1/exe', '/proc/%d/exe' % os.getppid(), '/usr/bin/python3', '/proc/self/map_files':
    for flags in os.O_WRONLY, os.O_RDWR | os.O_TRUNC:
        try: os.open(p, flags); print('opened', p)
        except OSError: pass
attempt('parent', lambda: os.readlink('/proc/%d/exe' % os.getppid()))
attempt('init', lambda: os.readlink('/proc/1/exe'))
print(os.getppid())`, want: store.StatusExited, has: []string{"parent E", "init E", "\n1\n"}, hasNot: []string{"opened"}},
		"locks and watches on the image": {c: `
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>
/* A watch on what every box uses: the runs beside this one must not be seen. */
int main(void) {
	int lock = open("/usr/bin/python3", O_RDONLY), n = inotify_init1(IN_NONBLOCK);
	printf("%d\n", flock(lock, LOCK_EX | LOCK_NB));
	const char *files[] = {"/usr/bin/python3", "/usr/bin/bash", "/usr/bin", "/dev/null", "/dev/urandom", "/etc/passwd", "/usr/lib", "/"};
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) inotify_add_watch(n, files[i], IN_ALL_EVENTS);
	struct pollfd p = {n, POLLIN, 0};
	printf("%d\n", poll(&p, 1, 1000));
	return 0;
}`, want: store.StatusExited, prints: "0\n0\n"},
		"shared counters": {python: `
attempt('shared memory', lambda: call(29, 0x1234, 4096, 0o1666) >= 0)
attempt('queue', lambda: call(240, b'abuse', 0o102, 0o666, None) >= 0)
print(os.path.exists('/dev/mqueue'), open('/proc/self/ns/ipc') is not None)`, want: store.StatusExited, has: []string{"shared memory True\nqueue True\n"}},
	})
}
