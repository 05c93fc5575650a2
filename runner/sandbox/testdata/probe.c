// A program for boxes that needs nothing of their image: the tests compile it,
// static, and say with its first argument what it does.

#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static void fail(const char *what) {
	perror(what);
	exit(1);
}

// touch takes memory and uses it.
static void touch(void) {
	volatile char *p = malloc(MIB); // volatile: or the compiler leaves it out
	if (!p)
		fail("malloc");
	for (int i = 0; i < MIB; i += 512)
		p[i] = 1;
}

static void hog(void) {
	for (;;)
		touch();
}

// fill writes to the scratch, which is memory, too.
static void fill(int mib) {
	static char block[MIB];
	memset(block, 1, sizeof block);
	int fd = -1;
	for (int i = 0; i < mib; i++) {
		char name[32];
		snprintf(name, sizeof name, "/work/fill%d", i / 16);
		if (i % 16 == 0 && (fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0)
			fail(name);
		if (write(fd, block, sizeof block) != sizeof block)
			fail("write");
	}
}

// count makes processes until that is refused, and says how many there were.
static void count(void) {
	int n = 1; // this one
	for (pid_t child; (child = fork()) >= 0; n++)
		if (child == 0)
			for (;;)
				pause();
	printf("%d\n", n);
}

static void bomb(void) {
	for (;;)
		(void)!fork(); // its children, too
}

// container executes a program that sees the cgroup it is in as the root of all, as
// in a container.
static void container(char **argv) {
	if (unshare(CLONE_NEWCGROUP | CLONE_NEWNS) < 0)
		fail("unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || umount2("/sys/fs/cgroup", MNT_DETACH) < 0 ||
	    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0)
		fail("mount");
	execv(argv[0], argv);
	fail(argv[0]);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	int mib = argc > 2 ? atoi(argv[2]) : 0;
	if (strcmp(what, "touch") == 0) {
		for (int i = 0; i < mib; i++)
			touch();
		puts("touched");
	} else if (strcmp(what, "hog") == 0) {
		hog();
	} else if (strcmp(what, "fill-and-hog") == 0) {
		fill(mib);
		hog();
	} else if (strcmp(what, "child-hogs") == 0) {
		if (fork() == 0)
			hog();
		for (;;)
			pause(); // nothing but a kill from outside ends it
	} else if (strcmp(what, "count") == 0) {
		count();
	} else if (strcmp(what, "bomb") == 0) {
		bomb();
	} else if (strcmp(what, "spin") == 0) {
		for (volatile int i = 0;; i++)
			;
	} else if (strcmp(what, "pause") == 0) {
		for (;;)
			pause();
	} else if (strcmp(what, "container") == 0) {
		container(argv + 2);
	} else {
		fprintf(stderr, "probe: there is no %s\n", what);
		return 2;
	}
	return 0;
}
