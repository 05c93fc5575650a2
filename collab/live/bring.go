package live

import (
	"encoding/base64"

	"corun/store"
)

// Bring asks everybody to look at a place of a file, as a host may, and who drives, as the one
// who presents. anchor is a relative position of Yjs in base64, of at most 256 bytes.
func (m *Member) Bring(file, anchor string) error {
	r := m.room
	place, err := base64.StdEncoding.DecodeString(anchor)
	switch {
	case !fileID.MatchString(file):
		return refuse(CodeBadMessage, "file is missing, or no id of a file")
	case err != nil:
		return refuse(CodeBadMessage, "anchor is not base64")
	case len(place) == 0 || len(place) > maxAnchorBytes:
		return refuse(CodeBadMessage, "anchor has %d bytes: give a relative position of 1 to %d", len(place), maxAnchorBytes)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case m.closed != nil:
		return refuse(CodeNotAllowed, "this participant is being disconnected")
	case m.who.Role != store.RoleHost && r.driver != m.who.ID:
		return refuse(CodeNotAllowed, "only a host or the driver can bring everyone somewhere")
	case !m.allowed.brings.AllowN(r.hub.now(), 1):
		return refuse(CodeTooFast, "that is more than once a second: wait a little")
	}
	r.broadcastAnswer(map[string]any{"type": "bring", "by": m.who, "file": file, "anchor": anchor}, m.who.ID, m.ref)
	return nil
}
