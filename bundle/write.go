package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"corun/collab"
	"corun/collab/ycrdt"
	"corun/store"
)

const (
	runsAtOnce   = 20
	eventsAtOnce = 1000
)

// Write writes a room to w, as it is in the store, piece by piece: what is written later than
// it begins may be in it or not, but no part of it is without what that builds on. The room's
// history must be held (collab.Hub.HoldHistory). Nothing is written before the room was found;
// the error is then store.ErrNotFound. One that comes later leaves an archive that cannot be
// read.
func Write(ctx context.Context, st *store.Store, id string, w io.Writer) error {
	row, err := st.Room(ctx, id)
	if err != nil {
		return err
	}
	last, err := st.LastSeq(ctx, id)
	if err != nil {
		return err
	}
	b := &writer{ctx: ctx, st: st, id: id, zip: zip.NewWriter(w), at: time.Now(), doc: ycrdt.New(ycrdt.Options{MaxWork: -1})}
	b.manifest = manifest{
		Format: format, Version: version, LastUpdate: last,
		Room: room{row.ID, row.Title, row.Language, row.Locked, row.DriverOnly, row.RunsEnabled, row.Ended, row.CreatedAt},
	}
	for _, part := range []func() error{b.base, b.updates, b.document, b.runs, b.events, b.tests} {
		if err := part(); err != nil {
			return fmt.Errorf("bundle room %s: %w", id, err)
		}
	}
	data, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := b.entry(manifestName, append(data, '\n')); err != nil {
		return err
	}
	if err := b.zip.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	return nil
}

// writer writes one bundle.
type writer struct {
	ctx      context.Context
	st       *store.Store
	id       string
	zip      *zip.Writer
	at       time.Time
	doc      *ycrdt.Doc // of all updates that were written
	manifest manifest
}

// create begins an entry; the one before it has ended then.
func (b *writer) create(name string) (io.Writer, error) {
	w, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.at})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return w, nil
}

func (b *writer) entry(name string, data []byte) error {
	w, err := b.create(name)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// lines gives what writes an entry of JSON lines.
func (b *writer) lines(name string) (*json.Encoder, error) {
	w, err := b.create(name)
	if err != nil {
		return nil, err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc, nil
}

func (b *writer) base() error {
	found, err := b.st.Base(b.ctx, b.id)
	if err != nil || found == nil {
		return err
	}
	if err := b.doc.ApplyUpdate(found.State); err != nil {
		return fmt.Errorf("read base: %w", err)
	}
	b.manifest.Base = &base{found.Seq, found.At}
	return b.entry(baseName, found.State)
}

func (b *writer) updates() error {
	enc, err := b.lines(updatesName)
	if err != nil {
		return err
	}
	after := int64(0)
	if b.manifest.Base != nil {
		after = b.manifest.Base.Update
	}
	for {
		page, err := b.st.UpdatesAfter(b.ctx, b.id, after, b.manifest.LastUpdate)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, u := range page {
			if err := b.doc.ApplyUpdate(u.Data); err != nil {
				return fmt.Errorf("read update %d: %w", u.Seq, err)
			}
			if err := enc.Encode(updateLine{u.Seq, u.At, u.Author, u.Data}); err != nil {
				return fmt.Errorf("write update %d: %w", u.Seq, err)
			}
			b.manifest.Updates++
			after = u.Seq
		}
	}
}

func (b *writer) document() error {
	state, err := b.doc.EncodeStateAsUpdate(nil)
	if err != nil {
		return fmt.Errorf("encode document: %w", err)
	}
	if err := b.entry(documentName, state); err != nil {
		return err
	}
	files := collab.FilesOf(b.doc)
	b.doc = nil
	var kept []collab.File
	for _, f := range files {
		if len(kept) == collab.MaxFiles || collab.CheckFiles(append(kept, f)) != nil {
			b.manifest.LeftOut++
			continue
		}
		kept = append(kept, f)
		if err := b.entry(filesFolder+f.Path, []byte(f.Content)); err != nil {
			return err
		}
	}
	return nil
}

func (b *writer) runs() error {
	for after := 0; ; {
		runs, err := b.st.EndedRuns(b.ctx, b.id, after, runsAtOnce)
		if err != nil || len(runs) == 0 {
			return err
		}
		for i := range runs {
			after = runs[i].Number
			if runs[i].DocSeq > b.manifest.LastUpdate {
				return nil // it is newer than the document
			}
			if err := b.run(&runs[i]); err != nil {
				return fmt.Errorf("run %d: %w", after, err)
			}
		}
	}
}

func (b *writer) run(run *store.Run) error {
	folder := runsFolder + strconv.Itoa(run.Number) + "/"
	data, err := json.MarshalIndent(runFile{*run, run.DocSeq}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	if err := b.entry(folder+runName, append(data, '\n')); err != nil {
		return err
	}
	chunks, err := b.st.OutputChunks(b.ctx, b.id, run.Number)
	if err != nil {
		return err
	}
	if err := b.output(folder, chunks); err != nil {
		return err
	}
	if err := b.results(folder, run.Number); err != nil {
		return err
	}
	for _, a := range run.Artefacts {
		data, err := b.st.Artefact(b.ctx, b.id, run.Number, a.Path)
		if err != nil {
			return err
		}
		if err := b.entry(folder+artefactFolder+escape(a.Path), data); err != nil {
			return err
		}
	}
	b.manifest.Runs++
	return nil
}

func (b *writer) output(folder string, chunks []store.Chunk) error {
	chunks = slices.DeleteFunc(chunks, func(c store.Chunk) bool { return len(c.Data) == 0 })
	if len(chunks) == 0 {
		return nil
	}
	text, err := b.create(folder + outputName)
	if err != nil {
		return err
	}
	var index bytes.Buffer
	for i := 0; i < len(chunks); {
		stream, at, n := chunks[i].Stream, chunks[i].At, 0
		for ; i < len(chunks) && chunks[i].Stream == stream && chunks[i].At.Equal(at); i++ {
			if _, err := text.Write(chunks[i].Data); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			n += len(chunks[i].Data)
		}
		if at.IsZero() {
			fmt.Fprintln(&index, stream, n)
			continue
		}
		fmt.Fprintln(&index, stream, n, at.UnixMicro())
	}
	return b.entry(folder+indexName, index.Bytes())
}

func (b *writer) results(folder string, run int) error {
	results, err := b.st.TestResults(b.ctx, b.id, run)
	if err != nil || len(results) == 0 {
		return err
	}
	enc, err := b.lines(folder + resultsName)
	if err != nil {
		return err
	}
	for i := range results {
		if err := enc.Encode(&results[i]); err != nil {
			return fmt.Errorf("write result of a test: %w", err)
		}
	}
	return nil
}

func (b *writer) tests() error {
	cases, err := b.st.Tests(b.ctx, b.id)
	if err != nil || len(cases) == 0 {
		return err
	}
	data, err := json.MarshalIndent(testsFile{cases}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode tests: %w", err)
	}
	b.manifest.Tests = len(cases)
	return b.entry(testsName, append(data, '\n'))
}

func (b *writer) events() error {
	enc, err := b.lines(eventsName)
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		events, err := b.st.Events(b.ctx, b.id, after, eventsAtOnce)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := enc.Encode(eventLine{e.At, e.Kind, e.Data}); err != nil {
				return fmt.Errorf("write event: %w", err)
			}
			b.manifest.Events++
			after = e.ID
		}
		if len(events) < eventsAtOnce {
			return nil
		}
	}
}
