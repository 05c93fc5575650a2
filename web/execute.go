package web

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"

	"corun/runner"
	"corun/store"
)

// Stateless runs, in the shape of Piston's API, version 2: its clients work with another
// base address. Where the two differ, Corun's words are used and docs/api.md says so.

const (
	// maxExecuteBody admits 4 MiB of sources in any encoding (hex doubles them, as JSON
	// does with line ends), and inputs besides.
	maxExecuteBody = 16 << 20
	// batchBytes is what all runs of a batch may print together, and leave together: the
	// answer is one.
	batchBytes = 16 << 20
	// maxSelector bounds a version selector.
	maxSelector = 200
	// answerWithin is how long a refusal may take to be read, and an answer to begin.
	answerWithin = 2 * time.Minute
)

// executeRoots are what the paths of these calls begin with: Corun's own, that of the
// public Piston, and that of one on a host of its own.
var executeRoots = []string{"/api/v1", "/api/v2/piston", "/api/v2"}

type executeRequest struct {
	Language       string          `json:"language"`
	Version        string          `json:"version"`
	Files          []executeFile   `json:"files"`
	Stdin          json.RawMessage `json:"stdin"`
	Args           []string        `json:"args"`
	OutputEncoding string          `json:"output_encoding"`

	// Milliseconds and bytes. Piston takes any JSON number, and so some clients send 3e3
	// or 3000.0.
	CompileTimeout     float64 `json:"compile_timeout"`
	RunTimeout         float64 `json:"run_timeout"`
	CompileCPUTime     float64 `json:"compile_cpu_time"`
	RunCPUTime         float64 `json:"run_cpu_time"`
	CompileMemoryLimit float64 `json:"compile_memory_limit"`
	RunMemoryLimit     float64 `json:"run_memory_limit"`
}

type executeFile struct {
	Name     string  `json:"name"`
	Content  *string `json:"content"`
	Encoding string  `json:"encoding"`
}

// Encodings of contents and of output.
const (
	encodingUTF8   = "utf8"
	encodingBase64 = "base64"
	encodingHex    = "hex"
)

// ExecuteAnswer is what became of a program, as the API says it.
type ExecuteAnswer struct {
	Language string       `json:"language"`
	Version  string       `json:"version"`
	Compile  *StageAnswer `json:"compile,omitempty"`
	// Run is the first of Runs. Of a program that did not compile it is Compile: clients
	// look at its code and stderr alone.
	Run  StageAnswer   `json:"run"`
	Runs []StageAnswer `json:"runs,omitzero"` // of a batch
}

// StageAnswer is what became of one stage.
type StageAnswer struct {
	Stdout   string       `json:"stdout"`
	Stderr   string       `json:"stderr"`
	Output   string       `json:"output"`
	Encoding string       `json:"encoding,omitempty"` // of these three, if not UTF-8
	Code     *int         `json:"code"`
	Signal   *string      `json:"signal"`
	Status   store.Status `json:"status"`
	Message  string       `json:"message"`
	CPUTime  int64        `json:"cpu_time"`  // ms
	WallTime int64        `json:"wall_time"` // ms
	Memory   int64        `json:"memory"`    // bytes, at most
	Files    []LeftFile   `json:"files,omitempty"`
}

// LeftFile is a file that a program left.
type LeftFile struct {
	Name     string `json:"name"`
	Content  []byte `json:"content"` // base64 in JSON
	Encoding string `json:"encoding"`
}

type runtimeAnswer struct {
	Language string   `json:"language"`
	Version  string   `json:"version"`
	Aliases  []string `json:"aliases"`
}

// withMessage writes a problem's detail as Piston does too, for its clients.
func (s *Server) withMessage(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		var p *problem
		if err == nil || !errors.As(err, &p) && s.translate(err) == nil {
			return err
		}
		if p == nil {
			p = s.translate(err)
		}
		told := *p
		told.Message = p.Detail
		return &told
	}
}

func (s *Server) getRuntimes(w http.ResponseWriter, _ *http.Request) error {
	all := []runtimeAnswer{}
	for _, l := range s.cfg.Runner.Languages() {
		all = append(all, runtimeAnswer{l.Name, l.Version, l.Aliases})
	}
	return writeJSON(w, http.StatusOK, all)
}

func (s *Server) execute(w http.ResponseWriter, r *http.Request) error {
	if err := s.mayCreate(r, "run programs"); err != nil {
		return err
	}
	ip := s.remoteIP(r)
	if err := s.cfg.Runner.Admits(ip); err != nil {
		return err
	}
	job, batch, asBase64, err := s.readExecute(w, r)
	if err != nil {
		return err
	}
	job.By, job.IP = "api", ip
	result, err := s.cfg.Runner.Execute(r.Context(), *job)
	// The server's own deadline began with the request, and a batch may take longer.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
		return fmt.Errorf("set deadline of answer: %w", err)
	}
	if err != nil {
		return inPistonsWords(err)
	}
	return s.sendExecuted(w, r, result, asBase64, batch)
}

// readExecute reads a request; nothing of it is kept but the job.
func (s *Server) readExecute(w http.ResponseWriter, r *http.Request) (job *runner.ExecuteRequest, batch, asBase64 bool, err error) {
	var req executeRequest
	// Piston's clients in JavaScript leave the type to fetch, which says text/plain. Pages
	// of other origins cannot use that: they were turned away above.
	if err := readBody(w, r, maxExecuteBody, &req, "application/json", "text/plain"); err != nil {
		return nil, false, false, err
	}
	job, batch, err = s.executeJob(req)
	return job, batch, req.OutputEncoding == encodingBase64, err
}

// executeJob checks what a request says that the runner does not, and works out what is
// to be run, and whether it is a batch.
func (s *Server) executeJob(req executeRequest) (_ *runner.ExecuteRequest, batch bool, err error) {
	lang, err := s.chooseRuntime(req.Language, req.Version)
	if err != nil {
		return nil, false, err
	}
	switch req.OutputEncoding {
	case "", encodingUTF8, encodingBase64:
	default:
		return nil, false, badField("output_encoding", "output_encoding is %q: use utf8 or base64", req.OutputEncoding)
	}
	job := &runner.ExecuteRequest{Language: lang.Name, Args: req.Args}
	if job.Files, job.Entry, err = sources(req.Files, lang); err != nil {
		return nil, false, err
	}
	if job.Stdin, batch, err = inputs(req.Stdin); err != nil {
		return nil, false, err
	}
	if job.Run, job.Compile, err = lowered(req); err != nil {
		return nil, false, err
	}
	if n := int64(len(job.Stdin)); n > 1 {
		job.Run.OutputBytes = min(lang.Limits.OutputBytes, batchBytes/n)
		job.Run.ArtefactBytes = min(runner.DefaultLimits().ArtefactBytes, batchBytes/n)
	}
	return job, batch, nil
}

// chooseRuntime finds the language, if the version that is here is one that is wanted.
func (s *Server) chooseRuntime(language, selector string) (lang runner.Language, err error) {
	if language == "" {
		return lang, badField("language", "language is missing: use one of %s", s.languageNames())
	}
	lang, ok := s.cfg.Runner.Language(language)
	if !ok {
		return lang, badField("language", "there is no language %.100q here: use one of %s", language, s.languageNames())
	}
	if selector = strings.TrimSpace(selector); selector == "" {
		return lang, badField("version", "version is missing: use %s, or * for any", lang.Version)
	}
	ok, err = selects(selector, lang.Version)
	if err != nil {
		return lang, badField("version", "%.100q selects no version (%v): use one such as %s, 3.x, >=3.9 or *", selector, err, lang.Version)
	}
	if !ok {
		return lang, badField("version", "there is no %s %.100s here: use %s, or * for any", lang.Name, selector, lang.Version)
	}
	return lang, nil
}

// selects tells whether a selector, as npm's semver has them, is met by a version, which
// may have more or fewer than the usual three numbers.
func selects(selector, version string) (bool, error) {
	if selector == version {
		return true, nil
	}
	if len(selector) > maxSelector {
		return false, fmt.Errorf("it is longer than %d bytes", maxSelector)
	}
	wanted, err := semver.NewConstraint(selector)
	if err != nil {
		return false, err
	}
	numbers := strings.SplitN(version, ".", 4)
	for i, n := range numbers {
		if n = strings.TrimLeft(n, "0"); n == "" {
			n = "0"
		}
		numbers[i] = n
	}
	usual, err := semver.NewVersion(strings.Join(numbers[:min(len(numbers), 3)], "."))
	if err != nil {
		return false, nil // a version that only its own name selects
	}
	return wanted.Check(usual), nil
}

// sources decodes the files and gives names to those without. The first is the entry, as
// in Piston, where files in base64 or hex are data; here they may be programs, if their
// names say so.
func sources(given []executeFile, lang runner.Language) (files []runner.File, entry string, err error) {
	if len(given) == 0 {
		return nil, "", badField("files", "there are no files: give at least the program, as [{\"content\": …}]")
	}
	isSource := func(name string) bool {
		return slices.Contains(lang.Extensions, strings.ToLower(path.Ext(name)))
	}
	limit := runner.DefaultLimits().SourceBytes
	var size int64
	for i, f := range given {
		content, err := decoded(f, i)
		if err != nil {
			return nil, "", err
		}
		if size += int64(len(content)); size > limit {
			return nil, "", newProblem(http.StatusRequestEntityTooLarge, "the files have more than %d MiB together, when decoded, which is the most: give less", limit>>20)
		}
		name, data := f.Name, f.Encoding == encodingBase64 || f.Encoding == encodingHex
		switch {
		case name == "" && i == 0:
			name = lang.Entry
		case name == "":
			name = fmt.Sprintf("file%d%s", i, lang.Extensions[0])
		}
		if entry == "" && (!data || isSource(name)) {
			entry = name
		}
		files = append(files, runner.File{Path: name, Content: content})
	}
	if entry == "" {
		entry = files[0].Path
	}
	for i, f := range files {
		if (f.Path == entry || isSource(f.Path)) && !utf8.ValidString(f.Content) {
			return nil, "", badField(fmt.Sprintf("files[%d].content", i), "%.100q is a program but not UTF-8 text: save it as UTF-8", f.Path)
		}
	}
	return files, entry, nil
}

func decoded(f executeFile, i int) (string, error) {
	if f.Content == nil {
		return "", badField(fmt.Sprintf("files[%d].content", i), "files[%d] has no content: give it as a string, which may be empty", i)
	}
	var content []byte
	var err error
	switch f.Encoding {
	case "", encodingUTF8:
		return *f.Content, nil
	case encodingBase64:
		// With padding or without, as encoders differ.
		content, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(*f.Content, "=\r\n"))
	case encodingHex:
		content, err = hex.DecodeString(*f.Content)
	default:
		return "", badField(fmt.Sprintf("files[%d].encoding", i), "the encoding of files[%d] is %.100q: use utf8, base64 or hex", i, f.Encoding)
	}
	if err != nil {
		return "", badField(fmt.Sprintf("files[%d].content", i), "the content of files[%d] is not %s (%v): encode it so, or leave encoding out", i, f.Encoding, err)
	}
	return string(content), nil
}

// inputs reads stdin: a string, or a list of strings, which makes a batch.
func inputs(raw json.RawMessage) (all []string, batch bool, err error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0, string(raw) == "null":
		return []string{""}, false, nil
	case raw[0] == '"':
		var one string
		err = json.Unmarshal(raw, &one)
		return []string{one}, false, err
	}
	// Pointers, as null would pass for an empty string.
	var list []*string
	if json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
		return nil, false, badField("stdin", "stdin must be a string, or a list of strings to run the program on each of them")
	}
	for _, one := range list {
		all = append(all, *one)
	}
	return all, true, nil
}

// lowered reads the limits. 0 and -1 leave the operator's, as they do in Piston.
func lowered(req executeRequest) (run, compile *runner.Lower, err error) {
	run, compile = new(runner.Lower), new(runner.Lower)
	for _, t := range []struct {
		field string
		ms    float64
		to    *time.Duration
	}{
		{"run_timeout", req.RunTimeout, &run.Wall},
		{"compile_timeout", req.CompileTimeout, &compile.Wall},
		{"run_cpu_time", req.RunCPUTime, &run.CPUTime},
		{"compile_cpu_time", req.CompileCPUTime, &compile.CPUTime},
	} {
		if err := checkLimit(t.field, t.ms, "milliseconds"); err != nil {
			return nil, nil, err
		}
		// What is less than a nanosecond, or more than a century, is out of range either way.
		*t.to = time.Duration(max(1, min(t.ms*float64(time.Millisecond), 1<<61)))
		if t.ms <= 0 {
			*t.to = 0
		}
	}
	for _, m := range []struct {
		field string
		bytes float64
		to    *int64
	}{
		{"run_memory_limit", req.RunMemoryLimit, &run.MemoryBytes},
		{"compile_memory_limit", req.CompileMemoryLimit, &compile.MemoryBytes},
	} {
		if err := checkLimit(m.field, m.bytes, "bytes"); err != nil {
			return nil, nil, err
		}
		if m.bytes > 0 {
			*m.to = int64(max(1, min(m.bytes, 1<<61)))
		}
	}
	return run, compile, nil
}

func checkLimit(field string, n float64, unit string) error {
	if n < 0 && n != -1 {
		return badField(field, "%s is %v: give a number of %s above 0, or -1 for the server's own limit", field, n, unit)
	}
	return nil
}

// pistonFields are Piston's names of what the runner calls otherwise.
var pistonFields = map[string]string{
	"limits.wall_time": "run_timeout", "limits.cpu_time": "run_cpu_time", "limits.memory": "run_memory_limit",
	"compile_limits.wall_time": "compile_timeout", "compile_limits.cpu_time": "compile_cpu_time", "compile_limits.memory": "compile_memory_limit",
}

// inPistonsWords names the field of a request that the runner refused as the request did.
func inPistonsWords(err error) error {
	var refused *runner.InputError
	if !errors.As(err, &refused) {
		return err
	}
	if name, ok := pistonFields[refused.Field]; ok {
		return badField(name, "%s: %s", name, refused.Detail)
	}
	return badField(refused.Field, "%s: %s", refused.Field, refused.Detail)
}

// AnswerOf says what became of a program. Output that is not UTF-8 has U+FFFD for what
// is not, unless base64 is asked for.
func AnswerOf(r *runner.ExecuteResult, asBase64 bool) ExecuteAnswer {
	a := ExecuteAnswer{Language: r.Language, Version: r.Version, Runs: []StageAnswer{}}
	for _, run := range r.Runs {
		a.Runs = append(a.Runs, stageAnswer(run, asBase64))
	}
	if r.Compile != nil {
		compile := stageAnswer(*r.Compile, asBase64)
		a.Compile, a.Run = &compile, compile
	}
	if len(a.Runs) > 0 {
		a.Run = a.Runs[0]
	}
	return a
}

func stageAnswer(r runner.StageResult, asBase64 bool) StageAnswer {
	a := StageAnswer{
		Stdout: string(r.Stdout), Stderr: string(r.Stderr), Output: string(r.Output),
		Code: r.Code, Signal: r.Signal, Status: r.Status, Message: r.Message,
		CPUTime: wholeMilliseconds(r.CPU), WallTime: wholeMilliseconds(r.Wall), Memory: r.MemoryPeak,
	}
	if asBase64 {
		a.Encoding = encodingBase64
		for _, text := range []*string{&a.Stdout, &a.Stderr, &a.Output} {
			*text = base64.StdEncoding.EncodeToString([]byte(*text))
		}
	}
	// What Corun ends, it kills: clients know that by the signal.
	if a.Code == nil && a.Signal == nil && killed[a.Status] {
		sigkill := "SIGKILL"
		a.Signal = &sigkill
	}
	for _, f := range r.Artefacts {
		a.Files = append(a.Files, LeftFile{f.Path, f.Data, encodingBase64})
	}
	return a
}

// killed are the verdicts over programs that Corun has ended.
var killed = map[store.Status]bool{
	store.StatusTimeout: true, store.StatusCPULimit: true, store.StatusMemoryLimit: true, store.StatusOutputLimit: true,
	store.StatusStopped: true, store.StatusLost: true,
}

// wholeMilliseconds rounds up: what ran took some time. Clients read integers.
func wholeMilliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
