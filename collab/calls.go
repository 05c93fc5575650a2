package collab

import (
	"context"
	"errors"
	"fmt"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
)

// call runs fn in the room's goroutine and waits for it.
func (r *Room) call(ctx context.Context, fn func() error) error {
	result := make(chan error, 1)
	if !r.post(work{call: func() { result <- fn() }}) {
		return ErrClosed
	}
	return r.await(ctx, result)
}

// whenSaved runs fn in the room's goroutine, and waits until all that the document
// held then is stored.
func (r *Room) whenSaved(ctx context.Context, fn func() error) error {
	result := make(chan error, 1)
	ok := r.post(work{call: func() {
		if err := r.usable(); err != nil {
			result <- err
			return
		}
		if err := fn(); err != nil {
			result <- err
			return
		}
		r.fence(func(err error) { result <- err })
	}})
	if !ok {
		return ErrClosed
	}
	return r.await(ctx, result)
}

// readTries is how often a reader looks at the document whose last edits turn out not to be
// saved. After the first such failure edits are refused.
const readTries = 3

// whenRead is whenSaved for one who only reads: what could not be saved is not in what it
// sees, and no reason to see nothing.
func (r *Room) whenRead(ctx context.Context, fn func() error) (err error) {
	for range readTries {
		if err = r.whenSaved(ctx, fn); !errors.Is(err, ErrUnavailable) {
			break
		}
	}
	return err
}

func (r *Room) await(ctx context.Context, result <-chan error) error {
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		select {
		case err := <-result:
			return err
		default:
			return ErrClosed
		}
	}
}

// Join admits a connection. The error is ErrRoomFull, ErrUnavailable, or a
// *CloseError for a room that ended.
func (r *Room) Join(ctx context.Context, peer Peer) (*SyncConn, error) {
	c := &SyncConn{room: r, peer: peer}
	err := r.call(ctx, func() error { return r.join(c) })
	if err != nil {
		c.abandon() // it may be admitted after all, when ctx ended the wait
		return nil, err
	}
	return c, nil
}

// Files gives the files as they are saved, the state vector of the document
// they are from, and the number of its last update.
func (r *Room) Files(ctx context.Context) (files []File, stateVector []byte, seq int64, err error) {
	var got Snapshot
	err = r.whenRead(ctx, func() error {
		got = Snapshot{Files: FilesOf(r.doc), StateVector: r.doc.StateVector(), Seq: r.seq}
		return nil
	})
	if err != nil {
		return nil, nil, 0, err // and got may still be written to
	}
	return got.Files, got.StateVector, got.Seq, nil
}

// Snapshot is what a run is made from. Of a room that runs nothing it says no more than
// that.
type Snapshot struct {
	Files       []File
	Meta        Meta
	StateVector []byte
	Seq         int64  // of the last update in it
	Language    string // that the room was made for, or ""
	Ended       bool
	RunsEnabled bool
}

// Snapshot gives the files for a run. Files that cannot be written to a disk are
// a *FilesError.
func (r *Room) Snapshot(ctx context.Context) (*Snapshot, error) {
	s := new(Snapshot)
	err := r.whenRead(ctx, func() error {
		if s.Ended, s.RunsEnabled = r.ended, r.runsEnabled; s.Ended || !s.RunsEnabled {
			return nil
		}
		s.Files, s.Meta, s.Language = FilesOf(r.doc), metaOf(r.doc), r.language
		s.StateVector, s.Seq = r.doc.StateVector(), r.seq
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Only now, as the error names files, which must be saved like all that is shown.
	if err := CheckFiles(s.Files); err != nil {
		return nil, err
	}
	return s, nil
}

// Meta gives what the document says of itself.
func (r *Room) Meta(ctx context.Context) (Meta, error) {
	var m Meta
	if err := r.whenRead(ctx, func() error { m = metaOf(r.doc); return nil }); err != nil {
		return Meta{}, err
	}
	return m, nil
}

// Text gives one text of the document, by the name of its root, as it is saved.
func (r *Room) Text(ctx context.Context, root string) (string, error) {
	var text string
	if err := r.whenRead(ctx, func() error { text = r.doc.Text(root); return nil }); err != nil {
		return "", err
	}
	return text, nil
}

// StateVector gives the document's state, once all of it is saved.
func (r *Room) StateVector(ctx context.Context) ([]byte, error) {
	var sv []byte
	if err := r.whenRead(ctx, func() error { sv = r.doc.StateVector(); return nil }); err != nil {
		return nil, err
	}
	return sv, nil
}

// Edit makes an edit of the server's own: saved, then shown to everybody.
func (r *Room) Edit(ctx context.Context, author string, edit func(*ycrdt.Txn) error) error {
	return r.whenSaved(ctx, func() error {
		if !r.hub.Writable() {
			return ErrUnavailable
		}
		update, err := r.doc.Transact(edit)
		if err != nil {
			return fmt.Errorf("edit document: %w", err)
		}
		if update == nil {
			return nil
		}
		out := yproto.AppendSync(nil, yproto.SyncUpdate, update)
		r.save(update, author, func(err error) {
			if err == nil {
				r.broadcast(out, nil)
			}
		})
		return nil
	})
}

// DisconnectToken closes every connection that came by a token.
func (r *Room) DisconnectToken(hash [32]byte, code int, reason string) {
	r.disconnect(func(c *SyncConn) bool { return c.peer.TokenHash == hash }, code, reason)
}

func (r *Room) disconnect(match func(*SyncConn) bool, code int, reason string) {
	r.post(work{call: func() {
		for c := range r.conns {
			if match(c) {
				c.shut(code, reason)
				r.leave(c)
			}
		}
	}})
}

// SetLocked makes the room refuse edits, or take them again.
func (r *Room) SetLocked(locked bool) {
	r.post(work{call: func() {
		was := r.locked
		r.locked = locked
		if was && !locked {
			r.resync() // for what was refused
		}
	}})
}

// SetRunsEnabled makes snapshots say whether the room may run programs.
func (r *Room) SetRunsEnabled(enabled bool) { r.post(work{call: func() { r.runsEnabled = enabled }}) }

// SetEnded ends the room, which disconnects everybody, or opens it again.
func (r *Room) SetEnded(ended bool) {
	r.post(work{call: func() { r.ended = ended }})
	if ended {
		r.disconnect(func(*SyncConn) bool { return true }, CloseEnded, "the host ended this room")
	}
}
