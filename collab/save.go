package collab

import (
	"context"
	"fmt"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

// This file is what a room's goroutine does with the store: load, save, wait
// for what was saved, and begin again after a failure.

// load reads the document from the store.
func (r *Room) load() error {
	ctx := context.Background() // the room belongs to no one visitor
	row, err := r.hub.store.Room(ctx, r.id)
	if err != nil {
		return err
	}
	stored, err := r.hub.store.LoadDocument(ctx, r.id)
	if err != nil {
		return err
	}
	doc := ycrdt.New(ycrdt.Options{MaxWork: -1}) // it was all taken in before
	if stored.Snapshot != nil {
		if err := doc.ApplyUpdate(stored.Snapshot); err != nil {
			return fmt.Errorf("load snapshot of room %s: %w", r.id, err)
		}
	}
	for i, u := range stored.Updates {
		if err := doc.ApplyUpdate(u); err != nil {
			return fmt.Errorf("load update %d of room %s: %w", i+1, r.id, err)
		}
	}
	doc.SetMaxWork(0)
	r.doc, r.locked, r.ended = doc, row.Locked, row.Ended
	r.runsEnabled, r.language = row.RunsEnabled, row.Language
	r.seq, r.saved = stored.LastSeq, stored.LastSeq
	r.sinceSnapshot, r.bytesSince = len(stored.Updates), stored.SinceSnapshot
	r.size, r.uncounted = doc.EncodedSize(), 0
	return nil
}

// usable loads the document again after the store has failed.
func (r *Room) usable() error {
	if r.doc != nil {
		return nil
	}
	if r.outstanding > 0 {
		return ErrUnavailable
	}
	if err := r.load(); err != nil {
		r.hub.opts.Log.Error("load room again", "room", r.id, "error", err)
		return ErrUnavailable
	}
	return nil
}

// save gives an update that was applied to the store; then is called when it is
// durable.
func (r *Room) save(data []byte, author string, then func(error)) {
	r.seq++
	r.size += len(data)
	r.uncounted += len(data)
	r.sinceSnapshot++
	r.bytesSince += len(data)
	seq := r.seq
	r.outstanding++
	size := len(data) + unsavedOverhead
	r.unsaved += size
	r.after = append(r.after, afterCommit{seq, then})
	r.hub.store.Updates().Append(store.Update{Room: r.id, Seq: seq, Author: author, Data: data}, func(err error) {
		r.commitMu.Lock()
		r.commits = append(r.commits, commit{seq, size, err})
		r.commitMu.Unlock()
		select {
		case r.committed <- struct{}{}:
		default:
		}
	})
}

// fence calls do when all that the document now holds is stored, or at once if
// it is.
func (r *Room) fence(do func(error)) {
	if r.saved == r.seq {
		do(nil)
		return
	}
	r.after = append(r.after, afterCommit{r.seq, do})
}

func (r *Room) takeCommits() {
	r.commitMu.Lock()
	commits := r.commits
	r.commits = nil
	r.commitMu.Unlock()
	for _, c := range commits {
		r.outstanding--
		r.unsaved -= c.size
		switch {
		case r.doc == nil: // an earlier one failed; this one's outcome changes nothing
		case c.err != nil:
			r.fail(c.err)
		default:
			r.saved = c.seq
			for len(r.after) > 0 && r.after[0].seq <= c.seq {
				do := r.after[0].do
				r.after[0] = afterCommit{}
				r.after = r.after[1:]
				do(nil)
			}
		}
	}
	if r.doc == nil || len(commits) == 0 {
		return
	}
	r.hub.opts.OnSaved(r.id)
	if r.sinceSnapshot >= snapshotEvery && r.saved == r.seq {
		r.saveSnapshot()
	}
}

// fail throws away a document that is ahead of what could be saved. The clients
// still hold their edits: they connect again and bring them.
func (r *Room) fail(err error) {
	r.hub.opts.Log.Error("edits could not be saved", "room", r.id, "error", err)
	r.doc = nil
	for c := range r.conns {
		c.shut(CloseTryAgain, "the server could not save an edit: connect again, what you typed is kept in your editor")
		c.joined = false
	}
	clear(r.conns)
	r.awareness = yproto.NewAwareness()
	after := r.after
	r.after = nil
	for _, a := range after {
		a.do(ErrUnavailable)
	}
}

// saveSnapshot stores the document whole, in the background. Everything in it is
// saved.
func (r *Room) saveSnapshot() {
	data, err := r.doc.EncodeStateAsUpdate(nil)
	if err != nil {
		return // only a state vector can be wrong
	}
	seq := r.saved
	r.sinceSnapshot, r.bytesSince = 0, 0
	r.snapshots.Add(1)
	go func() {
		defer r.snapshots.Done()
		if err := r.hub.store.SaveSnapshot(context.Background(), r.id, seq, data); err != nil {
			r.hub.opts.Log.Error("store snapshot", "room", r.id, "error", err)
		}
	}()
}
