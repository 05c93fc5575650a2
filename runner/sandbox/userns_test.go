package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLargestRange(t *testing.T) {
	file := "root:100000:65536\n1001:200000:1000\nada:300000:65536\nada:500000:131072\nada:x:9\nada:1\n:1:99999999\n"
	for name, c := range map[string]struct {
		names []string
		want  extent
	}{
		"by name":            {[]string{"1000", "ada"}, extent{500000, 131072}},
		"by number":          {[]string{"1001", "bea"}, extent{200000, 1000}},
		"none":               {[]string{"1002", "cai"}, extent{}},
		"not by a beginning": {[]string{"100", "ad"}, extent{}},
	} {
		if got := largestRange([]byte(file), c.names); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestChooseIDs(t *testing.T) {
	whole := "         0          0 4294967295\n"
	for name, c := range map[string]struct {
		uids, gids string
		want       idRange
	}{
		"the host's":             {whole, whole, idRange{firstHostUID, hostUIDBoxes}},
		"one id":                 {"0 1000 1\n", "0 1000 1\n", idRange{}},
		"subordinate ids":        {"0 1000 1\n1 100000 65536\n", "0 1000 1\n1 100000 65536\n", idRange{1, 32768}},
		"more uids than gids":    {"0 1000 1\n1 100000 65536\n", "0 1000 1\n1 300000 1001\n", idRange{2, 500}},
		"a container's, as root": {"0 100000 65536\n", "0 100000 65536\n", idRange{2, 32767}},
		"too few":                {"0 1000 1\n1 100000 100\n", "0 1000 1\n1 100000 65536\n", idRange{}},
		"none in common":         {"0 1000 1\n1 1 1000\n", "0 1000 1\n5000 1 1000\n", idRange{}},
	} {
		got := chooseIDs(mapped([]byte(c.uids)), mapped([]byte(c.gids)))
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
		// No box may have the ids of another, or the launcher's.
		seen := make(map[int]bool)
		for n := range uint64(min(got.boxes, 1000)) {
			for id := got.pair(n); id < got.pair(n)+uidsPerBox; id++ {
				if seen[id] || id == 0 {
					t.Fatalf("%s: box %d gets id %d, which is not free", name, n, id)
				}
				seen[id] = true
			}
		}
	}
}

func TestUserNamespaceFault(t *testing.T) {
	for name, c := range map[string]struct {
		why    error
		sysctl map[string]string
		want   string
		mend   string
	}{
		"none allowed":     {unix.ENOSPC, map[string]string{"user/max_user_namespaces": "0"}, "user.max_user_namespaces is 0", "user.max_user_namespaces=10000"},
		"Debian's setting": {unix.EPERM, map[string]string{"user/max_user_namespaces": "9", "kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone is 0", "unprivileged_userns_clone=1"},
		"AppArmor":         {fmt.Errorf("make mounts private: %w", unix.EACCES), map[string]string{"kernel/unprivileged_userns_clone": "1", "kernel/apparmor_restrict_unprivileged_userns": "1"}, "apparmor_restrict_unprivileged_userns is 1", "/etc/apparmor.d"},
		"too many":         {unix.ENOSPC, map[string]string{"user/max_user_namespaces": "9"}, "as many as allowed", "raise"},
		"something else":   {errors.New("mount /proc: operation not permitted"), nil, "mount /proc", "container"},
	} {
		detail, mend := userNamespaceFault(c.why, func(name string) string { return c.sysctl[name] })
		if !strings.Contains(detail, c.want) || !strings.Contains(detail, c.why.Error()) || !strings.Contains(mend, c.mend) {
			t.Errorf("%s: got %q, mend %q; want %q with the reason, and %q", name, detail, mend, c.want, c.mend)
		}
	}
}

func TestUIDsRunOut(t *testing.T) {
	l := &Launcher{cfg: Config{Name: "few"}, ids: idRange{1, 2}, live: make(map[string]*custody), wedged: make(map[string]*custody)}
	first, second, third := &custody{}, &custody{}, &custody{}
	for _, c := range []*custody{first, second} {
		if err := l.admit(c); err != nil {
			t.Fatal(err)
		}
	}
	if first.uid == second.uid {
		t.Fatalf("two boxes have uid %d", first.uid)
	}
	if err := l.admit(third); err == nil {
		t.Fatalf("a third box has uid %d, which another has", third.uid)
	}
	l.forget(first)
	if err := l.admit(third); err != nil || third.uid != first.uid {
		t.Fatalf("got uid %d, %v; want %d, which is free again", third.uid, err, first.uid)
	}
}

func TestSharedUID(t *testing.T) {
	l := &Launcher{cfg: Config{Name: "one"}, live: make(map[string]*custody), wedged: make(map[string]*custody)}
	for range 3 {
		c := &custody{}
		if err := l.admit(c); err != nil || c.uid != 0 {
			t.Fatalf("got uid %d, %v; want the only one, 0", c.uid, err)
		}
		l.forget(c)
	}
	if len(l.gone) != 0 {
		t.Fatalf("the uids %v are looked for, which are the launcher's own", l.gone)
	}
}

// rootless does what delegated does, in a launcher that a user starts.
func rootless(ctx context.Context) error {
	for _, f := range Check(ctx) {
		if !f.OK && f.Fatal {
			return fmt.Errorf("%s: %s", f.Name, f.Detail)
		}
	}
	cmd, err := StartLauncher(func() *exec.Cmd {
		return &exec.Cmd{
			Path: "/proc/self/exe", Args: []string{"launcher"}, Stdout: os.Stdout, Stderr: os.Stderr,
			Env: append(os.Environ(), "CORUN_TEST_ROLE=delegated"), // the last of a name holds
		}
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// TestRootlessDelegation: a user to whom a group was delegated makes boxes in it, with
// their limits.
func TestRootlessDelegation(t *testing.T) {
	h := setup.launcher.h
	if !h.unified {
		t.Skip("version 1 has no delegation")
	}
	const uid = 64_123
	for dir := setup.rootfs; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			t.Skipf("users may not enter %s (%v)", dir, err)
		}
	}
	// What the user can reach: this program, and the probe for the box.
	place, err := os.MkdirTemp("", "corun-rootless-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(place); err != nil {
			t.Error(err)
		}
	})
	content, err := probeFile()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(place, "program")
	if err := errors.Join(os.Chmod(place, 0o755), os.WriteFile(filepath.Join(place, "probe"), content, 0o755), os.WriteFile(program, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	const name = "corun-user.test"
	group := filepath.Join(h.root, name)
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.kill(name), h.remove(name+"/"+serverLeaf), h.remove(name)); err != nil {
			t.Error(err)
		}
	})
	// As systemd does: https://systemd.io/CGROUP_DELEGATION.
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(group, file), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command(program)
	cmd.Dir = place
	cmd.Env = append(os.Environ(), "CORUN_TEST_ROLE=rootless", "CORUN_TEST_ROOTFS="+setup.rootfs, "CORUN_TEST_PROBE="+filepath.Join(place, "probe"))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(dir.Fd()), Credential: &syscall.Credential{Uid: uid, Gid: uid},
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "version 2 at "+group+"\n" {
		t.Errorf("it said %q (%v)", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if found, err := h.children(name); err != nil || len(found) != 1 || !found[serverLeaf] {
		t.Errorf("there are %v (%v)", found, err)
	}
}
