// What the launcher and a box say to each other. Both are the same binary, so
// structs travel as they are in memory.

#ifndef CORUN_SANDBOX_PROTOCOL_H
#define CORUN_SANDBOX_PROTOCOL_H

#include <stdint.h>

#define ZYGOTE_ARGV0 "corun-zygote" // how the executable knows that it is the zygote
#define AWAIT_IDS_ENV "CORUN_AWAIT_IDS" // names the descriptor that says that ids are mapped: ids.c
#define BOX_UID 1000          // the program's user and group, inside
// Places in the zygote's root, where a box is built.
#define BOX_IMAGE "/image" // where the image is mounted
#define BOX_EMPTY "/empty" // a folder with nothing in it
#define BOX_ROOT "/box"    // becomes the box's root
#define BOX_DEVICES "/dev" // the host's devices, where there can be no others

// Descriptors of a box's init, and the zygote's socket.
enum { CONTROL_FD = 3, COMMAND_FD = 4, ROOTFS_FD = 5, USR_FD = 6, DEVICES_FD = 7, RUNSC_FD = 8, GUEST_FD = 9, ZYGOTE_FD = 3 };
// Descriptors of the guest's init, besides the two sockets: see gvisor.c.
enum { GUEST_CONFIG_FD = 5, RELAY_FD = 6 };

enum {
	BOX_FILTERS = 2,      // seccomp programs, see CompileSeccomp
	BOX_MAX_FILTER = 8192 // instructions of all together
};

// Where a runtime that was started ahead waits for its program: lang.WarmFD has the
// protocol. The last descriptor that a program of a box may have.
enum { WARM_FD = 255 };

enum { BOX_GROUPS = 8 }; // cgroup descriptors at most

// On the zygote's socket, launcher to zygote, with the box's descriptors: its ends
// of the control and command sockets, and those of its cgroup.
struct box_request {
	uint32_t uid;    // init's on the host; the program's is the next
	uint32_t shared; // or both have this one: there is no other
	uint32_t gvisor; // whether it will be one of gVisor's
	uint32_t groups; // how many descriptors are of the cgroup
	uint32_t unified; // version 2: the one is the group's folder; 1: each is a tasks file
};

// On the control socket, host to init, after a byte that says that init's uids are
// mapped, and followed by the filters' instructions and the bundle's config.json. With it
// come mounts: the image, the folder for /usr if there is one, and for a box of gVisor's
// runsc and the guest's init.
struct box_config {
	uint64_t scratch_bytes, scratch_inodes, file_bytes, open_files;
	uint64_t core_bytes; // what keeps a crash from being dumped on this machine
	uint32_t filter_lengths[BOX_FILTERS]; // in instructions
	uint32_t usr;                         // whether USR_FD takes the place of the image's /usr
	uint32_t shared;                      // whether init and the program have the same uid
	uint32_t processes;  // and threads, of the program
	// Where there is no cgroup rlimits do what they can; 0 where there is one.
	uint32_t own_limits; // whether processor time and data are limited by rlimits
	uint64_t data_bytes; // of one process
	uint32_t bundle_length; // bytes; 0 for a box of the host's own kernel
	char hostname[64];
};

enum { BOX_READY = 1, BOX_FAILED = 2, BOX_EXITED = 3, BOX_REFUSED = 4 };

// Box to host: from init on the control socket, from the stub on the command
// socket.
struct box_report {
	uint32_t kind;
	int32_t value; // errno of a failure, wait status of the exit, how many forks were refused
	char step[56]; // that failed
};

// Host to init, once the program runs.
struct box_signal {
	int32_t number;
	uint32_t terminal; // to the terminal's group in front
	uint32_t cols, rows; // instead of a signal, where number is 0: the terminal's size
};

#endif
