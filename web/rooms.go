package web

import (
	"archive/zip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"corun/collab"
	"corun/collab/live"
	"corun/collab/ycrdt"
	"corun/store"
)

const (
	// maxRoomBody admits the 4 MiB of sources that a snapshot may have, in JSON.
	maxRoomBody = 8 << 20
	// maxSmallBody is for calls with a few short fields.
	maxSmallBody = 64 << 10
	// maxExpiry is for how long a link that expires may be good.
	maxExpiry = 10 * 365 * 24 * time.Hour
	// maxTitleBytes bounds a room's title.
	maxTitleBytes = 200
)

type newFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

type createRoomRequest struct {
	Title    string    `json:"title"`
	Language string    `json:"language"`
	Files    []newFile `json:"files"`
	Template string    `json:"template"`
	Lobby    bool      `json:"lobby"`
}

type createRoomAnswer struct {
	ID       string                `json:"id"`
	Title    string                `json:"title"`
	Language string                `json:"language"`
	Links    map[store.Role]string `json:"links"`
	Tokens   map[store.Role]string `json:"tokens"`
}

func (s *Server) createRoom(w http.ResponseWriter, r *http.Request) error {
	if err := s.mayCreate(r, "make rooms"); err != nil {
		return err
	}
	var req createRoomRequest
	if err := readJSON(w, r, maxRoomBody, &req); err != nil {
		return err
	}
	language, entry, files, err := s.firstFiles(req)
	if err != nil {
		return err
	}
	title, err := cleanTitle(req.Title)
	if err != nil {
		return err
	}
	update, err := collab.InitialDocument(collab.Initial{Title: title, Language: language, Entry: entry, Files: files})
	if err != nil {
		return err
	}
	answer := createRoomAnswer{
		ID: store.NewRoomID(), Title: title, Language: language,
		Links: map[store.Role]string{}, Tokens: map[store.Role]string{},
	}
	hashes := make(map[store.Role][32]byte)
	for _, role := range store.Roles {
		token, hash := store.NewToken()
		hashes[role] = hash
		answer.Tokens[role] = token
		answer.Links[role] = pageLink(r, answer.ID, token)
	}
	_, err = s.cfg.Store.CreateRoom(r.Context(), store.NewRoom{
		ID: answer.ID, Title: title, Language: language, Lobby: req.Lobby, TokenHashes: hashes, InitialUpdate: update,
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v1/rooms/"+answer.ID)
	return writeJSON(w, http.StatusCreated, answer)
}

// firstFiles works out what a new room starts with: the files given, a
// template's, or one empty file with the language's usual name.
func (s *Server) firstFiles(req createRoomRequest) (language, entry string, files []collab.File, err error) {
	lang, ok := s.cfg.Runner.Language(req.Language)
	if req.Language != "" && !ok {
		return "", "", nil, badField("language", "there is no language %q here: use one of %s", req.Language, s.languageNames())
	}
	if ok {
		language = lang.Name
	}
	given := req.Files
	switch {
	case req.Template != "" && len(given) > 0:
		return "", "", nil, badField("template", "give files or a template, not both")
	case req.Template != "" && !ok:
		return "", "", nil, badField("template", "a template needs a language: use one of %s", s.languageNames())
	case req.Template != "":
		if req.Template != "starter" {
			return "", "", nil, badField("template", "there is no template %q: use starter", req.Template)
		}
		for _, f := range s.cfg.Runner.Template(language) {
			given = append(given, newFile{f.Path, f.Content})
		}
	case len(given) == 0 && ok:
		given = []newFile{{Path: lang.Entry}}
	case len(given) == 0:
		given = []newFile{{Path: "main.txt"}}
	}
	for i, f := range given {
		id := "main"
		if i > 0 {
			id = collab.NewFileID()
		}
		if !utf8.ValidString(f.Content) {
			return "", "", nil, badField(fmt.Sprintf("files[%d].content", i), "the content of %q is not valid UTF-8 text", f.Path)
		}
		files = append(files, collab.File{ID: id, Path: f.Path, Content: f.Content})
	}
	if err := collab.CheckFiles(files); err != nil {
		return "", "", nil, badField("files", "%v", err)
	}
	if ok {
		for _, f := range files {
			if f.Path == lang.Entry {
				entry = f.ID
			}
		}
	}
	if entry == "" {
		entry = files[0].ID
	}
	return language, entry, files, nil
}

func (s *Server) languageNames() string {
	var names []string
	for _, l := range s.cfg.Runner.Languages() {
		names = append(names, l.Name)
	}
	return strings.Join(names, ", ")
}

func cleanTitle(title string) (string, error) {
	title = strings.TrimSpace(title)
	if len(title) > maxTitleBytes {
		return "", badField("title", "the title has %d bytes: at most %d are allowed", len(title), maxTitleBytes)
	}
	if !utf8.ValidString(title) || strings.ContainsFunc(title, breaksLine) {
		return "", badField("title", "the title must be one line of text without control characters")
	}
	return title, nil
}

// breaksLine tells control characters and Unicode's own line separators.
func breaksLine(c rune) bool { return unicode.IsControl(c) || unicode.In(c, unicode.Zl, unicode.Zp) }

// pageLink is where a person opens the room. The token is in the fragment,
// which browsers keep to themselves.
func pageLink(r *http.Request, room, token string) string {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/r/%s#t=%s", scheme, r.Host, room, token)
}

// roomView is a room as callers see it: the store's row, and what its document
// says of language, entry and title, which anybody in the room may edit there.
type roomView struct {
	ID          string    `json:"id"`
	Title       string    `json:"title"`
	Language    string    `json:"language"`
	Entry       string    `json:"entry,omitempty"`
	Locked      bool      `json:"locked"`
	DriverOnly  bool      `json:"driver_only"`
	Lobby       bool      `json:"lobby"`
	RunsEnabled bool      `json:"runs_enabled"`
	Ended       bool      `json:"ended"`
	CreatedAt   time.Time `json:"created_at"`
}

// withRoom calls fn with a room's document, loaded if it was not.
func (s *Server) withRoom(ctx context.Context, id string, fn func(*collab.Room) error) error {
	room, err := s.cfg.Rooms.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer room.Release()
	return fn(room)
}

func (s *Server) viewRoom(ctx context.Context, row *store.Room) (roomView, error) {
	v := roomView{
		ID: row.ID, Title: row.Title, Language: row.Language, Locked: row.Locked, DriverOnly: row.DriverOnly, Lobby: row.Lobby,
		RunsEnabled: row.RunsEnabled, Ended: row.Ended, CreatedAt: row.CreatedAt,
	}
	err := s.withRoom(ctx, row.ID, func(room *collab.Room) error {
		meta, err := room.Meta(ctx)
		if err != nil {
			return err
		}
		v.Entry = meta.Entry
		if meta.Language != "" {
			v.Language = meta.Language
		}
		if meta.Title != "" {
			v.Title = meta.Title
		}
		return nil
	})
	return v, err
}

// roomAnswer is the room's members flat, as POST /rooms gives them, and what
// goes on in it.
type roomAnswer struct {
	roomView
	Room         roomView           `json:"room"`
	Participants []live.Participant `json:"participants"`
	Driver       *string            `json:"driver"`
	Run          *store.Run         `json:"run"`
}

func (s *Server) getRoom(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	return s.answerRoom(w, r, a.room)
}

func (s *Server) answerRoom(w http.ResponseWriter, r *http.Request, row *store.Room) error {
	view, err := s.viewRoom(r.Context(), row)
	if err != nil {
		return err
	}
	answer := roomAnswer{roomView: view, Room: view, Participants: []live.Participant{}}
	loaded := false
	s.live.Peek(row.ID, func(room *live.Room) {
		all, driver, run := room.Participants()
		answer.Participants, answer.Run, loaded = all, run, true
		if driver != "" {
			answer.Driver = &driver
		}
	})
	if !loaded {
		if answer.Run, err = s.lastRun(r.Context(), row.ID); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, answer)
}

type roomPatch struct {
	Title       *string `json:"title"`
	Locked      *bool   `json:"locked"`
	DriverOnly  *bool   `json:"driver_only"`
	Lobby       *bool   `json:"lobby"`
	RunsEnabled *bool   `json:"runs_enabled"`
	Ended       *bool   `json:"ended"`
}

func (s *Server) patchRoom(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	var patch roomPatch
	if err := readJSON(w, r, maxSmallBody, &patch); err != nil {
		return err
	}
	row, err := s.updateRoom(r.Context(), a.room.ID, patch, live.Answer{})
	if err != nil {
		return err
	}
	return s.answerRoom(w, r, row)
}

// updateRoom stores a change of the room and makes it so for everybody there.
func (s *Server) updateRoom(ctx context.Context, id string, patch roomPatch, answer live.Answer) (*store.Room, error) {
	change := store.RoomPatch{
		Locked: patch.Locked, DriverOnly: patch.DriverOnly, Lobby: patch.Lobby, RunsEnabled: patch.RunsEnabled, Ended: patch.Ended,
	}
	if patch.Title != nil {
		title, err := cleanTitle(*patch.Title)
		if err != nil {
			return nil, err
		}
		change.Title = &title
	}
	if patch.Lobby != nil && *patch.Lobby {
		if err := s.checkLobby(ctx, id); err != nil {
			return nil, err
		}
	}
	var row *store.Room
	err := s.withRoom(ctx, id, func(room *collab.Room) (err error) {
		if row, err = s.changeSettings(ctx, room, id, change); err != nil || change.Title == nil {
			return err
		}
		return room.Edit(ctx, "api", func(tx *ycrdt.Txn) error { return tx.Map("room").Set("title", *change.Title) })
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoRoom
	}
	if err != nil {
		return nil, err
	}
	if patch.Ended != nil {
		err := s.withNotes(ctx, id, func(notes *collab.Room) error { notes.SetEnded(row.Ended); return nil })
		if err != nil {
			return nil, err
		}
	}
	view, err := s.viewRoom(ctx, row)
	if err != nil {
		return nil, err
	}
	s.events.add(id, live.Event{Kind: kindRoom, Data: patch})
	s.live.Peek(id, func(room *live.Room) {
		room.BroadcastAnswer(map[string]any{"type": "room.updated", "room": view}, answer)
		if patch.Lobby != nil && !row.Lobby && !row.Ended {
			room.Start(view)
		}
		if row.Ended {
			room.Disconnect(func(*live.Member) bool { return true }, live.CloseRoomEnded, "the host ended this room")
		}
	})
	if row.Ended {
		s.stopActive(id)
	}
	return row, nil
}

// checkLobby refuses to open the lobby of a room that was started: who was in has its document.
func (s *Server) checkLobby(ctx context.Context, id string) error {
	row, err := s.cfg.Store.Room(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return errNoRoom
	}
	if err == nil && !row.Lobby {
		return newProblem(http.StatusConflict, "this room has been started, which cannot be undone: make a room with a lobby")
	}
	return err
}

// changeSettings stores a change and tells the room: one after the other, so that the room
// ends with what is stored.
func (s *Server) changeSettings(ctx context.Context, room *collab.Room, id string, change store.RoomPatch) (*store.Room, error) {
	s.settings.Lock()
	defer s.settings.Unlock()
	row, err := s.cfg.Store.UpdateRoom(ctx, id, change)
	if err != nil {
		return nil, err
	}
	room.SetLocked(row.Locked)
	room.SetDriverOnly(row.DriverOnly)
	room.SetRunsEnabled(row.RunsEnabled)
	room.SetEnded(row.Ended)
	return row, nil
}

func (s *Server) deleteRoom(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	id := a.room.ID
	if run := s.stopActive(id); run != nil {
		select {
		case <-run.Done():
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	s.live.Peek(id, func(room *live.Room) {
		room.Disconnect(func(*live.Member) bool { return true }, live.CloseRoomEnded, "the host deleted this room")
	})
	if err := s.cfg.Rooms.Delete(r.Context(), id); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type filesAnswer struct {
	Files       []collab.File `json:"files"`
	StateVector string        `json:"state_vector"`
}

func (s *Server) getFiles(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	files, sv, err := s.filesOf(r, a.room.ID)
	if err != nil {
		return err
	}
	if files == nil {
		files = []collab.File{}
	}
	return s.sendJSON(w, r, filesAnswer{files, base64.StdEncoding.EncodeToString(sv)})
}

// filesOf gives the room's files now, or at the moment that ?at= or ?run= name.
func (s *Server) filesOf(r *http.Request, id string) (files []collab.File, sv []byte, err error) {
	ctx, q := r.Context(), r.URL.Query()
	switch {
	case q.Has("at") && q.Has("run"):
		return nil, nil, badField("at", "give at or run, not both")
	case q.Has("at"):
		at, err := time.Parse(time.RFC3339Nano, q.Get("at"))
		if err != nil {
			return nil, nil, badField("at", "at is %q: give an RFC 3339 time, like 2026-01-31T12:00:00Z (with %%2B for a +)", q.Get("at"))
		}
		return s.cfg.Rooms.FilesAt(ctx, id, at)
	case q.Has("run"):
		n, err := runNumber(q.Get("run"))
		if err != nil {
			return nil, nil, err
		}
		run, err := s.findRun(ctx, id, n)
		if err != nil {
			return nil, nil, err
		}
		return s.cfg.Rooms.FilesAtSeq(ctx, id, run.DocSeq)
	}
	err = s.withRoom(ctx, id, func(room *collab.Room) error {
		var err error
		files, sv, _, err = room.Files(ctx)
		return err
	})
	return files, sv, err
}

func (s *Server) getArchive(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	files, _, err := s.filesOf(r, a.room.ID)
	if err != nil {
		return err
	}
	// A path that a run would refuse must not reach an archive either: it could
	// write outside the folder in which somebody unpacks it.
	if err := collab.CheckFiles(files); err != nil {
		return newProblem(http.StatusConflict, "the files cannot be put in an archive: %v", err)
	}
	var size int64
	for _, f := range files {
		size += int64(len(f.Content))
	}
	return s.send(w, r, size, func(out io.Writer) error { return writeArchive(w, out, a.room.ID, files) })
}

func writeArchive(w http.ResponseWriter, out io.Writer, room string, files []collab.File) error {
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="corun-%s.zip"`, room))
	archive := zip.NewWriter(out)
	for _, f := range files {
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: f.Path, Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
		if _, err := entry.Write([]byte(f.Content)); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (s *Server) rotateToken(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	role := store.Role(r.PathValue("role"))
	if !slices.Contains(store.Roles, role) {
		return newProblem(http.StatusNotFound, "there is no role %q: use host, guest or viewer", role)
	}
	var req struct {
		ExpiresIn *float64 `json:"expires_in"` // seconds
	}
	if err := readJSON(w, r, maxSmallBody, &req); err != nil {
		return err
	}
	var expires time.Time
	switch {
	case req.ExpiresIn == nil:
	case role == store.RoleHost:
		return badField("expires_in", "a host's link does not expire: nobody could make another one then")
	case !(*req.ExpiresIn > 0) || *req.ExpiresIn > maxExpiry.Seconds():
		return badField("expires_in", "expires_in is %v: give a number of seconds above 0, at most %.0f", *req.ExpiresIn, maxExpiry.Seconds())
	default:
		expires = time.Now().Add(time.Duration(*req.ExpiresIn * float64(time.Second))).UTC()
	}
	token, old, err := s.replaceToken(r.Context(), a.room.ID, role, &expires)
	if err != nil {
		return err
	}
	const reason = "the link you came by was replaced: ask for the new one"
	s.live.Peek(a.room.ID, func(room *live.Room) {
		room.Disconnect(func(m *live.Member) bool { return m.CameBy(old) }, live.CloseRemoved, reason)
		room.Rekey(role, token, store.HashToken(token)) // for the hosts that stay
	})
	err = s.withRoom(r.Context(), a.room.ID, func(room *collab.Room) error {
		room.DisconnectToken(old, live.CloseRemoved, reason)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.closeNotes(r.Context(), a.room.ID, old, live.CloseRemoved, reason); err != nil {
		return err
	}
	answer := map[string]any{"role": role, "token": token, "link": pageLink(r, a.room.ID, token)}
	if !expires.IsZero() {
		answer["expires_at"] = expires
	}
	return writeJSON(w, http.StatusOK, answer)
}

// replaceToken makes a new token for a role; from then on the old one, whose
// hash is given, opens nothing. expires is as for store.RotateToken.
func (s *Server) replaceToken(ctx context.Context, id string, role store.Role, expires *time.Time) (token string, old [32]byte, err error) {
	token, hash := store.NewToken()
	old, err = s.cfg.Store.RotateToken(ctx, id, role, hash, expires)
	if errors.Is(err, store.ErrNotFound) {
		return "", old, newProblem(http.StatusConflict, "this room has no %s token to rotate: it is open to anyone", role)
	}
	if err != nil {
		return "", old, err
	}
	s.events.add(id, live.Event{Kind: "rotate", Data: map[string]any{"role": role}})
	return token, old, nil
}
