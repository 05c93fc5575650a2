package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"corun/runner/lang"
	"corun/store"
)

// Trial is what came of trying a language.
type Trial struct {
	Language, Version string
	// Failure is why it cannot be used, nil where it can.
	Failure error
	// RuntimeFailure is why its runtime cannot be started ahead, nil where that works, or
	// where it has none. RuntimeTime is how long the start took, and RuntimeBytes what it
	// then has of memory.
	RuntimeFailure error
	RuntimeTime    time.Duration
	RuntimeBytes   int64
}

// Try tries all languages, also those that were found not to work here: their example is
// run, and their runtime started ahead of nothing.
func (r *Runner) Try(ctx context.Context) []Trial {
	all := make([]Trial, 0, len(r.tried))
	for _, p := range r.tried {
		t := Trial{Language: p.Name, Failure: r.failures[p.Name]}
		if t.Failure == nil {
			l, _ := r.Language(p.Name)
			t.Version = l.Version
			t.Failure = r.tryExample(ctx, p)
		}
		if t.Failure == nil && p.Warm != nil {
			r.tryRuntime(ctx, p, &t)
		}
		all = append(all, t)
	}
	return all
}

// tryExample runs a language's example.
func (r *Runner) tryExample(ctx context.Context, p *lang.Profile) error {
	req := ExecuteRequest{Language: p.Name, Files: r.Template(p.Name), Stdin: []string{p.Input}}
	result, err := r.Execute(ctx, req)
	if err != nil {
		return err
	}
	if c := result.Compile; c != nil && c.Status != store.StatusExited {
		return fmt.Errorf("its example cannot be compiled: %s %.300q", c.Message, c.Output)
	}
	if len(result.Runs) == 0 {
		return errors.New("its example was not run")
	}
	if run := result.Runs[0]; run.Status != store.StatusExited || string(run.Stdout) != p.Output {
		return fmt.Errorf("its example does not print what it should: %s %.300q %.300q", run.Message, run.Stdout, run.Stderr)
	}
	return nil
}

func (r *Runner) tryRuntime(ctx context.Context, p *lang.Profile, t *Trial) {
	ctx, cancel := context.WithTimeout(ctx, warmWithin)
	defer cancel()
	began := time.Now()
	box, err := r.buildBox(ctx, r.warmKind(p, ModePipes))
	if err != nil {
		t.RuntimeFailure = err
		return
	}
	t.RuntimeTime = time.Since(began)
	used, err := box.Usage()
	t.RuntimeBytes = used.MemoryPeak
	t.RuntimeFailure = errors.Join(err, destroy(box))
}
