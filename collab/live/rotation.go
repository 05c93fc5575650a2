package live

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"corun/store"
)

// KindRotation is the log's entry of a change of the rotation.
const KindRotation = "rotation"

// Bounds of how long the seat stays with one, in minutes. The least is three seconds: whoever
// gets the seat should have time to see that.
const (
	minRotation = 0.05
	maxRotation = 120
)

// rotation hands the seat on, from one participant to the next in the order of joining, each
// time it has stayed for so long. It lives as long as the room is loaded. Guarded by room.mu.
type rotation struct {
	minutes float64
	by      string    // the participant who set it
	at      time.Time // when the seat is handed on
	next    string    // to whom, as everybody was told; "" while nobody else may drive
	timer   *time.Timer
}

// Rotate makes the seat go on to the next participant after so many minutes, again and again;
// 0 ends that. The driver may, and a host.
func (m *Member) Rotate(minutes float64) error {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.driver != m.who.ID && m.who.Role != store.RoleHost {
		return refuse(CodeNotDriver, "only the driver or a host can let the seat go round")
	}
	if minutes != 0 && !(minutes >= minRotation && minutes <= maxRotation) {
		return refuse(CodeBadMessage, "minutes is %v: give a number from %v to %d, or 0 to let the seat stay", minutes, minRotation, maxRotation)
	}
	r.endRotation()
	if minutes > 0 {
		r.rotation = &rotation{minutes: minutes, by: m.who.ID}
		r.armRotation()
	}
	msg := r.rotationMessage()
	msg["by"] = m.who.ID
	r.broadcastAnswer(msg, m.who.ID, m.ref)
	r.note(KindRotation, map[string]any{"minutes": minutes, "by": m.who.ID})
	return nil
}

// armRotation begins the time after which the seat is handed on. mu is held.
func (r *Room) armRotation() {
	if r.rotation.timer != nil {
		r.rotation.timer.Stop()
	}
	r.rotations++
	armed := r.rotations
	wait := time.Duration(r.rotation.minutes * float64(time.Minute))
	r.rotation.at = r.hub.now().Add(wait)
	r.rotation.timer = time.AfterFunc(wait, func() { r.rotate(armed) })
}

// endRotation lets the seat stay. mu is held.
func (r *Room) endRotation() {
	r.rotations++
	if r.rotation != nil {
		r.rotation.timer.Stop()
		r.rotation = nil
	}
}

// rotate hands the seat on, unless the timer that asks for it was set again meanwhile.
func (r *Room) rotate(armed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rotations != armed {
		return
	}
	if next := r.nextDriver(); next != "" {
		r.setDriver(next, "", ReasonRotated) // which begins the time anew
		return
	}
	r.armRotation()
	r.broadcast(r.rotationMessage())
}

// nextDriver is who gets the seat next: the first after whoever has or had it, in the order of
// joining, who may drive; "" if nobody else may. mu is held.
func (r *Room) nextDriver() string {
	others := slices.DeleteFunc(slices.Collect(maps.Values(r.members)), func(m *Member) bool {
		return m.who.ID == r.driver || m.mayDrive() != nil
	})
	if len(others) == 0 {
		return ""
	}
	// Who joined after the present driver comes before those who joined earlier.
	next := slices.MinFunc(others, func(a, b *Member) int {
		if early := a.joined <= r.turn; early != (b.joined <= r.turn) {
			if early {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.joined, b.joined)
	})
	return next.who.ID
}

// tellNext tells everybody who is next if that has changed, because somebody came or left. mu
// is held.
func (r *Room) tellNext() {
	if r.rotation != nil && r.rotation.next != r.nextDriver() {
		r.broadcast(r.rotationMessage())
	}
}

// rotationMessage says how the seat goes round. mu is held.
func (r *Room) rotationMessage() map[string]any {
	msg := map[string]any{"minutes": 0.0, "next_at": nil, "next": nil}
	if r.rotation != nil {
		msg = r.rotationFields()
		r.rotation.next = r.nextDriver()
	}
	msg["type"] = "driver.rotation"
	return msg
}

// rotationFields are what the message says of the rotation, or nil while there is none. mu is
// held.
func (r *Room) rotationFields() map[string]any {
	if r.rotation == nil {
		return nil
	}
	return map[string]any{
		"minutes": r.rotation.minutes, "next_at": r.rotation.at.UTC().Format(time.RFC3339Nano),
		"next": ptrOrNil(r.nextDriver()), "by": r.rotation.by,
	}
}
