package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"corun/store"
)

// Who waits is told nothing of the room, whatever happens in it, until they are let in; hosts
// alone are told of them.
func TestLobby(t *testing.T) {
	r := testRoom(t)
	host, err := r.Join(JoinRequest{Name: "Hanna", Role: store.RoleHost}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, host)
	guest, err := r.Wait(JoinRequest{Name: "Gus", Role: store.RoleGuest, TokenHash: [32]byte{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := types(t, guest); len(got) != 1 || got[0] != "lobby" {
		t.Fatalf("who waits is told %v, want lobby alone", got)
	}
	if list := waiting(t, host, "lobby.waiting")["participants"].([]any); len(list) != 1 {
		t.Fatalf("a host is told that %v wait, want one", list)
	}

	// The room goes on without them.
	r.RunStarted(store.Run{Number: 1})
	r.RunOutput(1, 1, []byte("secret"))
	if err := host.Chat("secret", nil, nil); err != nil {
		t.Fatal(err)
	}
	name := "Gustav"
	if err := guest.Update(&name, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range drain(t, guest) {
		if f.Binary || bytes.Contains(f.Data, []byte("secret")) || decode(t, f).Type != "participant.updated" {
			t.Errorf("who waits is sent %q", f.Data)
		}
	}
	if all, _, _ := r.Participants(); len(all) != 1 {
		t.Errorf("%d participants are there, want the host alone", len(all))
	}

	drain(t, host)
	r.Start(map[string]any{"lobby": false})
	if guest.Waits() {
		t.Error("the guest waits still")
	}
	hello := waiting(t, guest, "hello")
	if hello["waiting"] != nil || hello["you"].(map[string]any)["name"] != "Gustav" || len(hello["participants"].([]any)) != 2 {
		t.Errorf("the guest is told %v", hello)
	}
	if got := waiting(t, host, "participant.joined")["participant"].(map[string]any)["name"]; got != "Gustav" {
		t.Errorf("the host hears that %v has come, want Gustav", got)
	}
	guest.Leave()
	if all, _, _ := r.Participants(); len(all) != 1 {
		t.Errorf("%d participants are there when the guest has left, want one", len(all))
	}
}

// All that ends connections, or changes what they came by, is for those who wait too.
func TestLobbyEnds(t *testing.T) {
	r := testRoom(t)
	host, err := r.Join(JoinRequest{Name: "Hanna", Role: store.RoleHost}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wait := func(req JoinRequest) *Member {
		t.Helper()
		req.Role = store.RoleGuest
		m, err := r.Wait(req, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	list := func() int {
		t.Helper()
		var all []Participant
		data, err := json.Marshal(waiting(t, host, "lobby.waiting")["participants"])
		if err == nil {
			err = json.Unmarshal(data, &all)
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	removed := wait(JoinRequest{Name: "A"})
	drain(t, host)
	if err := host.Remove(removed.You().ID); err != nil {
		t.Fatal(err)
	}
	if code := closeCode(t, removed); code != CloseRemoved {
		t.Errorf("who is removed is closed with %d", code)
	}
	removed.Leave()
	if n := list(); n != 0 {
		t.Errorf("%d wait after one was removed, want none", n)
	}

	hash := [32]byte{7}
	rekeyed := wait(JoinRequest{Name: "B", TokenHash: [32]byte{6}})
	r.Rekey(store.RoleGuest, "new", hash)
	if got := waiting(t, rekeyed, "token.rotated")["token"]; got != "new" {
		t.Errorf("who waits is given the token %v", got)
	}
	r.Disconnect(func(m *Member) bool { return m.CameBy(hash) }, CloseRemoved, "rotated")
	if code := closeCode(t, rekeyed); code != CloseRemoved {
		t.Errorf("who came by a token that was replaced is closed with %d", code)
	}
	rekeyed.Leave()

	late := wait(JoinRequest{Name: "C"})
	drain(t, host)
	late.LetIn(nil)
	late.LetIn(nil)
	if n := list(); n != 0 || late.Waits() {
		t.Errorf("%d wait after the last was let in", n)
	}
	r.Start(nil)
	if all, _, _ := r.Participants(); len(all) != 2 {
		t.Errorf("%d participants are there, want two", len(all))
	}
}

// However many wait, hosts can come, who alone can let them in.
func TestLobbyKeepsNoHostOut(t *testing.T) {
	r := testRoom(t)
	for range MaxParticipants {
		if _, err := r.Wait(JoinRequest{Role: store.RoleGuest}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Wait(JoinRequest{Role: store.RoleGuest}, nil); !errors.Is(err, ErrRoomFull) {
		t.Errorf("one more who waits: %v", err)
	}
	if _, err := r.Join(JoinRequest{Role: store.RoleGuest}, nil, nil); !errors.Is(err, ErrRoomFull) {
		t.Errorf("a guest: %v", err)
	}
	if _, err := r.Join(JoinRequest{Role: store.RoleHost}, nil, nil); err != nil {
		t.Errorf("a host: %v", err)
	}
}
