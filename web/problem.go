package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// problem is an RFC 9457 answer. As an error it carries its status up to the
// one place that writes it.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// Field names the member of the request that was wrong, if one was.
	Field string `json:"field,omitempty"`
	// Line is where in a file something was wrong, from 1, if that is known.
	Line int `json:"line,omitempty"`
	// Message is Detail once more, for clients of Piston.
	Message string `json:"message,omitempty"`

	retryAfter time.Duration
	closes     bool // the connection, on which more may be coming
}

func (p *problem) Error() string { return p.Detail }

func newProblem(status int, format string, args ...any) *problem {
	return &problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}

func badField(field, format string, args ...any) *problem {
	p := newProblem(http.StatusBadRequest, format, args...)
	p.Field = field
	return p
}

// handler is an HTTP handler that may fail; the server writes the failure.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Server) api(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		r, done := s.withBody(w, r)
		defer done()
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// fail writes err as a problem. What is not meant for the caller is logged and
// shown as internal.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = s.translate(err)
	}
	if p == nil {
		if r.Context().Err() != nil {
			return // the caller has gone; there is nobody to tell
		}
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		p = newProblem(http.StatusInternalServerError, "something went wrong on the server; it is in the server's log")
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p *problem) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int((p.retryAfter+time.Second-1)/time.Second))))
	}
	if p.closes {
		w.Header().Set("Connection", "close")
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may have gone
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the caller may have gone
	return nil
}

// readJSON decodes a request body of at most limit bytes into v, strictly. An
// absent body leaves v as it is.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	return readBody(w, r, limit, v, "application/json")
}

// readBody is readJSON for a body that may be announced as one of several types.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, v any, types ...string) error {
	// Decoded while it arrives, so that there are not two of it. The decoder would change
	// quietly what is not UTF-8.
	body := bufio.NewReader(transform.NewReader(http.MaxBytesReader(w, r.Body, limit), encoding.UTF8Validator))
	err := skipSpace(body)
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return explainBody(err, limit)
	}
	// A page of another origin can send text/plain without asking first; JSON
	// makes the browser ask, and Corun never allows it.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || !slices.Contains(types, kind) {
		return newProblem(http.StatusUnsupportedMediaType, "the body's Content-Type is %q: send application/json", r.Header.Get("Content-Type"))
	}
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return explainBody(err, limit)
	}
	switch _, err := dec.Token(); {
	case err == io.EOF:
		return nil
	case err == nil || errors.As(err, new(*json.SyntaxError)):
		return newProblem(http.StatusBadRequest, "the body goes on after its JSON value: send one object")
	default:
		return explainBody(err, limit)
	}
}

// skipSpace goes to the first byte that means something.
func skipSpace(body *bufio.Reader) error {
	for {
		c, err := body.ReadByte()
		if err != nil {
			return err
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			return body.UnreadByte()
		}
	}
}

// explainBody says what is wrong with a body of at most limit bytes.
func explainBody(err error, limit int64) error {
	var p *problem
	var tooLarge *http.MaxBytesError
	var broken net.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "the body is larger than the %d bytes allowed here", limit)
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return newProblem(http.StatusBadRequest, "the body is not valid UTF-8")
	case errors.As(err, &broken):
		return newProblem(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	field, detail := explainJSON(err)
	return badField(field, "%s", detail)
}

// explainJSON says in JSON's words what encoding/json found wrong, and in which
// field, if it was one.
func explainJSON(err error) (field, detail string) {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return "", fmt.Sprintf("this is not valid JSON: %v at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind) && kind.Field == "":
		return "", fmt.Sprintf("this is a JSON %s: send an object", kind.Value)
	case errors.As(err, &kind):
		// The last part: the others are our own structs.
		field = kind.Field[strings.LastIndexByte(kind.Field, '.')+1:]
		return field, fmt.Sprintf("%s is a JSON %s: give %s", field, kind.Value, jsonName(kind.Type.Kind().String()))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "", "this is not valid JSON: it ends in the middle"
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		return name, fmt.Sprintf("there is no field %q here; see /api/v1/openapi.yaml for those there are", name)
	}
	return "", fmt.Sprintf("this is not what this call takes: %v", err)
}

// jsonName says a Go kind in JSON's words.
func jsonName(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "bool":
		return "true or false"
	case kind == "slice":
		return "a list"
	case kind == "struct", kind == "map":
		return "an object"
	}
	return "a " + kind
}
