package yproto

import (
	"encoding/binary"
)

// Hocuspocus (npm @hocuspocus/provider, 2 to 4) says the same as y-websocket, with a
// document's name before each message, and some more:
//
//	string name, varuint kind
//	  0, 1, 3:       as in y-websocket
//	  2 auth:        varuint 0, string token; client to server, first of a document
//	                 varuint 1, string reason: denied; varuint 2, string scope: let in
//	  7 close:       the client is done with the document
//	  8 sync status: varint 1 or 0: whether an update was taken in; server to client
//
// All others are for a server's own code and mean nothing here.
type HocuspocusKind int

const (
	HocuspocusDocument HocuspocusKind = iota // a message of y-websocket
	HocuspocusToken                          // Body is the token
	HocuspocusClose
	HocuspocusOther
)

const (
	messageClose      = 7
	messageSyncStatus = 8

	authToken         = 0
	authDenied        = 1
	authAuthenticated = 2
)

// Hocuspocus is a decoded frame. Name and Body point into it.
type Hocuspocus struct {
	Name []byte // of the document
	Kind HocuspocusKind
	Body []byte // a whole message of y-websocket, or what Kind says
}

// DecodeHocuspocus reads a frame that a client sent.
func DecodeHocuspocus(frame []byte) (h Hocuspocus, err error) {
	var message []byte
	if h.Name, message, err = readBytes(frame); err != nil {
		return h, err
	}
	kind, rest, err := readUint(message)
	if err != nil {
		return h, err
	}
	switch kind {
	case messageSync, messageAwareness, messageQueryAwareness:
		h.Body = message
	case messageAuth:
		what, rest, err := readUint(rest)
		if err != nil {
			return h, err
		}
		if what != authToken {
			return h, bad("a client's auth message has a token")
		}
		h.Kind = HocuspocusToken
		h.Body, _, err = readBytes(rest)
		return h, err
	case messageClose:
		h.Kind = HocuspocusClose
	default:
		h.Kind = HocuspocusOther
	}
	return h, nil
}

// HocuspocusPrefix is what stands before each message of a document.
func HocuspocusPrefix(name string) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(name))), name...)
}

// AppendHocuspocusDenied appends the auth message that says why a token is not good.
func AppendHocuspocusDenied(b []byte, reason string) []byte {
	return appendBytes(append(b, messageAuth, authDenied), []byte(reason))
}

// AppendHocuspocusLetIn appends the auth message that says that a token is good, and whether
// it lets its holder write.
func AppendHocuspocusLetIn(b []byte, mayWrite bool) []byte {
	scope := "readonly"
	if mayWrite {
		scope = "read-write"
	}
	return appendBytes(append(b, messageAuth, authAuthenticated), []byte(scope))
}

// AppendSyncStatus appends the message that says whether an update of the client's is saved.
func AppendSyncStatus(b []byte, saved bool) []byte {
	if saved {
		return append(b, messageSyncStatus, 1)
	}
	return append(b, messageSyncStatus, 0)
}

// IsDenied tells whether a message to a client of y-websocket is one of AppendDenied.
func IsDenied(message []byte) bool {
	return len(message) >= 2 && message[0] == messageAuth && message[1] == 0
}
