// Package runner runs programs: it accepts a snapshot of files, gives it to a
// box that was ready before anyone asked, streams what the program prints, lets
// people type into it, and says how it ended.
//
// The web package calls it; it knows nothing of rooms but their ids, and is
// told of a run's life by a callback. What always holds:
//
//   - User code runs in a box (package sandbox), or not at all.
//   - One goroutine supervises each run and alone reports what becomes of it,
//     in order. That it was accepted, and its verdict, are in the store before
//     they are reported, and every run that was accepted ends with exactly one
//     verdict.
//   - A room has at most one active run, and the runs of a room are reported
//     one after another.
//   - A box serves one run. It is destroyed before its place is given to the
//     next one.
//   - Every queue between the program and the people is bounded: a program that
//     prints too fast waits, people who type too fast are refused.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"corun/runner/image"
	"corun/runner/lang"
	"corun/runner/sandbox"
	profiles "corun/sandbox-profiles"
	"corun/store"
)

var (
	// ErrRunActive says that the room has a run that has not ended.
	ErrRunActive = errors.New("a run is active in this room")
	// ErrClosed says that the runner takes no more runs.
	ErrClosed = errors.New("the runner is closed")
)

// Config says what a runner works with. Launcher and Image are needed.
type Config struct {
	// Store keeps runs and their output. Without one only Exec works.
	Store    *store.Store
	Launcher *sandbox.Launcher
	Image    image.Image
	// PoolSize is how many boxes without a runtime are kept ready; 0 chooses by memory.
	PoolSize int
	// PoolMemory bounds the memory of all boxes that wait, in bytes; 0 chooses an eighth
	// of the machine's.
	PoolMemory int64
	// NoPool keeps nothing ready, and has no formatters: for one run.
	NoPool bool
	// Sealed says that nothing can be read of what boxes leave (gVisor's): compilers then
	// hand over what they make through a pipe, and there are no artefacts.
	Sealed bool
	// Languages are those that are tried and can be used, by name or alias; nil for all.
	Languages []string
	// MaxRunning is how many programs run at once; 0 chooses by processors and
	// memory. MaxQueued is how many more may wait; 0 means 256.
	MaxRunning, MaxQueued int
	Limits                *Limits          // nil for DefaultLimits
	Quotas                *Quotas          // nil for DefaultQuotas
	Log                   *slog.Logger     // nil for slog.Default
	Now                   func() time.Time // nil for time.Now; quotas and rows, not the clocks of runs
}

const (
	defaultQueued = 256
	// queueRetry is when to try again while the queue is full.
	queueRetry = 10 * time.Second
	// poolShare is the part of the machine's memory that boxes may have while they wait.
	poolShare = 8
	// storeWithin bounds one write to the store.
	storeWithin = 10 * time.Second
)

// Runner runs programs. It is safe for concurrent use.
type Runner struct {
	// Static after Open.
	store     *store.Store
	launcher  *sandbox.Launcher
	image     image.Image
	sealed    bool
	filters   map[string][]byte // compiled seccomp programs, by profile
	limits    Limits
	langs     *lang.Set // those that work here
	languages []Language
	tried     []*lang.Profile
	failures  map[string]error // why languages do not work here, by name
	formats   map[string]bool  // whether a language's files can be formatted here, by name
	quotas    *quotas
	// formatting holds a token for each file that is being formatted.
	formatting chan struct{}
	queue      *queue
	pools      *pools
	cache      *cache
	least      least
	latency    *prometheus.HistogramVec
	log        *slog.Logger
	now        func() time.Time
	ctx        context.Context // ends when Close begins
	cancel     context.CancelFunc

	running atomic.Int64
	active  sync.WaitGroup // runs not yet over, with their boxes
	later   atomic.Int32   // runs of which something is still to be stored

	mu     sync.Mutex // guards below
	closed bool
	rooms  map[string]*roomRuns
}

// roomRuns is what a room has going. It is forgotten when nothing is.
type roomRuns struct {
	active *Run // nil when the room may start one
	// last is the run accepted last. Its end may be yet to be reported when
	// active is nil already.
	last *Run
}

// Open starts a runner: boxes are built, and each language is tried in one. It
// fails if no box can be built or no language works.
func Open(ctx context.Context, cfg Config) (_ *Runner, err error) {
	r := &Runner{
		store: cfg.Store, launcher: cfg.Launcher, image: cfg.Image, sealed: cfg.Sealed, limits: DefaultLimits(),
		log: cfg.Log, now: cfg.Now, rooms: make(map[string]*roomRuns), formatting: make(chan struct{}, runtime.NumCPU()),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if cfg.Limits != nil {
		r.limits = *cfg.Limits
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.now == nil {
		r.now = time.Now
	}
	limits := DefaultQuotas()
	if cfg.Quotas != nil {
		limits = *cfg.Quotas
	}
	r.quotas = newQuotas(limits, r.now)
	r.queue = newQueue(positive(cfg.MaxRunning, defaultRunning(r.limits.Box.MemoryBytes)), positive(cfg.MaxQueued, defaultQueued))
	r.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "corun", Name: "run_start_seconds",
		Help:    "From a run's acceptance to the exec of its program, or to when a runtime that waited was told of it. Compiling is in it.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
	}, []string{"language", "warm"})
	r.cache = newCache(cmp.Or(cfg.Image.Digest, cfg.Image.Name), cacheBytes)
	all, err := chosenProfiles(cfg.Languages)
	if err == nil {
		r.filters, err = compileFilters(all)
	}
	if err != nil {
		r.cancel()
		return nil, err
	}
	budget := cfg.PoolMemory
	if budget <= 0 {
		budget = machineMemory() / poolShare
	}
	r.pools = openPools(budget, r.buildBox, r.log, r.now)
	defer func() {
		if err != nil {
			r.cancel()
			err = errors.Join(err, r.pools.close())
		}
	}()
	if !cfg.NoPool {
		r.least = usualLeast(positive(cfg.PoolSize, defaultPool()))
	}
	r.pools.keep(r.plainKind(), r.least.run)
	if err := r.tryLanguages(ctx, all, !cfg.NoPool); err != nil {
		return nil, err
	}
	r.keepReady()
	return r, nil
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// defaultRunning lets programs have three quarters of the memory if they all
// take what they may, and at most 16 to a processor: most wait for people.
func defaultRunning(box int64) int {
	byMemory := machineMemory() / 4 * 3 / max(box, 1)
	return int(min(max(byMemory, 2), int64(16*runtime.NumCPU())))
}

// defaultPool keeps a ready box for every GiB of memory, from 2 to 16: one that
// waits takes little, and more than that nobody asks for at once.
func defaultPool() int { return int(min(max(machineMemory()>>30, 2), 16)) }

// machineMemory is in bytes, 2 GiB where the kernel does not say.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 2 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// compileFilters compiles what the languages' boxes are filtered by.
func compileFilters(all *lang.Set) (map[string][]byte, error) {
	names := map[string]bool{seccompRun: true, seccompCompile: true}
	for _, p := range all.All() {
		names[cmp.Or(p.Seccomp, seccompRun)] = true
	}
	filters := make(map[string][]byte, len(names))
	for name := range names {
		oci, err := fs.ReadFile(profiles.FS, "seccomp/"+name+".json")
		if err != nil {
			return nil, fmt.Errorf("read seccomp profile: %w", err)
		}
		if filters[name], err = sandbox.CompileSeccomp(oci); err != nil {
			return nil, fmt.Errorf("compile seccomp profile %s: %w", name, err)
		}
	}
	return filters, nil
}

// Start accepts a run, or says why not: *InputError, *LimitError, ErrRunActive,
// ErrClosed, or what the store said. ctx is for the acceptance alone.
func (r *Runner) Start(ctx context.Context, req Request) (*Run, error) {
	accepted := time.Now()
	if r.store == nil {
		return nil, errors.New("start run: this runner has no store")
	}
	j, err := prepare(req, r.langs, r.limits)
	if err != nil {
		return nil, err
	}
	run := newRun(r, j, accepted)
	if err := r.admit(run); err != nil {
		return nil, err
	}
	run.kept = true
	if err := r.quotas.take(run.starter(), req.IP); err != nil {
		r.abandon(run)
		return nil, err
	}
	place, err := r.enterQueue(run)
	if err != nil {
		r.quotas.release(run.starter())
		r.abandon(run)
		return nil, err
	}
	stored := make(chan error, 1)
	run.store = func() {
		row := run.row // a copy: the room's active run can be looked at already
		err := r.store.CreateRun(ctx, &row)
		if err == nil {
			run.change(func(kept *store.Run) { *kept = row })
		}
		run.store = nil // and what it holds of the request
		run.stored <- err
		stored <- err
	}
	go run.supervise(place)
	if err := <-stored; err != nil {
		<-run.done
		return nil, fmt.Errorf("start run: %w", err)
	}
	return run, nil
}

// abandon takes back an admission of which nothing was reported.
func (r *Runner) abandon(run *Run) {
	r.vacate(run)
	if run.former != nil {
		<-run.former // so that the room's next run does not overtake it
	}
	close(run.announced)
	r.retire(run)
}

// admit makes run its room's active one.
func (r *Runner) admit(run *Run) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	room := r.rooms[run.job.Room]
	if room == nil {
		room = new(roomRuns)
		r.rooms[run.job.Room] = room
	}
	if room.active != nil {
		return ErrRunActive
	}
	if room.last != nil {
		run.former = room.last.announced
	}
	room.active, room.last = run, run
	r.active.Add(1)
	return nil
}

// enterQueue gives a place among the runs.
func (r *Runner) enterQueue(run *Run) (*ticket, error) {
	who := "room " + run.job.Room
	if run.job.Room == "" {
		who = "caller " + run.job.By + " at " + run.job.IP
	}
	ticket, ok := r.queue.enter(who)
	if !ok {
		return nil, &LimitError{
			Detail:     fmt.Sprintf("the server is full: %d runs wait already", r.queue.length()),
			RetryAfter: queueRetry, Global: true,
		}
	}
	return ticket, nil
}

// vacate lets the run's room start the next one.
func (r *Runner) vacate(run *Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := r.rooms[run.job.Room]; room != nil && room.active == run {
		room.active = nil
	}
}

// retire forgets a run of which nothing is left to report or to clean up.
func (r *Runner) retire(run *Run) {
	r.mu.Lock()
	if room := r.rooms[run.job.Room]; room != nil && room.active == nil && room.last == run {
		delete(r.rooms, run.job.Room)
	}
	r.mu.Unlock()
	close(run.done)
	r.active.Done()
}

// Active gives the room's run that has not ended, or nil.
func (r *Runner) Active(room string) *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if runs := r.rooms[room]; runs != nil {
		return runs.active
	}
	return nil
}

// Stats are counts for metrics.
type Stats struct {
	Running   int               // programs that execute
	Queued    int               // runs that wait for their turn
	Ready     int               // boxes that wait for a run
	Cold      int64             // boxes built while somebody waited, since the start
	Pools     []PoolStats       // of each kind of box
	Compiles  CompileStats      //
	Leftovers sandbox.Leftovers // of boxes that are gone; must be nothing
}

// CompileStats count how often the compile stage was spared.
type CompileStats struct {
	Tries, Hits int64
	Bytes       int64 // of programs that are kept
}

// Stats counts what goes on now.
func (r *Runner) Stats() Stats {
	s := Stats{Running: int(r.running.Load()), Queued: r.queue.length()}
	s.Pools, s.Cold = r.pools.stats()
	for _, p := range s.Pools {
		s.Ready += p.Ready
	}
	s.Compiles.Tries, s.Compiles.Hits, s.Compiles.Bytes = r.cache.stats()
	left, err := r.launcher.Leftovers()
	if err != nil {
		r.log.Error("count leftovers of boxes", "error", err)
		return s
	}
	s.Leftovers = left
	return s
}

// Ready tells whether runs can be started, or why not. A pool that is empty
// for the moment is no reason: a box is built at once then.
func (r *Runner) Ready() (ok bool, why string) {
	if r.ctx.Err() != nil {
		return false, "the runner is closing"
	}
	if p := r.pools.of(r.plainKind()); p.Ready == 0 && p.Failure != nil {
		return false, fmt.Sprintf("no box is ready: %v", p.Failure)
	}
	return true, ""
}

// Latency is how long runs took to start, by language and by whether a runtime waited.
func (r *Runner) Latency() prometheus.Collector { return r.latency }

// Close ends every run as lost, with its output kept, and destroys all boxes.
// It returns when nothing is left, or with an error when ctx ends before. The
// launcher and the store are the caller's to close after it.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	over := make(chan error, 1)
	go func() {
		r.active.Wait()
		over <- r.pools.close()
	}()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return fmt.Errorf("close runner: runs or boxes have not ended: %w", ctx.Err())
	}
}
