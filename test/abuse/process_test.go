package abuse

import (
	"testing"
	"time"

	"corun/runner"
	"corun/store"
)

func TestProcesses(t *testing.T) {
	wall := runner.Lower{Wall: 5 * time.Second} // a busy machine needs some of it for the start
	cpu := runner.Lower{CPUTime: 500 * time.Millisecond}
	try(t, map[string]attack{
		"a fork bomb":           {bash: "trap '' TERM HUP INT; bomb() { bomb | bomb & }; bomb; sleep 1000", limits: wall, want: store.StatusTimeout, says: "more than the 64 processes"},
		"a fork bomb, spinning": {python: "while True:\n    try: os.fork()\n    except OSError: pass", limits: cpu, want: store.StatusCPULimit, says: "more than the 64 processes"},
		"a thread bomb":         {python: "n = 1\ntry:\n    while True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); n += 1\nexcept RuntimeError: print(n); os._exit(0)", want: store.StatusExited, prints: "64\n", says: "more than the 64 processes"},
		"a vfork bomb":          {bash: "for i in $(seq 200); do sleep 1000 & done 2>/dev/null; wait", limits: wall, want: store.StatusTimeout, says: "more than the 64"},
		"zombies":               {python: "n = 0\ntry:\n    while True:\n        if os.fork() == 0: os._exit(0)\n        n += 1\nexcept BlockingIOError: print(n)", want: store.StatusExited, prints: "63\n"},
		"orphaned zombies": {python: `
for _ in range(300):     # init takes them in, so that they cannot fill the box
    middle = os.fork()
    if middle == 0:
        while True:
            try:
                if os.fork() == 0: os._exit(0)
                break
            except BlockingIOError: pass
        os._exit(0)
    os.waitpid(middle, 0)
print('done')`, want: store.StatusExited, prints: "done\n"},
		"a deep tree": {held: true, python: `
depth = 1
while depth < 60:
    r, w = os.pipe()
    if os.fork() > 0:
        os.close(w)
        os.read(r, 1)     # ends with the child
        os._exit(0)
    depth += 1
held()`, want: store.StatusExited},
		"a thread bomb that spins": {c: `
#include <pthread.h>
static void *spin(void *a) { for (;;) ; return a; }
int main(void) {
	pthread_t thread;
	for (;;) pthread_create(&thread, 0, spin, 0);
}`, limits: cpu, want: store.StatusCPULimit, says: "more than the 64 processes"},
		"every signal to init, in every way": {c: `
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#define EXPECT(error, call) do { errno = 0; if ((call) != -1 || errno != (error)) printf("%s: %d\n", #call, errno); } while (0)
int main(void) {
	siginfo_t info = {.si_code = SI_QUEUE};
	int init = syscall(SYS_pidfd_open, 1, 0);
	for (int s = 0; s < 65; s++) {
		EXPECT(EPERM, kill(1, s));
		EXPECT(EPERM, syscall(SYS_tkill, 1, s));
		EXPECT(EPERM, syscall(SYS_tgkill, 1, 1, s));
		if (s > 0) {
			info.si_signo = s;
			EXPECT(EPERM, syscall(SYS_rt_sigqueueinfo, 1, s, &info));
			EXPECT(EPERM, syscall(SYS_rt_tgsigqueueinfo, 1, 1, s, &info));
		}
		EXPECT(EPERM, syscall(SYS_pidfd_send_signal, init, s, NULL, 0));
	}
	struct rlimit none = {0, 0};
	EXPECT(EPERM, prlimit(1, RLIMIT_NOFILE, &none, NULL));
	EXPECT(EPERM, prlimit(1, RLIMIT_CPU, NULL, &none));
	EXPECT(EPERM, setpriority(PRIO_PROCESS, 1, 19));
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	EXPECT(EPERM, sched_setaffinity(1, sizeof one, &one));
	struct sched_param low = {0};
	EXPECT(EPERM, sched_setscheduler(1, SCHED_IDLE, &low));
	printf("done\n");
	return 0;
}`, want: store.StatusExited, prints: "done\n"},
		"limits of its own": {c: `
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
int main(void) {
	for (int r = 0; r < RLIM_NLIMITS; r++) {
		struct rlimit now;
		getrlimit(r, &now);
		if (now.rlim_max == RLIM_INFINITY) continue;
		now.rlim_max++;
		if (setrlimit(r, &now) != -1 || errno != EPERM) printf("limit %d was raised\n", r);
	}
	printf("done\n");
	return 0;
}`, want: store.StatusExited, prints: "done\n"},
		"execs without end": {bash: "exec bash main.sh", limits: cpu, want: store.StatusCPULimit},
		"a spinner that ignores signals": {python: "for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)\nprint('spins', flush=True)\nwhile True: pass",
			limits: cpu, want: store.StatusCPULimit, says: "500 ms", prints: "spins\n"},
		"spinners":    {bash: "for i in $(seq 20); do while :; do :; done & done; wait", limits: cpu, want: store.StatusCPULimit},
		"a sleeper":   {python: "time.sleep(1000)", limits: wall, want: store.StatusTimeout},
		"one stopped": {python: "print('stops', flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)", limits: wall, want: store.StatusTimeout, prints: "stops\n"},
		"all stopped": {python: "print('stops', flush=True)\nfor _ in range(5):\n    if os.fork() == 0: break\nos.kill(0, signal.SIGSTOP)", limits: wall, want: store.StatusTimeout},
		"a daemon":    {python: "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        for s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)\n        os.closerange(0, 256)\n        while True: time.sleep(0.001)\n    os._exit(0)\nprint('gone')", want: store.StatusExited, prints: "gone\n"},
		"daemons that adopt": {python: `
libc.prctl(36, 1, 0, 0, 0)     # a subreaper: it gets the orphans
for _ in range(10):
    if os.fork() == 0:
        os.setsid(); libc.prctl(1, 0)     # no death signal
        while True: time.sleep(0.01)
print('gone')`, want: store.StatusExited, prints: "gone\n"},
		"a death signal for init": {python: "libc.prctl(1, 9)\nattempt('name', lambda: libc.prctl(15, b'box-init'))\nattempt('dumpable', lambda: libc.prctl(4, 1))\nattempt('timer slack', lambda: libc.prctl(29, 1))\nattempt('mm', lambda: call(157, 35, 1, 4096, 0, 0))", want: store.StatusExited, has: []string{"mm EPERM\n"}},
		"a session of its own":    {terminal: true, python: "if os.fork() == 0:\n    os.setsid(); print('away', flush=True); time.sleep(1000)\nos.wait()", limits: wall, want: store.StatusTimeout, has: []string{"away"}},
		"kill(-1)":                {python: "for s in (15, 9):\n    attempt('kill', lambda: os.kill(-1, s))\nprint('alive')", want: store.StatusExited, has: []string{"alive\n"}},
		"kill init": {python: `
for s in (9, 15, 19, 11):
    attempt('init', lambda: os.kill(1, s))
attempt('host', lambda: os.kill(HOST_PID, 9))
attempt('pidfd', lambda: call(424, call(434, 1, 0), 9, None, 0))
attempt('queue', lambda: call(129, 1, 9, bytes(128)))
attempt('tgkill', lambda: call(234, 1, 1, 9))`, want: store.StatusExited,
			prints: "init EPERM\ninit EPERM\ninit EPERM\ninit EPERM\nhost ESRCH\npidfd EPERM\nqueue EPERM\ntgkill EPERM\n"},
		"signals to itself without end": {python: "signal.signal(signal.SIGUSR1, lambda *a: None)\nwhile True: os.kill(os.getpid(), signal.SIGUSR1)", limits: cpu, want: store.StatusCPULimit},
		"queued signals":                {python: "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])\ndef flood():\n    for i in range(10000000): call(129, os.getpid(), int(signal.SIGRTMIN), struct.pack('iiiiiiq', 34, 0, -1, 0, os.getpid(), 1000, 0) + bytes(96))\nattempt('flood', flood)", limits: runner.Lower{Wall: 8 * time.Second}, want: store.StatusExited, prints: "flood EAGAIN\n"},
		"priorities": {python: `
attempt('nice', lambda: os.nice(-5))
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
attempt('real-time', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
attempt('round robin', lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)))
attempt('deadline', lambda: call(314, 0, struct.pack('IIQiIQQQ', 48, 6, 0, 0, 0, 10**7, 10**8, 10**8), 0))
attempt('I/O', lambda: call(251, 1, 0, 1 << 13))
import resource
for r in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
    try: resource.setrlimit(r, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)); print('raised', r)
    except ValueError: pass
attempt('of init', lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1)))
attempt('OOM', lambda: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000'))`, want: store.StatusExited,
			has: []string{"nice EPERM\npriority EACCES\nreal-time EPERM\nround robin EPERM\ndeadline EPERM\nI/O EPERM\n", "of init EPERM\n", "OOM EACCES\n"}},
		"a core dump": {bash: "ulimit -c unlimited 2>/dev/null; cd /tmp; sh -c 'kill -SEGV $$'; ls", want: store.StatusExited, prints: ""},
	})
}

func TestOutput(t *testing.T) {
	flood := runner.Lower{OutputBytes: mib}
	wall := runner.Lower{Wall: 5 * time.Second} // a busy machine needs some of it for the start
	odd := "\x00\x01\xff\xfe\xc0\xaf\x1b[31m\x1b]0;title\x07\x1b[2J\x9b\xed\xa0\x80\r\n\u202e"
	try(t, map[string]attack{
		"stdout":                     {bash: "exec yes 0123456789", limits: flood, want: store.StatusOutputLimit, says: "1 MiB"},
		"stderr":                     {bash: "exec yes 0123456789 >&2", limits: flood, want: store.StatusOutputLimit, says: "1 MiB"},
		"both":                       {bash: "yes a >&2 & exec yes b", limits: flood, want: store.StatusOutputLimit, says: "1 MiB"},
		"a terminal":                 {terminal: true, bash: "exec yes 0123456789", limits: flood, want: store.StatusOutputLimit, says: "1 MiB"},
		"from many":                  {bash: "for i in $(seq 30); do yes $i & done; wait", limits: flood, want: store.StatusOutputLimit},
		"one line of 100 MB":         {python: "sys.stdout.write('x' * 100000000)", want: store.StatusOutputLimit, says: "8 MiB"},
		"a byte at a time":           {python: "while True: os.write(1, b'x')", limits: runner.Lower{OutputBytes: 20000}, want: store.StatusOutputLimit},
		"any bytes":                  {python: "os.write(1, bytes.fromhex('" + hexOf(odd) + "'))", want: store.StatusExited, prints: odd},
		"closed, and alive":          {python: "print('last', flush=True)\nos.close(0); os.close(1); os.close(2)\ntime.sleep(1000)", limits: wall, want: store.StatusTimeout, prints: "last\n"},
		"closed terminal, and alive": {terminal: true, python: "print('last', flush=True)\nos.closerange(0, 256)\ntime.sleep(1000)", limits: wall, want: store.StatusTimeout, prints: "last\r\n"},
		"held by a child":            {python: "if os.fork() == 0: time.sleep(1000)\nprint('parent ends')", want: store.StatusExited, prints: "parent ends\n"},
		"held by a child, terminal":  {terminal: true, python: "if os.fork() == 0:\n    signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(1000)\nprint('parent ends')", want: store.StatusExited, prints: "parent ends\r\n"},
		"until the kill":             {python: "print('x' * 60000, flush=True)\nos.kill(os.getpid(), 9)", want: store.StatusSignaled, signal: "SIGKILL", prints: xs(60000) + "\n"},
		"until the limit":            {python: "print('x' * 60000, flush=True)\ntime.sleep(1000)", limits: wall, want: store.StatusTimeout, prints: xs(60000) + "\n"},
		"input that nobody reads":    {bash: "sleep 0.2; echo done", stdin: xs(mib), want: store.StatusExited, prints: "done\n"},
		"input read by all":          {bash: "for i in 1 2 3 4; do cat > /dev/null & done; wait; echo done", stdin: xs(mib), want: store.StatusExited, prints: "done\n"},
		"streams made non-blocking":  {python: "import fcntl\nfor f in 0, 1, 2: fcntl.fcntl(f, fcntl.F_SETFL, os.O_NONBLOCK)\nfor i in range(2000):\n    try: os.write(1, b'x' * 100)\n    except BlockingIOError: pass\nos.write(2, b'end')", want: store.StatusExited},
		"streams made huge and tiny": {python: "import fcntl\nattempt('size', lambda: fcntl.fcntl(1, 1031, 1 << 30))\nfcntl.fcntl(1, 1031, 4096)\nprint('x' * 100000)", want: store.StatusExited, has: []string{"size E", xs(100000)}},
		"reading its output":         {python: "attempt('read', lambda: os.read(1, 1))\nattempt('seek', lambda: os.lseek(1, 0, 0))\nattempt('truncate', lambda: os.ftruncate(1, 0))", want: store.StatusExited, prints: "read EBADF\nseek ESPIPE\ntruncate EINVAL\n"},
		"typing for others": {terminal: true, python: `
import fcntl, termios
for request in 0x5412, 0x100005412, 0xffffffff00005412:
    attempt('TIOCSTI', lambda: call(16, 0, request, b'x'))
for request in 0x541c, 0x10000541c:
    attempt('TIOCLINUX', lambda: call(16, 0, request, b'\x03'))
attempt('console', lambda: call(16, 0, 0x541d))
attempt('steal', lambda: call(16, 0, 0x540e, 1))
attempt('packet mode', lambda: fcntl.ioctl(0, 0x5420, struct.pack('i', 1)))
attempt('line discipline', lambda: fcntl.ioctl(0, 0x5423, struct.pack('i', 15)))
attempt('exclusive', lambda: fcntl.ioctl(0, 0x540c))`, want: store.StatusExited,
			has: []string{"TIOCSTI EPERM\r\nTIOCSTI EPERM\r\nTIOCSTI EPERM\r\nTIOCLINUX EPERM\r\nTIOCLINUX EPERM\r\nconsole E", "line discipline E"}},
	})
}
