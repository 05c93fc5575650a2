package live

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"corun/store"
)

// Frame is one web socket message for a participant.
type Frame struct {
	Binary bool
	Data   []byte
}

// Member is one participant's connection. The reader of its socket calls the
// methods that ask for something, the writer calls Next; Leave ends both.
type Member struct {
	// Static after Join.
	room    *Room
	joined  int           // the participant's place in the order of joining
	allowed *allowed      // shared by the connections of one person, one after the other
	wake    chan struct{} // holds one token when there may be something to write
	// Guarded by room.mu.
	who       Participant
	tokenHash [32]byte        // of the room token they came by
	ref       json.RawMessage // of the message that is being handled
	queue     []message
	queued    int // bytes of JSON in queue
	closed    *CloseError
	left      bool
	waits     *waiter // nil once they are in
	output    *output // what pos counts in
	pos       int64   // how far into output this participant was sent
	replayTo  int64   // below it nothing is left out: it was there before the join
	tick      tick
	// Held by Next, so that frames leave in order.
	writing sync.Mutex
	frame   []byte // the last output frame, whose memory the next one takes; writing guards it
}

// allowed bounds how often one participant does what everybody is told and the log keeps.
type allowed struct {
	chats  *rate.Limiter
	brings *rate.Limiter // see Bring
	names  *rate.Limiter // changes of name or hue
	seats  *rate.Limiter // what is done with the seat
}

// What is allowed, in a second, and at once.
const (
	chatsPerSecond, chatsAtOnce   = 1, 10
	bringsPerSecond, bringsAtOnce = 1, 3
	namesPerSecond, namesAtOnce   = 1, 20
	seatsPerSecond, seatsAtOnce   = 2, 60
)

func newAllowed() *allowed {
	return &allowed{
		chats: rate.NewLimiter(chatsPerSecond, chatsAtOnce), brings: rate.NewLimiter(bringsPerSecond, bringsAtOnce),
		names: rate.NewLimiter(namesPerSecond, namesAtOnce), seats: rate.NewLimiter(seatsPerSecond, seatsAtOnce),
	}
}

// message is a JSON message that follows the output up to a position.
type message struct {
	data   []byte
	output *output
	upTo   int64
}

// tick is a sixtieth of a second in which a participant is sent output: what there was when it
// began, and then as it comes, until that is much. Of a flood the rest waits for the next one.
type tick struct {
	end   time.Time
	to    int64 // there was so much of output when it began
	bytes int64 // sent
}

const (
	tickLength = time.Second / 60
	// maxTickBytes is up to which output is sent as it comes within a tick: more than anybody
	// reads.
	maxTickBytes = 8 << 10
)

const (
	// maxFrameBytes is the most output in one frame.
	maxFrameBytes = 64 << 10
	// maxBehindBytes is how far a participant may fall behind a running program
	// before output is left out, and keepBehindBytes what they then get of it.
	maxBehindBytes  = 1 << 20
	keepBehindBytes = 64 << 10
)

// You is the participant as it is now.
func (m *Member) You() Participant {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.who
}

// CameBy tells whether this connection came in by a token. The room's lock is
// held: it is for the match of Disconnect.
func (m *Member) CameBy(hash [32]byte) bool { return m.tokenHash == hash }

// Handling says which message of the participant is being handled, by the ref
// it carried, so that what answers it can carry that too. Its error is the
// *CloseError of a connection that is being closed: its writer may be stuck for
// long, and meanwhile nothing more is taken from it.
func (m *Member) Handling(ref json.RawMessage) error {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.ref = ref
	if m.closed != nil {
		return m.closed
	}
	return nil
}

// Send queues one JSON message for this participant alone.
func (m *Member) Send(v any) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.sendJSON(v, m.room.output, m.room.outputLen())
}

// answer tells this participant alone, with the ref of what they asked. mu is held.
func (m *Member) answer(msg map[string]any) {
	if len(m.ref) > 0 {
		msg["ref"] = m.ref
	}
	m.sendJSON(msg, m.room.output, m.room.outputLen())
}

// Update changes the participant's name or hue; nil leaves it.
func (m *Member) Update(name *string, hue *int) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	next := m.who
	if name != nil {
		clean, err := cleanName(*name)
		if err != nil {
			return err
		}
		next.Name = clean
	}
	if hue != nil {
		if *hue < 0 || *hue > 359 {
			return refuse(CodeBadMessage, "hue is %d: give a number from 0 to 359", *hue)
		}
		next.Hue = *hue
	}
	if m.who != next && !m.allowed.names.AllowN(r.hub.now(), 1) {
		return refuse(CodeTooFast, "that is more than one change of name or hue a second: wait a little")
	}
	if m.waits != nil {
		m.who = next
		m.answer(map[string]any{"type": "participant.updated", "participant": m.who})
		r.tellWaiting()
		return nil
	}
	if m.who != next {
		m.who = next
		r.note(KindRename, map[string]any{"participant": m.who})
	}
	r.broadcastAnswer(map[string]any{"type": "participant.updated", "participant": m.who}, m.who.ID, m.ref)
	return nil
}

// CheckRemove tells whether this participant may remove another, and that one's
// role.
func (m *Member) CheckRemove(id string) (store.Role, error) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	victim, err := m.removable(id)
	if err != nil {
		return "", err
	}
	return victim.who.Role, nil
}

func (m *Member) removable(id string) (*Member, error) {
	if m.who.Role != store.RoleHost {
		return nil, refuse(CodeNotAllowed, "only a host can remove a participant")
	}
	victim, ok := m.room.members[id]
	if at := slices.IndexFunc(m.room.lobby, func(other *Member) bool { return other.who.ID == id }); !ok && at >= 0 {
		victim, ok = m.room.lobby[at], true
	}
	if !ok {
		return nil, refuse(CodeNotFound, "no participant %q is connected: give one of the ids in participants", id)
	}
	if victim == m {
		return nil, refuse(CodeNotAllowed, "you cannot remove yourself: leave by closing the page")
	}
	return victim, nil
}

// Remove disconnects another participant with CloseRemoved. Their link must have
// been replaced before, or they could come back by it.
func (m *Member) Remove(id string) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	victim, err := m.removable(id)
	if err != nil {
		return err
	}
	if r.driver == id {
		r.freeSeat(m.who.ID, ReasonLeft)
	}
	victim.close(CloseRemoved, "a host removed you from this room")
	r.note("remove", map[string]any{"participant": victim.who, "by": m.who.ID})
	return nil
}

// Rekey says that the room token of a role was replaced. Every connection that
// came by it, and is not closing, stays and is told the new one; hosts are told
// too, because they hand out the links.
func (r *Room) Rekey(role store.Role, token string, hash [32]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.everybody() {
		if m.closed != nil || (m.who.Role != role && m.who.Role != store.RoleHost) {
			continue
		}
		msg := map[string]any{"type": "token.rotated", "role": role, "token": token}
		if m.who.Role == role {
			m.tokenHash = hash
			msg["resume"] = r.hub.resumeToken(r.id, m.who.ID, hash)
		}
		m.sendJSON(msg, r.output, r.outputLen())
	}
}

// Leave ends the connection: the others are told, and a driver's seat is kept
// for DriverGrace. It is idempotent.
func (m *Member) Leave() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.left {
		return
	}
	m.left = true
	m.close(CloseGoingAway, "")
	if r.leaveLobby(m) {
		r.tellWaiting()
		return
	}
	if r.members[m.who.ID] != m {
		return // replaced by a newer connection of the same person
	}
	delete(r.members, m.who.ID)
	r.broadcast(map[string]any{"type": "participant.left", "participant": m.who})
	r.note("leave", map[string]any{"participant": m.who})
	r.dropRequest(m.who.ID)
	if r.driver == m.who.ID {
		r.startGrace() // and may edit meanwhile
	} else {
		r.forgetSession(m.who.ID)
	}
	r.tellNext()
}

// Next waits until there is something to write and gives it, in order; it is valid until
// Next is called again. Its error is a *CloseError once the connection is to be closed, or
// ctx's.
func (m *Member) Next(ctx context.Context) ([]Frame, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	for {
		m.room.mu.Lock()
		frames, held := m.take()
		closed := m.closed
		m.room.mu.Unlock()
		if len(frames) > 0 {
			return frames, nil
		}
		if held > 0 {
			// What wakes the writer meanwhile comes after what is held.
			select {
			case <-time.After(held):
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if closed != nil {
			return nil, closed
		}
		m.frame = nil // whoever waits holds no memory
		select {
		case <-m.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take gives the next few frames: at most about maxFrameBytes of output, so
// that what is decided about a slow reader is decided often. Where output comes next but is
// held back, held is for how long. mu is held.
func (m *Member) take() (frames []Frame, held time.Duration) {
	m.skipIfBehind() // may queue a message, which comes before the output after the gap
	if len(m.queue) == 0 && m.waits == nil {
		frame, held := m.nextOutput(m.room.output, m.room.outputLen())
		if frame != nil {
			frames = append(frames, Frame{true, frame})
		}
		return frames, held
	}
	for len(m.queue) > 0 {
		m.skipIfBehind() // may put a message first
		msg := m.queue[0]
		frame, held := m.nextOutput(msg.output, msg.upTo)
		if held > 0 {
			return frames, held
		}
		if frame != nil {
			return append(frames, Frame{true, frame}), 0
		}
		m.queue[0] = message{}
		m.queue = m.queue[1:]
		m.queued -= len(msg.data)
		frames = append(frames, Frame{false, msg.data})
	}
	return frames, 0
}

// nextOutput gives one output frame of o below upTo, or nil when this
// participant has all of it, or it is held back for a while. mu is held.
func (m *Member) nextOutput(o *output, upTo int64) (frame []byte, held time.Duration) {
	if o == nil {
		return nil, 0
	}
	if m.output != o {
		m.output, m.pos, m.replayTo, m.tick = o, 0, 0, tick{}
	}
	if m.pos >= upTo {
		return nil, 0
	}
	now := m.room.hub.now()
	if !now.Before(m.tick.end) {
		m.tick = tick{end: now.Add(tickLength), to: o.len()}
	}
	if m.pos >= m.tick.to && m.tick.bytes >= maxTickBytes {
		return nil, m.tick.end.Sub(now)
	}
	from := m.pos
	m.frame, m.pos = o.frame(m.frame[:0], from, min(upTo, from+maxFrameBytes))
	m.tick.bytes += m.pos - from
	return m.frame, 0
}

// skipIfBehind leaves out output that this participant is too slow for and
// queues the message that says so, before everything else. mu is held.
func (m *Member) skipIfBehind() {
	o := m.room.output
	if o == nil || m.output != o || m.pos < m.replayTo || o.len()-m.pos <= maxBehindBytes {
		return
	}
	to := o.lineStart(o.len() - keepBehindBytes)
	lost := o.count(m.pos, to)
	m.pos = to
	var notes []message
	for stream, n := range lost {
		if n > 0 {
			notes = append(notes, message{
				data: mustJSON(map[string]any{
					"type": "run.truncated", "run": m.room.run, "stream": streamName(uint8(stream)), "dropped": n,
				}),
				output: o, upTo: 0,
			})
		}
	}
	for _, n := range notes {
		m.queued += len(n.data)
	}
	m.queue = append(notes, m.queue...)
}

// sendJSON queues v behind the output up to a position. mu is held.
func (m *Member) sendJSON(v any, o *output, upTo int64) { m.send(mustJSON(v), o, upTo) }

func (m *Member) send(data []byte, o *output, upTo int64) {
	if m.closed != nil {
		return
	}
	if m.waits != nil {
		o, upTo = nil, 0 // what the program printed is not for who waits
	}
	if m.queued+len(data) > maxQueuedBytes {
		m.queue, m.queued = nil, 0
		m.close(CloseTooSlow, "too slow to read what happens here: connect again")
		return
	}
	m.queue = append(m.queue, message{data, o, upTo})
	m.queued += len(data)
	m.signal()
}

// signal wakes the writer.
func (m *Member) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// close makes Next return the close error once the queue is written. mu is held.
func (m *Member) close(code int, reason string) {
	if m.closed == nil {
		m.closed = &CloseError{code, reason}
	}
	m.signal()
}

// Fail answers a client message that was refused.
func (m *Member) Fail(code, text string, ref json.RawMessage) {
	msg := map[string]any{"type": "error", "code": code, "message": text}
	if len(ref) > 0 {
		msg["ref"] = ref
	}
	m.Send(msg)
}
