// Package yproto is the wire of y-websocket: what one binary frame between a
// Yjs client and its server can hold, as the npm packages y-websocket 1 to 3 and
// y-protocols 1 speak it.
//
//	varuint kind
//	  0 sync:            varuint step: 0 state vector, 1 reply to one, 2 update;
//	                     varuint length, bytes
//	  1 awareness:       varuint length, bytes (see Awareness)
//	  2 auth:            varuint 0 (permission denied), string reason; server to client
//	  3 query awareness: nothing
//
// What follows in a frame is ignored, as stock servers do.
package yproto

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind is a message's kind.
type Kind int

const (
	SyncStep1      Kind = iota // Payload is a state vector
	SyncStep2                  // Payload is an update
	SyncUpdate                 // Payload is an update
	AwarenessState             // Payload is an awareness update
	QueryAwareness             // no payload
)

const (
	messageSync           = 0
	messageAwareness      = 1
	messageAuth           = 2
	messageQueryAwareness = 3
)

// Message is a decoded frame. Payload points into the frame.
type Message struct {
	Kind    Kind
	Payload []byte
}

// ErrBadFrame is wrapped by every decoding error.
var ErrBadFrame = errors.New("bad frame")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadFrame, fmt.Sprintf(format, args...))
}

// Decode reads a frame that a client sent.
func Decode(frame []byte) (Message, error) {
	kind, rest, err := readUint(frame)
	if err != nil {
		return Message{}, err
	}
	switch kind {
	case messageSync:
		step, rest, err := readUint(rest)
		if err != nil {
			return Message{}, err
		}
		if step > 2 {
			return Message{}, bad("there is no sync step %d", step)
		}
		payload, _, err := readBytes(rest)
		return Message{SyncStep1 + Kind(step), payload}, err
	case messageAwareness:
		payload, _, err := readBytes(rest)
		return Message{AwarenessState, payload}, err
	case messageQueryAwareness:
		return Message{Kind: QueryAwareness}, nil
	case messageAuth:
		return Message{}, bad("auth messages are for clients")
	}
	return Message{}, bad("there is no message kind %d", kind)
}

// AppendSync appends a sync message of one of the three steps.
func AppendSync(b []byte, kind Kind, payload []byte) []byte {
	b = append(b, messageSync, byte(kind-SyncStep1))
	return appendBytes(b, payload)
}

// AppendAwareness appends an awareness message.
func AppendAwareness(b, payload []byte) []byte {
	return appendBytes(append(b, messageAwareness), payload)
}

// AppendDenied appends the auth message that says why something was refused.
func AppendDenied(b []byte, reason string) []byte {
	return appendBytes(append(b, messageAuth, 0), []byte(reason))
}

// maxNumber is the largest integer that a JavaScript peer can mean.
const maxNumber = 1<<53 - 1

func readUint(b []byte) (uint64, []byte, error) {
	n, size := binary.Uvarint(b)
	if size == 0 {
		return 0, nil, bad("it ends in the middle")
	}
	if size < 0 || n > maxNumber {
		return 0, nil, bad("a number is larger than 2^53-1")
	}
	return n, b[size:], nil
}

func readBytes(b []byte) (data, rest []byte, err error) {
	n, b, err := readUint(b)
	if err != nil {
		return nil, nil, err
	}
	if n > uint64(len(b)) {
		return nil, nil, bad("%d bytes are announced and %d are there", n, len(b))
	}
	return b[:n:n], b[n:], nil
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}
