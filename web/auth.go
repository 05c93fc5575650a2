package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"corun/collab/live"
	"corun/store"
)

// access is what a caller may do in a room.
type access struct {
	room      *store.Room
	role      store.Role
	tokenHash [32]byte  // of the room token they came by; zero in an open room
	expires   time.Time // of that token; zero if it does not
}

// mustWait tells whether the host has not started the room for this caller yet.
func (a *access) mustWait() bool { return a.room.Lobby && a.role != store.RoleHost }

// errWait refuses those for whom the room has not begun. Who tries again comes in when it has.
var errWait = newProblem(http.StatusForbidden, "the host has not started this room yet: wait for the host, and try again then")

// openRoomName is what an open room can be called.
var openRoomName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// expired closes connections whose token has.
const expired = "the link you came by has expired: ask for a new one"

var errNoRoom = newProblem(http.StatusNotFound, "there is no such room, or the token is not one of its: open the link you were given again")

// authorize finds out what a token allows in the room of the path. Whatever is
// wrong with a token that was given, the answer is the same 404, so that nobody
// learns which rooms exist.
func (s *Server) authorize(ctx context.Context, roomID, token string) (*access, error) {
	if token == "" {
		if s.isOpenName(roomID) {
			return s.enterOpenRoom(ctx, roomID)
		}
		p := newProblem(http.StatusUnauthorized, "a room token is missing: send Authorization: Bearer, or ?token= on a web socket")
		return nil, p
	}
	hash := store.HashToken(token)
	grant, err := s.cfg.Store.GrantByToken(ctx, roomID, hash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoRoom
	}
	if err != nil {
		return nil, err
	}
	room, err := s.cfg.Store.Room(ctx, roomID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoRoom
	}
	if err != nil {
		return nil, err
	}
	return &access{room: room, role: grant.Role, tokenHash: hash, expires: grant.Expires}, nil
}

// forRoom authorizes an API call and asks for one of roles, or any if none is
// given.
func (s *Server) forRoom(r *http.Request, roles ...store.Role) (*access, error) {
	token, err := bearer(r)
	if err != nil {
		return nil, err
	}
	a, err := s.authorize(r.Context(), r.PathValue("room"), token)
	if err != nil {
		return nil, err
	}
	if a.mustWait() {
		return nil, errWait
	}
	if len(roles) > 0 && !slices.Contains(roles, a.role) {
		return nil, wrongRole(a.role, roles...)
	}
	return a, nil
}

// wrongRole refuses a caller whose role is none of those that are needed.
func wrongRole(role store.Role, needed ...store.Role) *problem {
	names := make([]string, len(needed))
	for i, role := range needed {
		names[i] = string(role)
	}
	return newProblem(http.StatusForbidden, "this takes the token of a %s; yours is a %s's", strings.Join(names, " or "), role)
}

// stillGood looks once more whether the token is good, after the connection was
// counted in: one that was replaced between the two was not there yet to be
// disconnected.
func (s *Server) stillGood(ctx context.Context, a *access) error {
	if a.tokenHash == ([32]byte{}) {
		return nil
	}
	_, err := s.cfg.Store.GrantByToken(ctx, a.room.ID, a.tokenHash)
	if errors.Is(err, store.ErrNotFound) {
		return &live.CloseError{Code: live.CloseRemoved, Reason: "the link you came by was replaced: ask for the new one"}
	}
	return err
}

// bearer reads the Authorization header.
func bearer(r *http.Request) (string, error) {
	h := r.Header.Get("Authorization")
	if h == "" {
		return "", nil
	}
	scheme, token, ok := strings.Cut(h, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", newProblem(http.StatusUnauthorized, "the Authorization header must be: Bearer and a token")
	}
	return strings.TrimSpace(token), nil
}

// mayCreate checks who may make rooms or run programs without one: what is in words.
func (s *Server) mayCreate(r *http.Request, what string) error {
	// A request without a body, or with text, needs no leave of the browser, so any
	// page could do it on the machine of who looks at it.
	if !s.originAllowed(r) {
		return newProblem(http.StatusForbidden, "pages of %s may not %s here: the operator can allow them with --allow-origin", r.Header.Get("Origin"), what)
	}
	if s.cfg.AnyoneMayCreate {
		return nil
	}
	token, err := bearer(r)
	if err != nil {
		return err
	}
	if token == "" {
		return newProblem(http.StatusUnauthorized, "it takes an API token to %s here: send Authorization: Bearer with one made by `corun token create`", what)
	}
	ok, err := s.cfg.Store.APITokenValid(r.Context(), store.HashToken(token))
	if err != nil {
		return err
	}
	if !ok {
		return newProblem(http.StatusUnauthorized, "that API token is not valid: make one with `corun token create`")
	}
	return nil
}

// isOpenName tells whether whoever gives this name needs no token.
func (s *Server) isOpenName(room string) bool {
	return s.cfg.OpenRooms && openRoomName.MatchString(room)
}

// enterOpenRoom lets a caller without token into a room that anybody may use,
// and makes it for the first. Who comes for the document alone does not need that, see
// syncSocket.authorize.
func (s *Server) enterOpenRoom(ctx context.Context, id string) (*access, error) {
	room, err := s.cfg.Store.Room(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		room, err = s.cfg.Store.CreateRoom(ctx, store.NewRoom{ID: id, Open: true})
		if errors.Is(err, store.ErrExists) { // by another visitor, just now
			room, err = s.cfg.Store.Room(ctx, id)
		}
	}
	if err != nil {
		return nil, err
	}
	if !room.Open {
		return nil, errNoRoom
	}
	return &access{room: room, role: store.RoleGuest}, nil
}

// remoteIP is the address that quotas count by. Of X-Forwarded-For the last
// entry counts: it is the one that the proxy in front has added.
func (s *Server) remoteIP(r *http.Request) string {
	if s.cfg.TrustProxy {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if last := strings.TrimSpace(hops[len(hops)-1]); net.ParseIP(last) != nil {
			return whose(last)
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return whose(host)
}

// whose gives what an address is counted by: of IPv6 its network, as everybody has a /64 at
// least, and may use another address of it for each call (RFC 6177).
func whose(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is4() || ip.IsLoopback() {
		return ip.String()
	}
	network, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return network.String()
}
