package live

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

// types are the messages that wait for a member, output apart.
func types(t *testing.T, m *Member) (all []string) {
	t.Helper()
	for _, f := range drain(t, m) {
		if !f.Binary {
			all = append(all, decode(t, f).Type)
		}
	}
	return all
}

// waiting gives the first message of a type that waits for a member.
func waiting(t *testing.T, m *Member, kind string) map[string]any {
	t.Helper()
	for _, f := range drain(t, m) {
		if !f.Binary && decode(t, f).Type == kind {
			var v map[string]any
			if err := json.Unmarshal(f.Data, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %s waits", kind)
	return nil
}

func closeCode(t *testing.T, m *Member) int {
	t.Helper()
	for {
		_, err := m.Next(t.Context())
		var end *CloseError
		if errors.As(err, &end) {
			return end.Code
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// While a program prints and people come, everybody gets each stream from its
// first byte, once, in order.
func TestJoiningWhileItPrints(t *testing.T) {
	r := testRoom(t)
	run := store.Run{Number: 7}
	r.RunStarted(run)
	const lines, readers = 2000, 8
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			m, err := r.Join(JoinRequest{Name: "Late", Role: store.RoleViewer}, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Leave()
			var seen [4][]byte
			for ended := false; !ended; {
				frames, err := m.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, f := range frames {
					if !f.Binary {
						ended = ended || strings.Contains(string(f.Data), `"type":"run.exited"`) ||
							strings.Contains(string(f.Data), `"type":"hello"`) && strings.Contains(string(f.Data), `"state":"finished"`)
						continue
					}
					stream := f.Data[0]
					if n := binary.BigEndian.Uint32(f.Data[1:]); n != 7 {
						t.Errorf("output of run %d", n)
					}
					if at := binary.BigEndian.Uint64(f.Data[5:]); at != uint64(len(seen[stream])) {
						t.Errorf("stream %d goes on at %d after %d bytes", stream, at, len(seen[stream]))
					}
					seen[stream] = append(seen[stream], f.Data[13:]...)
				}
			}
			for _, f := range drain(t, m) { // who joins after the end is told so before the output
				if f.Binary {
					seen[f.Data[0]] = append(seen[f.Data[0]], f.Data[13:]...)
				}
			}
			for _, stream := range []uint8{StreamStdout, StreamStderr} {
				if want := strings.Repeat(fmt.Sprintf("to %d\n", stream), lines); string(seen[stream]) != want {
					t.Errorf("stream %d has %d bytes, want %d", stream, len(seen[stream]), len(want))
				}
			}
		})
	}
	for range lines {
		r.RunOutput(7, StreamStdout, []byte("to 1\n"))
		r.RunOutput(7, StreamStderr, []byte("to 2\n"))
	}
	run.State = store.RunFinished
	r.RunExited(run)
	wg.Wait()
}

// Bytes that were left out are counted per stream, and a second gap anew.
func TestDroppedIsExactPerStream(t *testing.T) {
	r := testRoom(t)
	m := enter(t, r, store.RoleGuest)
	r.RunStarted(store.Run{Number: 1})
	drain(t, m)
	var printed, accounted [4]int64
	truncated := 0
	for range 3 {
		for i := range 60_000 {
			stream := uint8(StreamStdout + i%2)
			r.RunOutput(1, stream, []byte("about thirty bytes of output.\n"))
			printed[stream] += 30
		}
		for _, f := range drain(t, m) {
			d := decode(t, f)
			if f.Binary {
				if int64(d.offset) != accounted[d.stream] {
					t.Fatalf("stream %d goes on at %d, accounted for are %d", d.stream, d.offset, accounted[d.stream])
				}
				accounted[d.stream] += int64(len(d.out))
				continue
			}
			truncated++
			accounted[map[any]int{"stdout": StreamStdout, "stderr": StreamStderr}[d.Stream]] += d.Dropped
		}
	}
	if accounted != printed || truncated != 6 {
		t.Errorf("accounted for %v of %v in %d notices", accounted, printed, truncated)
	}
}

func TestANewRunStartsItsStreamsAnew(t *testing.T) {
	r := testRoom(t)
	m := enter(t, r, store.RoleGuest)
	drain(t, m)
	for n := 1; n <= 2; n++ {
		r.RunQueued(store.Run{Number: n}, 0, Answer{})
		r.RunOutput(n, StreamPTY, fmt.Appendf(nil, "of run %d", n))
		r.RunExited(store.Run{Number: n})
	}
	r.RunOutput(1, StreamPTY, []byte("too late"))
	var got []string
	for _, f := range drain(t, m) {
		if f.Binary {
			got = append(got, fmt.Sprintf("%d@%d %s", binary.BigEndian.Uint32(f.Data[1:]), binary.BigEndian.Uint64(f.Data[5:]), f.Data[13:]))
		} else {
			got = append(got, decode(t, f).Type)
		}
	}
	want := []string{"run.queued", "1@0 of run 1", "run.exited", "run.queued", "2@0 of run 2", "run.exited"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestARoomThatWasNotLoadedHasItsLastRun(t *testing.T) {
	h := NewHub(func(string, Event) {}, 0)
	r := loaded(t, h, func() (Restored, error) {
		return Restored{Run: &store.Run{Number: 3}, Output: []Chunk{{StreamStdout, []byte("kept")}}}, nil
	})
	defer h.Release(r)
	h.Release(loaded(t, h, func() (Restored, error) { t.Error("a loaded room is restored"); return Restored{}, nil }))
	m := enter(t, r, store.RoleViewer)
	frames := drain(t, m)
	if len(frames) != 2 || !strings.Contains(string(frames[0].Data), `"number":3`) || string(frames[1].Data[13:]) != "kept" {
		t.Errorf("told %+v", frames)
	}
}

func TestPeopleAreTold(t *testing.T) {
	var mu sync.Mutex
	var logged []string
	h := NewHub(func(room string, e Event) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, room+" "+e.Kind)
	}, 0)
	r := loaded(t, h, nil)
	host := enter(t, r, store.RoleHost)
	guest := enter(t, r, store.RoleGuest)
	if got := types(t, host); !slices.Equal(got, []string{"hello", "participant.joined"}) {
		t.Errorf("a host is told %q", got)
	}
	hello := waiting(t, guest, "hello")
	if len(hello["participants"].([]any)) != 2 || hello["you"].(map[string]any)["id"] != guest.You().ID {
		t.Errorf("hello is %v", hello)
	}
	name, hue := " Grace ", 17
	if err := guest.Handling(json.RawMessage(`"r1"`)); err != nil {
		t.Fatal(err)
	}
	if err := guest.Update(&name, &hue); err != nil {
		t.Fatal(err)
	}
	if you := guest.You(); you.Name != "Grace" || you.Hue != 17 {
		t.Errorf("updated is %+v", you)
	}
	if m := waiting(t, guest, "participant.updated"); m["ref"] != "r1" {
		t.Errorf("who asked is answered %v", m)
	}
	if m := waiting(t, host, "participant.updated"); m["ref"] != nil {
		t.Errorf("another is told the ref: %v", m)
	}
	bad, far := "a\nb", 360
	for _, err := range []error{guest.Update(&bad, nil), guest.Update(nil, &far)} {
		if code(err) != CodeBadMessage {
			t.Errorf("a bad name or hue: %v", err)
		}
	}
	guest.Fail("some_code", "why", json.RawMessage(`5`))
	if m := waiting(t, guest, "error"); m["code"] != "some_code" || m["message"] != "why" || m["ref"] != 5.0 {
		t.Errorf("refused with %v", m)
	}
	guest.Leave()
	guest.Leave()
	if got := types(t, host); !slices.Equal(got, []string{"participant.left"}) {
		t.Errorf("a host is told %q", got)
	}
	host.Leave()
	h.Release(r)
	if rooms, people := h.Rooms(); rooms != 0 || people != 0 {
		t.Errorf("%d rooms and %d people are left", rooms, people)
	}
	want := []string{"room open", "room join", "room join", "room rename", "room leave", "room leave"}
	if !slices.Equal(logged, want) {
		t.Errorf("logged %q, want %q", logged, want)
	}
}

func TestARoomFills(t *testing.T) {
	r := testRoom(t)
	var last *Member
	for range MaxParticipants {
		last = enter(t, r, store.RoleViewer)
	}
	if _, err := r.Join(JoinRequest{Role: store.RoleGuest}, nil, nil); !errors.Is(err, ErrRoomFull) {
		t.Errorf("one too many: %v", err)
	}
	back := JoinRequest{Role: store.RoleViewer, Resume: r.hub.resumeToken("room", last.You().ID, [32]byte{})}
	m, err := r.Join(back, nil, nil)
	if err != nil {
		t.Fatalf("one who comes back: %v", err)
	}
	defer m.Leave()
	if got := closeCode(t, last); got != CloseReplaced {
		t.Errorf("the former connection ends with %d", got)
	}
	last.Leave() // must not take the new one with it
	if all, _, _ := r.Participants(); len(all) != MaxParticipants {
		t.Errorf("%d participants are there", len(all))
	}
}

func TestWhoWasRemovedDoesNothingMore(t *testing.T) {
	r := testRoom(t)
	host, guest := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest)
	if err := guest.TakeSeat(); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.CheckRemove(host.You().ID); code(err) != CodeNotAllowed {
		t.Errorf("a guest removes: %v", err)
	}
	if role, err := host.CheckRemove(guest.You().ID); err != nil || role != store.RoleGuest {
		t.Errorf("a host removes a %s: %v", role, err)
	}
	if err := host.Remove(guest.You().ID); err != nil {
		t.Fatal(err)
	}
	// The socket may be stuck in a write: its reader still goes on.
	typed := func() error { return guest.AsDriver(func(Seat) error { return nil }) }
	give := func() error { return host.GiveSeat(guest.You().ID) }
	for name, do := range map[string]func() error{"request": guest.RequestSeat, "take": guest.TakeSeat, "type": typed, "be given": give} {
		if do() == nil {
			t.Errorf("who was removed can %s", name)
		}
	}
	var end *CloseError
	if err := guest.Handling(nil); !errors.As(err, &end) || end.Code != CloseRemoved {
		t.Errorf("who was removed is still listened to: %v", err)
	}
	guest.SeatForStarter()
	if _, driver, _ := r.Participants(); driver != "" {
		t.Errorf("%q drives", driver)
	}
	r.Rekey(store.RoleGuest, "new", [32]byte{9})
	for _, kind := range types(t, guest) {
		if kind == "token.rotated" {
			t.Error("who was removed is told the new token")
		}
	}
	if got := closeCode(t, guest); got != CloseRemoved {
		t.Errorf("closed with %d", got)
	}
	if m := waiting(t, host, "token.rotated"); m["token"] != "new" || m["resume"] != nil {
		t.Errorf("the host is told %v", m)
	}
}

func TestADisconnectedDriverTypesNoMore(t *testing.T) {
	r := testRoom(t)
	guest := enter(t, r, store.RoleGuest)
	if err := guest.TakeSeat(); err != nil {
		t.Fatal(err)
	}
	r.Disconnect(func(m *Member) bool { return m.CameBy([32]byte{}) }, CloseRemoved, "the link was replaced")
	if err := guest.AsDriver(func(Seat) error { return nil }); err == nil {
		t.Error("who came by a replaced link still types")
	}
}

func TestRekeyLeavesAWayBack(t *testing.T) {
	r := testRoom(t)
	guest := enter(t, r, store.RoleGuest)
	r.Rekey(store.RoleGuest, "new", [32]byte{9})
	resume, _ := waiting(t, guest, "token.rotated")["resume"].(string)
	for hash, want := range map[[32]byte]bool{{9}: true, {}: false} {
		if id, ok := r.hub.resumed("room", JoinRequest{Resume: resume, TokenHash: hash}); ok != want || (ok && id != guest.You().ID) {
			t.Errorf("resumed is %q, %v with %v", id, ok, hash[0])
		}
	}
}

// A driver who left another's seat alone loses nothing to an old timer.
func TestGraceOfAFormerDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		host, guest := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest)
		if err := guest.TakeSeat(); err != nil {
			t.Fatal(err)
		}
		guest.Leave()
		drain(t, host)
		if err := host.TakeSeat(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * DriverGrace)
		if _, driver, _ := r.Participants(); driver != host.You().ID {
			t.Errorf("%q drives", driver)
		}
		if err := host.ReleaseSeat(); err != nil {
			t.Fatal(err)
		}
		other := enter(t, r, store.RoleGuest)
		other.SeatForStarter()
		other.Leave()
		drain(t, host)
		time.Sleep(DriverGrace)
		synctest.Wait()
		if m := waiting(t, host, "driver.changed"); m["driver"] != nil || m["by"] != nil || m["reason"] != ReasonLeft {
			t.Errorf("told %v", m)
		}
	})
}

func TestSavedIsToldAtMostFourTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		m := enter(t, r, store.RoleViewer)
		drain(t, m)
		for range 1000 {
			r.Saved(func() ([]byte, error) { return []byte{1}, nil })
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(types(t, m)); n < 4 || n > 5 {
			t.Errorf("told %d times of a second's edits", n)
		}
	})
}

func TestCloseAll(t *testing.T) {
	h := NewHub(func(string, Event) {}, 0)
	r := loaded(t, h, nil)
	m := enter(t, r, store.RoleGuest)
	h.CloseAll("bye")
	if got := closeCode(t, m); got != CloseGoingAway {
		t.Errorf("closed with %d", got)
	}
	h.Release(r)
}

func TestNamesStayOneLine(t *testing.T) {
	for _, name := range []string{"two\u2028lines", "two\u2029paragraphs"} {
		if CheckName(name) == nil {
			t.Errorf("name %q is taken", name)
		}
	}
}
