package collab

import (
	"context"
	"errors"
	"fmt"
	"weak"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

// This file is what a room's goroutine does with the store: load, save, wait
// for what was saved, and begin again after a failure.

// load reads the document from the store.
func (r *Room) load() error {
	ctx := context.Background() // the room belongs to no one visitor
	first := true
	select {
	case <-r.loaded:
		first = false
	default:
	}
	doc, stored, err := r.hub.read(ctx, r.id, func(row *store.Room) error {
		if first && r.public.Load() && !row.Open {
			return ErrPrivate
		}
		return nil
	})
	unmade := r.public.Load() && !r.made && errors.Is(err, store.ErrNotFound)
	if unmade {
		doc, err = ycrdt.New(ycrdt.Options{}), nil
		stored.Room = &store.Room{ID: r.id, RunsEnabled: true, Open: true}
	}
	if err != nil {
		return err
	}
	if r.past, err = statesOf(stored.Past); err != nil {
		return fmt.Errorf("load room %s: %w", r.id, err)
	}
	row := stored.Room
	r.doc, r.locked, r.ended = doc, row.Locked, row.Ended
	r.unmade.Store(unmade)
	r.made = !unmade
	if r.public.Swap(row.Open) && !row.Open {
		// A room was made of that name, by an import, say, before anything was written here.
		r.sendAway("this name is another room's now: open it by its link")
	}
	r.seat.only = row.DriverOnly
	r.runsEnabled, r.language = row.RunsEnabled, row.Language
	r.seq, r.saved = stored.LastSeq, stored.LastSeq
	r.sinceSnapshot, r.bytesSince = stored.Count, stored.SinceSnapshot
	r.size, r.uncounted = doc.EncodedSize(), 0
	return nil
}

// usable loads the document again if that failed.
func (r *Room) usable() error {
	if r.doc != nil {
		return nil
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
	r.after = append(r.after, afterCommit{seq, true, then})
	r.hub.store.Updates().Append(store.Update{Room: r.id, Seq: seq, Author: author, Data: data, Opens: r.unmade.Load()}, func(err error) {
		if r.mail.putCommit(commit{seq, size, err}) {
			go r.work()
		}
	})
	r.unmade.Store(false) // or the store fails, and it is loaded again
}

// fence calls do when all that the document now holds is stored, or at once if
// it is.
func (r *Room) fence(do func(error)) {
	if r.saved == r.seq {
		do(nil)
		return
	}
	r.after = append(r.after, afterCommit{r.seq, false, do})
}

// takeCommits does what waited for the store. An update that it has is shown even if another
// one before it failed; what was made from the whole document, which had both, is not.
func (r *Room) takeCommits(commits []commit) {
	for _, c := range commits {
		r.outstanding--
		r.unsaved -= c.size
		if c.err != nil {
			r.fail(c.err)
			if !errors.Is(c.err, store.ErrRefused) && !errors.Is(c.err, store.ErrOverloaded) { // those are the room's alone
				r.hub.storeFailed()
			}
		} else {
			r.saved, r.made = c.seq, true
		}
		for len(r.after) > 0 && r.after[0].seq <= c.seq {
			a := r.after[0]
			r.after[0] = afterCommit{}
			r.after = r.after[1:]
			switch {
			case c.err == nil && (a.update || r.doc != nil):
				a.do(nil)
			default:
				a.do(ErrUnavailable)
			}
		}
	}
	if r.doc == nil {
		r.reload()
		return
	}
	r.tell()
	r.hub.opts.OnSaved(r.id)
	if r.wantSnapshot() {
		r.saveSnapshot(false)
	}
}

// fail throws away a document that is ahead of what could be saved, or half changed. The
// clients still hold their edits.
func (r *Room) fail(err error) {
	if r.doc != nil {
		r.hub.opts.Log.Error("a document is read from the store again", "room", r.id, "error", err)
	}
	r.doc = nil
	r.whole = weak.Pointer[[]byte]{}
}

// reload reads the document again after fail, once the store has answered for all it was
// given; until then the room takes nothing in. If it cannot be read, everybody is sent off.
func (r *Room) reload() {
	if r.outstanding > 0 {
		return
	}
	unshown := r.unshown
	r.unshown = false
	if r.usable() == nil {
		if unshown {
			r.showAll()
		}
		if r.hub.Writable() {
			r.resync()
		}
		return
	}
	r.sendAway("the server cannot read this document for the moment: connect again, what you typed is kept in your editor")
}

// sendAway disconnects everybody.
func (r *Room) sendAway(reason string) {
	for c := range r.conns {
		c.shut(CloseTryAgain, reason)
		c.joined = false
	}
	clear(r.conns)
	r.awareness = yproto.NewAwareness()
}

// beMade sees that a room of which nothing was stored when it was loaded is one that is in the
// store now, for somebody who found it there.
func (r *Room) beMade(ctx context.Context) error {
	if !r.unmade.Load() {
		return nil
	}
	return r.call(ctx, func() error {
		if !r.unmade.Load() {
			return nil
		}
		r.doc, r.whole = nil, weak.Pointer[[]byte]{} // nothing is in it
		r.reload()
		switch {
		case r.doc == nil:
			return ErrUnavailable
		case r.unmade.Load():
			return fmt.Errorf("room %s: %w", r.id, store.ErrNotFound)
		}
		return nil
	})
}

// showAll gives everybody the whole document, all of which is saved.
func (r *Room) showAll() {
	all, err := r.state(nil)
	if err != nil {
		return // only a state vector can be wrong
	}
	for c := range r.conns {
		c.sendState(*all)
	}
}

// resync asks everybody for what the document lacks.
func (r *Room) resync() {
	if r.usable() != nil {
		return
	}
	step1 := yproto.AppendSync(nil, yproto.SyncStep1, r.doc.StateVector())
	r.fence(func(err error) {
		if err == nil {
			r.broadcast(step1, nil)
		}
	})
}

// wantSnapshot tells whether loading the document again would take long.
func (r *Room) wantSnapshot() bool {
	return (r.sinceSnapshot >= snapshotEvery || r.bytesSince >= snapshotBytes) && r.saved == r.seq && !r.snapshotting.Load()
}

// saveSnapshot stores the document whole, in the background. Everything in it is
// saved. A large one, which takes a while to encode, is made again from the store for it, so
// that nobody in the room waits, unless alone says that nobody is there.
func (r *Room) saveSnapshot(alone bool) {
	var data []byte
	if r.size <= maxEncodedAtOnce || alone {
		var err error
		if data, err = r.doc.EncodeStateAsUpdate(nil); err != nil {
			return // only a state vector can be wrong
		}
		r.size, r.uncounted = len(data), 0
	}
	seq := r.saved
	r.sinceSnapshot, r.bytesSince = 0, 0
	r.snapshotting.Store(true)
	r.snapshots.Go(func() {
		defer r.snapshotting.Store(false)
		if err := r.storeSnapshot(data, seq); err != nil && r.hub.life.Err() == nil {
			r.hub.opts.Log.Error("store snapshot", "room", r.id, "error", err)
		}
	})
}

// storeSnapshot stores the document as of seq, or as the store has it if data is nil.
func (r *Room) storeSnapshot(data []byte, seq int64) (err error) {
	if data == nil {
		if data, seq, err = r.hub.encodeStored(r.id); err != nil {
			return err
		}
		// What came in since is counted in bytesSince, and perhaps more.
		r.post(work{call: func() { r.size = min(r.size, len(data)+r.bytesSince) }})
	}
	return r.hub.store.SaveSnapshot(context.Background(), r.id, seq, data)
}

// encodeStored gives a room's document as the store has it, encoded, and the number of its
// last update. One is made at a time, as it may be large.
func (h *Hub) encodeStored(id string) (data []byte, seq int64, err error) {
	select {
	case h.rebuild <- struct{}{}:
		defer func() { <-h.rebuild }()
	case <-h.life.Done():
		return nil, 0, ErrClosed
	}
	doc, stored, err := h.read(h.life, id, nil)
	if err != nil {
		return nil, 0, err
	}
	data, err = doc.EncodeStateAsUpdate(nil)
	return data, stored.LastSeq, err
}
