package runner

import (
	"sort"
	"testing"
	"time"

	"corun/store"
)

// BenchmarkFirstByte measures from the request to the first byte of output, and
// reports the median and the 99th percentile. Pauses between runs, in which the
// pool is refilled, are not in it.
func BenchmarkFirstByte(b *testing.B) {
	r := testRunner(b, func(c *Config) { c.Quotas = &Quotas{1e6, 1e6, 1e6, 1e6}; c.PoolSize, c.Languages = 4, nil })
	for language, text := range map[string]string{
		"bash": "echo hi", "python": "print('hi')", "javascript": "console.log('hi')", "typescript": "console.log('hi' as string)",
		"java": "class Main { public static void main(String[] args) { System.out.println(\"hi\"); } }",
	} {
		p, ok := r.langs.Find(language)
		if !ok {
			continue
		}
		b.Run(language, func(b *testing.B) {
			room := newRoom(b, r)
			var times, starts []float64
			for b.Loop() {
				b.StopTimer()
				eventually(b, "a full pool", func() bool {
					return r.waiting() >= 4 && (p.Warm == nil || len(times) == 0 && p.Warm.Heavy || r.pools.of(r.warmKind(p, ModePipes)).Ready > 0)
				})
				first := make(chan time.Time, 1)
				req := program(language, text)
				req.Room, req.By = room, "ann"
				req.Events = func(e Event) {
					if e.Kind == EventOutput && e.Stream == store.Stdout && e.Offset == 0 {
						first <- time.Now()
					}
				}
				b.StartTimer()
				began := time.Now()
				run, err := r.Start(b.Context(), req)
				if err != nil {
					b.Fatal(err)
				}
				times = append(times, (<-first).Sub(began).Seconds()*1000)
				b.StopTimer()
				<-run.Done()
				starts = append(starts, run.Snapshot().StartupMS)
				b.StartTimer()
			}
			sort.Float64s(times)
			sort.Float64s(starts)
			b.ReportMetric(starts[len(starts)/2], "exec-p50-ms")
			b.ReportMetric(times[len(times)/2], "p50-ms")
			b.ReportMetric(times[len(times)*99/100], "p99-ms")
		})
	}
}
