// Command engine holds the document engine against yjs and ywasm (Yrs in
// WebAssembly) on the same data, in one run: each kind of work is sampled in turns,
// so that what disturbs the machine disturbs all alike. It prints a table in
// Markdown and fails if anybody's document is wrong.
//
//	go run ./bench/engine [-only 2,merge] [-quick] [-clock cpu] [-yjs-merges-all]
//	go run ./bench/engine -only load-v1 -cpuprofile FILE
//
// Node has to be there; bench/engine/package.json has the two engines' versions.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf16"

	"corun/collab/ycrdt"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/engine: ")
	only := flag.String("only", "", "measure these alone, by number or name, with commas between: "+names())
	quick := flag.Bool("quick", false, "take fewer samples")
	clock := flag.String("clock", "wall", "what to time with: wall, or cpu for the processor time of all threads, which says something even on a crowded machine")
	all := flag.Bool("yjs-merges-all", false, "let yjs merge 50,000 updates too, once: it takes a minute or more")
	dir := flag.String("dir", "bench/engine", "where peers.mjs and testdata are")
	profile := flag.String("cpuprofile", "", "measure this engine alone, for some seconds of each work, and write its profile to a file")
	flag.Parse()
	wanted, err := choose(*only)
	if err != nil {
		log.Fatal(err)
	}
	if *clock != "wall" && *clock != "cpu" {
		log.Fatalf("no clock is called %q", *clock)
	}
	b, err := open(*dir, *profile == "")
	if err != nil {
		log.Fatal(err)
	}
	b.cpuClock, b.quick, b.yjsMergesAll = *clock == "cpu", *quick, *all
	err = b.run(os.Stdout, wanted, *profile)
	if err := errors.Join(err, b.close()); err != nil {
		log.Fatal(err)
	}
}

// work is one line of the table.
type work struct {
	number  int    // for -only; what belongs together has one number
	name    string // for -only, and for the peers
	title   string
	samples int
	unit    string // ms or MiB
	// against is the contestant that goal is a multiple of, or "" for a goal in
	// the unit.
	against string
	goal    float64
	n       int // of merge: how many updates
	ours    func(*bench) (float64, error)
}

var works = []work{
	{1, "b4-stream", "B4: 259,778 single updates", 5, "ms", "ywasm", 0.4, 0, (*bench).b4Stream},
	{2, "load-v1", "load the B4 document, v1", 15, "ms", "ywasm", 0.7, 0, (*bench).loadV1},
	{3, "load-v2", "load the B4 document, v2", 15, "ms", "ywasm", 0.7, 0, (*bench).loadV2},
	{4, "encode-v1", "encode the B4 state, v1, uncached", 15, "ms", "ywasm", 0.5, 0, (*bench).encodeV1},
	{4, "encode-v2", "encode the B4 state, v2, uncached", 15, "ms", "ywasm", 0, 0, (*bench).encodeV2},
	{5, "heap-load", "heap of B4 after load", 7, "MiB", "", 1.5, 0, (*bench).heapLoad},
	{5, "heap-stream", "heap of B4 after the stream", 3, "MiB", "", 1.5, 0, (*bench).heapStream},
	{6, "b2-stream", "B2: two clients × 6,000 inserts", 9, "ms", "ywasm", 0.5, 0, (*bench).b2Stream},
	{7, "merge-5000", "merge 5,000 updates without a document", 7, "ms", "", 0, 5000, func(b *bench) (float64, error) { return b.merge(5000) }},
	{7, "merge", "merge 50,000 updates without a document", 7, "ms", "", 200, 50000, func(b *bench) (float64, error) { return b.merge(50000) }},
	{8, "keystroke", "apply one keystroke to B4: allocations", 3, "", "", 0, 0, (*bench).keystroke},
}

// names lists the works as -only takes them.
func names() string {
	var all []string
	for _, w := range works {
		all = append(all, fmt.Sprintf("%d %s", w.number, w.name))
	}
	return strings.Join(all, ", ")
}

// choose finds the works that -only names; a wrong name must not pass for a
// benchmark in which nothing is wrong.
func choose(only string) ([]work, error) {
	if only == "" {
		return works, nil
	}
	wanted := make([]bool, len(works))
	for _, name := range strings.Split(only, ",") {
		found := false
		for i, w := range works {
			if name == w.name || name == strconv.Itoa(w.number) {
				wanted[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("no work is called %q; there are %s", name, names())
		}
	}
	var chosen []work
	for i, w := range works {
		if wanted[i] {
			chosen = append(chosen, w)
		}
	}
	return chosen, nil
}

// bench has the data and the peers.
type bench struct {
	b4, b2         [][]byte
	doc, docV2     []byte
	b4Text, b2Text string
	b4Root, b2Root string
	prefixes       map[int]string // the text after so many updates of B4

	cpuClock, quick, yjsMergesAll bool

	peers   *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	version map[string]string
}

func open(dir string, peers bool) (*bench, error) {
	b := &bench{prefixes: make(map[int]string)}
	data := filepath.Join(dir, "testdata")
	var errs []error
	must := func(v []byte, err error) []byte {
		errs = append(errs, err)
		return v
	}
	b.b4 = split(must(unzip(filepath.Join(data, "b4-updates-v1.bin.gz"))))
	b.b2 = split(must(unzip(filepath.Join(data, "b2-updates-v1.bin.gz"))))
	b.b4Text = string(must(unzip(filepath.Join(data, "b4-final.txt.gz"))))
	b.b2Text = string(must(unzip(filepath.Join(data, "b2-final.txt.gz"))))
	b.doc = must(os.ReadFile(filepath.Join(data, "b4-doc-v1.bin")))
	b.docV2 = must(os.ReadFile(filepath.Join(data, "b4-doc-v2.bin")))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, trace := range []struct {
		root    *string
		updates [][]byte
	}{{&b.b4Root, b.b4[:1]}, {&b.b2Root, b.b2[:1]}} {
		doc := ycrdt.New(ycrdt.Options{})
		if err := apply(doc, trace.updates); err != nil {
			return nil, err
		}
		*trace.root = doc.Roots()[0]
	}
	if !peers {
		return b, nil
	}
	b.peers = exec.Command("node", "--expose-gc", "--no-flush-bytecode", "--max-old-space-size=4096", filepath.Join(dir, "peers.mjs"))
	b.peers.Stderr = os.Stderr
	var err1, err2 error
	b.in, err1 = b.peers.StdinPipe()
	out, err2 := b.peers.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := b.peers.Start(); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	b.out = bufio.NewScanner(out)
	b.out.Buffer(nil, 4<<20) // a text is one line
	if !b.out.Scan() {
		return nil, errors.Join(errors.New("node said nothing: run npm ci in "+dir), b.peers.Wait())
	}
	return b, json.Unmarshal(b.out.Bytes(), &b.version)
}

func (b *bench) close() error {
	if b.peers == nil {
		return nil
	}
	return errors.Join(b.in.Close(), b.peers.Wait())
}

func unzip(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func split(stream []byte) (updates [][]byte) {
	for len(stream) > 4 {
		n := binary.LittleEndian.Uint32(stream)
		updates = append(updates, stream[4:4+n])
		stream = stream[4+n:]
	}
	return updates
}

// contestants are in the order of the table.
var contestants = []string{"yjs", "ywasm", "corun"}

func (b *bench) run(out io.Writer, wanted []work, profile string) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Fprintln(out, "| work | yjs | ywasm | corun | corun ÷ ywasm | goal | met |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	for _, w := range wanted {
		samples, err := b.measure(w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.title, err)
		}
		fmt.Fprintln(out, row(w, samples))
	}
	if b.peers == nil {
		return nil
	}
	clock := "Times are by the wall clock."
	if b.cpuClock {
		clock = "Times are of the processor, all threads together."
	}
	if !b.yjsMergesAll {
		clock += " yjs merges 5,000 updates only, as 50,000 take it a minute or more (-yjs-merges-all)."
	}
	fmt.Fprintf(out, "\nMedian [least–most]. %s ywasm cannot merge; its heap is what its memory grows by,"+
		" which never shrinks. %s, %d CPUs; %s, node %s, yjs %s, ywasm %s.\n",
		clock, cpu(), runtime.NumCPU(), runtime.Version(), b.version["node"], b.version["yjs"], b.version["ywasm"])
	return nil
}

// profiled is how much processor time each work gets for a profile: one of
// milliseconds has too few samples otherwise.
const profiled = 3 * time.Second

// measure takes samples of all contestants in turns, each time beginning with
// another, so that nobody always comes after the same one. The first round warms up
// and does not count.
func (b *bench) measure(w work) (map[string][]float64, error) {
	n := w.samples
	if b.quick {
		n = min(n, 3)
	}
	alone := b.peers == nil
	all := make(map[string][]float64)
	start := processorTime()
	for round := -1; round < n || alone && processorTime()-start < profiled; round++ {
		for i := range contestants {
			who := contestants[(i+round+1)%len(contestants)]
			if !b.takesPart(w, who, round) {
				continue
			}
			v, ok, err := b.sample(w, who)
			if err != nil {
				return nil, err
			}
			if ok && round >= 0 {
				all[who] = append(all[who], v)
			}
		}
	}
	return all, nil
}

func (b *bench) takesPart(w work, who string, round int) bool {
	switch {
	case who == "corun":
		return true
	case b.peers == nil || w.name == "keystroke":
		return false
	case w.name == "merge": // a minute or more: once, and not to warm up
		return who == "yjs" && b.yjsMergesAll && round == 0
	}
	return true
}

func (b *bench) sample(w work, who string) (v float64, ok bool, err error) {
	if who == "corun" {
		runtime.GC()
		v, err = w.ours(b)
		return v, true, err
	}
	name, _, _ := strings.Cut(w.name, "-5000")
	a, err := b.ask(request{Engine: who, Work: name, N: w.n, CPU: b.cpuClock})
	if w.unit == "MiB" {
		return a.Bytes / (1 << 20), !a.Skip, err
	}
	return a.MS, !a.Skip, err
}

type request struct {
	Engine string `json:"engine"`
	Work   string `json:"work"`
	N      int    `json:"n"`
	CPU    bool   `json:"cpu"`
}

type answer struct {
	MS    float64 `json:"ms"`
	Bytes float64 `json:"bytes"`
	Text  string  `json:"text"`
	Skip  bool    `json:"skip"`
	Error string  `json:"error"`
}

func (b *bench) ask(r request) (answer, error) {
	var a answer
	line, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	if _, err := fmt.Fprintf(b.in, "%s\n", line); err != nil {
		return a, err
	}
	if !b.out.Scan() {
		return a, errors.Join(errors.New("node has ended"), b.out.Err())
	}
	if err := json.Unmarshal(b.out.Bytes(), &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// prefix gives the text after the first n updates of B4, by yjs if it is there: an
// engine that is wrong in the same way twice must not agree with itself.
func (b *bench) prefix(n int) (string, error) {
	if text, ok := b.prefixes[n]; ok {
		return text, nil
	}
	var text string
	if b.peers != nil {
		a, err := b.ask(request{Engine: "yjs", Work: "prefix", N: n})
		if err != nil {
			return "", err
		}
		text = a.Text
	} else {
		doc := ycrdt.New(ycrdt.Options{})
		if err := apply(doc, b.b4[:n]); err != nil {
			return "", err
		}
		text = doc.Text(b.b4Root)
	}
	b.prefixes[n] = text
	return text, nil
}

// figure writes a number with three digits, or all it has before the point.
func figure(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fmt.Sprintf("%.3g", v)
}

func row(w work, samples map[string][]float64) string {
	cells := []string{w.title}
	median := make(map[string]float64)
	for _, who := range contestants {
		s := slices.Sorted(slices.Values(samples[who]))
		if len(s) == 0 {
			cells = append(cells, "–")
			continue
		}
		median[who] = s[len(s)/2]
		cell := figure(median[who]) + " " + w.unit
		if len(s) > 1 {
			cell += " [" + figure(s[0]) + "–" + figure(s[len(s)-1]) + "]"
		}
		cells = append(cells, strings.TrimSpace(cell))
	}
	ratio := "–"
	if median["ywasm"] > 0 {
		ratio = fmt.Sprintf("%.2f", median["corun"]/median["ywasm"])
	}
	goal, met := "–", "–"
	switch {
	case w.name == "keystroke":
		goal, met = "amortised 0: < 0.001", yes(median["corun"] < 0.001)
	case w.against != "" && w.goal > 0:
		goal = fmt.Sprintf("≤ %.1f × %s", w.goal, w.against)
		if rival, ok := median[w.against]; ok {
			met = yes(median["corun"] <= w.goal*rival)
		}
	case w.goal > 0:
		goal, met = fmt.Sprintf("≤ %.3g %s", w.goal, w.unit), yes(median["corun"] <= w.goal)
	}
	return "| " + strings.Join(append(cells, ratio, goal, met), " | ") + " |"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range bytes.Lines(info) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// What this engine does.

func apply(doc *ycrdt.Doc, updates [][]byte) error {
	for i, u := range updates {
		if err := doc.ApplyUpdate(u); err != nil {
			return fmt.Errorf("update %d: %w", i, err)
		}
	}
	return nil
}

func check(doc *ycrdt.Doc, root, want string) error {
	if got := doc.Text(root); got != want {
		return fmt.Errorf("corun's text has %d bytes, not %d", len(got), len(want))
	}
	return nil
}

// timed gives how many milliseconds f takes, by the clock that was asked for.
func (b *bench) timed(f func() error) (float64, error) {
	start := b.now()
	err := f()
	return float64(b.now()-start) / float64(time.Millisecond), err
}

var began = time.Now()

func (b *bench) now() time.Duration {
	if b.cpuClock {
		return processorTime()
	}
	return time.Since(began)
}

// processorTime is of all threads together, of the same source as the peers'.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong pointer can do that
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (b *bench) stream(updates [][]byte, root, want string) (float64, error) {
	var doc *ycrdt.Doc
	took, err := b.timed(func() error {
		doc = ycrdt.New(ycrdt.Options{})
		return apply(doc, updates)
	})
	return took, errors.Join(err, check(doc, root, want))
}

func (b *bench) b4Stream() (float64, error) { return b.stream(b.b4, b.b4Root, b.b4Text) }
func (b *bench) b2Stream() (float64, error) { return b.stream(b.b2, b.b2Root, b.b2Text) }

// warmUps is how often the short works are done before they are timed, as by the
// peers.
const warmUps = 3

func (b *bench) load(apply func(*ycrdt.Doc) error) (float64, error) {
	for range warmUps {
		if err := apply(ycrdt.New(ycrdt.Options{})); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	var doc *ycrdt.Doc
	took, err := b.timed(func() error {
		doc = ycrdt.New(ycrdt.Options{})
		return apply(doc)
	})
	return took, errors.Join(err, check(doc, b.b4Root, b.b4Text))
}

func (b *bench) loadV1() (float64, error) {
	return b.load(func(doc *ycrdt.Doc) error { return doc.ApplyUpdate(b.doc) })
}

func (b *bench) loadV2() (float64, error) {
	return b.load(func(doc *ycrdt.Doc) error { return doc.ApplyUpdateV2(b.docV2) })
}

func (b *bench) encode(encode func(*ycrdt.Doc) ([]byte, error), want []byte) (float64, error) {
	doc := ycrdt.New(ycrdt.Options{})
	if err := doc.ApplyUpdate(b.doc); err != nil {
		return 0, err
	}
	for range warmUps {
		if _, err := encode(doc); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	var got []byte
	took, err := b.timed(func() (err error) {
		got, err = encode(doc)
		return err
	})
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("corun's document has %d bytes, yjs's %d", len(got), len(want))
	}
	return took, err
}

func (b *bench) encodeV1() (float64, error) {
	return b.encode(func(doc *ycrdt.Doc) ([]byte, error) { return doc.EncodeStateAsUpdate(nil) }, b.doc)
}

func (b *bench) encodeV2() (float64, error) {
	return b.encode(func(doc *ycrdt.Doc) ([]byte, error) { return doc.EncodeStateAsUpdateV2(nil) }, b.docV2)
}

// heap measures what a document holds in memory when nothing else is alive. It gets
// copies that nobody else has, so that what it keeps of its input counts as its own.
func (b *bench) heap(updates [][]byte) (float64, error) {
	before := heapInUse()
	doc := ycrdt.New(ycrdt.Options{})
	for i, u := range updates {
		if err := doc.ApplyUpdate(bytes.Clone(u)); err != nil {
			return 0, fmt.Errorf("update %d: %w", i, err)
		}
	}
	after := heapInUse()
	runtime.KeepAlive(updates)
	return float64(after-before) / (1 << 20), check(doc, b.b4Root, b.b4Text)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (b *bench) heapLoad() (float64, error)   { return b.heap([][]byte{b.doc}) }
func (b *bench) heapStream() (float64, error) { return b.heap(b.b4) }

func (b *bench) merge(n int) (float64, error) {
	want, err := b.prefix(n)
	if err != nil {
		return 0, err
	}
	runtime.GC()
	var merged []byte
	took, err := b.timed(func() (err error) {
		merged, err = ycrdt.MergeUpdates(b.b4[:n]...)
		return err
	})
	if err != nil {
		return 0, err
	}
	doc := ycrdt.New(ycrdt.Options{})
	return took, errors.Join(doc.ApplyUpdate(merged), check(doc, b.b4Root, want))
}

// keystroke counts the allocations of one more character in the B4 document, in
// the mean over many that somebody types in its middle: the document's memory grows
// now and then, which many keys share.
func (b *bench) keystroke() (float64, error) {
	const keys = 20000
	writer, doc := ycrdt.New(ycrdt.Options{}), ycrdt.New(ycrdt.Options{})
	if err := errors.Join(writer.ApplyUpdate(b.doc), doc.ApplyUpdate(b.doc)); err != nil {
		return 0, err
	}
	text := utf16.Encode([]rune(b.b4Text))
	middle := len(text) / 2
	want := string(utf16.Decode(text[:middle])) + strings.Repeat("x", keys) + string(utf16.Decode(text[middle:]))
	updates := make([][]byte, keys)
	for i := range updates {
		var err error
		updates[i], err = writer.Transact(func(tx *ycrdt.Txn) error { return tx.Text(b.b4Root).Insert(middle+i, "x") })
		if err != nil {
			return 0, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := apply(doc, updates)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / keys, errors.Join(err, check(doc, b.b4Root, want))
}
