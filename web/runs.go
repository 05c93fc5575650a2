package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"corun/collab"
	"corun/collab/live"
	"corun/runner"
	"corun/store"
)

const (
	// maxRunBody admits a program's whole stdin.
	maxRunBody = 2 << 20
	// listedRuns is how many runs GET /runs gives.
	listedRuns = 100
)

// runRequest is what starts a run, over HTTP and over /live alike.
type runRequest struct {
	Language string   `json:"language"`
	Entry    string   `json:"entry"`
	Args     []string `json:"args"`
	Mode     string   `json:"mode"`
	Stdin    *string  `json:"stdin"`
	Cols     int      `json:"cols"`
	Rows     int      `json:"rows"`
	// At runs the files as they were at an RFC 3339 time.
	At string `json:"at"`
}

// starter is who starts a run.
type starter struct {
	id, name, ip string
	ref          json.RawMessage // of the message that asked, on /live
}

// startRun takes the room's files as they are saved now and hands them to the
// runner; everybody in the room is told what becomes of it.
func (s *Server) startRun(ctx context.Context, id string, by starter, req runRequest) (*runner.Run, error) {
	if s.cfg.Runner.Active(id) != nil {
		return nil, runner.ErrRunActive
	}
	start := runner.Request{
		Room: id, By: by.id, ByName: by.name, IP: by.ip,
		Language: req.Language, Entry: req.Entry, Args: req.Args, Mode: req.Mode,
		Stdin: req.Stdin, Cols: req.Cols, Rows: req.Rows,
	}
	if req.Mode == runner.ModeTests {
		cases, err := s.cfg.Store.Tests(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(cases) == 0 {
			return nil, errNoTests
		}
		start.Cases = cases
	}
	err := s.withRoom(ctx, id, func(room *collab.Room) error {
		snap, err := room.Snapshot(ctx)
		if err != nil {
			return err
		}
		switch {
		case snap.Ended:
			return newProblem(http.StatusConflict, "the host ended this room")
		case !snap.RunsEnabled:
			return errRunsDisabled
		}
		if req.At != "" {
			if err := s.snapshotAt(ctx, id, req.At, snap); err != nil {
				return err
			}
		}
		for _, f := range snap.Files {
			start.Files = append(start.Files, runner.File{Path: f.Path, Content: f.Content})
			if f.ID == snap.Meta.Entry && start.Entry == "" {
				start.DefaultEntry = f.Path
			}
		}
		start.Language = cmp.Or(start.Language, snap.Meta.Language, snap.Language)
		start.StateVector, start.DocSeq = snap.StateVector, snap.Seq
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The room's live side is kept until the run has ended.
	room, err := s.liveRoom(ctx, id)
	if err != nil {
		return nil, err
	}
	queued := false
	start.Events = func(e runner.Event) {
		switch e.Kind {
		case runner.EventQueued:
			if !queued { // and not only moved
				queued = true
				s.noteRun(e)
				if start.Stdin != nil {
					s.noteInput(time.Time{}, &e.Run, by.id, []byte(*start.Stdin), 0)
				}
			}
			room.RunQueued(e.Run, e.Position, live.Answer{To: by.id, Ref: by.ref})
			by.ref = nil // a new position answers nobody
		case runner.EventStarted:
			s.noteRun(e)
			room.RunStarted(e.Run)
		case runner.EventStage:
			s.noteRun(e)
			room.RunStage(e.Run)
		case runner.EventOutput:
			room.RunOutput(e.Run.Number, uint8(e.Stream), e.Data)
		case runner.EventTest:
			s.noteTest(e)
			room.RunTest(e.Run, func(role store.Role) any { return viewResult(*e.Test, role, liveOutput) })
		case runner.EventExited:
			s.noteRun(e)
			room.RunExited(e.Run)
			s.live.Release(room)
		}
	}
	run, err := s.cfg.Runner.Start(ctx, start)
	if err != nil {
		s.live.Release(room)
		return nil, err
	}
	return run, nil
}

// snapshotAt puts what a room's document was at a time into a snapshot of it.
func (s *Server) snapshotAt(ctx context.Context, id, when string, snap *collab.Snapshot) error {
	at, err := moment(when, "at")
	if err != nil {
		return err
	}
	m, err := s.cfg.Store.MomentAt(ctx, id, at)
	if err != nil {
		return err
	}
	past, err := s.cfg.Rooms.PastAtSeq(ctx, id, m.Update)
	if err != nil {
		return err
	}
	snap.Files, snap.Meta, snap.StateVector, snap.Seq = past.Files, past.Meta, past.StateVector, m.Update
	return collab.CheckFiles(snap.Files)
}

// liveRoom gives the live side of a room, with its last run and its chat if it was
// not in use. The caller releases it.
func (s *Server) liveRoom(ctx context.Context, id string) (*live.Room, error) {
	return s.live.Room(id, func() (past live.Restored, err error) {
		if past.Chat, err = s.chat(ctx, id); err != nil {
			return past, err
		}
		if past.Run, err = s.lastRun(ctx, id); err != nil || past.Run == nil {
			return past, err
		}
		chunks, err := s.cfg.Store.OutputChunks(ctx, id, past.Run.Number)
		if err != nil {
			return past, err
		}
		past.Output = make([]live.Chunk, len(chunks))
		for i, c := range chunks {
			past.Output[i] = live.Chunk{Stream: uint8(c.Stream), Data: c.Data}
		}
		return past, nil
	})
}

// chat reads the last messages of a room's chat.
func (s *Server) chat(ctx context.Context, id string) ([]live.ChatMessage, error) {
	if err := s.events.flush(ctx); err != nil { // they are stored behind the back of who said them
		return nil, err
	}
	events, err := s.cfg.Store.ChatEvents(ctx, id, live.MaxChat)
	if err != nil {
		return nil, err
	}
	return live.ChatOf(events), nil
}

// savedWithin bounds how long a saved message waits for a room.
const savedWithin = 5 * time.Second

// Saved tells a room's people that more of its document was saved. It does not
// block.
func (s *Server) Saved(id string) {
	s.live.Peek(id, func(room *live.Room) {
		room.Saved(func() (sv []byte, err error) {
			ctx, cancel := context.WithTimeout(context.Background(), savedWithin)
			defer cancel()
			err = s.withRoom(ctx, id, func(doc *collab.Room) error {
				sv, err = doc.StateVector(ctx)
				return err
			})
			return sv, err
		})
	})
}

func (s *Server) lastRun(ctx context.Context, id string) (*store.Run, error) {
	runs, err := s.cfg.Store.Runs(ctx, id, 1)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return &runs[0], nil
}

// stopActive stops the room's run, if there is one, and gives it.
func (s *Server) stopActive(id string) *runner.Run {
	run := s.cfg.Runner.Active(id)
	if run != nil {
		run.Stop()
	}
	return run
}

func (s *Server) postRun(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost, store.RoleGuest)
	if err != nil {
		return err
	}
	ip := s.remoteIP(r)
	if err := s.cfg.Runner.Admits(ip); err != nil {
		return err
	}
	var req runRequest
	if err := readJSON(w, r, maxRunBody, &req); err != nil {
		return err
	}
	run, err := s.startRun(r.Context(), a.room.ID, starter{id: "api", name: "API", ip: ip}, req)
	if err != nil {
		return err
	}
	row := run.Snapshot()
	w.Header().Set("Location", "/api/v1/rooms/"+a.room.ID+"/runs/"+strconv.Itoa(row.Number))
	return writeJSON(w, http.StatusAccepted, row)
}

func (s *Server) getRuns(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	runs, err := s.cfg.Store.Runs(r.Context(), a.room.ID, listedRuns)
	if err != nil {
		return err
	}
	if runs == nil {
		runs = []store.Run{}
	}
	return s.sendJSON(w, r, runs)
}

// findRun gives a run as it stands: an active one from the runner, which is
// ahead of the store, any other from the store.
func (s *Server) findRun(ctx context.Context, room string, n int) (*store.Run, error) {
	if active := s.cfg.Runner.Active(room); active != nil && active.Number() == n {
		run := active.Snapshot()
		return &run, nil
	}
	run, err := s.cfg.Store.Run(ctx, room, n)
	if errors.Is(err, store.ErrNotFound) {
		return nil, newProblem(http.StatusNotFound, "this room has no run %d", n)
	}
	return run, err
}

func runNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, badField("run", "the run is %q: give its number, 1 or more", s)
	}
	return n, nil
}

// runOf authorizes and finds the run of a path.
func (s *Server) runOf(r *http.Request, roles ...store.Role) (*access, *store.Run, error) {
	a, err := s.forRoom(r, roles...)
	if err != nil {
		return nil, nil, err
	}
	n, err := runNumber(r.PathValue("n"))
	if err != nil {
		return nil, nil, err
	}
	run, err := s.findRun(r.Context(), a.room.ID, n)
	return a, run, err
}

// runAnswer is a run, and how old what it ran is.
type runAnswer struct {
	store.Run
	// EditsSince counts the edits of the document since the run's snapshot.
	EditsSince int64 `json:"edits_since"`
}

func (s *Server) getRun(w http.ResponseWriter, r *http.Request) error {
	a, run, err := s.runOf(r)
	if err != nil {
		return err
	}
	if err := s.cfg.Rooms.Settle(r.Context(), a.room.ID); err != nil {
		return err
	}
	last, err := s.cfg.Store.LastSeq(r.Context(), a.room.ID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, runAnswer{*run, max(0, last-run.DocSeq)})
}

func (s *Server) stopRun(w http.ResponseWriter, r *http.Request) error {
	a, run, err := s.runOf(r, store.RoleHost, store.RoleGuest)
	if err != nil {
		return err
	}
	active := s.cfg.Runner.Active(a.room.ID)
	if active == nil || active.Number() != run.Number {
		return writeJSON(w, http.StatusOK, run) // it has ended, as was asked for
	}
	active.Stop()
	// Ended within moments: the box is killed as a whole.
	select {
	case <-active.Done():
	case <-time.After(10 * time.Second):
	case <-r.Context().Done():
		return r.Context().Err()
	}
	return writeJSON(w, http.StatusOK, active.Snapshot())
}

func (s *Server) getOutput(w http.ResponseWriter, r *http.Request) error {
	a, run, err := s.runOf(r)
	if err != nil {
		return err
	}
	want := r.URL.Query().Get("stream")
	switch want {
	case "", "stdout", "stderr", "pty":
	default:
		return badField("stream", "there is no stream %q: use stdout, stderr or pty", want)
	}
	chunks, err := s.cfg.Store.OutputChunks(r.Context(), a.room.ID, run.Number)
	if err != nil {
		return err
	}
	var size int64
	for _, c := range chunks {
		size += int64(len(c.Data))
	}
	return s.send(w, r, size, func(out io.Writer) error {
		// Bytes of a program, which may look like anything: never to be rendered.
		w.Header().Set("Content-Type", "application/octet-stream")
		for _, c := range chunks {
			if want == "" || c.Stream.String() == want {
				if _, err := out.Write(c.Data); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// shown are the types of artefacts that pages may show, by extension. All else is bytes.
var shown = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".svg": "image/svg+xml",
}

// getArtefact gives a file that a program left. Whatever is in it, nothing of it is run in
// our name: who opens it alone gets a document without scripts, without our origin.
func (s *Server) getArtefact(w http.ResponseWriter, r *http.Request) error {
	a, run, err := s.runOf(r)
	if err != nil {
		return err
	}
	file := r.PathValue("path")
	data, err := s.cfg.Store.Artefact(r.Context(), a.room.ID, run.Number, file)
	if errors.Is(err, store.ErrNotFound) {
		return newProblem(http.StatusNotFound, "run %d left no file %q: the run lists those that it left", run.Number, file)
	}
	if err != nil {
		return err
	}
	return s.send(w, r, int64(len(data)), func(out io.Writer) error { return writeArtefact(w.Header(), out, file, data) })
}

func writeArtefact(h http.Header, out io.Writer, file string, data []byte) error {
	h.Set("Content-Type", "application/octet-stream")
	if mime, ok := shown[strings.ToLower(path.Ext(file))]; ok {
		h.Set("Content-Type", mime)
	}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cache-Control", "private, max-age=3600, immutable")
	_, err := out.Write(data)
	return err
}
