package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	profiles "corun/sandbox-profiles"
)

var profileNames = []string{"default", "compile", "jvm"}

// What a filter answers with (linux/seccomp.h).
const (
	retAllow = 0x7fff0000
	retErrno = 0x00050000
	retKill  = 0x80000000
)

// What a call is about (linux/audit.h).
const (
	auditX8664   = 0xc000003e
	auditAArch64 = 0xc00000b7
	auditI386    = 0x40000003
)

// call is what a filter sees of a system call.
type call struct {
	number int
	arch   uint32
	args   [6]uint64
}

// answer runs compiled filters on a call as the kernel does: all of them, and the
// strictest counts.
func answer(t *testing.T, compiled []byte, c call) uint32 {
	t.Helper()
	lengths, instructions, err := splitFilters(compiled)
	if err != nil {
		t.Fatal(err)
	}
	strictest := uint32(retAllow)
	for _, n := range lengths {
		program := instructions[:n*instructionSize]
		instructions = instructions[n*instructionSize:]
		if n == 0 {
			continue
		}
		if r := interpret(t, program, c); int32(r&0xffff0000) < int32(strictest&0xffff0000) {
			strictest = r
		}
	}
	return strictest
}

// interpret is a machine for the classic BPF that libseccomp writes.
func interpret(t *testing.T, program []byte, c call) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.NativeEndian.PutUint32(data, uint32(c.number))
	binary.NativeEndian.PutUint32(data[4:], c.arch)
	for i, a := range c.args {
		binary.NativeEndian.PutUint64(data[16+8*i:], a)
	}
	var a uint32
	for pc := 0; pc < len(program)/instructionSize; pc++ {
		in := program[pc*instructionSize:]
		code, jt, jf, k := binary.NativeEndian.Uint16(in), int(in[2]), int(in[3]), binary.NativeEndian.Uint32(in[4:])
		jump := func(yes bool) {
			if yes {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.NativeEndian.Uint32(data[k:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= k
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == k)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(a > k)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= k)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&k != 0)
		case unix.BPF_RET | unix.BPF_K:
			return k
		default:
			t.Fatalf("instruction %d is %#x, which this machine does not know", pc, code)
		}
	}
	t.Fatal("the program ended without an answer")
	return 0
}

func readProfile(t *testing.T, name string) ([]byte, specs.LinuxSeccomp) {
	t.Helper()
	oci, err := profiles.FS.ReadFile("seccomp/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(oci, &p); err != nil {
		t.Fatal(err)
	}
	return oci, p
}

// numbers gives the rules without conditions, by number on an architecture.
func numbers(t *testing.T, p specs.LinuxSeccomp, arch libseccomp.ScmpArch) map[int]uint32 {
	t.Helper()
	want := make(map[int]uint32)
	for _, rule := range p.Syscalls {
		if len(rule.Args) > 0 {
			continue
		}
		for _, name := range rule.Names {
			n, err := libseccomp.GetSyscallFromNameByArch(name, arch)
			if err != nil || n < 0 {
				continue // another architecture's, or newer than the library
			}
			if rule.Action == specs.ActAllow {
				want[int(n)] = retAllow
			} else {
				want[int(n)] = retErrno | uint32(*rule.ErrnoRet)
			}
		}
	}
	return want
}

// Every number there is gets just the answer that the list has for it, on both
// architectures; what is on no list, or is no call at all, is ENOSYS; what is
// another architecture's kills.
func TestEveryCallNumber(t *testing.T) {
	architectures := []struct {
		name    string
		library libseccomp.ScmpArch
		audit   uint32
		others  []uint32
	}{
		{"amd64", libseccomp.ArchAMD64, auditX8664, []uint32{auditI386, auditAArch64}},
		{"arm64", libseccomp.ArchARM64, auditAArch64, []uint32{auditX8664, 0x40000028}},
	}
	for _, name := range profileNames {
		oci, p := readProfile(t, name)
		for _, arch := range architectures {
			t.Run(name+"/"+arch.name, func(t *testing.T) {
				compiled, err := compileSeccomp(oci, arch.library)
				if err != nil {
					t.Fatal(err)
				}
				want := numbers(t, p, arch.library)
				// These depend on their arguments; zeroes are refused or not as the
				// list says.
				for call, answer := range map[string]uint32{"personality": retAllow, "socket": retErrno | 1, "socketpair": retErrno | 1} {
					n, err := libseccomp.GetSyscallFromNameByArch(call, arch.library)
					if err != nil {
						t.Fatal(err)
					}
					want[int(n)] = answer
				}
				allowed := 0
				for n := range 2048 {
					expect, listed := want[n]
					if !listed {
						expect = retErrno | uint32(*p.DefaultErrnoRet)
					}
					got := answer(t, compiled, call{number: n, arch: arch.audit})
					if got != expect {
						callName, _ := libseccomp.ScmpSyscall(n).GetNameByArch(arch.library)
						t.Errorf("call %d (%s) gets %#x, the list says %#x", n, callName, got, expect)
					}
					if got == retAllow {
						allowed++
					}
					for _, other := range arch.others {
						if got := answer(t, compiled, call{number: n, arch: other}); got != retKill {
							t.Errorf("call %d of architecture %#x gets %#x", n, other, got)
						}
					}
				}
				if allowed < 200 || allowed > 330 {
					t.Errorf("%d calls are allowed", allowed)
				}
				if arch.audit == auditX8664 {
					for n := range 1024 { // x32
						if got := answer(t, compiled, call{number: n | 0x40000000, arch: arch.audit}); got == retAllow {
							t.Errorf("call %d of x32 is allowed", n)
						}
					}
				}
			})
		}
	}
}

// What is refused by its arguments, in every way of writing them.
func TestCallArguments(t *testing.T) {
	const high = 1 << 32
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		t.Fatal(err)
	}
	audit := map[libseccomp.ScmpArch]uint32{libseccomp.ArchAMD64: auditX8664, libseccomp.ArchARM64: auditAArch64}[native]
	for _, c := range []struct {
		name    string
		args    [6]uint64
		allowed string // profiles that allow it: "all", "" or names
	}{
		{"clone", [6]uint64{uint64(unix.SIGCHLD)}, "all"},
		{"clone", [6]uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM}, "all"},
		{"clone", [6]uint64{unix.CLONE_NEWUSER}, ""},
		{"clone", [6]uint64{unix.CLONE_NEWNS | uint64(unix.SIGCHLD)}, ""},
		{"clone", [6]uint64{unix.CLONE_NEWPID | high}, ""},
		{"clone", [6]uint64{unix.CLONE_NEWNET | unix.CLONE_VM}, ""},
		{"clone", [6]uint64{unix.CLONE_NEWCGROUP}, ""}, {"clone", [6]uint64{unix.CLONE_NEWIPC}, ""}, {"clone", [6]uint64{unix.CLONE_NEWUTS}, ""},
		{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, "all"},
		{"socketpair", [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC}, "all"},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM}, "default jvm"},
		{"socket", [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK}, "default jvm"},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_RAW}, ""},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_RAW | unix.SOCK_CLOEXEC}, ""},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_RAW | high}, ""},
		{"socket", [6]uint64{unix.AF_INET6, unix.SOCK_RAW}, ""},
		{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_PACKET}, ""},
		{"socket", [6]uint64{unix.AF_NETLINK, unix.SOCK_DGRAM}, ""}, {"socket", [6]uint64{unix.AF_NETLINK | high, unix.SOCK_DGRAM}, ""},
		{"socket", [6]uint64{unix.AF_PACKET, unix.SOCK_DGRAM}, ""}, {"socket", [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, ""},
		{"socket", [6]uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, ""}, {"socket", [6]uint64{unix.AF_UNSPEC, unix.SOCK_STREAM}, ""},
		{"socket", [6]uint64{unix.AF_INET | high, unix.SOCK_STREAM}, ""},
		{"ioctl", [6]uint64{0, unix.TCGETS}, "all"}, {"ioctl", [6]uint64{0, unix.TIOCGWINSZ}, "all"},
		{"ioctl", [6]uint64{0, unix.TIOCSTI}, ""}, {"ioctl", [6]uint64{0, unix.TIOCSTI | high}, ""}, {"ioctl", [6]uint64{0, unix.TIOCSTI | 0xdead<<32}, ""},
		{"ioctl", [6]uint64{0, 0x541c}, ""}, {"ioctl", [6]uint64{0, 0x541c | high}, ""},
		{"ioctl", [6]uint64{0, 0x5423}, ""}, {"ioctl", [6]uint64{0, 0x5423 | high}, ""}, // TIOCSETD
		{"setsockopt", [6]uint64{0, unix.SOL_SOCKET, unix.SO_REUSEADDR}, "all"}, {"setsockopt", [6]uint64{0, unix.IPPROTO_TCP, unix.SO_ATTACH_FILTER}, "all"},
		{"setsockopt", [6]uint64{0, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}, ""}, {"setsockopt", [6]uint64{0, unix.SOL_SOCKET | high, unix.SO_ATTACH_FILTER | high}, ""},
		{"setsockopt", [6]uint64{0, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF}, ""},
		{"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, "all"}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6, 32}, ""}, // IPV6_FLOWLABEL_MGR
		{"setsockopt", [6]uint64{0, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP}, ""}, {"setsockopt", [6]uint64{0, high, unix.IP_ADD_MEMBERSHIP | high}, ""},
		{"setsockopt", [6]uint64{0, unix.IPPROTO_IP, 48}, ""}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IP, 42 | high}, ""}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IP, 64}, ""},
		{"setsockopt", [6]uint64{0, unix.IPPROTO_IP, 34}, "all"}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IP, 49}, "all"}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IP, unix.IP_TOS}, "all"},
		{"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6, 20}, ""}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6 | high, 20 | high}, ""}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6, 27}, ""},
		{"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6, 45}, ""}, {"setsockopt", [6]uint64{0, unix.IPPROTO_IPV6, 49}, "all"}, {"setsockopt", [6]uint64{0, 132, 1}, ""}, {"setsockopt", [6]uint64{0, 2, 1}, ""},
		{"setsockopt", [6]uint64{0, unix.IPPROTO_TCP, unix.TCP_NODELAY}, "all"}, {"setsockopt", [6]uint64{0, unix.IPPROTO_UDP, 103}, "all"},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP}, "default jvm"}, {"socket", [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP}, "default jvm"},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 262}, ""}, {"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 6 | high}, ""}, {"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 132}, ""},
		{"socket", [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM, 136}, ""}, {"socket", [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, 1}, ""}, {"socket", [6]uint64{unix.AF_INET, unix.SOCK_SEQPACKET}, ""},
		{"setrlimit", [6]uint64{4, 1}, ""}, {"setrlimit", [6]uint64{4 | high, 1}, ""}, {"setrlimit", [6]uint64{7, 1}, "all"},
		{"prlimit64", [6]uint64{0, 4, 1}, ""}, {"prlimit64", [6]uint64{0, 4 | high, 1 << 40}, ""}, {"prlimit64", [6]uint64{0, 4, 0, 1}, "all"}, {"prlimit64", [6]uint64{0, 7, 1}, "all"},
		{"fadvise64", [6]uint64{0, 0, 0, 3}, "all"}, {"fadvise64", [6]uint64{0, 0, 0, 4}, ""}, {"fadvise64", [6]uint64{0, 0, 0, 4 | high}, ""},
		{"fcntl", [6]uint64{0, unix.F_SETLK}, "all"}, {"fcntl", [6]uint64{0, unix.F_OFD_SETLK}, ""}, {"fcntl", [6]uint64{0, unix.F_OFD_SETLKW | high}, ""},
		{"clone", [6]uint64{unix.CLONE_FILES | uint64(unix.SIGCHLD)}, ""}, {"clone", [6]uint64{unix.CLONE_FILES | unix.CLONE_VM | high}, ""}, {"clone", [6]uint64{unix.CLONE_VM | unix.CLONE_VFORK}, "all"},
		{"personality", [6]uint64{0}, "all"}, {"personality", [6]uint64{0xffffffff}, "all"},
		{"personality", [6]uint64{0x0040000}, ""}, {"personality", [6]uint64{8}, ""},
		{"seccomp", [6]uint64{1, 0}, "all"}, {"seccomp", [6]uint64{1, 8}, ""}, {"seccomp", [6]uint64{1, 9 | high}, ""},
		{"mknodat", [6]uint64{0, 0, unix.S_IFIFO | 0o600}, "all"}, {"mknodat", [6]uint64{0, 0, unix.S_IFREG | 0o600}, "all"},
		{"mknodat", [6]uint64{0, 0, unix.S_IFCHR | 0o600}, ""}, {"mknodat", [6]uint64{0, 0, unix.S_IFBLK | 0o600 | high}, ""},
	} {
		for _, profile := range profileNames {
			oci, _ := readProfile(t, profile)
			compiled, err := compileSeccomp(oci, native)
			if err != nil {
				t.Fatal(err)
			}
			n, err := libseccomp.GetSyscallFromName(c.name)
			if err != nil {
				t.Fatal(err)
			}
			want := uint32(retErrno | 1)
			if c.name == "fcntl" {
				want = retErrno | uint32(unix.EINVAL)
			}
			if c.name == "fadvise64" { // as if done
				want = retErrno
			}
			if c.name == "personality" { // allowed by its arguments, so that the rest is as if unknown
				want = retErrno | uint32(unix.ENOSYS)
			}
			if c.allowed == "all" || slices.Contains(strings.Fields(c.allowed), profile) {
				want = retAllow
			}
			if got := answer(t, compiled, call{number: int(n), arch: audit, args: c.args}); got != want {
				t.Errorf("%s: %s%x gets %#x, want %#x", profile, c.name, c.args, got, want)
			}
		}
	}
}

// The kernel agrees: a program in a box makes every call, with arguments that do
// nothing, and sees what the list refuses refused.
func TestEveryCallInABox(t *testing.T) {
	_, p := readProfile(t, "default")
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		t.Fatal(err)
	}
	want := numbers(t, p, native)
	const code = `
import ctypes, os, select, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
bad = ctypes.c_long(-1)
def probe(n):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        libc.syscall(ctypes.c_long(n), bad, bad, bad, bad, bad, bad)
        os.write(w, b'%d' % ctypes.get_errno())
        os._exit(0)
    os.close(w)
    # A call that does not return, like pause, is one that is allowed: others return, even
    # if the machine is busy.
    ready, _, _ = select.select([r], [], [], 0.3 if n in allowed else 20)
    got = os.read(r, 32) if ready else b''
    os.close(r)
    try: os.kill(pid, signal.SIGKILL)
    except ProcessLookupError: pass
    os.waitpid(pid, 0)
    return got.decode() or 'none'
for n in range(600):
    print(n, probe(n))
`
	var allowed strings.Builder
	for n, action := range want {
		if action == retAllow {
			fmt.Fprintf(&allowed, "%d, ", n)
		}
	}
	s := spec()
	s.Limits.Processes = 256 // fork and vfork are among the calls
	r := python(t, s, time.Minute, "allowed = {"+allowed.String()+"}\n"+code)
	if r.err != nil || r.exit != (Exit{}) {
		t.Fatalf("%v %+v %s", r.err, r.exit, r.stderr)
	}
	seen := 0
	for line := range strings.Lines(r.stdout) {
		var n int
		var got string
		if _, err := fmt.Sscan(line, &n, &got); err != nil {
			continue // a child of fork wrote, too
		}
		seen++
		expect, listed := want[n]
		switch {
		case kernelsOwn[n]:
		case !listed && n != personalityNumber(t) && got != strconv.Itoa(int(unix.ENOSYS)):
			t.Errorf("call %d is on no list and gets %s", n, got)
		case listed && expect != retAllow && got != strconv.Itoa(int(expect&0xffff)):
			t.Errorf("call %d gets %s, the list says %d", n, got, expect&0xffff)
		case listed && expect == retAllow && got == strconv.Itoa(int(unix.ENOSYS)) && n != unix.SYS_FUTEX && !unknownToKernel(uintptr(n)):
			t.Errorf("call %d is allowed and gets %s", n, got)
		}
	}
	if seen < 600 {
		t.Errorf("%d calls were made", seen)
	}
}

// kernelsOwn are calls of amd64 that newer kernels take without asking seccomp,
// because they put them into programs that are being traced; elsewhere they do
// nothing but end the program: uretprobe and uprobe.
var kernelsOwn = map[int]bool{335: runtime.GOARCH == "amd64", 336: runtime.GOARCH == "amd64"}

func personalityNumber(t *testing.T) int {
	t.Helper()
	n, err := libseccomp.GetSyscallFromName("personality")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// unknownToKernel tells whether this kernel does not have a call. It makes it, so
// it is for such as the allow-list has beyond the oldest kernel.
func unknownToKernel(n uintptr) bool {
	newer := []uintptr{451 /* cachestat */, 452 /* fchmodat2 */, 453 /* map_shadow_stack */, 447, 449, 450}
	if !slices.Contains(newer, n) {
		return false
	}
	_, _, err := unix.Syscall6(n, ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0))
	return err == unix.ENOSYS
}

// DescribeSeccomp says what doctor prints.
func TestDescribeSeccomp(t *testing.T) {
	for _, name := range profileNames {
		oci, _ := readProfile(t, name)
		d, err := DescribeSeccomp(oci)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(d.Allowed, "read") || slices.Contains(d.Allowed, "mount") || d.Refused["mount"] != unix.EPERM || !slices.Equal(d.Ignored, []string{"sync"}) || d.Otherwise != unix.ENOSYS {
			t.Errorf("%s: %+v", name, d)
		}
		if !slices.IsSorted(d.Allowed) || len(slices.Collect(maps.Keys(d.Refused))) < 50 || len(d.Conditions) < 10 {
			t.Errorf("%s: %d allowed, %d refused, %d conditions", name, len(d.Allowed), len(d.Refused), len(d.Conditions))
		}
	}
	if _, err := DescribeSeccomp([]byte("{")); err == nil {
		t.Error("no profile was described")
	}
}
