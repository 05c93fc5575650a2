package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// peer is a kind of server.
type peer struct {
	name, title string // for -peers, and in the table
	hocuspocus  bool   // speaks that wire
	stores      bool
	path        string // of rooms
	// command gives how it is started on a port, with its data in a folder.
	command func(b *bench, port, folder string) []string
}

var peers = []*peer{
	{name: "y-websocket", title: "y-websocket", stores: true, path: "/", command: nodePeer("y-websocket")},
	{name: "hocuspocus", title: "Hocuspocus", hocuspocus: true, stores: true, path: "/", command: nodePeer("hocuspocus")},
	{name: "corun", title: "Corun", stores: true, path: "/sync/", command: func(b *bench, port, folder string) []string {
		return []string{
			b.corun, "serve", "--open-rooms", "--addr", "127.0.0.1:" + port, "--admin-addr", "127.0.0.2:" + port,
			"--data-dir", folder, "--image", b.image, "--image-dir", b.imageDir, "--durability", b.durability,
			"--max-participants", "1000", "--connections-per-second", "1000000",
			"--pool", "1", "--pool-memory", "1", // nothing is run
		}
	}},
	{name: "limit", title: "limit", path: "/", command: func(b *bench, port, _ string) []string {
		return []string{b.self, "-serve-limit", "127.0.0.1:" + port}
	}},
	{name: "saving", title: "limit with a journal", path: "/", command: func(b *bench, port, folder string) []string {
		return []string{b.self, "-serve-limit", "127.0.0.1:" + port, "-save-to", filepath.Join(folder, "journal")}
	}},
	{name: "sqlite", title: "limit with SQLite", path: "/", command: func(b *bench, port, folder string) []string {
		return []string{b.self, "-serve-limit", "127.0.0.1:" + port, "-save-to", filepath.Join(folder, "journal.db")}
	}},
}

func nodePeer(name string) func(b *bench, port, folder string) []string {
	return func(b *bench, port, folder string) []string {
		return []string{"node", "--expose-gc", filepath.Join(b.dir, "peers.mjs"), name, port, folder}
	}
}

// server is one that runs.
type server struct {
	peer *peer
	port string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// data is where a server keeps its data, and the port it has each time it is started.
type data struct {
	peer         *peer
	folder, port string
}

func (b *bench) newData(p *peer) (*data, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(b.data, "corun-bench-"+p.name+"-")
	return &data{p, folder, strconv.Itoa(port)}, err
}

func (d *data) remove() error { return os.RemoveAll(d.folder) }

// start starts a server on the first processor and returns when it answers and has come to
// rest.
func (b *bench) start(ctx context.Context, d *data) (*server, error) {
	s := &server{peer: d.peer, port: d.port}
	args := d.peer.command(b, d.port, d.folder)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.WaitDelay = patience // for who has inherited these
	// ^C is this program's to pass on.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := s.cmd.Start
	if b.pin {
		start = func() error { return onProcessor(serverProcessor, s.cmd.Start) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.peer.title, err)
	}
	if err := errors.Join(s.awaitAnswer(ctx), s.awaitRest(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", d.peer.title, err), s.stop(syscall.SIGKILL), errors.New(s.log.String()))
	}
	return s, nil
}

// Which processors servers and this program have.
const (
	serverProcessor = 0
	ownProcessor    = 1
)

// onProcessor runs start in a thread that has one processor only, which what it starts
// inherits.
func onProcessor(n int, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read processors: %w", err)
	}
	one.Set(n)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("take processor %d: %w", n, err)
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &before))
}

func (s *server) url(room string) string { return "ws://127.0.0.1:" + s.port + s.peer.path + room }

// awaitAnswer waits until the server answers a request, with whatever.
func (s *server) awaitAnswer(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for began := time.Now(); ; {
		res, err := client.Get("http://127.0.0.1:" + s.port + "/healthz")
		if err == nil {
			return res.Body.Close()
		}
		if time.Since(began) > patience {
			return fmt.Errorf("it does not answer: %w", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitRest waits until the server does nothing more than now and then.
func (s *server) awaitRest(ctx context.Context) error {
	const look, busy = 250 * time.Millisecond, 5 * time.Millisecond
	for began := time.Now(); time.Since(began) < patience; {
		before, err := s.cpu()
		if err != nil {
			return err
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := s.cpu()
		if err != nil || after-before < busy {
			return err
		}
	}
	return errors.New("it does not come to rest")
}

// stop ends the server by a signal. To be killed is no fault.
func (s *server) stop(signal syscall.Signal) error {
	_ = s.cmd.Process.Signal(signal) // it may have ended
	timer := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("stop %s: %w", s.peer.title, err)
	}
	return nil
}

// cpu is the processor time that the server's process has taken.
func (s *server) cpu() (time.Duration, error) {
	const process = 2 // of a process, by the scheduler: see clock_getcpuclockid
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^s.cmd.Process.Pid)<<3|process, &t); err != nil {
		return 0, fmt.Errorf("%s has ended: %w", s.peer.title, err)
	}
	return time.Duration(t.Nano()), nil
}

// resident is how much memory of the server's is in the machine's, in bytes, once it has
// given back what it does not use.
func (s *server) resident() (float64, error) {
	if err := s.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		return 0, fmt.Errorf("%s has ended: %w", s.peer.title, err)
	}
	time.Sleep(time.Second)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var kib float64
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib * (1 << 10), nil
		}
	}
	return 0, errors.New("/proc does not tell what is resident")
}

// profile writes one of Corun's profiles to a file, if that was asked for.
func (b *bench) profile(s *server, what, query string) error {
	if b.profiles == "" || s.peer.name != "corun" {
		return nil
	}
	res, err := http.Get("http://127.0.0.2:" + s.port + "/debug/pprof/" + what + query)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	name, _, _ := strings.Cut(b.doing, ",")
	f, err := os.Create(filepath.Join(b.profiles, name+"-"+what+".pprof"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

// machineBusy is the processor time of all that runs on the machine.
func machineBusy() time.Duration {
	text, _ := os.ReadFile("/proc/stat") // a remark only hangs on it
	var user, nice, system, idle, wait, irq, softirq int64
	if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq) * (time.Second / 100)
}

// ownTime is the processor time of this process.
func ownTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong pointer can do that
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
