package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"corun/store"
)

const (
	// maxInputs bounds how many inputs one request may have its program run on.
	maxInputs = 100
	// inputsAtOnce is how many of them run at the same time: a request with many is no
	// reason for others to wait long.
	inputsAtOnce = 2
)

// ExecuteRequest asks for a program to be compiled once and run once for each of several
// inputs, outside of any room. Nothing of it is kept.
type ExecuteRequest struct {
	Language string // name or alias
	Entry    string // as a Request's
	Files    []File
	Args     []string
	// Stdin are the inputs, whole. There must be at least one, which may be empty.
	Stdin []string
	// By and IP say who asks, for the quotas.
	By, IP string
	// Compile and Run are limits that are lowered, of the stages.
	Compile, Run *Lower
}

// ExecuteResult is what became of it.
type ExecuteResult struct {
	Language, Version string
	Compile           *StageResult  // nil where there is no compile stage
	Runs              []StageResult // in the order of the inputs; none if nothing could be run
}

// StageResult is what became of one stage.
type StageResult struct {
	Stdout, Stderr []byte
	Output         []byte  // both, as they came; not to be changed
	Code           *int    // nil if it did not end by itself
	Signal         *string // that ended it
	Status         store.Status
	Message        string
	CPU, Wall      time.Duration
	MemoryPeak     int64 // bytes
	Artefacts      []Artefact

	stage string
}

// Admits says whether an address may start anything now, before what it wants to start is read:
// if not, with the *LimitError that Execute and Start would give.
func (r *Runner) Admits(ip string) error { return r.quotas.admits(ip) }

// Execute compiles and runs a program, and returns when all is over. The error is
// *InputError, *LimitError, ErrClosed or ctx's; whatever becomes of the program is a
// result.
func (r *Runner) Execute(ctx context.Context, req ExecuteRequest) (*ExecuteResult, error) {
	if n := len(req.Stdin); n == 0 || n > maxInputs {
		return nil, &InputError{"stdin", fmt.Sprintf("there are %d inputs: give from 1 to %d", n, maxInputs)}
	}
	jobs := make([]*job, len(req.Stdin))
	for i := range req.Stdin {
		var err error
		jobs[i], err = prepare(Request{
			Language: req.Language, Entry: req.Entry, Files: req.Files, Args: req.Args, Mode: ModePipes, By: req.By, IP: req.IP,
			Stdin: &req.Stdin[i], Limits: req.Run, CompileLimits: req.Compile,
		}, r.langs, r.limits)
		if err != nil {
			return nil, err
		}
	}
	if err := r.quotas.count(req.IP, len(jobs)); err != nil {
		return nil, err
	}
	language, _ := r.Language(jobs[0].profile.Name)
	result := &ExecuteResult{Language: language.Name, Version: language.Version}
	// The first compiles for all.
	first, err := r.execute(ctx, jobs[0])
	if err != nil {
		return nil, err
	}
	for _, stage := range first {
		if stage.stage == stageCompile {
			result.Compile = &stage
			continue
		}
		result.Runs = make([]StageResult, len(jobs))
		result.Runs[0] = stage
	}
	if len(result.Runs) < 2 {
		return result, nil
	}
	return result, r.executeRest(ctx, jobs, result.Runs)
}

// executeRest runs the program that the first job has on the inputs of the others.
func (r *Runner) executeRest(ctx context.Context, jobs []*job, results []StageResult) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	next := make(chan int)
	for range min(inputsAtOnce, len(jobs)-1) {
		all.Go(func() {
			for i := range next {
				jobs[i].built = jobs[0].built
				stages, err := r.execute(ctx, jobs[i])
				if err != nil {
					cancel(err)
					continue
				}
				results[i] = stages[len(stages)-1]
			}
		})
	}
	for i := 1; i < len(jobs) && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// execute sees one job through and gives the results of its stages.
func (r *Runner) execute(ctx context.Context, j *job) ([]StageResult, error) {
	run := newRun(r, j, time.Now())
	if err := r.see(ctx, run); err != nil {
		return nil, err
	}
	return run.stages(), ctx.Err()
}

// see lets a run that belongs to no room take its turn, and returns when what became of it
// is known: what the kernel still has to take away of its box is no reason to wait. It is
// stopped when ctx ends.
func (r *Runner) see(ctx context.Context, run *Run) error {
	if err := r.enroll(); err != nil {
		return err
	}
	place, err := r.enterQueue(run)
	if err != nil {
		r.active.Done()
		return err
	}
	run.stored <- nil // it is not
	go run.supervise(place)
	select {
	case <-run.announced:
	case <-ctx.Done():
		_ = run.Stop()
		<-run.announced
	}
	return nil
}

// keepResult notes what became of a stage.
func (run *Run) keepResult(res StageResult) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.results = append(run.results, res)
}

// stages gives what became of them.
func (run *Run) stages() []StageResult {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.results
}

// stageResult is what became of the current stage.
func (s *supervisor) stageResult(v verdict) StageResult {
	res := StageResult{
		stage: s.current.name,
		Code:  v.exitCode, Signal: v.signal, Status: v.status, Message: v.message,
		CPU: duration(s.usage.CPUMS), Wall: duration(s.usage.WallMS), MemoryPeak: s.usage.MemoryPeakBytes, Artefacts: s.artefacts,
	}
	chunks, _, _ := s.run.output.since(s.current.printed)
	// Made at once, and once where it is all of one stream: there may be megabytes.
	var stdout, stderr int
	for _, c := range chunks {
		switch c.Stream {
		case store.Stdout:
			stdout += len(c.Data)
		case store.Stderr:
			stderr += len(c.Data)
		}
	}
	res.Stdout, res.Stderr = make([]byte, 0, stdout), make([]byte, 0, stderr)
	mixed := stdout > 0 && stderr > 0
	if mixed {
		res.Output = make([]byte, 0, stdout+stderr)
	}
	for _, c := range chunks {
		switch c.Stream {
		case store.Stdout:
			res.Stdout = append(res.Stdout, c.Data...)
		case store.Stderr:
			res.Stderr = append(res.Stderr, c.Data...)
		}
		if mixed {
			res.Output = append(res.Output, c.Data...)
		}
	}
	switch {
	case mixed:
	case stderr > 0:
		res.Output = res.Stderr
	default:
		res.Output = res.Stdout
	}
	return res
}

func duration(milliseconds float64) time.Duration {
	return time.Duration(milliseconds * float64(time.Millisecond))
}
