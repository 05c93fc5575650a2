package live

import (
	"fmt"
	"slices"

	"corun/store"
)

// This file is about who waits in a room's lobby. They are members of nothing: nobody but
// hosts is told of them, and they are told nothing of the room until they are let in, over the
// connection that they have.

// waiter is what a member who waits will join with.
type waiter struct {
	req       JoinRequest
	languages any
}

// Wait lets a connection into the lobby. It is told that it waits, and nothing else; hosts are
// told who waits. languages is for the hello that it gets when it is let in.
func (r *Room) Wait(req JoinRequest, languages any) (*Member, error) {
	m, err := r.newMember(req)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := slices.IndexFunc(r.lobby, func(old *Member) bool { return old.who.ID == m.who.ID }); at >= 0 {
		r.lobby[at].close(CloseReplaced, "opened again elsewhere")
		m.allowed = r.lobby[at].allowed
		r.lobby = slices.Delete(r.lobby, at, at+1)
	} else if most := r.hub.most; len(r.members)+len(r.lobby) >= most {
		return nil, fmt.Errorf("%w: %d participants are connected", ErrRoomFull, most)
	}
	m.waits = &waiter{req, languages}
	r.lobby = append(r.lobby, m)
	m.sendJSON(map[string]any{"type": "lobby", "waiting": true, "you": m.who}, nil, 0)
	r.tellWaiting()
	return m, nil
}

// Start lets everybody in who waits. room goes into their hello as it is.
func (r *Room) Start(room any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.lobby
	r.lobby = nil
	for _, m := range all {
		r.letIn(m, room)
	}
}

// LetIn is Start for one, who came while the room was being started.
func (m *Member) LetIn(room any) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.waits == nil || !r.leaveLobby(m) {
		return
	}
	r.letIn(m, room)
	r.tellWaiting()
}

// letIn makes one who waited a member. mu is held.
func (r *Room) letIn(m *Member, room any) {
	w := m.waits
	m.waits = nil
	r.takePlace(m)
	r.admit(m, w.req, room, w.languages)
}

// leaveLobby takes one out who waits, and tells whether they did. mu is held.
func (r *Room) leaveLobby(m *Member) bool {
	before := len(r.lobby)
	r.lobby = slices.DeleteFunc(r.lobby, func(other *Member) bool { return other == m })
	return len(r.lobby) < before
}

// Waits tells whether the member is in the lobby still.
func (m *Member) Waits() bool {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.waits != nil
}

// tellWaiting tells hosts who waits, the first first. mu is held.
func (r *Room) tellWaiting() {
	data := mustJSON(map[string]any{"type": "lobby.waiting", "participants": r.waitingFor(store.RoleHost)})
	for _, m := range r.members {
		if m.who.Role == store.RoleHost {
			m.send(data, r.output, r.outputLen())
		}
	}
}

// waitingFor lists who waits, for a host; others are not told. mu is held.
func (r *Room) waitingFor(role store.Role) []Participant {
	if role != store.RoleHost {
		return nil
	}
	all := make([]Participant, len(r.lobby))
	for i, m := range r.lobby {
		all[i] = m.who
	}
	return all
}
