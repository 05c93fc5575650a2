package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkGroupCommit measures what saving adds to an edit. "paced" is 200
// rooms with 10 updates a second each; "saturated" keeps one update of each of
// 1000 rooms in flight.
//
//	go test -run '^$' -bench GroupCommit ./store
func BenchmarkGroupCommit(b *testing.B) {
	for _, durability := range []Durability{DurableFsync, DurableProcess} {
		for _, load := range []struct {
			name  string
			rooms int
			pause time.Duration
		}{{"paced", 200, 100 * time.Millisecond}, {"saturated", 1000, 0}} {
			b.Run(fmt.Sprintf("%s/%s", durability, load.name), func(b *testing.B) {
				s, err := Open(context.Background(), "sqlite:"+filepath.Join(b.TempDir(), "db"), Options{Durability: durability})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				for i := range load.rooms {
					addRoom(b, s, fmt.Sprint(i))
				}
				measure(b, s, load.rooms, load.pause)
			})
		}
	}
}

func measure(b *testing.B, s *Store, rooms int, pause time.Duration) {
	var mu sync.Mutex
	took := make([]time.Duration, 0, b.N)
	var wg sync.WaitGroup
	b.ResetTimer()
	begun := time.Now()
	for i := range rooms {
		wg.Go(func() {
			data, done := make([]byte, 30), make(chan error, 1)
			time.Sleep(pause * time.Duration(i) / time.Duration(rooms)) // not all at once
			for n := i; n < b.N; n += rooms {
				at := time.Now()
				s.Updates().Append(Update{Room: fmt.Sprint(i), Seq: int64(n/rooms) + 1, Data: data}, func(err error) { done <- err })
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
				d := time.Since(at)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				time.Sleep(pause - d)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(len(took))/time.Since(begun).Seconds(), "updates/s")
	slices.Sort(took)
	if len(took) > 0 {
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
}
