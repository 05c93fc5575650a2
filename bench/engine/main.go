// Command engine holds the document engine against yjs and ywasm (Yrs in
// WebAssembly) on the same data, in one run: each kind of work is sampled in turns,
// so that what disturbs the machine disturbs all alike. It prints a table in
// Markdown and fails if anybody's document is wrong.
//
//	go run ./bench/engine [-only load-v1,merge] [-quick] [-cpuprofile FILE]
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
	"strings"
	"time"

	"corun/collab/ycrdt"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/engine: ")
	only := flag.String("only", "", "measure these alone, by name, with commas between")
	quick := flag.Bool("quick", false, "take fewer samples")
	dir := flag.String("dir", "bench/engine", "where peers.mjs and testdata are")
	profile := flag.String("cpuprofile", "", "measure this engine alone and write its profile to a file")
	flag.Parse()
	b, err := open(*dir, *profile == "")
	if err != nil {
		log.Fatal(err)
	}
	err = b.run(os.Stdout, *only, *quick, *profile)
	if err := errors.Join(err, b.close()); err != nil {
		log.Fatal(err)
	}
}

// work is one line of the table.
type work struct {
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
	{"b4-stream", "B4: 259,778 single updates", 5, "ms", "ywasm", 0.4, 0, (*bench).b4Stream},
	{"load-v1", "load the B4 document, v1", 15, "ms", "ywasm", 0.7, 0, (*bench).loadV1},
	{"load-v2", "load the B4 document, v2", 15, "ms", "ywasm", 0.7, 0, (*bench).loadV2},
	{"encode-v1", "encode the B4 state, v1, uncached", 15, "ms", "ywasm", 0.5, 0, (*bench).encodeV1},
	{"encode-v2", "encode the B4 state, v2, uncached", 15, "ms", "ywasm", 0, 0, (*bench).encodeV2},
	{"heap-load", "heap of B4 after load", 3, "MiB", "", 1.5, 0, (*bench).heapLoad},
	{"heap-stream", "heap of B4 after the stream", 3, "MiB", "", 1.5, 0, (*bench).heapStream},
	{"b2-stream", "B2: two clients × 6,000 inserts", 9, "ms", "ywasm", 0.5, 0, (*bench).b2Stream},
	{"merge-5000", "merge 5,000 updates without a document", 3, "ms", "", 0, 5000, func(b *bench) (float64, error) { return b.merge(5000) }},
	{"merge", "merge 50,000 updates without a document", 5, "ms", "", 200, 0, func(b *bench) (float64, error) { return b.merge(50000) }},
	{"keystroke", "apply one keystroke to B4: allocations", 1, "", "", 0, 0, (*bench).keystroke},
}

// bench has the data and the peers.
type bench struct {
	b4, b2         [][]byte
	doc, docV2     []byte
	b4Text, b2Text string
	b4Root, b2Root string

	peers   *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	version map[string]string
}

func open(dir string, peers bool) (*bench, error) {
	b := &bench{}
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

func (b *bench) run(out io.Writer, only string, quick bool, profile string) error {
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
	wanted := strings.Split(only, ",")
	fmt.Fprintln(out, "| work | yjs | ywasm | corun | corun ÷ ywasm | goal | met |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	for _, w := range works {
		if only != "" && !slices.Contains(wanted, w.name) {
			continue
		}
		samples, err := b.measure(w, quick, profile != "")
		if err != nil {
			return fmt.Errorf("%s: %w", w.title, err)
		}
		fmt.Fprintln(out, row(w, samples))
	}
	if b.peers != nil {
		fmt.Fprintf(out, "\nMedian [least–most]. %s, %d CPUs; %s, node %s, yjs %s, ywasm %s.\n",
			cpu(), runtime.NumCPU(), runtime.Version(), b.version["node"], b.version["yjs"], b.version["ywasm"])
	}
	return nil
}

// measure takes samples of all contestants in turns. The first round warms up and
// does not count.
func (b *bench) measure(w work, quick, alone bool) (map[string][]float64, error) {
	n := w.samples
	if quick {
		n = min(n, 3)
	}
	all := make(map[string][]float64)
	for round := -1; round < n; round++ {
		for _, who := range contestants {
			v, ok, err := b.sample(w, who, alone)
			if err != nil {
				return nil, err
			}
			if ok && round >= 0 {
				all[who] = append(all[who], v)
			}
		}
		if w.samples == 1 {
			return all, b.once(w, all)
		}
	}
	return all, nil
}

// once takes the sample of what needs no second.
func (b *bench) once(w work, all map[string][]float64) error {
	v, err := w.ours(b)
	all["corun"] = []float64{v}
	return err
}

func (b *bench) sample(w work, who string, alone bool) (v float64, ok bool, err error) {
	if who == "corun" {
		runtime.GC()
		v, err = w.ours(b)
		return v, true, err
	}
	name, _, _ := strings.Cut(w.name, "-5000")
	if alone || w.name == "keystroke" || w.name == "merge" {
		return 0, false, nil // yjs takes a minute for the merge of 50,000
	}
	request, err := json.Marshal(map[string]any{"engine": who, "work": name, "n": w.n})
	if err != nil {
		return 0, false, err
	}
	if _, err := fmt.Fprintf(b.in, "%s\n", request); err != nil {
		return 0, false, err
	}
	if !b.out.Scan() {
		return 0, false, errors.New("node has ended")
	}
	var answer struct {
		MS    float64 `json:"ms"`
		Bytes float64 `json:"bytes"`
		Skip  bool    `json:"skip"`
		Error string  `json:"error"`
	}
	if err := json.Unmarshal(b.out.Bytes(), &answer); err != nil {
		return 0, false, err
	}
	if answer.Error != "" {
		return 0, false, errors.New(answer.Error)
	}
	if w.unit == "MiB" {
		return answer.Bytes / (1 << 20), !answer.Skip, nil
	}
	return answer.MS, !answer.Skip, nil
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
		cell := fmt.Sprintf("%.3g %s", median[who], w.unit)
		if len(s) > 1 {
			cell += fmt.Sprintf(" [%.3g–%.3g]", s[0], s[len(s)-1])
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
		goal, met = "0", yes(median["corun"] == 0)
	case w.against != "" && w.goal > 0:
		goal, met = fmt.Sprintf("≤ %.1f × %s", w.goal, w.against), yes(median["corun"] <= w.goal*median[w.against])
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

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func stream(updates [][]byte, root, want string) (float64, error) {
	start := time.Now()
	doc := ycrdt.New(ycrdt.Options{})
	err := apply(doc, updates)
	took := time.Since(start)
	return milliseconds(took), errors.Join(err, check(doc, root, want))
}

func (b *bench) b4Stream() (float64, error) { return stream(b.b4, b.b4Root, b.b4Text) }
func (b *bench) b2Stream() (float64, error) { return stream(b.b2, b.b2Root, b.b2Text) }

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
	start := time.Now()
	doc := ycrdt.New(ycrdt.Options{})
	err := apply(doc)
	took := time.Since(start)
	return milliseconds(took), errors.Join(err, check(doc, b.b4Root, b.b4Text))
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
	start := time.Now()
	got, err := encode(doc)
	took := time.Since(start)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("corun's document has %d bytes, yjs's %d", len(got), len(want))
	}
	return milliseconds(took), err
}

func (b *bench) encodeV1() (float64, error) {
	return b.encode(func(doc *ycrdt.Doc) ([]byte, error) { return doc.EncodeStateAsUpdate(nil) }, b.doc)
}

func (b *bench) encodeV2() (float64, error) {
	return b.encode(func(doc *ycrdt.Doc) ([]byte, error) { return doc.EncodeStateAsUpdateV2(nil) }, b.docV2)
}

// heap measures what a document holds in memory when nothing else is alive.
func (b *bench) heap(updates [][]byte) (float64, error) {
	before := heapInUse()
	doc := ycrdt.New(ycrdt.Options{})
	if err := apply(doc, updates); err != nil {
		return 0, err
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
	start := time.Now()
	merged, err := ycrdt.MergeUpdates(b.b4[:n]...)
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	one, all := ycrdt.New(ycrdt.Options{}), ycrdt.New(ycrdt.Options{})
	if err := errors.Join(one.ApplyUpdate(merged), apply(all, b.b4[:n])); err != nil {
		return 0, err
	}
	return milliseconds(took), check(one, b.b4Root, all.Text(b.b4Root))
}

// keystroke counts the allocations of one more character in the B4 document, in
// the mean over many that somebody types in its middle.
func (b *bench) keystroke() (float64, error) {
	const keys = 20000
	writer, doc := ycrdt.New(ycrdt.Options{}), ycrdt.New(ycrdt.Options{})
	if err := errors.Join(writer.ApplyUpdate(b.doc), doc.ApplyUpdate(b.doc)); err != nil {
		return 0, err
	}
	middle := doc.Root(b.b4Root).Len() / 2
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
	// The arena grows now and then; a tenth of a percent of the keys may pay for it.
	per := float64(after.Mallocs-before.Mallocs) / keys
	if per < 0.001 {
		per = 0
	}
	return per, errors.Join(err, check(doc, b.b4Root, writer.Text(b.b4Root)))
}
