package ycrdt

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Snapshot says what a document was at some time: how much of each client's
// history it had, and what of it was deleted. It holds no content.
type Snapshot struct {
	state   map[uint64]uint64
	deletes []deletion // by client, the highest first, and clock
}

// Snapshot says what the document is now.
func (d *Doc) Snapshot() Snapshot {
	s := Snapshot{make(map[uint64]uint64, len(d.clients)), d.deleted()}
	for i := range d.clients {
		if c := &d.clients[i]; c.state > 0 {
			s.state[c.id] = c.state
		}
	}
	return s
}

// Encode writes a snapshot as yjs's encodeSnapshot does, version 1.
func (s Snapshot) Encode() []byte { return s.encode(false) }

// EncodeV2 writes a snapshot as yjs's encodeSnapshotV2 does.
func (s Snapshot) EncodeV2() []byte { return s.encode(true) }

func (s Snapshot) encode(v2 bool) []byte {
	e := encoder{v2: v2}
	e.deleteSet(s.deletes)
	b := appendUint(e.rest, uint64(len(s.state)))
	for _, client := range slices.Backward(slices.Sorted(maps.Keys(s.state))) {
		b = appendUint(appendUint(b, client), s.state[client])
	}
	return b
}

// DecodeSnapshot reads what Encode wrote. The error is a *DecodeError.
func DecodeSnapshot(b []byte) (Snapshot, error) { return decodeSnapshot(b, false) }

// DecodeSnapshotV2 reads what EncodeV2 wrote. The error is a *DecodeError.
func DecodeSnapshotV2(b []byte) (Snapshot, error) { return decodeSnapshot(b, true) }

func decodeSnapshot(b []byte, v2 bool) (Snapshot, error) {
	dec := decoder{v2: v2, rest: reader{buf: b}}
	s := Snapshot{deletes: joinDeletions(dec.deleteSet(nil))}
	s.state = dec.rest.stateVector()
	if err := dec.err(); err != nil {
		return Snapshot{}, err
	}
	return s, nil
}

// ErrCollected says that a document does not keep what was deleted.
var ErrCollected = errors.New("the document does not keep what was deleted: make it with DisableGC, or replay its updates")

// At gives the document as it was at a snapshot, as a document of its own. It
// takes one that keeps what was deleted: see Options.DisableGC; otherwise see
// Replay.
func (d *Doc) At(s Snapshot) (*Doc, error) {
	if !d.opts.DisableGC {
		return nil, ErrCollected
	}
	var e encoder
	var v view
	for _, client := range slices.Backward(slices.Sorted(maps.Keys(s.state))) {
		end := s.state[client]
		if have := d.stateOf(client); end > have {
			return nil, fmt.Errorf("the snapshot has %d units of client %d, the document %d", end, client, have)
		}
		index, ok := d.lookup(client)
		if !ok {
			continue
		}
		for _, r := range d.clients[index-1].refs {
			it := d.at(r)
			if it.clock >= end {
				break
			}
			d.view(&v, it, 0)
			if it.end() > end {
				v.keep(end - it.clock)
			}
			e.add(client, it.clock, &v)
		}
	}
	e.endStructs()
	e.deleteSet(s.deletes)
	then := New(Options{DisableGC: true, MaxPendingBytes: d.opts.MaxPendingBytes, MaxWork: -1})
	if err := then.ApplyUpdate(e.finish()); err != nil {
		return nil, fmt.Errorf("restore snapshot: %w", err)
	}
	return then, nil
}

// keep takes all but the first units off a struct.
func (v *view) keep(units uint64) {
	at, inPair := unitOffset(v.info&infoKind, v.body, units)
	v.body, v.length = v.body[:at:at], units
	if inPair {
		v.body = append(v.body, replacement...)
	}
}

// Replay makes a document of the updates (version 1) of its log, from the first
// on, until it has all that a state vector names, and stops there: it is then as
// whoever had that state vector saw it, if the updates are in the order in which
// they came about. A nil state vector asks for all of the log.
func Replay(log iter.Seq[[]byte], stateVector []byte) (*Doc, error) {
	var want map[uint64]uint64
	if stateVector != nil {
		var err error
		if want, err = DecodeStateVector(stateVector); err != nil {
			return nil, fmt.Errorf("state vector: %w", err)
		}
	}
	doc, n := New(Options{MaxWork: -1}), 0
	for update := range log {
		if stateVector != nil && doc.has(want) {
			return doc, nil
		}
		n++
		if err := doc.ApplyUpdate(update); err != nil {
			return nil, fmt.Errorf("replay update %d: %w", n, err)
		}
	}
	if !doc.has(want) {
		return nil, fmt.Errorf("the log ends after %d updates, before what the state vector names", n)
	}
	return doc, nil
}

// has tells whether the document has all that a state vector names.
func (d *Doc) has(want map[uint64]uint64) bool {
	for client, clock := range want {
		if d.stateOf(client) < clock {
			return false
		}
	}
	return true
}
