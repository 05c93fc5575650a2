package collab

import (
	"container/list"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
)

const (
	// mailboxSize is how many frames may wait for a room before their senders do.
	mailboxSize = 256
	// mailboxBytes is how much the waiting frames may hold together before their
	// senders wait.
	mailboxBytes = 8 << 20
	// snapshotEvery is after how many updates a document is stored whole, so that
	// loading it stays quick.
	snapshotEvery = 2000
	// snapshotBytes is after how many bytes of updates it is.
	snapshotBytes = 8 << 20
	// maxEncodedAtOnce is up to which size, in bytes, a document is encoded for a snapshot
	// while its room waits: about two milliseconds.
	maxEncodedAtOnce = 256 << 10
	// snapshotMin is how many bytes of updates make a snapshot at unloading worth
	// its room.
	snapshotMin = 64 << 10
	// recountBytes is how much may come in between two exact measurements of a
	// document that seems to be at its limit.
	recountBytes = 128 << 10
	// maxUnsavedBytes is how much of a room may wait for the store before the room
	// takes nothing more in: its senders wait, other rooms' do not.
	maxUnsavedBytes = 4 << 20
	// maxShownBytes is how large an edit may be that is owed to its readers as edits are; more
	// than that, which many updates may come to that have waited, as documents are.
	maxShownBytes = maxOwedBytes / 2
	// unsavedOverhead is what an update that waits costs beside its data, in bytes.
	unsavedOverhead = 256
	// awarenessTick is how long moves of cursors are gathered.
	awarenessTick = 20 * time.Millisecond
	// echoAfter is after how long a client that says something of itself is to hear
	// something, lest it takes the connection for dead.
	echoAfter = 10 * time.Second
	// maxAwarenessIDs is for how many Yjs clients one connection may speak.
	maxAwarenessIDs = 64
)

// Room is one room's document in memory. One goroutine at a time works on it, which is
// work; it owns all that is not said to be otherwise, and others reach it by post.
type Room struct {
	// Static after newRoom.
	id     string
	hub    *Hub
	loaded chan struct{} // closed when the first load has ended
	done   chan struct{} // closed when the room has ended

	// Guarded by hub.mu.
	refs    int
	idle    *time.Timer   // unloads it
	place   *list.Element // in hub.idle
	leaving bool

	mail mailbox

	loadErr error       // written before loaded is closed
	public  atomic.Bool // anybody may enter, and it need not be in the store
	unmade  atomic.Bool // it is not: its first update makes it; written by work

	// Owned by work.
	past          []map[uint64]uint64 // state vectors of deleted documents of this name
	doc           *ycrdt.Doc          // nil after a failed commit, until it is loaded again
	awareness     *yproto.Awareness
	fresh         map[uint64]struct{} // whose awareness the others are yet to be told
	told          time.Time           // when they were last told any
	ticking       bool                // a timer will tell them
	conns         map[*SyncConn]struct{}
	locked, ended bool
	runsEnabled   bool
	seat          seat
	made          bool   // it is, or was, in the store
	language      string // of a room whose document names none
	seq           int64  // of the last update that was applied
	saved         int64  // of the last that the store has
	unsaved       int    // bytes of those, with their overhead
	outstanding   int    // updates that the store was given and has not answered for
	after         []afterCommit
	whole         weak.Pointer[[]byte] // the framed document as of wholeSeq, while somebody is to be sent it
	wholeSeq      int64
	size          int  // upper bound of the encoded document
	uncounted     int  // bytes that came in since size was measured
	sinceSnapshot int  // updates
	bytesSince    int  // bytes of those
	unshown       bool // something that was saved has been shown to nobody, see showLater
	snapshots     sync.WaitGroup
	snapshotting  atomic.Bool // one is being stored
}

// afterCommit is done once the store has all up to seq, or has failed.
type afterCommit struct {
	seq    int64
	update bool // of that update alone, not of the whole document
	do     func(error)
}

// newRoom makes a room that loads itself.
func newRoom(h *Hub, id string, open bool) *Room {
	r := &Room{
		id: id, hub: h, loaded: make(chan struct{}), done: make(chan struct{}),
		conns: make(map[*SyncConn]struct{}), awareness: yproto.NewAwareness(),
	}
	r.public.Store(open) // until it is loaded
	r.post(work{call: func() {
		r.loadErr = r.load()
		close(r.loaded)
	}})
	return r
}

// Public tells whether anybody may enter who knows the name.
func (r *Room) Public() bool { return r.public.Load() }

// post hands work to the room; false says that it has ended.
func (r *Room) post(w work) bool {
	start, ok := r.mail.put(w)
	if start {
		go r.work()
	}
	return ok
}

// postFrame hands a frame to the room, once there is room for it.
func (r *Room) postFrame(c *SyncConn, frame []byte) bool {
	start, ok := r.mail.putFrame(work{conn: c, frame: frame})
	if start {
		go r.work()
	}
	return ok
}

// stop ends the room once what it was given is saved; done tells when.
func (r *Room) stop() {
	if r.mail.stop() {
		go r.work()
	}
}

// work does what there is to do. It ends when there is nothing, and post begins it again.
func (r *Room) work() {
	var spare []commit
	for {
		commits, w, more, ended := r.mail.next(r.full(), r.outstanding == 0, spare)
		switch {
		case ended:
			r.finish()
			close(r.done)
			return
		case !more:
			return
		case len(commits) > 0:
			r.takeCommits(commits)
			clear(commits)
			spare = commits
		default:
			r.handle(w)
			if r.loadErr != nil {
				r.mail.abandon()
				close(r.done)
				return
			}
		}
	}
}

// full tells whether the room takes nothing in until the store has answered.
func (r *Room) full() bool {
	return r.unsaved > maxUnsavedBytes || (r.doc == nil && r.outstanding > 0)
}

// finish lets everybody go and stores the document whole. All is saved.
func (r *Room) finish() {
	for c := range r.conns {
		c.shut(CloseGoingAway, ErrClosed.Error())
	}
	r.snapshots.Wait()
	if r.doc != nil && !r.ended && r.bytesSince >= snapshotMin {
		r.saveSnapshot(true)
		r.snapshots.Wait()
	}
}

func (r *Room) handle(w work) {
	if w.call != nil {
		w.call()
		return
	}
	if !w.conn.joined || r.doc == nil {
		return // it was disconnected while the frame waited
	}
	if err := r.receiveSafely(w.conn, w.frame); err != nil {
		w.conn.shutFor(err)
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
			r.fail(fmt.Errorf("fault: %v", fault)) // it may be half changed
			r.reload()
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
		return r.answer(c, m.Payload)
	case yproto.SyncStep2, yproto.SyncUpdate:
		return r.update(c, m, frame)
	case yproto.AwarenessState:
		return r.aware(c, m.Payload)
	case yproto.QueryAwareness:
		r.send(c, yproto.AppendAwareness(nil, yproto.EncodeAwareness(r.awareness.All())))
	}
	return nil
}

// answer gives a client what it lacks: encoded now, sent when all in it is saved. What comes
// later follows.
func (r *Room) answer(c *SyncConn, stateVector []byte) error {
	if c.fenced >= maxStatesOwed {
		return &CloseError{CloseTryAgain, "asks for the document faster than it can be given"}
	}
	reply, err := r.state(stateVector)
	if err != nil {
		return err
	}
	if r.isPast(stateVector) {
		// Merged, the two would have all text twice.
		r.send(c, yproto.AppendDenied(nil, "permission denied: "+pastDocument))
		return &CloseError{ClosePast, pastDocument}
	}
	c.fenced++
	r.fence(func(err error) {
		c.fenced--
		if err != nil {
			r.post(work{call: func() { r.answerAgain(c, stateVector) }})
			return
		}
		c.sendState(*reply)
	})
	return nil
}

// answerAgain gives what the store has, after an answer had more in it than could be saved.
// It ends, as edits are refused meanwhile.
func (r *Room) answerAgain(c *SyncConn, stateVector []byte) {
	if !c.joined {
		return
	}
	if r.usable() != nil {
		c.shut(CloseTryAgain, notSaved)
		return
	}
	if err := r.answer(c, stateVector); err != nil {
		c.shutFor(err)
		r.leave(c)
	}
}

const pastDocument = "this room was deleted and made again, and you still have its old document: open it afresh"

// isPast tells whether a client that has that state has it from a document of the room that
// was deleted: it knows of a client that wrote to that one and did not write to this.
func (r *Room) isPast(stateVector []byte) bool {
	if len(r.past) == 0 {
		return false
	}
	has, err := ycrdt.DecodeStateVector(stateVector)
	if err != nil {
		return false // and is refused already
	}
	now, err := ycrdt.DecodeStateVector(r.doc.StateVector())
	if err != nil {
		return false
	}
	for client, clock := range has {
		if clock == 0 || now[client] > 0 {
			continue
		}
		for _, past := range r.past {
			if past[client] > 0 {
				return true
			}
		}
	}
	return false
}

// state gives the framed answer to a state vector. Those who have nothing share one.
func (r *Room) state(stateVector []byte) (*[]byte, error) {
	all := len(stateVector) == 0 || string(stateVector) == "\x00"
	if all && r.wholeSeq == r.seq {
		if whole := r.whole.Value(); whole != nil {
			return whole, nil
		}
	}
	state, err := r.doc.EncodeIntegrated(stateVector) // what waits is shown when it need not
	if err != nil {
		return nil, err
	}
	reply := new([]byte)
	*reply = r.hub.opts.Frame(yproto.AppendSync(make([]byte, 0, len(state)+16), yproto.SyncStep2, state))
	if all && len(state) > maxJoined {
		r.whole, r.wholeSeq = weak.Make(reply), r.seq
	}
	return reply, nil
}

// send frames a message for one client.
func (r *Room) send(c *SyncConn, message []byte) {
	c.spoken = time.Now()
	c.send(r.hub.opts.Frame(message))
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
	refusal := r.refusal(c)
	if m.Kind == yproto.SyncStep2 && refusal != "" && !r.lacks(m.Payload) {
		// Who is in step answers, when asked what the room lacks, with all deletions that were
		// ever made. To refuse that would alarm somebody who did nothing.
		return nil
	}
	switch {
	case refusal != "":
		r.send(c, yproto.AppendDenied(nil, refusal))
		return nil
	case m.Payload[0] != 0 && r.tooLarge(len(m.Payload)): // only deletions: always welcome
		r.send(c, yproto.AppendDenied(nil, fmt.Sprintf("permission denied: the document is full (%d bytes at most)", MaxDocumentBytes)))
		return nil
	}
	before := r.doc.Changes()
	news, err := r.doc.Relay(m.Payload)
	if err != nil {
		if errors.Is(err, ycrdt.ErrPendingLimit) || errors.Is(err, ycrdt.ErrTooCostly) || errors.Is(err, ycrdt.ErrTooLarge) {
			r.send(c, yproto.AppendDenied(nil, "permission denied: "+err.Error()))
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
	r.show(c, m, frame, news)
	return nil
}

// show stores an update that was taken in and shows it to those who lack it once it is stored.
func (r *Room) show(c *SyncConn, m yproto.Message, frame []byte, news ycrdt.News) {
	out := frame // the very bytes that came
	if m.Kind == yproto.SyncStep2 && news.Whole {
		out = yproto.AppendSync(make([]byte, 0, len(m.Payload)+16), yproto.SyncUpdate, m.Payload)
	}
	r.save(m.Payload, r.authorOf(c), func(err error) {
		if err == nil && news.Whole {
			r.broadcast(out, c)
		}
	})
	if !news.Whole {
		r.showLater(news.Update)
	}
	if news.Cleaned == nil {
		return
	}
	r.save(news.Cleaned, r.authorOf(c), func(err error) {
		if err == nil {
			r.broadcast(yproto.AppendSync(nil, yproto.SyncUpdate, news.Cleaned), nil)
		}
	})
}

// showLater shows everybody what an update brought that is not just what it says: a part of
// it, the rest of which waits, or what waited for it. That may be of any update until now, so
// that all of these must be saved. Its sender may lack what waited.
func (r *Room) showLater(news []byte) {
	if news == nil {
		return // all of it waits
	}
	r.fence(func(err error) {
		if err != nil {
			r.unshown = true
			return
		}
		r.broadcast(yproto.AppendSync(make([]byte, 0, len(news)+16), yproto.SyncUpdate, news), nil)
	})
}

// lacks tells whether an update goes on where the document ends, for some client. Deletions
// are not looked at, nor what waits for something else.
func (r *Room) lacks(update []byte) bool {
	meta, err := ycrdt.ParseUpdateMeta(update)
	if err != nil {
		return true // and is refused
	}
	has, err := ycrdt.DecodeStateVector(r.doc.StateVector())
	if err != nil {
		return true
	}
	for client, to := range meta.To {
		if now := has[client]; meta.From[client] <= now && now < to {
			return true
		}
	}
	return false
}

// tooLarge tells whether n more bytes would make the document too large. The bound
// grows with all that comes in; only when it is reached the document is measured.
func (r *Room) tooLarge(n int) bool {
	if r.size+n <= MaxDocumentBytes {
		return false
	}
	if r.uncounted >= recountBytes {
		r.size, r.uncounted = r.doc.EncodedSize(), 0
	}
	return r.size+n > MaxDocumentBytes
}

func (r *Room) broadcast(message []byte, except *SyncConn) {
	if len(r.conns) == 0 || (len(r.conns) == 1 && except != nil && except.joined) {
		return
	}
	frame, now := r.hub.opts.Frame(message), time.Now()
	for c := range r.conns {
		switch {
		case c == except:
			continue
		case len(frame) > maxShownBytes:
			c.sendState(frame)
		default:
			c.send(frame)
		}
		c.spoken = now
	}
}

// join admits a connection and tells it where the document stands.
func (r *Room) join(c *SyncConn) error {
	if err := r.usable(); err != nil {
		return err
	}
	if r.ended {
		return &CloseError{CloseEnded, "the host ended this room"}
	}
	if most := r.hub.opts.MaxParticipants; len(r.conns) >= most {
		return fmt.Errorf("%w: %d participants are connected", ErrRoomFull, most)
	}
	r.conns[c] = struct{}{}
	c.joined = true
	r.ask(c)
	if all := r.awareness.All(); len(all) > 0 {
		r.send(c, yproto.AppendAwareness(nil, yproto.EncodeAwareness(all)))
	}
	return nil
}

// ask asks a client for what the document lacks, once all that is in it is saved.
func (r *Room) ask(c *SyncConn) {
	step1 := yproto.AppendSync(nil, yproto.SyncStep1, r.doc.StateVector())
	r.fence(func(err error) {
		if err == nil && c.joined {
			r.send(c, step1)
		}
	})
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
	r.spread(r.awareness.Remove(gone))
}
