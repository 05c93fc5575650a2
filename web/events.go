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

const (
	// maxWaitingEvents and maxWaitingBytes bound what waits for the store. They are reached
	// only when the store stands still for long, or the disk is full.
	maxWaitingEvents = 100_000
	maxWaitingBytes  = 32 << 20
	// eventsRetry is the pause after a write that failed.
	eventsRetry = time.Second
)

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
	bytes   int                  // of waiting, and of what failed
	failed  int                  // events that could not be written yet
	added   int64                // so far
	written int64                // of those, or tried, or lost
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
	if l.closed || len(l.waiting)+l.failed >= maxWaitingEvents || l.bytes+len(data) > maxWaitingBytes {
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
	l.bytes += len(data)
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
	var failed []store.Event // those that could not be written: they are tried again
	var retryAt time.Time
	for range l.wake {
		l.mu.Lock()
		if len(failed) > 0 && !l.closed && time.Now().Before(retryAt) { // the timer wakes us then
			l.mu.Unlock()
			continue
		}
		fresh, lost, closed := len(l.waiting), l.lost, l.closed
		batch := append(failed, l.waiting...)
		l.waiting, l.lost, failed = nil, 0, nil
		l.mu.Unlock()
		if lost > 0 {
			l.log.Error("events were lost because the store did not keep up", "count", lost)
		}
		if len(batch) > 0 {
			if err := l.store.AppendEvents(context.Background(), batch); err != nil {
				l.log.Error("write event log", "count", len(batch), "error", err)
				failed, retryAt = batch, time.Now().Add(eventsRetry)
				time.AfterFunc(eventsRetry, l.signal)
			}
			l.mu.Lock()
			l.written += int64(fresh)
			if l.failed = len(failed); l.failed == 0 {
				for _, e := range batch {
					l.bytes -= len(e.Data)
				}
			}
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

// stored is flush for who changes what is in the store, which must be all.
func (l *eventLog) stored(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed > 0 {
		return errNotSaved()
	}
	return nil
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
