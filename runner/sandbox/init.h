#ifndef CORUN_SANDBOX_INIT_H
#define CORUN_SANDBOX_INIT_H

// box_init is the life of a box's first process. It does not return.
void box_init(void);

// report tells the host on a socket which step failed, and why (errno), and ends
// the process.
void report(int fd, const char *step);

#define MUST(fd, step, call)      \
	do {                          \
		if ((call) < 0)           \
			report((fd), (step)); \
	} while (0)

#endif
