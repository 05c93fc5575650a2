// Package ycrdt is a Yjs document for servers: it takes in the updates of any
// Yjs 13.6 client, in either encoding, in any order and any number of times, and
// gives the document back as bytes that such a client loads, or as text and
// values.
//
//	doc := ycrdt.New(ycrdt.Options{})
//	err := doc.ApplyUpdate(update)   // from a client
//	text := doc.Text("file/main")
//	all, err := doc.EncodeStateAsUpdate(nil)
//
// A Doc has no lock, no goroutine and does no I/O: whoever owns it calls it from
// one goroutine at a time. An update is checked as a whole before anything is
// changed, so that an error leaves the document as it was.
//
// Lengths, clocks and offsets count UTF-16 units, as Yjs's do.
//
// The work of undo, of observers and of cleaning up formats in root types is left
// to the clients, as it is with a Yjs document whose root types nobody touches.
package ycrdt

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Options of a document; the zero value is right for a server.
type Options struct {
	// ClientID is whom edits of this document are by, at most 2^53-1; 0 takes a
	// random one. It changes if a peer turns out to use the same.
	ClientID uint64
	// DisableGC keeps the content of what was deleted, so that the document can
	// be read as it was at a Snapshot.
	DisableGC bool
	// MaxPendingBytes bounds the memory of updates that wait for others they
	// build on; 0 means 8 MiB.
	MaxPendingBytes int
	// MaxWork bounds the work of one update beyond what its size explains, in
	// steps of about a nanosecond: there are updates of a megabyte that would take
	// minutes, and no honest client makes them. 0 means 2,000,000,000; below 0
	// there is no limit.
	MaxWork int
}

const defaultMaxWork = 2_000_000_000

const defaultMaxPending = 8 << 20

// ErrPendingLimit says that too much waits for updates that never came.
var ErrPendingLimit = errors.New("too many updates wait for others that they build on")

// Doc is one document. See the package comment for who may call it when.
type Doc struct {
	opts     Options
	clientID uint64

	clients    []client
	byID       map[uint64]uint32 // index into clients, plus one
	lastClient uint32            // that lookup found
	slabs      []*slab
	used       ref
	free       []ref
	types      []*sharedType // the first is nil
	freeTypes  []uint32
	roots      map[string]uint32
	names      []string // of roots, in the order of their making
	keys       [][]byte // map keys; the first stands for none
	keyIndex   map[string]uint32
	arena      []byte
	live       int // bytes of arena that items hold

	waiting        map[uint64]*waiters // by the client whose structs are lacking
	parked         map[rawID]*group    // what waits, by its first unit
	woken          []*group            // by this call
	merged         []*group            // by this call: what they were before, see mergeWaiting
	extents        map[uint64]extent   // of what waits, by whose it is
	overlap        bool                // something of this call's may be of what waits already
	pendingDeletes []deletion          // by client and clock, none touching
	pendingCount   int                 // of pendingDeletes, as charged for
	later          []*group            // for retry
	retrying       bool
	pendingBytes   int
	mergeCredit    int  // see mergeWaiting
	arrivals       int  // of groups that wait
	asGiven        bool // what came in with the update at hand is all that is in it, see Relay

	ranges      int    // that deleted found last
	changes     uint64 // counts the calls that changed something
	scan, round uint32 // of the conflict scan
	inTxn       bool
	tx          transaction

	// Reused from call to call, so that a keystroke allocates nothing.
	dec     decoder
	blocks  []block
	groups  []group
	ready   []*group
	deletes []deletion
	todo    []ref
}

// New makes an empty document.
func New(opts Options) *Doc {
	if opts.ClientID == 0 || opts.ClientID > maxSafeInteger {
		opts.ClientID = randomClientID()
	}
	if opts.MaxPendingBytes == 0 {
		opts.MaxPendingBytes = defaultMaxPending
	}
	d := &Doc{
		opts: opts, clientID: opts.ClientID, byID: make(map[uint64]uint32), roots: make(map[string]uint32),
		types: []*sharedType{nil}, keys: [][]byte{nil}, keyIndex: make(map[string]uint32), waiting: make(map[uint64]*waiters),
		parked: make(map[rawID]*group), extents: make(map[uint64]extent),
	}
	d.mergeCredit = maxMergeCredit
	d.SetMaxWork(opts.MaxWork)
	return d
}

// SetMaxWork changes Options.MaxWork: updates that were taken in once, such as those
// of a log, need no limit.
func (d *Doc) SetMaxWork(steps int) {
	if steps == 0 {
		steps = defaultMaxWork
	}
	d.opts.MaxWork = steps
}

func randomClientID() uint64 { return uint64(rand.Uint32()) | 1 }

// ClientID is whom edits of this document are by.
func (d *Doc) ClientID() uint64 { return d.clientID }

// ApplyUpdate takes in an update in Yjs's encoding, version 1. What builds on
// updates that have not come yet is kept until they have. The error is a
// *DecodeError for bytes that are no update, ErrPendingLimit, ErrTooLarge,
// ErrTooCostly or ErrInTxn; then nothing has changed.
func (d *Doc) ApplyUpdate(update []byte) error { return d.apply(update, false) }

// ApplyUpdateV2 is ApplyUpdate for version 2 of the encoding.
func (d *Doc) ApplyUpdateV2(update []byte) error { return d.apply(update, true) }

// News is what an update brought, for peers that have what the document had before it.
type News struct {
	// Update is what they are to be sent: the update itself, which Whole tells, if all of it
	// is in the document now and nothing that has waited is; else what has come in, encoded;
	// or nil, if all of it waits or was known. So what waits is sent once what it builds on
	// has come, and once only.
	Update []byte
	Whole  bool
	// Cleaned deletes the formats that the update made redundant in nested texts, or is nil.
	// The document did that of its own accord, as every peer does that takes the update in;
	// but whoever made the update did not, so that its sender is to be sent this too.
	Cleaned []byte
}

// Relay is ApplyUpdate for who passes updates on to peers.
func (d *Doc) Relay(update []byte) (News, error) {
	if d.inTxn {
		return News{}, ErrInTxn
	}
	defer d.shrink()
	changes := d.changes
	if err := d.takeIn(update, false); err != nil {
		return News{}, err
	}
	news := News{Cleaned: d.encodeCleaned()}
	switch {
	case d.changes == changes:
	case d.asGiven:
		news.Update, news.Whole = update, true
	case len(d.tx.touched) > 0 || len(d.tx.deleted) > 0 || len(d.tx.torn) > 0:
		news.Update = d.encodeChanges()
	}
	return news, nil
}

func (d *Doc) apply(update []byte, v2 bool) error {
	if d.inTxn {
		return ErrInTxn
	}
	defer d.shrink()
	return d.takeIn(update, v2)
}

func (d *Doc) takeIn(update []byte, v2 bool) error {
	if err := d.decode(update, v2); err != nil {
		return err
	}
	if d.tooLarge(2 * len(d.dec.buf)) {
		return ErrTooLarge
	}
	if d.pendingBytes+pendingSize(d.blocks)+deletionSize*len(d.deletes) > d.opts.MaxPendingBytes && d.wouldWait() {
		return ErrPendingLimit
	}
	d.begin()
	pendingBytes, arrivals, pendingDeletes := d.pendingBytes, d.arrivals, len(d.pendingDeletes)
	before := saved{len(d.names), d.pendingDeletes}
	d.integrateAll()
	// An empty deletion of what is not there yet is nothing, but yjs fails at it.
	d.asGiven = len(d.later) == 0 && !d.someWaits() && !d.dec.emptyDeletes
	d.mergeWaiting()
	d.applyDeletes()
	d.retry()
	d.closeHoles()
	if d.spent() {
		return d.restore(before)
	}
	d.keepWaiting()
	news := len(d.tx.touched) > 0 || len(d.tx.deleted) > 0 || len(d.tx.torn) > 0 || d.pendingBytes != pendingBytes ||
		d.arrivals != arrivals || len(d.pendingDeletes) != pendingDeletes
	d.cleanUp(true)
	if news {
		d.changes++
	}
	d.leaveClientID()
	return nil
}

// decode reads an update into d.blocks, d.groups and d.deletes, and makes room for
// what is in it: growing step by step would take longer than all the rest.
func (d *Doc) decode(update []byte, v2 bool) error {
	dec := &d.dec
	dec.start(update, v2)
	d.blocks, d.groups, d.deletes = d.blocks[:0], d.groups[:0], d.deletes[:0]
	d.blocks = dec.readAll(d.blocks, &d.groups)
	d.deletes = dec.deleteSet(d.deletes)
	if err := dec.err(); err != nil {
		return err
	}
	if len(d.blocks) > roomFor {
		content := 0
		for i := range d.blocks {
			content += int(d.blocks[i].body.to - d.blocks[i].body.from)
		}
		d.arena = slices.Grow(d.arena, content)
	}
	return nil
}

// roomFor is how many structs are worth making room for beforehand.
const roomFor = 64

// shrink gives back what an unusually large update needed.
func (d *Doc) shrink() {
	const keep = 64
	d.dec = decoder{keys: d.dec.keys[:0]}
	if cap(d.blocks) > keep {
		d.blocks = nil
	}
	if cap(d.groups) > keep {
		d.groups = nil
	}
	if cap(d.deletes) > keep {
		d.deletes = nil
	}
	if cap(d.dec.keys) > keep {
		d.dec.keys = nil
	}
	if cap(d.todo) > keep {
		d.todo = nil
	}
	if cap(d.ready) > keep {
		d.ready = nil
	}
	clear(d.ready[:cap(d.ready)])
	clear(d.groups[:cap(d.groups)]) // they point into the blocks
	d.tx.shrink(keep)
}

// leaveClientID takes another client id if a peer uses the document's own.
func (d *Doc) leaveClientID() {
	if len(d.tx.touched) == 0 {
		return
	}
	if c, ok := d.byID[d.clientID]; ok && d.clients[c-1].touched == d.tx.number {
		d.clientID = randomClientID()
	}
}

// Changes counts the calls that changed the document, so that an owner can tell
// whether an update was news.
func (d *Doc) Changes() uint64 { return d.changes }

// Pending tells whether something waits for updates that have not come.
func (d *Doc) Pending() (structs, deletes bool) {
	return len(d.waiting) > 0, len(d.pendingDeletes) > 0
}

// StateVector encodes how much of each client's history the document has. It is
// the same in both versions of the encoding.
func (d *Doc) StateVector() []byte {
	var clients []uint32
	for i := range d.clients {
		if d.clients[i].state > 0 {
			clients = append(clients, uint32(i+1))
		}
	}
	d.sortClients(clients)
	b := appendUint(nil, uint64(len(clients)))
	for _, c := range clients {
		b = appendUint(appendUint(b, d.clients[c-1].id), d.clients[c-1].state)
	}
	return b
}

// sortClients orders clients as yjs writes them, the highest id first.
func (d *Doc) sortClients(clients []uint32) {
	slices.SortFunc(clients, func(x, y uint32) int { return cmp.Compare(d.clients[y-1].id, d.clients[x-1].id) })
}

// EncodeStateAsUpdate gives what a peer with that state vector lacks, as an
// update; a nil state vector asks for everything. What is pending is in it, without which
// EncodeIntegrated gives it.
func (d *Doc) EncodeStateAsUpdate(stateVector []byte) ([]byte, error) {
	return d.encodeState(stateVector, false)
}

// EncodeStateAsUpdateV2 is EncodeStateAsUpdate in version 2 of the encoding.
func (d *Doc) EncodeStateAsUpdateV2(stateVector []byte) ([]byte, error) {
	return d.encodeState(stateVector, true)
}

// EncodeIntegrated is EncodeStateAsUpdate without what waits.
func (d *Doc) EncodeIntegrated(stateVector []byte) ([]byte, error) {
	have, err := known(stateVector)
	if err != nil {
		return nil, err
	}
	return d.encodeMissing(have, false), nil
}

func (d *Doc) encodeState(stateVector []byte, v2 bool) ([]byte, error) {
	have, err := known(stateVector)
	if err != nil {
		return nil, err
	}
	state := d.encodeMissing(have, v2)
	if len(d.waiting) == 0 && len(d.pendingDeletes) == 0 {
		return state, nil
	}
	return d.withPending(state, have, v2)
}

// known reads the state vector of a peer; nil is that of one who has nothing.
func known(stateVector []byte) (map[uint64]uint64, error) {
	if stateVector == nil {
		return nil, nil
	}
	have, err := DecodeStateVector(stateVector)
	if err != nil {
		return nil, fmt.Errorf("state vector: %w", err)
	}
	return have, nil
}

// EncodedSize is the size of the whole document, encoded, in bytes.
func (d *Doc) EncodedSize() int {
	all, _ := d.EncodeStateAsUpdate(nil) // only a state vector can be wrong
	return len(all)
}

// root gives the shared type of a name, made at the first use.
func (d *Doc) root(name string) uint32 {
	t, ok := d.roots[name]
	if !ok {
		t = d.newType(&sharedType{name: []byte(name)})
		d.roots[name] = t
		d.names = append(d.names, name)
	}
	return t
}

// key gives the number that stands for a map key.
func (d *Doc) key(s string) uint32 {
	k, ok := d.keyIndex[s]
	if !ok {
		k = uint32(len(d.keys))
		d.keys = append(d.keys, []byte(s))
		d.keyIndex[s] = k
	}
	return k
}
