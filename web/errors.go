package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"corun/collab"
	"corun/collab/live"
	"corun/runner"
	"corun/store"
)

// errRunsDisabled is told to whoever runs in a room whose host switched it off.
var errRunsDisabled = newProblem(http.StatusConflict, "the host switched runs off in this room")

// errNoTests is told to whoever runs tests where there are none.
var errNoTests = newProblem(http.StatusConflict, "this room has no tests: a host gives it some with PUT /api/v1/rooms/{id}/tests")

// errNotSaved is told to whoever changes something while nothing can be stored.
func errNotSaved() *problem {
	p := newProblem(http.StatusServiceUnavailable, "the server cannot save anything for the moment, as on a full disk: try again later")
	p.retryAfter = 5 * time.Second
	return p
}

// translate turns the typed errors of the packages below into what the caller
// is told, or gives nil for one that is not for the caller.
func (s *Server) translate(err error) *problem {
	var limit *runner.LimitError
	var input *runner.InputError
	var tests *store.TestsError
	var files *collab.FilesError
	var refused *live.Error
	var gone *store.HistoryGoneError
	var format *runner.FormatError
	var noFormatter *runner.NoFormatterError
	var size *runner.SizeError
	switch {
	case errors.As(err, &limit):
		status := http.StatusTooManyRequests
		if limit.Global {
			status = http.StatusServiceUnavailable
		}
		p := newProblem(status, "%s", limit.Detail)
		p.retryAfter = limit.RetryAfter
		return p
	case errors.As(err, &input):
		return badField(input.Field, "%s", input.Detail)
	case errors.As(err, &tests):
		return badField(tests.Field, "%s", tests.Detail)
	case errors.As(err, &files):
		return badField("files", "%s", files.Error())
	case errors.As(err, &refused):
		return newProblem(http.StatusBadRequest, "%s", refused.Message)
	case errors.As(err, &format):
		p := newProblem(http.StatusUnprocessableEntity, "%s", format.Detail)
		p.Field, p.Line = "file", format.Line
		return p
	case errors.As(err, &noFormatter):
		p := newProblem(http.StatusConflict, "%s: GET /api/v1/languages says which languages have one", noFormatter.Error())
		p.Field = "file"
		return p
	case errors.As(err, &size):
		p := newProblem(http.StatusRequestEntityTooLarge, "%s", size.Error())
		p.Field = "file"
		return p
	case errors.Is(err, runner.ErrRunActive):
		return newProblem(http.StatusConflict, "a run is active in this room: stop it or wait until it has ended")
	case errors.Is(err, runner.ErrClosed), errors.Is(err, collab.ErrClosed):
		p := newProblem(http.StatusServiceUnavailable, "the server is going away")
		p.retryAfter = 5 * time.Second
		return p
	case errors.Is(err, collab.ErrUnavailable):
		p := newProblem(http.StatusServiceUnavailable, "%v", collab.ErrUnavailable)
		p.retryAfter = 5 * time.Second
		return p
	case errors.Is(err, collab.ErrRoomFull), errors.Is(err, live.ErrRoomFull):
		p := newProblem(http.StatusServiceUnavailable, "%v", err)
		p.retryAfter = 30 * time.Second
		return p
	case errors.As(err, &gone):
		return newProblem(http.StatusGone, "%s%s: ask for a later moment", gone, s.howLongKept())
	case errors.Is(err, store.ErrNotFound):
		return errNoRoom
	case store.IsDiskError(err):
		s.log.Error("the store cannot write", "error", err) // whoever hosts this has to know
		return errNotSaved()
	}
	return nil
}

// howLongKept says for how long this server keeps history, if not forever.
func (s *Server) howLongKept() string {
	keep := s.cfg.Rooms.KeepsHistory()
	const day = 24 * time.Hour
	switch {
	case keep == 0:
		return ""
	case keep%day == 0:
		return fmt.Sprintf(" (this server keeps it for %d days)", keep/day)
	}
	return fmt.Sprintf(" (this server keeps it for %v)", keep)
}

// problemCode is the code of an error message on /live for a problem.
func problemCode(err error, p *problem) string {
	switch {
	case errors.Is(err, runner.ErrRunActive):
		return "run_active"
	case p == errRunsDisabled:
		return "runs_disabled"
	case p == errNoTests:
		return "no_tests"
	case p.Status == http.StatusTooManyRequests, p.Status == http.StatusServiceUnavailable:
		return "try_later"
	case p.Status == http.StatusNotFound:
		return live.CodeNotFound
	}
	return "bad_request"
}
