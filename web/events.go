package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"sync"
	"time"

	"corun/collab/live"
	"corun/store"
)

// maxWaitingEvents bounds what waits for the store. It is reached only when the
// store stands still for long.
const maxWaitingEvents = 100_000

// rememberedRooms is of how many the last time is known before those are forgotten of which it
// is long ago.
const rememberedRooms = 1024

// eventLog writes rooms' events to the store in the order in which they were
// added, without making anybody wait. One goroutine writes; close ends it.
type eventLog struct {
	store *store.Store
	log   *slog.Logger
	wake  chan struct{}
	done  chan struct{}

	mu      sync.Mutex // guards below
	waiting []store.Event
	added   int64                // so far
	written int64                // of those, or lost
	wrote   chan struct{}        // closed and replaced when more is
	last    map[string]time.Time // of what was added for a room
	lost    int
	closed  bool
}

func newEventLog(st *store.Store, log *slog.Logger) *eventLog {
	l := &eventLog{store: st, log: log, wake: make(chan struct{}, 1), last: make(map[string]time.Time), done: make(chan struct{}), wrote: make(chan struct{})}
	go l.run()
	return l
}

func (l *eventLog) add(room string, e live.Event) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		l.log.Error("encode event", "room", room, "kind", e.Kind, "error", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if l.closed || len(l.waiting) >= maxWaitingEvents {
		l.lost++
		return
	}
	// What has a time of its own may come after something later: a run's step, say, between a
	// key and its being noted. A room's log is in order.
	if last := l.last[room]; e.At.Before(last) {
		e.At = last
	}
	if len(l.last) > rememberedRooms {
		maps.DeleteFunc(l.last, func(_ string, at time.Time) bool { return e.At.Sub(at) > time.Minute })
	}
	l.last[room] = e.At
	l.added++
	l.waiting = append(l.waiting, store.Event{RoomID: room, Kind: e.Kind, At: e.At, Data: data})
	l.signal()
}

func (l *eventLog) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *eventLog) run() {
	defer close(l.done)
	for range l.wake {
		l.mu.Lock()
		batch, lost, closed := l.waiting, l.lost, l.closed
		l.waiting, l.lost = nil, 0
		l.mu.Unlock()
		if lost > 0 {
			l.log.Error("events were lost because the store did not keep up", "count", lost)
		}
		if len(batch) > 0 {
			if err := l.store.AppendEvents(context.Background(), batch); err != nil {
				l.log.Error("write event log", "count", len(batch), "error", err)
			}
			l.mu.Lock()
			l.written += int64(len(batch))
			close(l.wrote)
			l.wrote = make(chan struct{})
			l.mu.Unlock()
		}
		if closed {
			return
		}
	}
}

// flush returns when all that was added before is in the store, or could not be.
func (l *eventLog) flush(ctx context.Context) error {
	l.mu.Lock()
	until := l.added
	l.mu.Unlock()
	for {
		l.mu.Lock()
		written, wrote := l.written, l.wrote
		l.mu.Unlock()
		if written >= until {
			return nil
		}
		select {
		case <-wrote:
		case <-l.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close writes what waits and ends the writer.
func (l *eventLog) close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.signal()
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
