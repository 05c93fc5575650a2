// The zygote: a process of one thread and a few pages that makes the boxes' first
// processes by cloning itself. It is this same executable, recognised by its argv[0]
// before the Go runtime starts. An exec of the whole executable for each box would
// cost a millisecond, and the Go runtime cannot clone itself without one.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#ifndef FSOPEN_CLOEXEC
#include <linux/mount.h> // for what glibc has since 2.36
#endif

#include "init.h"
#include "protocol.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

#define ZYGOTE_ROOT "/tmp" // where its root is built; any folder that every host has

enum { BOX_SOCKETS = 2, MOST_FDS = BOX_SOCKETS + BOX_GROUPS };

// become_box is the first that a clone does: it enters its cgroup and has its
// descriptors where a box expects them.
static void become_box(const struct box_request *q, const int *fds, int count, int devices) {
	int control = fds[0];
	signal(SIGCHLD, SIG_DFL); // it waits for its children
	// With version 1 each process enters by its own hand: a zero in "tasks" moves the
	// thread that writes, and that takes no lock of the whole system and waits for no
	// RCU grace period, as a pid in "cgroup.procs" does (milliseconds; kernel/cgroup/
	// cgroup.c, cgroup_procs_write_start).
	if (!q->unified)
		for (int i = BOX_SOCKETS; i < count; i++)
			MUST(control, "enter the box's cgroup", write(fds[i], "0", 1));
	const int have[] = {control, fds[1], devices}, want[] = {CONTROL_FD, COMMAND_FD, DEVICES_FD};
	place_descriptors(control, have, want, 3, O_CLOEXEC);
	box_init(q->shared != 0);
	_exit(113);
}

static int put(pid_t pid, const char *file, const char *text) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int failed = errno;
	close(fd);
	errno = failed;
	return n < 0 ? -1 : 0;
}

// map gives a box its uids and gids. Where init and the program share one, init is not
// the box's root by its uid: it has what the clone gave it, and changes to no other.
static int map(pid_t pid, const struct box_request *q) {
	char ids[96];
	if (q->gvisor) // the sentry is nobody: gvisor.c
		snprintf(ids, sizeof ids, "0 %u 1\n65534 %u 1\n", q->uid, q->uid + 1);
	else if (q->shared)
		snprintf(ids, sizeof ids, "%d %u 1\n", BOX_UID, q->uid);
	else
		snprintf(ids, sizeof ids, "0 %u 1\n%d %u 1\n", q->uid, BOX_UID, q->uid + 1);
	return put(pid, "uid_map", ids) < 0 || put(pid, "gid_map", ids) < 0 ? -1 : 0;
}

// receive gives the number of descriptors that came with a request, or ends the
// process when the launcher has gone.
static int receive(struct box_request *q, int fds[MOST_FDS]) {
	struct iovec iov = {.iov_base = q, .iov_len = sizeof *q};
	union {
		char space[CMSG_SPACE(MOST_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;
	do
		n = recvmsg(ZYGOTE_FD, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		_exit(n == 0 ? 0 : 112);
	int count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), (size_t)count * sizeof(int));
		}
	if (n != sizeof *q || q->groups > BOX_GROUPS || count != BOX_SOCKETS + (int)q->groups)
		_exit(112); // the launcher is of the same executable: this is no request of its
	return count;
}

// answer tells the launcher what came of a request, with the process's pidfd.
static void answer(int pidfd, const char *failed, int error) {
	struct box_report r = {.kind = failed ? BOX_FAILED : BOX_READY, .value = error};
	if (failed)
		snprintf(r.step, sizeof r.step, "%s", failed);
	struct iovec iov = {.iov_base = &r, .iov_len = sizeof r};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	if (pidfd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof control.space;
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pidfd, sizeof pidfd);
	}
	if (sendmsg(ZYGOTE_FD, &msg, MSG_NOSIGNAL) < 0)
		_exit(0); // the launcher has gone
}

// make makes one box's first process, which will have devices as its /dev.
static void make(const struct box_request *q, const int *fds, int count, int devices) {
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	if (q->unified && q->groups > 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)fds[count - 1];
	}
	// What the kernel counts for a user (signals, timers, inotify, message queues) it
	// counts for the owner of the box's user namespace, too (kernel/ucount.c): each box
	// has an owner of its own, so that it cannot use up what is others'. Files are still
	// root's to write, of which the cgroup is one.
	MUST(ZYGOTE_FD, "become the box's owner", syscall(SYS_setresuid, -1, q->uid, -1));
	setfsuid(0);
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		become_box(q, fds, count, devices);
	int failed = errno;
	MUST(ZYGOTE_FD, "be root again", syscall(SYS_setresuid, -1, 0, -1));
	if (pid < 0) {
		answer(-1, "clone the box's init", failed);
		return;
	}
	// It waits for the launcher, which goes on after the answer.
	if (map(pid, q) < 0) {
		failed = errno;
		kill(pid, SIGKILL);
		answer(-1, "map the box's uids", failed);
	} else {
		answer(pidfd, NULL, 0);
	}
	close(pidfd);
}

static const struct {
	const char *name;
	unsigned major, minor; // Documentation/admin-guide/devices.txt
} devices[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

// fill_devices makes in a folder what a /dev has besides device files.
static void fill_devices(int dir) {
	static const char *links[][2] = {{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"},
		{"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}};
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		MUST(ZYGOTE_FD, links[i][1], symlinkat(links[i][0], dir, links[i][1]));
	MUST(ZYGOTE_FD, "make /dev/pts", mkdirat(dir, "pts", 0755));
	MUST(ZYGOTE_FD, "make /dev/shm", mkdirat(dir, "shm", 0755));
}

// borrow_devices makes a /dev of the host's device files: a user namespace can make none
// of its own (mknod(2)). Read-only, as whoever may write to the device could set the
// file's times.
static void borrow_devices(const char *path) {
	MUST(ZYGOTE_FD, "mount /dev", mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=64,mode=0755"));
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	MUST(ZYGOTE_FD, "open /dev", dir);
	fill_devices(dir);
	close(dir);
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
		char host[64], own[64];
		snprintf(host, sizeof host, "/dev/%s", devices[i].name);
		snprintf(own, sizeof own, "%s/%s", path, devices[i].name);
		int fd = open(own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		MUST(ZYGOTE_FD, own, fd);
		close(fd);
		MUST(ZYGOTE_FD, own, mount(host, own, NULL, MS_BIND, NULL));
		MUST(ZYGOTE_FD, own, mount(NULL, own, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL));
	}
	MUST(ZYGOTE_FD, "seal /dev", mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NOATIME, NULL));
}

// next_devices makes a /dev for the next box, mounted nowhere yet. Each has its own, so
// that a lock or a watch on a file of it is no other's.
static int next_devices(int borrowed) {
	if (borrowed) {
		int fd = (int)syscall(SYS_open_tree, AT_FDCWD, BOX_DEVICES, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		MUST(ZYGOTE_FD, "clone /dev", fd);
		return fd;
	}
	static const char *options[][2] = {{"size", "64k"}, {"nr_inodes", "64"}, {"mode", "0755"}};
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	MUST(ZYGOTE_FD, "make /dev", fs);
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		MUST(ZYGOTE_FD, "make /dev", syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0));
	MUST(ZYGOTE_FD, "make /dev", syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int dir = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	MUST(ZYGOTE_FD, "make /dev", dir);
	close(fs);
	umask(0);
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
		MUST(ZYGOTE_FD, devices[i].name, mknodat(dir, devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
	fill_devices(dir);
	umask(022);
	struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY};
	MUST(ZYGOTE_FD, "seal /dev", syscall(SYS_mount_setattr, dir, "", AT_EMPTY_PATH, &sealed, sizeof sealed));
	return dir;
}

// What a zygote that is not the host's root makes do with.
struct surroundings {
	int within;   // a user namespace within that of the processes that /proc shows: the /proc is the one that was there, with what is mounted upon it
	int borrowed; // the host's device files, as no others can be made
};

// prepare_root gives the zygote a root of its own, in which boxes are built: so that a
// box never has had anything of the host's, and a clone has few mounts to copy. It has
// a whole /proc, as the kernel lets a box mount one only beside that
// (fs/namespace.c, mount_too_revealing), and it is where uids are mapped.
static struct surroundings prepare_root(void) {
	struct surroundings here = {0};
	umask(0);
	MUST(ZYGOTE_FD, "enter a mount namespace", unshare(CLONE_NEWNS));
	MUST(ZYGOTE_FD, "make mounts private", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(ZYGOTE_FD, "mount a root", mount("tmpfs", ZYGOTE_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=16,mode=0755"));
	MUST(ZYGOTE_FD, "make a root", mkdir(ZYGOTE_ROOT BOX_IMAGE, 0755));
	MUST(ZYGOTE_FD, "make a root", mkdir(ZYGOTE_ROOT BOX_EMPTY, 0755));
	MUST(ZYGOTE_FD, "make a root", mkdir(ZYGOTE_ROOT BOX_ROOT, 0755));
	MUST(ZYGOTE_FD, "make a root", mkdir(ZYGOTE_ROOT BOX_DEVICES, 0755));
	MUST(ZYGOTE_FD, "make a root", mkdir(ZYGOTE_ROOT "/proc", 0755));
	if (mknod(ZYGOTE_ROOT "/null", S_IFCHR | 0600, makedev(devices[0].major, devices[0].minor)) == 0) {
		MUST(ZYGOTE_FD, "make a root", unlink(ZYGOTE_ROOT "/null"));
	} else {
		if (errno != EPERM)
			report(ZYGOTE_FD, "make a device file");
		here.borrowed = 1;
		borrow_devices(ZYGOTE_ROOT BOX_DEVICES);
	}
	if (mount("proc", ZYGOTE_ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
		if (errno != EPERM)
			report(ZYGOTE_FD, "mount /proc");
		here.within = 1;
		MUST(ZYGOTE_FD, "mount /proc", mount("/proc", ZYGOTE_ROOT "/proc", NULL, MS_BIND | MS_REC, NULL));
	}
	MUST(ZYGOTE_FD, "enter the root", chdir(ZYGOTE_ROOT));
	MUST(ZYGOTE_FD, "pivot root", syscall(SYS_pivot_root, ".", "."));
	MUST(ZYGOTE_FD, "let go of the host", umount2(".", MNT_DETACH));
	MUST(ZYGOTE_FD, "enter the root", chdir("/"));
	MUST(ZYGOTE_FD, "seal the root", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL));
	umask(022);
	return here;
}

// next_network gives the zygote a new network, with nothing but loopback, for the next
// box: the clone inherits it and the zygote moves on. It takes the kernel more than half
// a millisecond, and so nobody waits for that.
static void next_network(void) {
	MUST(ZYGOTE_FD, "enter a network namespace", unshare(CLONE_NEWNET));
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	MUST(ZYGOTE_FD, "open a socket for loopback", s);
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	MUST(ZYGOTE_FD, "raise loopback", ioctl(s, SIOCSIFFLAGS, &ifr));
	close(s);
}

// keep_capabilities leaves this process only what it takes to map uids and to change
// networks. A clone gets all, in the user namespace of its own.
static void keep_capabilities(uint32_t mask) {
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = mask, .permitted = mask}};
	MUST(ZYGOTE_FD, "drop capabilities", syscall(SYS_capset, &header, data));
}

// reset_signals undoes what the launcher may have passed on.
static void reset_signals(void) {
	sigset_t none;
	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL); // some cannot be set: they are as they should be
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void zygote(void) {
	prctl(PR_SET_NAME, "corun-zygote");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	// What protects the launcher from the OOM killer must not protect a box.
	(void)!put(getpid(), "oom_score_adj", "0");
	reset_signals();
	signal(SIGCHLD, SIG_IGN); // nobody waits here: the launcher watches by pidfd
	MUST(ZYGOTE_FD, "close descriptors", syscall(SYS_close_range, ZYGOTE_FD + 1, ~0U, 0));
	struct surroundings here = prepare_root();
	uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_SYS_ADMIN | 1u << CAP_NET_ADMIN;
	if (!here.borrowed)
		needed |= 1u << CAP_MKNOD;
	if (here.within)
		needed |= 1u << CAP_SETFCAP; // to map the namespace's uid 0, which may be the only one (user_namespaces(7))
	// They stay when it is a box's owner for a moment.
	MUST(ZYGOTE_FD, "keep capabilities", prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
	keep_capabilities(needed);
	next_network();
	int dev = next_devices(here.borrowed);
	answer(-1, NULL, 0); // ready
	for (;;) {
		struct box_request q;
		int fds[MOST_FDS];
		int count = receive(&q, fds);
		make(&q, fds, count, dev);
		for (int i = 0; i < count; i++)
			close(fds[i]);
		close(dev);
		next_network();
		dev = next_devices(here.borrowed);
	}
}

// zygote_main runs before the Go runtime and takes over in a process that the
// launcher started as its zygote.
__attribute__((constructor)) static void zygote_main(int argc, char **argv) {
	if (argc == 1 && strcmp(argv[0], ZYGOTE_ARGV0) == 0) {
		zygote();
		_exit(113);
	}
}
