# A program that notices what is done to it, in a box beside those of the attacks. To
# "look" it answers whether it finds all as it was and can do what it could: what it
# tries takes what the kernel counts for many boxes together.
import ctypes
import errno
import fcntl
import hashlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
NAME = b'corun-abuse-was-here'   # attacks use the same

def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), '')
    return result


received = []
for s in range(1, signal.NSIG):
    if s not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33):
        signal.signal(s, lambda number, frame: received.append(number))

secret = os.urandom(1 << 20)
memory = bytearray(secret)
for path in '/work/own', '/tmp/own', '/dev/shm/own':
    with open(path, 'wb') as f:
        f.write(secret)

listeners = [socket.socket(socket.AF_INET), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
listeners[0].bind(('127.0.0.1', 7777))
listeners[1].bind(b'\0' + NAME)
listeners[2].bind(('127.0.0.1', 7777))
for l in listeners[:2]:
    l.listen()

KEY = 0x636f7275
libc.shmat.restype = ctypes.c_void_p
shm = libc.shmget(KEY, 4096, 0o1666)
shm_at = libc.shmat(shm, None, 0)
ctypes.memmove(shm_at, secret, 64)
sem = libc.semget(KEY, 1, 0o1666)
msg = libc.msgget(KEY, 0o1666)
SMALL = (ctypes.c_long * 8)(0, 4, 64)  # of a queue: its flags, messages and their size
mq = libc.mq_open(b'/' + NAME, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o666, SMALL)
if -1 in (shm, sem, msg, mq):
    raise RuntimeError('no IPC', shm, sem, msg, mq)

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMAX])  # in all threads; see try_signal
watcher = checked(libc.inotify_init1(os.O_NONBLOCK))
ticks = 0


def tick():
    global ticks
    while True:
        time.sleep(0.02)
        ticks += 1


threading.Thread(target=tick, daemon=True).start()


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def text(path):
    with open(path) as f:
        return f.read()


def queued(queue, size):
    n = libc.msgrcv(queue, ctypes.create_string_buffer(size + 8), size, 0, 0o4000)
    return n


def tasks():
    # A thread that was joined can be a moment from its end.
    for _ in range(500):
        if (n := len(os.listdir('/proc/self/task'))) == threading.active_count():
            break
        time.sleep(0.01)
    return n


def facts():
    return {
        'pids': sorted(int(p) for p in os.listdir('/proc') if p.isdigit()),
        'files': {p: digest(p) for p in ('/work/own', '/tmp/own', '/dev/shm/own')},
        'folders': {p: sorted(os.listdir(p)) for p in ('/', '/work', '/tmp', '/dev', '/dev/shm', '/dev/pts', '/usr/bin')},
        'memory': hashlib.sha256(memory).hexdigest(),
        'signals': received,
        'environment': dict(os.environ),
        'folder': os.getcwd(),
        'host': socket.gethostname(),
        'ids': os.getresuid() + os.getresgid() + tuple(os.getgroups()),
        'mounts': text('/proc/self/mountinfo'),
        'cgroup': text('/proc/self/cgroup'),
        'status': [l for l in text('/proc/self/status').splitlines()
                   if l.startswith(('Cap', 'Sig', 'Shd', 'NoNew', 'Seccomp', 'TracerPid'))],
        'priority': [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), text('/proc/self/oom_score_adj')],
        'limits': [resource.getrlimit(r) for r in range(16)],
        'session': [os.getpgrp(), os.getsid(0)],
        'descriptors': sorted(os.listdir('/proc/self/fd')),
        'connections': len(select.select(listeners, [], [], 0)[0]),
        'shared': [ctypes.string_at(shm_at, 64).hex(), libc.semctl(sem, 0, 12), queued(msg, 64),
                   libc.mq_receive(mq, ctypes.create_string_buffer(64), 64, None)],
        'threads': tasks(),
    }


def attempt(call):
    try:
        call()
        return 'OK'
    except OSError as e:
        return os.strerror(e.errno)
    except Exception as e:
        return repr(e)


def try_fork():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 7:
        raise RuntimeError('a child ended otherwise')


def try_thread():
    t = threading.Thread(target=lambda: None)
    t.start()
    t.join()


def try_file():
    with open('/work/try', 'wb') as f:
        f.write(secret)
    os.unlink('/work/try')


def try_pipe():
    r, w = os.pipe()
    os.write(w, b'x')
    os.close(r)
    os.close(w)


def try_socket():
    a, b = socket.socketpair()
    a.sendall(secret[:4096])
    a.close()
    b.close()


def try_loopback():
    with socket.socket() as l, socket.socket() as c:
        l.bind(('127.0.0.1', 0))
        l.listen()
        c.connect(l.getsockname())
        s = l.accept()[0]
        s.sendall(b'x' * 4096)
        s.close()
        while c.recv(4096):
            pass


def try_timer():
    timer = ctypes.c_void_p()
    checked(libc.timer_create(1, None, ctypes.byref(timer)))
    libc.timer_delete(timer)


def try_signal():
    checked(libc.sigqueue(os.getpid(), int(signal.SIGRTMAX), None))
    if signal.sigwaitinfo([signal.SIGRTMAX]).si_signo != signal.SIGRTMAX:
        raise RuntimeError('another signal came')


def try_inotify():
    fd = checked(libc.inotify_init1(0))
    try:
        checked(libc.inotify_add_watch(fd, b'/work', 2))
    finally:
        os.close(fd)


def try_queue():
    name = b'/corun-own'
    fd = checked(libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, SMALL))
    os.close(fd)
    checked(libc.mq_unlink(name))


def try_shm():
    checked(libc.shmctl(checked(libc.shmget(0, 4096, 0o1600)), 0, None))


def try_memfd():
    os.close(os.memfd_create('own'))


def try_epoll():
    select.epoll().close()


GVISOR = 'gvisor' in os.uname().release
# What cannot be had there by anybody: a queue that was made cannot be unlinked.
LACKING = {'try_queue'} if GVISOR else set()


def tries():
    return {name[4:]: attempt(f) for name, f in sorted(globals().items()) if name.startswith('try_') and name not in LACKING}


def lock(path):
    """Whether an exclusive lock can be had now. gVisor has none on what is read-only."""
    def locked():
        fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
    got = attempt(locked)
    return 'OK' if GVISOR and got == os.strerror(errno.ENOLCK) else got


def watch(path):
    """Begins to watch a file."""
    global watched_file
    watched_file = checked(libc.inotify_add_watch(watcher, path.encode(), 0xfff))
    return 'OK'


def watched():
    """What has happened to it, by inotify's numbers, and ends the watch."""
    seen = []
    try:
        events = os.read(watcher, 65536)
    except BlockingIOError:
        events = b''
    while events:
        _, mask, _, length = struct.unpack_from('iIII', events)
        seen.append(mask)
        events = events[16 + length:]
    checked(libc.inotify_rm_watch(watcher, watched_file))
    os.read(watcher, 65536)  # that it ends
    return seen or 'nothing'


def look():
    """What is not as it was, or cannot be done any more."""
    global last
    now = facts()
    wrong = [f'{name} was {first[name]!r}, is {now[name]!r}' for name in first if first[name] != now[name]]
    wrong += [f'it cannot do {name}: {got}' for name, got in tries().items() if got != 'OK']
    if ticks < last:
        wrong.append(f'time runs backwards: {last}, {ticks}')
    last = ticks
    return '; '.join(wrong).replace('\n', ' ') or 'as it was'


last = 0
first = facts()
print('ready', flush=True)
for line in sys.stdin:
    command, *args = line.split()
    print({'look': look, 'lock': lock, 'watch': watch, 'watched': watched}[command](*args), flush=True)
