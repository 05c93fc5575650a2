package store

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A transcript reads as it was printed, however it is kept.
func TestPackedOutput(t *testing.T) {
	s, _ := timed(t)
	addRoom(t, s, "r")
	begun := time.Now()
	if err := s.CreateRun(t.Context(), &Run{Room: "r", State: RunRunning, CreatedAt: begun}); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 4<<10)
	rand.Read(noise)
	printed := [][]byte{[]byte("short\n"), []byte(strings.Repeat("the same line again and again\n", 2000)), noise, {}}
	var sum int64
	for i, data := range printed {
		c := Chunk{Stream: Stdout, At: begun.Add(time.Duration(i) * time.Millisecond), Offset: sum, Data: data}
		if _, err := s.AppendOutput(t.Context(), "r", 1, i, []Chunk{c}); err != nil {
			t.Fatal(err)
		}
		sum += int64(len(data))
	}
	var kept []int
	if err := s.read.Select(&kept, `SELECT LENGTH(data) FROM run_output ORDER BY seq`); err != nil {
		t.Fatal(err)
	}
	if kept[0] != len(printed[0]) || kept[1] > len(printed[1])/20 || kept[2] != len(noise) {
		t.Errorf("rows of %v bytes are kept", kept)
	}
	chunks, err := s.OutputChunks(t.Context(), "r", 1)
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.Log(t.Context(), "r", LogQuery{Output: true, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range printed {
		if !bytes.Equal(chunks[i].Data, data) || !bytes.Equal(page.Entries[i].Output.Data, data) {
			t.Errorf("row %d does not read as it was written", i)
		}
	}
	m, err := s.MomentAt(t.Context(), "r", begun.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if m.Sizes.Stdout != sum || m.Rows != len(printed) {
		t.Errorf("%d bytes in %d rows are counted", m.Sizes.Stdout, m.Rows)
	}
	if _, err := s.write.Exec(`UPDATE run_output SET data = x'00' WHERE seq = 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OutputChunks(t.Context(), "r", 1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("output %d of run 1", 1)) {
		t.Errorf("of a damaged row: %v", err)
	}
}
