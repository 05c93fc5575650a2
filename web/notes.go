package web

import (
	"context"
	"errors"
	"net/http"

	"corun/collab"
	"corun/store"
)

// This file is about the private notes of a room's hosts: a document beside the room's own,
// which nobody else can open and which is in nothing that others can read.

// notesRoot is the text that the notes are.
const notesRoot = "notes"

// withNotes calls fn with the document of a room's notes; it does nothing where there are none.
func (s *Server) withNotes(ctx context.Context, room string, fn func(*collab.Room) error) error {
	err := s.withRoom(ctx, store.NotesID(room), fn)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// closeNotes ends the connections to a room's notes that came by a token.
func (s *Server) closeNotes(ctx context.Context, room string, hash [32]byte, code int, reason string) error {
	return s.withNotes(ctx, room, func(notes *collab.Room) error {
		notes.DisconnectToken(hash, code, reason)
		return nil
	})
}

func (s *Server) getNotes(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	text := ""
	err = s.withNotes(r.Context(), a.room.ID, func(notes *collab.Room) (err error) {
		text, err = notes.Text(r.Context(), notesRoot)
		return err
	})
	if err != nil {
		return err
	}
	return s.sendJSON(w, r, map[string]string{"text": text})
}
