// The wait of a process in a new user namespace for its ids.

#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "protocol.h"

// await_ids runs before all else, the Go runtime too, where the environment says so: in
// a process whose user namespace has no ids yet, because only newuidmap(1) can write
// them. When they are there it executes itself again, which is when the namespace's root
// gets its capabilities (user_namespaces(7)).
__attribute__((constructor(101))) static void await_ids(int argc, char **argv, char **envp) {
	(void)argc, (void)envp;
	const char *fd = getenv(AWAIT_IDS_ENV);
	if (!fd)
		return;
	char mapped;
	if (read(atoi(fd), &mapped, 1) != 1)
		_exit(112); // they will not come
	close(atoi(fd));
	unsetenv(AWAIT_IDS_ENV);
	execve("/proc/self/exe", argv, environ);
	_exit(113);
}
