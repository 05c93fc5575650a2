package runner

import (
	"slices"
	"sync"
)

// queue admits as many runs at once as the machine can take; the others wait
// their turn in the order in which they came. A room has one run at a time, so
// no room can fill the queue.
type queue struct {
	most int // waiting

	mu      sync.Mutex // guards below
	free    int
	waiting []*ticket
}

// ticket is one run's place.
type ticket struct {
	// turn is closed when the run may begin.
	turn chan struct{}
	// moved holds a token when the position has changed.
	moved chan struct{}
}

func newQueue(running, waiting int) *queue { return &queue{free: running, most: waiting} }

// enter gives a ticket whose turn has come or will come, or false when too many
// wait. Each ticket must be given back by leave, once.
func (q *queue) enter() (*ticket, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := &ticket{turn: make(chan struct{}), moved: make(chan struct{}, 1)}
	if q.free > 0 {
		q.free--
		close(t.turn)
		return t, true
	}
	if len(q.waiting) >= q.most {
		return nil, false
	}
	q.waiting = append(q.waiting, t)
	return t, true
}

// leave gives a ticket back, before or after its turn.
func (q *queue) leave(t *ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := slices.Index(q.waiting, t)
	switch {
	case from >= 0:
		q.waiting = slices.Delete(q.waiting, from, from+1)
	case len(q.waiting) > 0:
		from = 0
		close(q.waiting[0].turn)
		q.waiting = slices.Delete(q.waiting, 0, 1)
	default:
		q.free++
		return
	}
	for _, behind := range q.waiting[from:] {
		select {
		case behind.moved <- struct{}{}:
		default:
		}
	}
}

// position tells how many are ahead of a ticket; 0 is next.
func (q *queue) position(t *ticket) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, slices.Index(q.waiting, t))
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
