package runner

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func come(t *ticket) bool {
	select {
	case <-t.turn:
		return true
	default:
		return false
	}
}

func moved(t *ticket) bool {
	select {
	case <-t.moved:
		return true
	default:
		return false
	}
}

func TestQueue(t *testing.T) {
	q := newQueue(2, 3)
	var tickets []*ticket
	for i := range 5 {
		if q.left() != 5-i {
			t.Errorf("%d are left after %d", q.left(), i)
		}
		next, ok := q.enter(fmt.Sprint("room ", i))
		if !ok {
			t.Fatal("refused while there is room")
		}
		tickets = append(tickets, next)
	}
	if _, ok := q.enter("another"); ok || q.left() != 0 {
		t.Fatal("a sixth got in")
	}
	for i, want := range []bool{true, true, false, false, false} {
		if come(tickets[i]) != want {
			t.Errorf("ticket %d: turn %v", i, !want)
		}
	}
	for i, want := range map[int]int{2: 0, 3: 1, 4: 2} {
		if got := q.position(tickets[i]); got != want {
			t.Errorf("ticket %d is at %d, want %d", i, got, want)
		}
	}

	q.leave(tickets[3]) // out of the middle
	if moved(tickets[2]) || !moved(tickets[4]) {
		t.Error("those behind, and only those, must be told that they moved")
	}
	q.leave(tickets[0])
	if !come(tickets[2]) || come(tickets[4]) {
		t.Error("the first in the queue must be next")
	}
	if !moved(tickets[4]) || q.position(tickets[4]) != 0 {
		t.Error("the last has moved to the front")
	}
	for _, i := range []int{1, 2, 4} {
		q.leave(tickets[i])
	}
	if q.free != 2 || q.length() != 0 {
		t.Errorf("%d free and %d waiting at the end", q.free, q.length())
	}
}

// Who asks for many waits for themselves.
func TestQueueIsFair(t *testing.T) {
	q := newQueue(1, 100)
	enter := func(who string) *ticket {
		next, ok := q.enter(who)
		if !ok {
			t.Fatal("refused while there is room")
		}
		return next
	}
	running := enter("first")
	var many []*ticket
	for range 5 {
		many = append(many, enter("many"))
	}
	ann, ben := enter("ann"), enter("ben")
	if !moved(many[1]) || moved(many[0]) {
		t.Error("those who are overtaken, and only those, must be told that they moved")
	}
	for i, want := range []*ticket{many[0], ann, ben, many[1]} {
		q.leave(running)
		if !come(want) {
			t.Fatalf("the turn %d is another's", i)
		}
		running = want
	}
	cas := enter("cas") // in the round that goes on
	for i, want := range []*ticket{cas, many[2], many[3], many[4]} {
		q.leave(running)
		if !come(want) {
			t.Fatalf("the turn %d after is another's", i)
		}
		running = want
	}
	q.leave(running)
	if q.free != 1 || q.length() != 0 {
		t.Errorf("%d free and %d waiting at the end", q.free, q.length())
	}
}

func TestQuotas(t *testing.T) {
	now := time.Unix(0, 0)
	q := newQuotas(Quotas{ActivePerParticipant: 2, PerMinute: 3, PerMinuteRoom: 100, PerMinuteIP: 4}, func() time.Time { return now })
	ann, ben := starter{"room", "ann"}, starter{"room", "ben"}
	take := func(who starter, ip string) *LimitError {
		t.Helper()
		err := q.take(who, ip)
		var limit *LimitError
		if err != nil && !errors.As(err, &limit) {
			t.Fatalf("got %v, want a LimitError", err)
		}
		return limit
	}
	for range 2 {
		if err := take(ann, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if take(ann, "1") == nil {
		t.Error("a third run at once was let in")
	}
	if err := take(starter{"elsewhere", "ann"}, "9"); err != nil {
		t.Errorf("the same id in another room is somebody else: %v", err)
	}
	q.release(ann)
	if err := take(ann, "1"); err != nil {
		t.Errorf("a refused one was counted: %v", err)
	}
	q.release(ann)
	limit := take(ann, "1")
	if limit == nil {
		t.Fatal("a fourth run in a minute was let in")
	}
	if limit.RetryAfter != 20*time.Second || limit.Global {
		t.Errorf("retry after %v, want 20 s, the caller's own", limit.RetryAfter)
	}

	if err := take(ben, "1"); err != nil {
		t.Fatal(err)
	}
	if limit = take(ben, "1"); limit == nil || limit.RetryAfter != 15*time.Second {
		t.Errorf("got %+v, want the address refused for 15 s", limit)
	}
	if err := take(ben, "2"); err != nil {
		t.Errorf("another address is not concerned: %v", err)
	}
	now = now.Add(20 * time.Second)
	if err := take(ann, "1"); err != nil {
		t.Errorf("after the time that was named: %v", err)
	}
}

// What is remembered of people who have gone must not grow for ever.
func TestQuotasForget(t *testing.T) {
	now := time.Unix(0, 0)
	q := newQuotas(DefaultQuotas(), func() time.Time { return now })
	for i := range 10 * sweepAbove {
		name := string(rune(i + 0x1000))
		who := starter{name, name}
		if err := q.take(who, who.by); err != nil {
			t.Fatal(err)
		}
		q.release(who)
		now = now.Add(time.Second)
	}
	if len(q.people) > sweepAbove+100 || len(q.rooms) > sweepAbove+100 || len(q.ips) > sweepAbove+100 || len(q.active) != 0 {
		t.Errorf("%d people, %d rooms, %d addresses and %d active are remembered", len(q.people), len(q.rooms), len(q.ips), len(q.active))
	}
}

// All in a room have a quota together, whoever they are and wherever they come from; who is
// refused by it, or after it, has not used up any other.
func TestQuotasOfRoom(t *testing.T) {
	now := time.Unix(0, 0)
	q := newQuotas(Quotas{ActivePerParticipant: 100, PerMinute: 2, PerMinuteRoom: 3, PerMinuteIP: 2}, func() time.Time { return now })
	take := func(room, by, ip string) error { return q.take(starter{room, by}, ip) }
	for _, by := range []string{"ann", "ben", "cas"} {
		if err := take("full", by, by); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		var limit *LimitError
		if err := take("full", "ann", "ann"); !errors.As(err, &limit) || limit.RetryAfter != 20*time.Second || limit.Global ||
			limit.Detail != "people in this room started too many runs: 3 a minute are possible; try again in 20 s" {
			t.Errorf("got %v, want the room refused for 20 s", err)
		}
	}
	if err := take("other", "ann", "ann"); err != nil {
		t.Errorf("another room is not concerned, and what was refused is not counted for the address: %v", err)
	}
	for range 3 {
		if err := take("other", "ben", "ann"); err == nil {
			t.Error("the address was let in again")
		}
	}
	for range 2 {
		if err := take("other", "ben", "ben's"); err != nil {
			t.Errorf("what the address was refused counts for the room or the participant: %v", err)
		}
	}
	now = now.Add(20 * time.Second)
	if err := take("full", "ann", "ann's"); err != nil {
		t.Errorf("after the time that was named: %v", err)
	}
}

// A call with more runs than are left is let in, and the next one waits for them all.
func TestQuotasOfCalls(t *testing.T) {
	now := time.Unix(0, 0)
	q := newQuotas(Quotas{ActivePerParticipant: 2, PerMinute: 3, PerMinuteRoom: 100, PerMinuteIP: 60}, func() time.Time { return now })
	if err := q.count("1", 100); err != nil {
		t.Fatal(err)
	}
	var limit *LimitError
	if err := q.count("1", 1); !errors.As(err, &limit) || limit.RetryAfter != 41*time.Second {
		t.Errorf("got %v, want a LimitError for 41 s: 40 runs too many were made, and one is asked for", err)
	}
	if err := q.count("2", 1); err != nil {
		t.Errorf("another address is not concerned: %v", err)
	}
	now = now.Add(41 * time.Second)
	if err := q.count("1", 1); err != nil {
		t.Errorf("after the time that was named: %v", err)
	}
}
