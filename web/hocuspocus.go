package web

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"corun/collab"
	"corun/collab/yproto"
	"corun/store"
)

// serveHocuspocus speaks with Hocuspocus' provider: many documents on one socket, each named
// before its messages and entered with a token of its own. See yproto.DecodeHocuspocus.
func (s *Server) serveHocuspocus(w http.ResponseWriter, r *http.Request) error {
	session, err := sessionOf(r.URL.Query())
	if err != nil {
		return err
	}
	address := s.remoteIP(r)
	leave, err := s.admission.enter(address)
	if err != nil {
		return err
	}
	if !s.enter() {
		leave()
		return goingAway()
	}
	ws, err := s.syncUpgrader.Upgrade(w, r, nil)
	if err != nil {
		s.sockets.Done()
		leave()
		return nil // the upgrader has answered
	}
	c := &syncSocket{server: s, leave: leave}
	c.adopt(ws)
	c.many = &documents{socket: c, address: address, session: session, open: make(map[string]*document)}
	c.many.empty.Store(time.Now().UnixNano())
	s.heart.add(c)
	go c.rest()
	return nil
}

// maxName is the longest name of a document, with what tells two editors of it apart: each
// message has it.
const maxName = 512

// documents are those of one socket, by the names that the client gives them.
type documents struct {
	// Static.
	socket           *syncSocket
	address, session string

	// Owned by the reader.
	open    map[string]*document
	refused map[string]struct{} // whose messages may be on their way still; nil at first

	empty atomic.Int64 // since when none is open, in nanoseconds since 1970; 0 while one is

	writing sync.Mutex // held to write to the socket, and for its writing and said
}

// document is one client's connection to one document. It is written to as by a room, in
// frames of y-websocket.
type document struct {
	many   *documents
	prefix []byte // of each message
	room   *collab.Room
	conn   *collab.SyncConn
	leave  func()      // undoes the admission, of all but the first
	left   atomic.Bool // the client is done with it
}

// receive takes one message. Its error closes the socket.
func (m *documents) receive(frame []byte) error {
	h, err := yproto.DecodeHocuspocus(frame)
	if err == nil && len(h.Name) > maxName {
		err = fmt.Errorf("the name of a document has more than %d bytes", maxName)
	}
	if err != nil {
		return &collab.CloseError{Code: collab.CloseBadData, Reason: err.Error()}
	}
	switch h.Kind {
	case yproto.HocuspocusToken:
		return m.enter(string(h.Name), string(h.Body))
	case yproto.HocuspocusClose:
		m.close(string(h.Name))
	case yproto.HocuspocusDocument:
		if _, refused := m.refused[string(h.Name)]; refused {
			return nil
		}
		if m.open[string(h.Name)] == nil { // version 2 says nothing of a token that it has not
			if err := m.enter(string(h.Name), ""); err != nil {
				return err
			}
		}
		if d := m.open[string(h.Name)]; d != nil {
			return d.conn.Receive(h.Body)
		}
	case yproto.HocuspocusOther:
	}
	return nil
}

// maxRefused is how many documents are remembered that the client may not have.
const maxRefused = 100

// enter joins the client to a document, or tells it why not. Its error closes the socket, so
// that the client tries again later.
func (m *documents) enter(name, token string) error {
	if d := m.open[name]; d != nil {
		return nil // it sends tokens again when they are asked for, which they are not
	}
	ctx, cancel := context.WithTimeout(context.Background(), stuckAfter)
	defer cancel()
	d := &document{many: m, prefix: yproto.HocuspocusPrefix(name)}
	err := m.join(ctx, d, name, token)
	var refused *problem
	var end *collab.CloseError
	switch {
	case err == nil:
		m.open[name] = d
		delete(m.refused, name)
		m.empty.Store(0)
		return nil
	case errors.Is(err, errWait):
	case errors.Is(err, errEnded):
		return m.refuse(d, name, errEnded.Reason)
	case errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusNotFound):
		return m.refuse(d, name, refused.Detail)
	case errors.As(err, &end), errors.Is(err, errPeerGone):
		return err
	}
	code, reason := m.socket.server.closeCode(err)
	return &collab.CloseError{Code: code, Reason: reason}
}

// refuse says why the client may not have a document, now or later.
func (m *documents) refuse(d *document, name, reason string) error {
	if len(m.refused) >= maxRefused {
		return &collab.CloseError{Code: collab.CloseTryAgain, Reason: "asks for too many documents that it may not have"}
	}
	if m.refused == nil {
		m.refused = make(map[string]struct{})
	}
	m.refused[name] = struct{}{}
	return d.tell(yproto.AppendHocuspocusDenied(nil, reason))
}

func (m *documents) join(ctx context.Context, d *document, name, token string) (err error) {
	s := m.socket.server
	d.leave = func() {}
	if len(m.open) > 0 {
		if d.leave, err = s.admission.enter(m.address); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	done, err := s.admission.join(ctx)
	if err != nil {
		return err
	}
	defer done()
	id, _, _ := strings.Cut(name, "\x00") // behind it is what tells two editors of a document apart
	var a *access
	if a, d.room, err = s.authorizeDocument(ctx, id, token); err != nil {
		return err
	}
	switch {
	case a.mustWait():
		return errWait
	case a.room.Ended:
		return errEnded
	}
	if d.room == nil {
		if d.room, err = s.cfg.Rooms.Acquire(ctx, a.room.ID); err != nil {
			return err
		}
	}
	if err := d.tell(yproto.AppendHocuspocusLetIn(nil, a.role != store.RoleViewer)); err != nil {
		return err
	}
	peer := collab.Peer{Role: a.role, TokenHash: a.tokenHash, Session: m.session, Acks: true, Ready: d.ready}
	if d.conn, err = d.room.Join(ctx, peer); err != nil {
		return err
	}
	s.heart.expire(m.socket, a.expires)
	return s.stillGood(ctx, a)
}

// close is the client's wish to be done with a document.
func (m *documents) close(name string) {
	d := m.open[name]
	if d == nil {
		return
	}
	delete(m.open, name)
	if len(m.open) == 0 {
		m.empty.Store(time.Now().UnixNano())
	}
	d.close()
}

func (m *documents) closeAll() {
	for _, d := range m.open {
		d.close()
	}
}

func (d *document) close() {
	d.left.Store(true)
	if d.conn != nil {
		d.conn.Close()
	}
	if d.room != nil {
		d.room.Release()
	}
	d.leave()
}

// ready starts a writer. conn may not be in d yet.
func (d *document) ready(conn *collab.SyncConn) {
	s := d.many.socket.server
	s.sockets.Add(1) // not after the reader's is taken off: it closes conn before
	go func() {
		defer s.sockets.Done()
		err := conn.Flush(d)
		var end *collab.CloseError
		switch {
		case err == nil, d.left.Load():
		case errors.As(err, &end):
			d.many.goodbye(end.Code, end.Reason)
		default:
			_ = d.many.socket.socket.Close() // the reader notices
		}
	}()
}

// Write takes whole frames of y-websocket and writes them as the client expects them.
func (d *document) Write(frames []byte) (int, error) {
	out := make([]byte, 0, len(frames)+len(frames)/8+maxFrameHead+len(d.prefix))
	for rest := frames; len(rest) > 0; {
		var frame, message []byte
		frame, message, rest = cutFrame(rest)
		switch {
		case frame[0]&0xf != opBinary:
			out = append(out, frame...)
		case yproto.IsDenied(message): // the status of the update says so
		default:
			out = d.append(out, message)
		}
	}
	return len(frames), d.many.write(out)
}

// cutFrame gives the first of a server's frames, its payload and the rest.
func cutFrame(b []byte) (frame, payload, rest []byte) {
	head, n := 2, uint64(b[1])
	switch n {
	case 126:
		head, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		head, n = 10, binary.BigEndian.Uint64(b[2:])
	}
	end := uint64(head) + n
	return b[:end], b[head:end], b[end:]
}

// append appends a message as a frame.
func (d *document) append(b, message []byte) []byte {
	return append(append(appendFrameHead(b, len(d.prefix)+len(message)), d.prefix...), message...)
}

// tell sends one message at once.
func (d *document) tell(message []byte) error { return d.many.write(d.append(nil, message)) }

// write writes whole frames. Its error is errPeerGone.
func (m *documents) write(frames []byte) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	c := m.socket
	if c.said.Load() {
		return nil // nothing may follow
	}
	c.writing.Store(time.Now().UnixNano())
	_, err := c.socket.Write(frames)
	c.writing.Store(0)
	if err != nil {
		return errPeerGone
	}
	return nil
}

func (m *documents) goodbye(code int, reason string) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if !m.socket.said.Swap(true) {
		sayGoodbye(m.socket.socket, code, reason)
	}
}

// end is goodbye for who cannot wait, as long as the heart knows the socket.
func (m *documents) end(code int, reason string) {
	m.soon(func() { m.goodbye(code, reason) })
}

// ping is for the heart.
func (m *documents) ping() {
	m.soon(func() { _ = m.write(pingFrame) }) // the reader notices
}

func (m *documents) soon(do func()) {
	s := m.socket.server
	s.sockets.Add(1) // the reader's is not taken off before the heart has forgotten the socket
	go func() {
		defer s.sockets.Done()
		do()
	}()
}
