package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/mattn/go-sqlite3"
)

// Role is what a room token allows.
type Role string

const (
	RoleHost   Role = "host"   // all rights
	RoleGuest  Role = "guest"  // edits, runs, may drive
	RoleViewer Role = "viewer" // reads
)

// Roles are all roles, the mightiest first.
var Roles = []Role{RoleHost, RoleGuest, RoleViewer}

// Room is a room's row. Title and Language are what it was made with or last
// renamed to; its document may say otherwise.
type Room struct {
	ID          string    `json:"id"`
	Title       string    `json:"title"`
	Language    string    `json:"language"`
	Locked      bool      `json:"locked"`
	DriverOnly  bool      `json:"driver_only"` // nobody edits but who drives
	Lobby       bool      `json:"lobby"`       // guests and viewers wait until a host starts the room
	RunsEnabled bool      `json:"runs_enabled"`
	Ended       bool      `json:"ended"`
	Open        bool      `json:"open"`
	CreatedAt   time.Time `json:"created_at"`
}

// NewRoom is what a room is made from.
type NewRoom struct {
	ID, Title, Language string
	// Open lets anybody in without a token; then TokenHashes is empty.
	Open          bool
	Lobby         bool
	TokenHashes   map[Role][32]byte
	InitialUpdate []byte // the document's first update, or nil
}

// RoomPatch changes the fields that are not nil.
type RoomPatch struct {
	Title                                  *string
	Locked, DriverOnly, RunsEnabled, Ended *bool
	// Lobby ends the lobby when it is false. Once that is over, true changes nothing.
	Lobby *bool
}

// crockford is Crockford's base32 in lower case: no i, l, o or u.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewRoomID makes a room id: 128 random bits in 26 characters.
func NewRoomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return crockford.EncodeToString(b[:])
}

// NewToken makes a token of 192 random bits. Only the hash may be stored.
func NewToken() (token string, hash [32]byte) {
	var b [24]byte
	rand.Read(b[:]) // never fails
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, HashToken(token)
}

// HashToken is what the store knows a token by. A token is random, so that one
// round of SHA-256 is enough.
func HashToken(token string) [32]byte { return sha256.Sum256([]byte(token)) }

type roomRow struct {
	ID          string `db:"id"`
	Title       string `db:"title"`
	Language    string `db:"language"`
	Locked      bool   `db:"locked"`
	DriverOnly  bool   `db:"driver_only"`
	Lobby       bool   `db:"lobby"`
	RunsEnabled bool   `db:"runs_enabled"`
	Ended       bool   `db:"ended"`
	Open        bool   `db:"open"`
	CreatedAt   int64  `db:"created_at"`
	// NotesOf is the room whose hosts' private notes this is. It is no room of its own then.
	NotesOf sql.NullString `db:"notes_of"`
}

func (r roomRow) room() *Room {
	return &Room{r.ID, r.Title, r.Language, r.Locked, r.DriverOnly, r.Lobby, r.RunsEnabled, r.Ended, r.Open, fromMicros(r.CreatedAt)}
}

// CreateRoom makes a room with its tokens and the beginning of its document. It is flushed
// with all else that is to be written at the time.
func (s *Store) CreateRoom(ctx context.Context, room NewRoom) (*Room, error) {
	now := micros(s.now())
	if err := s.createRoom(ctx, room, now); err != nil {
		return nil, err
	}
	return roomRow{ID: room.ID, Title: room.Title, Language: room.Language, RunsEnabled: true, Open: room.Open, Lobby: room.Lobby, CreatedAt: now}.room(), nil
}

func (s *Store) createRoom(ctx context.Context, room NewRoom, now int64) error {
	ctx = context.WithoutCancel(ctx) // the transaction is of others too
	return s.updates.together(func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO rooms (id, title, language, open, lobby, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
			room.ID, room.Title, room.Language, room.Open, room.Lobby, now)
		var constraint sqlite3.Error
		if errors.As(err, &constraint) && constraint.ExtendedCode == sqlite3.ErrConstraintPrimaryKey {
			return fmt.Errorf("create room %s: %w", room.ID, ErrExists)
		}
		if err != nil {
			return fmt.Errorf("create room: %w", err)
		}
		if err := insertTokens(ctx, tx, room.ID, room.TokenHashes); err != nil {
			return err
		}
		if room.InitialUpdate == nil {
			return nil
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO updates (room_id, seq, at, author, data) VALUES (?, 1, ?, 'create', ?)`, room.ID, now, room.InitialUpdate)
		if err != nil {
			return fmt.Errorf("store first update: %w", err)
		}
		return nil
	})
}

func insertTokens(ctx context.Context, tx *sqlx.Tx, room string, hashes map[Role][32]byte) error {
	for role, hash := range hashes {
		if _, err := tx.ExecContext(ctx, `INSERT INTO room_tokens (room_id, role, hash) VALUES (?, ?, ?)`, room, role, hash[:]); err != nil {
			return fmt.Errorf("store %s token: %w", role, err)
		}
	}
	return nil
}

// Room gives a room, or ErrNotFound.
func (s *Store) Room(ctx context.Context, id string) (*Room, error) {
	return getRoom(ctx, s.read, id)
}

func getRoom(ctx context.Context, q sqlx.QueryerContext, id string) (*Room, error) {
	var row roomRow
	err := sqlx.GetContext(ctx, q, &row, `SELECT * FROM rooms WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("room %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read room: %w", err)
	}
	return row.room(), nil
}

// Rooms gives all rooms, the newest first.
func (s *Store) Rooms(ctx context.Context) ([]Room, error) {
	var rows []roomRow
	if err := s.read.SelectContext(ctx, &rows, `SELECT * FROM rooms WHERE notes_of IS NULL ORDER BY created_at DESC, id`); err != nil {
		return nil, fmt.Errorf("read rooms: %w", err)
	}
	rooms := make([]Room, len(rows))
	for i, row := range rows {
		rooms[i] = *row.room()
	}
	return rooms, nil
}

// UpdateRoom changes a room and gives it as it is then.
func (s *Store) UpdateRoom(ctx context.Context, id string, patch RoomPatch) (room *Room, err error) {
	err = s.tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE rooms SET title = COALESCE(?, title), locked = COALESCE(?, locked),
			driver_only = COALESCE(?, driver_only), runs_enabled = COALESCE(?, runs_enabled), ended = COALESCE(?, ended), lobby = lobby AND COALESCE(?, lobby) WHERE id = ?`,
			patch.Title, patch.Locked, patch.DriverOnly, patch.RunsEnabled, patch.Ended, patch.Lobby, id)
		if err != nil {
			return fmt.Errorf("update room: %w", err)
		}
		room, err = getRoom(ctx, tx, id)
		return err
	})
	return room, err
}

// pastDocuments is how many deleted documents of a room's name are remembered.
const pastDocuments = 8

// DeleteRoom deletes a room and everything of it. past is its document's state vector, by
// which PastDocuments tells of it where the name can be used again, or nil.
func (s *Store) DeleteRoom(ctx context.Context, id string, past []byte) error {
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM rooms WHERE id = ?`, id)
		if err != nil {
			return fmt.Errorf("delete room: %w", err)
		}
		if n, err := res.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("room %s: %w", id, ErrNotFound)
		}
		if past == nil {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO past_documents (room_id, deleted_at, state_vector) VALUES (?, ?, ?)`, id, micros(s.now()), past); err != nil {
			return fmt.Errorf("remember deleted document: %w", err)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM past_documents WHERE room_id = ? AND id NOT IN
			(SELECT id FROM past_documents WHERE room_id = ? ORDER BY id DESC LIMIT ?)`, id, id, pastDocuments)
		if err != nil {
			return fmt.Errorf("forget deleted documents: %w", err)
		}
		return nil
	})
}

// deletedDocuments gives the state vectors of documents of that name that were deleted.
func deletedDocuments(ctx context.Context, q sqlx.QueryerContext, room string) ([][]byte, error) {
	var all [][]byte
	if err := sqlx.SelectContext(ctx, q, &all, `SELECT state_vector FROM past_documents WHERE room_id = ?`, room); err != nil {
		return nil, fmt.Errorf("read deleted documents: %w", err)
	}
	return all, nil
}

// Grant is what a token allows.
type Grant struct {
	Role    Role
	Expires time.Time // zero for a token that does not
}

// GrantByToken tells what the token with that hash allows in a room, or
// ErrNotFound. Every token of the room is compared, in constant time.
func (s *Store) GrantByToken(ctx context.Context, room string, hash [32]byte) (Grant, error) {
	var rows []struct {
		Role    Role          `db:"role"`
		Hash    []byte        `db:"hash"`
		Expires sql.NullInt64 `db:"expires_at"`
	}
	if err := s.read.SelectContext(ctx, &rows, `SELECT role, hash, expires_at FROM room_tokens WHERE room_id = ?`, room); err != nil {
		return Grant{}, fmt.Errorf("read room tokens: %w", err)
	}
	var found Grant
	for _, row := range rows {
		if subtle.ConstantTimeCompare(row.Hash, hash[:]) == 1 {
			found.Role = row.Role
			if row.Expires.Valid {
				found.Expires = fromMicros(row.Expires.Int64)
			}
		}
	}
	if found.Role == "" || (!found.Expires.IsZero() && !s.now().Before(found.Expires)) {
		return Grant{}, fmt.Errorf("token of room %s: %w", room, ErrNotFound)
	}
	return found, nil
}

// RotateToken replaces a role's token and gives the hash of the old one. The new one expires
// at the time given, never if that is zero, or when the old one would have if it is nil.
func (s *Store) RotateToken(ctx context.Context, room string, role Role, hash [32]byte, expires *time.Time) (old [32]byte, err error) {
	if !slices.Contains(Roles, role) {
		return old, fmt.Errorf("role %q: %w", role, ErrNotFound)
	}
	err = s.tx(ctx, func(tx *sqlx.Tx) error {
		var was []byte
		err := tx.GetContext(ctx, &was, `SELECT hash FROM room_tokens WHERE room_id = ? AND role = ?`, room, role)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%s token of room %s: %w", role, room, ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		copy(old[:], was)
		if _, err := tx.ExecContext(ctx, `UPDATE room_tokens SET hash = ? WHERE room_id = ? AND role = ?`, hash[:], room, role); err != nil {
			return fmt.Errorf("rotate token: %w", err)
		}
		if expires == nil {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `UPDATE room_tokens SET expires_at = ? WHERE room_id = ? AND role = ?`, nullMicros(*expires), room, role); err != nil {
			return fmt.Errorf("let token expire: %w", err)
		}
		return nil
	})
	return old, err
}

// APIToken is a token for programs, without its secret.
type APIToken struct {
	ID        string
	Name      string
	CreatedAt time.Time
	Expires   time.Time // zero for one that does not
}

// CreateAPIToken stores a token for programs and gives its id. It expires at the time given,
// or never if that is zero.
func (s *Store) CreateAPIToken(ctx context.Context, name string, hash [32]byte, expires time.Time) (id string, err error) {
	id = NewRoomID()[:10]
	_, err = s.write.ExecContext(ctx, `INSERT INTO api_tokens (id, name, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?)`, id, name, hash[:], micros(s.now()), nullMicros(expires))
	if err != nil {
		return "", fmt.Errorf("store API token: %w", err)
	}
	return id, nil
}

// APITokens lists the tokens for programs, the newest first.
func (s *Store) APITokens(ctx context.Context) ([]APIToken, error) {
	var rows []struct {
		ID        string        `db:"id"`
		Name      string        `db:"name"`
		CreatedAt int64         `db:"created_at"`
		Expires   sql.NullInt64 `db:"expires_at"`
	}
	if err := s.read.SelectContext(ctx, &rows, `SELECT id, name, created_at, expires_at FROM api_tokens ORDER BY created_at DESC`); err != nil {
		return nil, fmt.Errorf("read API tokens: %w", err)
	}
	tokens := make([]APIToken, len(rows))
	for i, r := range rows {
		tokens[i] = APIToken{ID: r.ID, Name: r.Name, CreatedAt: fromMicros(r.CreatedAt)}
		if r.Expires.Valid {
			tokens[i].Expires = fromMicros(r.Expires.Int64)
		}
	}
	return tokens, nil
}

// RevokeAPIToken deletes a token for programs.
func (s *Store) RevokeAPIToken(ctx context.Context, id string) error {
	res, err := s.write.ExecContext(ctx, `DELETE FROM api_tokens WHERE id = ?`, id)
	if err != nil {
		return fmt.Errorf("revoke API token: %w", err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fmt.Errorf("API token %s: %w", id, ErrNotFound)
	}
	return nil
}

// APITokenValid tells whether there is an API token with that hash that has not expired. Finding a
// hash by index is not constant in time, but says nothing of the token.
func (s *Store) APITokenValid(ctx context.Context, hash [32]byte) (bool, error) {
	var n int
	if err := s.read.GetContext(ctx, &n, `SELECT COUNT(*) FROM api_tokens WHERE hash = ? AND (expires_at IS NULL OR expires_at > ?)`, hash[:], micros(s.now())); err != nil {
		return false, fmt.Errorf("read API tokens: %w", err)
	}
	return n > 0, nil
}
