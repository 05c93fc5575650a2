#ifndef CORUN_SANDBOX_INIT_H
#define CORUN_SANDBOX_INIT_H

#include <linux/filter.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol.h"

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif

// box_init is the life of a box's first process, which has a user of its own or not. It
// does not return.
void box_init(int shared);

// What init.c has for the two sides of a box of gVisor's: gvisor.c and guest.c.

extern struct box_config config;
extern struct sock_filter filters[BOX_MAX_FILTER];

// place_descriptors moves descriptors to the places where they belong, with the given
// flags, whichever of them are in each other's way.
void place_descriptors(int errfd, const int *have, const int *want, int n, int flags);

// read_filters reads what follows the configuration.
void read_filters(int fd);
void read_all(int fd, void *buf, size_t n, int errfd, const char *step);

// mount_scratch gives the box what it can write to.
void mount_scratch(void);

// open_terminal gives a new terminal's outer and inner side.
void open_terminal(int *master, int *slave);

// watch_children gives a descriptor that can be read when a child has ended.
int watch_children(void);

// How start_stub starts the process that becomes the program.
struct start {
	int master, slave, signals; // init's, of which it keeps the second
	int *gate;                  // a pipe whose end it waits for before it takes the command
	void (*begin)(void);        // called at once, with init's privileges still
	void (*streams)(int stdio[3]); // exchanges the host's descriptors for the program's
};

// start_stub starts it. It has nothing of init's; what is NULL is left out.
pid_t start_stub(const struct start *how);

// deliver does what the host asked for.
void deliver(pid_t program, int master, const struct box_signal *s);

// send_ends gives the host the terminal's other side and the folder that programs work
// in.
void send_ends(int master, int work);

void set_capabilities(int fd, uint32_t mask);
void drop_bounding_set(int fd);

// confine leaves this process the few calls that an init makes.
void confine(void);

// guard is init of a box of gVisor's. It does not return.
void guard(const char *bundle);

// report tells the host on a socket which step failed, and why (errno), and ends
// the process.
void report(int fd, const char *step);

#define MUST(fd, step, call)      \
	do {                          \
		if ((call) < 0)           \
			report((fd), (step)); \
	} while (0)

#endif
