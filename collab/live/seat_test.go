package live

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

func code(err error) string {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestSeatRules(t *testing.T) {
	r := testRoom(t)
	host, guest, viewer := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest), enter(t, r, store.RoleViewer)
	seat := func() string { _, driver, _ := r.Participants(); return driver }
	steps := []struct {
		name   string
		do     func() error
		code   string
		driver *Member
	}{
		{"a viewer asks", viewer.RequestSeat, CodeNotAllowed, nil},
		{"a guest asks for a free seat", guest.RequestSeat, "", guest},
		{"a host asks for a taken one", host.RequestSeat, "", guest},
		{"who does not drive releases", host.ReleaseSeat, CodeNotDriver, guest},
		{"the driver gives to a viewer", func() error { return guest.GiveSeat(viewer.You().ID) }, CodeNotAllowed, guest},
		{"the driver gives to nobody", func() error { return guest.GiveSeat("p_nobody") }, CodeNotFound, guest},
		{"the driver gives to the host", func() error { return guest.GiveSeat(host.You().ID) }, "", host},
		{"a guest takes from a host", guest.TakeSeat, CodeNotAllowed, host},
		{"the host releases", host.ReleaseSeat, "", nil},
		{"a guest takes a free seat", guest.TakeSeat, "", guest},
		{"a host takes from a guest", host.TakeSeat, "", host},
		{"who starts a run while somebody drives", func() error { guest.SeatForStarter(); return nil }, "", host},
		{"who does not drive types", func() error { return guest.AsDriver(func(Seat) error { return nil }) }, CodeNotDriver, host},
		{"the driver types", func() error { return host.AsDriver(func(Seat) error { return nil }) }, "", host},
		{"a guest removes", func() error { return guest.Remove(viewer.You().ID) }, CodeNotAllowed, host},
		{"a host removes themselves", func() error { return host.Remove(host.You().ID) }, CodeNotAllowed, host},
	}
	for _, s := range steps {
		want := ""
		if s.driver != nil {
			want = s.driver.You().ID
		}
		if got := code(s.do()); got != s.code {
			t.Errorf("%s: %q, want %q", s.name, got, s.code)
		}
		if got := seat(); got != want {
			t.Errorf("%s: driver is %q, want %q", s.name, got, want)
		}
	}
}

func TestSeatIsKeptForWhoComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(func(string, Event) {}, 0)
		r := loaded(t, h, nil)
		req := JoinRequest{Name: "Dora", Role: store.RoleGuest, TokenHash: [32]byte{1}}
		m, err := r.Join(req, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.TakeSeat(); err != nil {
			t.Fatal(err)
		}
		id := m.You().ID
		m.Leave()
		time.Sleep(DriverGrace - time.Millisecond)
		req.Resume = h.resumeToken("room", id, req.TokenHash)
		back, err := r.Join(req, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * DriverGrace)
		if _, driver, _ := r.Participants(); back.You().ID != id || driver != id {
			t.Errorf("came back as %s, driver is %q, want %s", back.You().ID, driver, id)
		}
		back.Leave()
		h.Release(r)
		if rooms, _ := h.Rooms(); rooms != 1 {
			t.Errorf("a room whose driver may come back is forgotten")
		}
		time.Sleep(DriverGrace + time.Millisecond)
		synctest.Wait()
		if rooms, _ := h.Rooms(); rooms != 0 {
			t.Errorf("%d rooms are kept without anybody in them", rooms)
		}
		if _, driver, _ := r.Participants(); driver != "" {
			t.Errorf("the seat is kept for %q beyond the grace", driver)
		}
	})
}

func TestResumeIsNotForOthers(t *testing.T) {
	h := NewHub(func(string, Event) {}, 0)
	r := loaded(t, h, nil)
	defer h.Release(r)
	token := [32]byte{1}
	good := h.resumeToken("room", "p_somebody", token)
	for name, req := range map[string]JoinRequest{
		"forged":               {Resume: "p_somebody." + strings.Repeat("A", 22), TokenHash: token},
		"of another room":      {Resume: h.resumeToken("other", "p_somebody", token), TokenHash: token},
		"of a replaced link":   {Resume: good, TokenHash: [32]byte{2}},
		"of another process":   {Resume: NewHub(nil, 0).resumeToken("room", "p_somebody", token), TokenHash: token},
		"without a signature":  {Resume: "p_somebody", TokenHash: token},
		"with another's in it": {Resume: strings.Replace(good, "somebody", "nobody", 1), TokenHash: token},
	} {
		if id, ok := h.resumed("room", req); ok {
			t.Errorf("a resume string %s makes somebody %s", name, id)
		}
	}
	if id, ok := h.resumed("room", JoinRequest{Resume: good, TokenHash: token}); !ok || id != "p_somebody" {
		t.Errorf("a good resume string gives %q, %v", id, ok)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"Ada": true, "  Ada ": true, "": true, "Ådá 李 🙂": true,
		"two\nlines": false, "right\u202eto left": false, "bad\xff": false, strings.Repeat("x", MaxNameBytes+1): false,
	} {
		if err := CheckName(name); (err == nil) != want {
			t.Errorf("name %q: %v", name, err)
		}
	}
}
