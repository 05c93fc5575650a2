package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A launcher that is not started as root works in a user namespace, as whose root it
// makes boxes just as root does on the host. What it lacks there it borrows: device
// files and the host's /proc (zygote.c). Its uids are those that /etc/subuid and
// /etc/subgid give the user (subuid(5)), written by newuidmap and newgidmap, so that
// each box has its own; without them there is one, the user's, for all (doc.go).

// StartLauncher starts a process that can make boxes: as it is by root, in a user
// namespace of its own by others. command gives the same new command each time.
func StartLauncher(command func() *exec.Cmd, log *slog.Logger) (*exec.Cmd, error) {
	cmd := command()
	if os.Geteuid() == 0 {
		return cmd, cmd.Start()
	}
	ids, err := subordinateIDs()
	if err == nil {
		err = ids.start(cmd)
	}
	if err == nil {
		return cmd, nil
	}
	log.Debug("boxes have no uids of their own", "reason", err)
	cmd = command()
	return cmd, startWithOneID(cmd)
}

// startWithOneID starts a process as root of a user namespace that has one uid and one
// gid, which takes no privilege.
func startWithOneID(cmd *exec.Cmd) error {
	enterUserNamespace(cmd)
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	return cmd.Start()
}

func enterUserNamespace(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNS
}

// extent is a range of ids.
type extent struct{ first, count int }

func (e extent) end() int { return e.first + e.count }

// subordinate are the ids that this user was given besides its own.
type subordinate struct{ uids, gids extent }

// leastIDs is how many make it worth to have them: boxes take two each.
const leastIDs = 256

// subordinateIDs reads what this user was given.
func subordinateIDs() (s subordinate, err error) {
	uid := os.Getuid()
	names := []string{strconv.Itoa(uid)}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	for _, f := range []struct {
		path, tool string
		to         *extent
	}{{"/etc/subuid", "newuidmap", &s.uids}, {"/etc/subgid", "newgidmap", &s.gids}} {
		if _, err := exec.LookPath(f.tool); err != nil {
			return s, fmt.Errorf("%s is not installed", f.tool)
		}
		data, err := os.ReadFile(f.path)
		if err != nil {
			return s, err
		}
		if *f.to = largestRange(data, names); f.to.count < leastIDs {
			return s, fmt.Errorf("%s has no range of at least %d ids for %s", f.path, leastIDs, names[len(names)-1])
		}
	}
	return s, nil
}

// largestRange finds the largest range in a file of subuid(5)'s form.
func largestRange(file []byte, names []string) (largest extent) {
	for line := range strings.Lines(string(file)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || !slices.Contains(names, f[0]) {
			continue
		}
		first, err1 := strconv.Atoi(f[1])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && first > 0 && count > largest.count {
			largest = extent{first, count}
		}
	}
	return largest
}

// start starts a process as root of a user namespace with these ids besides the user's
// own, which is 0 there. The process waits for them: see ids.c.
func (s subordinate) start(cmd *exec.Cmd) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	defer r.Close()
	enterUserNamespace(cmd)
	cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", awaitIDsEnv, 2+len(cmd.ExtraFiles)))
	if err := cmd.Start(); err != nil {
		return err
	}
	err = errors.Join(writeIDs("newuidmap", cmd.Process.Pid, os.Geteuid(), s.uids), writeIDs("newgidmap", cmd.Process.Pid, os.Getegid(), s.gids))
	if err == nil {
		_, err = w.Write([]byte{1})
	}
	if err != nil {
		_ = cmd.Process.Kill() // it does nothing but wait
		_ = cmd.Wait()         // how it ended says nothing
	}
	return err
}

func writeIDs(tool string, pid, own int, more extent) error {
	out, err := exec.Command(tool, strconv.Itoa(pid), "0", strconv.Itoa(own), "1",
		"1", strconv.Itoa(more.first), strconv.Itoa(more.count)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, bytes.TrimSpace(out))
	}
	return nil
}

const (
	// firstHostUID is where the uids of boxes begin on the host: far above those
	// of people and services, and of the ranges that useradd hands out.
	firstHostUID = 1_879_048_192
	// uidsPerBox are init's and the program's.
	uidsPerBox = 2
	// hostUIDBoxes is how many boxes have different uids before they repeat.
	hostUIDBoxes = 1 << 20
)

// idRange is where boxes have their uids and gids in the launcher's user namespace: two
// each.
type idRange struct {
	first int
	boxes int // that have ids of their own at the same time; 0: all share first
}

// shared says that all boxes have the launcher's own uid and gid.
func (r idRange) shared() bool { return r.boxes == 0 }

// pair gives the first id of the nth box.
func (r idRange) pair(n uint64) int {
	if r.shared() {
		return r.first
	}
	return r.first + int(n%uint64(r.boxes))*uidsPerBox
}

// ownIDs says which ids this process's user namespace has for boxes.
func ownIDs() (idRange, error) {
	var all [2][]extent
	for i, path := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		data, err := os.ReadFile(path)
		if err != nil {
			return idRange{}, fmt.Errorf("read which ids there are: %w", err)
		}
		all[i] = mapped(data)
	}
	return chooseIDs(all[0], all[1]), nil
}

// mapped reads which ids a namespace has, from a file of user_namespaces(7).
func mapped(file []byte) (all []extent) {
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		var e extent
		var outside int
		if n, err := fmt.Sscan(lines.Text(), &e.first, &outside, &e.count); err == nil && n == 3 {
			all = append(all, e)
		}
	}
	return all
}

// chooseIDs takes those that are kept for boxes, or else the highest of the largest
// range that there is of both kinds, root's left out.
func chooseIDs(uids, gids []extent) idRange {
	var largest extent
	for _, u := range uids {
		for _, g := range gids {
			first, end := max(u.first, g.first, 1), min(u.end(), g.end())
			if first <= firstHostUID && end >= firstHostUID+uidsPerBox*hostUIDBoxes {
				return idRange{firstHostUID, hostUIDBoxes}
			}
			if end-first > largest.count {
				largest = extent{first, end - first}
			}
		}
	}
	if largest.count < leastIDs {
		return idRange{}
	}
	boxes := min(largest.count/uidsPerBox, hostUIDBoxes)
	return idRange{largest.end() - boxes*uidsPerBox, boxes}
}

// Unlimited says what boxes without a cgroup lack, and what they have instead.
const Unlimited = "memory and processors of a run as a whole, and what it used of them (instead: data memory and processor time of each process, the number of processes, files in memory, wall time)"

// dataBytes is how much private memory that can be written to each process of a box
// without a cgroup may have (RLIMIT_DATA, setrlimit(2)).
func dataBytes(limits Limits) int64 { return limits.MemoryBytes }

// checkUser stands in for checkRoot.
func checkUser() Finding {
	return Finding{Name: "user", OK: true, Detail: fmt.Sprintf("running as uid %d: boxes are made in a user namespace", os.Geteuid())}
}

// tryZygote starts a zygote in a user namespace, which does there all that takes
// privileges, and ends it when it is ready.
func tryZygote(start func(*exec.Cmd) error) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	socket, inside := os.NewFile(uintptr(fds[0]), "zygote"), os.NewFile(uintptr(fds[1]), "launcher")
	defer socket.Close()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{zygoteArgv0}, Dir: "/", Env: []string{}, ExtraFiles: []*os.File{inside}}
	err = start(cmd)
	_ = inside.Close() // the zygote has its own
	if err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill() // it has told what it had to
		_ = cmd.Wait()         // how it ended says nothing
	}()
	buf := make([]byte, reportSize)
	n, _, err := receive(socket, buf, nil)
	if err != nil {
		return err
	}
	return checkReady(buf[:n])
}

// checkUserNamespace makes one, and looks for what forbids it.
func checkUserNamespace() Finding {
	err := tryZygote(startWithOneID)
	if err == nil {
		return Finding{Name: "namespaces", OK: true, Detail: "users may make them"}
	}
	f := Finding{Name: "namespaces", Fatal: true}
	f.Detail, f.Mend = userNamespaceFault(err, func(name string) string {
		value, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			return "" // this kernel has no such setting
		}
		return strings.TrimSpace(string(value))
	})
	return f
}

// userNamespaceFault says which of the kernel's settings is why a user could not make a
// user namespace, or could do nothing in it.
func userNamespaceFault(why error, sysctl func(name string) string) (detail, mend string) {
	forbidden := fmt.Sprintf("users may not make user namespaces (%v)", why)
	switch {
	case sysctl("user/max_user_namespaces") == "0":
		return forbidden + ": user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=10000, and the same in /etc/sysctl.d"
	case sysctl("kernel/unprivileged_userns_clone") == "0": // Debian's and Ubuntu's own
		return forbidden + ": kernel.unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1, and the same in /etc/sysctl.d"
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1": // Ubuntu's, since 23.10
		return forbidden + ": kernel.apparmor_restrict_unprivileged_userns is 1, and no AppArmor profile allows it to this program",
			"a profile with `userns,` for this program in /etc/apparmor.d, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	case errors.Is(why, unix.ENOSPC) || errors.Is(why, unix.EUSERS):
		return forbidden + ": as many as allowed are there", "raise user.max_user_namespaces"
	}
	return forbidden, "run it outside of a container, or in one that allows user namespaces and has an unmasked /proc; or run it as root"
}

// checkIDs looks whether boxes can have uids of their own.
func checkIDs() Finding {
	f := Finding{Name: "uids", OK: true}
	ids, err := subordinateIDs()
	if err == nil {
		err = tryZygote(ids.start)
	}
	if err != nil {
		f.OK, f.Detail = false, fmt.Sprintf("all boxes share uid %d, the server's, which is weaker: %v", os.Geteuid(), err)
		f.Mend = "apt-get install uidmap, and usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER with 65536 ids that nobody has"
		return f
	}
	f.Detail = fmt.Sprintf("%d for boxes, by /etc/subuid and /etc/subgid", min(ids.uids.count, ids.gids.count))
	return f
}

// delegateMend is how systemd hands a cgroup over (systemd.resource-control(5)).
const delegateMend = "have systemd delegate one, in the service's unit:\n" +
	"        [Service]\n        User=NAME\n        Delegate=yes\n" +
	"      or from a session of the user's: systemd-run --user --scope -p Delegate=yes corun serve\n" +
	"      (if the user has not all controllers: systemctl edit user@.service, [Service], Delegate=cpu memory pids);\n" +
	"      or go on without limits on memory and processors: --rootless-without-limits"

// checkDelegation looks for a cgroup below which a user may make groups.
func checkDelegation() Finding {
	h, err := findHierarchy()
	if err == nil {
		if err = h.writable(); err != nil {
			err = fmt.Errorf("no cgroup is delegated to uid %d: %w", os.Geteuid(), err)
		}
		if err != nil && !h.unified {
			err = fmt.Errorf("%w; this machine has cgroup version 1, which systemd does not delegate to users: boot with systemd.unified_cgroup_hierarchy=1", err)
		}
	}
	f := finding("cgroup", fmt.Sprintf("%s (%s)", h, mode()), err, delegateMend)
	f.Limits = true
	return f
}
