package runner

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"corun/runner/lang"
	"corun/store"
)

const (
	// maxFormatBytes is the largest file that is formatted; it is the formatter's input.
	maxFormatBytes = maxStdinBytes
	// formatWithin is how long a formatter may take: somebody waits for it in an editor.
	formatWithin = 10 * time.Second
	// formatRetry is when to try again while many files are being formatted.
	formatRetry = 5 * time.Second
	// formatterWords is how much of what a formatter says is told.
	formatterWords = 1 << 10
)

// FormatRequest asks for a file to be written as is usual in its language, which is the one
// whose extension it has.
type FormatRequest struct {
	Room, IP string // who asks, for the quotas
	Path     string
	Content  string
	trial    bool // whether there is such a program is only now found out
}

var errFormatBusy = &LimitError{Detail: "the server is busy with other files: try again in a moment", RetryAfter: formatRetry, Global: true}

// FormatError says why a file cannot be formatted as it is.
type FormatError struct {
	Detail string
	Line   int // where the formatter found it, from 1; 0 if it did not say
}

func (e *FormatError) Error() string { return e.Detail }

// NoFormatterError says that nothing here formats a file.
type NoFormatterError struct{ Path, Language string }

func (e *NoFormatterError) Error() string {
	if e.Language == "" {
		return fmt.Sprintf("%q belongs to no language here: nothing can format it", e.Path)
	}
	return fmt.Sprintf("there is no formatter for %s here", e.Language)
}

// SizeError says that a file is too large.
type SizeError struct{ Bytes, Most int64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the file has %d bytes: %d is the most that can be formatted", e.Bytes, e.Most)
}

// Format formats a file, in a box of its own that has nothing else in it. The error is
// *NoFormatterError, *FormatError, *SizeError, *LimitError, ErrClosed or ctx's, or the server's
// own. It counts as a run does, and as many are formatted at once as there are processors: a
// formatter waits for nothing else, and programs that people wait for share them.
func (r *Runner) Format(ctx context.Context, req FormatRequest) (formatted, language string, err error) {
	p := r.owner(req.Path)
	if p == nil {
		return "", "", &NoFormatterError{Path: req.Path}
	}
	if !r.formats[p.Name] {
		return "", "", &NoFormatterError{Path: req.Path, Language: p.Name}
	}
	if n := int64(len(req.Content)); n > maxFormatBytes {
		return "", "", &SizeError{n, maxFormatBytes}
	}
	if err := checkPath(req.Path); err != nil {
		return "", "", err
	}
	if err := r.quotas.countIn(req.Room, req.IP); err != nil {
		return "", "", err
	}
	select {
	case r.formatting <- struct{}{}:
		defer func() { <-r.formatting }()
	case <-time.After(formatWithin):
		return "", "", errFormatBusy
	case <-ctx.Done():
		return "", "", ctx.Err()
	}
	formatted, err = r.format(ctx, p, req)
	return formatted, p.Name, err
}

// owner is the language whose extension a file has, of those that work here.
func (r *Runner) owner(path string) *lang.Profile {
	for _, p := range r.langs.All() {
		if p.Owns(path) {
			return p
		}
	}
	return nil
}

// tryFormatter tells whether a language's formatter takes its example.
func (r *Runner) tryFormatter(ctx context.Context, p *lang.Profile) error {
	for _, f := range p.Template {
		if f.Path == p.Entry {
			_, err := r.format(ctx, p, FormatRequest{Path: f.Path, Content: f.Content, trial: true})
			return err
		}
	}
	return errors.New("there is no example to try it on")
}

// format runs a language's formatter.
func (r *Runner) format(ctx context.Context, p *lang.Profile, req FormatRequest) (string, error) {
	formatter := p.Formatter()
	j := &job{
		Request: Request{
			Room: req.Room, By: "format", IP: req.IP, Language: formatter.Name, Entry: req.Path, Mode: ModePipes, Stdin: &req.Content,
		},
		profile: formatter, limits: r.limits.forLanguage(formatter), trial: req.trial,
	}
	j.limits.ArtefactBytes = 0
	j.limits.WallPipes = min(j.limits.WallPipes, formatWithin)
	stages, err := r.execute(ctx, j)
	if err != nil {
		return "", err
	}
	return formattedBy(stages[len(stages)-1], req)
}

// formattedBy judges what a formatter has come to.
func formattedBy(end StageResult, req FormatRequest) (string, error) {
	switch end.Status {
	case store.StatusExited:
	case store.StatusFailed, store.StatusLost:
		return "", fmt.Errorf("format a file: %s", end.Message)
	case store.StatusTimeout:
		if end.CPU < formatWithin/2 {
			return "", errFormatBusy // others had the processors
		}
		return "", &FormatError{Detail: "the formatter takes too long for this file: " + durationWords(int64(formatWithin)) + " is the most"}
	case store.StatusCPULimit:
		return "", &FormatError{Detail: "the formatter takes too long for this file"}
	case store.StatusMemoryLimit:
		return "", &FormatError{Detail: "the formatter needs more memory for this file than it may have"}
	case store.StatusOutputLimit:
		return "", &FormatError{Detail: "the file would be too large when it is formatted"}
	default:
		return "", &FormatError{Detail: "the formatter broke off at this file, which may be nested too deeply"}
	}
	said := strings.TrimSpace(beginOf(end.Stderr, formatterWords))
	switch {
	case *end.Code != 0:
		return "", refusal(said, req.Path, *end.Code)
	case len(end.Stdout) == 0 && strings.TrimSpace(req.Content) != "":
		return "", refusal(said, req.Path, 0)
	case !utf8.Valid(end.Stdout):
		return "", &FormatError{Detail: "the formatter made something of the file that is no text"}
	}
	return string(end.Stdout), nil
}

var (
	// standardInput is what formatters call the file that they read.
	standardInput = regexp.MustCompile(`<(standard input|standard_input|stdin)>`)
	// The places in what they say, the surest first.
	formatterPlaces = []*regexp.Regexp{
		regexp.MustCompile(`<(?:standard input|standard_input|stdin)>:(\d+)`),
		regexp.MustCompile(`(?:^|[\s:])(\d+):\d+\b`),
		regexp.MustCompile(`\bline (\d+)`),
		regexp.MustCompile(`(?m)^(\d+):`),
	}
)

// refusal is what a formatter says of a file that it cannot read, in its words.
func refusal(said, path string, code int) error {
	e := &FormatError{}
	for _, place := range formatterPlaces {
		if m := place.FindStringSubmatch(said); m != nil {
			e.Line, _ = strconv.Atoi(m[1]) // 0 where it is out of all reason
			break
		}
	}
	if said == "" {
		said = fmt.Sprintf("it ended with code %d and said nothing", code)
	}
	e.Detail = "the formatter cannot read the file: " + standardInput.ReplaceAllLiteralString(said, path)
	return e
}
