package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"corun/collab"
	"corun/runner"
	"corun/runner/image"
	"corun/runner/sandbox"
	"corun/store"
	"corun/web"
)

const (
	// stopWithin is how long a graceful stop may take in all.
	stopWithin = 9 * time.Second
	// defaultAdminAddr is where operations listen unless told otherwise.
	defaultAdminAddr = "127.0.0.1:8081"
)

type serveCmd struct {
	boxFlags

	Addr      string `help:"Address to listen on. Default: 127.0.0.1:8080, or 127.0.0.1:$PORT." placeholder:"HOST:PORT"`
	Port      string `env:"PORT" help:"Port to listen on, where the address does not say." placeholder:"PORT" hidden:""`
	AdminAddr string `help:"Address for health, metrics and profiles; it has no access control. Default: ${admin_addr}, or a free port." placeholder:"HOST:PORT"`

	Create               string   `help:"Who may make rooms: anyone, or holders of an API token. Default: anyone on loopback, token elsewhere." enum:"anyone,token," default:""`
	OpenRooms            bool     `help:"Let anybody make and enter a room of any name without a token, as a y-websocket server does. Loopback only."`
	OpenRoomsAnywhere    bool     `help:"Allow --open-rooms on any address."`
	AllowOrigin          []string `help:"Origins whose pages may open web sockets besides the server's own." placeholder:"SCHEME://HOST"`
	TrustProxy           bool     `help:"Take a caller's address from X-Forwarded-For, as the proxy in front writes it."`
	RunsAtOnce           int      `help:"Runs that a participant may have queued or running." default:"2" placeholder:"N"`
	RunsPerMinute        int      `help:"Runs that a participant may start in a minute." default:"30" placeholder:"N"`
	RunsPerMinuteRoom    int      `help:"Runs that may be started in a minute in one room." default:"60" placeholder:"N"`
	RunsPerMinuteAddress int      `help:"Runs that may be started in a minute from one IP address." default:"60" placeholder:"N"`
	MaxRunning           int      `help:"Programs that run at once. Default: by processors and memory." default:"0" placeholder:"N"`
	MaxQueued            int      `help:"Runs that may wait for their turn." default:"256" placeholder:"N"`

	MaxParticipants          int `help:"People who may be connected to one room." default:"200" placeholder:"N"`
	MaxConnections           int `help:"Web sockets that may be open." default:"50000" placeholder:"N"`
	MaxConnectionsAddress    int `help:"Web sockets that may be open from one IP address but this machine's own." default:"500" placeholder:"N"`
	ConnectionsPerSecond     int `help:"Web sockets that may be opened in a second." default:"5000" placeholder:"N"`
	ConnectionsPerSecondAddr int `name:"connections-per-second-address" help:"Web sockets that may be opened in a second from one IP address but this machine's own." default:"50" placeholder:"N"`

	MaxMessage byteSize `help:"Largest message of an editor, such as 1MiB." default:"1MiB" placeholder:"SIZE"`

	KeepHistory keepFor `help:"For how long past edits and events are kept, such as 30d or 12h, or forever. Documents stay, and so do runs." default:"forever" placeholder:"TIME"`

	Durability string `help:"What a saved edit survives: fsync (power loss) or process (the death of the server)." enum:"fsync,process" default:"fsync"`
}

func (c *serveCmd) Run(ctx context.Context, out io.Writer, common *common, log *slog.Logger) (err error) {
	in := common.in
	listener, err := c.listen(in)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // closed by Shutdown on the usual way
	local := isLoopback(listener.Addr())
	if c.OpenRooms && !local && !c.OpenRoomsAnywhere {
		return fmt.Errorf("--open-rooms lets anybody in, and %s can be reached from other machines: listen on 127.0.0.1, or add --open-rooms-anywhere if that is what you want", listener.Addr())
	}
	admin, err := c.listenAdmin(in, log)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	if in == nil {
		return c.giveUpPrivileges(ctx, common, log, listener, admin) // the next stage goes on below
	}
	forMemory := memoryRequests() // one that comes early waits
	// Open in order; close in the opposite one.
	var closers []func(context.Context) error
	defer func() {
		// What stops the server has stopped ctx as well.
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i](stop))
		}
		if err == nil {
			log.Info("stopped")
		}
	}()

	if err := common.makeDataDir(); err != nil {
		return err
	}
	st, err := store.Open(ctx, common.databaseURL(), store.Options{Durability: store.Durability(c.Durability)})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	closers = append(closers, func(context.Context) error { return st.Close() })
	lost, err := st.MarkLostRuns(ctx)
	if err != nil {
		return fmt.Errorf("settle runs of the former process: %w", err)
	}
	if lost > 0 {
		log.Warn("runs were active when the server ended; they are lost, their output is kept", "count", lost)
	}

	launcher, err := sandbox.Connect(os.NewFile(uintptr(in.Launcher), "launcher"), log)
	if err != nil {
		return err
	}
	run, stopRunner, err := c.boxFlags.start(ctx, runner.Config{
		Store: st, Launcher: launcher, Image: in.Image, MaxRunning: c.MaxRunning, MaxQueued: c.MaxQueued, Log: log,
		Quotas: &runner.Quotas{ActivePerParticipant: c.RunsAtOnce, PerMinute: c.RunsPerMinute, PerMinuteRoom: c.RunsPerMinuteRoom, PerMinuteIP: c.RunsPerMinuteAddress},
	})
	if err != nil {
		return err
	}
	var server *web.Server // set before any room is loaded
	rooms := collab.NewHub(st, collab.HubOptions{
		Log: log, OnSaved: func(id string) { server.Saved(id) }, OnStorage: func(ok bool) { server.Storage(ok) }, Frame: web.Frame,
		MaxParticipants: c.MaxParticipants,
		KeepHistory:     time.Duration(c.KeepHistory),
	})

	stopFreeing := freeMemoryAt(forMemory, func() {
		rooms.UnloadIdle()
		if err := st.FreeMemory(ctx); err != nil {
			log.Debug("the store keeps its memory", "error", err)
		}
	})
	closers = append(closers, func(context.Context) error { stopFreeing(); return nil })

	server = web.New(web.Config{
		Store: st, Rooms: rooms, Runner: run, Log: log, Origins: c.AllowOrigin, OpenRooms: c.OpenRooms,
		TrustProxy: c.TrustProxy, MaxParticipants: c.MaxParticipants,
		Limits: web.Limits{
			Sockets: c.MaxConnections, SocketsPerAddress: c.MaxConnectionsAddress,
			Handshakes: c.ConnectionsPerSecond, HandshakesPerAddress: c.ConnectionsPerSecondAddr,
			MessageBytes: int(c.MaxMessage),
		},
		AnyoneMayCreate: c.Create == "anyone" || (c.Create == "" && local),
	})
	// On the way out: runs end first, so that everybody sees the verdict; then the
	// rooms save what they have and let their connections go; then the server
	// waits for all sockets.
	closers = append(closers, server.Close, rooms.Close, stopRunner)

	public := &http.Server{
		Handler: server, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, // of requests; sockets and large bodies have their own
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	operations := &http.Server{
		Handler: server.Admin(), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 2)
	go func() { failed <- public.Serve(server.Limit(listener)) }()
	go func() { failed <- operations.Serve(admin) }()
	closers = append(closers, func(stop context.Context) error {
		// Sockets are not the HTTP server's any more; requests get a moment.
		stop, cancel := context.WithTimeout(stop, 2*time.Second)
		defer cancel()
		_ = operations.Close()
		if public.Shutdown(stop) != nil {
			_ = public.Close()
		}
		for range 2 {
			<-failed
		}
		return nil
	})

	log.Info("serving", "addr", listener.Addr().String(), "admin", admin.Addr().String(), "version", version)
	if _, err := fmt.Fprintf(out, "\n  Corun is at http://%s\n\n", displayAddr(listener.Addr())); err != nil {
		log.Debug("print address", "error", err)
	}
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	case err := <-failed:
		failed <- err // for the closer, which waits for both
		return fmt.Errorf("serve: %w", err)
	case <-launcher.Gone():
		return errors.New("the launcher has ended, so no program can be run: see its words above, and start the server again")
	}
}

// listen opens the public listener, unless the first stage has done so.
func (c *serveCmd) listen(in *inherited) (net.Listener, error) {
	if in != nil {
		return inheritListener(in.Public, "public")
	}
	l, err := net.Listen("tcp", c.addr())
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func (c *serveCmd) addr() string {
	switch {
	case c.Addr != "" && !strings.Contains(c.Addr, ":"):
		return net.JoinHostPort(c.Addr, cmpOr(c.Port, "8080"))
	case c.Addr != "":
		return c.Addr
	}
	return net.JoinHostPort("127.0.0.1", cmpOr(c.Port, "8080"))
}

// listenAdmin opens the operations listener. Only a default port that another
// Corun on this machine has is worth going on without.
func (c *serveCmd) listenAdmin(in *inherited, log *slog.Logger) (net.Listener, error) {
	if in != nil {
		return inheritListener(in.Admin, "admin")
	}
	l, err := net.Listen("tcp", cmpOr(c.AdminAddr, defaultAdminAddr))
	if err != nil && c.AdminAddr == "" {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			log.Warn("the usual admin port is taken; using a free one", "admin", l.Addr().String())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for operations: %w", err)
	}
	return l, nil
}

func cmpOr(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func portOf(addr net.Addr) string {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "0"
	}
	return port
}

// displayAddr is an address that a browser on this machine can open.
func displayAddr(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", portOf(addr))
	}
	return addr.String()
}

// boxFlags choose what boxes are made of.
type boxFlags struct {
	Image string `help:"Root file system of boxes: default, the name of an image (corun image list), or host for this machine's own /usr, which is weaker." default:"default" placeholder:"NAME"`
	Pool  int    `help:"Boxes without a runtime that are built ahead. Default: by memory." default:"0" placeholder:"N"`

	PoolMemory byteSize `help:"Most memory that all boxes have while they wait, such as 512MiB. Default: an eighth of the machine's." default:"0" placeholder:"SIZE"`

	Isolation string `help:"What programs run upon: native, the host's kernel, or gvisor, a second boundary that is slower (make runsc)." default:"native" enum:"native,gvisor"`
	Runsc     string `help:"gVisor's runsc, with corun-guest beside it. Default: beside this program, or else in PATH." placeholder:"FILE"`

	RootlessWithoutLimits bool `help:"Without root, where no cgroup is delegated: run programs all the same, without limits on a run's memory and processors."`
}

// withoutLimits says whether boxes may be made without a cgroup. Root always has one.
func (b boxFlags) withoutLimits() bool { return b.RootlessWithoutLimits && os.Geteuid() != 0 }

// runsc finds gVisor's. Where there is none it gives where it should be.
func (b boxFlags) runsc() string {
	if b.Runsc != "" {
		return b.Runsc
	}
	beside := "runsc"
	if exe, err := os.Executable(); err == nil {
		beside = filepath.Join(filepath.Dir(exe), "runsc")
	}
	if unix.Access(beside, unix.X_OK) != nil {
		if found, err := exec.LookPath("runsc"); err == nil {
			return found
		}
	}
	return beside
}

// sandboxConfig says how boxes are made.
func (b boxFlags) sandboxConfig(name string, log *slog.Logger) sandbox.Config {
	cfg := sandbox.Config{Name: name, Isolation: sandbox.Isolation(b.Isolation), WithoutLimits: b.withoutLimits(), Log: log}
	if cfg.Isolation == sandbox.GVisor {
		cfg.Runsc = b.runsc()
	}
	return cfg
}

// findings are of what boxes need here.
func (b boxFlags) findings(ctx context.Context) []sandbox.Finding {
	all := sandbox.Check(ctx)
	gvisor := sandbox.CheckGVisor(b.runsc())
	if b.Isolation == string(sandbox.GVisor) {
		gvisor.Fatal = true
	} else if !gvisor.OK {
		gvisor = sandbox.Finding{Name: gvisor.Name, OK: true, Detail: "not used, and not there: make runsc builds it"}
	} else {
		gvisor.Detail += " is there for --isolation gvisor"
	}
	return append(all, gvisor)
}

// check says what doctor would of faults that keep boxes from being made.
func (b boxFlags) check(ctx context.Context) error {
	var errs []error
	for _, f := range b.findings(ctx) {
		if !f.OK && f.Fatal && !(f.Limits && b.withoutLimits()) {
			errs = append(errs, fmt.Errorf("%s: %s\n      mend: %s", f.Name, f.Detail, f.Mend))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("programs cannot be run safely on this machine, so nothing is served (see corun doctor):\n%w", errors.Join(errs...))
	}
	return nil
}

// open gives a launcher whose boxes work, and their image, which is built if it is
// missing; or it says what doctor would. Without root the launcher is another process.
func (b boxFlags) open(ctx context.Context, common *common, log *slog.Logger, name string) (_ *sandbox.Launcher, img image.Image, err error) {
	if err := b.check(ctx); err != nil {
		return nil, img, err
	}
	if img, err = b.image(ctx, common, os.Stderr); err != nil {
		return nil, img, err
	}
	var launcher *sandbox.Launcher
	if os.Geteuid() == 0 {
		launcher, err = sandbox.Open(ctx, b.sandboxConfig(name, log))
	} else {
		var socket *os.File
		if socket, err = b.startLauncher(common, log, name, img); err == nil {
			launcher, err = sandbox.Connect(socket, log)
		}
	}
	return launcher, img, err
}

// start gives a runner. Its stop closes the launcher, too.
func (b boxFlags) start(ctx context.Context, cfg runner.Config) (_ *runner.Runner, stop func(context.Context) error, err error) {
	cfg.PoolSize, cfg.PoolMemory = b.Pool, int64(b.PoolMemory)
	cfg.Sealed = b.Isolation == string(sandbox.GVisor)
	run, err := runner.Open(ctx, cfg)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start runner: %w", err), cfg.Launcher.Close())
	}
	return run, func(ctx context.Context) error {
		return errors.Join(run.Close(ctx), cfg.Launcher.Close())
	}, nil
}
