package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

// drain gives what waits for a member, without waiting for more, nor for the next tick.
func drain(t *testing.T, m *Member) (frames []Frame) {
	t.Helper()
	for {
		m.room.mu.Lock()
		m.tick = tick{}
		m.room.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what is there is given all the same
		got, err := m.Next(ctx)
		if err != nil {
			return frames
		}
		for _, f := range got {
			f.Data = bytes.Clone(f.Data)
			frames = append(frames, f)
		}
	}
}

// told is one frame, decoded.
type told struct {
	Type    string `json:"type"`
	Stream  any    `json:"stream"`
	Dropped int64  `json:"dropped"`
	out     []byte
	stream  uint8
	offset  uint64
}

func decode(t *testing.T, f Frame) told {
	t.Helper()
	var m told
	if f.Binary {
		m.stream, m.offset, m.out = f.Data[0], binary.BigEndian.Uint64(f.Data[5:]), f.Data[13:]
		return m
	}
	if err := json.Unmarshal(f.Data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// loaded gives the live side of the room that tests use.
func loaded(t *testing.T, h *Hub, restore func() (Restored, error)) *Room {
	t.Helper()
	r, err := h.Room("room", restore)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFailedRestoreIsNoEmptyRoom(t *testing.T) {
	h := NewHub(func(string, Event) {}, 0)
	broken := errors.New("the disk is gone")
	for range 2 {
		if _, err := h.Room("room", func() (Restored, error) { return Restored{}, broken }); !errors.Is(err, broken) {
			t.Errorf("the room is given with %v", err)
		}
	}
	if rooms, _ := h.Rooms(); rooms != 0 {
		t.Errorf("%d rooms are kept", rooms)
	}
}

func testRoom(t *testing.T) *Room {
	t.Helper()
	h := NewHub(func(string, Event) {}, 0)
	r := loaded(t, h, nil)
	t.Cleanup(func() { h.Release(r) })
	return r
}

func enter(t *testing.T, r *Room, role store.Role) *Member {
	t.Helper()
	m, err := r.Join(JoinRequest{Name: "Somebody", Role: role}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Leave)
	return m
}

func TestMessagesFollowTheOutputBeforeThem(t *testing.T) {
	r := testRoom(t)
	m := enter(t, r, store.RoleGuest)
	drain(t, m)
	run := store.Run{Number: 1}
	r.RunStarted(run)
	r.RunOutput(1, StreamStdout, []byte("a"))
	r.RunOutput(1, StreamStderr, []byte("b"))
	r.RunOutput(1, StreamStdout, []byte("c"))
	r.RunExited(run)
	r.RunOutput(1, StreamStdout, []byte("late"))
	var got []string
	for _, f := range drain(t, m) {
		d := decode(t, f)
		if f.Binary {
			got = append(got, fmt.Sprintf("%d@%d %s", d.stream, d.offset, d.out))
		} else {
			got = append(got, d.Type)
		}
	}
	want := "[run.started 1@0 a 2@0 b 1@1 c run.exited 1@2 late]"
	if fmt.Sprint(got) != want {
		t.Errorf("told %v, want %s", got, want)
	}
}

func TestLateJoinerGetsAllOnce(t *testing.T) {
	r := testRoom(t)
	r.RunStarted(store.Run{Number: 1})
	var printed []byte
	for i := range 100_000 { // more than a slow reader may owe
		line := fmt.Appendf(nil, "line %d of the program\n", i)
		printed = append(printed, line...)
		r.RunOutput(1, StreamPTY, line)
	}
	m := enter(t, r, store.RoleViewer)
	frames := drain(t, m)
	if d := decode(t, frames[0]); d.Type != "hello" {
		t.Fatalf("the first message is %q", d.Type)
	}
	var seen []byte
	for _, f := range frames[1:] {
		d := decode(t, f)
		if !f.Binary || d.offset != uint64(len(seen)) {
			t.Fatalf("told %q at %d after %d bytes", d.Type, d.offset, len(seen))
		}
		seen = append(seen, d.out...)
	}
	if !bytes.Equal(seen, printed) {
		t.Errorf("got %d bytes of %d", len(seen), len(printed))
	}
}

func TestSlowReaderSkipsToThePresent(t *testing.T) {
	r := testRoom(t)
	m := enter(t, r, store.RoleGuest)
	drain(t, m)
	run := store.Run{Number: 1}
	r.RunStarted(run)
	line := bytes.Repeat([]byte("x"), 99)
	line = append(line, '\n')
	total := int64(0)
	for range 40_000 {
		r.RunOutput(1, StreamStdout, line)
		total += int64(len(line))
	}
	r.RunOutput(1, StreamStderr, []byte("the end"))
	r.RunExited(run)
	var kept, dropped int64
	var last told
	for _, f := range drain(t, m) {
		d := decode(t, f)
		switch {
		case f.Binary && d.stream == StreamStdout:
			if int64(d.offset) != dropped+kept {
				t.Fatalf("output at %d after %d kept and %d dropped", d.offset, kept, dropped)
			}
			if kept == 0 && d.offset%100 != 0 {
				t.Errorf("the output goes on within a line, at %d", d.offset)
			}
			kept += int64(len(d.out))
		case d.Type == "run.truncated":
			if d.Stream != "stdout" {
				t.Errorf("dropped of stream %v", d.Stream)
			}
			dropped += d.Dropped
		}
		last = d
	}
	if kept+dropped != total || dropped < total-2*maxBehindBytes {
		t.Errorf("kept %d and dropped %d of %d", kept, dropped, total)
	}
	if last.Type != "run.exited" {
		t.Errorf("the last message is %q", last.Type)
	}
}

func TestQueueOverflowDisconnects(t *testing.T) {
	r := testRoom(t)
	m := enter(t, r, store.RoleGuest)
	big := map[string]any{"type": "x", "data": string(bytes.Repeat([]byte("y"), 1<<20))}
	for range 6 {
		r.Broadcast(big)
	}
	_, err := m.Next(t.Context())
	var end *CloseError
	if e, ok := err.(*CloseError); ok {
		end = e
	}
	if end == nil || end.Code != CloseTooSlow {
		t.Errorf("the connection ends with %v, want %d", err, CloseTooSlow)
	}
}

// Of a flood a participant gets what there is sixty times a second, and all of it; what comes
// now and then comes at once.
func TestFloodIsSentInTicks(t *testing.T) {
	for name, tt := range map[string]struct {
		chunk int
		every time.Duration
		most  int // writes
		late  time.Duration
	}{
		"flood":           {8 << 10, 4 * time.Millisecond, 62, tickLength},
		"lines":           {80, 4 * time.Millisecond, 251, 0},
		"much at a time":  {100 << 10, 100 * time.Millisecond, 20, 0},
		"a megabyte each": {1 << 20, time.Second, 20, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testRoom(t)
				m := enter(t, r, store.RoleGuest)
				drain(t, m)
				r.RunStarted(store.Run{Number: 1})
				drain(t, m)
				var sent, got, writes int
				var printed atomic.Int64
				done := make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					defer close(done)
					for {
						frames, err := m.Next(ctx)
						if err != nil {
							return
						}
						writes++
						for _, f := range frames {
							got += len(f.Data) - 13
						}
						if late := time.Duration(time.Now().UnixNano() - printed.Load()); late > tt.late {
							t.Errorf("%v after it was printed", late)
						}
					}
				}()
				for begin := time.Now(); time.Since(begin) < time.Second; time.Sleep(tt.every) {
					printed.Store(time.Now().UnixNano())
					r.RunOutput(1, StreamStdout, make([]byte, tt.chunk))
					sent += tt.chunk
					synctest.Wait()
				}
				time.Sleep(tickLength)
				cancel()
				<-done
				if got != sent || writes > tt.most {
					t.Errorf("%d of %d bytes came in %d writes", got, sent, writes)
				}
			})
		})
	}
}

// Each role is told what is for it, in the same order.
func TestByRole(t *testing.T) {
	r := loaded(t, NewHub(func(string, Event) {}, 0), nil)
	members := make(map[store.Role]*Member)
	for _, role := range []store.Role{store.RoleHost, store.RoleGuest, store.RoleViewer} {
		m, err := r.Join(JoinRequest{Name: string(role), Role: role}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		members[role] = m
	}
	r.RunQueued(store.Run{Number: 1}, 0, Answer{})
	r.RunOutput(1, StreamStderr, []byte("a warning"))
	r.RunTest(store.Run{Number: 1, Tests: &store.TestSummary{Done: 1}}, func(role store.Role) any { return "for a " + role })
	r.BroadcastByRole(func(role store.Role) any { return map[string]any{"type": "other", "role": role} })
	if _, _, run := r.Participants(); run.Tests.Done != 1 {
		t.Errorf("who comes late is told of %+v", run)
	}
	for role, m := range members {
		frames := drain(t, m)
		last := frames[len(frames)-3:]
		var result struct {
			Case string
			Run  store.Run
		}
		if err := json.Unmarshal(last[1].Data, &result); err != nil || result.Case != "for a "+string(role) || result.Run.Tests.Done != 1 || !last[0].Binary {
			t.Errorf("a %s was told %v (%v)", role, last, err)
		}
		if !bytes.Contains(last[2].Data, []byte(`"role":"`+string(role)+`"`)) {
			t.Errorf("a %s was told %s", role, last[2].Data)
		}
	}
}

// object decodes a JSON message.
func object(t *testing.T, f Frame) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(f.Data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Whatever the pieces that output comes in, and however often streams alternate, frames give each
// stream whole and in order.
func TestOutputPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		o := newOutput()
		var want [4][]byte
		for range rnd.IntN(40) + 1 {
			stream := uint8(1 + rnd.IntN(3))
			data := make([]byte, []int{1, 3, 100, minShared - 1, minShared, maxOwnBytes + 1}[rnd.IntN(6)])
			for i := range data {
				data[i] = "ab\n"[rnd.IntN(3)]
			}
			o.append(stream, data)
			want[stream] = append(want[stream], data...)
		}
		var got [4][]byte
		var frame []byte
		for pos := int64(0); pos < o.len(); {
			from := pos
			frame, pos = o.frame(frame[:0], pos, min(o.len(), pos+1+rnd.Int64N(maxFrameBytes)))
			stream, data := frame[0], frame[13:]
			if at := binary.BigEndian.Uint64(frame[5:]); at != uint64(len(got[stream])) || pos != from+int64(len(data)) || len(data) == 0 {
				t.Fatalf("a frame of %d bytes at %d of stream %d, which has %d", len(data), at, stream, len(got[stream]))
			}
			if n := o.count(from, pos); n[stream] != int64(len(data)) {
				t.Fatalf("%d bytes counted of %d", n[stream], len(data))
			}
			got[stream] = append(got[stream], data...)
		}
		for stream := range want {
			if !bytes.Equal(got[stream], want[stream]) {
				t.Fatalf("stream %d does not come as it was printed", stream)
			}
		}
		if at := o.lineStart(0); at > 0 && at < o.len() {
			var all []byte
			for data := range o.stretch(0, at) {
				all = append(all, data...)
			}
			if int64(len(all)) != at || all[at-1] != '\n' || bytes.IndexByte(all[:at-1], '\n') >= 0 {
				t.Fatalf("a line starts at %d of %q", at, all)
			}
		}
	}
}
