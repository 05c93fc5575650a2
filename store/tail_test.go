package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What was shown of a run and is not in its transcript when the process dies is there when the
// run is found to be lost, whatever the last write came to.
func TestTail(t *testing.T) {
	chunks := []Chunk{
		{Stream: Stdout, At: fromMicros(10), Data: []byte("one\n")}, {Stream: Stderr, At: fromMicros(20), Data: []byte("e")},
		{Stream: Stdout, At: fromMicros(30), Data: []byte("two\n")},
	}
	for name, c := range map[string]struct {
		stored int // bytes of stdout that the transcript has
		cut    int // bytes of the file that are missing
		want   string
	}{
		"nothing stored":     {0, 0, "stdout@0 one\n stderr@0 e stdout@4 two\n"},
		"some stored":        {4, 0, "stdout@0 one\n stderr@0 e stdout@4 two\n"},
		"a part of a chunk":  {6, 0, "stdout@0 one\ntw stderr@0 e stdout@6 o\n"},
		"all stored":         {8, 0, "stdout@0 one\ntwo\n stderr@0 e"},
		"a torn write":       {0, 1, "stdout@0 one\n stderr@0 e"},
		"a torn head":        {0, 5, "stdout@0 one\n stderr@0 e"},
		"an empty file":      {0, 48, ""},
		"a torn first write": {0, 47, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := timed(t)
			addRoom(t, s, "r.1")
			run := &Run{Room: "r.1", State: RunRunning, CreatedAt: time.Now()}
			if err := s.CreateRun(t.Context(), run); err != nil {
				t.Fatal(err)
			}
			tail, err := s.Tail("r.1", 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range [][]Chunk{chunks[:2], chunks[2:]} {
				if err := tail.Append(part...); err != nil {
					t.Fatal(err)
				}
			}
			if c.stored > 0 {
				if _, err := s.AppendOutput(t.Context(), "r.1", 1, 0, []Chunk{{Stream: Stdout, Data: []byte("one\ntwo\n")[:c.stored]}}); err != nil {
					t.Fatal(err)
				}
			}
			info, err := os.Stat(tail.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(tail.path, info.Size()-int64(c.cut)); err != nil {
				t.Fatal(err)
			}
			if n, err := s.MarkLostRuns(t.Context()); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			got, err := s.OutputChunks(t.Context(), "r.1", 1)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			sizes := OutputSizes{}
			for _, g := range got {
				all = append(all, g.Stream.String()+"@"+string('0'+byte(g.Offset))+" "+string(g.Data))
				sizes.Add(g.Stream, len(g.Data))
			}
			lost, err := s.Run(t.Context(), "r.1", 1)
			if err != nil || strings.Join(all, " ") != c.want || lost.Status != StatusLost || lost.Output != sizes {
				t.Errorf("%q (%v), want %q; %+v", all, err, c.want, lost)
			}
			if _, err := os.Stat(filepath.Dir(tail.path)); !os.IsNotExist(err) {
				t.Errorf("the folder: %v", err)
			}
		})
	}
}

// A run that has ended leaves no file.
func TestTailIsClosed(t *testing.T) {
	s, _ := timed(t)
	tail, err := s.Tail("r", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.tails)
	if err != nil || len(left) > 0 {
		t.Errorf("%v (%v)", left, err)
	}
}
