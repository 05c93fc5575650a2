package collab

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
	"corun/store"
)

const (
	// mailboxSize is how many frames may wait for a room before their senders do.
	mailboxSize = 256
	// mailboxBytes is how much the waiting frames may hold together before their
	// senders wait; one more frame always fits.
	mailboxBytes = 8 << 20
	// snapshotEvery is after how many updates a document is stored whole, so that
	// loading it stays quick.
	snapshotEvery = 2000
	// snapshotMin is how many bytes of updates make a snapshot at unloading worth
	// its room.
	snapshotMin = 64 << 10
	// recountBytes is how much may come in between two exact measurements of a
	// document that seems to be at its limit.
	recountBytes = 128 << 10
	// maxUnsavedBytes is how much of a room may wait for the store before the room
	// takes nothing more in: its senders wait, other rooms' do not.
	maxUnsavedBytes = 4 << 20
	// unsavedOverhead is what an update that waits costs beside its data, in bytes.
	unsavedOverhead = 256
	// maxAwarenessIDs is for how many Yjs clients one connection may speak.
	maxAwarenessIDs = 64
)

// Room is one room's document in memory. Its goroutine, run, owns all that is
// not said to be otherwise; others reach it by post.
type Room struct {
	// Static after newRoom.
	id     string
	hub    *Hub
	inbox  chan work
	loaded chan struct{} // closed when the first load has ended
	quit   chan struct{} // closed by stop
	done   chan struct{} // closed when run has ended
	once   sync.Once     // of stop

	// Guarded by hub.mu.
	refs    int
	idle    *time.Timer // unloads it
	leaving bool

	frames gate // of the frames in inbox

	loadErr error // written before loaded is closed

	commitMu  sync.Mutex // guards commits
	commits   []commit
	committed chan struct{} // holds one token when commits is not empty

	// Owned by run.
	doc           *ycrdt.Doc // nil after a failed commit, until it is loaded again
	awareness     *yproto.Awareness
	conns         map[*SyncConn]struct{}
	locked, ended bool
	runsEnabled   bool
	language      string // of a room whose document names none
	seq           int64  // of the last update that was applied
	saved         int64  // of the last that the store has
	unsaved       int    // bytes of those, with their overhead
	outstanding   int    // updates that the store was given and has not answered for
	after         []afterCommit
	size          int // upper bound of the encoded document
	uncounted     int // bytes that came in since size was measured
	sinceSnapshot int // updates
	bytesSince    int // bytes of those
	snapshots     sync.WaitGroup
}

// work is what a room is given to do: a frame of a connection, or a call.
type work struct {
	conn  *SyncConn
	frame []byte
	call  func()
}

type commit struct {
	seq  int64
	size int
	err  error
}

// afterCommit is done once the store has all up to seq, or has failed.
type afterCommit struct {
	seq int64
	do  func(error)
}

func newRoom(h *Hub, id string) *Room {
	return &Room{
		id: id, hub: h, inbox: make(chan work, mailboxSize),
		loaded: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{}),
		committed: make(chan struct{}, 1), conns: make(map[*SyncConn]struct{}), awareness: yproto.NewAwareness(),
	}
}

// post hands work to the room; false says that it has ended.
func (r *Room) post(w work) bool {
	select {
	case r.inbox <- w:
		return true
	case <-r.done:
		return false
	}
}

// postFrame hands a frame to the room, once there is room for its bytes.
func (r *Room) postFrame(c *SyncConn, frame []byte) bool {
	return r.frames.enter(len(frame)) && r.post(work{conn: c, frame: frame})
}

// stop ends the room once what it was given is saved.
func (r *Room) stop() { r.once.Do(func() { close(r.quit) }) }

// run owns the room until it is stopped.
func (r *Room) run() {
	defer close(r.done)
	defer r.frames.close()
	r.loadErr = r.load()
	close(r.loaded)
	if r.loadErr != nil {
		return
	}
	for {
		inbox := r.inbox
		if r.unsaved > maxUnsavedBytes {
			inbox = nil
		}
		select {
		case w := <-inbox:
			r.handle(w)
		case <-r.committed:
			r.takeCommits()
		case <-r.quit:
			r.finish()
			return
		}
	}
}

// finish takes what waits in the mailbox, waits for the store and stores the
// document whole.
func (r *Room) finish() {
	for {
		select {
		case w := <-r.inbox:
			r.handle(w)
			continue
		default:
		}
		break
	}
	for r.outstanding > 0 {
		<-r.committed
		r.takeCommits()
	}
	for c := range r.conns {
		c.shut(CloseGoingAway, ErrClosed.Error())
	}
	r.snapshots.Wait()
	if r.doc != nil && !r.ended && r.bytesSince >= snapshotMin {
		r.saveSnapshot()
		r.snapshots.Wait()
	}
}

func (r *Room) handle(w work) {
	if w.call != nil {
		w.call()
		return
	}
	r.frames.leave(len(w.frame))
	if !w.conn.joined || r.doc == nil {
		return // it was disconnected while the frame waited
	}
	if err := r.receiveSafely(w.conn, w.frame); err != nil {
		var end *CloseError
		if !errors.As(err, &end) {
			end = &CloseError{CloseBadData, err.Error()}
		}
		w.conn.shut(end.Code, end.Reason)
		r.leave(w.conn)
	}
}

// receiveSafely is receive; a fault of the engine costs the sender its connection
// and the room a reload, not the server its life.
func (r *Room) receiveSafely(c *SyncConn, frame []byte) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			r.hub.opts.Log.Error("a frame broke the document engine", "room", r.id, "fault", fault, "stack", string(debug.Stack()))
			err = &CloseError{CloseBadData, "this edit could not be taken in"}
			c.shut(CloseBadData, "this edit could not be taken in")
			r.fail(fmt.Errorf("fault: %v", fault)) // the document may be half changed
		}
	}()
	return r.receive(c, frame)
}

// receive handles one frame. Its error closes the connection.
func (r *Room) receive(c *SyncConn, frame []byte) error {
	m, err := yproto.Decode(frame)
	if err != nil {
		return err
	}
	switch m.Kind {
	case yproto.SyncStep1:
		// Encoded now, sent when all in it is saved; what comes later follows.
		state, err := r.doc.EncodeStateAsUpdate(m.Payload)
		if err != nil {
			return err
		}
		reply := yproto.AppendSync(make([]byte, 0, len(state)+16), yproto.SyncStep2, state)
		if c.fenced += len(reply); c.fenced > maxOwedBytes {
			return &CloseError{CloseTryAgain, "asks for the document faster than it can be given"}
		}
		r.fence(func(err error) {
			c.fenced -= len(reply)
			if err == nil {
				c.send(reply)
			}
		})
	case yproto.SyncStep2, yproto.SyncUpdate:
		return r.update(c, m, frame)
	case yproto.AwarenessState:
		return r.aware(c, m.Payload)
	case yproto.QueryAwareness:
		c.send(yproto.AppendAwareness(nil, yproto.EncodeAwareness(r.awareness.All())))
	}
	return nil
}

// update takes in an edit: checks, applies, stores, and shows it to the others
// once it is stored.
func (r *Room) update(c *SyncConn, m yproto.Message, frame []byte) error {
	if len(m.Payload) == 0 {
		return &CloseError{CloseBadData, "an update is empty"}
	}
	if string(m.Payload) == "\x00\x00" {
		return nil // nothing changed; stock clients answer so when they are in step
	}
	switch {
	case c.peer.Role == store.RoleViewer:
		c.send(yproto.AppendDenied(nil, "permission denied"))
		return nil
	case r.locked:
		c.send(yproto.AppendDenied(nil, "permission denied: the room is locked"))
		return nil
	case m.Payload[0] != 0 && r.full(len(m.Payload)): // only deletions: always welcome
		c.send(yproto.AppendDenied(nil, fmt.Sprintf("permission denied: the document is full (%d bytes at most)", MaxDocumentBytes)))
		return nil
	}
	before := r.doc.Changes()
	if err := r.doc.ApplyUpdate(m.Payload); err != nil {
		if errors.Is(err, ycrdt.ErrPendingLimit) || errors.Is(err, ycrdt.ErrTooCostly) || errors.Is(err, ycrdt.ErrTooLarge) {
			c.send(yproto.AppendDenied(nil, "permission denied: "+err.Error()))
			return nil
		}
		return err
	}
	if r.doc.Changes() == before {
		return nil // known already
	}
	if m.Payload[0] == 0 {
		r.uncounted = recountBytes // it may have become smaller: measure when it matters
	}
	out := frame // the very bytes that came
	if m.Kind == yproto.SyncStep2 {
		out = yproto.AppendSync(make([]byte, 0, len(m.Payload)+16), yproto.SyncUpdate, m.Payload)
	}
	r.save(m.Payload, authorOf(c), func(err error) {
		if err == nil {
			r.broadcast(out, c)
		}
	})
	return nil
}

func authorOf(c *SyncConn) string { return string(c.peer.Role) }

// full tells whether n more bytes would make the document too large. The bound
// grows with all that comes in; only when it is reached the document is measured.
func (r *Room) full(n int) bool {
	if r.size+n <= MaxDocumentBytes {
		return false
	}
	if r.uncounted >= recountBytes {
		r.size, r.uncounted = r.doc.EncodedSize(), 0
	}
	return r.size+n > MaxDocumentBytes
}

func (r *Room) broadcast(frame []byte, except *SyncConn) {
	for c := range r.conns {
		if c != except {
			c.send(frame)
		}
	}
}

// aware takes in what a client says of itself and passes on what is news.
func (r *Room) aware(c *SyncConn, payload []byte) error {
	if len(payload) > MaxAwarenessBytes {
		return &CloseError{CloseTooLarge, fmt.Sprintf("awareness has %d bytes: at most %d are allowed", len(payload), MaxAwarenessBytes)}
	}
	changes, err := yproto.DecodeAwareness(payload)
	if err != nil {
		return err
	}
	// Stock providers send back what they hear of others. Only what is news makes
	// this connection the one that speaks for a client.
	var mine, departed []yproto.AwarenessChange
	for _, ch := range changes {
		if !r.awareness.IsNews(ch) {
			if gone, ok := r.awareness.Departed(ch.Client); ok && ch.State != nil {
				departed = append(departed, gone)
			}
			continue
		}
		had, known := c.clients[ch.Client]
		if !known && len(c.clients) >= maxAwarenessIDs {
			continue
		}
		c.clients[ch.Client] = len(ch.State)
		c.stateBytes += len(ch.State) - had
		mine = append(mine, ch)
	}
	if c.stateBytes > MaxAwarenessBytes { // it may speak for several, but for no more together
		return &CloseError{CloseTooLarge, fmt.Sprintf("awareness has %d bytes: at most %d are allowed", c.stateBytes, MaxAwarenessBytes)}
	}
	if news := r.awareness.Apply(mine); len(news) > 0 {
		// To the sender too: stock providers take half a minute without a message
		// for a dead connection, and this echo is all that one alone in a room gets.
		r.broadcast(yproto.AppendAwareness(nil, yproto.EncodeAwareness(news)), nil)
	}
	if len(departed) > 0 {
		// One that comes back with the clock it left with is told that it counts
		// as gone; it then raises its clock and is seen at once.
		c.send(yproto.AppendAwareness(nil, yproto.EncodeAwareness(departed)))
	}
	return nil
}

// join admits a connection and tells it where the document stands.
func (r *Room) join(c *SyncConn) error {
	if err := r.usable(); err != nil {
		return err
	}
	if r.ended {
		return &CloseError{CloseEnded, "the host ended this room"}
	}
	if len(r.conns) >= MaxParticipants {
		return ErrRoomFull
	}
	r.conns[c] = struct{}{}
	c.joined = true
	step1 := yproto.AppendSync(nil, yproto.SyncStep1, r.doc.StateVector())
	r.fence(func(err error) {
		if err == nil {
			c.send(step1)
		}
	})
	if all := r.awareness.All(); len(all) > 0 {
		c.send(yproto.AppendAwareness(nil, yproto.EncodeAwareness(all)))
	}
	return nil
}

// leave takes a connection out and tells the others that those it spoke for are
// gone, unless they have come back by another.
func (r *Room) leave(c *SyncConn) {
	if !c.joined {
		return
	}
	c.joined = false
	delete(r.conns, c)
	var gone []uint64
	for id := range c.clients {
		elsewhere := false
		for other := range r.conns {
			_, speaks := other.clients[id]
			elsewhere = elsewhere || speaks
		}
		if !elsewhere {
			gone = append(gone, id)
		}
	}
	if changes := r.awareness.Remove(gone); len(changes) > 0 {
		r.broadcast(yproto.AppendAwareness(nil, yproto.EncodeAwareness(changes)), nil)
	}
}
