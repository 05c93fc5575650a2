package web

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"corun/collab"
	"corun/collab/live"
	"corun/store"
)

// Settings that are changed at the same time are in the room as they are stored.
func TestSettingsAtOnce(t *testing.T) {
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "corun.db"), store.Options{})
	must(t, err)
	defer st.Close()
	log := slog.New(slog.DiscardHandler)
	rooms := collab.NewHub(st, collab.HubOptions{Log: log, Frame: Frame})
	s := New(Config{Store: st, Rooms: rooms, Log: log})
	defer func() { _ = rooms.Close(context.Background()); _ = s.Close(context.Background()) }()
	id := store.NewRoomID()
	_, err = st.CreateRoom(t.Context(), store.NewRoom{ID: id, Title: "x"})
	must(t, err)
	stale := 0
	yes, no := true, false
	title := "a"
	live1 := func() bool {
		var got bool
		must(t, s.withRoom(t.Context(), id, func(r *collab.Room) error {
			snap, err := r.Snapshot(t.Context())
			if err == nil {
				got = snap.RunsEnabled
			}
			return err
		}))
		return got
	}
	for range 100 {
		_, err := s.updateRoom(t.Context(), id, roomPatch{RunsEnabled: &yes}, live.Answer{})
		must(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = s.updateRoom(t.Context(), id, roomPatch{Title: &title}, live.Answer{}) })
		wg.Go(func() { _, _ = s.updateRoom(t.Context(), id, roomPatch{RunsEnabled: &no}, live.Answer{}) })
		wg.Wait()
		title += "a"
		if len(title) > 50 {
			title = "a"
		}
		row, err := st.Room(t.Context(), id)
		must(t, err)
		if row.RunsEnabled != live1() {
			stale++
		}
	}
	if stale > 0 {
		t.Errorf("the room had other settings than the store after %d of 100 changes", stale)
	}
}
