package collab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"corun/collab/ycrdt"
	"corun/store"
)

// This file is what the hub does with documents' pasts: shows them, and keeps them from
// becoming longer than they are to be kept. Both work on documents of their own, made from
// the store; rooms in use notice nothing.

const (
	// maxReplays is how many histories are replayed at a time: each takes a processor and
	// the memory of a document.
	maxReplays = 2
	// minTrim and maxTrim bound the time between two looks for what is too old.
	minTrim = time.Minute
	maxTrim = time.Hour
	// trimmedRooms is how many rooms are looked up at once.
	trimmedRooms = 100
)

// FilesAt gives a room's files and state vector at a moment. Before the first update there
// are none. The error is a *store.HistoryGoneError for a moment that is not known any more.
func (h *Hub) FilesAt(ctx context.Context, id string, at time.Time) (files []File, stateVector []byte, err error) {
	err = h.replay(ctx, func(apply func([]byte) error) error { return h.store.ReplayUntil(ctx, id, at, apply) },
		func(doc *ycrdt.Doc) error {
			files, stateVector = FilesOf(doc), doc.StateVector()
			return nil
		})
	return files, stateVector, err
}

// FilesAtSeq gives a room's files and state vector as of one of its updates, as FilesAt does.
func (h *Hub) FilesAtSeq(ctx context.Context, id string, seq int64) (files []File, stateVector []byte, err error) {
	err = h.replay(ctx, func(apply func([]byte) error) error { return h.store.ReplayUntilSeq(ctx, id, seq, apply) },
		func(doc *ycrdt.Doc) error {
			files, stateVector = FilesOf(doc), doc.StateVector()
			return nil
		})
	return files, stateVector, err
}

// Past is what a room's document was.
type Past struct {
	Files       []File
	Meta        Meta
	StateVector []byte
	State       []byte // an update that makes it
}

// PastAtSeq gives a room's document as of one of its updates, as FilesAtSeq does.
func (h *Hub) PastAtSeq(ctx context.Context, id string, seq int64) (p Past, err error) {
	err = h.replay(ctx, func(apply func([]byte) error) error { return h.store.ReplayUntilSeq(ctx, id, seq, apply) },
		func(doc *ycrdt.Doc) (err error) {
			p = Past{Files: FilesOf(doc), Meta: metaOf(doc), StateVector: doc.StateVector()}
			p.State, err = doc.EncodeStateAsUpdate(nil)
			return err
		})
	return p, err
}

// replay makes a document of what log has, and shows it.
func (h *Hub) replay(ctx context.Context, log func(apply func([]byte) error) error, show func(*ycrdt.Doc) error) error {
	select {
	case h.replays <- struct{}{}:
		defer func() { <-h.replays }()
	case <-ctx.Done():
		return ctx.Err()
	}
	doc := ycrdt.New(ycrdt.Options{MaxWork: -1}) // it was all taken in before
	if err := log(doc.ApplyUpdate); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return show(doc)
}

// Settle returns when all that a room's document has is saved.
func (h *Hub) Settle(ctx context.Context, id string) error {
	h.mu.Lock()
	_, loaded := h.rooms[id]
	h.mu.Unlock()
	if !loaded {
		return nil
	}
	r, err := h.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer r.Release()
	_, err = r.StateVector(ctx)
	return err
}

// KeepsHistory is for how long history is kept; 0 is forever.
func (h *Hub) KeepsHistory() time.Duration { return h.opts.KeepHistory }

// HoldHistory keeps a room's history as it is until release is called, for one who reads it
// in pieces. It does not keep the room from being deleted.
func (h *Hub) HoldHistory(ctx context.Context, id string) (release func(), err error) {
	for {
		h.mu.Lock()
		folded, busy := h.folding[id]
		if !busy {
			h.held[id]++
			h.mu.Unlock()
			return func() { h.letGo(id) }, nil
		}
		h.mu.Unlock()
		select {
		case <-folded:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *Hub) letGo(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[id]--; h.held[id] == 0 {
		delete(h.held, id)
	}
}

// shorten runs fold unless the history is held, which ok tells.
func (h *Hub) shorten(id string, fold func() error) (ok bool, err error) {
	h.mu.Lock()
	if h.held[id] > 0 {
		h.mu.Unlock()
		return false, nil
	}
	folded := make(chan struct{})
	h.folding[id] = folded
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.folding, id)
		h.mu.Unlock()
		close(folded)
	}()
	return true, fold()
}

// keepHistory takes away again and again what has become too old.
func (h *Hub) keepHistory() {
	every := min(max(h.opts.KeepHistory/24, minTrim), maxTrim)
	wait := minTrim // a server that has just been started has other things to do
	for {
		select {
		case <-h.life.Done():
			return
		case <-time.After(wait):
		}
		h.trim(h.life, time.Now().Add(-h.opts.KeepHistory))
		wait = every
	}
}

// trim folds what is as old as the cutoff or older of all rooms' updates, and deletes such
// events. What fails is tried again the next time.
func (h *Hub) trim(ctx context.Context, cutoff time.Time) {
	var updates int
	var events int64
	fail := func(what string, err error) {
		if ctx.Err() == nil {
			h.opts.Log.Error(what, "error", err)
		}
	}
	for ctx.Err() == nil {
		n, err := h.store.TrimEvents(ctx, cutoff)
		if err != nil {
			fail("delete old events", err)
		}
		if events += n; n == 0 {
			break
		}
	}
	last := ""
	for ctx.Err() == nil {
		rooms, err := h.store.RoomsWithUpdatesUntil(ctx, cutoff, last, trimmedRooms)
		if err != nil {
			fail("look for old updates", err)
			break
		}
		for _, id := range rooms {
			n, err := h.fold(ctx, id, cutoff)
			if err != nil && !errors.Is(err, store.ErrNotFound) { // it was deleted meanwhile
				fail("fold old updates of room "+id, err)
			}
			updates += n
		}
		if len(rooms) < trimmedRooms {
			break
		}
		last = rooms[len(rooms)-1]
	}
	if updates > 0 || events > 0 {
		h.opts.Log.Info("history that was too old is gone", "until", cutoff, "updates", updates, "events", events)
	}
}

// fold replaces the updates of a room that are as old as the cutoff by the state that they
// come to, piece by piece: after each the history is whole. n is how many.
func (h *Hub) fold(ctx context.Context, id string, cutoff time.Time) (n int, err error) {
	var doc *ycrdt.Doc
	var at int64 // the update that doc is as of
	for {
		old, err := h.store.OldUpdates(ctx, id, cutoff, at)
		if err != nil || old == nil {
			return n, err
		}
		if doc == nil || old.From != at {
			doc = ycrdt.New(ycrdt.Options{MaxWork: -1}) // it was all taken in before
			if old.Base != nil {
				if err := doc.ApplyUpdate(old.Base); err != nil {
					return n, fmt.Errorf("load base of room %s: %w", id, err)
				}
			}
		}
		for i, u := range old.Updates {
			if err := doc.ApplyUpdate(u); err != nil {
				return n, fmt.Errorf("fold update %d after %d: %w", i+1, old.From, err)
			}
			if ctx.Err() != nil {
				return n, ctx.Err()
			}
		}
		state, err := stateToKeep(doc)
		if err != nil {
			return n, err
		}
		ok, err := h.shorten(id, func() error { return h.store.Fold(ctx, old, state) })
		if err != nil || !ok {
			return n, err
		}
		at = old.Seq
		n += len(old.Updates)
	}
}

// stateToKeep encodes a document whose updates are about to be deleted, and sees that
// nothing of it would be missing.
func stateToKeep(doc *ycrdt.Doc) ([]byte, error) {
	state, err := doc.EncodeStateAsUpdate(nil)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	again := ycrdt.New(ycrdt.Options{MaxWork: -1})
	if err := again.ApplyUpdate(state); err != nil {
		return nil, fmt.Errorf("read encoded document again: %w", err)
	}
	structs, deletes := doc.Pending()
	structs2, deletes2 := again.Pending()
	if !bytes.Equal(doc.StateVector(), again.StateVector()) || structs != structs2 || deletes != deletes2 ||
		metaOf(doc) != metaOf(again) || !slices.Equal(FilesOf(doc), FilesOf(again)) {
		return nil, errors.New("a document that was encoded is read as another one: its updates stay")
	}
	return state, nil
}
