package web

import (
	"fmt"
	"net/http"
	"time"

	"corun/bundle"
	"corun/store"
)

// bundlePause is how long a caller may take for a piece of a bundle: all of it may take long.
const bundlePause = time.Minute

// getBundle gives the whole room in one file, without its tokens. It is written while it is
// read from the store; what goes wrong in the middle ends the connection, so that nobody takes
// the piece for the whole.
func (s *Server) getBundle(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	done, err := s.hold(r, bundleBytes)
	if err != nil {
		return err
	}
	defer done()
	release, err := s.cfg.Rooms.HoldHistory(r.Context(), a.room.ID)
	if err != nil {
		return err
	}
	defer release()
	out := &bundleWriter{to: w, control: http.NewResponseController(w), room: a.room.ID}
	err = bundle.Write(r.Context(), s.cfg.Store, a.room.ID, out)
	if err == nil || !out.begun {
		return err
	}
	if r.Context().Err() == nil {
		s.log.ErrorContext(r.Context(), "bundle a room", "room", a.room.ID, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// bundleWriter writes the head before the first byte, and gives the caller more time with
// each piece.
type bundleWriter struct {
	to      http.ResponseWriter
	control *http.ResponseController
	room    string
	begun   bool
}

func (b *bundleWriter) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		b.to.Header().Set("Content-Type", "application/zip")
		b.to.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="corun-%s.bundle.zip"`, b.room))
	}
	if err := b.control.SetWriteDeadline(time.Now().Add(bundlePause)); err != nil {
		return 0, fmt.Errorf("give the caller time: %w", err)
	}
	return b.to.Write(p)
}
