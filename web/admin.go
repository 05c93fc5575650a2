package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"corun/runner"
)

// Admin is the handler of the operations listener: health with detail, metrics
// and profiles. It has no access control of its own, so it belongs on loopback.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", s.api(s.healthz))
	mux.Handle("GET /readyz", s.api(s.readyz(true)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// healthz says that the process is up.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, "ok")
	return nil
}

// readyz says whether the store answers and a warm box waits; with detail it
// says why not.
func (s *Server) readyz(detail bool) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		why := ""
		if err := s.cfg.Store.Ping(ctx); err != nil {
			why = "the store does not answer: " + err.Error()
		} else if ok, reason := s.cfg.Runner.Ready(); !ok {
			why = reason
		}
		if why != "" {
			p := newProblem(http.StatusServiceUnavailable, "not ready")
			if detail {
				p.Detail = why
			}
			p.retryAfter = time.Second
			return p
		}
		return s.healthz(w, r)
	}
}

func (s *Server) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "corun", Name: name, Help: help}, value))
	}
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge("participants", "People connected to rooms.", func() float64 { _, n := s.live.Rooms(); return float64(n) })
	gauge("rooms_loaded", "Rooms whose document is in memory.", func() float64 { return float64(s.cfg.Rooms.Loaded()) })
	reg.MustRegister(runsCollector{s.cfg.Runner})
	return reg
}

// runsCollector reads the runner's counts once for each scrape: to look for what boxes
// have left takes a walk through the machine's processes.
type runsCollector struct{ runner *runner.Runner }

var (
	runsActive = prometheus.NewDesc("corun_runs_active", "Runs whose program is executing.", nil, nil)
	runsQueued = prometheus.NewDesc("corun_runs_queued", "Runs waiting for a box.", nil, nil)
	poolReady  = prometheus.NewDesc("corun_pool_ready", "Boxes built ahead and waiting.", nil, nil)
	poolCold   = prometheus.NewDesc("corun_pool_cold_starts", "Boxes built while somebody waited, since the start.", nil, nil)
	compiles   = prometheus.NewDesc("corun_compiles_total", "Runs that had something to compile, by whether the same was compiled before.", []string{"cached"}, nil)
	compiled   = prometheus.NewDesc("corun_compile_cache_bytes", "Programs that were compiled and are kept.", nil, nil)
	leftovers  = prometheus.NewDesc("corun_box_leftovers", "What is there of boxes that are gone; must be zero.", nil, nil)
	leftByKind = prometheus.NewDesc("corun_box_leftovers_by_kind", "What is there of boxes that are gone, by what it is; must be zero.", []string{"kind"}, nil)
)

// ofKind describes a figure of one kind of boxes, by the language whose runtime waits in
// them ("" for none) and by the streams it has, or what the box is for.
func ofKind(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("corun_boxes_"+name, help, []string{"language", "mode"}, nil)
}

// boxFigures are what is told of each kind of boxes.
var boxFigures = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(runner.PoolStats) float64
}{
	{ofKind("wanted", "Boxes that should wait, by demand and memory."), prometheus.GaugeValue, func(p runner.PoolStats) float64 { return float64(p.Wanted) }},
	{ofKind("ready", "Boxes that wait."), prometheus.GaugeValue, func(p runner.PoolStats) float64 { return float64(p.Ready) }},
	{ofKind("building", "Boxes that are being built ahead."), prometheus.GaugeValue, func(p runner.PoolStats) float64 { return float64(p.Building) }},
	{ofKind("memory_bytes", "Memory of one box that waits."), prometheus.GaugeValue, func(p runner.PoolStats) float64 { return float64(p.Bytes) }},
	{ofKind("failing", "1 where the last attempt to build one failed."), prometheus.GaugeValue, func(p runner.PoolStats) float64 {
		if p.Failure != nil {
			return 1
		}
		return 0
	}},
	{ofKind("taken_total", "Boxes that a run was given at once."), prometheus.CounterValue, func(p runner.PoolStats) float64 { return float64(p.Taken) }},
	{ofKind("missed_total", "Runs for which none was ready: a plain box, or one built at once, served them."), prometheus.CounterValue, func(p runner.PoolStats) float64 { return float64(p.Missed) }},
	{ofKind("died_total", "Boxes that died while they waited."), prometheus.CounterValue, func(p runner.PoolStats) float64 { return float64(p.Died) }},
	{ofKind("built_total", "Boxes that were built ahead."), prometheus.CounterValue, func(p runner.PoolStats) float64 { return float64(p.Built) }},
	{ofKind("build_seconds_total", "Time that building them took."), prometheus.CounterValue, func(p runner.PoolStats) float64 { return p.BuildTimes.Seconds() }},
	{ofKind("build_seconds", "Time that the last one took, its runtime's start included."), prometheus.GaugeValue, func(p runner.PoolStats) float64 { return p.BuildTime.Seconds() }},
}

func (c runsCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{runsActive, runsQueued, poolReady, poolCold, compiles, compiled, leftovers, leftByKind} {
		out <- d
	}
	for _, f := range boxFigures {
		out <- f.desc
	}
	c.runner.Latency().Describe(out)
}

func (c runsCollector) Collect(out chan<- prometheus.Metric) {
	st := c.runner.Stats()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(runsActive, st.Running)
	gauge(runsQueued, st.Queued)
	gauge(poolReady, st.Ready)
	gauge(poolCold, int(st.Cold))
	for _, p := range st.Pools {
		for _, f := range boxFigures {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(p), p.Language, p.Mode)
		}
	}
	for cached, n := range map[string]int64{"yes": st.Compiles.Hits, "no": st.Compiles.Tries - st.Compiles.Hits} {
		out <- prometheus.MustNewConstMetric(compiles, prometheus.CounterValue, float64(n), cached)
	}
	gauge(compiled, int(st.Compiles.Bytes))
	c.runner.Latency().Collect(out)
	gauge(leftovers, st.Leftovers.Total())
	for kind, n := range map[string]int{
		"processes": st.Leftovers.Processes, "mounts": st.Leftovers.Mounts, "cgroups": st.Leftovers.Cgroups,
		"scratch": st.Leftovers.Scratch, "descriptors": st.Leftovers.Descriptors, "quarantined": st.Leftovers.Quarantined,
	} {
		gauge(leftByKind, n, kind)
	}
}
