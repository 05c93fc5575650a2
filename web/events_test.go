package web

import (
	"fmt"
	"testing"
	"time"

	"corun/collab/live"
)

// Events of a room are in order by time as they are by number, whatever times they come with;
// other rooms have nothing to do with it, and are not remembered for ever.
func TestEventsAreInOrder(t *testing.T) {
	l := &eventLog{wake: make(chan struct{}, 1), last: make(map[string]time.Time)}
	at := time.Unix(1000, 0)
	for _, e := range []struct {
		room  string
		after time.Duration
	}{{"a", 5}, {"a", 3}, {"b", 4}, {"a", 6}} {
		l.add(e.room, live.Event{Kind: "k", At: at.Add(e.after)})
	}
	var got []string
	for _, e := range l.waiting {
		got = append(got, fmt.Sprint(e.RoomID, int(e.At.Sub(at))))
	}
	if want := "[a5 a5 b4 a6]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for i := range 3 * rememberedRooms {
		l.add(fmt.Sprint(i), live.Event{Kind: "k", At: at.Add(time.Duration(i) * time.Second)})
	}
	if len(l.last) > rememberedRooms+1 {
		t.Errorf("%d rooms are remembered", len(l.last))
	}
}
