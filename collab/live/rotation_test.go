package live

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

func driverOf(r *Room) string { _, driver, _ := r.Participants(); return driver }

// last gives the last message of a type that waits for a member.
func last(t *testing.T, m *Member, kind string) (v map[string]any) {
	t.Helper()
	for _, f := range drain(t, m) {
		if !f.Binary && decode(t, f).Type == kind {
			v = object(t, f)
		}
	}
	if v == nil {
		t.Fatalf("no %s waits", kind)
	}
	return v
}

func TestRequests(t *testing.T) {
	r := testRoom(t)
	host, driver := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest)
	ann, bob, viewer := enter(t, r, store.RoleGuest), enter(t, r, store.RoleGuest), enter(t, r, store.RoleViewer)
	id := func(m *Member) string { return m.You().ID }
	withdraw := func(m *Member) func() error { return func() error { m.WithdrawRequest(); return nil } }
	steps := []struct {
		name     string
		do       func() error
		code     string
		driver   *Member
		requests []*Member
	}{
		{"somebody takes the seat", driver.TakeSeat, "", driver, nil},
		{"a host grants what nobody asked for", func() error { return host.GrantSeat(id(ann)) }, CodeNotFound, driver, nil},
		{"one asks", ann.RequestSeat, "", driver, []*Member{ann}},
		{"another asks", bob.RequestSeat, "", driver, []*Member{ann, bob}},
		{"one asks again", ann.RequestSeat, "", driver, []*Member{ann, bob}},
		{"a viewer asks", viewer.RequestSeat, CodeNotAllowed, driver, []*Member{ann, bob}},
		{"a guest grants", func() error { return ann.GrantSeat(id(ann)) }, CodeNotDriver, driver, []*Member{ann, bob}},
		{"a guest denies", func() error { return ann.DenySeat(id(bob)) }, CodeNotDriver, driver, []*Member{ann, bob}},
		{"the driver grants nobody's", func() error { return driver.GrantSeat("p_nobody") }, CodeNotFound, driver, []*Member{ann, bob}},
		{"the driver grants the second", func() error { return driver.GrantSeat(id(bob)) }, "", bob, []*Member{ann}},
		{"the host denies the first", func() error { return host.DenySeat(id(ann)) }, "", bob, nil},
		{"the host denies it again", func() error { return host.DenySeat(id(ann)) }, CodeNotFound, bob, nil},
		{"one asks anew", ann.RequestSeat, "", bob, []*Member{ann}},
		{"one withdraws", withdraw(ann), "", bob, nil},
		{"one withdraws again", withdraw(ann), "", bob, nil},
		{"two ask", func() error { _ = driver.RequestSeat(); return ann.RequestSeat() }, "", bob, []*Member{driver, ann}},
		{"the driver releases", bob.ReleaseSeat, "", driver, []*Member{ann}},
		{"the host gives it to who waits", func() error { return host.GiveSeat(id(ann)) }, "", ann, nil},
		{"nobody waits for it", ann.ReleaseSeat, "", nil, nil},
	}
	for _, s := range steps {
		if got := code(s.do()); got != s.code {
			t.Errorf("%s: %q, want %q", s.name, got, s.code)
		}
		want := ""
		if s.driver != nil {
			want = id(s.driver)
		}
		if got := driverOf(r); got != want {
			t.Errorf("%s: driver is %q, want %q", s.name, got, want)
		}
		late := enter(t, r, store.RoleViewer)
		var waiting, told []string
		for _, m := range s.requests {
			waiting = append(waiting, id(m))
		}
		for _, v := range last(t, late, "hello")["requests"].([]any) {
			told = append(told, v.(string))
		}
		if !slices.Equal(told, waiting) {
			t.Errorf("%s: who comes later is told of %q, want %q", s.name, told, waiting)
		}
		late.Leave()
	}
}

func TestWhatIsToldOfRequests(t *testing.T) {
	r := testRoom(t)
	driver, asker, other := enter(t, r, store.RoleGuest), enter(t, r, store.RoleGuest), enter(t, r, store.RoleViewer)
	ask := func() {
		t.Helper()
		for _, err := range []error{asker.Handling([]byte(`"a"`)), asker.RequestSeat()} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := driver.TakeSeat(); err != nil {
		t.Fatal(err)
	}
	ask()
	if m := last(t, asker, "driver.requested"); m["ref"] != "a" {
		t.Errorf("who asks is answered %v", m)
	}
	if m := last(t, other, "driver.requested"); m["ref"] != nil || m["participant"].(map[string]any)["id"] != asker.You().ID {
		t.Errorf("the others are told %v", m)
	}
	ask()
	if got := types(t, other); len(got) != 0 {
		t.Errorf("who asks twice is heard twice: %q", got)
	}
	if m := last(t, asker, "driver.requested"); m["ref"] != "a" {
		t.Errorf("who asks again is answered %v", m)
	}
	for _, err := range []error{driver.Handling([]byte(`"d"`)), driver.DenySeat(asker.You().ID)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	told := drain(t, asker)
	if len(told) != 2 || object(t, told[0])["type"] != "driver.denied" || object(t, told[0])["by"] != driver.You().ID {
		t.Errorf("who was denied is told %v", told)
	}
	if m := last(t, driver, "driver.requests"); m["ref"] != "d" || len(m["requests"].([]any)) != 0 {
		t.Errorf("who denied is answered %v", m)
	}
	if got := types(t, other); !slices.Equal(got, []string{"driver.requests"}) {
		t.Errorf("the others are told %q", got)
	}
	// Who leaves does not get the seat.
	ask()
	asker.Leave()
	if waiting := last(t, enter(t, r, store.RoleViewer), "hello")["requests"].([]any); len(waiting) != 0 {
		t.Errorf("who left still waits: %v", waiting)
	}
	if err := driver.ReleaseSeat(); err != nil {
		t.Fatal(err)
	}
	if m := last(t, other, "driver.changed"); m["driver"] != nil || m["reason"] != ReasonReleased {
		t.Errorf("told %v", m)
	}
}

// The first who asked gets the seat of a driver who does not come back, or was removed.
func TestTheSeatOfWhoIsGone(t *testing.T) {
	for name, gone := range map[string]func(host, driver *Member) (by any){
		"removed": func(host, driver *Member) any {
			if err := host.Remove(driver.You().ID); err != nil {
				t.Fatal(err)
			}
			return host.You().ID
		},
		"left": func(_, driver *Member) any {
			driver.Leave()
			time.Sleep(DriverGrace + time.Millisecond)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testRoom(t)
				host, driver := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest)
				first, second := enter(t, r, store.RoleGuest), enter(t, r, store.RoleGuest)
				for _, err := range []error{driver.TakeSeat(), first.RequestSeat(), second.RequestSeat()} {
					if err != nil {
						t.Fatal(err)
					}
				}
				first.room.Disconnect(func(m *Member) bool { return m == first }, CloseRemoved, "") // its reader goes on
				by := gone(host, driver)
				synctest.Wait()
				if m := last(t, host, "driver.changed"); m["driver"] != second.You().ID || m["by"] != by || m["reason"] != ReasonGranted {
					t.Errorf("told %v", m)
				}
			})
		})
	}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(func(string, Event) {}, 0)
		r := loaded(t, h, nil)
		host, viewer := enter(t, r, store.RoleHost), enter(t, r, store.RoleViewer)
		ann, bob := enter(t, r, store.RoleGuest), enter(t, r, store.RoleGuest)
		id := func(m *Member) string { return m.You().ID }
		now := time.Now()
		for minutes, want := range map[float64]string{-1: CodeBadMessage, 0.01: CodeBadMessage, 121: CodeBadMessage, math.NaN(): CodeBadMessage, 10: ""} {
			if got := code(host.Rotate(minutes)); got != want {
				t.Errorf("every %v minutes: %q, want %q", minutes, got, want)
			}
		}
		if got := code(ann.Rotate(1)); got != CodeNotDriver {
			t.Errorf("who does not drive rotates: %q", got)
		}
		// told is how everybody knows the rotation; who comes now is told the same.
		told := func(next *Member, in time.Duration) {
			t.Helper()
			late := enter(t, r, store.RoleViewer)
			hello := last(t, late, "hello")["rotation"].(map[string]any)
			late.Leave()
			m := last(t, viewer, "driver.rotation")
			for _, m := range []map[string]any{m, hello} {
				at, err := time.Parse(time.RFC3339Nano, m["next_at"].(string))
				if err != nil || !at.Equal(now.Add(in)) || m["minutes"] != 10.0 || m["by"] != id(host) {
					t.Errorf("told %v, %v; want %v", m, err, now.Add(in))
				}
				if next == nil && m["next"] != nil || next != nil && m["next"] != id(next) {
					t.Errorf("next is %v", m["next"])
				}
			}
		}
		told(host, 10*time.Minute) // nobody drives yet
		steps := []struct {
			name   string
			do     func()
			wait   time.Duration
			driver *Member
			next   *Member
			in     time.Duration
		}{
			{"the first", nil, 10 * time.Minute, host, ann, 10 * time.Minute},
			{"the next", nil, 10 * time.Minute, ann, bob, 10 * time.Minute},
			{"not before its time", func() { _ = host.Rotate(10) }, 10*time.Minute - 1, ann, bob, 1},
			{"and then", nil, 1, bob, host, 10 * time.Minute},
			{"round again", nil, 10 * time.Minute, host, ann, 10 * time.Minute},
			{"a hand-over begins the time anew", func() { time.Sleep(9 * time.Minute); _ = host.GiveSeat(id(bob)) }, 9 * time.Minute, bob, host, time.Minute},
			{"who is next leaves", host.Leave, 0, bob, ann, time.Minute},
			{"and is passed over", nil, time.Minute, ann, bob, 10 * time.Minute},
			{"a free seat goes to who came after the last", func() { _ = ann.ReleaseSeat() }, 10 * time.Minute, bob, ann, 10 * time.Minute},
			{"who is being disconnected is passed over", func() {
				r.Disconnect(func(m *Member) bool { return m == ann }, CloseRemoved, "")
			}, 10 * time.Minute, bob, nil, 10 * time.Minute},
			{"with one it stays", ann.Leave, 10 * time.Minute, bob, nil, 10 * time.Minute},
		}
		for _, s := range steps {
			if s.do != nil {
				s.do()
			}
			time.Sleep(s.wait)
			synctest.Wait()
			now = time.Now()
			if got := driverOf(r); got != id(s.driver) {
				t.Errorf("%s: %q drives, want %q", s.name, got, id(s.driver))
			}
			told(s.next, s.in)
			if t.Failed() {
				t.Fatal(s.name)
			}
		}
		if err := bob.Rotate(0); err != nil {
			t.Fatal(err)
		}
		if m := last(t, viewer, "driver.rotation"); m["minutes"] != 0.0 || m["next_at"] != nil || m["next"] != nil || m["by"] != id(bob) {
			t.Errorf("at the end told %v", m)
		}
		late := enter(t, r, store.RoleGuest)
		if m := last(t, late, "hello"); m["rotation"] != nil {
			t.Errorf("at the end hello has %v", m["rotation"])
		}
		time.Sleep(time.Hour)
		if driverOf(r) != id(bob) {
			t.Error("the seat goes round though that was ended")
		}
		// Without people the room is forgotten, and its timer with it.
		if err := bob.Rotate(10); err != nil {
			t.Fatal(err)
		}
		late.Leave()
		viewer.Leave()
		bob.Leave()
		h.Release(r)
		time.Sleep(DriverGrace + time.Second)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(h.rooms) != 0 || r.rotation != nil {
			t.Errorf("%d rooms, rotation %+v", len(h.rooms), r.rotation)
		}
	})
}

// A driver who loads the page again keeps the place among those who drive in turn.
func TestRotationOfWhoComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		first, second, third := enter(t, r, store.RoleGuest), enter(t, r, store.RoleGuest), enter(t, r, store.RoleGuest)
		for _, err := range []error{second.TakeSeat(), second.Rotate(1)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		second.Leave()
		back := JoinRequest{Role: store.RoleGuest, Resume: r.hub.resumeToken("room", second.You().ID, [32]byte{})}
		m, err := r.Join(back, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Leave()
		r.rotate(r.rotations - 1) // a timer that was stopped when it had gone off already
		if driverOf(r) != second.You().ID {
			t.Error("a stopped timer hands the seat on")
		}
		for _, want := range []string{third.You().ID, first.You().ID, second.You().ID} {
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := driverOf(r); got != want {
				t.Errorf("%q drives, want %q", got, want)
			}
		}
	})
}

func TestRotationEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(func(string, Event) {}, 0)
		r := loaded(t, h, nil)
		defer h.Release(r)
		m, other := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest)
		if err := m.Rotate(1); err != nil {
			t.Fatal(err)
		}
		h.CloseAll("bye")
		time.Sleep(time.Hour)
		if driverOf(r) != "" {
			t.Error("the seat goes round after the end")
		}
		m.Leave()
		other.Leave()
	})
}
