package runner

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"corun/runner/image"
	"corun/runner/sandbox"
	"corun/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := removeHostImage(); err != nil {
			fmt.Fprintln(os.Stderr, "remove host image:", err)
			code = 1
		}
		os.Exit(code)
	}))
}

// soon bounds what must happen, however busy the machine is.
const soon = 60 * time.Second

// testRunner opens a runner with real boxes; everything ends with the test, and
// nothing may be left then.
func testRunner(t testing.TB, configure ...func(*Config)) *Runner {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("boxes of their own uid range need root")
	}
	dir := t.TempDir()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "corun.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, st.Close()) })
	launcher, err := sandbox.Open(t.Context(), sandbox.Config{
		Name: fmt.Sprintf("corun-test-%d-%d", os.Getpid(), instances.next()), ScratchDir: filepath.Join(dir, "boxes"), Log: slog.Default(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := launcher.Leftovers()
		check(t, err)
		if left.Total() != 0 {
			t.Errorf("left behind: %+v", left)
		}
		check(t, launcher.Close())
	})
	cfg := Config{
		Store: st, Launcher: launcher, Image: testImage(t), PoolSize: 2, MaxRunning: 32,
		Languages: []string{"bash", "c", "cpp", "javascript", "python"}, // what most tests are about
	}
	for _, c := range configure {
		c(&cfg)
	}
	r, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		check(t, r.Close(ctx))
	})
	return r
}

var instances counting

// counting numbers things.
type counting struct {
	mu sync.Mutex
	n  int
}

func (c *counting) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// testImage is the default image where make has built it, or the host's own
// /usr.
func testImage(t testing.TB) image.Image {
	t.Helper()
	if images := os.Getenv("CORUN_IMAGE_DIR"); images != "" {
		recipe, err := image.DefaultRecipe()
		check(t, err)
		img, err := image.Open(images, recipe.Name())
		if err != nil {
			t.Fatalf("CORUN_IMAGE_DIR has no image: %v", err)
		}
		return img
	}
	img, err := hostImage()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// hostImage makes one host image for all tests. It holds a mount of /usr, so
// its folder must not be one that is removed with a test.
var hostImage = sync.OnceValues(func() (image.Image, error) {
	dir, err := os.MkdirTemp("", "corun-host-image-")
	if err != nil {
		return image.Image{}, err
	}
	hostImageDir = dir
	return image.Host(dir)
})

var hostImageDir string

func removeHostImage() error {
	if hostImageDir == "" {
		return nil
	}
	return os.RemoveAll(hostImageDir)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// newRoom makes a room in the runner's store.
func newRoom(t testing.TB, r *Runner) string {
	t.Helper()
	id := store.NewRoomID()
	hashes := make(map[store.Role][32]byte)
	for _, role := range store.Roles {
		_, hashes[role] = store.NewToken()
	}
	_, err := r.store.CreateRoom(context.Background(), store.NewRoom{ID: id, Title: "test", Language: "python", TokenHashes: hashes})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// recorder keeps a run's events, and holds the runner to its promises about
// them.
type recorder struct {
	t   testing.TB
	run *Run

	mu      sync.Mutex
	events  []Event
	streams [4][]byte
	more    chan struct{} // closed and replaced with each event
}

func newRecorder(t testing.TB) *recorder {
	return &recorder{t: t, more: make(chan struct{})}
}

func (c *recorder) event(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.events); n == 0 && e.Kind != EventQueued {
		c.t.Errorf("the first event is %d", e.Kind)
	} else if n > 0 && c.events[n-1].Kind == EventExited {
		c.t.Errorf("event %d after the last", e.Kind)
	}
	if e.Kind == EventOutput {
		if got := int64(len(c.streams[e.Stream])); e.Offset != got {
			c.t.Errorf("%s goes on at %d, %d bytes had come", e.Stream, e.Offset, got)
		}
		c.streams[e.Stream] = append(c.streams[e.Stream], e.Data...)
	}
	c.events = append(c.events, e)
	close(c.more)
	c.more = make(chan struct{})
}

// wait returns when what was recorded satisfies ok.
func (c *recorder) wait(what string, ok func() bool) {
	c.t.Helper()
	timeout := time.After(soon)
	for {
		c.mu.Lock()
		done, more := ok(), c.more
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-more:
		case <-timeout:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("waited in vain for %s; output: %.500q", what, c.streams)
		}
	}
}

// waitOutput returns when a stream holds text.
func (c *recorder) waitOutput(stream store.Stream, text string) {
	c.t.Helper()
	c.wait(fmt.Sprintf("%q", text), func() bool { return contains(c.streams[stream], text) })
}

func (c *recorder) output(stream store.Stream) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.streams[stream])
}

// end waits until the run is over and gives its row, as reported, after
// comparing it with the store.
func (c *recorder) end() store.Run {
	c.t.Helper()
	select {
	case <-c.run.Done():
	case <-time.After(soon):
		c.t.Fatal("the run has not ended")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.events[len(c.events)-1]
	if last.Kind != EventExited {
		c.t.Fatalf("the last event is %d", last.Kind)
	}
	if c.run.kept {
		c.compareWithStore(last.Run)
	}
	return last.Run
}

func (c *recorder) compareWithStore(row store.Run) {
	c.t.Helper()
	st := c.run.runner.store
	kept, err := st.Run(context.Background(), row.Room, row.Number)
	if err != nil {
		c.t.Fatal(err)
	}
	if kept.Status != row.Status || kept.State != store.RunFinished || kept.Output != row.Output || kept.Usage != row.Usage {
		c.t.Errorf("the store has %+v, reported was %+v", kept, row)
	}
	chunks, err := st.OutputChunks(context.Background(), row.Room, row.Number)
	if err != nil {
		c.t.Fatal(err)
	}
	var streams [4][]byte
	for _, chunk := range chunks {
		streams[chunk.Stream] = append(streams[chunk.Stream], chunk.Data...)
	}
	for i := range streams {
		if string(streams[i]) != string(c.streams[i]) {
			c.t.Errorf("the store has %d bytes of %s, reported were %d", len(streams[i]), store.Stream(i), len(c.streams[i]))
		}
	}
}

// start starts a run whose events are recorded.
func start(t testing.TB, r *Runner, req Request) *recorder {
	t.Helper()
	c := newRecorder(t)
	if req.Room == "" {
		req.Room = newRoom(t, r)
	}
	if req.By == "" {
		req.By = "ann"
	}
	req.Events = c.event
	run, err := r.Start(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	c.run = run
	return c
}

// program is a request for one file, in pipes.
func program(language, text string) Request {
	p, err := Profile(language)
	if err != nil {
		panic(err) // a test with a typing error
	}
	return Request{Language: language, Mode: ModePipes, Files: []File{{p.Entry, text}}}
}

// inTerminal is the same with a terminal.
func inTerminal(language, text string) Request {
	req := program(language, text)
	req.Mode = ModeTerminal
	return req
}
