package sandbox

import (
	"bytes"
	"os"
)

const corePattern = "/proc/sys/kernel/core_pattern"

// coreBytes is the limit on core dumps with which a crash in a box has no effect on the
// host. Where the pattern is a pipe the kernel starts a program as the host's root for each
// crash, outside of any box, and does so with a limit of 0, too: 1 is its sign that it must
// not (core(5), "Piping core dumps to a program"). A pattern that is a socket is treated
// alike. The program cannot lower it: see the seccomp profiles.
func coreBytes(patternFile string) uint64 {
	pattern, err := os.ReadFile(patternFile)
	if err != nil || bytes.HasPrefix(pattern, []byte("|")) || bytes.HasPrefix(pattern, []byte("@")) {
		return 1
	}
	return 0
}
