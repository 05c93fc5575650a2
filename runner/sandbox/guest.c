// The guest's init: the first process upon gVisor's kernel. It makes of it what init.c
// makes of the host's, starts the program by the same stub, and speaks to the host over
// the same two sockets, which runsc lets through. A terminal is within gVisor; its outer
// side is relayed. It is an executable of its own:
//
//	cc -static -DCORUN_GUEST -o corun-guest guest.c init.c

#ifdef CORUN_GUEST

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

void guard(const char *bundle) { (void)bundle; } // the other side's

// limit_processes makes a cgroup for the program, in the guest: the host's count is of
// gVisor's threads. It gives the file by which a process enters, and the one that tells
// how many forks were refused. RLIMIT_NPROC would limit, too, but tells nothing.
static int limit_processes(int *refused) {
	char most[16];
	snprintf(most, sizeof most, "%u", config.processes);
	MUST(CONTROL_FD, "mount cgroups", mount("none", "/tmp", "cgroup2", 0, NULL));
	MUST(CONTROL_FD, "make a cgroup", mkdir("/tmp/box", 0755));
	int max = open("/tmp/box/pids.max", O_WRONLY | O_CLOEXEC);
	MUST(CONTROL_FD, "limit processes", max);
	MUST(CONTROL_FD, "limit processes", write(max, most, strlen(most)));
	close(max);
	int procs = open("/tmp/box/cgroup.procs", O_WRONLY | O_CLOEXEC);
	MUST(CONTROL_FD, "open the cgroup", procs);
	*refused = open("/tmp/box/pids.events", O_RDONLY | O_CLOEXEC);
	MUST(CONTROL_FD, "watch the cgroup", *refused);
	MUST(CONTROL_FD, "unmount cgroups", umount2("/tmp", MNT_DETACH));
	return procs;
}

static int group; // the file by which the cgroup is entered

// enter moves this process into the cgroup, and then it sees no other.
static void enter(void) {
	MUST(COMMAND_FD, "enter the cgroup", write(group, "0", 1));
	MUST(COMMAND_FD, "enter a cgroup namespace", unshare(CLONE_NEWCGROUP));
}

// tell_refused tells the host, once, that there were processes or threads too many.
static void tell_refused(int refused) {
	static int told;
	char text[64] = {0};
	unsigned n = 0;
	if (pread(refused, text, sizeof text - 1, 0) < 0 || told || sscanf(text, "max %u", &n) != 1 || n == 0)
		return;
	told = 1;
	struct box_report r = {.kind = BOX_REFUSED, .value = (int32_t)n};
	(void)!write(CONTROL_FD, &r, sizeof r);
}

static void make_devices(void) {
	static const struct {
		const char *name;
		unsigned major, minor;
	} devices[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
	static const char *links[][2] = {{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"},
		{"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}};
	MUST(CONTROL_FD, "mount /dev", mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=0755"));
	MUST(CONTROL_FD, "enter /dev", chdir("/dev"));
	umask(0);
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
		MUST(CONTROL_FD, devices[i].name, mknod(devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		MUST(CONTROL_FD, links[i][1], symlink(links[i][0], links[i][1]));
	umask(022);
	MUST(CONTROL_FD, "make /dev/pts", mkdir("pts", 0755));
	MUST(CONTROL_FD, "make /dev/shm", mkdir("shm", 0755));
	// Programs may open others, unlike in a box of the host's kernel (init.c): the sentry works
	// on their input in the box's own time.
	MUST(CONTROL_FD, "mount /dev/pts", mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620"));
	MUST(CONTROL_FD, "leave /dev", chdir("/"));
}

// A channel carries bytes one way between two descriptors.
struct channel {
	int from, to, open;
	size_t at, held;
	char bytes[65536];
};

// The program's streams, inside and at the host. Programs have gVisor's own: writing to
// the host's pipes through it gives up at what fits, which pipes that block must not do.
enum { IN, OUT, ERR, STREAMS };
static struct channel streams[STREAMS];
static int inside[STREAMS]; // the program's ends
static int handover[2];     // the stub's end, and init's: of the host's descriptors

static void connect_channel(struct channel *c, int from, int to) {
	c->from = from, c->to = to, c->open = 1, c->held = 0;
	for (int i = 0, fd = from; i < 2; i++, fd = to)
		MUST(CONTROL_FD, "relay a stream", fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}

// finish passes on that a channel's end has gone. A terminal stays.
static void finish(struct channel *c, int master) {
	c->open = 0;
	if (c->to == RELAY_FD)
		shutdown(RELAY_FD, SHUT_WR);
	else if (c->to != master)
		close(c->to);
	if (c->from != RELAY_FD && c->from != master)
		close(c->from);
}

// step moves what can be moved, and says whether anything was.
static int step(struct channel *c, int master) {
	int moved = 0;
	if (c->open && c->held == 0) {
		ssize_t n = read(c->from, c->bytes, sizeof c->bytes);
		if (n > 0)
			c->at = 0, c->held = (size_t)n, moved = 1;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			finish(c, master); // of a terminal: nobody is left at the inner side
	}
	if (c->open && c->held > 0) {
		ssize_t n = write(c->to, c->bytes + c->at, c->held);
		if (n > 0)
			c->at += (size_t)n, c->held -= (size_t)n, moved = 1;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			finish(c, master); // nobody takes it
	}
	return moved;
}

// make_streams makes the program's pipes and how the host's come from the stub.
static void make_streams(void) {
	for (int i = 0; i < STREAMS; i++) {
		int ends[2];
		MUST(CONTROL_FD, "make a pipe", pipe2(ends, O_CLOEXEC));
		inside[i] = i == IN ? ends[0] : ends[1];
		MUST(CONTROL_FD, "give a pipe away", fchown(inside[i], BOX_UID, BOX_UID)); // for /dev/stdout
		*(i == IN ? &streams[i].to : &streams[i].from) = i == IN ? ends[1] : ends[0];
	}
	MUST(CONTROL_FD, "make a socket pair", socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, handover));
}

// hand_over gives init the host's descriptors, and the program gVisor's.
static void hand_over(int stdio[STREAMS]) {
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union {
		char space[CMSG_SPACE(STREAMS * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(STREAMS * sizeof(int));
	memcpy(CMSG_DATA(c), stdio, STREAMS * sizeof(int));
	MUST(COMMAND_FD, "hand over descriptors", sendmsg(handover[0], &msg, MSG_NOSIGNAL));
	for (int i = 0; i < STREAMS; i++) {
		close(stdio[i]);
		stdio[i] = inside[i];
	}
}

// take_over connects the program's streams to the host's, if these have come.
static void take_over(void) {
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union {
		char space[CMSG_SPACE(STREAMS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
	ssize_t n = recvmsg(handover[1], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return; // not yet
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_len == CMSG_LEN(STREAMS * sizeof(int))) {
		int host[STREAMS];
		memcpy(host, CMSG_DATA(c), sizeof host);
		connect_channel(&streams[IN], host[IN], streams[IN].to);
		connect_channel(&streams[OUT], streams[OUT].from, host[OUT]);
		connect_channel(&streams[ERR], streams[ERR].from, host[ERR]);
	}
	close(handover[1]); // the program has begun, or has a terminal
	handover[1] = -1;
}

// flush carries what a program has printed to the host, which may take the box away as
// soon as it is told of the end: it waits for the host to read. What can be in a pipe or
// a terminal then is read in LAST_READS; what the program's children print is no reason
// to wait.
enum { LAST_READS = 16 };

static void flush(struct channel *c, int master) {
	for (int reads = 0; c->open;) {
		int empty = c->held == 0;
		if (empty && reads++ == LAST_READS)
			return;
		struct pollfd room = {.fd = c->to, .events = POLLOUT};
		if (!empty && poll(&room, 1, -1) < 0 && errno != EINTR)
			return;
		if (!step(c, master) && empty)
			return;
	}
}

static void supervise_guest(pid_t program, int master, int signals, int refused) {
	static struct channel terminal[2];
	struct channel *all[] = {&terminal[0], &terminal[1], &streams[IN], &streams[OUT], &streams[ERR]};
	enum { CHANNELS = sizeof all / sizeof *all };
	connect_channel(&terminal[0], RELAY_FD, master);
	connect_channel(&terminal[1], master, RELAY_FD);
	for (;;) {
		struct pollfd fds[4 + CHANNELS] = {{.fd = CONTROL_FD, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = handover[1], .events = POLLIN}};
		fds[3] = (struct pollfd){.fd = refused, .events = POLLPRI}; // until it is read
		for (int i = 0; i < CHANNELS; i++) {
			fds[4 + i].fd = !all[i]->open ? -1 : all[i]->held ? all[i]->to : all[i]->from;
			fds[4 + i].events = all[i]->held ? POLLOUT : POLLIN;
		}
		if (poll(fds, 4 + CHANNELS, -1) < 0 && errno != EINTR)
			_exit(112);
		if (handover[1] >= 0)
			take_over();
		for (int i = 0; i < CHANNELS; i++)
			if (fds[4 + i].revents) // each call is dear here
				step(all[i], master);
		if (fds[3].revents)
			tell_refused(refused);
		if (fds[1].revents) {
			struct signalfd_siginfo drop;
			(void)!read(signals, &drop, sizeof drop);
			int status;
			for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
				if (pid == program) {
					if (handover[1] >= 0)
						take_over(); // it may have been so quick
					flush(&terminal[1], master);
					flush(&streams[OUT], master);
					flush(&streams[ERR], master);
					tell_refused(refused);
					struct box_report r = {.kind = BOX_EXITED, .value = status};
					(void)!write(CONTROL_FD, &r, sizeof r);
					program = 0;
				}
		}
		if (fds[0].revents) {
			struct box_signal s;
			ssize_t n = read(CONTROL_FD, &s, sizeof s);
			if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
				_exit(0);
			if (n == sizeof s && program > 0)
				deliver(program, master, &s);
		}
	}
}

int main(void) {
	for (int fd = CONTROL_FD; fd <= RELAY_FD; fd++)
		MUST(CONTROL_FD, "keep descriptors from the program", fcntl(fd, F_SETFD, FD_CLOEXEC));
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	read_all(GUEST_CONFIG_FD, &config, sizeof config, CONTROL_FD, "read the configuration");
	read_filters(GUEST_CONFIG_FD);
	close(GUEST_CONFIG_FD);
	MUST(CONTROL_FD, "unmount /sys", umount2("/sys", MNT_DETACH)); // runsc's own idea
	int master, slave;
	int refused;
	group = limit_processes(&refused);
	make_devices();
	mount_scratch();
	open_terminal(&master, &slave);
	int signals = watch_children();
	drop_bounding_set(CONTROL_FD);
	make_streams();
	pid_t program = start_stub(&(struct start){master, slave, signals, NULL, enter, hand_over});
	for (int i = 0; i < STREAMS; i++)
		close(inside[i]);
	close(handover[0]);
	close(group);
	signal(SIGPIPE, SIG_IGN);
	set_capabilities(CONTROL_FD, 1u << CAP_KILL);
	supervise_guest(program, master, signals, refused);
}

#else
typedef int corun_no_guest; // a translation unit has to have something
#endif
