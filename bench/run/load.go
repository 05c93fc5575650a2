package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// loadGoal is the part of bare's runs a second that Corun should do.
	loadGoal = 0.9
	// loadTurns is how often bare and Corun take turns in one row.
	loadTurns = 10
)

// saturate runs programs several at a time, total by Corun in all, as many bare and, where
// it is installed, by bubblewrap, and prints how many of them a second. An answer that is
// lost, or another's, is an error.
func saturate(ctx context.Context, out io.Writer, h *host, s *server, total int) error {
	fmt.Fprintln(out, "\n| under load | bare | corun | corun ÷ bare | goal | met | bubblewrap ÷ bare |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	_, missing := exec.LookPath("bwrap")
	rows := []struct {
		language string
		parallel int
	}{{"python", 2}, {"python", 8}, {"javascript", 2}, {"javascript", 8}}
	each := max((total+len(rows)*loadTurns-1)/(len(rows)*loadTurns), 1)
	done := 0
	for _, row := range rows {
		p := programOf(row.language)
		dir, err := h.place(p, same, false)
		if err != nil {
			return err
		}
		bare := func(ctx context.Context, arg string) (string, error) {
			_, said, err := h.first(ctx, dir, p, arg, false)
			return said, err
		}
		ours := func(ctx context.Context, arg string) (string, error) { return s.execute(ctx, p, arg) }
		ways := []func(context.Context, string) (string, error){bare, ours}
		names := []string{"bare", "corun", "bubblewrap"}
		if missing == nil {
			ways = append(ways, func(ctx context.Context, arg string) (string, error) { return h.bubblewrapped(ctx, dir, p, arg) })
		}
		times := make([]time.Duration, len(ways))
		for turn := range loadTurns {
			for i, do := range ways {
				if err := s.quiet(ctx); err != nil {
					return err
				}
				took, err := inParallel(ctx, row.parallel, each, turn*each, do)
				if err != nil {
					return fmt.Errorf("%s, %d in parallel, %s: %w", p.title, row.parallel, names[i], err)
				}
				times[i] += took
			}
		}
		n := each * loadTurns
		done += n
		rate := func(i int) float64 { return float64(n) / times[i].Seconds() }
		other := "–"
		if missing == nil {
			other = fmt.Sprintf("%.2f", rate(2)/rate(0))
		}
		fmt.Fprintf(out, "| %s, %d in parallel | %.1f/s | %.1f/s | %.2f | ≥ %.1f | %s | %s |\n",
			p.title, row.parallel, rate(0), rate(1), rate(1)/rate(0), loadGoal, yes(rate(1) >= loadGoal*rate(0)), other)
	}
	_, err := fmt.Fprintf(out, "\n%d runs by Corun, each of which gave its own token; as many bare.\n", done)
	return err
}

// inParallel does something n times, several at once, each with an argument of its own
// that must be in what it says.
func inParallel(ctx context.Context, parallel, n, from int, do func(ctx context.Context, arg string) (string, error)) (time.Duration, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range parallel {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				arg := fmt.Sprintf("run-%d", int64(from)+i)
				said, err := do(ctx, arg)
				if err == nil && said != same+" "+arg+"\n" {
					err = fmt.Errorf("%s was answered with %q", arg, said)
				}
				if err != nil {
					fail(err)
				}
			}
		})
	}
	all.Wait()
	return time.Since(began), context.Cause(ctx)
}

// execute has the server run a program once, and gives what it printed.
func (s *server) execute(ctx context.Context, p *program, arg string) (string, error) {
	var answer struct {
		Run struct {
			Stdout  string `json:"stdout"`
			Stderr  string `json:"stderr"`
			Code    *int   `json:"code"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"run"`
	}
	err := s.post(ctx, "/api/v1/execute", map[string]any{
		"language": p.language, "version": "*", "args": []string{arg},
		"files": []map[string]string{{"name": p.path, "content": p.text(same)}},
	}, &answer)
	if err != nil {
		return "", err
	}
	if r := answer.Run; r.Code == nil || *r.Code != 0 {
		return "", fmt.Errorf("the run ended as %s: %s\n%s", r.Status, r.Message, r.Stderr)
	}
	return answer.Run.Stdout, nil
}
