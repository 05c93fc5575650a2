/* Compiles the programs of one language: runs what gcc would run, without gcc.
 *
 * usage: driver OUTPUT SOURCE...
 *
 * gcc and collect2 only decide what to run, and that is always the same here; it is in
 * commands.h, which setup.sh makes of what gcc says that it would run. Each process that
 * is not started is some milliseconds. The linker is loaded while the compiler works, and
 * waits (ready.c).
 *
 * A program whose files all begin with including some headers gets these precompiled, if
 * there is a set in which there are no others: it sees nothing that it does not include.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORDS 512	/* of a command; a snapshot has at most 200 files */
#define MAX_HEADERS 64	/* at the beginning of a file */
#define MAX_BYTES (4 << 20) /* of a file, as of a snapshot */

/* What stands for paths in the commands. */
#define IN "IN"
#define OUT "OUT"
#define INCLUDE "INCLUDE"
#define MATH "MATH"

struct set {
	const char *path;      /* of the header that includes them, beside its .gch */
	const char *names[16]; /* ended by NULL */
};

#include "commands.h" /* compile, assemble, link; sets, the best first, ended by one without a path */

struct headers {
	char *names[MAX_HEADERS];
	int count;
};

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

/* blank passes over white space and comments, and gives where they end. */
static char *blank(char *p, bool lines)
{
	for (;;) {
		if (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\f' || *p == '\v' || (lines && *p == '\n')) {
			p++;
		} else if (p[0] == '/' && p[1] == '*') {
			char *end = strstr(p + 2, "*/");
			if (!end)
				return p;
			p = end + 2;
		} else if (p[0] == '/' && p[1] == '/') {
			p = strchrnul(p, '\n');
		} else {
			return p;
		}
	}
}

/* leading lists the headers that a file includes before there is anything else in it. */
static void leading(char *p, struct headers *list)
{
	if (!strncmp(p, "\xef\xbb\xbf", 3))
		p += 3; /* a mark of the encoding */
	for (p = blank(p, true); *p == '#' && list->count < MAX_HEADERS;) {
		p = blank(p + 1, false);
		if (strncmp(p, "include", 7))
			return;
		p = blank(p + 7, false);
		char *name = p + 1;
		if (*p != '<' || !(p = strpbrk(name, ">\n")) || *p != '>')
			return;
		*p = 0;
		p = blank(p + 1, false);
		if (*p != '\n' && *p)
			return;
		list->names[list->count++] = name;
		p = blank(p, true);
	}
}

static bool has(const struct headers *list, const char *name)
{
	for (int i = 0; i < list->count; i++)
		if (!strcmp(list->names[i], name))
			return true;
	return false;
}

/* read_file gives what is in a file, ended by a zero byte. */
static char *read_file(const char *path)
{
	static char text[MAX_BYTES + 1];
	size_t size = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("read", path);
	while (size < MAX_BYTES && (n = read(fd, text + size, MAX_BYTES - size)) != 0) {
		if (n < 0)
			fail("read", path);
		size += n;
	}
	close(fd);
	text[size] = 0;
	return text;
}

/* counts tells whether a program may count on the library of mathematics, which takes a
 * while to link. */
static bool counts(const char *text)
{
	static const char *const signs[] = {"math.h", "complex.h", "fenv.h", "include \"", NULL};
	for (const char *const *sign = signs; *sign; sign++)
		if (strstr(text, *sign))
			return true;
	return false;
}

/* narrow leaves those sets that a file begins with all of. */
static void narrow(char *text, bool *fits)
{
	struct headers list = {.count = 0};
	/* A line that goes on in the next is not looked through. */
	char *spliced = strstr(text, "\\\n");
	if (spliced)
		*spliced = 0;
	leading(text, &list);
	for (int i = 0; sets[i].path; i++)
		for (int j = 0; sets[i].names[j]; j++)
			fits[i] = fits[i] && has(&list, sets[i].names[j]);
}

struct command {
	const char *words[MAX_WORDS];
	int count;
};

static void add(struct command *c, const char *word)
{
	if (c->count == MAX_WORDS - 1) {
		fputs("too many files\n", stderr);
		exit(1);
	}
	c->words[c->count++] = word;
}

/* fill makes a command of what commands.h has. in is a list that ends with NULL, option
 * what stands for INCLUDE or MATH, or NULL. */
static void fill(struct command *c, const char *const *from, const char *const *in, const char *out, const char *option)
{
	for (; *from; from++) {
		if (!strcmp(*from, IN)) {
			for (const char *const *p = in; *p; p++)
				add(c, *p);
		} else if (!strcmp(*from, OUT)) {
			add(c, out);
		} else if (strcmp(*from, INCLUDE) && strcmp(*from, MATH)) {
			add(c, *from);
		} else if (option) {
			if (!strcmp(*from, INCLUDE))
				add(c, "-include");
			add(c, option);
		}
	}
}

/* waiting is the environment with which a program waits before it begins. */
static char **waiting(void)
{
	static char *with[MAX_WORDS] = {"LD_PRELOAD=" READY_LIBRARY};
	for (int i = 0; environ[i] && i < MAX_WORDS - 2; i++)
		with[i + 1] = environ[i];
	return with;
}

/* start runs a command. Its streams are those of this process, but for the given ones. If
 * there is a ready it waits until the other end of that is closed. */
static pid_t start(struct command *c, int in, int out, int ready)
{
	pid_t pid = vfork();
	if (pid < 0)
		fail("start", c->words[0]);
	if (pid == 0) {
		if (in >= 0)
			dup2(in, 0);
		if (out >= 0)
			dup2(out, 1);
		if (ready >= 0)
			dup2(ready, READY);
		execve(c->words[0], (char **)c->words, ready >= 0 ? waiting() : environ);
		_exit(127);
	}
	return pid;
}

/* ended waits for a command and tells whether it did what it should. */
static bool ended(pid_t pid, struct command *c)
{
	const char *name = strrchr(c->words[0], '/') + 1;
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("wait for", name);
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s was ended by signal %d (%s)\n", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 127)
		fprintf(stderr, "%s could not be started\n", name);
	return status == 0;
}

static bool compiled(const char *source, const char *object, const char *include)
{
	const char *in[] = {source, NULL};
	struct command compiler = {.count = 0}, assembler = {.count = 0};
	fill(&compiler, compile, in, "-", include);
	fill(&assembler, assemble, (const char *[]){NULL}, object, NULL);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		fail("make a pipe for", source);
	pid_t writes = start(&compiler, -1, ends[1], -1);
	pid_t reads = start(&assembler, ends[0], -1, -1);
	close(ends[0]);
	close(ends[1]);
	bool written = ended(writes, &compiler), read = ended(reads, &assembler);
	return written && read;
}

/* object is the name of the file for what a source is compiled into, below the folder:
 * the linker's messages have it. */
static const char *object(const char *folder, const char *source, int number)
{
	const char *base = strrchr(source, '/');
	char *name, sub[64];
	snprintf(sub, sizeof sub, "%s/%d", folder, number);
	if (mkdir(sub, 0700) < 0)
		fail("make folder", sub);
	if (asprintf(&name, "%s/%s.o", sub, base ? base + 1 : source) < 0)
		fail("name", source);
	return name;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("There is no file to compile.\n", stderr);
		return 1;
	}
	char folder[] = "/tmp/XXXXXX";
	if (!mkdtemp(folder))
		fail("make folder", folder);
	bool fits[sizeof sets / sizeof *sets];
	memset(fits, true, sizeof fits);
	const char *objects[MAX_WORDS] = {NULL}, *include = NULL;
	if (argc - 2 >= MAX_WORDS) {
		fputs("too many files\n", stderr);
		return 1;
	}
	bool math = false;
	for (int i = 2; i < argc; i++) {
		char *text = read_file(argv[i]);
		math |= counts(text);
		narrow(text, fits);
	}
	for (int i = 0; sets[i].path && !include; i++)
		if (fits[i])
			include = sets[i].path;
	for (int i = 2; i < argc; i++)
		objects[i - 2] = object(folder, argv[i], i - 1);
	struct command linker = {.count = 0};
	fill(&linker, link_, objects, argv[1], math ? "-lm" : NULL);
	int ready[2];
	if (pipe2(ready, O_CLOEXEC) < 0)
		fail("make a pipe for", linker.words[0]);
	pid_t links = start(&linker, -1, -1, ready[0]);
	bool good = true;
	for (int i = 2; i < argc; i++)
		good &= compiled(argv[i], objects[i - 2], include);
	if (!good) {
		kill(links, SIGKILL);
		waitpid(links, NULL, 0);
		return 1;
	}
	close(ready[1]);
	if (ended(links, &linker))
		return 0;
	fputs("The program could not be linked.\n", stderr);
	return 1;
}
