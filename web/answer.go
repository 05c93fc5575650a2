package web

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"corun/runner"
)

const (
	// maxAnswers is how much large answers hold together until they are read, and
	// maxAnswersAddress of one address. Those that wait for their turn may hold as much.
	maxAnswers        = 256 << 20
	maxAnswersAddress = 64 << 20
	// smallAnswer does not count: it is about what the kernel takes at once.
	smallAnswer = 64 << 10
	// bundleBytes is about what is held to write a bundle: a document, or what a run printed.
	bundleBytes = 32 << 20
	// answerPiece is how much is written at once, and textPiece how much of a string.
	answerPiece = 64 << 10
	textPiece   = 16 << 10
)

// send writes an answer for which size bytes are held, when there is room for them. The caller
// must read it at a certain pace.
func (s *Server) send(w http.ResponseWriter, r *http.Request, size int64, write func(io.Writer) error) error {
	done, err := s.hold(r, size)
	if err != nil {
		return err
	}
	defer done()
	_ = write(s.paced(w)) // the caller may have gone
	return nil
}

// sendHeld is sendJSON for who holds what it takes already: to wait for more with that in hand
// would be to wait for others who do the same.
func (s *Server) sendHeld(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = s.paced(w).Write(append(data, '\n')) // the caller may have gone
	return nil
}

// paced is a writer of which the caller must read at a certain pace from now on.
func (s *Server) paced(w http.ResponseWriter) *pacedWriter {
	return &pacedWriter{to: w, control: http.NewResponseController(w), budget: s.answers, began: time.Now()}
}

// hold counts an answer of about that size in, when it is its turn; done counts it out.
func (s *Server) hold(r *http.Request, size int64) (done func(), err error) {
	if size <= smallAnswer {
		return func() {}, nil
	}
	address, n := s.remoteIP(r), min(size, s.answers.share)
	if err := s.answers.wait(r.Context(), address, n); err != nil {
		return nil, err
	}
	return func() { s.answers.give(address, n) }, nil
}

// pacedWriter gives the caller more time with each piece.
type pacedWriter struct {
	to      io.Writer
	control *http.ResponseController
	budget  *budget
	began   time.Time
	written int64
}

func (p *pacedWriter) Write(data []byte) (n int, err error) {
	for len(data) > 0 && err == nil {
		_ = p.control.SetWriteDeadline(p.budget.pace(p.began, p.written)) // fails for what is no connection
		var m int
		m, err = p.to.Write(data[:min(len(data), answerPiece)])
		n, data, p.written = n+m, data[m:], p.written+int64(m)
	}
	return n, err
}

// sendJSON is writeJSON for what may be large.
func (s *Server) sendJSON(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return s.send(w, r, int64(len(data)), func(out io.Writer) error {
		w.Header().Set("Content-Type", "application/json")
		_, err := out.Write(append(data, '\n'))
		return err
	})
}

// sendExecuted writes what AnswerOf gives, but piece by piece: a megabyte of NULs is six of
// JSON.
func (s *Server) sendExecuted(w http.ResponseWriter, r *http.Request, result *runner.ExecuteResult, asBase64, batch bool) error {
	var size int64
	for _, stage := range append(result.Runs[:len(result.Runs):len(result.Runs)], stageOrNone(result.Compile)) {
		size += int64(len(stage.Stdout) + len(stage.Stderr) + len(stage.Output))
		for _, f := range stage.Artefacts {
			size += int64(len(f.Data))
		}
	}
	return s.send(w, r, size, func(out io.Writer) error {
		w.Header().Set("Content-Type", "application/json")
		return writeExecuted(out, result, asBase64, batch)
	})
}

func stageOrNone(r *runner.StageResult) runner.StageResult {
	if r == nil {
		return runner.StageResult{}
	}
	return *r
}

func writeExecuted(to io.Writer, r *runner.ExecuteResult, asBase64, batch bool) error {
	e := &executedWriter{Writer: bufio.NewWriterSize(to, answerPiece), asBase64: asBase64}
	e.print(`{"language":`, inJSON(r.Language), `,"version":`, inJSON(r.Version))
	first := stageOrNone(r.Compile)
	if r.Compile != nil {
		e.print(`,"compile":`)
		e.stage(first)
	}
	if len(r.Runs) > 0 {
		first = r.Runs[0]
	}
	e.print(`,"run":`)
	e.stage(first)
	if batch {
		e.print(`,"runs":[`)
		for i, run := range r.Runs {
			if i > 0 {
				e.print(",")
			}
			e.stage(run)
		}
		e.print("]")
	}
	e.print("}\n")
	return e.Flush() // the first error of all
}

// executedWriter writes the parts of an answer as encoding/json would.
type executedWriter struct {
	*bufio.Writer
	asBase64 bool
}

func (e *executedWriter) print(all ...string) {
	for _, s := range all {
		_, _ = e.WriteString(s) // Flush tells
	}
}

// noText is how a stage begins that printed nothing.
const noText = `{"stdout":"","stderr":"","output":"",`

func (e *executedWriter) stage(r runner.StageResult) {
	short := r
	short.Stdout, short.Stderr, short.Output, short.Artefacts = nil, nil, nil, nil
	rest := inJSON(stageAnswer(short, e.asBase64))[len(noText):]
	e.print(`{"stdout":`)
	e.text(r.Stdout, e.asBase64)
	e.print(`,"stderr":`)
	e.text(r.Stderr, e.asBase64)
	e.print(`,"output":`)
	e.text(r.Output, e.asBase64)
	e.print(",", rest[:len(rest)-1])
	for i, f := range r.Artefacts {
		e.print([]string{`,"files":[`, ","}[min(i, 1)], `{"name":`, inJSON(f.Path), `,"content":`)
		e.text(f.Data, true)
		e.print(`,"encoding":"base64"}`)
	}
	if len(r.Artefacts) > 0 {
		e.print("]")
	}
	e.print("}")
}

func (e *executedWriter) text(data []byte, asBase64 bool) {
	e.print(`"`)
	if asBase64 {
		enc := base64.NewEncoder(base64.StdEncoding, e)
		_, _ = enc.Write(data)
		_ = enc.Close()
		data = nil
	}
	for len(data) > 0 {
		n := min(len(data), textPiece)
		for back := 1; back < utf8.UTFMax && n < len(data); back++ { // not within a character
			if utf8.RuneStart(data[n-back]) {
				if !utf8.FullRune(data[n-back : n]) {
					n -= back
				}
				break
			}
		}
		quoted := inJSON(string(data[:n]))
		if _, err := e.WriteString(quoted[1 : len(quoted)-1]); err != nil {
			return
		}
		data = data[n:]
	}
	e.print(`"`)
}

// inJSON is for what can be encoded.
func inJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("web: " + err.Error())
	}
	return string(data)
}
