package collab

import (
	"fmt"
	"time"

	"corun/collab/yproto"
)

// This file is what a room's goroutine does with awareness: what people let the others know
// of themselves.

// aware takes in what a client says of itself and passes on what is news.
func (r *Room) aware(c *SyncConn, payload []byte) error {
	if len(payload) > MaxAwarenessBytes {
		return &CloseError{CloseTooLarge, fmt.Sprintf("awareness has %d bytes: at most %d are allowed", len(payload), MaxAwarenessBytes)}
	}
	// Stock providers send back what they hear of others. Only what is news makes
	// this connection the one that speaks for a client.
	var mine, news, departed []yproto.AwarenessChange
	tooMuch := 0
	err := yproto.DecodeAwareness(payload, func(ch yproto.AwarenessChange) {
		if !r.awareness.IsNews(ch) {
			if gone, ok := r.awareness.Departed(ch.Client); ok && ch.State != nil && len(departed) < yproto.MaxAwarenessClients {
				departed = append(departed, gone)
			}
			return
		}
		had, known := c.clients[ch.Client]
		if !known && len(c.clients) >= maxAwarenessIDs {
			return
		}
		sum := c.stateBytes + len(ch.State) - had
		if sum > MaxAwarenessBytes { // it may speak for several, but for no more together
			tooMuch = sum
			return
		}
		if c.clients == nil {
			c.clients = make(map[uint64]int)
		}
		c.clients[ch.Client], c.stateBytes = len(ch.State), sum
		mine = append(mine, ch)
		// At once: another change of the same client in this message may be older.
		news = append(news, r.awareness.Apply([]yproto.AwarenessChange{ch})...)
	})
	r.spread(news)
	if err != nil {
		return err
	}
	if tooMuch > 0 {
		return &CloseError{CloseTooLarge, fmt.Sprintf("awareness has %d bytes: at most %d are allowed", tooMuch, MaxAwarenessBytes)}
	}
	if time.Since(c.spoken) > echoAfter {
		// Stock providers take half a minute without a message for a dead connection, and
		// this echo may be all that one alone in a room gets.
		r.send(c, yproto.AppendAwareness(nil, yproto.EncodeAwareness(mine)))
	}
	if len(departed) > 0 {
		// One that comes back with the clock it left with is told that it counts
		// as gone; it then raises its clock and is seen at once.
		r.send(c, yproto.AppendAwareness(nil, yproto.EncodeAwareness(departed)))
	}
	return nil
}

// spread tells everybody of changes soon: with the edit that is being saved, as a cursor
// moves by typing, and else at most every awarenessTick.
func (r *Room) spread(changes []yproto.AwarenessChange) {
	if len(changes) == 0 {
		return
	}
	if r.fresh == nil {
		r.fresh = make(map[uint64]struct{})
	}
	for _, ch := range changes {
		r.fresh[ch.Client] = struct{}{}
	}
	wait := awarenessTick
	if r.outstanding == 0 {
		if wait -= time.Since(r.told); wait <= 0 {
			r.tell()
			return
		}
	}
	if !r.ticking {
		r.ticking = true
		time.AfterFunc(wait, func() {
			r.post(work{call: func() {
				r.ticking = false
				r.tell()
			}})
		})
	}
}

// tell sends the awareness that the others are yet to be told. To one whose own it is,
// alone, it says nothing.
func (r *Room) tell() {
	if len(r.fresh) == 0 {
		return
	}
	changes := r.awareness.Of(r.fresh)
	r.told = time.Now()
	frame := r.hub.opts.Frame(yproto.AppendAwareness(nil, yproto.EncodeAwareness(changes)))
	for c := range r.conns {
		for id := range r.fresh {
			if _, own := c.clients[id]; !own {
				c.spoken = r.told
				c.send(frame)
				break
			}
		}
	}
	clear(r.fresh)
}
