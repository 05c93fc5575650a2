package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ownMountsEnv tells this process that its mounts are its own.
	ownMountsEnv = "CORUN_BENCH_OWN_MOUNTS"
	// nobody is who bare programs run as.
	nobody = 65534
	// workBytes bounds their folder, in which Go has its build cache too.
	workBytes = "1g"
)

// ownMounts begins again, in the same process, with mounts of its own: whatever ends this
// process ends them too, and nobody else sees them.
func ownMounts() error {
	if os.Getenv(ownMountsEnv) != "" {
		return os.Unsetenv(ownMountsEnv)
	}
	if os.Geteuid() != 0 {
		return errors.New("the machine's bare programs and the server's boxes take root: start this as root")
	}
	runtime.LockOSThread() // until the exec, which goes on with what this thread has
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this process: %w", err)
	}
	if err := os.Setenv(ownMountsEnv, "yes"); err != nil {
		return err
	}
	return fmt.Errorf("start again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// host starts the image's programs without any sandbox: in a folder where the image is
// mounted, read-only, with a scratch folder, devices and /proc.
type host struct {
	root, image string
	made        atomic.Int64 // folders of programs
}

func openHost(rootfs string) (*host, error) {
	root, err := os.MkdirTemp("", "corun-bench-host-")
	if err != nil {
		return nil, err
	}
	h := &host{root: root, image: rootfs}
	if err := h.mount(rootfs); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *host) mount(rootfs string) error {
	at := func(name string) string { return filepath.Join(h.root, name) }
	for _, m := range []struct {
		source, target, kind, data string
		flags                      uintptr
	}{
		{rootfs, "", "", "", unix.MS_BIND},
		{"", "", "", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "work", "tmpfs", "mode=1777,size=" + workBytes, unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "tmp", "tmpfs", "mode=1777,size=" + workBytes, unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "dev", "tmpfs", "mode=755,size=64k", unix.MS_NOSUID},
		{"/proc", "proc", "", "", unix.MS_BIND | unix.MS_REC},
	} {
		if err := unix.Mount(m.source, at(m.target), m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount /%s for bare programs: %w", m.target, err)
		}
	}
	for _, name := range []string{"null", "zero", "random", "urandom"} {
		device := at("dev/" + name)
		if err := os.WriteFile(device, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, device, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /dev/%s for bare programs: %w", name, err)
		}
	}
	return nil
}

// close takes the mounts away. It removes nothing but an empty folder.
func (h *host) close() error {
	err := unix.Unmount(h.root, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) {
		err = nil // nothing was mounted
	}
	return errors.Join(err, os.Remove(h.root))
}

// place writes a program into a folder of its own and gives that, as the program sees it.
// Folders of former ones go.
func (h *host) place(p *program, token string, owned bool) (dir string, err error) {
	kind := p.language + "-"
	if owned {
		kind = "own-" + kind
	}
	dir = "/work/" + kind + strconv.FormatInt(h.made.Add(1), 10)
	old, err := filepath.Glob(filepath.Join(h.root, "work", kind+"*"))
	if err != nil {
		return "", err
	}
	for _, former := range old {
		if err := os.RemoveAll(former); err != nil {
			return "", err
		}
	}
	outside := filepath.Join(h.root, dir)
	file := filepath.Join(outside, p.path)
	return dir, errors.Join(os.Mkdir(outside, 0o755), os.Chown(outside, nobody, nobody),
		os.WriteFile(file, []byte(p.text(token)), 0o644), os.Chown(file, nobody, nobody))
}

// ownPath is where the machine's own commands are, as the image's are.
var ownPath = []string{"/usr/local/bin", "/usr/local/go/bin", "/usr/bin", "/bin"}

// own finds the machine's own command of that name, or "".
func own(command string) string {
	for _, dir := range ownPath {
		file := filepath.Join(dir, filepath.Base(command))
		if unix.Access(file, unix.X_OK) == nil {
			return file
		}
	}
	return ""
}

// hasOwn tells whether the machine has all that a program takes.
func hasOwn(p *program) bool {
	for _, step := range append(p.build[:len(p.build):len(p.build)], p.start) {
		if filepath.IsAbs(step[0]) && own(step[0]) == "" {
			return false
		}
	}
	return true
}

// command is one of the image's or the machine's own, in a clean environment.
func (h *host) command(ctx context.Context, dir string, p *program, args []string, owned bool) *exec.Cmd {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	home := "/work"
	c.Path = args[0]
	if owned {
		dir, home = filepath.Join(h.root, dir), filepath.Join(h.root, home)
		if filepath.IsAbs(c.Path) {
			c.Path = own(c.Path)
		}
	} else {
		attr.Chroot = h.root
	}
	if !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(dir, c.Path)
	}
	c.Err = nil // it need not be found in this process's folders
	c.Dir, c.SysProcAttr = dir, attr
	c.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8"}, p.env...)
	return c
}

// first builds a program, starts it, and gives how long it took until the first byte.
func (h *host) first(ctx context.Context, dir string, p *program, arg string, owned bool) (took time.Duration, said string, err error) {
	began := time.Now()
	for _, step := range p.build {
		if messages, err := h.command(ctx, dir, p, step, owned).CombinedOutput(); err != nil {
			return 0, "", fmt.Errorf("%s: %w\n%s", step[0], err, messages)
		}
	}
	c := h.command(ctx, dir, p, append(p.start[:len(p.start):len(p.start)], arg), owned)
	var messages bytes.Buffer
	c.Stderr = &messages
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, "", err
	}
	if err := c.Start(); err != nil {
		return 0, "", err
	}
	buf := make([]byte, 4096)
	n, readErr := out.Read(buf)
	took = time.Since(began)
	if readErr != nil {
		return 0, "", errors.Join(fmt.Errorf("it printed nothing: %w", readErr), c.Wait(), errors.New(messages.String()))
	}
	rest, err := io.ReadAll(out)
	if err := errors.Join(err, c.Wait()); err != nil {
		return 0, "", fmt.Errorf("%w\n%s", err, messages.String())
	}
	return took, string(buf[:n]) + string(rest), nil
}

// bubblewrapped starts a program that needs no building in bubblewrap's namespaces, without
// a cgroup and without seccomp, and gives what it printed.
func (h *host) bubblewrapped(ctx context.Context, dir string, p *program, arg string) (string, error) {
	args := []string{
		"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000",
		"--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/work", "--setenv", "LANG", "C.UTF-8",
		"--ro-bind", h.image, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/work",
		"--ro-bind", filepath.Join(h.root, dir, p.path), "/work/" + p.path, "--chdir", "/work",
	}
	said, err := exec.CommandContext(ctx, "bwrap", slices.Concat(args, p.start, []string{arg})...).Output()
	if err != nil {
		return "", fmt.Errorf("bwrap: %w", err)
	}
	return string(said), nil
}
