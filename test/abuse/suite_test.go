// Package abuse runs programs that do their worst, through the real runner, and holds
// each to its verdict, while another box beside them and the host look out for anything
// that reaches them. It takes root.
package abuse

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"corun/runner"
	"corun/runner/image"
	"corun/runner/sandbox"
	profiles "corun/sandbox-profiles"
	"corun/store"
)

// soon bounds what must happen, however busy the machine is.
const soon = 60 * time.Second

// mark is in the names that attacks give to what they try to make outside of their box.
const mark = "corun-abuse-was-here"

// attack is one program and what has to become of it.
type attack struct {
	python, bash, c string // the program, in one of these
	terminal        bool
	stdin           string
	limits          runner.Lower
	// held says that the program takes all that it can get, calls held and ends when
	// its input does. While it holds it, another box is made and used.
	held   bool
	beside func(t *testing.T) // done then, too

	want   store.Status
	code   int    // where it is exited
	signal string // where it is signaled
	says   string // a part of the message
	prints string // all of stdout, or of what the terminal showed; "" is not looked at
	has    []string
	hasNot []string
	leaves []string // what is kept of /work/out, if it is looked at: each file's path and content

	also []store.Status // it may end so instead, see difference
}

// suite is what all tests share.
type suite struct {
	dir      string
	launcher *sandbox.Launcher
	image    image.Image
	store    *store.Store
	runner   *runner.Runner
	witness  *witness
	host     *host
}

var shared *suite

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		println("skipped: boxes need root")
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	s, err := open()
	if err != nil {
		println("open:", err.Error())
		return 1
	}
	shared = s
	code := m.Run()
	if err := s.close(); err != nil {
		println("close:", err.Error())
		return 1
	}
	return code
}

func open() (_ *suite, err error) {
	ctx := context.Background()
	s := &suite{}
	if s.dir, err = os.MkdirTemp("", "corun-abuse-"); err != nil {
		return nil, err
	}
	if images := os.Getenv("CORUN_IMAGE_DIR"); images != "" {
		recipe, err := image.DefaultRecipe()
		if err != nil {
			return nil, err
		}
		if s.image, err = image.Open(images, recipe.Name()); err != nil {
			return nil, err
		}
	} else if s.image, err = image.Host(filepath.Join(s.dir, "image")); err != nil {
		return nil, err
	}
	if s.host, err = watchHost(); err != nil {
		return nil, err
	}
	if s.store, err = store.Open(ctx, "sqlite:"+filepath.Join(s.dir, "corun.db"), store.Options{}); err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	cfg, err := launcherConfig(quiet)
	if err != nil {
		return nil, err
	}
	if s.launcher, err = sandbox.Open(ctx, cfg); err != nil {
		return nil, err
	}
	if s.runner, err = runner.Open(ctx, runner.Config{
		Store: s.store, Launcher: s.launcher, Image: s.image, PoolSize: 2, MaxRunning: 8, Quotas: &runner.Quotas{ActivePerParticipant: 1e6, PerMinute: 1e6, PerMinuteRoom: 1e6, PerMinuteIP: 1e6}, Log: quiet,
		Sealed: cfg.Isolation == sandbox.GVisor,
	}); err != nil {
		return nil, err
	}
	s.witness, err = s.beginWitness(ctx)
	return s, err
}

// launcherConfig says how boxes are made. CORUN_ISOLATION names their isolation; this is
// the one place that hands it to the sandbox.
func launcherConfig(log *slog.Logger) (sandbox.Config, error) {
	cfg := sandbox.Config{Name: fmt.Sprintf("corun-abuse-%d", os.Getpid()), Log: log}
	switch isolation := os.Getenv("CORUN_ISOLATION"); isolation {
	case "", "native":
		return cfg, nil
	case "gvisor":
		cfg.Isolation, cfg.Runsc = sandbox.GVisor, os.Getenv("CORUN_RUNSC")
		return cfg, nil
	default:
		return cfg, fmt.Errorf("CORUN_ISOLATION is %q: it is native, or gvisor with CORUN_RUNSC", isolation)
	}
}

func (s *suite) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := s.witness.end(ctx); err != nil {
		return err
	}
	if err := s.runner.Close(ctx); err != nil {
		return err
	}
	if err := s.launcher.Close(); err != nil {
		return err
	}
	s.host.close()
	if err := s.store.Close(); err != nil {
		return err
	}
	return os.RemoveAll(s.dir)
}

// spec is what boxes are made from that do not come of the runner.
func (s *suite) spec(profile string, limits sandbox.Limits) (sandbox.Spec, error) {
	oci, err := profiles.FS.ReadFile("seccomp/" + profile + ".json")
	if err != nil {
		return sandbox.Spec{}, err
	}
	filter, err := sandbox.CompileSeccomp(oci)
	return sandbox.Spec{Rootfs: s.image.Rootfs, Usr: s.image.Usr, Seccomp: filter, Limits: limits, Hostname: "corun"}, err
}

// witness is a program in a box beside those of the attacks (witness.py). It keeps what
// it has and says on request whether all of it is as it was.
type witness struct {
	box     *sandbox.Box
	process *sandbox.Process
	mu      sync.Mutex
}

//go:embed witness.py
var witnessProgram string

func (s *suite) beginWitness(ctx context.Context) (*witness, error) {
	spec, err := s.spec("default", sandbox.DefaultLimits())
	if err != nil {
		return nil, err
	}
	w := &witness{}
	if w.box, err = s.launcher.Build(ctx, spec); err != nil {
		return nil, err
	}
	w.process, err = w.box.Start(ctx, sandbox.Command{
		Args: []string{"python3", "-c", witnessProgram},
		Env:  []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/work", "LANG=C.UTF-8"},
	})
	if err != nil {
		return nil, err
	}
	if line, err := w.line(); line != "ready" {
		return nil, fmt.Errorf("the witness said %q, %w", line, err)
	}
	return w, nil
}

func (w *witness) line() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := w.process.Stdout().Read(b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}

// ask has the witness do something: look, lock FILE, watch FILE, or tell what it watched.
func (w *witness) ask(command string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := time.AfterFunc(soon, func() { _ = w.box.Kill() }) // then what is read below ends
	defer late.Stop()
	if _, err := w.process.Stdin().Write([]byte(command + "\n")); err != nil {
		return "", err
	}
	return w.line()
}

func (w *witness) end(ctx context.Context) error { return w.box.Destroy(ctx) }

// host is what attacks must not reach of the machine.
type host struct {
	canary    string // a file
	process   *exec.Cmd
	tcp, unix net.Listener
	settings  map[string]string

	mu     sync.Mutex
	called int // connections to the listeners
}

// settingsOfHost are files of the host that an escape would likely change.
var settingsOfHost = []string{
	"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname", "/proc/sys/kernel/modprobe",
	"/proc/sys/kernel/sysrq", "/proc/sys/kernel/randomize_va_space", "/proc/sys/vm/overcommit_memory", "/proc/self/oom_score_adj",
	"/etc/passwd", "/proc/swaps", "/proc/modules", "/proc/cmdline",
}

func watchHost() (h *host, err error) {
	h = &host{settings: make(map[string]string), canary: filepath.Join(os.TempDir(), fmt.Sprintf("corun-abuse-canary-%d", os.Getpid()))}
	if err := os.WriteFile(h.canary, []byte("canary"), 0o666); err != nil {
		return nil, err
	}
	if err := os.Chmod(h.canary, 0o666); err != nil { // whoever sees it may write to it
		return nil, err
	}
	h.process = exec.Command("sleep", "infinity")
	if err := h.process.Start(); err != nil {
		return nil, err
	}
	if h.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if h.unix, err = net.Listen("unix", fmt.Sprintf("@corun-abuse-%d", os.Getpid())); err != nil {
		return nil, err
	}
	for _, l := range []net.Listener{h.tcp, h.unix} {
		go func() { // ends with close
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
				h.mu.Lock()
				h.called++
				h.mu.Unlock()
			}
		}()
	}
	h.settings = h.look()
	return h, nil
}

func (h *host) look() map[string]string {
	now := make(map[string]string)
	for _, path := range settingsOfHost {
		text, err := os.ReadFile(path)
		now[path] = fmt.Sprint(string(text), err)
	}
	return now
}

// changes tells what is not as it was.
func (h *host) changes() (all []string) {
	for path, text := range h.look() {
		if text != h.settings[path] {
			all = append(all, fmt.Sprintf("%s is %q, was %q", path, text, h.settings[path]))
		}
	}
	if text, err := os.ReadFile(h.canary); err != nil || string(text) != "canary" {
		all = append(all, fmt.Sprintf("the canary is %q, %v", text, err))
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.process.Process.Pid))
	if err != nil || !bytes.Contains(stat, []byte("(sleep) S ")) {
		all = append(all, fmt.Sprintf("the host's process is %q, %v", stat, err))
	}
	all = append(all, escaped()...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.called > 0 {
		all = append(all, fmt.Sprintf("%d connections reached the host", h.called))
	}
	return all
}

// The uids that boxes have on the host, those of all launchers. Nothing else has them.
const firstUIDOfBoxes, endOfUIDsOfBoxes = 1_879_048_192, 1_879_048_192 + 2<<20

func isUIDOfBoxes(s string) bool {
	uid, err := strconv.ParseUint(s, 10, 32)
	return err == nil && uid >= firstUIDOfBoxes && uid < endOfUIDsOfBoxes
}

// escaped tells what the host has that only a program out of its box can have made.
func escaped() (all []string) {
	for file, column := range map[string]int{
		"/proc/net/tcp": 7, "/proc/net/tcp6": 7, "/proc/net/udp": 7, "/proc/net/udp6": 7, "/proc/net/raw": 7, "/proc/net/packet": 7,
		"/proc/sysvipc/shm": 7, "/proc/sysvipc/sem": 4, "/proc/sysvipc/msg": 7,
	} {
		text, _ := os.ReadFile(file) // a kernel may have none of that kind
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > column && isUIDOfBoxes(fields[column]) {
				all = append(all, fmt.Sprintf("%s has %q", file, line))
			}
		}
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/net/unix"} {
		if text, err := os.ReadFile(file); err != nil || bytes.Contains(text, []byte(mark)) {
			all = append(all, fmt.Sprintf("%s has what an attack made, %v: %s", file, err, text))
		}
	}
	for _, dir := range []string{"/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/run", "/etc", os.TempDir()} {
		entries, _ := os.ReadDir(dir) // not all are on every host
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue // it is gone by now
			}
			uid := strconv.FormatUint(uint64(info.Sys().(*syscall.Stat_t).Uid), 10)
			if strings.Contains(e.Name(), mark) || isUIDOfBoxes(uid) {
				all = append(all, fmt.Sprintf("there is %s of uid %s", filepath.Join(dir, e.Name()), uid))
			}
		}
	}
	return append(all, escapedProcesses()...)
}

// escapedProcesses are those with a uid of boxes in a namespace of the host's.
func escapedProcesses() (all []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*") // fails on a wrong pattern alone
	for _, process := range processes {
		status, err := os.ReadFile(filepath.Join(process, "status"))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(status), "\nUid:")
		// The zygote is a box's owner for a moment, by its effective uid alone.
		if ids := strings.Fields(rest); len(ids) < 4 || !isUIDOfBoxes(ids[0]) && !isUIDOfBoxes(ids[2]) {
			continue
		}
		for _, kind := range []string{"user", "pid", "mnt", "net", "ipc", "uts"} {
			its, err := os.Readlink(filepath.Join(process, "ns", kind))
			if err != nil {
				break // it has ended
			}
			if ours, err := os.Readlink("/proc/self/ns/" + kind); err != nil || its == ours {
				all = append(all, fmt.Sprintf("a process of a box is in the %s namespace, %v: %s", kind, err, status))
			}
		}
	}
	return all
}

func (h *host) close() {
	_ = h.tcp.Close()
	_ = h.unix.Close()
	_ = h.process.Process.Kill()
	_ = h.process.Wait()
	_ = os.Remove(h.canary)
}

// lateness is how late this machine wakes who asked for it, the worst of a while: by so
// much no clock of the runner's can be held to account.
func lateness(stop <-chan struct{}) <-chan time.Duration {
	worst := make(chan time.Duration, 1)
	go func() {
		var most time.Duration
		for {
			began := time.Now()
			select {
			case <-stop:
				worst <- most
				return
			case <-time.After(10 * time.Millisecond):
				most = max(most, time.Since(began)-10*time.Millisecond)
			}
		}
	}()
	return worst
}

// try runs attacks, each by itself.
func try(t *testing.T, attacks map[string]attack) {
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared.try(t, a)
		})
	}
}

func (s *suite) try(t *testing.T, a attack) {
	t.Helper()
	a = a.expected(t)
	req := a.request(t, s)
	var mu sync.Mutex
	var streams [4][]byte
	var last store.Run
	var began, ended time.Time
	holds := make(chan struct{})
	req.Events = func(e runner.Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e.Kind {
		case runner.EventOutput:
			before := bytes.Contains(streams[e.Stream], []byte("held\n"))
			streams[e.Stream] = append(streams[e.Stream], e.Data...)
			if !before && bytes.Contains(streams[e.Stream], []byte("held\n")) {
				close(holds)
			}
		case runner.EventStarted:
			began = time.Now()
		case runner.EventExited:
			last, ended = e.Run, time.Now()
		}
	}
	stop := make(chan struct{})
	worst := lateness(stop)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	run, err := s.runner.Start(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if a.held {
		select {
		case <-holds:
			s.unmoved(t)
			s.newcomer(t)
			if a.beside != nil {
				a.beside(t)
			}
		case <-run.Done():
			if len(a.also) == 0 {
				t.Error("it ended before it held what it could get")
			}
		case <-time.After(soon):
			t.Error("it does not hold what it could get")
		}
	}
	if a.stdin == "" && !a.terminal {
		if err := run.StdinEOF(); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-run.Done():
	case <-time.After(soon):
		t.Fatal("the run has not ended")
	}
	close(stop)
	mu.Lock()
	defer mu.Unlock()
	printed := string(streams[store.Stdout]) + string(streams[store.PTY])
	stderr := string(streams[store.Stderr])
	s.judge(t, a, last, printed, stderr)
	if a.leaves != nil && !uponGVisor { // its files cannot be collected
		var left []string
		for _, kept := range run.Artefacts() {
			left = append(left, kept.Path+" "+string(kept.Data))
		}
		if !slices.Equal(left, a.leaves) {
			t.Errorf("left %.2000q, want %q", left, a.leaves)
		}
	}
	// Until everybody was told, and not only as the runner measures.
	wall := max(ended.Sub(began), time.Duration(last.Usage.WallMS*float64(time.Millisecond)))
	if limit := a.wall() + 250*time.Millisecond + 10*<-worst; wall > limit {
		t.Errorf("it took %v, more than %v", wall, limit)
	}
	s.unmoved(t)
}

// judge compares how an attack ended with what was expected.
func (s *suite) judge(t *testing.T, a attack, last store.Run, printed, stderr string) {
	t.Helper()
	if slices.Contains(a.also, last.Status) {
		return
	}
	if last.Status != a.want || !strings.Contains(last.Message, a.says) {
		t.Errorf("%s, %q; want %s with %q; printed %.300q and %.500q", last.Status, last.Message, a.want, a.says, printed, stderr)
	}
	if a.want == store.StatusExited && (last.ExitCode == nil || *last.ExitCode != a.code) {
		t.Errorf("exit code %v, want %d; printed %.300q and %.1000q", last.ExitCode, a.code, printed, stderr)
	}
	if a.want == store.StatusSignaled && (last.Signal == nil || *last.Signal != a.signal) {
		t.Errorf("%s, want signal %s", last.Message, a.signal)
	}
	if a.prints != "" && printed != a.prints && !lost(last, printed, a.prints) {
		t.Errorf("printed %.2000q, want %.2000q; stderr %.1000q", printed, a.prints, stderr)
	}
	for _, part := range a.has {
		if !strings.Contains(printed, part) {
			t.Errorf("printed %.2000q, which is without %q; stderr %.1000q", printed, part, stderr)
		}
	}
	for _, part := range a.hasNot {
		if strings.Contains(printed+stderr, part) {
			t.Errorf("printed %.2000q with %q", printed+stderr, part)
		}
	}
}

// wall is the limit that the run had.
func (a attack) wall() time.Duration {
	if a.limits.Wall > 0 {
		return a.limits.Wall
	}
	return 10 * time.Second
}

// unmoved tells of whatever the witness, the host or the launcher noticed.
func (s *suite) unmoved(t *testing.T) {
	t.Helper()
	if said, err := s.witness.ask("look"); err != nil || said != "as it was" {
		t.Errorf("the witness: %.2000s, %v", said, err)
	}
	for _, change := range s.host.changes() {
		t.Errorf("the host: %s", change)
	}
	if left, err := s.launcher.Leftovers(); err != nil || left.Total() != 0 {
		t.Errorf("left over: %+v, %v", left, err)
	}
}

// newcomer makes another box and uses it: what attacks hold must not be what boxes are
// made from.
func (s *suite) newcomer(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	spec, err := s.spec("default", sandbox.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	box, err := s.launcher.Build(ctx, spec)
	if err != nil {
		t.Errorf("no other box can be made: %v", err)
		return
	}
	defer func() {
		if err := box.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}()
	p, err := box.Start(ctx, sandbox.Command{
		Args: []string{"sh", "-c", "tty; head -c 100000 /dev/zero | wc -c"}, Env: []string{"PATH=/usr/bin:/bin"}, Terminal: &sandbox.Size{Cols: 80, Rows: 24},
	})
	if err != nil {
		t.Errorf("another box takes no program: %v", err)
		return
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Errorf("the program of another box did not end: %v", err)
		return
	}
	if err := box.Kill(); err != nil { // with which its terminal ends
		t.Error(err)
		return
	}
	if out, err := io.ReadAll(p.PTY()); err != nil || string(out) != "/dev/pts/0\r\n100000\r\n" {
		t.Errorf("the program of another box printed %q, %v", out, err)
	}
}

func (a attack) request(t *testing.T, s *suite) runner.Request {
	t.Helper()
	req := runner.Request{Room: s.room(t), By: "ann", Mode: runner.ModePipes, Limits: &a.limits}
	if a.terminal {
		req.Mode = runner.ModeTerminal
	}
	if a.stdin != "" {
		req.Stdin = &a.stdin
	}
	hints := strings.NewReplacer(
		"HOST_PORT", fmt.Sprint(s.host.tcp.Addr().(*net.TCPAddr).Port), "HOST_SOCKET", strings.TrimPrefix(s.host.unix.Addr().String(), "@"),
		"HOST_CANARY", s.host.canary, "HOST_IMAGES", filepath.Dir(s.image.Rootfs), "HOST_DIR", s.dir, "HOST_PID", fmt.Sprint(s.host.process.Process.Pid),
	)
	switch {
	case a.python != "":
		req.Language, req.Files = "python", []runner.File{{Path: "main.py", Content: prelude + hints.Replace(a.python)}}
	case a.bash != "":
		req.Language, req.Files = "bash", []runner.File{{Path: "main.sh", Content: hints.Replace(a.bash)}}
	default:
		req.Language = "bash"
		req.Files = []runner.File{
			{Path: "main.sh", Content: "base64 -d program.b64 > program && chmod +x program && exec ./program"},
			{Path: "program.b64", Content: base64.StdEncoding.EncodeToString(s.compile(t, hints.Replace(a.c)))},
		}
	}
	return req
}

// compile makes a static program on the host.
func (s *suite) compile(t *testing.T, source string) []byte {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "c-")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "program")
	cmd := exec.Command("gcc", "-x", "c", "-O1", "-s", "-static", "-pthread", "-o", out, "-")
	cmd.Stdin = strings.NewReader(source)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, said)
	}
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func (s *suite) room(t *testing.T) string {
	t.Helper()
	id := store.NewRoomID()
	hashes := make(map[store.Role][32]byte)
	for _, role := range store.Roles {
		_, hashes[role] = store.NewToken()
	}
	if _, err := s.store.CreateRoom(context.Background(), store.NewRoom{ID: id, Title: "abuse", Language: "python", TokenHashes: hashes}); err != nil {
		t.Fatal(err)
	}
	return id
}

// prelude is what programs in Python begin with: attempt prints what an action gave, or
// the errno that refused it; call is a bare system call; fill makes as many as there can
// be; held is for what has been got.
const prelude = `
import ctypes, errno, os, signal, socket, stat, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result < 0: raise OSError(ctypes.get_errno(), 'call')
    return result
def attempt(name, action):
    try:
        print(name, action(), flush=True)
    except OSError as e:
        print(name, errno.errorcode.get(e.errno, e.errno), flush=True)
def fill(make):
    made = []
    while True:
        try: made.append(make())
        except OSError as e: return made, errno.errorcode[e.errno]
def held():
    print('held', flush=True)
    while sys.stdin.buffer.read(1): pass
`

func hexOf(s string) string { return fmt.Sprintf("%x", s) }

func xs(n int) string { return strings.Repeat("x", n) }
