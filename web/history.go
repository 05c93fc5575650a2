package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"corun/collab"
	"corun/collab/live"
	"corun/runner"
	"corun/store"
)

// This file is a room's log as callers see it: written where things happen, read as a list, as
// lines, or to be shown again.

// Kinds of the log's entries. Those of people are package live's.
const (
	kindEdit   = "edit"   // not an event: see store.Log
	kindOutput = "output" // not an event
	kindRun    = "run"
	kindStdin  = "stdin"
	kindRoom   = "room"
	kindErased = "erased"
	kindTest   = "test"  // a case has ended
	kindTests  = "tests" // a host changed them
)

const (
	// maxLogPage and usualLogPage are how many entries a page of the log has.
	maxLogPage   = 1000
	usualLogPage = 200
	// logHolds is about how much is held for a page: of each kind it has a megabyte.
	logHolds = 8 << 20
	// maxKeptInput is how much of what is typed for one run is in the log. Of more there is
	// only how much it was.
	maxKeptInput = 1 << 20
	// erasedName stands for a name that was erased.
	erasedName = "Somebody"
)

// noteRun writes a step of a run to its room's log.
func (s *Server) noteRun(e runner.Event) {
	run := e.Run
	data := map[string]any{"run": run.Number}
	switch e.Kind {
	case runner.EventQueued:
		data["event"] = "queued"
		data["started_by"], data["started_by_name"] = run.StartedBy, run.StartedByName
		data["language"], data["entry"], data["args"], data["mode"] = run.Language, run.Entry, run.Args, run.Mode
		data["state_vector"] = run.StateVector
	case runner.EventStarted:
		data["event"], data["startup_ms"] = "started", run.StartupMS
	case runner.EventStage:
		data["event"], data["stage"] = "stage", run.Stage
	case runner.EventExited:
		data["event"], data["status"], data["message"] = "exited", run.Status, run.Message
		data["exit_code"], data["signal"], data["usage"] = run.ExitCode, run.Signal, run.Usage
		if len(e.Input) > 0 {
			data["stdin_bytes"] = e.Input
		}
		if run.Tests != nil {
			data["tests"] = run.Tests
		}
	}
	s.events.add(run.Room, live.Event{Kind: kindRun, Data: data})
}

// noteTest writes to the log what became of a test case, without what was printed. What all
// but hosts may not know of it is for hosts alone.
func (s *Server) noteTest(e runner.Event) {
	data := map[string]any{"run": e.Run.Number, "case": viewResult(*e.Test, store.RoleGuest, 0)}
	if e.Test.Hidden {
		data["host"] = viewResult(*e.Test, store.RoleHost, 0)
	}
	s.events.add(e.Run.Room, live.Event{Kind: kindTest, Data: data})
}

// noteInput writes to the log what was typed for a run, at a time and after so many bytes before.
// A terminal shows what it echoes: what it does not, a password say, is for hosts alone.
func (s *Server) noteInput(at time.Time, run *store.Run, by string, input []byte, before int64) {
	data := map[string]any{"run": run.Number, "by": by, "bytes": len(input)}
	if before+int64(len(input)) <= maxKeptInput {
		text := data
		if run.Mode == runner.ModeTerminal {
			text = make(map[string]any)
			data["host"] = text
		}
		addText(text, input)
	}
	s.events.add(run.Room, live.Event{Kind: kindStdin, Data: data, At: at})
}

// addText puts bytes into an object: as text where they are, else in base64.
func addText(to map[string]any, data []byte) {
	if utf8.Valid(data) {
		to["data"] = string(data)
	} else {
		to["base64"] = base64.StdEncoding.EncodeToString(data)
	}
}

// entryView is an entry of the log as callers see it.
type entryView struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Data any       `json:"data"`
}

// viewEntry shows an entry to a role.
func viewEntry(e store.Entry, role store.Role) entryView {
	switch {
	case e.Edit != nil:
		data := map[string]any{"by": e.Edit.Author, "until": e.Edit.Until, "first": e.Edit.From, "last": e.Edit.To, "bytes": e.Edit.Bytes}
		if e.Edit.Data != nil {
			data["update"] = e.Edit.Data
		}
		return entryView{e.At, kindEdit, data}
	case e.Output != nil:
		data := map[string]any{"run": e.Output.Run, "stream": e.Output.Stream.String(), "offset": e.Output.Offset, "bytes": len(e.Output.Data)}
		addText(data, e.Output.Data)
		return entryView{e.At, kindOutput, data}
	}
	return entryView{e.At, e.Event.Kind, eventFor(role, e.Event.Data)}
}

// eventFor leaves out what an event has for hosts alone, under "host".
func eventFor(role store.Role, data json.RawMessage) any {
	if role == store.RoleHost || !strings.Contains(string(data), `"host"`) {
		return data
	}
	var fields map[string]any
	if json.Unmarshal(data, &fields) != nil {
		return nil
	}
	delete(fields, "host")
	return fields
}

// historyAnswer is a page of a room's log.
type historyAnswer struct {
	Events []entryView `json:"events"`
	// Next is where the next page begins, now or when more has happened.
	Next string `json:"next"`
	More bool   `json:"more"`
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	q, err := s.logQuery(r, a.room.ID)
	if err != nil {
		return err
	}
	if err := s.settle(r.Context(), a.room.ID); err != nil {
		return err
	}
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
	case "jsonl":
		return s.sendLog(w, r, a, q)
	default:
		return badField("format", "there is no format %q: use json or jsonl", format)
	}
	done, err := s.hold(r, logHolds)
	if err != nil {
		return err
	}
	defer done()
	page, err := s.cfg.Store.Log(r.Context(), a.room.ID, q)
	if err != nil {
		return err
	}
	return s.sendHeld(w, historyAnswer{viewEntries(page.Entries, a.role), page.Next.String(), page.More})
}

func viewEntries(entries []store.Entry, role store.Role) []entryView {
	views := make([]entryView, len(entries))
	for i, e := range entries {
		views[i] = viewEntry(e, role)
	}
	return views
}

// logQuery reads what a caller wants to see of the log.
func (s *Server) logQuery(r *http.Request, room string) (q store.LogQuery, err error) {
	v := r.URL.Query()
	q = store.LogQuery{Edits: true, Output: true, Limit: usualLogPage}
	if v.Has("limit") {
		if q.Limit, err = strconv.Atoi(v.Get("limit")); err != nil || q.Limit < 1 || q.Limit > maxLogPage {
			return q, badField("limit", "limit is %q: give a number from 1 to %d", v.Get("limit"), maxLogPage)
		}
	}
	if v.Has("kind") {
		kinds := strings.Split(v.Get("kind"), ",")
		if slices.Contains(kinds, "") || len(kinds) > 50 {
			return q, badField("kind", "kind is %q: give kinds of entries with commas between them, such as run,stdin,edit", v.Get("kind"))
		}
		q.Edits, q.Output = slices.Contains(kinds, kindEdit), slices.Contains(kinds, kindOutput)
		q.Kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == kindEdit || k == kindOutput })
	}
	if q.Until, err = moment(v.Get("until"), "until"); err != nil {
		return q, err
	}
	since, err := moment(v.Get("since"), "since")
	switch {
	case err != nil:
		return q, err
	case v.Has("after") && v.Has("since"):
		return q, badField("after", "give after or since, not both")
	case v.Has("after"):
		if q.After, err = store.ParsePosition(v.Get("after")); err != nil {
			return q, badField("after", "after is %.60q: give next of a page before", v.Get("after"))
		}
	case v.Has("since"):
		at, err := s.cfg.Store.MomentAt(r.Context(), room, since.Add(-time.Microsecond))
		if err != nil {
			return q, err
		}
		q.After = at.Position
	}
	return q, nil
}

// moment reads a time of a query; "" is the zero time.
func moment(s, field string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return at, badField(field, "%s is %q: give an RFC 3339 time, like 2026-01-31T12:00:00Z (with %%2B for a +)", field, s)
	}
	if at.IsZero() { // which stands for none
		at = at.Add(time.Microsecond)
	}
	return at, nil
}

// settle returns when all that has happened in a room is in the store.
func (s *Server) settle(ctx context.Context, id string) error {
	if err := s.events.flush(ctx); err != nil {
		return err
	}
	return s.cfg.Rooms.Settle(ctx, id)
}

// sendLog writes the whole log from a position on, a line for each entry.
func (s *Server) sendLog(w http.ResponseWriter, r *http.Request, a *access, q store.LogQuery) error {
	done, err := s.hold(r, logHolds)
	if err != nil {
		return err
	}
	defer done()
	q.Limit = maxLogPage
	page, err := s.cfg.Store.Log(r.Context(), a.room.ID, q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Content-Disposition", `attachment; filename="corun-`+a.room.ID+`.jsonl"`)
	for {
		enc := json.NewEncoder(s.paced(w)) // each page anew: to read the next one takes its time
		for _, e := range viewEntries(page.Entries, a.role) {
			if err := enc.Encode(e); err != nil {
				return nil // the caller has gone
			}
		}
		if !page.More {
			return nil
		}
		q.After = page.Next
		if page, err = s.cfg.Store.Log(r.Context(), a.room.ID, q); err != nil {
			if r.Context().Err() == nil {
				s.log.ErrorContext(r.Context(), "export a log", "room", a.room.ID, "error", err)
			}
			panic(http.ErrAbortHandler) // so that nobody takes the piece for the whole
		}
	}
}

// playbackAnswer is what it takes to show a room again from a moment on.
type playbackAnswer struct {
	Start time.Time `json:"start"` // of the whole log
	End   time.Time `json:"end"`
	// Keyframe is the room at the moment that was asked for; a page that goes on has none.
	Keyframe *keyframe   `json:"keyframe,omitempty"`
	Events   []entryView `json:"events"`
	Next     string      `json:"next"`
	More     bool        `json:"more"`
}

// keyframe is all that a room was at a moment.
type keyframe struct {
	At           time.Time          `json:"at"`
	State        []byte             `json:"state"` // a Yjs update that makes the document
	Files        []collab.File      `json:"files"`
	Participants []live.Participant `json:"participants"`
	Driver       *string            `json:"driver"`
	Run          *runFrame          `json:"run"`
}

// runFrame is the last run that had begun: its output until then are the first bytes of its
// transcript's streams.
type runFrame struct {
	Number        int               `json:"number"`
	Language      string            `json:"language"`
	Entry         string            `json:"entry"`
	Args          []string          `json:"args"`
	Mode          string            `json:"mode"`
	StartedBy     string            `json:"started_by"`
	StartedByName string            `json:"started_by_name"`
	CreatedAt     time.Time         `json:"created_at"`
	State         store.RunState    `json:"state"`
	Status        store.Status      `json:"status,omitempty"`
	Output        store.OutputSizes `json:"output"`
}

func (s *Server) getPlayback(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	q, err := s.logQuery(r, a.room.ID)
	if err != nil {
		return err
	}
	from, err := moment(v.Get("from"), "from")
	switch {
	case err != nil:
		return err
	case v.Has("from") && (v.Has("after") || v.Has("since")):
		return badField("from", "give from, or after to go on; not both")
	case v.Has("since"):
		return badField("since", "give from: it begins with what the room was at that moment")
	}
	if err := s.settle(r.Context(), a.room.ID); err != nil {
		return err
	}
	span, err := s.cfg.Store.LogSpan(r.Context(), a.room.ID)
	if err != nil {
		return err
	}
	done, err := s.hold(r, bundleBytes)
	if err != nil {
		return err
	}
	defer done()
	answer := playbackAnswer{Start: span.Start, End: span.End}
	if !v.Has("after") {
		if from.IsZero() {
			from = span.Start
		}
		at, err := s.cfg.Store.MomentAt(r.Context(), a.room.ID, from)
		if err != nil {
			return err
		}
		if answer.Keyframe, err = s.keyframe(r.Context(), a.room.ID, from, at); err != nil {
			return err
		}
		q.After = at.Position
	}
	q.EachUpdate = true
	page, err := s.cfg.Store.Log(r.Context(), a.room.ID, q)
	if err != nil {
		return err
	}
	answer.Events, answer.Next, answer.More = viewEntries(page.Entries, a.role), page.Next.String(), page.More
	return s.sendHeld(w, answer)
}

// keyframe works out what a room was.
func (s *Server) keyframe(ctx context.Context, id string, at time.Time, m store.Moment) (*keyframe, error) {
	k := &keyframe{At: at}
	past, err := s.cfg.Rooms.PastAtSeq(ctx, id, m.Update)
	if err != nil {
		return nil, err
	}
	if k.State, k.Files = past.State, past.Files; k.Files == nil {
		k.Files = []collab.File{}
	}
	people, err := s.cfg.Store.EventsUntil(ctx, id, m.Event, live.KindOpen, live.PeopleKinds)
	if err != nil {
		return nil, err
	}
	if k.Participants, k.Driver, err = live.PeopleOf(people); err != nil {
		return nil, err
	}
	if m.Run == 0 {
		return k, nil
	}
	run, err := s.findRun(ctx, id, m.Run)
	if err != nil {
		return nil, err
	}
	k.Run = &runFrame{
		Number: run.Number, Language: run.Language, Entry: run.Entry, Args: run.Args, Mode: run.Mode,
		StartedBy: run.StartedBy, StartedByName: run.StartedByName, CreatedAt: run.CreatedAt,
		State: store.RunQueued, Output: m.Sizes,
	}
	if run.StartedAt != nil && !run.StartedAt.After(at) {
		k.Run.State = store.RunRunning
	}
	if run.FinishedAt != nil && !run.FinishedAt.After(at) {
		k.Run.State, k.Run.Status = store.RunFinished, run.Status
	}
	return k, nil
}

// eraseParticipant takes a person's name out of all that is kept of a room.
func (s *Server) eraseParticipant(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost)
	if err != nil {
		return err
	}
	participant := r.PathValue("participant")
	if participant == "" || len(participant) > 64 || !utf8.ValidString(participant) {
		return badField("participant", "it is no participant's id: the log has them")
	}
	connected := false
	s.live.Peek(a.room.ID, func(room *live.Room) {
		all, _, _ := room.Participants()
		connected = slices.ContainsFunc(all, func(p live.Participant) bool { return p.ID == participant })
	})
	if connected {
		return newProblem(http.StatusConflict, "this participant is connected: their name can be erased when they have left")
	}
	if err := s.events.stored(r.Context()); err != nil {
		return err
	}
	// A run of theirs that goes on is told of again, and first, as it is stored again too.
	if run := s.cfg.Runner.Active(a.room.ID); run != nil {
		run.EraseName(participant, erasedName)
	}
	if err := s.cfg.Store.Erase(r.Context(), a.room.ID, participant, erasedName); err != nil {
		return err
	}
	s.live.Peek(a.room.ID, func(room *live.Room) { room.EraseName(participant, erasedName) })
	s.events.add(a.room.ID, live.Event{Kind: kindErased, Data: map[string]any{"participant": participant}})
	w.WriteHeader(http.StatusNoContent)
	return nil
}
