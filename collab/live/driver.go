package live

import (
	"encoding/json"
	"slices"
	"time"

	"corun/store"
)

// Why the seat changed hands, the reason field of driver.changed.
const (
	ReasonTaken    = "taken"
	ReasonGiven    = "given"
	ReasonReleased = "released"
	ReasonLeft     = "left"
	ReasonGranted  = "granted"
	ReasonRotated  = "rotated"
)

// seatTooFast refuses who asks for, takes or gives the seat again and again: each time everybody
// is told, and the log keeps it. To release it is always possible.
const seatTooFast = "that is more than twice a second: wait a little"

// RequestSeat asks for the seat: a free one is granted at once, otherwise
// everybody is told who would like it. The request waits until it is granted,
// denied or withdrawn, or the participant leaves.
func (m *Member) RequestSeat() error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := m.mayDrive(); err != nil {
		return err
	}
	asked := map[string]any{"type": "driver.requested", "participant": m.who}
	switch {
	case r.driver == m.who.ID: // has it already
	case r.driver != "" && slices.Contains(r.requests, m.who.ID): // the others know
		m.answer(asked)
	case !m.allowed.seats.AllowN(r.hub.now(), 1):
		return refuse(CodeTooFast, seatTooFast)
	case r.driver == "":
		r.setDriver(m.who.ID, m.who.ID, ReasonGranted)
	default:
		r.requests = append(r.requests, m.who.ID)
		r.broadcastAnswer(asked, m.who.ID, m.ref)
	}
	return nil
}

// WithdrawRequest takes back what RequestSeat asked for.
func (m *Member) WithdrawRequest() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dropRequest(m.who.ID) {
		m.answer(r.requestsMessage())
		return
	}
	r.broadcastAnswer(r.requestsMessage(), m.who.ID, m.ref)
}

// GrantSeat gives the seat to somebody who has asked for it. The driver may, and a host.
func (m *Member) GrantSeat(to string) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	asker, err := m.requester(to)
	if err != nil {
		return err
	}
	if err := asker.mayDrive(); err != nil {
		return err
	}
	r.setDriver(to, m.who.ID, ReasonGranted)
	return nil
}

// DenySeat refuses somebody's request, who alone is told so; the others are told only that it
// waits no longer. The driver may, and a host.
func (m *Member) DenySeat(to string) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	asker, err := m.requester(to)
	if err != nil {
		return err
	}
	r.dropRequest(to)
	asker.sendJSON(map[string]any{"type": "driver.denied", "by": m.who.ID}, r.output, r.outputLen())
	r.broadcastAnswer(r.requestsMessage(), m.who.ID, m.ref)
	return nil
}

// requester gives who has asked for the seat, to one who may decide on that. mu is held.
func (m *Member) requester(id string) (*Member, error) {
	r := m.room
	if r.driver != m.who.ID && m.who.Role != store.RoleHost {
		return nil, refuse(CodeNotDriver, "only the driver or a host decides on requests for the seat")
	}
	asker, ok := r.members[id]
	if !ok || !slices.Contains(r.requests, id) {
		return nil, refuse(CodeNotFound, "participant %q has no request for the seat: give one of the ids in requests", id)
	}
	return asker, nil
}

// dropRequest forgets that somebody has asked for the seat, and tells whether they had. mu is
// held.
func (r *Room) dropRequest(id string) bool {
	at := slices.Index(r.requests, id)
	if at < 0 {
		return false
	}
	r.requests = slices.Delete(r.requests, at, at+1)
	return true
}

// requestsMessage says whose requests for the seat wait, after one was denied or withdrawn.
func (r *Room) requestsMessage() map[string]any {
	return map[string]any{"type": "driver.requests", "requests": r.pending()}
}

// pending lists who has asked for the seat, the first first. mu is held.
func (r *Room) pending() []string { return append([]string{}, r.requests...) }

// GiveSeat hands the seat to another participant. The driver may, and a host.
func (m *Member) GiveSeat(to string) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.driver != m.who.ID && m.who.Role != store.RoleHost {
		return refuse(CodeNotDriver, "only the driver or a host can give the seat")
	}
	next, ok := r.members[to]
	if !ok {
		return refuse(CodeNotFound, "no participant %q is connected: give one of the ids in participants", to)
	}
	if err := next.mayDrive(); err != nil {
		return err
	}
	if r.driver != to && !m.allowed.seats.AllowN(r.hub.now(), 1) {
		return refuse(CodeTooFast, seatTooFast)
	}
	r.setDriver(to, m.who.ID, ReasonGiven)
	return nil
}

// TakeSeat takes the seat: a host always may, a guest when nobody drives.
func (m *Member) TakeSeat() error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := m.mayDrive(); err != nil {
		return err
	}
	if r.driver != "" && r.driver != m.who.ID && m.who.Role != store.RoleHost {
		return refuse(CodeNotAllowed, "somebody drives: ask for the seat with driver.request")
	}
	if r.driver != m.who.ID && !m.allowed.seats.AllowN(r.hub.now(), 1) {
		return refuse(CodeTooFast, seatTooFast)
	}
	r.setDriver(m.who.ID, m.who.ID, ReasonTaken)
	return nil
}

// ReleaseSeat gives the seat up.
func (m *Member) ReleaseSeat() error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.driver != m.who.ID {
		return refuse(CodeNotDriver, "only the driver can release the seat")
	}
	r.freeSeat(m.who.ID, ReasonReleased)
	return nil
}

// SeatForStarter gives the seat to whoever starts a run while nobody drives.
func (m *Member) SeatForStarter() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.driver == "" && m.mayDrive() == nil && r.members[m.who.ID] == m {
		r.setDriver(m.who.ID, m.who.ID, ReasonGranted)
	}
}

// Seat is the driver's seat while AsDriver holds it.
type Seat struct{ room *Room }

// Echo shows everybody what the driver typed, for programs without a terminal
// that would echo it.
func (s Seat) Echo(data string) {
	r := s.room
	r.broadcast(map[string]any{"type": "run.stdin", "run": r.run, "by": r.driver, "data": data})
}

// AsDriver calls fn while m is certain to hold the seat, so that what fn sends
// to the program cannot arrive after a hand-over. fn must not block and not
// call back into the room, but for the seat's methods.
func (m *Member) AsDriver(fn func(Seat) error) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.driver != m.who.ID || r.members[m.who.ID] != m || m.closed != nil {
		return refuse(CodeNotDriver, "only the driver's keyboard reaches the program: ask for the seat with driver.request")
	}
	return fn(Seat{r})
}

// mayDrive refuses viewers, and those who are being disconnected: a removed
// participant's reader goes on while its writer is stuck. mu is held.
func (m *Member) mayDrive() error {
	if m.closed != nil {
		return refuse(CodeNotAllowed, "this participant is being disconnected")
	}
	if m.who.Role == store.RoleViewer {
		return refuse(CodeNotAllowed, "a viewer cannot drive")
	}
	return nil
}

// freeSeat takes the seat from the driver, for whoever asked for it first, or for nobody. mu
// is held.
func (r *Room) freeSeat(by, reason string) {
	for _, id := range r.requests {
		if asker, ok := r.members[id]; ok && id != r.driver && asker.mayDrive() == nil {
			r.setDriver(id, by, ReasonGranted)
			return
		}
	}
	r.setDriver("", by, reason)
}

// setDriver changes the seat and tells everybody. mu is held.
func (r *Room) setDriver(id, by, reason string) {
	if r.driver == id {
		return
	}
	before := r.driver
	r.driver = id
	if r.document != nil {
		r.document.SetDriver(id)
	}
	if before != "" && r.members[before] == nil {
		r.forgetSession(before)
	}
	r.dropRequest(id)
	if m, ok := r.members[id]; ok {
		r.turn = m.joined
	}
	r.cancelGrace()
	msg := map[string]any{"type": "driver.changed", "driver": r.driverPtr(), "by": ptrOrNil(by), "reason": reason}
	var ref json.RawMessage
	if actor, ok := r.members[by]; ok {
		ref = actor.ref
	}
	r.broadcastAnswer(msg, by, ref)
	r.note("driver", map[string]any{"driver": r.driverPtr(), "by": ptrOrNil(by), "reason": reason})
	if r.rotation != nil {
		r.armRotation()
		r.broadcast(r.rotationMessage())
	}
}

// forgetSession says that a participant is gone, and that of a room without people nobody needs
// to know any more. mu is held.
func (r *Room) forgetSession(id string) {
	if r.document == nil {
		return
	}
	r.document.SetSession(id, "")
	if len(r.members) == 0 && r.driver == "" {
		r.document = nil
	}
}

// startGrace begins the time that a driver who was disconnected has to come
// back. The hub keeps the room until it is over. mu is held.
func (r *Room) startGrace() {
	r.graceGen++
	gen := r.graceGen
	r.grace = time.AfterFunc(DriverGrace, func() {
		r.mu.Lock()
		if r.graceGen == gen {
			r.freeSeat("", ReasonLeft)
		}
		r.mu.Unlock()
		r.hub.forgetUnused(r)
	})
}

func (r *Room) cancelGrace() {
	r.graceGen++
	if r.grace != nil {
		r.grace.Stop()
		r.grace = nil
	}
}

func (r *Room) stopTimers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancelGrace()
	r.endRotation()
	if r.savedWait != nil {
		r.savedWait.Stop()
		r.savedWait = nil
	}
}

func (r *Room) driverPtr() *string { return ptrOrNil(r.driver) }

func ptrOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
