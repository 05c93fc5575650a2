// Package live is the side of a room that is about people and runs: who is
// there, who drives, what the program prints. The document's side is package
// collab; the two share nothing but a room's id, so that a flood of output
// cannot delay a keystroke.
//
// The web package calls it: Join for each socket on /live, then Next in that
// socket's writer; the broadcast methods whenever something happened. What
// always holds:
//
//   - At most one participant drives, and only a host or a guest.
//   - Every participant sees the messages of its room in one order. Output is
//     not pushed but pulled: a message remembers how far the output had got
//     when it was sent, and a participant's writer catches up to there before
//     it writes the message. A slow reader therefore costs no memory, and one
//     who joins late is no special case.
//   - Nothing here does I/O. The log alone is called with the lock held, so that it has
//     what happened in the order in which it did.
package live

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"corun/store"
)

const (
	// DriverGrace is how long a driver who lost the connection keeps the seat.
	DriverGrace = 10 * time.Second
	// MaxParticipants is how many live connections a room admits, unless NewHub is told
	// otherwise.
	MaxParticipants = 200
	// MaxNameBytes bounds a participant's name.
	MaxNameBytes = 64
	// maxQueuedBytes bounds the JSON that waits for one participant. Output is
	// not in it. 4 MiB is thousands of messages: whoever is that far behind is
	// better served by a fresh hello.
	maxQueuedBytes = 4 << 20
)

// Close codes of the web socket, from CONTRACT.md §4.
const (
	CloseTooSlow   = 1013
	CloseRemoved   = 4403
	CloseReplaced  = 4409
	CloseRoomEnded = 4410
	CloseGoingAway = 1001
)

// Error codes of refused client messages.
const (
	CodeNotDriver   = "not_driver"
	CodeNotAllowed  = "not_allowed"
	CodeBadMessage  = "bad_message"
	CodeUnknownType = "unknown_type"
	CodeNotFound    = "not_found"
)

// Error refuses what a participant asked for. Code is for programs, Message
// for people.
type Error struct {
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CloseError tells the socket with which code and reason to close.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("close %d: %s", e.Code, e.Reason) }

// ErrRoomFull is returned by Join when as many are there as may be.
var ErrRoomFull = errors.New("the room is full")

// Participant is one person as the others see them.
type Participant struct {
	ID   string     `json:"id"`
	Name string     `json:"name"`
	Hue  int        `json:"hue"` // 0–359
	Role store.Role `json:"role"`
}

// Event is one entry for the room's event log.
type Event struct {
	Kind string
	Data any
	At   time.Time // zero for now
}

// Hub holds the live side of every room in use. Guarded by mu.
type Hub struct {
	now  func() time.Time
	log  func(room string, e Event)
	key  [32]byte
	most int // participants of a room

	mu    sync.Mutex
	rooms map[string]*Room
}

// NewHub makes a hub. log is told of joins, departures and hand-overs, in
// order per room; it must not block, nor call back. A room admits most participants, or MaxParticipants if
// that is 0.
func NewHub(log func(room string, e Event), most int) *Hub {
	if most == 0 {
		most = MaxParticipants
	}
	h := &Hub{now: time.Now, log: log, most: most, rooms: make(map[string]*Room)}
	// Read never fails since Go 1.24: it ends the process instead.
	rand.Read(h.key[:])
	return h
}

// Restored is what a room is loaded with.
type Restored struct {
	Run    *store.Run // the last one, or nil
	Output []Chunk    // of that
	Chat   []ChatMessage
}

// Room gives the live side of a room, made at the first call. restore, when
// not nil, is asked for what was before if the room was not loaded;
// its error is Room's, and then nothing was made: what could not be read is not
// taken for nothing.
func (h *Hub) Room(id string, restore func() (Restored, error)) (*Room, error) {
	h.mu.Lock()
	if r, ok := h.rooms[id]; ok {
		r.pins++
		h.mu.Unlock()
		return r, nil
	}
	h.mu.Unlock()
	var past Restored
	if restore != nil {
		var err error
		if past, err = restore(); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.rooms[id]
	if !ok {
		r = &Room{id: id, hub: h, members: make(map[string]*Member)}
		if past.Run != nil {
			r.run = past.Run
			r.output = newOutput()
			r.output.run = uint32(past.Run.Number)
			for _, c := range past.Output {
				r.output.append(c.Stream, c.Data)
			}
		}
		for _, msg := range past.Chat {
			r.keepChat(msg)
		}
		h.rooms[id] = r
	}
	r.pins++
	return r, nil
}

// Release ends one use of a room that Room gave. With the last one the room is
// forgotten, unless its driver may still come back.
func (h *Hub) Release(r *Room) {
	h.mu.Lock()
	r.pins--
	h.mu.Unlock()
	h.forgetUnused(r)
}

func (h *Hub) forgetUnused(r *Room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pins == 0 && r.grace == nil && h.rooms[r.id] == r {
		r.endRotation()
		delete(h.rooms, r.id)
	}
}

// Peek calls fn with the live side of a room if it is in use.
func (h *Hub) Peek(id string, fn func(*Room)) {
	h.mu.Lock()
	r, ok := h.rooms[id]
	if ok {
		r.pins++
	}
	h.mu.Unlock()
	if ok {
		defer h.Release(r)
		fn(r)
	}
}

// Rooms counts the rooms in use; Participants the connections in them.
func (h *Hub) Rooms() (rooms, participants int) {
	h.mu.Lock()
	all := make([]*Room, 0, len(h.rooms))
	for _, r := range h.rooms {
		all = append(all, r)
	}
	h.mu.Unlock()
	for _, r := range all {
		r.mu.Lock()
		participants += len(r.members) + len(r.lobby)
		r.mu.Unlock()
	}
	return len(all), participants
}

// Broadcast tells everybody in all rooms.
func (h *Hub) Broadcast(v any) {
	h.each(func(r *Room) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.broadcast(v)
	})
}

// each calls fn with every room.
func (h *Hub) each(fn func(*Room)) {
	h.mu.Lock()
	all := slices.Collect(maps.Values(h.rooms))
	h.mu.Unlock()
	for _, r := range all {
		fn(r)
	}
}

// CloseAll disconnects everyone, for the end of the server.
func (h *Hub) CloseAll(reason string) {
	h.each(func(r *Room) {
		r.Disconnect(func(*Member) bool { return true }, CloseGoingAway, reason)
		r.stopTimers()
	})
}

// Room is the live side of one room.
//
// Lock order: Hub.mu before Room.mu; the hub's lock is never taken with a
// room's held.
type Room struct {
	id   string
	hub  *Hub
	pins int // Guarded by hub.mu.

	mu        sync.Mutex // guards all below
	members   map[string]*Member
	lobby     []*Member // who waits to be let in, the first first
	joins     int       // so far
	driver    string    // participant id, "" when nobody drives
	grace     *time.Timer
	graceGen  int
	requests  []string      // who asked for the seat, the first first
	turn      int           // joined of who drives, or drove last
	rotation  *rotation     // nil while the seat stays until somebody moves it
	rotations int           // how often its timer was set or ended
	opened    bool          // somebody has joined
	chat      []keptMessage // the last messages
	document  Document      // nil while nobody is there, nor may come back to the seat
	run       *store.Run    // current or last
	output    *output       // of run
	savedAt   time.Time
	savedWait *time.Timer
}

// JoinRequest is what a socket says about the person behind it.
type JoinRequest struct {
	Name      string
	Hue       int
	Role      store.Role
	TokenHash [32]byte
	Resume    string // from a former hello, or ""
	// Session is what the same client gives where its document is, or "". It is told to
	// Document and to nobody else.
	Session  string
	Document Document // the room's, the same for all; nil where nobody asks who drives
}

// Document is the document's side of a room. It is told who drives before the participants
// are, with the room's lock held: it must not block, nor call back.
type Document interface {
	// SetDriver says which participant drives, or "".
	SetDriver(participant string)
	// SetSession says which session a participant has; "" when they have none, or are gone.
	SetSession(participant, session string)
}

// Hello is the first message of a connection.
type Hello struct {
	Type         string        `json:"type"`
	Protocol     int           `json:"protocol"`
	You          Participant   `json:"you"`
	Resume       string        `json:"resume"`
	Participants []Participant `json:"participants"`
	Driver       *string       `json:"driver"`
	Room         any           `json:"room"`
	Languages    any           `json:"languages"`
	// Requests are who asked for the seat, the first first.
	Requests []string       `json:"requests"`
	Rotation map[string]any `json:"rotation"` // as in driver.rotation, or nil
	Chat     []ChatMessage  `json:"chat"`     // the last messages, the oldest first
	// Waiting are who is in the lobby, for a host; nil for others.
	Waiting []Participant `json:"waiting"`
	Run     *store.Run    `json:"run"`
}

// Join admits a connection: it is told hello and the output so far, the others
// are told that somebody joined. room and languages go into the hello as they
// are.
func (r *Room) Join(req JoinRequest, room, languages any) (*Member, error) {
	m, err := r.newMember(req)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	there := len(r.members)
	if m.who.Role != store.RoleHost {
		there += len(r.lobby) // those who wait keep no host out, who alone can let them in
	}
	if most := r.hub.most; r.members[m.who.ID] == nil && there >= most {
		return nil, fmt.Errorf("%w: %d participants are connected", ErrRoomFull, most)
	}
	r.takePlace(m)
	r.admit(m, req, room, languages)
	return m, nil
}

// newMember makes the member of a connection, of which the room knows nothing yet. Its error
// is an *Error for what the person says of themselves.
func (r *Room) newMember(req JoinRequest) (*Member, error) {
	name, err := cleanName(req.Name)
	if err != nil {
		return nil, err
	}
	if req.Hue < 0 || req.Hue > 359 {
		return nil, refuse(CodeBadMessage, "hue is %d: give a number from 0 to 359", req.Hue)
	}
	id, known := r.hub.resumed(r.id, req)
	if !known {
		id = newParticipantID()
	}
	return &Member{
		room: r, tokenHash: req.TokenHash, allowed: newAllowed(), wake: make(chan struct{}, 1),
		who: Participant{ID: id, Name: name, Hue: req.Hue, Role: req.Role},
	}, nil
}

// takePlace gives a member a place in the order of joining: that of the connection of the
// same person, which ends, or the last. mu is held.
func (r *Room) takePlace(m *Member) {
	id := m.who.ID
	r.joins++
	m.joined = r.joins
	if id == r.driver {
		m.joined = r.turn // whose turn comes next does not change because the driver loads the page again
	}
	if old, ok := r.members[id]; ok {
		old.close(CloseReplaced, "opened again elsewhere")
		delete(r.members, id)
		m.joined, m.allowed = old.joined, old.allowed
	}
}

// admit makes a member one of the room's, and tells them and the others. mu is held.
func (r *Room) admit(m *Member, req JoinRequest, room, languages any) {
	id := m.who.ID
	if id == r.driver {
		r.cancelGrace()
	}
	if r.document = req.Document; r.document != nil {
		r.document.SetSession(id, req.Session)
		r.document.SetDriver(r.driver) // which it does not know if it was just loaded
	}
	r.broadcast(map[string]any{"type": "participant.joined", "participant": m.who})
	r.members[id] = m
	if !r.opened {
		r.opened = true
		r.note(KindOpen, map[string]any{})
	}
	r.note(KindJoin, map[string]any{"participant": m.who})
	m.output = r.output
	if r.output != nil {
		m.replayTo = r.output.len()
	}
	m.sendJSON(Hello{
		Type: "hello", Protocol: 1, You: m.who, Resume: r.hub.resumeToken(r.id, id, req.TokenHash),
		Participants: r.participants(), Driver: r.driverPtr(), Requests: r.pending(), Rotation: r.rotationFields(),
		Chat: r.chatSoFar(), Waiting: r.waitingFor(m.who.Role), Room: room, Languages: languages, Run: r.run,
	}, r.output, 0)
	r.tellNext()
	m.signal()
}

// Participants lists who is connected, the driver's id ("" for nobody) and the
// current or last run.
func (r *Room) Participants() (all []Participant, driver string, run *store.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.participants(), r.driver, r.run
}

// Disconnect closes the connections that match.
func (r *Room) Disconnect(match func(*Member) bool, code int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.everybody() {
		if match(m) {
			m.close(code, reason)
		}
	}
}

// everybody are the members and who waits to be one. mu is held.
func (r *Room) everybody() []*Member {
	return slices.AppendSeq(slices.Clone(r.lobby), maps.Values(r.members))
}

// Broadcast sends one JSON message to everybody.
func (r *Room) Broadcast(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broadcast(v)
}

// BroadcastByRole sends everybody the JSON message that view gives for their role.
func (r *Room) BroadcastByRole(view func(store.Role) any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broadcastByRole(view)
}

// savedEvery is the least time between two saved messages to everybody.
const savedEvery = 250 * time.Millisecond

// Saved tells everybody what the store has, at most four times a second; get is
// called just before, in a goroutine of its own, and may wait.
func (r *Room) Saved(get func() ([]byte, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.savedWait != nil || len(r.members) == 0 {
		return
	}
	wait := max(0, savedEvery-r.hub.now().Sub(r.savedAt))
	r.savedWait = time.AfterFunc(wait, func() {
		r.mu.Lock()
		// From now on what is saved needs another message.
		r.savedWait, r.savedAt = nil, r.hub.now()
		r.mu.Unlock()
		stateVector, err := get()
		if err != nil {
			return // the room is being unloaded, or its store fails, which is told otherwise
		}
		r.Broadcast(SavedMessage(stateVector))
	})
}

// SavedMessage says that the store has all up to the state vector.
func SavedMessage(stateVector []byte) map[string]any {
	return map[string]any{"type": "saved", "state_vector": base64.StdEncoding.EncodeToString(stateVector)}
}

// participants lists who is connected, in the order of joining. mu is held.
func (r *Room) participants() []Participant {
	members := slices.SortedFunc(maps.Values(r.members), func(a, b *Member) int { return cmp.Compare(a.joined, b.joined) })
	all := make([]Participant, len(members))
	for i, m := range members {
		all[i] = m.who
	}
	return all
}

// broadcast queues v for every member. mu is held.
func (r *Room) broadcast(v any) {
	data := mustJSON(v)
	for _, m := range r.members {
		m.send(data, r.output, r.outputLen())
	}
}

// broadcastAnswer is broadcast, but that the copy of the participant who asked
// for it carries the ref of what they sent. mu is held.
func (r *Room) broadcastAnswer(v map[string]any, to string, ref json.RawMessage) {
	asker, ok := r.members[to]
	if !ok || len(ref) == 0 {
		r.broadcast(v)
		return
	}
	data := mustJSON(v)
	for _, m := range r.members {
		if m != asker {
			m.send(data, r.output, r.outputLen())
		}
	}
	v["ref"] = ref
	asker.sendJSON(v, r.output, r.outputLen())
}

// broadcastByRole encodes one message for each role. mu is held.
func (r *Room) broadcastByRole(view func(store.Role) any) {
	encoded := make(map[store.Role][]byte)
	for _, m := range r.members {
		if encoded[m.who.Role] == nil {
			encoded[m.who.Role] = mustJSON(view(m.who.Role))
		}
		m.send(encoded[m.who.Role], r.output, r.outputLen())
	}
}

// Answer is who asked for what everybody is told, and the ref they gave.
type Answer struct {
	To  string // participant id, or ""
	Ref json.RawMessage
}

// BroadcastAnswer sends one JSON message to everybody, as the answer to one.
func (r *Room) BroadcastAnswer(v map[string]any, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broadcastAnswer(v, a.To, a.Ref)
}

func (r *Room) outputLen() int64 {
	if r.output == nil {
		return 0
	}
	return r.output.len()
}

// note writes to the room's log. mu is held.
func (r *Room) note(kind string, data any) { r.hub.log(r.id, Event{Kind: kind, Data: data}) }

// resumeToken proves in a later connection that it is the same person: the
// participant's id and an HMAC over it, the room and the token they came by,
// so that it is worth nothing once that token was rotated.
func (h *Hub) resumeToken(room, id string, tokenHash [32]byte) string {
	mac := hmac.New(sha256.New, h.key[:])
	fmt.Fprintf(mac, "%s\x00%s\x00", room, id)
	mac.Write(tokenHash[:])
	return id + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

func (h *Hub) resumed(room string, req JoinRequest) (id string, ok bool) {
	id, _, found := strings.Cut(req.Resume, ".")
	if !found {
		return "", false
	}
	want := h.resumeToken(room, id, req.TokenHash)
	return id, subtle.ConstantTimeCompare([]byte(want), []byte(req.Resume)) == 1
}

func newParticipantID() string { return "p_" + strings.ToLower(rand.Text()[:16]) }

// CheckName tells what is wrong with a participant's name, if anything is.
func CheckName(name string) error {
	_, err := cleanName(name)
	return err
}

// cleanName trims a name and refuses what would mislead or break a line.
func cleanName(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "Guest", nil
	case len(s) > MaxNameBytes:
		return "", refuse(CodeBadMessage, "name has %d bytes: at most %d are allowed", len(s), MaxNameBytes)
	case !utf8.ValidString(s):
		return "", refuse(CodeBadMessage, "name is not valid UTF-8")
	}
	for _, c := range s {
		if unicode.In(c, unicode.Zl, unicode.Zp) {
			return "", refuse(CodeBadMessage, "name holds the line break %U: leave it out", c)
		}
		// Bidi controls are format characters that could make one name look
		// like another; the joiners (200C, 200D) are needed by some scripts.
		if unicode.IsControl(c) || (unicode.Is(unicode.Cf, c) && c != 0x200c && c != 0x200d) {
			return "", refuse(CodeBadMessage, "name holds the control character %U: leave it out", c)
		}
	}
	return s, nil
}

// mustJSON encodes messages of our own types, which cannot fail.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("live: encode message: " + err.Error())
	}
	return data
}
