// The inside of a box: its first process (init) and the process that becomes the
// program (stub). The zygote makes the first by a clone of itself, so that a box
// costs two small processes of one thread and no exec of its own. doc.go says who
// has which privilege and what travels where.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"
#include "protocol.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "boxes are made for amd64 and arm64"
#endif

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

extern char **environ;

struct box_config config;
struct sock_filter filters[BOX_MAX_FILTER];

void report(int fd, const char *step) {
	struct box_report r = {.kind = BOX_FAILED, .value = errno};
	snprintf(r.step, sizeof r.step, "%s", step);
	(void)!write(fd, &r, sizeof r);
	_exit(111);
}

void read_all(int fd, void *buf, size_t n, int errfd, const char *step) {
	for (char *p = buf; n > 0;) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			if (got == 0)
				_exit(0); // the host has gone, or no longer wants this box
			report(errfd, step);
		}
		p += got;
		n -= (size_t)got;
	}
}

// make_root makes the image the root, read-only and without its host mounts, with the
// zygote's small /dev and a /proc of its own. What was around it is the zygote's, which
// has nothing of the host's; it lies upon the new root until leave_zygote.
static void make_root(void) {
	MUST(CONTROL_FD, "mount image", syscall(SYS_move_mount, ROOTFS_FD, "", AT_FDCWD, BOX_IMAGE, MOVE_MOUNT_F_EMPTY_PATH));
	close(ROOTFS_FD);
	// An overlay of its own has files of its own, though not their content: boxes cannot
	// signal each other by locks on the image's files, or watch each other use them, and
	// /proc/self/mountinfo does not say where on the host the image is. It takes two
	// layers (Documentation/filesystems/overlayfs.rst).
	if (mount("overlay", BOX_ROOT, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, "lowerdir=" BOX_IMAGE ":" BOX_EMPTY) < 0) {
		if (errno != ENODEV && errno != EPERM)
			report(CONTROL_FD, "mount root");
		// A kernel without; doctor says so.
		MUST(CONTROL_FD, "mount root", mount(BOX_IMAGE, BOX_ROOT, NULL, MS_BIND, NULL));
	}
	if (config.usr) {
		MUST(CONTROL_FD, "mount /usr", syscall(SYS_move_mount, USR_FD, "", AT_FDCWD, BOX_ROOT "/usr", MOVE_MOUNT_F_EMPTY_PATH));
		close(USR_FD);
	}
	int guest = -1;
	if (config.bundle_length > 0)
		// What the guest has as its root, without what is mounted below from here on.
		MUST(CONTROL_FD, "clone root", guest = (int)syscall(SYS_open_tree, AT_FDCWD, BOX_ROOT, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
	MUST(CONTROL_FD, "mount /dev", syscall(SYS_move_mount, DEVICES_FD, "", AT_FDCWD, BOX_ROOT "/dev", MOVE_MOUNT_F_EMPTY_PATH));
	close(DEVICES_FD);
	if (guest < 0) {
		MUST(CONTROL_FD, "mount /proc", mount("proc", BOX_ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid,hidepid=invisible"));
	} else {
		// For runsc, and not for the program.
		MUST(CONTROL_FD, "mount /proc", mount("proc", BOX_ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
		MUST(CONTROL_FD, "mount /run", mount("tmpfs", BOX_ROOT "/run", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4m,nr_inodes=256,mode=0700"));
		MUST(CONTROL_FD, "make the guest's root", mkdir(BOX_ROOT "/run/rootfs", 0700));
		MUST(CONTROL_FD, "make the guest's root", syscall(SYS_move_mount, guest, "", AT_FDCWD, BOX_ROOT "/run/rootfs", MOVE_MOUNT_F_EMPTY_PATH));
		close(guest);
	}
	MUST(CONTROL_FD, "enter root", chdir(BOX_ROOT));
	MUST(CONTROL_FD, "pivot root", syscall(SYS_pivot_root, ".", "."));
}

// unmount_former unmounts the former root. It is a process of its own, with this one's
// memory: the kernel waits for an RCU grace period in it (fs/namespace.c,
// namespace_unlock), about a quarter of a millisecond, in which init gets on.
static int unmount_former(void *failed) {
	*(volatile int *)failed = umount2(".", MNT_DETACH) < 0 ? errno : 0;
	return 0;
}

// leave_zygote begins to let go of what lies upon the new root, and has_left_zygote
// waits until that is done.
static pid_t leave_zygote(volatile int *failed) {
	static char stack[16384] __attribute__((aligned(16)));
	pid_t leaving = clone(unmount_former, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)failed);
	MUST(CONTROL_FD, "let go of the zygote's root", leaving);
	return leaving;
}

static void has_left_zygote(pid_t leaving, volatile int *failed) {
	int status;
	MUST(CONTROL_FD, "let go of the zygote's root", waitpid(leaving, &status, 0));
	if (status != 0 || *failed != 0) {
		errno = *failed;
		report(CONTROL_FD, "let go of the zygote's root");
	}
	MUST(CONTROL_FD, "enter root", chdir("/"));
}

// bind_scratch shows a folder of the scratch file system at another place.
static void bind_scratch(const char *from, const char *to, mode_t mode, int owner) {
	MUST(CONTROL_FD, from, mkdir(from, mode));
	if (owner)
		MUST(CONTROL_FD, from, chown(from, owner, owner));
	MUST(CONTROL_FD, to, mount(from, to, NULL, MS_BIND, NULL));
}

// mount_scratch gives the box what it can write to: one file system in memory, so that
// its limits are of all together.
void mount_scratch(void) {
	char options[128];
	snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=0755", (unsigned long long)config.scratch_bytes,
	         (unsigned long long)config.scratch_inodes);
	umask(0);
	MUST(CONTROL_FD, "mount scratch", mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options));
	bind_scratch("/tmp/work", "/work", 0755, BOX_UID);
	bind_scratch("/tmp/shm", "/dev/shm", 01777, 0);
	bind_scratch("/tmp/tmp", "/tmp", 01777, 0); // the last: it covers the others' other place
	umask(022);
}

// set_capabilities leaves this process only those of the mask.
void set_capabilities(int fd, uint32_t mask) {
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = mask, .permitted = mask}};
	MUST(fd, "drop ambient capabilities", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	MUST(fd, "drop capabilities", syscall(SYS_capset, &header, data));
}

void drop_bounding_set(int fd) {
	for (int cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return; // past the last that this kernel knows
			report(fd, "drop the bounding set");
		}
}

// load_filters puts the program's seccomp filters in force, for good.
static void load_filters(int fd) {
	size_t at = 0;
	MUST(fd, "set no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	for (size_t i = 0; i < BOX_FILTERS; i++) {
		struct sock_fprog program = {.len = config.filter_lengths[i], .filter = filters + at};
		at += config.filter_lengths[i];
		if (program.len > 0)
			MUST(fd, "load seccomp filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	}
}

// confine leaves init the calls of supervise; any other kills it, and the box with it.
void confine(void) {
#define ALLOW(call) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_poll
		ALLOW(poll),
#endif
		ALLOW(ppoll), ALLOW(read), ALLOW(write), ALLOW(wait4), ALLOW(kill), ALLOW(ioctl),
		ALLOW(restart_syscall), ALLOW(rt_sigreturn), ALLOW(exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
#undef ALLOW
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	MUST(CONTROL_FD, "set no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(CONTROL_FD, "confine init", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void set_limit(int resource, uint64_t value, const char *step) {
	struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
	MUST(COMMAND_FD, step, setrlimit(resource, &limit));
}

// A cursor over the command that the host sent. The host is trusted; lengths are
// checked all the same.
struct cursor {
	char *at, *end;
};

static char *take(struct cursor *c, size_t n) {
	if ((size_t)(c->end - c->at) < n) {
		errno = EBADMSG;
		report(COMMAND_FD, "read command");
	}
	char *p = c->at;
	c->at += n;
	return p;
}

static uint32_t take_u32(struct cursor *c) {
	uint32_t n;
	memcpy(&n, take(c, sizeof n), sizeof n);
	return n;
}

// take_string gives a string; the host writes each with its terminating zero.
static char *take_string(struct cursor *c) {
	uint32_t n = take_u32(c);
	char *s = take(c, n);
	if (n == 0 || s[n - 1] != 0) {
		errno = EBADMSG;
		report(COMMAND_FD, "read command");
	}
	return s;
}

static char **take_strings(struct cursor *c) {
	uint32_t n = take_u32(c);
	char **list = calloc((size_t)n + 1, sizeof *list);
	if (!list)
		report(COMMAND_FD, "read command");
	for (uint32_t i = 0; i < n; i++)
		list[i] = take_string(c);
	return list;
}

// write_file puts one source file below the working directory, with the folders
// on its path.
static void write_file(char *path, uint32_t mode, const char *data, size_t n) {
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			report(COMMAND_FD, "make a folder for the program");
		*slash = '/';
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	MUST(COMMAND_FD, "create a file of the program", fd);
	while (n > 0) {
		ssize_t put = write(fd, data, n);
		if (put < 0)
			report(COMMAND_FD, "write a file of the program");
		data += put;
		n -= (size_t)put;
	}
	close(fd);
}

// start_of_command is a command's first message: how long what follows is, and whether that
// is in a file that comes with it.
struct start_of_command {
	uint32_t length, in_file;
};

// receive_start waits for the command's first message, which carries, for pipes, the
// program's three descriptors, and then that of the file, if there is one.
static struct start_of_command receive_start(int stdio[3], int *count, int *file) {
	struct start_of_command start = {0, 0};
	struct iovec iov = {.iov_base = &start, .iov_len = sizeof start};
	union {
		char space[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;
	do
		n = recvmsg(COMMAND_FD, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		_exit(0); // the box is not wanted any more
	if (n != sizeof start)
		report(COMMAND_FD, "receive command");
	int all[4];
	*count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			*count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(all, CMSG_DATA(c), (size_t)*count * sizeof(int));
		}
	if (start.in_file) {
		if (*count < 1) {
			errno = EBADF;
			report(COMMAND_FD, "receive command");
		}
		*file = all[--*count];
	}
	if (*count > 3) {
		errno = EBADMSG;
		report(COMMAND_FD, "receive command");
	}
	memcpy(stdio, all, (size_t)*count * sizeof(int));
	return start;
}

// A command as the host sends it; its texts are in the message.
struct command {
	uint32_t terminal, seconds; // whether there is one; of processor time
	struct winsize size;
	uint32_t warm; // whether it starts a runtime ahead
	char *dir, **argv, **envp;
	struct cursor files;
};

// receive_command waits for a command and, for pipes, the program's three descriptors.
static struct command receive_command(int stdio[3], int *count, int gate) {
	int file;
	struct start_of_command start = receive_start(stdio, count, &file);
	uint32_t length = start.length;
	char *message;
	if (start.in_file) {
		// Private: paths are written to for a moment.
		message = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
		if (message == MAP_FAILED)
			report(COMMAND_FD, "map command");
		close(file);
	} else {
		if (!(message = malloc(length)))
			report(COMMAND_FD, "receive command");
		read_all(COMMAND_FD, message, length, COMMAND_FD, "receive command");
	}
	char left;
	if (gate >= 0 && read(gate, &left, 1) != 0)
		report(COMMAND_FD, "wait for init");
	struct cursor c = {message, message + length};
	struct command command = {.terminal = take_u32(&c), .seconds = take_u32(&c)};
	command.size.ws_col = (unsigned short)take_u32(&c);
	command.size.ws_row = (unsigned short)take_u32(&c);
	command.warm = take_u32(&c);
	command.dir = take_string(&c);
	command.argv = take_strings(&c);
	command.envp = take_strings(&c);
	command.files = c;
	return command;
}

static void write_files(struct cursor c) {
	for (uint32_t files = take_u32(&c); files > 0; files--) {
		char *path = take_string(&c);
		uint32_t mode = take_u32(&c), n = take_u32(&c);
		write_file(path, mode, take(&c, n), n);
	}
}

// porter waits beside a runtime that was started ahead: it tells the host when that is
// ready, takes the one command, writes the files and hands over entry and arguments. It
// has no more rights than the program, and has ended when that begins: the runtime reads
// to the end of the socket.
static void porter(int runtime, int slave) {
	char byte;
	ssize_t n;
	MUST(COMMAND_FD, "begin a session", setsid()); // keys and signals are the runtime's
	do
		n = read(runtime, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) {
		errno = ECHILD;
		report(COMMAND_FD, "start the runtime ahead");
	}
	struct box_report ready = {.kind = BOX_READY};
	MUST(COMMAND_FD, "say that the runtime is ready", write(COMMAND_FD, &ready, sizeof ready));
	int none[3], count;
	struct command command = receive_command(none, &count, -1);
	write_files(command.files);
	if (command.terminal)
		MUST(COMMAND_FD, "size the terminal", ioctl(slave, TIOCSWINSZ, &command.size));
	MUST(COMMAND_FD, "say that the program begins", write(COMMAND_FD, &ready, sizeof ready));
	for (char **arg = command.argv; *arg; arg++)
		for (size_t left = strlen(*arg) + 1; left > 0; left -= (size_t)n) {
			n = send(runtime, *arg + strlen(*arg) + 1 - left, left, MSG_NOSIGNAL);
			if (n < 0)
				_exit(0); // the runtime has gone, which init tells the host
		}
	_exit(0);
}

// await_program leaves a porter behind, which is nobody's child but init's: a program
// has no children that it has not made.
static void await_program(int slave) {
	int ends[2];
	MUST(COMMAND_FD, "make a socket pair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	pid_t parent = fork();
	MUST(COMMAND_FD, "fork", parent);
	if (parent == 0) {
		pid_t child = fork();
		MUST(COMMAND_FD, "fork", child);
		if (child > 0)
			_exit(0);
		// What it has of the program's would keep that from seeing its streams end.
		const int have[] = {ends[0], COMMAND_FD, slave};
		enum { FIRST = 5 };
		place_descriptors(COMMAND_FD, have, (const int[]){FIRST, COMMAND_FD, FIRST + 1}, 3, O_CLOEXEC);
		for (int i = 0; i < COMMAND_FD; i++)
			close(i);
		MUST(COMMAND_FD, "close descriptors", syscall(SYS_close_range, FIRST + 2, ~0U, 0));
		porter(FIRST, FIRST + 1);
	}
	int status;
	while (waitpid(parent, &status, 0) < 0 && errno == EINTR)
		;
	close(ends[0]);
	MUST(COMMAND_FD, "place the runtime's socket", dup2(ends[1], WARM_FD));
	close(ends[1]);
}

// stub waits for a command and becomes the program, or a runtime that waits for its
// program. It has no privilege left.
static void stub(int slave, int gate, void (*streams)(int stdio[3])) {
	prctl(PR_SET_NAME, "box");
	sigset_t none;
	sigemptyset(&none);
	MUST(COMMAND_FD, "unblock signals", sigprocmask(SIG_SETMASK, &none, NULL)); // init's
	MUST(COMMAND_FD, "begin a session", setsid());
	set_limit(RLIMIT_CORE, config.core_bytes, "limit core files");
	set_limit(RLIMIT_NOFILE, config.open_files, "limit open files");
	set_limit(RLIMIT_FSIZE, config.file_bytes, "limit file size");
	set_limit(RLIMIT_MEMLOCK, 65536, "limit locked memory");
	if (config.bundle_length == 0) { // gVisor has no such limits, nor what they are of
		set_limit(RLIMIT_MSGQUEUE, 819200, "limit message queues"); // as Linux has it; a queue takes 80 KiB
		set_limit(RLIMIT_RTPRIO, 0, "limit priority");
	}
	if (config.own_limits) {
		// Counted in the box's user namespace alone (since Linux 5.14), init where it has
		// the program's uid.
		set_limit(RLIMIT_NPROC, config.processes + (config.shared ? 1 : 0), "limit processes");
		set_limit(RLIMIT_DATA, config.data_bytes, "limit data");
	}
	if (!config.shared)
		MUST(COMMAND_FD, "drop groups", setgroups(0, NULL));
	MUST(COMMAND_FD, "become the box's user", setresgid(BOX_UID, BOX_UID, BOX_UID));
	MUST(COMMAND_FD, "become the box's user", setresuid(BOX_UID, BOX_UID, BOX_UID));
	set_capabilities(COMMAND_FD, 0);
	umask(022);
	MUST(COMMAND_FD, "enter /work", chdir("/work"));
	load_filters(COMMAND_FD);
	struct box_report ready = {.kind = BOX_READY};
	MUST(COMMAND_FD, "say ready", write(COMMAND_FD, &ready, sizeof ready));

	int stdio[3], count;
	struct command command = receive_command(stdio, &count, gate);
	write_files(command.files);
	if (config.own_limits && command.seconds > 0) {
		// SIGXCPU first, which tells why; then SIGKILL.
		struct rlimit cpu = {.rlim_cur = command.seconds, .rlim_max = command.seconds + 1};
		MUST(COMMAND_FD, "limit processor time", setrlimit(RLIMIT_CPU, &cpu));
	}
	if (command.terminal) {
		MUST(COMMAND_FD, "take the terminal", ioctl(slave, TIOCSCTTY, 0));
		MUST(COMMAND_FD, "size the terminal", ioctl(slave, TIOCSWINSZ, &command.size));
		stdio[0] = stdio[1] = stdio[2] = slave;
	} else if (count != 3) {
		errno = EBADF;
		report(COMMAND_FD, "receive descriptors");
	} else if (streams) {
		streams(stdio);
	}
	for (int i = 0; i < 3; i++)
		MUST(COMMAND_FD, "set up descriptors", dup2(stdio[i], i));
	if (command.warm)
		await_program(slave);
	// All others go with the exec, the command socket too: that tells the host
	// that the program runs.
	MUST(COMMAND_FD, "close descriptors", syscall(SYS_close_range, 3, WARM_FD - 1, CLOSE_RANGE_CLOEXEC));
	MUST(COMMAND_FD, "close descriptors", syscall(SYS_close_range, WARM_FD + (command.warm ? 1 : 0), ~0U, CLOSE_RANGE_CLOEXEC));
	MUST(COMMAND_FD, "enter the program's folder", chdir(command.dir));
	environ = command.envp;
	// With the socket's end this tells an exec from a box that was killed.
	if (!command.warm)
		MUST(COMMAND_FD, "say that the program begins", write(COMMAND_FD, &ready, sizeof ready));
	execvp(command.argv[0], command.argv);
	report(COMMAND_FD, "execute the program");
}

// deliver sends a signal to the program: in a terminal to the group in front.
void deliver(pid_t program, int master, const struct box_signal *s) {
	if (s->number == 0) {
		struct winsize size = {.ws_col = (unsigned short)s->cols, .ws_row = (unsigned short)s->rows};
		(void)!ioctl(master, TIOCSWINSZ, &size); // fails on no terminal alone
		return;
	}
	pid_t group = 0;
	if (!s->terminal || ioctl(master, TIOCGPGRP, &group) < 0 || group <= 1)
		group = program;
	kill(-group, s->number); // it may have gone
}

// supervise is init's life: it reaps what dies, tells the host how the program
// ended and passes signals on. When the host goes away it ends, and the kernel
// ends everything in the box with it.
static void supervise(pid_t program, int master, int signals) {
	for (;;) {
		struct pollfd fds[2] = {{.fd = CONTROL_FD, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			_exit(112);
		}
		if (fds[1].revents) {
			struct signalfd_siginfo drop;
			(void)!read(signals, &drop, sizeof drop);
			int status;
			for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
				if (pid == program) {
					struct box_report r = {.kind = BOX_EXITED, .value = status};
					(void)!write(CONTROL_FD, &r, sizeof r);
					program = 0;
				}
		}
		if (fds[0].revents) {
			struct box_signal s;
			ssize_t n = read(CONTROL_FD, &s, sizeof s);
			if (n == 0 || (n < 0 && errno != EINTR))
				_exit(0);
			if (n == sizeof s && program > 0)
				deliver(program, master, &s);
		}
	}
}

// send_ends gives the host the terminal's other side and the folder that programs work
// in, which the host can read when the box is gone.
void send_ends(int master, int work) {
	int ends[2] = {master, work};
	struct box_report r = {.kind = BOX_READY};
	struct iovec iov = {.iov_base = &r, .iov_len = sizeof r};
	union {
		char space[CMSG_SPACE(sizeof ends)];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof ends);
	memcpy(CMSG_DATA(c), ends, sizeof ends);
	MUST(CONTROL_FD, "send the terminal", sendmsg(CONTROL_FD, &msg, 0));
}

void read_filters(int fd) {
	size_t total = 0;
	for (size_t i = 0; i < BOX_FILTERS; i++)
		total += config.filter_lengths[i];
	if (total > BOX_MAX_FILTER) {
		errno = E2BIG;
		report(CONTROL_FD, "receive seccomp filters");
	}
	read_all(fd, filters, total * sizeof *filters, CONTROL_FD, "receive seccomp filters");
}

void place_descriptors(int errfd, const int *have, const int *want, int n, int flags) {
	int away[8];
	for (int i = 0; i < n; i++)
		MUST(errfd, "place descriptors", away[i] = fcntl(have[i], F_DUPFD_CLOEXEC, 64));
	for (int i = 0; i < n; i++) {
		if (dup3(away[i], want[i], flags) < 0)
			_exit(111); // errfd may be another's by now
		close(away[i]);
	}
}

// await_own_ids waits until the host says that this process's uids have been mapped.
static void await_own_ids(void) {
	char mapped;
	ssize_t n;
	do
		n = read(CONTROL_FD, &mapped, 1);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		_exit(0); // no box is wanted
	MUST(CONTROL_FD, "wait for uids", n);
}

// receive_config waits for the configuration, with which the box's mounts come.
static void receive_config(void) {
	struct iovec iov = {.iov_base = &config, .iov_len = sizeof config};
	union {
		char space[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;
	do
		n = recvmsg(CONTROL_FD, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		_exit(0); // no box is wanted
	MUST(CONTROL_FD, "receive configuration", n);
	read_all(CONTROL_FD, (char *)&config + n, sizeof config - (size_t)n, CONTROL_FD, "receive configuration");
	int mounts[4], want[4], count = 0, expected = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(mounts, CMSG_DATA(c), (size_t)count * sizeof(int));
		}
	want[expected++] = ROOTFS_FD;
	if (config.usr)
		want[expected++] = USR_FD;
	if (config.bundle_length > 0)
		want[expected++] = RUNSC_FD, want[expected++] = GUEST_FD;
	if (count != expected) {
		errno = EBADF;
		report(CONTROL_FD, "receive the box's mounts");
	}
	// They came wherever there was place, which may be each other's.
	for (int i = 0, high; i < count; i++, mounts[i - 1] = high) {
		MUST(CONTROL_FD, "place descriptors", high = fcntl(mounts[i], F_DUPFD_CLOEXEC, 128));
		close(mounts[i]);
	}
	place_descriptors(CONTROL_FD, mounts, want, count, O_CLOEXEC);
	for (int i = 0; i < count; i++)
		close(mounts[i]);
}

void open_terminal(int *master, int *slave) {
	int number = 0, unlocked = 0;
	*master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	MUST(CONTROL_FD, "open a terminal", *master);
	MUST(CONTROL_FD, "unlock the terminal", ioctl(*master, TIOCSPTLCK, &unlocked));
	MUST(CONTROL_FD, "number the terminal", ioctl(*master, TIOCGPTN, &number));
	char name[32];
	snprintf(name, sizeof name, "/dev/pts/%d", number);
	*slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	MUST(CONTROL_FD, "open the terminal's inner side", *slave);
	MUST(CONTROL_FD, "give the terminal away", fchown(*slave, BOX_UID, -1));
}

int watch_children(void) {
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	MUST(CONTROL_FD, "block signals", sigprocmask(SIG_BLOCK, &child, NULL));
	int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	MUST(CONTROL_FD, "watch for signals", signals);
	return signals;
}

pid_t start_stub(const struct start *how) {
	pid_t program = fork();
	MUST(CONTROL_FD, "fork", program);
	if (program == 0) {
		close(CONTROL_FD);
		close(how->signals);
		close(how->master);
		if (how->begin)
			how->begin();
		if (how->gate)
			close(how->gate[1]);
		stub(how->slave, how->gate ? how->gate[0] : -1, how->streams);
	}
	close(COMMAND_FD);
	// The terminal's inner side stays open here: its other side would end for good when a
	// program closes all it has of it for a moment, and its number would be free for another.
	if (how->gate)
		close(how->gate[0]);
	return program;
}

// box_init is the life of a box's first process, from when the zygote has made it.
void box_init(int shared) {
	prctl(PR_SET_NAME, "box-init");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	// What it has of the zygote's is no business of a box.
	MUST(CONTROL_FD, "close descriptors", syscall(SYS_close_range, DEVICES_FD + 1, ~0U, 0));
	close(ROOTFS_FD);
	close(USR_FD);
	// It is to be nobody's on the host before it waits for what may come much later.
	await_own_ids();
	MUST(CONTROL_FD, "begin a session", setsid());
	if (!shared) { // else there is no root to become, and groups cannot be dropped
		MUST(CONTROL_FD, "drop groups", setgroups(0, NULL));
		MUST(CONTROL_FD, "become the box's root", setresgid(0, 0, 0));
		MUST(CONTROL_FD, "become the box's root", setresuid(0, 0, 0));
	}
	MUST(CONTROL_FD, "enter a cgroup namespace", unshare(CLONE_NEWCGROUP));
	receive_config();
	// For runsc, too, and what it starts on the host.
	MUST(CONTROL_FD, "limit core files", setrlimit(RLIMIT_CORE, &(struct rlimit){config.core_bytes, config.core_bytes}));
	read_filters(CONTROL_FD);
	char *bundle = NULL;
	if (config.bundle_length > 0) {
		if (!(bundle = malloc(config.bundle_length)))
			report(CONTROL_FD, "receive the bundle");
		read_all(CONTROL_FD, bundle, config.bundle_length, CONTROL_FD, "receive the bundle");
	}

	MUST(CONTROL_FD, "set hostname", sethostname(config.hostname, strnlen(config.hostname, sizeof config.hostname)));
	make_root();
	volatile int failed = 0;
	pid_t leaving = leave_zygote(&failed);
	if (bundle) {
		has_left_zygote(leaving, &failed);
		guard(bundle);
	}
	mount_scratch();
	// The program gets no terminals of its own: what is written to one's outer side is
	// echoed by a worker of the kernel's (drivers/tty/tty_buffer.c), whose processor time is
	// charged to no cgroup, and all machine's terminals are counted together. There is one
	// number (max=0 would mean that all are there), which this process takes here and keeps,
	// by both sides, to its end; the host has it until the box is gone.
	MUST(CONTROL_FD, "mount /dev/pts", mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max=1"));

	int master, slave, gate[2];
	open_terminal(&master, &slave);
	int signals = watch_children();
	drop_bounding_set(CONTROL_FD); // the program's as well
	MUST(CONTROL_FD, "make a pipe", pipe2(gate, O_CLOEXEC));
	int alone = config.processes < 2; // then there is no place beside the program
	if (alone)
		has_left_zygote(leaving, &failed);
	pid_t program = start_stub(&(struct start){master, slave, signals, gate, NULL, NULL});
	// To pass signals on to a process of another user.
	set_capabilities(CONTROL_FD, 1u << CAP_KILL);
	int work = open("/work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(CONTROL_FD, "open /work", work);
	send_ends(master, work); // which says that all is in place
	close(work);
	// But for this, for which the host need not wait, but the program.
	if (!alone)
		has_left_zygote(leaving, &failed);
	close(gate[1]);
	confine();
	supervise(program, master, signals);
}
