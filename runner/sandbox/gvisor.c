// The outside of a box of gVisor's. Its init, made as any other's, does not run the
// program but runsc, as root of the box's user namespace with nothing of the host's but
// the image; the program runs upon runsc's kernel, started by the guest's init (guest.c).

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define STATE "/run/state"
#define BUNDLE "/run/bundle"
#define GUEST "/run/guest"
#define RUNSC "/run/runsc"
#define SENTRY_PID STATE "/pid" // where runsc writes the sentry's

static void write_all(int fd, const void *data, size_t n, const char *step) {
	for (const char *at = data; n > 0;) {
		ssize_t put = write(fd, at, n);
		MUST(CONTROL_FD, step, put);
		at += put;
		n -= (size_t)put;
	}
}

// place_file shows a file, given by its mount, at a path.
static void place_file(int mounted, const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	MUST(CONTROL_FD, path, fd);
	close(fd);
	MUST(CONTROL_FD, path, syscall(SYS_move_mount, mounted, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
	close(mounted);
}

static void make_bundle(const char *bundle) {
	MUST(CONTROL_FD, "make the bundle", mkdir(STATE, 0700));
	MUST(CONTROL_FD, "make the bundle", mkdir(BUNDLE, 0700));
	MUST(CONTROL_FD, "make the bundle", mkdir(GUEST, 0755));
	// Both by a path, and not by descriptors alone: runsc looks for itself, and the
	// guest's libc wants /proc/self/exe to be one.
	place_file(RUNSC_FD, RUNSC);
	place_file(GUEST_FD, GUEST "/init");
	int fd = open(BUNDLE "/config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	MUST(CONTROL_FD, "make the bundle", fd);
	write_all(fd, bundle, config.bundle_length, "make the bundle");
	close(fd);
}

// guest_config gives a file of what the guest's init has to know.
static int guest_config(void) {
	size_t total = 0;
	for (size_t i = 0; i < BOX_FILTERS; i++)
		total += config.filter_lengths[i];
	int fd = memfd_create("config", MFD_CLOEXEC);
	MUST(CONTROL_FD, "configure the guest", fd);
	write_all(fd, &config, sizeof config, "configure the guest");
	write_all(fd, filters, total * sizeof *filters, "configure the guest");
	MUST(CONTROL_FD, "configure the guest", lseek(fd, 0, SEEK_SET));
	return fd;
}

// run_runsc becomes runsc, which has its own descriptors, and for the guest the two
// sockets, the configuration and the relay.
static void run_runsc(int guest_config, int relay, int log) {
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	MUST(CONTROL_FD, "open /dev/null", nothing);
	// The image's place is not needed any more, /usr's and the devices' neither.
	const int have[] = {nothing, log, log, CONTROL_FD, COMMAND_FD, guest_config, relay};
	enum { MOST = sizeof have / sizeof *have };
	const int want[MOST] = {0, 1, 2, CONTROL_FD, COMMAND_FD, GUEST_CONFIG_FD, RELAY_FD};
	place_descriptors(CONTROL_FD, have, want, MOST, 0);
	char *args[] = {"runsc", "--root=" STATE, "--platform=systrap", "--network=none", "--ignore-cgroups", "--host-uds=none",
		"--in-sandbox-cgroup=v2", // for the guest's own: guest.c
		"--overlay2=none", "--oci-seccomp=false",
		// The gofer opens the image's files, not the sentry: that has then a user
		// namespace of its own, no capability, and a filter without calls upon paths.
		"--directfs=false",
		"--gofer-network-namespace=host", // the box's, in which there is nothing
		"--host-settings=ignore", "--app-huge-pages=false", // so that memory is what is used
		"run", "--detach", "--pid-file=" SENTRY_PID, "--bundle=" BUNDLE, "--pass-fd=3:3", "--pass-fd=4:4",
		"--pass-fd=5:5", "--pass-fd=6:6", "box", NULL};
	char *env[] = {"PATH=/usr/bin:/bin", "TMPDIR=/tmp", NULL};
	execve(RUNSC, args, env);
	report(CONTROL_FD, "execute runsc");
}

// await_sentry waits until runsc has started the sentry and the gofer, and ended: it has
// all capabilities in the box's user namespace. It gives the sentry's pid.
static pid_t await_sentry(pid_t runsc) {
	int status;
	if (waitpid(runsc, &status, 0) != runsc || status != 0)
		_exit(111); // its log says why
	char text[32] = {0};
	int fd = open(SENTRY_PID, O_RDONLY | O_CLOEXEC);
	MUST(CONTROL_FD, "find the sentry", fd);
	MUST(CONTROL_FD, "find the sentry", read(fd, text, sizeof text - 1));
	close(fd);
	return (pid_t)atoi(text);
}

void guard(const char *bundle) {
	make_bundle(bundle);
	int relay[2], file = guest_config(), log = memfd_create("runsc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	MUST(CONTROL_FD, "make runsc's log", log);
	MUST(CONTROL_FD, "make the relay", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, relay));
	int signals = watch_children();
	pid_t runsc = fork();
	MUST(CONTROL_FD, "fork", runsc);
	if (runsc == 0)
		run_runsc(file, relay[1], log);
	close(COMMAND_FD);
	close(file);
	close(relay[1]);
	send_ends(relay[0], log);
	close(relay[0]);
	pid_t sentry = await_sentry(runsc);
	drop_bounding_set(CONTROL_FD);
	set_capabilities(CONTROL_FD, 0);
	confine();
	// The guest's init answers on the control socket from now on. This process only
	// ends with the sentry, or when the host has gone, and everything in the box with it.
	for (;;) {
		struct pollfd fds[2] = {{.fd = CONTROL_FD}, {.fd = signals, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			_exit(112);
		if (fds[0].revents & (POLLHUP | POLLERR))
			_exit(0);
		if (!fds[1].revents)
			continue;
		char drop[128];
		(void)!read(signals, drop, sizeof drop);
		for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
			if (pid == sentry)
				_exit(0);
	}
}
