package yproto

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
)

// Awareness is what everybody in a room lets the others know of themselves:
// cursor, name, colour. Each client has a clock and a state, which is JSON or
// null when it has gone. Encoded:
//
//	varuint clients, then for each: varuint client id, varuint clock, string JSON
//
// The rules are those of y-protocols/awareness.js: a higher clock wins, and at
// the same clock null does.
type Awareness struct {
	clients map[uint64]awarenessEntry
}

type awarenessEntry struct {
	clock uint64
	state []byte // nil when gone
}

// AwarenessChange is one client's new state; State is nil when it has gone.
type AwarenessChange struct {
	Client uint64
	Clock  uint64
	State  []byte
}

// MaxAwarenessClients bounds the clients of one room: 200 participants, their
// editors and the departed, whose clocks are kept.
const MaxAwarenessClients = 4096

// NewAwareness makes an empty table.
func NewAwareness() *Awareness { return &Awareness{clients: make(map[uint64]awarenessEntry)} }

// DecodeAwareness reads an awareness update and hands each change to take, also when what
// comes after it is malformed. It makes no list: whoever sends thousands of states would have
// it collected. States are checked to be JSON, and are part of the payload.
func DecodeAwareness(payload []byte, take func(AwarenessChange)) error {
	n, rest, err := readUint(payload)
	if err != nil {
		return err
	}
	if n > uint64(len(rest)) {
		return bad("%d clients are announced where %d bytes are left", n, len(rest))
	}
	for range n {
		var c AwarenessChange
		if c.Client, rest, err = readUint(rest); err != nil {
			return err
		}
		if c.Clock, rest, err = readUint(rest); err != nil {
			return err
		}
		if c.State, rest, err = readBytes(rest); err != nil {
			return err
		}
		if !json.Valid(c.State) {
			return bad("the state of client %d is not JSON", c.Client)
		}
		if string(c.State) == "null" {
			c.State = nil
		}
		take(c)
	}
	return nil
}

// IsNews tells whether a change would change the table.
func (a *Awareness) IsNews(c AwarenessChange) bool {
	old, known := a.clients[c.Client]
	if !known {
		return c.State != nil
	}
	return old.clock < c.Clock || (old.clock == c.Clock && c.State == nil && old.state != nil)
}

// Apply takes in changes and gives those that were news.
func (a *Awareness) Apply(changes []AwarenessChange) []AwarenessChange {
	var news []AwarenessChange
	for _, c := range changes {
		if !a.IsNews(c) {
			continue
		}
		if _, known := a.clients[c.Client]; !known && !a.room() {
			continue
		}
		a.clients[c.Client] = awarenessEntry{c.Clock, slices.Clone(c.State)}
		news = append(news, c)
	}
	return news
}

// room makes room for one more client, at the cost of the departed.
func (a *Awareness) room() bool {
	if len(a.clients) >= MaxAwarenessClients {
		maps.DeleteFunc(a.clients, func(_ uint64, e awarenessEntry) bool { return e.state == nil })
	}
	return len(a.clients) < MaxAwarenessClients
}

// Departed tells of a client that counts as gone what it must hear to notice
// and come back with a higher clock.
func (a *Awareness) Departed(client uint64) (AwarenessChange, bool) {
	e, known := a.clients[client]
	return AwarenessChange{Client: client, Clock: e.clock}, known && e.state == nil
}

// Remove marks clients as gone and gives the changes that tell the others. Their
// clocks are kept, so that an old state that still travels does not bring them
// back.
func (a *Awareness) Remove(clients []uint64) []AwarenessChange {
	var gone []AwarenessChange
	for _, id := range clients {
		if old, ok := a.clients[id]; ok && old.state != nil {
			a.clients[id] = awarenessEntry{clock: old.clock}
			gone = append(gone, AwarenessChange{Client: id, Clock: old.clock})
		}
	}
	return gone
}

// All gives every state, to tell one who joins.
func (a *Awareness) All() []AwarenessChange {
	var all []AwarenessChange
	for _, id := range slices.SortedFunc(maps.Keys(a.clients), cmp.Compare[uint64]) {
		if e := a.clients[id]; e.state != nil {
			all = append(all, AwarenessChange{id, e.clock, e.state})
		}
	}
	return all
}

// Of gives the states of some clients, also of those that have gone.
func (a *Awareness) Of(clients map[uint64]struct{}) []AwarenessChange {
	all := make([]AwarenessChange, 0, len(clients))
	for id := range clients {
		if e, known := a.clients[id]; known {
			all = append(all, AwarenessChange{id, e.clock, e.state})
		}
	}
	slices.SortFunc(all, func(x, y AwarenessChange) int { return cmp.Compare(x.Client, y.Client) })
	return all
}

// EncodeAwareness writes changes as an awareness update.
func EncodeAwareness(changes []AwarenessChange) []byte {
	b := binary.AppendUvarint(nil, uint64(len(changes)))
	for _, c := range changes {
		b = binary.AppendUvarint(b, c.Client)
		b = binary.AppendUvarint(b, c.Clock)
		state := c.State
		if state == nil {
			state = []byte("null")
		}
		b = appendBytes(b, state)
	}
	return b
}
