package live

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

func TestBring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anchor := base64.StdEncoding.EncodeToString([]byte{1, 2, 3})
		r := testRoom(t)
		host, guest, viewer := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest), enter(t, r, store.RoleViewer)
		if err := host.Bring("main", anchor); err != nil {
			t.Fatal(err)
		}
		told := last(t, viewer, "bring")
		if told["by"].(map[string]any)["id"] != host.You().ID || told["file"] != "main" || told["anchor"] != anchor {
			t.Errorf("a viewer is told %v", told)
		}
		for _, m := range []*Member{guest, viewer} {
			if got := code(m.Bring("main", anchor)); got != CodeNotAllowed {
				t.Errorf("a %s brings everyone somewhere: %q", m.You().Role, got)
			}
		}
		if err := guest.TakeSeat(); err != nil {
			t.Fatal(err)
		}
		if err := guest.Bring("main", anchor); err != nil {
			t.Errorf("the driver cannot: %v", err)
		}
		for _, bad := range [][2]string{{"", anchor}, {"a/b", anchor}, {"main", ""}, {"main", "!"}, {"main", strings.Repeat("AAAA", 100)}} {
			if got := code(host.Bring(bad[0], bad[1])); got != CodeBadMessage {
				t.Errorf("%q: %q", bad, got)
			}
		}
		var got []string
		for range bringsAtOnce {
			got = append(got, code(host.Bring("main", anchor)))
		}
		if want := []string{"", "", CodeTooFast}; !slices.Equal(got, want) {
			t.Errorf("at once: %q, want %q", got, want)
		}
		time.Sleep(time.Second) // of the bubble's clock
		if err := host.Bring("main", anchor); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}

func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		viewer, host := enter(t, r, store.RoleViewer), enter(t, r, store.RoleHost)
		rename := func(name string) string { return code(viewer.Update(&name, nil)) }
		for i := range namesAtOnce {
			if got := rename(strings.Repeat("v", i+1)); got != "" {
				t.Fatalf("change %d: %q", i, got)
			}
		}
		types(t, host)
		if got := rename("spam"); got != CodeTooFast {
			t.Errorf("one more: %q", got)
		}
		if told := types(t, host); len(told) != 0 {
			t.Errorf("a host is told %q", told)
		}
		if got := rename(viewer.You().Name); got != "" {
			t.Errorf("the same name: %q", got)
		}
		time.Sleep(time.Second)
		if got := rename("later"); got != "" {
			t.Errorf("a second later: %q", got)
		}
	})
}

// A guest who takes and gives up the seat again and again is stopped, and the others are told
// nothing of it; to give it up is always possible.
func TestSeatIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		guest, host := enter(t, r, store.RoleGuest), enter(t, r, store.RoleHost)
		for i := range seatsAtOnce {
			if got := code(guest.RequestSeat()); got != "" {
				t.Fatalf("request %d: %q", i, got)
			}
			if got := code(guest.RequestSeat()); got != "" {
				t.Fatalf("request %d again, with the seat: %q", i, got)
			}
			if got := code(guest.ReleaseSeat()); got != "" {
				t.Fatalf("release %d: %q", i, got)
			}
		}
		types(t, host)
		if got := []string{code(guest.RequestSeat()), code(guest.TakeSeat())}; !slices.Equal(got, []string{CodeTooFast, CodeTooFast}) {
			t.Errorf("one more: %q", got)
		}
		if told := types(t, host); len(told) != 0 {
			t.Errorf("a host is told %q", told)
		}
		if got := code(host.TakeSeat()); got != "" {
			t.Errorf("another's: %q", got)
		}
		time.Sleep(time.Second)
		if got := code(guest.RequestSeat()); got != "" {
			t.Errorf("a second later: %q", got)
		}
		if got := code(guest.RequestSeat()); got != "" {
			t.Errorf("who has asked already: %q", got)
		}
	})
}
