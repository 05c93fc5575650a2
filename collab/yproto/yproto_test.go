package yproto

import (
	"bytes"
	"errors"
	"testing"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		want  Message
		bad   bool
	}{
		{"step 1", AppendSync(nil, SyncStep1, []byte{0}), Message{SyncStep1, []byte{0}}, false},
		{"step 2", AppendSync(nil, SyncStep2, []byte{0, 0}), Message{SyncStep2, []byte{0, 0}}, false},
		{"update", AppendSync(nil, SyncUpdate, []byte{0, 0}), Message{SyncUpdate, []byte{0, 0}}, false},
		{"awareness", AppendAwareness(nil, []byte{0}), Message{AwarenessState, []byte{0}}, false},
		{"query", []byte{3}, Message{Kind: QueryAwareness}, false},
		{"more behind it", append(AppendSync(nil, SyncStep1, []byte{0}), 9, 9), Message{SyncStep1, []byte{0}}, false},
		{"empty", nil, Message{}, true},
		{"auth", AppendDenied(nil, "no"), Message{}, true},
		{"unknown kind", []byte{9}, Message{}, true},
		{"unknown step", []byte{0, 3, 0}, Message{}, true},
		{"no payload", []byte{0, 0}, Message{}, true},
		{"short payload", []byte{0, 2, 5, 1}, Message{}, true},
		{"huge length", []byte{0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, Message{}, true},
		{"endless number", bytes.Repeat([]byte{0xff}, 20), Message{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(tt.frame)
			if tt.bad {
				if !errors.Is(err, ErrBadFrame) {
					t.Fatalf("got %v, %v; want a bad frame", got, err)
				}
				return
			}
			if err != nil || got.Kind != tt.want.Kind || !bytes.Equal(got.Payload, tt.want.Payload) {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func changes(payload []byte) (all []AwarenessChange, err error) {
	err = DecodeAwareness(payload, func(c AwarenessChange) { all = append(all, c) })
	return all, err
}

func TestAwareness(t *testing.T) {
	a := NewAwareness()
	set := func(client, clock uint64, state string) int {
		all, err := changes(EncodeAwareness([]AwarenessChange{{client, clock, []byte(state)}}))
		if err != nil {
			t.Fatal(err)
		}
		return len(a.Apply(all))
	}
	for _, step := range []struct {
		client, clock uint64
		state         string
		news          int
	}{
		{1, 0, `{"a":1}`, 1}, {1, 0, `{"a":2}`, 0}, {1, 2, `{"a":2}`, 1}, {1, 1, `{"a":1}`, 0},
		{1, 2, `null`, 1}, {1, 2, `null`, 0}, {1, 3, `{}`, 1}, {2, 5, `null`, 0},
	} {
		if got := set(step.client, step.clock, step.state); got != step.news {
			t.Errorf("%+v: %d were news", step, got)
		}
	}
	if all := a.All(); len(all) != 1 || string(all[0].State) != "{}" {
		t.Errorf("all is %v", all)
	}
	if gone := a.Remove([]uint64{1, 7}); len(gone) != 1 || gone[0].Clock != 3 || gone[0].State != nil {
		t.Errorf("gone is %v", gone)
	}
	if news := set(1, 3, `{}`); news != 0 {
		t.Errorf("an old state brought a departed client back")
	}
	if c, ok := a.Departed(1); !ok || c.Clock != 3 || c.State != nil {
		t.Errorf("departed is %v, %v", c, ok)
	}
	if _, err := changes(EncodeAwareness([]AwarenessChange{{1, 1, []byte("{")}})); !errors.Is(err, ErrBadFrame) {
		t.Errorf("a state that is not JSON gives %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendSync(nil, SyncUpdate, []byte{0, 0}))
	f.Add(AppendAwareness(nil, EncodeAwareness([]AwarenessChange{{1, 2, []byte(`{"x":1}`)}})))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err == nil && m.Kind == AwarenessState {
			if all, err := changes(m.Payload); err == nil {
				a := NewAwareness()
				a.Apply(all)
				EncodeAwareness(a.All())
			}
		}
	})
}
