package store

import (
	"context"
	"errors"
	"testing"
)

// Notes are made once, belong to their room and go with it, and are no room of their own.
func TestNotes(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	id := NewRoomID()
	if err := s.EnsureNotes(ctx, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("notes of a room that is not there: %v", err)
	}
	if _, err := s.CreateRoom(ctx, NewRoom{ID: id}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.EnsureNotes(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if doc, err := s.LoadDocument(ctx, NotesID(id)); err != nil || doc.LastSeq != 0 {
		t.Errorf("the notes are %+v, %v, want an empty document", doc, err)
	}
	if rooms, err := s.Rooms(ctx); err != nil || len(rooms) != 1 || rooms[0].ID != id {
		t.Errorf("the rooms are %+v, %v, want the one", rooms, err)
	}
	if err := s.DeleteRoom(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Room(ctx, NotesID(id)); !errors.Is(err, ErrNotFound) {
		t.Errorf("notes of a deleted room: %v", err)
	}
}

// A lobby ends once, whatever else is changed.
func TestLobbyEnds(t *testing.T) {
	ctx, s := context.Background(), fresh(t)
	id := NewRoomID()
	made, err := s.CreateRoom(ctx, NewRoom{ID: id, Lobby: true})
	if err != nil || !made.Lobby {
		t.Fatalf("made %+v, %v, want a lobby", made, err)
	}
	yes, no := true, false
	for i, step := range []struct {
		patch RoomPatch
		want  bool
	}{
		{RoomPatch{Locked: &yes}, true},
		{RoomPatch{Lobby: &yes}, true},
		{RoomPatch{Lobby: &no}, false},
		{RoomPatch{Lobby: &yes}, false},
		{RoomPatch{Locked: &no}, false},
	} {
		if got, err := s.UpdateRoom(ctx, id, step.patch); err != nil || got.Lobby != step.want {
			t.Errorf("after change %d: lobby %v, %v, want %v", i, got.Lobby, err, step.want)
		}
	}
}
