package collab

import (
	"crypto/subtle"

	"corun/store"
)

// seat is what a document's room knows of the people on /live. By it only the driver edits,
// where a room is set so, and edits have a person for their author. A client's two sockets are
// joined by a session, a secret of its own that it gives on both. Owned by work.
type seat struct {
	only     bool              // nobody edits but the driver
	driver   string            // the participant who drives, or ""
	sessions map[string]string // by participant
	owners   map[string]string // the participant who gave a session last
}

// onlyDriver is what everybody else is told.
const onlyDriver = "only the driver edits"

// SetDriverOnly makes the room refuse the edits of all but the driver, or take everybody's
// again.
func (r *Room) SetDriverOnly(only bool) {
	r.post(work{call: func() {
		was := r.seat.only
		r.seat.only = only
		if was && !only {
			r.resync() // for what was refused
		}
	}})
}

// SetDriver says which participant drives now, or "" for nobody. Edits that come later are
// judged by it.
func (r *Room) SetDriver(participant string) {
	r.post(work{call: func() {
		if r.seat.driver != participant {
			r.seat.driver = participant
			r.askDriver()
		}
	}})
}

// SetSession says by which session a participant's document is known, or "" when they have
// left or have none.
func (r *Room) SetSession(participant, session string) {
	r.post(work{call: func() {
		s := &r.seat
		old := s.sessions[participant]
		if old == session {
			return
		}
		if s.owners[old] == participant {
			delete(s.owners, old)
		}
		if session == "" {
			delete(s.sessions, participant)
			return
		}
		if s.sessions == nil {
			s.sessions, s.owners = make(map[string]string), make(map[string]string)
		}
		s.sessions[participant], s.owners[session] = session, participant
		if participant == s.driver {
			r.askDriver()
		}
	}})
}

// drives tells whether a connection is the driver's.
func (s *seat) drives(c *SyncConn) bool {
	return c.peer.Session != "" && s.driver != "" &&
		subtle.ConstantTimeCompare([]byte(s.sessions[s.driver]), []byte(c.peer.Session)) == 1
}

// askDriver asks the driver's client for what the document lacks, where all others are
// refused: it may have edited before the seat was its own, and what it types now goes on from
// there.
func (r *Room) askDriver() {
	if !r.seat.only || r.doc == nil {
		return
	}
	for c := range r.conns {
		if r.seat.drives(c) {
			r.ask(c)
		}
	}
}

// authorOf is who an edit is by: a participant where that is known, else a role.
func (r *Room) authorOf(c *SyncConn) string {
	if r.seat.drives(c) {
		return r.seat.driver
	}
	if participant, ok := r.seat.owners[c.peer.Session]; ok {
		return participant
	}
	return string(c.peer.Role)
}

// refusal is what a client is told whose edits are not taken, or "".
func (r *Room) refusal(c *SyncConn) string {
	const denied = "permission denied"
	switch {
	case c.peer.Role == store.RoleViewer:
		return denied
	case r.locked:
		return denied + ": the room is locked"
	case r.seat.only && !r.seat.drives(c):
		return denied + ": " + onlyDriver
	case !r.hub.Writable():
		return denied + ": " + notSaved
	}
	return ""
}
