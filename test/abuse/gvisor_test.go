package abuse

import (
	"os"
	"strings"
	"testing"
	"time"

	"corun/store"
)

// uponGVisor says whether the boxes of this run are gVisor's.
var uponGVisor = os.Getenv("CORUN_ISOLATION") == "gvisor"

// difference is what another kernel than Linux makes of an attack. It must harm nobody
// there either: the witness, the host and the launcher are looked at all the same.
type difference struct {
	why    string
	also   []store.Status // it may end so as well, and nothing more is asked of it then
	silent bool           // the message need not say what it says elsewhere
	prints string         // instead
	has    []string       // instead
	sees   bool           // what it must not see of Linux it may see of gVisor
}

const (
	costs    = "What is small for Linux takes gVisor more memory or time: a limit comes first."
	uncalled = "The guest's init may get no turn to tell of refused forks before the end."
	readOnly = "gVisor has no locks on what is read-only or a device."
	ownProc  = "It is gVisor's own /proc, of gVisor's own kernel."
	otherErr = "Refused as well, for another reason."

	ownTerminals = "gVisor's kernel works on terminals in the box's own time."
)

var (
	slow        = difference{why: costs, also: []store.Status{store.StatusMemoryLimit, store.StatusTimeout, store.StatusCPULimit}}
	uncounted   = difference{why: uncalled, silent: true, also: []store.Status{store.StatusMemoryLimit}}
	unlockable  = difference{why: readOnly, has: []string{"lock ENOLCK\n", "held\n"}}
	differences = map[string]difference{
		"TestFiles/endless_outputs":     {why: "Nothing can be collected.", silent: true},
		"TestFiles/extended_attributes": slow,
		"TestFiles/hard_links":          slow,
		"TestFiles/odd_files":           {why: otherErr, prints: "fifo None\nsocket None\nlink None\nchar EPERM\nblock EPERM\nread EACCES\n"},
		"TestFiles/the_image":           {why: otherErr, prints: "remove EACCES\nmode EPERM\nowner EPERM\ntimes EACCES\nrename EROFS\n"},

		"TestKernel/filters_of_sockets": {why: "gVisor takes the options that Linux refuses and does nothing.", has: []string{"26 EPERM\n", "51 EPERM\n", "high EPERM\n", "flow label EPERM\n"}},

		"TestMemory/POSIX_message_queues":            {why: "gVisor keeps what is in a queue in the box's memory and bounds their number otherwise.", has: []string{""}},
		"TestMemory/a_stack":                         {why: "A stack that cannot grow is a fault of the program's.", also: []store.Status{store.StatusSignaled}},
		"TestMemory/connections_that_nobody_accepts": slow,
		"TestMemory/huge_pages":                      {why: "gVisor gives common pages for huge ones.", has: []string{""}},
		"TestMemory/mapped_files":                    {why: "The scratch space is full before the memory.", also: []store.Status{store.StatusSignaled}},
		"TestMemory/mappings":                        slow,
		"TestMemory/much_to_take_away":               slow,
		"TestMemory/more_than_there_is":              {why: "gVisor promises memory and limits what is used.", has: []string{""}},
		"TestMemory/page_tables":                     slow,
		"TestMemory/semaphores":                      slow,
		"TestMemory/timers":                          slow,

		"TestNames/the_same_names": {why: "Queues of gVisor's cannot be unlinked.", has: []string{"done\n"}},

		"TestNeighbours//dev/full":    unlockable,
		"TestNeighbours//dev/null":    unlockable,
		"TestNeighbours//dev/random":  unlockable,
		"TestNeighbours//dev/urandom": unlockable,
		"TestNeighbours//dev/zero":    unlockable,

		"TestOutput/reading_its_output": {why: otherErr, prints: "read EBADF\nseek ESPIPE\ntruncate EPERM\n"},

		"TestProcesses/a_deep_tree":              slow,
		"TestProcesses/a_fork_bomb":              uncounted,
		"TestProcesses/a_fork_bomb,_spinning":    uncounted,
		"TestProcesses/a_thread_bomb_that_spins": uncounted,
		"TestProcesses/a_vfork_bomb":             uncounted,
		"TestProcesses/orphaned_zombies":         slow,
		"TestProcesses/priorities": {why: "gVisor keeps priorities and the OOM score for itself: they change nothing on the host.", has: []string{
			"nice -5\npriority None\nreal-time EINVAL\nround robin EINVAL\ndeadline EINVAL\nI/O EPERM\n", "of init EPERM\n"}},
		"TestProcesses/zombies": slow,

		"TestShared/descriptors_in_flight": slow,
		"TestShared/locked_memory":         slow,
		"TestShared/message_queues":        slow,
		"TestShared/socket_buffers/TCP":    slow,
		"TestShared/socket_buffers/UDP":    slow,
		"TestShared/locks":                 {why: "Locks are memory of gVisor's kernel, which is the box's.", also: []store.Status{store.StatusCPULimit, store.StatusTimeout}, silent: true},
		"TestShared/socket_buffers/UNIX":   slow,
		"TestShared/timers":                slow,

		"TestTerminals/a_terminal_that_is_closed": {why: ownTerminals, prints: "opened\r\n"},
		"TestTerminals/in_a_terminal":             {why: ownTerminals, prints: "opened\r\n"},
		"TestTerminals/pipes":                     {why: ownTerminals, prints: "opened\n"},

		"TestSight/its_own_memory_by_proc":    {why: otherErr, prints: "write EFAULT\nauxv True\n"},
		"TestSight/other_processes":           {why: "It sees that gVisor's kernel has an init, and cannot get at it.", sees: true, has: []string{""}},
		"TestSight/the_kernel_by_proc":        {why: ownProc, sees: true, has: []string{""}},
		"TestSight/where_its_files_come_from": {why: "There is no /proc/self/mountstats.", also: []store.Status{store.StatusExited}},
	}
)

// expected is what an attack is expected to come to, upon the kernel that there is.
func (a attack) expected(t *testing.T) attack {
	t.Helper()
	d, ok := differences[t.Name()]
	if !uponGVisor || !ok {
		return a
	}
	if a.also = d.also; a.also != nil && a.limits.Wall == 0 {
		a.limits.Wall = 3 * time.Second // more shows no more
	}
	if d.prints != "" || d.has != nil {
		a.prints, a.has = d.prints, d.has
	}
	if d.silent {
		a.says = ""
	}
	if d.sees {
		a.hasNot = nil
	}
	return a
}

// lost says whether all that is missing of an output is its end, and gVisor's kernel was
// killed for lack of memory: what the guest's init had not carried to the host by then is
// gone with the pipes that it was in.
func lost(last store.Run, printed, want string) bool {
	return uponGVisor && last.Status == store.StatusMemoryLimit && strings.HasPrefix(want, printed)
}
