// Package collab is the document side of rooms: who is connected to a room's
// document, what they may do, and in which order an edit is checked, saved and
// shown. The web package calls it.
//
// What always holds:
//
//   - One goroutine owns each room's document. Others send it work.
//   - Seen means saved: whatever leaves a room (broadcasts, answers to a joining
//     client, files for a run) holds only what the store has committed.
//   - A document that could not be loaded is an error, never an empty document.
//   - A slow reader is disconnected; it never delays others or grows memory.
package collab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"corun/collab/ycrdt"
	"corun/store"
)

const (
	// MaxDocumentBytes bounds a document, encoded.
	MaxDocumentBytes = 16 << 20
	// MaxAwarenessBytes bounds what one client says of itself.
	MaxAwarenessBytes = 64 << 10
	// MaxParticipants bounds the connections to one document.
	MaxParticipants = 200
	// maxOwedBytes is what may wait for a slow reader: more than the largest
	// document, so that a join alone never exceeds it.
	maxOwedBytes = 2 * MaxDocumentBytes
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
)

var (
	// ErrRoomFull is returned by Join when MaxParticipants are connected.
	ErrRoomFull = fmt.Errorf("the room is full: %d participants are connected", MaxParticipants)
	// ErrUnavailable says that the store fails and the document cannot be had
	// for the moment.
	ErrUnavailable = errors.New("the room's document is not available for the moment")
	// ErrClosed says that the hub was closed.
	ErrClosed = errors.New("the server is going away")
)

// HubOptions tune a hub; the zero value is right for production.
type HubOptions struct {
	Log         *slog.Logger
	UnloadAfter time.Duration
	// OnSaved is told that more of a room was saved. It must not block.
	OnSaved func(roomID string)
}

// Hub holds the rooms whose document is in memory.
type Hub struct {
	store *store.Store
	opts  HubOptions

	mu     sync.Mutex // guards below, and refs, idle and leaving of each room
	rooms  map[string]*Room
	closed bool
	// deleting holds the rooms whose rows are being deleted; closed when they are.
	deleting map[string]chan struct{}
}

// NewHub makes a hub; it does nothing until a room is acquired.
func NewHub(st *store.Store, opts HubOptions) *Hub {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.UnloadAfter == 0 {
		opts.UnloadAfter = defaultUnload
	}
	if opts.OnSaved == nil {
		opts.OnSaved = func(string) {}
	}
	return &Hub{store: st, opts: opts, rooms: make(map[string]*Room), deleting: make(map[string]chan struct{})}
}

// Acquire gives a room, loaded if it was not in memory; Release it. The error
// is store.ErrNotFound for a room that is not there.
func (h *Hub) Acquire(ctx context.Context, id string) (*Room, error) {
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
			r = newRoom(h, id)
			h.rooms[id] = r
			go r.run()
		}
		if !r.leaving {
			r.refs++
			if r.idle != nil {
				r.idle.Stop()
				r.idle = nil
			}
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
			return nil, err
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
	}
}

func (h *Hub) unload(r *Room) {
	h.mu.Lock()
	if r.refs > 0 || r.leaving {
		h.mu.Unlock()
		return
	}
	r.leaving = true
	h.mu.Unlock()
	h.end(r)
}

// end stops a room that is leaving and forgets it.
func (h *Hub) end(r *Room) {
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

// Delete disconnects everybody from a room and deletes all of it. Who comes
// meanwhile waits, and then finds no room.
func (h *Hub) Delete(ctx context.Context, id string) error {
	h.mu.Lock()
	if _, ok := h.deleting[id]; ok {
		h.mu.Unlock()
		return fmt.Errorf("room %s is being deleted: %w", id, store.ErrNotFound)
	}
	deleted := make(chan struct{})
	h.deleting[id] = deleted
	r, ok := h.rooms[id]
	if ok {
		r.leaving = true
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.deleting, id)
		h.mu.Unlock()
		close(deleted)
	}()
	if ok {
		r.SetEnded(true)
		h.end(r)
	}
	return h.store.DeleteRoom(ctx, id)
}

// Close disconnects everybody, waits until all is saved and ends every room.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	var all []*Room
	for _, r := range h.rooms {
		r.leaving = true
		if r.idle != nil {
			r.idle.Stop()
		}
		all = append(all, r)
	}
	h.mu.Unlock()
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

// FilesAt gives a room's files and state vector at a moment.
func (h *Hub) FilesAt(ctx context.Context, id string, at time.Time) ([]File, []byte, error) {
	updates, err := h.store.UpdatesUntil(ctx, id, at)
	if err != nil {
		return nil, nil, err
	}
	return replay(updates)
}

// FilesAtSeq gives a room's files and state vector as of one of its updates.
func (h *Hub) FilesAtSeq(ctx context.Context, id string, seq int64) ([]File, []byte, error) {
	updates, err := h.store.UpdatesUntilSeq(ctx, id, seq)
	if err != nil {
		return nil, nil, err
	}
	return replay(updates)
}

func replay(updates [][]byte) ([]File, []byte, error) {
	doc := ycrdt.New(ycrdt.Options{MaxWork: -1})
	for i, u := range updates {
		if err := doc.ApplyUpdate(u); err != nil {
			return nil, nil, fmt.Errorf("replay update %d: %w", i+1, err)
		}
	}
	return filesOf(doc), doc.StateVector(), nil
}
