package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Finding is one thing that was checked.
type Finding struct {
	Name   string
	OK     bool
	Fatal  bool   // without it no box can be made
	Limits bool   // or only one without limits: see Config.WithoutLimits
	Detail string // what was found
	Mend   string // what to do about it
}

// oldestKernel is the first with all that boxes use: mount_setattr came with
// 5.12, /proc's subset=pid with 5.8. 5.15 is the oldest that was thought about.
var oldestKernel = [2]int{5, 15}

// Check looks at what boxes need of this machine, for this process's user.
func Check(_ context.Context) []Finding {
	if os.Geteuid() != 0 {
		return []Finding{checkUser(), checkKernel(), checkUserNamespace(), checkIDs(), checkDelegation(), checkSwap(), checkSeccomp(), checkProc(), checkOverlay()}
	}
	return []Finding{checkRoot(), checkKernel(), checkNamespaces(), checkCgroup(), checkSwap(), checkSeccomp(), checkProc(), checkOverlay(), checkPacked()}
}

func finding(name, detail string, err error, mend string) Finding {
	if err != nil {
		return Finding{Name: name, Fatal: true, Detail: err.Error(), Mend: mend}
	}
	return Finding{Name: name, OK: true, Detail: detail}
}

func checkRoot() Finding {
	return Finding{Name: "root", OK: true, Detail: "running as root"}
}

func checkKernel() Finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return finding("kernel", "", err, "")
	}
	release := unix.ByteSliceToString(name.Release[:])
	parts := strings.SplitN(release, ".", 3)
	var version [2]int
	for i := 0; i < 2 && i < len(parts); i++ {
		version[i], _ = strconv.Atoi(parts[i]) // 0 is too old, which is right for what is no number
	}
	var err error
	if version[0] < oldestKernel[0] || (version[0] == oldestKernel[0] && version[1] < oldestKernel[1]) {
		err = fmt.Errorf("the kernel, Linux %s, is too old", release)
	}
	return finding("kernel", "Linux "+release, err, fmt.Sprintf("use Linux %d.%d or newer", oldestKernel[0], oldestKernel[1]))
}

func checkNamespaces() Finding {
	var missing []string
	for _, ns := range []string{"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"} {
		if _, err := os.Stat("/proc/self/ns/" + ns); err != nil {
			missing = append(missing, ns)
		}
	}
	var err error
	if len(missing) > 0 {
		err = fmt.Errorf("the kernel has no namespaces of kind %s", strings.Join(missing, ", "))
	} else if data, e := os.ReadFile("/proc/sys/user/max_user_namespaces"); e == nil && strings.TrimSpace(string(data)) == "0" {
		err = errors.New("user namespaces are switched off")
	}
	return finding("namespaces", "user, pid, mount, network, IPC, UTS and cgroup", err, "sysctl user.max_user_namespaces=10000, or a kernel with all kinds of namespaces")
}

func checkCgroup() Finding {
	h, err := findHierarchy()
	if err == nil {
		err = h.writable()
	}
	f := finding("cgroup", fmt.Sprintf("%s (%s)", h, mode()), err, "mount cgroup version 2 with the memory, cpu and pids controllers, or version 1 with cpuacct and freezer, too; for a systemd service, Delegate=yes")
	f.Limits = true
	return f
}

// checkSwap looks whether swap can be kept from boxes. Where it cannot, one that
// has filled its memory goes on, slowly, in the machine's swap.
func checkSwap() Finding {
	h, err := findHierarchy()
	if err == nil && h.limitsSwap() {
		return Finding{Name: "swap", OK: true, Detail: "boxes get none"}
	}
	areas, err := os.ReadFile("/proc/swaps")
	if err != nil || strings.Count(string(areas), "\n") <= 1 { // a headline
		return Finding{Name: "swap", OK: true, Detail: "the machine has none"}
	}
	return Finding{
		Name: "swap", Detail: "the kernel does not account swap by cgroup, so that boxes may use it beyond their memory",
		Mend: "boot with swapaccount=1, or switch swap off (swapoff -a)",
	}
}

func checkSeccomp() Finding {
	data, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err == nil && !strings.Contains(string(data), "kill_process") {
		err = errors.New("the kernel's seccomp cannot kill a process")
	}
	return finding("seccomp", "filters with kill_process", err, "use a kernel with CONFIG_SECCOMP_FILTER")
}

// checkProc looks whether the kernel will let a box mount a /proc of its own: it
// refuses where parts of this one are covered, as in a container.
func checkProc() Finding {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		for line := range strings.Lines(string(mounts)) {
			if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], "/proc/") && fields[4] != "/proc/sys/fs/binfmt_misc" {
				err = fmt.Errorf("%s is covered by another mount, so that boxes cannot have a /proc of their own", fields[4])
				break
			}
		}
	}
	return finding("proc", "/proc is whole", err, "run it outside of a container, or in one with an unmasked /proc")
}

// checkOverlay looks for overlayfs, without which boxes work and show a little more.
func checkOverlay() Finding {
	data, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(data), "\toverlay\n") {
		err = errors.New("the kernel has no overlayfs: programs see where on this machine their image is, and can tell by its files when others use them")
	}
	f := finding("overlay", "each box has its own view of the image", err, "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS")
	f.Fatal = false
	return f
}
