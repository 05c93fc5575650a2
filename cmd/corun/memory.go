package main

/*
#define _GNU_SOURCE
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

// SQLite takes its memory from the C library, whose threads each have a heap of their own unless
// told otherwise: what one has freed another does not use. Once there are threads it is too late.
__attribute__((constructor)) static void few_heaps(void) {
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 2);
#endif
}

static void give_back(void) {
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

static int drop(struct dl_phdr_info *object, size_t size, void *data) {
	uintptr_t page = sysconf(_SC_PAGESIZE);
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];
		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W)) {
			uintptr_t from = (object->dlpi_addr + p->p_vaddr) & -page;
			uintptr_t to = object->dlpi_addr + p->p_vaddr + p->p_memsz;
			madvise((void *)from, to - from, MADV_DONTNEED);
		}
	}
	return 1; // the first object is the program: it is all that is looked at
}

static void drop_program(void) { dl_iterate_phdr(drop, NULL); }
*/
import "C"

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// freeMemoryAt gives unused memory back to the system at each of the requests, until stop is
// called: what release lets go of, then that of Go, and that of the C library (malloc_trim(3)).
//
// The program's own code and constants leave the process as well, so that of these it has what
// it uses and not what only its start did. They stay in the kernel's cache of files, from where
// they come back when they are touched (MADV_DONTNEED in madvise(2)).
func freeMemoryAt(requests chan os.Signal, release func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range requests {
			release()
			runtime.GC() // what lies in a sync.Pool is let go of by the second collection
			debug.FreeOSMemory()
			C.give_back()
			C.drop_program()
		}
	}()
	return func() {
		signal.Stop(requests)
		close(requests)
		<-ended
	}
}

// memoryRequests gives a channel of signals that ask for freeMemoryAt.
func memoryRequests() chan os.Signal {
	requests := make(chan os.Signal, 1)
	signal.Notify(requests, unix.SIGUSR2)
	return requests
}
