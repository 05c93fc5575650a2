package main

/*
#include <malloc.h>

// SQLite takes its memory from the C library, whose threads each have a heap of their own unless
// told otherwise: what one has freed another does not use.
static void few_heaps(void) {
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 2);
#endif
}

static void give_back(void) {
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
*/
import "C"

import (
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// freeMemoryOnRequest gives unused memory back to the system at each SIGUSR2, until stop is
// called: that of Go, and that of the C library (malloc_trim(3)). It comes before the database
// is opened.
func freeMemoryOnRequest() (stop func()) {
	C.few_heaps()
	requests, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(requests, unix.SIGUSR2)
	go func() {
		defer close(ended)
		for range requests {
			debug.FreeOSMemory()
			C.give_back()
		}
	}()
	return func() {
		signal.Stop(requests)
		close(requests)
		<-ended
	}
}
