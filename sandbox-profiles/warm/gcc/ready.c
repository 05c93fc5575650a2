/* Preloaded into the linker, which is started with the compiler and waits here, loaded,
 * until there is something to link: until the other end of READY is closed (driver.c).
 */
#include <errno.h>
#include <unistd.h>

__attribute__((constructor)) static void ready(void)
{
	char byte;
	while (read(READY, &byte, 1) < 0 && errno == EINTR)
		;
	close(READY);
}
