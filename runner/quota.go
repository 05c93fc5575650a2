package runner

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Quotas bound how many runs people start.
type Quotas struct {
	ActivePerParticipant int // queued or running
	PerMinute            int // of one participant
	PerMinuteRoom        int // of all in one room
	PerMinuteIP          int // from one IP address
}

// DefaultQuotas are those of CONTRACT.md §6, which has none for a room: whoever holds its link
// comes as as many participants as they like, from as many addresses as they have.
func DefaultQuotas() Quotas {
	return Quotas{ActivePerParticipant: 2, PerMinute: 30, PerMinuteRoom: 60, PerMinuteIP: 60}
}

// sweepAbove is how many people are remembered before those who have their
// whole quota again are forgotten.
const sweepAbove = 1024

// activeRetry is when to try again after too many runs at once: nobody knows
// when one of them will end.
const activeRetry = 5 * time.Second

// starter is a participant as quotas know one. Ids are a room's own.
type starter struct{ room, by string }

// quotas counts what each participant, room and address started.
type quotas struct {
	limits Quotas
	now    func() time.Time

	mu     sync.Mutex // guards below
	active map[starter]int
	people map[starter]*rate.Limiter
	rooms  map[string]*rate.Limiter
	ips    map[string]*rate.Limiter
}

func newQuotas(limits Quotas, now func() time.Time) *quotas {
	return &quotas{
		limits: limits, now: now, active: make(map[starter]int),
		people: make(map[starter]*rate.Limiter), rooms: make(map[string]*rate.Limiter), ips: make(map[string]*rate.Limiter),
	}
}

// take counts one run, or refuses with *LimitError and counts nothing. A run
// that was counted is given back by release when it has ended.
func (q *quotas) take(who starter, ip string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.active[who] >= q.limits.ActivePerParticipant {
		return &LimitError{
			Detail:     fmt.Sprintf("you have %d runs queued or running, which is the most: wait until one has ended, or stop it", q.active[who]),
			RetryAfter: activeRetry,
		}
	}
	now := q.now()
	own, ok := reserve(q.people, who, q.limits.PerMinute, now)
	if !ok {
		return tooMany("you", q.limits.PerMinute, own.DelayFrom(now))
	}
	room, ok := reserve(q.rooms, who.room, q.limits.PerMinuteRoom, now)
	if !ok {
		own.CancelAt(now)
		return tooMany("people in this room", q.limits.PerMinuteRoom, room.DelayFrom(now))
	}
	if shared, ok := reserve(q.ips, ip, q.limits.PerMinuteIP, now); !ok {
		own.CancelAt(now)
		room.CancelAt(now)
		return tooMany("people at your address", q.limits.PerMinuteIP, shared.DelayFrom(now))
	}
	q.active[who]++
	return nil
}

// count counts a call from an address and as many runs as it asks for, or refuses as take
// does. A call is not refused for asking for more runs than are left: the next one waits
// until they are made up for.
func (q *quotas) count(ip string, runs int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	if shared, ok := reserve(q.ips, ip, q.limits.PerMinuteIP, now); !ok {
		return tooMany("people at your address", q.limits.PerMinuteIP, shared.DelayFrom(now))
	}
	for range runs - 1 {
		q.ips[ip].ReserveN(now, 1)
	}
	return nil
}

// countIn counts a call from an address for a room, as one run, or refuses as take does.
func (q *quotas) countIn(room, ip string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	own, ok := reserve(q.rooms, room, q.limits.PerMinuteRoom, now)
	if !ok {
		return tooMany("people in this room", q.limits.PerMinuteRoom, own.DelayFrom(now))
	}
	if shared, ok := reserve(q.ips, ip, q.limits.PerMinuteIP, now); !ok {
		own.CancelAt(now)
		return tooMany("people at your address", q.limits.PerMinuteIP, shared.DelayFrom(now))
	}
	return nil
}

// admits refuses, as count does, an address that has nothing left. Nothing is counted.
func (q *quotas) admits(ip string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	bucket, known := q.ips[ip]
	if !known {
		return nil
	}
	if left := bucket.TokensAt(q.now()); left < 1 {
		return tooMany("people at your address", q.limits.PerMinuteIP, time.Duration((1-left)*float64(time.Second)/float64(bucket.Limit())))
	}
	return nil
}

func tooMany(who string, perMinute int, wait time.Duration) *LimitError {
	return &LimitError{
		Detail:     fmt.Sprintf("%s started too many runs: %d a minute are possible; try again in %s", who, perMinute, durationWords(int64(max(wait, time.Second).Round(time.Second)))),
		RetryAfter: wait,
	}
}

// reserve takes one token of key's bucket. When there is none it takes nothing
// and the reservation only says how long to wait.
func reserve[K comparable](buckets map[K]*rate.Limiter, key K, perMinute int, now time.Time) (*rate.Reservation, bool) {
	if len(buckets) > sweepAbove {
		for k, b := range buckets {
			if b.TokensAt(now) >= float64(b.Burst()) {
				delete(buckets, k)
			}
		}
	}
	bucket, known := buckets[key]
	if !known {
		bucket = rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute)
		buckets[key] = bucket
	}
	r := bucket.ReserveN(now, 1)
	if r.DelayFrom(now) == 0 {
		return r, true
	}
	r.CancelAt(now)
	return r, false
}

// release says that a run that take counted has ended.
func (q *quotas) release(who starter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.active[who]--; q.active[who] <= 0 {
		delete(q.active, who)
	}
}
