package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The last messages come in order and without those that were erased, of which nothing is left.
func TestChatEvents(t *testing.T) {
	ctx, s := t.Context(), fresh(t)
	for _, id := range []string{"r", "other"} {
		if _, err := s.CreateRoom(ctx, NewRoom{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	var events []Event
	for i := range 9 {
		for _, room := range []string{"r", "other"} {
			data := fmt.Sprintf(`{"message":{"id":"m_%d","text":"secret %d","links":[{"run":1}]}}`, i, i)
			events = append(events, Event{RoomID: room, At: time.Now(), Kind: "chat", Data: json.RawMessage(data)},
				Event{RoomID: room, At: time.Now(), Kind: "join", Data: json.RawMessage(`{}`)})
		}
	}
	if err := s.AppendEvents(ctx, events); err != nil {
		t.Fatal(err)
	}
	chat := func() string {
		t.Helper()
		events, err := s.ChatEvents(ctx, "r", 3)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, e := range events {
			var data struct{ Message struct{ ID string } }
			if err := json.Unmarshal(e.Data, &data); err != nil || e.Kind != "chat" || e.RoomID != "r" {
				t.Errorf("event %+v, %v", e, err)
			}
			ids = append(ids, data.Message.ID)
		}
		return strings.Join(ids, " ")
	}
	if got := chat(); got != "m_6 m_7 m_8" {
		t.Errorf("the last messages are %q", got)
	}
	for range 2 {
		if err := s.EraseChat(ctx, "r", "m_7", "p_host"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.EraseChat(ctx, "r", "m_none", "p_host"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not there is erased: %v", err)
	}
	if got := chat(); got != "m_5 m_6 m_8" {
		t.Errorf("without the erased one the last messages are %q", got)
	}
	for room, want := range map[string]int{"r": 0, "other": 1} {
		all, err := s.Events(ctx, room, 0, 100)
		if err != nil || len(all) != 18 {
			t.Fatalf("%d events, %v", len(all), err)
		}
		secrets := 0
		for _, e := range all {
			secrets += strings.Count(string(e.Data), "secret 7")
			if strings.Contains(string(e.Data), "m_7") && want == 0 && string(e.Data) != `{"message":{"id":"m_7","text":"","links":[]},"removed_by":"p_host"}` {
				t.Errorf("the erased one is %s", e.Data)
			}
		}
		if secrets != want {
			t.Errorf("room %s has the text %d times, want %d", room, secrets, want)
		}
	}
}
