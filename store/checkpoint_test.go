package store

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"
)

// What was written reaches the database's file by itself, while it is in use.
func TestCheckpoints(t *testing.T) {
	s, _ := timed(t)
	addRoom(t, s, "r")
	if err := s.CreateRun(t.Context(), &Run{Room: "r", State: RunRunning, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	path := strings.TrimSuffix(s.tails, tailFolder(""))
	data := make([]byte, size)
	rand.Read(data) // so that it cannot be packed
	for n := range 3 {
		if _, err := s.AppendOutput(t.Context(), "r", 1, n, []Chunk{{Stream: Stdout, Data: data}}); err != nil {
			t.Fatal(err)
		}
		for { // ends with the test's own time
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > int64(n+1)*size {
				break
			}
		}
	}
}
