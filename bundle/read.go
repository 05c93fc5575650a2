package bundle

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"corun/collab"
	"corun/collab/ycrdt"
	"corun/store"
)

// Bundle is a bundle that was read once, as a whole, and found to be right.
type Bundle struct {
	// Of the room that it was made of.
	ID, Title, Language string

	manifest manifest
	entries  map[string]*zip.File // by name
	runs     []int                // numbers, in order
	left     map[int][]string     // names of artefacts, of each run that has any
	state    []byte               // the document, encoded
}

// Open reads a bundle of so many bytes and checks all of it. What it unpacks to may have at
// most maxBytes.
func Open(r io.ReaderAt, size, maxBytes int64) (*Bundle, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("this is no bundle of a room: %w", err)
	}
	b := &Bundle{entries: make(map[string]*zip.File), left: make(map[int][]string)}
	if err := b.list(archive.File, maxBytes); err != nil {
		return nil, err
	}
	for _, check := range []func() error{b.readManifest, b.checkDocument, b.checkRuns, b.checkEvents, b.checkTests} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// list sorts the entries, of which none may be unknown or there twice.
func (b *Bundle) list(files []*zip.File, maxBytes int64) error {
	total := uint64(0)
	for _, f := range files {
		folder := strings.HasSuffix(f.Name, "/")
		name := strings.TrimSuffix(f.Name, "/")
		switch {
		case len(name) > maxName, !fs.ValidPath(name), name == ".", strings.Contains(name, `\`), strings.ContainsFunc(name, unicode.IsControl):
			return fmt.Errorf("the bundle has an entry with the bad name %.200q", f.Name)
		case folder && f.UncompressedSize64 == 0:
			continue // other programs that pack archives write them
		case folder || !f.Mode().IsRegular():
			return fmt.Errorf("the entry %q of the bundle is no file", f.Name)
		case b.entries[name] != nil:
			return fmt.Errorf("the bundle has two entries of the name %q", name)
		case f.Flags&1 != 0:
			return fmt.Errorf("the entry %q of the bundle is encrypted", name)
		case f.Method != zip.Deflate && f.Method != zip.Store:
			return fmt.Errorf("the entry %q of the bundle is packed in a way that is not known", name)
		}
		// No more of an entry is read than it says, so that this bounds all.
		if total += f.UncompressedSize64; f.UncompressedSize64 > uint64(maxBytes) || total > uint64(maxBytes) {
			return fmt.Errorf("the bundle unpacks to more than %d bytes, which is the most", maxBytes)
		}
		b.entries[name] = f
		if err := b.place(name); err != nil {
			return err
		}
	}
	slices.Sort(b.runs)
	if len(b.runs) > maxRuns {
		return fmt.Errorf("the bundle has %d runs: %d is the most", len(b.runs), maxRuns)
	}
	return nil
}

// place tells what an entry is by its name.
func (b *Bundle) place(name string) error {
	unknown := fmt.Errorf("the bundle has an entry %q, which is no part of a room", name)
	switch name {
	case manifestName, documentName, baseName, updatesName, eventsName, testsName:
		return nil
	}
	if strings.HasPrefix(name, filesFolder) {
		return nil
	}
	rest, ok := strings.CutPrefix(name, runsFolder)
	number, part, cut := strings.Cut(rest, "/")
	n, err := strconv.Atoi(number)
	if !ok || !cut || err != nil || n < 1 || strconv.Itoa(n) != number {
		return unknown
	}
	switch {
	case part == runName:
		b.runs = append(b.runs, n)
	case part == outputName, part == indexName, part == resultsName:
	case strings.HasPrefix(part, artefactFolder):
		if b.left[n] = append(b.left[n], strings.TrimPrefix(part, artefactFolder)); len(b.left[n]) > maxArtefacts {
			return fmt.Errorf("run %d of the bundle left more than %d files, which is the most", n, maxArtefacts)
		}
	default:
		return unknown
	}
	return nil
}

// open reads an entry, no more of it than it says that it has, nor than max bytes.
func (b *Bundle) open(name string, max int64) (io.ReadCloser, error) {
	f := b.entries[name]
	if f == nil {
		return nil, fmt.Errorf("the bundle has no %s", name)
	}
	if f.UncompressedSize64 > uint64(max) {
		return nil, fmt.Errorf("%s in the bundle has %d bytes: at most %d are allowed", name, f.UncompressedSize64, max)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return &entry{r, name, int64(f.UncompressedSize64)}, nil
}

// entry is an entry that is being read. Its end is one only if all of it was right.
type entry struct {
	io.ReadCloser
	name string
	left int64
}

func (e *entry) Read(p []byte) (int, error) {
	if int64(len(p)) > e.left+1 {
		p = p[:e.left+1]
	}
	n, err := e.ReadCloser.Read(p)
	if e.left -= int64(n); e.left < 0 {
		return 0, fmt.Errorf("%s in the bundle is longer than it says", e.name)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s in the bundle: %w", e.name, err)
	}
	return n, err
}

func (b *Bundle) bytes(name string, max int64) ([]byte, error) {
	r, err := b.open(name, max)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// lines calls fn with each line of an entry.
func (b *Bundle) lines(name string, maxLine int, fn func(line []byte) error) error {
	r, err := b.open(name, 1<<62)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if err := fn(lines.Bytes()); err != nil {
			return fmt.Errorf("%s in the bundle, line %d: %w", name, n, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%s in the bundle, line %d has more than %d bytes", name, n+1, maxLine)
	}
	return lines.Err()
}

// decode reads one JSON value with no field that is not known.
func decode(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("it goes on after its value")
	}
	return nil
}

func (b *Bundle) readManifest() error {
	data, err := b.bytes(manifestName, maxManifest)
	if err != nil {
		return err
	}
	var kind struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(data, &kind); err != nil || kind.Format != format {
		return fmt.Errorf("this is no bundle of a room: its %s does not say so", manifestName)
	}
	if kind.Version != version {
		return fmt.Errorf("the bundle has the version %d, and only %d is known here: a newer Corun may read it", kind.Version, version)
	}
	m := &b.manifest
	if err := decode(data, m); err != nil {
		return fmt.Errorf("%s in the bundle: %w", manifestName, err)
	}
	r := m.Room
	switch {
	case !roomID.MatchString(r.ID):
		err = fmt.Errorf("the room's id is %.100q", r.ID)
	case !isLine(r.Title, maxTitle):
		err = fmt.Errorf("the title is no line of at most %d bytes", maxTitle)
	case !isLine(r.Language, maxLanguage):
		err = fmt.Errorf("the language is no name of at most %d bytes", maxLanguage)
	case !isTime(r.CreatedAt), m.Base != nil && !isTime(m.Base.At):
		err = errors.New("a time is out of all bounds")
	case m.LastUpdate < 0 || m.LastUpdate > maxUpdates, m.Base != nil && (m.Base.Update < 1 || m.Base.Update > m.LastUpdate):
		err = errors.New("the numbers of updates cannot be")
	case (m.Base != nil) != (b.entries[baseName] != nil):
		err = fmt.Errorf("it and the bundle differ about %s", baseName)
	case (m.Tests > 0) != (b.entries[testsName] != nil):
		err = fmt.Errorf("it and the bundle differ about %s", testsName)
	case m.Runs != int64(len(b.runs)):
		err = fmt.Errorf("it tells of %d runs, and the bundle has %d", m.Runs, len(b.runs))
	}
	if err != nil {
		return fmt.Errorf("%s in the bundle: %w", manifestName, err)
	}
	b.ID, b.Title, b.Language = r.ID, r.Title, r.Language
	return nil
}

var (
	roomID    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	eventKind = regexp.MustCompile(`^[a-z][a-z0-9._-]*$`)
)

// maxUpdates is more than a document ever gets.
const maxUpdates = 1 << 48

func isLine(s string, max int) bool {
	return len(s) <= max && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isTime tells times that can be: those since 1970 that JSON can tell.
func isTime(t time.Time) bool { return t.Unix() >= 0 && t.Year() < 9999 }

// updates gives each update of the history, in order, with what is wrong with its fields.
func (b *Bundle) updates(fn func(store.Stored) error) error {
	last := int64(0)
	if b.manifest.Base != nil {
		last = b.manifest.Base.Update
	}
	n := int64(0)
	err := b.lines(updatesName, maxUpdateLine, func(data []byte) error {
		var line updateLine
		if err := decode(data, &line); err != nil {
			return err
		}
		switch {
		case line.Seq <= last, line.Seq > b.manifest.LastUpdate:
			return fmt.Errorf("the update has the number %d, after %d, and the last is %d", line.Seq, last, b.manifest.LastUpdate)
		case !isTime(line.At):
			return errors.New("the update's time is out of all bounds")
		case len(line.Author) > maxAuthor:
			return fmt.Errorf("the author has more than %d bytes", maxAuthor)
		case len(line.Update) == 0, len(line.Update) > maxDocument:
			return fmt.Errorf("the update has %d bytes: at most %d are allowed", len(line.Update), maxDocument)
		}
		last = line.Seq
		n++
		return fn(store.Stored{Seq: line.Seq, At: line.At, Author: line.Author, Data: line.Update})
	})
	if err == nil && (n != b.manifest.Updates || last != b.manifest.LastUpdate) {
		err = fmt.Errorf("%s in the bundle has %d updates up to %d: %s says %d up to %d", updatesName, n, last, manifestName, b.manifest.Updates, b.manifest.LastUpdate)
	}
	return err
}

// checkDocument takes every update in, as a room does, and sees that they come to the document.
func (b *Bundle) checkDocument() error {
	doc := ycrdt.New(ycrdt.Options{})
	if b.manifest.Base != nil {
		state, err := b.bytes(baseName, maxDocument)
		if err != nil {
			return err
		}
		if err := doc.ApplyUpdate(state); err != nil {
			return fmt.Errorf("%s in the bundle: %w", baseName, err)
		}
	}
	size, uncounted := doc.EncodedSize(), 0
	err := b.updates(func(u store.Stored) error {
		if err := doc.ApplyUpdate(u.Data); err != nil {
			return err
		}
		size += len(u.Data)
		if uncounted += len(u.Data); size > maxDocument && uncounted > 1<<20 {
			if size, uncounted = doc.EncodedSize(), 0; size > maxDocument {
				return fmt.Errorf("with it the document has %d bytes: at most %d are allowed", size, collab.MaxDocumentBytes)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if b.state, err = doc.EncodeStateAsUpdate(nil); err != nil {
		return fmt.Errorf("encode document: %w", err)
	}
	if len(b.state) > maxDocument {
		return fmt.Errorf("the document in the bundle has %d bytes: at most %d are allowed", len(b.state), collab.MaxDocumentBytes)
	}
	state, err := b.bytes(documentName, maxDocument)
	if err != nil {
		return err
	}
	again := ycrdt.New(ycrdt.Options{})
	if err := again.ApplyUpdate(state); err != nil {
		return fmt.Errorf("%s in the bundle: %w", documentName, err)
	}
	if !bytes.Equal(doc.StateVector(), again.StateVector()) || !slices.Equal(collab.FilesOf(doc), collab.FilesOf(again)) {
		return fmt.Errorf("%s in the bundle is not what its history comes to", documentName)
	}
	return nil
}

func (b *Bundle) folder(n int) string { return runsFolder + strconv.Itoa(n) + "/" }

func (b *Bundle) run(n int) (*store.Run, error) {
	name := b.folder(n) + runName
	data, err := b.bytes(name, maxRun)
	if err != nil {
		return nil, err
	}
	var file runFile
	if err := decode(data, &file); err != nil {
		return nil, fmt.Errorf("%s in the bundle: %w", name, err)
	}
	run := &file.Run
	run.DocSeq = file.Update
	if err := b.checkRun(n, run); err != nil {
		return nil, fmt.Errorf("%s in the bundle: %w", name, err)
	}
	return run, nil
}

var (
	statuses = []store.Status{
		store.StatusExited, store.StatusSignaled, store.StatusCompileFailed, store.StatusTimeout, store.StatusCPULimit,
		store.StatusMemoryLimit, store.StatusOutputLimit, store.StatusStopped, store.StatusLost, store.StatusFailed,
	}
	streams = map[string]store.Stream{"stdout": store.Stdout, "stderr": store.Stderr, "pty": store.PTY}
)

func (b *Bundle) checkRun(n int, run *store.Run) error {
	switch {
	case run.Number != n || run.Room != b.ID:
		return fmt.Errorf("it is of run %d of room %.100q", run.Number, run.Room)
	case run.State != store.RunFinished || !slices.Contains(statuses, run.Status):
		return fmt.Errorf("the run is %.50q and %.50q, and has not ended", run.State, run.Status)
	case run.Compile != nil && !slices.Contains(statuses, run.Compile.Status):
		return fmt.Errorf("the compile stage is %.50q", run.Compile.Status)
	case run.Mode != "terminal" && run.Mode != "pipes" && run.Mode != "tests":
		return fmt.Errorf("the mode is %.50q", run.Mode)
	case (run.Mode == "tests") != (run.Tests != nil):
		return fmt.Errorf("the mode is %s, and what the run says of tests is for another", run.Mode)
	case !isLine(run.Language, maxLanguage):
		return fmt.Errorf("the language is no name of at most %d bytes", maxLanguage)
	case run.DocSeq < 0 || run.DocSeq > b.manifest.LastUpdate:
		return fmt.Errorf("it is of update %d, and the last is %d", run.DocSeq, b.manifest.LastUpdate)
	case !isTime(run.CreatedAt), run.StartedAt != nil && !isTime(*run.StartedAt), run.FinishedAt != nil && !isTime(*run.FinishedAt):
		return errors.New("a time is out of all bounds")
	}
	if run.Args == nil {
		return errors.New("the arguments are missing")
	}
	if len(run.StateVector) > 0 {
		if _, err := ycrdt.DecodeStateVector(run.StateVector); err != nil {
			return fmt.Errorf("the state vector: %w", err)
		}
	}
	if len(run.Artefacts) != len(b.left[n]) {
		return fmt.Errorf("it tells of %d files that the run left, and the bundle has %d", len(run.Artefacts), len(b.left[n]))
	}
	seen := make(map[string]bool)
	for _, a := range run.Artefacts {
		if seen[a.Path] {
			return fmt.Errorf("it tells of the file %.200q twice", a.Path)
		}
		seen[a.Path] = true
		f := b.entries[b.folder(n)+artefactFolder+escape(a.Path)]
		if f == nil || a.Size < 0 || f.UncompressedSize64 != uint64(a.Size) {
			return fmt.Errorf("of the file %.200q that the run left the bundle has nothing, or another size", a.Path)
		}
	}
	return nil
}

// output gives what a run printed, in pieces.
func (b *Bundle) output(n int, fn func(store.Chunk) error) error {
	textName, index := b.folder(n)+outputName, b.folder(n)+indexName
	if (b.entries[textName] == nil) != (b.entries[index] == nil) {
		return fmt.Errorf("of run %d the bundle has %s or %s, and not both", n, outputName, indexName)
	}
	if b.entries[textName] == nil {
		return nil
	}
	if f := b.entries[index]; f.UncompressedSize64 > maxIndex {
		return fmt.Errorf("%s in the bundle has %d bytes: at most %d are allowed", index, f.UncompressedSize64, maxIndex)
	}
	text, err := b.open(textName, maxOutput)
	if err != nil {
		return err
	}
	defer text.Close()
	differs := fmt.Errorf("it is not of %s", textName)
	var offsets [4]int64
	err = b.lines(index, 64, func(line []byte) error {
		name, rest, _ := strings.Cut(string(line), " ")
		number, when, timed := strings.Cut(rest, " ")
		stream, ok := streams[name]
		size, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || size < 1 || size > maxOutput {
			return fmt.Errorf("%.50q is no stream and number of bytes", line)
		}
		var at time.Time
		if timed {
			micros, err := strconv.ParseInt(when, 10, 64)
			if at = time.UnixMicro(micros).UTC(); err != nil || !isTime(at) {
				return fmt.Errorf("%.50q has no time as its third part", line)
			}
		}
		for size > 0 {
			data := make([]byte, min(size, outputPiece))
			if _, err := io.ReadFull(text, data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return differs
			} else if err != nil {
				return err
			}
			size -= int64(len(data))
			if err := fn(store.Chunk{Stream: stream, At: at, Offset: offsets[stream], Data: data}); err != nil {
				return err
			}
			offsets[stream] += int64(len(data))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if rest, err := io.Copy(io.Discard, text); err != nil || rest > 0 {
		return errors.Join(err, fmt.Errorf("%s in the bundle has more than %s tells", textName, indexName))
	}
	return nil
}

// outputPiece is how much of a run's output is one row.
const outputPiece = 256 << 10

// artefacts gives the files that a run left.
func (b *Bundle) artefacts(run *store.Run, fn func(store.Artefact) error) error {
	for _, a := range run.Artefacts {
		data, err := b.bytes(b.folder(run.Number)+artefactFolder+escape(a.Path), maxArtefact)
		if err != nil {
			return err
		}
		if err := fn(store.Artefact{Path: a.Path, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// results gives what became of the cases of a run of tests.
func (b *Bundle) results(run *store.Run, fn func(*store.TestResult) error) error {
	name := b.folder(run.Number) + resultsName
	if b.entries[name] == nil {
		return nil
	}
	if run.Mode != "tests" {
		return fmt.Errorf("the bundle has %s, and the run was none of tests", name)
	}
	n := 0
	return b.lines(name, maxResult, func(data []byte) error {
		var res store.TestResult
		if err := decode(data, &res); err != nil {
			return err
		}
		n++
		switch {
		case n > maxResults:
			return fmt.Errorf("there are more than %d results", maxResults)
		case !resultID.MatchString(res.ID), !isLine(res.Name, maxTitle):
			return fmt.Errorf("the result is of the case %.100q with the name %.100q", res.ID, res.Name)
		case !verdict.MatchString(string(res.Verdict)), res.Passed != (res.Verdict == store.VerdictPassed):
			return fmt.Errorf("the verdict is %.50q", res.Verdict)
		case len(res.Message) > maxResultText, len(res.Stdout) > maxResultText, len(res.Stderr) > maxResultText:
			return fmt.Errorf("the message or what was printed has more than %d bytes", maxResultText)
		}
		return fn(&res)
	})
}

var (
	resultID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	verdict  = regexp.MustCompile(`^[a-z_]{1,32}$`)
)

// cases gives the room's tests. The store checks them as it does those of a host.
func (b *Bundle) cases() ([]store.TestCase, error) {
	if b.entries[testsName] == nil {
		return nil, nil
	}
	data, err := b.bytes(testsName, maxTests)
	if err != nil {
		return nil, err
	}
	var file testsFile
	if err = decode(data, &file); err == nil {
		err = store.CheckTests(file.Cases)
	}
	if err == nil && len(file.Cases) != b.manifest.Tests {
		err = fmt.Errorf("there are %d cases: %s says %d", len(file.Cases), manifestName, b.manifest.Tests)
	}
	if err != nil {
		return nil, fmt.Errorf("%s in the bundle: %w", testsName, err)
	}
	return file.Cases, nil
}

func (b *Bundle) checkTests() error {
	_, err := b.cases()
	return err
}

func (b *Bundle) checkRuns() error {
	for _, n := range b.runs {
		run, err := b.run(n)
		if err != nil {
			return err
		}
		if err := b.output(n, func(store.Chunk) error { return nil }); err != nil {
			return err
		}
		if err := b.artefacts(run, func(store.Artefact) error { return nil }); err != nil {
			return err
		}
		if err := b.results(run, func(*store.TestResult) error { return nil }); err != nil {
			return err
		}
	}
	// Nothing may be of a run that is not there.
	for name := range maps.Keys(b.entries) {
		number, _, ok := strings.Cut(strings.TrimPrefix(name, runsFolder), "/")
		n, err := strconv.Atoi(number)
		if _, found := slices.BinarySearch(b.runs, n); strings.HasPrefix(name, runsFolder) && ok && err == nil && !found {
			return fmt.Errorf("the bundle has %s, and no %s", name, b.folder(n)+runName)
		}
	}
	return nil
}

// events gives the log of events.
func (b *Bundle) events(fn func(store.Event) error) error {
	n := int64(0)
	err := b.lines(eventsName, maxEventLine, func(data []byte) error {
		var line eventLine
		if err := decode(data, &line); err != nil {
			return err
		}
		switch {
		case len(line.Kind) > maxKind || !eventKind.MatchString(line.Kind):
			return fmt.Errorf("the kind is %.100q", line.Kind)
		case !isTime(line.At):
			return errors.New("the time is out of all bounds")
		case line.Data == nil:
			return errors.New("the data are missing")
		}
		n++
		return fn(store.Event{At: line.At, Kind: line.Kind, Data: line.Data})
	})
	if err == nil && n != b.manifest.Events {
		err = fmt.Errorf("%s in the bundle has %d events: %s says %d", eventsName, n, manifestName, b.manifest.Events)
	}
	return err
}

func (b *Bundle) checkEvents() error { return b.events(func(store.Event) error { return nil }) }

const (
	// Pieces in which a bundle is stored, so that a server that uses the same database can
	// write in between.
	storedUpdates = 1000
	storedBytes   = 1 << 20
	storedEvents  = 1000
)

// Store makes a room of the bundle, with that id and tokens of those hashes. The error is
// store.ErrExists if there is one of that id; whatever it is, no room is made.
func (b *Bundle) Store(ctx context.Context, st *store.Store, id string, hashes map[store.Role][32]byte) (err error) {
	m := b.manifest
	row := store.Room{
		ID: id, Title: m.Room.Title, Language: m.Room.Language, Locked: m.Room.Locked, DriverOnly: m.Room.DriverOnly,
		RunsEnabled: m.Room.RunsEnabled, Ended: m.Room.Ended, CreatedAt: m.Room.CreatedAt,
	}
	var begin *store.Base
	if m.Base != nil {
		state, err := b.bytes(baseName, maxDocument)
		if err != nil {
			return err
		}
		begin = &store.Base{Seq: m.Base.Update, At: m.Base.At, State: state}
	}
	if err := st.BeginImport(ctx, row, begin); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.DeleteRoom(context.WithoutCancel(ctx), id, nil))
		}
	}()
	for _, part := range []func(context.Context, *store.Store, string) error{b.storeUpdates, b.storeRuns, b.storeEvents, b.storeTests} {
		if err := part(ctx, st, id); err != nil {
			return err
		}
	}
	if m.LastUpdate > 0 {
		if err := st.SaveSnapshot(ctx, id, m.LastUpdate, b.state); err != nil {
			return err
		}
	}
	return st.FinishImport(ctx, id, hashes)
}

func (b *Bundle) storeUpdates(ctx context.Context, st *store.Store, id string) error {
	var waiting []store.Stored
	size := 0
	flush := func() error {
		err := st.ImportUpdates(ctx, id, waiting)
		waiting, size = waiting[:0], 0
		return err
	}
	err := b.updates(func(u store.Stored) error {
		waiting = append(waiting, u)
		if size += len(u.Data); len(waiting) < storedUpdates && size < storedBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

func (b *Bundle) storeRuns(ctx context.Context, st *store.Store, id string) error {
	for _, n := range b.runs {
		run, err := b.run(n)
		if err != nil {
			return err
		}
		run.Room = id
		if err := st.ImportRun(ctx, run); err != nil {
			return err
		}
		rows := 0
		err = b.output(n, func(c store.Chunk) error {
			rows++
			if c.At.IsZero() { // a bundle of before there were times
				c.At = run.CreatedAt
			}
			_, err := st.AppendOutput(ctx, id, n, rows-1, []store.Chunk{c})
			return err
		})
		if err != nil {
			return err
		}
		err = b.artefacts(run, func(a store.Artefact) error { return st.AddArtefacts(ctx, id, n, []store.Artefact{a}) })
		if err != nil {
			return err
		}
		err = b.results(run, func(res *store.TestResult) error { return st.AddTestResult(ctx, run, res) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Bundle) storeTests(ctx context.Context, st *store.Store, id string) error {
	cases, err := b.cases()
	if err != nil || cases == nil {
		return err
	}
	return st.SetTests(ctx, id, cases)
}

func (b *Bundle) storeEvents(ctx context.Context, st *store.Store, id string) error {
	var waiting []store.Event
	flush := func() error {
		err := st.AppendEvents(ctx, waiting)
		waiting = waiting[:0]
		return err
	}
	err := b.events(func(e store.Event) error {
		e.RoomID = id
		if waiting = append(waiting, e); len(waiting) < storedEvents {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}
