package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"corun/runner/lang"
	"corun/runner/sandbox"
)

// Seccomp profiles of boxes, unless a language names another.
const (
	seccompRun     = "default"
	seccompCompile = "compile"
)

// least is how many boxes of each sort wait when nobody asks for any.
type least struct{ run, compile, terminal, pipes int }

// usualLeast keeps two runtimes for people in rooms, who press Run at any moment, and one
// for programs that ask for runs.
func usualLeast(run int) least { return least{run: run, compile: 2, terminal: 2, pipes: 1} }

// plainKind is the kind of box that serves most languages.
func (r *Runner) plainKind() kind {
	return kind{seccomp: seccompRun, limits: r.limits.Box, mode: stageRun}
}

// runKind is the kind of box in which a language's program is executed.
func (r *Runner) runKind(p *lang.Profile, limits sandbox.Limits) kind {
	return kind{seccomp: cmp.Or(p.Seccomp, seccompRun), limits: limits, mode: stageRun}
}

// compileKind is the kind of box in which it is compiled.
func (r *Runner) compileKind(_ *lang.Profile, limits sandbox.Limits) kind {
	return kind{seccomp: seccompCompile, limits: limits, mode: stageCompile}
}

// warmKind is the kind of box in which a language's runtime waits.
func (r *Runner) warmKind(p *lang.Profile, mode string) kind {
	return kind{seccomp: cmp.Or(p.Seccomp, seccompRun), limits: r.limits.forLanguage(p).Box, language: p.Name, mode: mode}
}

// takeWarm gives a box with a runtime that waits for this program, or nil.
func (r *Runner) takeWarm(j *job) *sandbox.Box {
	k := r.warmKind(j.profile, j.Mode)
	if !j.profile.FitsWarm(j.Entry) || k.limits != j.limits.Box {
		return nil
	}
	return r.pools.ready(k)
}

// keepReady begins to keep boxes for all languages that work here.
func (r *Runner) keepReady() {
	for _, p := range r.langs.All() {
		limits := r.limits.forLanguage(p)
		if p.Compile != nil {
			r.pools.keep(r.compileKind(p, limits.Compile.Box), r.least.compile)
		}
		r.pools.keep(r.runKind(p, limits.Box), min(1, r.least.run))
		if p.Warm != nil {
			terminal, pipes := r.least.terminal, r.least.pipes
			if p.Warm.Heavy {
				terminal = min(1, terminal)
			}
			r.pools.keep(r.warmKind(p, ModeTerminal), terminal)
			r.pools.keep(r.warmKind(p, ModePipes), pipes)
		}
	}
}

// buildBox makes a box of a kind, and starts its runtime.
func (r *Runner) buildBox(ctx context.Context, k kind) (*sandbox.Box, error) {
	box, err := r.launcher.Build(ctx, r.specOf(k))
	if err != nil {
		return nil, fmt.Errorf("build box: %w", err)
	}
	if k.language == "" {
		return box, nil
	}
	p, _ := r.langs.Find(k.language)
	if err := box.Warm(ctx, runtimeOf(p, k.mode)); err != nil {
		return nil, errors.Join(fmt.Errorf("start runtime of %s: %w", k.language, err), destroy(box))
	}
	return box, nil
}

// specOf is what a box of a kind is made from.
func (r *Runner) specOf(k kind) sandbox.Spec {
	return sandbox.Spec{
		Rootfs: r.image.Rootfs, Usr: r.image.Usr, Seccomp: r.filters[k.seccomp], Limits: k.limits, Hostname: boxHostname,
	}
}

// runtimeOf is the command that starts a language's runtime ahead of a program.
func runtimeOf(p *lang.Profile, mode string) sandbox.Command {
	env := maps.Clone(p.Env)
	if env == nil {
		env = make(map[string]string)
	}
	maps.Copy(env, p.Warm.Env)
	c := sandbox.Command{Args: p.WarmCommand(), Env: environment(env, mode), Dir: homeDir}
	if mode == ModeTerminal {
		c.Terminal = &sandbox.Size{Cols: defaultCols, Rows: defaultRows}
	}
	return c
}
