package runner

import (
	"slices"
	"sync"
)

// queue admits as many runs at once as the machine can take; the others wait
// their turn: one of each who asks, in the order in which they came, and then the
// next of each. Who asks for many does not make others wait for all of them. (This is
// fair queuing with runs of one length: Demers, Keshav and Shenker, 1989.)
type queue struct {
	most int // waiting

	mu      sync.Mutex // guards below
	free    int
	round   int       // of the last that was admitted from those who waited
	waiting []*ticket // by round, and within one as they came
}

// ticket is one run's place.
type ticket struct {
	who   string
	round int
	// turn is closed when the run may begin.
	turn chan struct{}
	// moved holds a token when the position has changed.
	moved chan struct{}
}

func newQueue(running, waiting int) *queue { return &queue{free: running, most: waiting} }

// left is how many may enter now.
func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.free + q.most - len(q.waiting)
}

// enter gives who asks a ticket whose turn has come or will come, or false when too
// many wait. Each ticket must be given back by leave, once.
func (q *queue) enter(who string) (*ticket, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := &ticket{who: who, turn: make(chan struct{}), moved: make(chan struct{}, 1)}
	if q.free > 0 {
		q.free--
		close(t.turn)
		return t, true
	}
	if len(q.waiting) >= q.most {
		return nil, false
	}
	t.round = q.round
	for _, other := range q.waiting {
		if other.who == who {
			t.round = other.round + 1
		}
	}
	place := len(q.waiting)
	for place > 0 && q.waiting[place-1].round > t.round {
		place--
	}
	q.waiting = slices.Insert(q.waiting, place, t)
	q.tell(place + 1)
	return t, true
}

// tell lets those from a place on know that they have moved. mu is held.
func (q *queue) tell(from int) {
	for _, behind := range q.waiting[from:] {
		signal(behind.moved)
	}
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
		q.round = q.waiting[0].round
		close(q.waiting[0].turn)
		q.waiting = slices.Delete(q.waiting, 0, 1)
	default:
		q.free++
		return
	}
	q.tell(from)
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
