package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab"
	"corun/collab/live"
	"corun/store"
)

const (
	// writeWait is how long one write may take before the peer counts as gone.
	writeWait = 30 * time.Second
	// pingEvery and pongWait find peers that vanished without a goodbye.
	pingEvery = 25 * time.Second
	pongWait  = 60 * time.Second
)

// serveSync is the y-websocket protocol on a room's document.
func (s *Server) serveSync(w http.ResponseWriter, r *http.Request) error {
	return s.serveDocument(w, r, func(_ context.Context, a *access) (string, error) { return a.room.ID, nil })
}

// serveNotes is the same on the private notes of its hosts.
func (s *Server) serveNotes(w http.ResponseWriter, r *http.Request) error {
	return s.serveDocument(w, r, func(ctx context.Context, a *access) (string, error) {
		if a.role != store.RoleHost {
			return "", wrongRole(a.role, store.RoleHost)
		}
		return store.NotesID(a.room.ID), s.cfg.Store.EnsureNotes(ctx, a.room.ID)
	})
}

// serveDocument joins a client to the document whose id find gives. It returns when the client
// has joined; what goes on then needs neither the request nor its goroutine, see syncSocket.
func (s *Server) serveDocument(w http.ResponseWriter, r *http.Request, find func(context.Context, *access) (string, error)) (err error) {
	leave, err := s.admission.enter(s.remoteIP(r))
	if err != nil {
		return err
	}
	c := &syncSocket{server: s, leave: leave}
	defer func() {
		if c.conn == nil {
			if c.room != nil {
				c.room.Release()
			}
			leave()
		}
	}()
	done, err := s.admission.join(r.Context())
	if err != nil {
		return err
	}
	defer done()
	a, err := c.authorize(r.Context(), r.PathValue("room"), r.URL.Query().Get("token"))
	if err != nil {
		return err
	}
	if a.mustWait() {
		return errWait // no handshake: stock clients try again, more and more seldom
	}
	session, err := sessionOf(r.URL.Query())
	if err != nil {
		return err
	}
	document, err := find(r.Context(), a)
	if err != nil {
		return err
	}
	if !s.enter() {
		return goingAway()
	}
	ws, err := s.syncUpgrader.Upgrade(w, r, nil)
	if err != nil {
		s.sockets.Done()
		return nil // the upgrader has answered
	}
	c.socket = ws.NetConn() // all that is kept of ws
	if socket, ok := c.socket.(syscall.Conn); ok {
		if c.raw, err = socket.SyscallConn(); err != nil {
			s.log.Debug("a socket has ended at once", "error", err)
		}
	}
	if err := c.join(r.Context(), a, document, session); err != nil {
		code, reason := s.closeCode(err)
		sayGoodbye(c.socket, code, reason)
		go func() { // the goodbye may take a while to be read
			defer s.sockets.Done()
			_, _ = io.Copy(io.Discard, c.socket)
			_ = c.socket.Close()
		}()
		return nil
	}
	go c.rest()
	return nil
}

// authorize is Server's, for one who wants a document. An open room is not looked for twice, and
// need not be there: its first edit makes it.
func (c *syncSocket) authorize(ctx context.Context, room, token string) (*access, error) {
	if token != "" || !c.server.isOpenName(room) {
		return c.server.authorize(ctx, room, token)
	}
	acquired, err := c.server.cfg.Rooms.AcquireOpen(ctx, room)
	if errors.Is(err, collab.ErrPrivate) {
		return nil, errNoRoom
	}
	if err != nil {
		return nil, err
	}
	if !acquired.Public() {
		acquired.Release()
		return nil, errNoRoom
	}
	c.room = acquired
	return &access{room: &store.Room{ID: room, Open: true}, role: store.RoleGuest}, nil
}

// session is what joins the two sockets of one person: a client makes it up and gives it on
// both. Long enough that nobody comes upon another's.
var sessionForm = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)

// sessionOf reads the session of a socket's query, or "" if none is given.
func sessionOf(q url.Values) (string, error) {
	given := q.Get("session")
	if q.Has("session") && !sessionForm.MatchString(given) {
		return "", badField("session", "session is not 16 to 64 letters, digits, - and _: make up a random one, and give it on /sync and /live")
	}
	return strings.Clone(given), nil // and do not keep the whole query
}

// join makes the client one of a document's.
func (c *syncSocket) join(ctx context.Context, a *access, document, session string) (err error) {
	if a.room.Ended {
		return &collab.CloseError{Code: live.CloseRoomEnded, Reason: "the host ended this room"}
	}
	if c.room == nil {
		if c.room, err = c.server.cfg.Rooms.Acquire(ctx, document); err != nil {
			return err
		}
	}
	conn, err := c.room.Join(ctx, collab.Peer{Role: a.role, TokenHash: a.tokenHash, Session: session, Ready: c.ready})
	if err != nil {
		return err
	}
	c.conn, c.expires = conn, a.expires
	c.server.heart.add(c)
	if err := c.server.stillGood(ctx, a); err != nil {
		conn.End(c.server.closeCode(err)) // the reader takes it down
	}
	return nil
}

func goingAway() error {
	p := newProblem(http.StatusServiceUnavailable, "the server is going away")
	p.retryAfter = 5 * time.Second
	return p
}

// socket upgrades the request, runs serve and closes with the code that its
// error asks for. serve must have stopped all use of the socket when it returns.
func (s *Server) socket(w http.ResponseWriter, r *http.Request, serve func(context.Context, *websocket.Conn) error) error {
	if !s.enter() {
		return goingAway()
	}
	defer s.sockets.Done()
	leave, err := s.admission.enter(s.remoteIP(r))
	if err != nil {
		return err
	}
	defer leave()
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	defer ws.Close()
	// The request's context ends with the hijack's handler, not with the socket.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	if code, reason := s.closeCode(serve(ctx, ws)); code != 0 {
		// A control frame holds 125 bytes, two of them the code.
		if len(reason) > maxReason {
			reason = strings.ToValidUTF8(reason[:maxReason], "")
		}
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	}
	linger(ws.NetConn())
	return nil
}

const (
	// maxReason is the longest reason of a close, in bytes.
	maxReason = 123
	// lingerFor is how long a peer has to read why it was closed.
	lingerFor = 2 * time.Second
)

// linger ends a connection so that the peer can read what was written last: to
// close it with input unread would reset it. What the peer still sends is
// dropped until it closes as well.
func linger(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn) // its error is the deadline or the peer's reset
}

// closeCode says how to close a socket after err; 0 if the peer closed it.
func (s *Server) closeCode(err error) (code int, reason string) {
	var docClose *collab.CloseError
	var liveClose *live.CloseError
	var peer *websocket.CloseError
	switch {
	case errors.As(err, &docClose):
		return docClose.Code, docClose.Reason
	case errors.As(err, &liveClose):
		return liveClose.Code, liveClose.Reason
	case errors.Is(err, websocket.ErrReadLimit):
		return 0, "" // gorilla has sent 1009 itself
	case errors.As(err, &peer), errors.Is(err, errPeerGone), err == nil:
		return 0, ""
	}
	var p *problem
	if !errors.As(err, &p) {
		p = s.translate(err)
	}
	if p != nil {
		return websocket.CloseTryAgainLater, p.Detail
	}
	s.log.Error("web socket failed", "error", err)
	return websocket.CloseInternalServerErr, "something went wrong on the server"
}

// errPeerGone ends a socket whose other side no longer answers.
var errPeerGone = errors.New("the peer is gone")

// pump runs a socket's reader and writer until one of them ends, and gives the
// error of the one that ended first. receive gets each message, next writes
// what there is to write, and blocks until there is something.
func (s *Server) pump(ctx context.Context, ws *websocket.Conn, address string, limit int64,
	receive func(kind int, data []byte) error, next func(context.Context) error) error {
	ws.SetReadLimit(limit)
	alive := func(string) error { return ws.SetReadDeadline(time.Now().Add(pongWait)) }
	if err := alive(""); err != nil {
		return errPeerGone
	}
	ws.SetPongHandler(alive)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wrote := make(chan error, 1)
	pinged := make(chan struct{})
	go func() { // ends with cancel; waited for below
		defer close(pinged)
		ticker := time.NewTicker(pingEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)) // the reader notices
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() { // ends with cancel or a failed write; waited for below
		for {
			if err := next(ctx); err != nil {
				wrote <- err
				// Wake the reader.
				_ = ws.SetReadDeadline(time.Now())
				return
			}
		}
	}()
	read := func() error {
		for {
			if err := s.message(ws, address, receive); err != nil {
				return err
			}
		}
	}()
	cancel()
	<-pinged
	// The writer may be in a write to a peer that does not read; writeWait
	// bounds that.
	write := <-wrote
	if write != nil && !errors.Is(write, context.Canceled) && errors.Is(read, errPeerGone) {
		return write // the writer ended it
	}
	return read
}

// message reads one message and hands it on. It counts as a body does.
func (s *Server) message(ws *websocket.Conn, address string, receive func(kind int, data []byte) error) error {
	kind, src, err := ws.NextReader()
	var data []byte
	if err == nil {
		in := &counted{src: src, budget: s.bodies, address: address}
		defer in.release()
		data, err = io.ReadAll(in)
	}
	var p *problem
	switch {
	case errors.Is(err, websocket.ErrReadLimit), errors.As(err, &p):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errPeerGone, err)
	}
	return receive(kind, data)
}

func writeMessage(ws *websocket.Conn, kind int, data []byte) error {
	if err := ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return errPeerGone
	}
	if err := ws.WriteMessage(kind, data); err != nil {
		return fmt.Errorf("%w: %w", errPeerGone, err)
	}
	return nil
}
