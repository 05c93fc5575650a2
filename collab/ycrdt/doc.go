// Package ycrdt is a Yjs document for servers: it takes in the updates of any
// Yjs 13.6 client, in any order and any number of times, and gives the document
// back as bytes that such a client loads, or as text and values.
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
package ycrdt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Options of a document; the zero value is right for a server.
type Options struct {
	// ClientID is whom edits of this document are by; 0 takes a random one.
	ClientID uint64
	// DisableGC keeps the content of what was deleted.
	DisableGC bool
	// MaxPendingBytes bounds the updates that wait for others they build on;
	// 0 means 8 MiB.
	MaxPendingBytes int
}

const defaultMaxPending = 8 << 20

// ErrPendingLimit says that too much waits for updates that never came.
var ErrPendingLimit = errors.New("too many updates wait for others that they build on")

// Doc is one document. See the package comment for who may call it when.
type Doc struct {
	opts    Options
	clients []client
	byID    map[uint64]uint32
	slabs   []*slab
	used    ref
	free    []ref
	roots   map[string]*sharedType
	names   []string           // of roots, in the order of their making
	keys    map[string]*string // one pointer for each map key in use

	waiting        map[uint64][]waiter // by the client whose structs are lacking
	pendingDeletes []clientRanges
	pendingBytes   int

	changes     uint64 // counts the calls that changed something
	split       []id   // places where a merge may be due after the transaction
	scan, round uint32 // of the conflict scan
}

// New makes an empty document.
func New(opts Options) *Doc {
	if opts.ClientID == 0 {
		opts.ClientID = uint64(rand.Uint32()) | 1
	}
	if opts.MaxPendingBytes == 0 {
		opts.MaxPendingBytes = defaultMaxPending
	}
	return &Doc{
		opts: opts, byID: make(map[uint64]uint32), roots: make(map[string]*sharedType),
		keys: make(map[string]*string), waiting: make(map[uint64][]waiter),
	}
}

// ApplyUpdate takes in an update in Yjs's encoding, version 1. What builds on
// updates that have not come yet is kept until they have. The error is a
// *DecodeError for bytes that are no update, or ErrPendingLimit; then nothing
// has changed.
func (d *Doc) ApplyUpdate(update []byte) error {
	blocks, deletes, err := decodeUpdate(update)
	if err != nil {
		return err
	}
	if d.pendingBytes > 0 && d.pendingBytes+len(update) > d.opts.MaxPendingBytes {
		return ErrPendingLimit
	}
	tx, pendingBytes := d.begin(), d.pendingBytes
	slices.Reverse(blocks) // taken from the end
	d.integrateAll(tx, blocks)
	pending := d.applyDeletes(tx, deletes)
	if len(d.pendingDeletes) > 0 {
		pending = append(d.applyDeletes(tx, d.pendingDeletes), pending...)
	}
	pending = joinRanges(pending)
	if len(tx.before) > 0 || len(tx.deleted) > 0 || d.pendingBytes != pendingBytes || !sameRanges(pending, d.pendingDeletes) {
		d.changes++
	}
	d.pendingDeletes = pending
	d.cleanUp(tx)
	return nil
}

// Changes counts the calls that changed the document, so that an owner can tell
// whether an update was news.
func (d *Doc) Changes() uint64 { return d.changes }

func sameRanges(a, b []clientRanges) bool {
	return slices.EqualFunc(a, b, func(x, y clientRanges) bool { return x.client == y.client && slices.Equal(x.ranges, y.ranges) })
}

// joinRanges puts the ranges of each client together.
func joinRanges(set []clientRanges) []clientRanges {
	if len(set) < 2 {
		return set
	}
	at := make(map[uint64]int)
	var joined []clientRanges
	for _, cr := range set {
		i, ok := at[cr.client]
		if !ok {
			i = len(joined)
			at[cr.client] = i
			joined = append(joined, clientRanges{client: cr.client})
		}
		joined[i].ranges = append(joined[i].ranges, cr.ranges...)
	}
	for i := range joined {
		joined[i].ranges = mergeRanges(joined[i].ranges)
	}
	return joined
}

// Pending tells whether something waits for updates that have not come.
func (d *Doc) Pending() (structs, deletes bool) {
	return len(d.waiting) > 0, len(d.pendingDeletes) > 0
}

// StateVector encodes how much of each client's history the document has.
func (d *Doc) StateVector() []byte {
	var clients []uint32
	for i := range d.clients {
		if len(d.clients[i].structs) > 0 {
			clients = append(clients, uint32(i+1))
		}
	}
	d.sortClients(clients)
	b := appendUint(nil, uint64(len(clients)))
	for _, c := range clients {
		b = appendUint(appendUint(b, d.clients[c-1].id), d.state(c))
	}
	return b
}

// EncodeStateAsUpdate gives what a peer with that state vector lacks, as an
// update; a nil state vector asks for everything. What is pending is in it.
func (d *Doc) EncodeStateAsUpdate(stateVector []byte) ([]byte, error) {
	from := func(uint32) uint64 { return 0 }
	var have map[uint64]uint64
	if stateVector != nil {
		var err error
		if have, err = DecodeStateVector(stateVector); err != nil {
			return nil, fmt.Errorf("state vector: %w", err)
		}
		from = func(c uint32) uint64 { return have[d.clients[c-1].id] }
	}
	if len(d.waiting) == 0 && len(d.pendingDeletes) == 0 {
		return d.encodeFrom(nil, from, d.deleteSet()), nil
	}
	return d.encodeWithPending(have), nil
}

// EncodedSize is the size of the whole document, encoded, in bytes.
func (d *Doc) EncodedSize() int {
	all, _ := d.EncodeStateAsUpdate(nil) // only a state vector can be wrong
	return len(all)
}

// root gives the shared type of a name, made at the first use.
func (d *Doc) root(name string) *sharedType {
	t, ok := d.roots[name]
	if !ok {
		t = &sharedType{name: name}
		d.roots[name] = t
		d.names = append(d.names, name)
	}
	return t
}

// key gives the one pointer that stands for a map key.
func (d *Doc) key(s string) *string {
	k, ok := d.keys[s]
	if !ok {
		k = &s
		d.keys[s] = k
	}
	return k
}
