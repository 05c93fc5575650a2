// Package collab is the document side of rooms: who is connected to a room's
// document, what they may do, and in which order an edit is checked, saved and
// shown. The web package calls it.
//
// What always holds:
//
//   - One goroutine owns each room's document. Others send it work.
//   - Seen means saved: whatever leaves a room (broadcasts, answers to a joining
//     client, files for a run) holds only what the store has committed.
//   - What waits for an update that has not come is stored, and leaves no room.
//   - A document that could not be loaded is an error, never an empty document.
//   - A slow reader is disconnected; it never delays others or grows memory.
package collab

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"corun/collab/ycrdt"
	"corun/store"
)

const (
	// MaxDocumentBytes bounds a document, encoded.
	MaxDocumentBytes = 16 << 20
	// MaxAwarenessBytes bounds what one client says of itself.
	MaxAwarenessBytes = 64 << 10
	// MaxParticipants bounds the connections to one document, unless HubOptions say otherwise.
	MaxParticipants = 200
	// maxOwedBytes is what may wait for a slow reader, beside whole documents.
	maxOwedBytes = 4 << 20
	// maxAllOwedBytes is what may wait for all of them; beyond that a reader to whom more
	// than fairOwedBytes are owed is let go.
	maxAllOwedBytes = 256 << 20
	fairOwedBytes   = 64 << 10
	// maxStatesOwed is how many whole documents may wait for one reader. Stock clients ask
	// for one when they connect, and may be set to do so regularly.
	maxStatesOwed = 2
	// maxIdleRooms is how many rooms without participants stay in memory.
	maxIdleRooms = 128
	// defaultUnload is how long a room without participants stays in memory.
	defaultUnload = time.Minute
)

// Close codes of the web socket, from CONTRACT.md §4.
const (
	CloseBadData   = 1007
	CloseTooLarge  = 1009
	CloseTryAgain  = 1013
	CloseGoingAway = 1001
	CloseEnded     = 4410
	// ClosePast is for a client that has a document of the room from before it was deleted
	// and made again.
	ClosePast = 4409
)

var (
	// ErrRoomFull is returned by Join when as many are connected as may be.
	ErrRoomFull = errors.New("the room is full")
	// ErrUnavailable says that the store fails and the document cannot be had
	// for the moment.
	ErrUnavailable = errors.New("the room's document is not available for the moment")
	// ErrPrivate says that a room is not open.
	ErrPrivate = errors.New("not everybody may enter the room")
	// ErrClosed says that the hub was closed.
	ErrClosed = errors.New("the server is going away")
)

// HubOptions tune a hub; the zero value is right for production.
type HubOptions struct {
	Log         *slog.Logger
	UnloadAfter time.Duration
	// MaxParticipants bounds the connections to one document. Default: MaxParticipants.
	MaxParticipants int
	// OnSaved is told that more of a room was saved. It must not block.
	OnSaved func(roomID string)
	// OnStorage is told when edits cannot be saved any more, and when they can again. It
	// must not block.
	OnStorage func(ok bool)
	// KeepHistory is for how long a room's history and the log of events are kept; 0 is
	// forever.
	KeepHistory time.Duration
	// Frame gives a message as it stands on the wire, in memory that may be shared.
	// Default: as it is.
	Frame func(message []byte) []byte
}

// Hub holds the rooms whose document is in memory.
type Hub struct {
	store *store.Store
	opts  HubOptions
	owed  atomic.Int64 // bytes that wait for readers, without whole documents

	failing atomic.Bool     // edits cannot be saved
	life    context.Context // ends with Close, which waits for watch
	end     context.CancelFunc
	watch   sync.WaitGroup
	replays chan struct{} // holds one for each replay of a history
	rebuild chan struct{} // holds one while a document is made again for a snapshot

	mu     sync.Mutex // guards below, and refs, idle, place and leaving of each room
	rooms  map[string]*Room
	idle   list.List // rooms that nobody uses, as *Room, the one idle longest first
	closed bool
	// deleting holds the rooms whose rows are being deleted; closed when they are.
	deleting map[string]chan struct{}
	held     map[string]int           // histories that are being read, see HoldHistory
	folding  map[string]chan struct{} // those that are being shortened; closed when they are
	// recovered is when the store could be written again the last time, and waited what it
	// took between two questions at the end.
	recovered time.Time
	waited    time.Duration
}

// NewHub makes a hub; it does nothing until a room is acquired, but for what keeps histories
// from becoming longer than KeepHistory.
func NewHub(st *store.Store, opts HubOptions) *Hub {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.UnloadAfter == 0 {
		opts.UnloadAfter = defaultUnload
	}
	if opts.MaxParticipants == 0 {
		opts.MaxParticipants = MaxParticipants
	}
	if opts.Frame == nil {
		opts.Frame = func(message []byte) []byte { return message }
	}
	if opts.OnStorage == nil {
		opts.OnStorage = func(bool) {}
	}
	if opts.OnSaved == nil {
		opts.OnSaved = func(string) {}
	}
	h := &Hub{
		store: st, opts: opts, rooms: make(map[string]*Room), deleting: make(map[string]chan struct{}),
		held: make(map[string]int), folding: make(map[string]chan struct{}),
		replays: make(chan struct{}, maxReplays), rebuild: make(chan struct{}, 1),
	}
	h.life, h.end = context.WithCancel(context.Background())
	if opts.KeepHistory > 0 {
		h.watch.Go(h.keepHistory) // waited for in Close
	}
	return h
}

// Acquire gives a room, loaded if it was not in memory; Release it. The error
// is store.ErrNotFound for a room that is not there.
func (h *Hub) Acquire(ctx context.Context, id string) (*Room, error) {
	return h.acquire(ctx, id, false)
}

// AcquireOpen is Acquire for a name that anybody may use: if there is no room, its first edit
// makes one. The error is ErrPrivate if there is one that not everybody may enter; one that is
// in memory already is given, see Public.
func (h *Hub) AcquireOpen(ctx context.Context, id string) (*Room, error) {
	return h.acquire(ctx, id, true)
}

func (h *Hub) acquire(ctx context.Context, id string, open bool) (*Room, error) {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return nil, ErrClosed
		}
		if deleted, ok := h.deleting[id]; ok {
			h.mu.Unlock()
			select {
			case <-deleted:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		r, ok := h.rooms[id]
		if !ok {
			r = newRoom(h, id, open)
			h.rooms[id] = r
		}
		if !r.leaving {
			r.refs++
			h.awake(r)
		}
		leaving := r.leaving
		h.mu.Unlock()
		if leaving {
			// It is being written out; what comes after must see all of it.
			select {
			case <-r.done:
				h.forget(r)
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		select {
		case <-r.loaded:
		case <-ctx.Done():
			r.Release()
			return nil, ctx.Err()
		}
		if err := r.loadErr; err != nil {
			h.drop(r)
			r.Release()
			if open && !r.public.Load() && errors.Is(err, store.ErrNotFound) || !open && errors.Is(err, ErrPrivate) {
				continue // it was loaded for another kind of visitor
			}
			return nil, err
		}
		if !open {
			if err := r.beMade(ctx); err != nil {
				r.Release()
				return nil, err
			}
		}
		return r, nil
	}
}

// drop takes a room that could not be loaded out, so that the next visitor
// tries again.
func (h *Hub) drop(r *Room) {
	h.mu.Lock()
	r.leaving = true
	h.mu.Unlock()
	h.forget(r)
}

// forget takes a room that has ended out of the hub.
func (h *Hub) forget(r *Room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[r.id] == r {
		delete(h.rooms, r.id)
	}
}

// Release ends one use of a room. A while after the last it is unloaded.
func (r *Room) Release() {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	r.refs--
	if r.refs == 0 && !r.leaving && !h.closed {
		r.idle = time.AfterFunc(h.opts.UnloadAfter, func() { h.unload(r) })
		r.place = h.idle.PushBack(r)
		if h.idle.Len() > maxIdleRooms {
			// Its timer does it, now, in its own goroutine.
			h.idle.Front().Value.(*Room).idle.Reset(0)
			h.idle.Remove(h.idle.Front())
		}
	}
}

// awake takes a room off the idle ones. mu is held.
func (h *Hub) awake(r *Room) {
	if r.idle != nil {
		r.idle.Stop()
		h.idle.Remove(r.place) // does nothing if it was removed
		r.idle, r.place = nil, nil
	}
}

func (h *Hub) unload(r *Room) {
	h.mu.Lock()
	if r.refs > 0 || r.leaving {
		h.mu.Unlock()
		return
	}
	h.awake(r)
	r.leaving = true
	h.mu.Unlock()
	h.endRoom(r)
}

// UnloadIdle unloads the rooms that nobody uses, before their time.
func (h *Hub) UnloadIdle() {
	h.mu.Lock()
	var idle []*Room
	for e := h.idle.Front(); e != nil; e = e.Next() {
		idle = append(idle, e.Value.(*Room))
	}
	h.mu.Unlock()
	for _, r := range idle {
		h.unload(r)
	}
}

// endRoom stops a room that is leaving and forgets it.
func (h *Hub) endRoom(r *Room) {
	r.stop()
	<-r.done
	h.forget(r)
}

// Loaded counts the rooms in memory.
func (h *Hub) Loaded() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.rooms)
}

// notSaved is what who edits is told while nothing can be saved.
const notSaved = "edits cannot be saved on the server for the moment: what you type is kept in your editor, and is taken in as soon as it can be saved"

// Writable tells whether edits can be saved.
func (h *Hub) Writable() bool { return !h.failing.Load() }

// storeFailed makes all rooms refuse edits until the store can be written again; then they
// ask everybody for what they lack.
func (h *Hub) storeFailed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.failing.Swap(true) {
		return
	}
	h.opts.OnStorage(false)
	h.watch.Go(h.awaitStore) // waited for in Close
}

// awaitStore asks the store again and again whether it can be written.
func (h *Hub) awaitStore() {
	wait := h.lastWait()
	for {
		select {
		case <-h.life.Done():
			return
		case <-time.After(wait):
		}
		if h.store.Ping(context.Background()) == nil {
			break
		}
		wait = min(2*wait, maxStoreWait)
	}
	h.mu.Lock()
	h.failing.Store(false)
	h.recovered, h.waited = time.Now(), wait
	h.opts.Log.Info("edits can be saved again")
	h.opts.OnStorage(true)
	for _, r := range h.rooms {
		r.post(work{call: r.resync})
	}
	h.mu.Unlock()
}

// lastWait is how long to wait before the store is asked. One that fails again and again,
// though it said that it works, is asked later and later.
func (h *Hub) lastWait() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.recovered) < time.Minute {
		return min(2*h.waited, maxStoreWait)
	}
	return minStoreWait
}

const (
	minStoreWait = 250 * time.Millisecond
	maxStoreWait = 10 * time.Second
)

// Delete disconnects everybody from a room and deletes all of it, its hosts' notes too. Who
// comes meanwhile waits, and then finds no room.
func (h *Hub) Delete(ctx context.Context, id string) error {
	h.mu.Lock()
	if _, ok := h.deleting[id]; ok {
		h.mu.Unlock()
		return fmt.Errorf("room %s is being deleted: %w", id, store.ErrNotFound)
	}
	deleted := make(chan struct{})
	documents := []string{id, store.NotesID(id)}
	var loaded []*Room
	for _, document := range documents {
		h.deleting[document] = deleted
		if r, ok := h.rooms[document]; ok {
			h.awake(r)
			r.leaving = true
			loaded = append(loaded, r)
		}
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		for _, document := range documents {
			delete(h.deleting, document)
		}
		h.mu.Unlock()
		close(deleted)
	}()
	for _, r := range loaded {
		r.SetEnded(true)
		h.endRoom(r)
	}
	past, err := h.stateToRemember(ctx, id)
	if err != nil {
		return err
	}
	return h.store.DeleteRoom(ctx, id, past)
}

// maxPastBytes bounds what is remembered of a deleted document.
const maxPastBytes = 64 << 10

// stateToRemember is the state vector of a room's document if another room may get its name.
func (h *Hub) stateToRemember(ctx context.Context, id string) ([]byte, error) {
	row, err := h.store.Room(ctx, id)
	if err != nil || !row.Open {
		return nil, err
	}
	doc, _, err := h.read(ctx, id, nil)
	if err != nil {
		h.opts.Log.Warn("a room is deleted whose document cannot be read", "room", id, "error", err)
		return nil, nil
	}
	sv := doc.StateVector()
	if len(sv) > maxPastBytes || string(sv) == "\x00" {
		return nil, nil
	}
	return sv, nil
}

// statesOf reads state vectors.
func statesOf(vectors [][]byte) ([]map[uint64]uint64, error) {
	var all []map[uint64]uint64
	for _, sv := range vectors {
		state, err := ycrdt.DecodeStateVector(sv)
		if err != nil {
			return nil, fmt.Errorf("read a deleted document's state: %w", err)
		}
		all = append(all, state)
	}
	return all, nil
}

// read makes a room's document from the store. With store.ErrNotFound it gives what was before.
func (h *Hub) read(ctx context.Context, id string, head func(*store.Room) error) (*ycrdt.Doc, *store.Document, error) {
	doc := ycrdt.New(ycrdt.Options{MaxWork: -1}) // it was all taken in before
	n := 0
	stored, err := h.store.ReadDocument(ctx, id, head, func(state []byte) error {
		if err := doc.ApplyUpdate(state); err != nil {
			return fmt.Errorf("load snapshot of room %s: %w", id, err)
		}
		return nil
	}, func(update []byte) error {
		n++
		if err := doc.ApplyUpdate(update); err != nil {
			return fmt.Errorf("load update %d of room %s: %w", n, id, err)
		}
		return nil
	})
	if err != nil {
		return nil, stored, err
	}
	doc.SetMaxWork(0)
	return doc, stored, nil
}

// Close disconnects everybody, waits until all is saved and ends every room.
func (h *Hub) Close(ctx context.Context) error {
	h.end()
	h.mu.Lock()
	h.closed = true
	var all []*Room
	for _, r := range h.rooms {
		r.leaving = true
		h.awake(r)
		all = append(all, r)
	}
	h.mu.Unlock()
	h.watch.Wait()
	for _, r := range all {
		r.stop()
	}
	for _, r := range all {
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("rooms were not saved in time: %w", ctx.Err())
		}
	}
	return nil
}
