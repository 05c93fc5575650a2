package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// RunState is how far a run has come.
type RunState string

const (
	RunQueued   RunState = "queued"
	RunRunning  RunState = "running"
	RunFinished RunState = "finished"
)

// Status is a finished run's verdict.
type Status string

const (
	StatusExited        Status = "exited"
	StatusSignaled      Status = "signaled"
	StatusCompileFailed Status = "compile_failed"
	StatusTimeout       Status = "timeout"
	StatusCPULimit      Status = "cpu_limit"
	StatusMemoryLimit   Status = "memory_limit"
	StatusOutputLimit   Status = "output_limit"
	StatusStopped       Status = "stopped"
	StatusLost          Status = "lost"   // the worker died
	StatusFailed        Status = "failed" // Corun's fault
)

// Stream is one of a program's outputs, numbered as on the wire.
type Stream uint8

const (
	Stdout Stream = 1
	Stderr Stream = 2
	PTY    Stream = 3
)

// String is the stream's name in the API.
func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	case PTY:
		return "pty"
	}
	return fmt.Sprintf("stream %d", uint8(s))
}

// Usage is what a run used, by the kernel's accounting.
type Usage struct {
	WallMS          float64 `json:"wall_ms"`
	CPUMS           float64 `json:"cpu_ms"`
	MemoryPeakBytes int64   `json:"memory_peak_bytes"`
	OutputBytes     int64   `json:"output_bytes"`
}

// OutputSizes counts the kept bytes of each stream.
type OutputSizes struct {
	Stdout int64 `json:"stdout"`
	Stderr int64 `json:"stderr"`
	PTY    int64 `json:"pty"`
}

// Run is one execution. Its JSON is what callers see, over HTTP and on /live.
type Run struct {
	Number   int      `json:"number"`
	Room     string   `json:"room"`
	Language string   `json:"language"`
	Entry    string   `json:"entry"` // path of the file that was run
	Args     []string `json:"args"`
	Mode     string   `json:"mode"` // terminal, pipes or tests
	// Stdin is where the program's input comes from: "given" with the run, or the "driver".
	Stdin string `json:"stdin,omitempty"`
	// Attempt is 2 where the first box died before it had shown or read anything.
	Attempt   int         `json:"attempt,omitempty"`
	State     RunState    `json:"state"`
	Stage     string      `json:"stage,omitempty"` // compile or run, while running
	Status    Status      `json:"status,omitempty"`
	ExitCode  *int        `json:"exit_code"`
	Signal    *string     `json:"signal"`
	Message   string      `json:"message,omitempty"`
	StartupMS float64     `json:"startup_ms"`
	Usage     Usage       `json:"usage"`
	Output    OutputSizes `json:"output"`
	// Compile is what the compile stage came to, of a run that had one.
	Compile *Compile `json:"compile,omitempty"`
	// Artefacts are the files that the program left to be kept.
	Artefacts []ArtefactInfo `json:"artefacts,omitempty"`
	// Tests are what the cases of a run of them have come to.
	Tests         *TestSummary `json:"tests,omitempty"`
	StartedBy     string       `json:"started_by"`
	StartedByName string       `json:"started_by_name"`
	CreatedAt     time.Time    `json:"created_at"`
	StartedAt     *time.Time   `json:"started_at"`
	FinishedAt    *time.Time   `json:"finished_at"`
	StateVector   []byte       `json:"state_vector"` // of the snapshot that was run
	DocSeq        int64        `json:"-"`            // last update in that snapshot
}

// Compile is the first of two stages.
type Compile struct {
	Status Status `json:"status"`
	Usage  Usage  `json:"usage"`
	Cached bool   `json:"cached"` // the same files were compiled before
}

// ArtefactInfo tells of a file that a program left.
type ArtefactInfo struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// Artefact is such a file.
type Artefact struct {
	Path string `db:"path"`
	Data []byte `db:"data"`
}

// AddArtefacts stores the files that a run left, all or none. A run whose room was deleted
// meanwhile is ErrNotFound.
func (s *Store) AddArtefacts(ctx context.Context, room string, number int, files []Artefact) error {
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		var found bool
		if err := tx.GetContext(ctx, &found, `SELECT EXISTS (SELECT 1 FROM runs WHERE room_id = ? AND number = ?)`, room, number); err != nil {
			return fmt.Errorf("find run: %w", err)
		}
		if !found {
			return fmt.Errorf("run %d of room %s: %w", number, room, ErrNotFound)
		}
		for _, f := range files {
			data := f.Data
			if data == nil {
				data = []byte{} // an empty file is one
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO run_artefacts (room_id, number, path, data) VALUES (?, ?, ?, ?)`, room, number, f.Path, data); err != nil {
				return fmt.Errorf("store artefact %q of run %d: %w", f.Path, number, err)
			}
		}
		return nil
	})
}

// Artefact gives a file that a run left, or ErrNotFound.
func (s *Store) Artefact(ctx context.Context, room string, number int, path string) ([]byte, error) {
	var data []byte
	err := s.read.GetContext(ctx, &data, `SELECT data FROM run_artefacts WHERE room_id = ? AND number = ? AND path = ?`, room, number, path)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("artefact %q of run %d: %w", path, number, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read artefact: %w", err)
	}
	return data, nil
}

// CreateRun stores a new run and sets its number, the next in its room.
func (s *Store) CreateRun(ctx context.Context, run *Run) error {
	if run.Args == nil {
		run.Args = []string{} // an array for callers, never null
	}
	return s.lightTx(ctx, func(tx *sqlx.Tx) error {
		var last int
		if err := tx.GetContext(ctx, &last, `SELECT COALESCE(MAX(number), 0) FROM runs WHERE room_id = ?`, run.Room); err != nil {
			return fmt.Errorf("number run: %w", err)
		}
		run.Number = last + 1
		record, err := json.Marshal(run)
		if err != nil {
			return fmt.Errorf("encode run: %w", err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO runs (room_id, number, state, doc_seq, created_at, record) VALUES (?, ?, ?, ?, ?, ?)`,
			run.Room, run.Number, run.State, run.DocSeq, micros(run.CreatedAt), string(record))
		if err != nil {
			return fmt.Errorf("store run: %w", err)
		}
		return nil
	})
}

// UpdateRun stores a run's new state. One whose room was deleted meanwhile is
// ErrNotFound.
func (s *Store) UpdateRun(ctx context.Context, run *Run) error {
	return updateRun(ctx, s.write, run)
}

// StartRun is UpdateRun for a run that goes on: it survives the death of the process, see
// lightTx.
func (s *Store) StartRun(ctx context.Context, run *Run) error {
	return s.lightTx(ctx, func(tx *sqlx.Tx) error { return updateRun(ctx, tx, run) })
}

func updateRun(ctx context.Context, db sqlx.ExecerContext, run *Run) error {
	record, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	// The name stays as it is stored: it may have been erased since the run was read, see Erase.
	res, err := db.ExecContext(ctx, `UPDATE runs SET state = ?, record = json_set(?, '$.started_by_name', json_extract(record, '$.started_by_name'))
		WHERE room_id = ? AND number = ?`, run.State, string(record), run.Room, run.Number)
	if err != nil {
		return fmt.Errorf("store run %d of room %s: %w", run.Number, run.Room, err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fmt.Errorf("run %d of room %s: %w", run.Number, run.Room, ErrNotFound)
	}
	return nil
}

type runRow struct {
	DocSeq int64  `db:"doc_seq"`
	Record []byte `db:"record"`
}

func (r runRow) run() (*Run, error) {
	run := new(Run)
	if err := json.Unmarshal(r.Record, run); err != nil {
		return nil, fmt.Errorf("decode stored run: %w", err)
	}
	run.DocSeq = r.DocSeq
	return run, nil
}

// Run gives a room's run by number, or ErrNotFound.
func (s *Store) Run(ctx context.Context, room string, number int) (*Run, error) {
	var row runRow
	err := s.read.GetContext(ctx, &row, `SELECT doc_seq, record FROM runs WHERE room_id = ? AND number = ?`, room, number)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("run %d of room %s: %w", number, room, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	return row.run()
}

// Runs gives a room's last runs, the newest first.
func (s *Store) Runs(ctx context.Context, room string, limit int) ([]Run, error) {
	return s.selectRuns(ctx, `SELECT doc_seq, record FROM runs WHERE room_id = ? ORDER BY number DESC LIMIT ?`, room, limit)
}

// EndedRuns gives a room's next runs after one that have ended, in order.
func (s *Store) EndedRuns(ctx context.Context, room string, after, limit int) ([]Run, error) {
	return s.selectRuns(ctx, `SELECT doc_seq, record FROM runs WHERE room_id = ? AND number > ? AND state = 'finished' ORDER BY number LIMIT ?`, room, after, limit)
}

func (s *Store) selectRuns(ctx context.Context, query string, args ...any) ([]Run, error) {
	var rows []runRow
	if err := s.read.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	runs := make([]Run, len(rows))
	for i, row := range rows {
		run, err := row.run()
		if err != nil {
			return nil, err
		}
		runs[i] = *run
	}
	return runs, nil
}

// MarkLostRuns ends the runs that were active when the last process died. It is
// called once, before any run starts.
func (s *Store) MarkLostRuns(ctx context.Context) (int, error) {
	runs, err := s.selectRuns(ctx, `SELECT doc_seq, record FROM runs WHERE state <> 'finished'`)
	if err != nil {
		return 0, err
	}
	for i := range runs {
		run := &runs[i]
		now := s.now().UTC()
		run.State, run.Stage, run.Status, run.FinishedAt = RunFinished, "", StatusLost, &now
		run.Message = "The server ended while the program ran; its output until then is kept."
		chunks, err := s.OutputChunks(ctx, run.Room, run.Number)
		if err != nil {
			return i, err
		}
		run.Output, run.Usage.OutputBytes = OutputSizes{}, 0
		count := func(chunks []Chunk) {
			for _, c := range chunks {
				run.Output.Add(c.Stream, len(c.Data))
				run.Usage.OutputBytes += int64(len(c.Data))
			}
		}
		count(chunks)
		seen, err := s.recoverTail(ctx, run.Room, run.Number, len(chunks), run.Output)
		if err != nil {
			return i, err
		}
		count(seen)
		if err := s.loseRun(ctx, run); err != nil {
			return i, err
		}
	}
	return len(runs), s.dropTails()
}

// loseRun stores a lost run's verdict, and its end in the room's log: nobody else will write
// that, and to whoever reads the log the run would go on.
func (s *Store) loseRun(ctx context.Context, run *Run) error {
	fields := map[string]any{
		"run": run.Number, "event": "exited", "status": run.Status, "message": run.Message,
		"exit_code": run.ExitCode, "signal": run.Signal, "usage": run.Usage,
	}
	if run.Tests != nil {
		fields["tests"] = run.Tests
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encode the end of run %d: %w", run.Number, err)
	}
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		if err := updateRun(ctx, tx, run); err != nil {
			return err
		}
		return appendEvents(ctx, tx, []Event{{RoomID: run.Room, Kind: "run", At: *run.FinishedAt, Data: data}})
	})
}

// Add counts n more bytes of a stream.
func (o *OutputSizes) Add(stream Stream, n int) {
	switch stream {
	case Stdout:
		o.Stdout += int64(n)
	case Stderr:
		o.Stderr += int64(n)
	case PTY:
		o.PTY += int64(n)
	}
}
