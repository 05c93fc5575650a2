// What the launcher and a box say to each other. Both are the same binary, so
// structs travel as they are in memory.

#ifndef CORUN_SANDBOX_PROTOCOL_H
#define CORUN_SANDBOX_PROTOCOL_H

#include <stdint.h>

#define BOX_ARGV0 "corun-box" // how the executable knows that it is a box
#define BOX_UID 1000          // the program's user and group, inside
#define BOX_BASE "/tmp"       // where the box's root is built, in its mount namespace
#define BOX_ROOT BOX_BASE "/root"

enum { CONTROL_FD = 3, COMMAND_FD = 4, ROOTFS_FD = 5, USR_FD = 6 };

enum {
	BOX_FILTERS = 2,      // seccomp programs, see CompileSeccomp
	BOX_MAX_FILTER = 8192 // instructions of all together
};

// On the control socket, host to init, followed by the filters' instructions.
struct box_config {
	uint64_t scratch_bytes, scratch_inodes, file_bytes, open_files;
	uint32_t filter_lengths[BOX_FILTERS]; // in instructions
	uint32_t usr;                         // whether USR_FD takes the place of the image's /usr
	char hostname[64];
};

enum { BOX_READY = 1, BOX_FAILED = 2, BOX_EXITED = 3 };

// Box to host: from init on the control socket, from the stub on the command
// socket.
struct box_report {
	uint32_t kind;
	int32_t value; // errno of a failure, wait status of the exit
	char step[56]; // that failed
};

// Host to init, once the program runs.
struct box_signal {
	int32_t number;
	uint32_t terminal; // to the terminal's group in front
};

#endif
