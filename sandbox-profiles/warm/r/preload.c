// Waits for R's program, for profile.R: what R cannot do by itself.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { wait_fd = 255, most_fds = 256 };

// Of R; what commandArgs() gives.
extern void R_set_command_line_arguments(int argc, char **argv);

static void fail(const char *what) {
	perror(what);
	_exit(125);
}

// script_fd finds the descriptor of the file that R was told to run.
static int script_fd(const char *path) {
	struct stat want, got;
	if (stat(path, &want) < 0) fail(path);
	for (int fd = 3; fd < most_fds; fd++) {
		if (fstat(fd, &got) == 0 && got.st_ino == want.st_ino && got.st_dev == want.st_dev) return fd;
	}
	fprintf(stderr, "R has not opened %s\n", path);
	_exit(125);
}

// receive reads the message: the entry's path and the arguments, each ended by a zero byte.
static char *receive(size_t *size) {
	char *all = NULL;
	size_t have = 0;
	for (ssize_t n = 1; n > 0; have += n) {
		if (!(all = realloc(all, have + 65536))) fail("receive");
		if ((n = read(wait_fd, all + have, 65536)) < 0) fail("receive");
	}
	*size = have;
	return all;
}

// unset_ours leaves R nothing that it would add to once more.
static void unset_ours(void) {
	unsetenv("LD_LIBRARY_PATH");
	for (char **v = environ; *v;) {
		char name[256];
		size_t length = strcspn(*v, "=");
		if (strncmp(*v, "R_", 2) != 0 || length >= sizeof name) {
			v++;
			continue;
		}
		memcpy(name, *v, length);
		name[length] = 0;
		unsetenv(name); // the next one takes its place
	}
}

void corun_wait(void) {
	const char *entry = "main.r";
	int script = script_fd(entry);
	int flags = fcntl(script, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
	if (unlink(entry) < 0) fail("unlink");
	if (write(wait_fd, "r", 1) != 1) fail("write");
	size_t size;
	char *message = receive(&size);
	close(wait_fd);
	if (size == 0) _exit(0); // no program will come

	int argc = 0;
	for (size_t i = 0; i < size; i++) argc += message[i] == 0;
	char **argv = calloc(argc + 6, sizeof *argv);
	if (!argv) fail("receive");

	// R looked for these before there were any.
	if (access(".Rprofile", F_OK) == 0 || access(".Renviron", F_OK) == 0) {
		int n = 0;
		argv[n++] = "/usr/bin/Rscript";
		for (char *a = message; a < message + size; a += strlen(a) + 1) argv[n++] = a;
		unset_ours();
		execv(argv[0], argv);
		fail(argv[0]);
	}

	int file = open(entry, O_RDONLY | O_CLOEXEC);
	if (file < 0 || dup3(file, script, flags) < 0) fail(entry);
	close(file);
	int n = 0;
	argv[n++] = "/usr/lib/R/bin/exec/R";
	argv[n++] = "--no-echo";
	argv[n++] = "--no-restore";
	argv[n++] = "--file=main.r";
	if (argc > 1) argv[n++] = "--args";
	for (char *a = message + strlen(message) + 1; a < message + size; a += strlen(a) + 1) argv[n++] = a;
	R_set_command_line_arguments(n, argv); // which copies them
	free(argv);
	free(message);
}
