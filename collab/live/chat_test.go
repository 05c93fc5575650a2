package live

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corun/store"
)

// anyRun takes every run for one of the room's.
func anyRun(int) error { return nil }

func TestChatRules(t *testing.T) {
	anchor := base64.StdEncoding.EncodeToString(make([]byte, maxAnchorBytes))
	long := base64.StdEncoding.EncodeToString(make([]byte, maxAnchorBytes+1))
	noRun := errors.New("no such run")
	for name, tt := range map[string]struct {
		text  string
		links []Link
		code  string
	}{
		"plain":                {"hello", nil, ""},
		"lines":                {"a\n\tb 李 🙂 \u200f", nil, ""},
		"most":                 {"  " + strings.Repeat("x", maxChatText) + "\n", nil, ""},
		"empty":                {" \n\t ", nil, CodeBadMessage},
		"too much":             {strings.Repeat("x", maxChatText+1), nil, CodeBadMessage},
		"not UTF-8":            {"a\xff", nil, CodeBadMessage},
		"a control character":  {"a\x1b[31m", nil, CodeBadMessage},
		"a carriage return":    {"a\rb", nil, CodeBadMessage},
		"of the second kind":   {"a\u0085b", nil, CodeBadMessage},
		"an override":          {"a\u202eb", nil, CodeBadMessage},
		"links":                {"see", []Link{{Run: 1}, {File: "main", Line: 1}, {File: "A_-9", Line: 12, Anchor: anchor}}, ""},
		"most links":           {"see", slices.Repeat([]Link{{Run: 1}}, maxChatLinks), ""},
		"too many links":       {"see", slices.Repeat([]Link{{Run: 1}}, maxChatLinks+1), CodeBadMessage},
		"an empty link":        {"see", []Link{{}}, CodeBadMessage},
		"a negative run":       {"see", []Link{{Run: -1}}, CodeBadMessage},
		"run and file":         {"see", []Link{{Run: 1, File: "main", Line: 1}}, CodeBadMessage},
		"run and anchor":       {"see", []Link{{Run: 1, Anchor: anchor}}, CodeBadMessage},
		"a line of no file":    {"see", []Link{{Line: 1}}, CodeBadMessage},
		"a file without line":  {"see", []Link{{File: "main"}}, CodeBadMessage},
		"line 0":               {"see", []Link{{File: "main", Line: -1}}, CodeBadMessage},
		"a bad file":           {"see", []Link{{File: "../x", Line: 1}}, CodeBadMessage},
		"a long anchor":        {"see", []Link{{File: "main", Line: 1, Anchor: long}}, CodeBadMessage},
		"an anchor in letters": {"see", []Link{{File: "main", Line: 1, Anchor: "*"}}, CodeBadMessage},
		"a run of another":     {"see", []Link{{Run: 1}, {Run: 7}}, noRun.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRoom(t)
			m, other := enter(t, r, store.RoleGuest), enter(t, r, store.RoleViewer)
			drain(t, other)
			got := code(m.Chat(tt.text, tt.links, func(n int) error {
				if n == 7 {
					return noRun
				}
				return nil
			}))
			if told := types(t, other); got != tt.code || slices.Equal(told, []string{"chat"}) != (tt.code == "") {
				t.Errorf("%q, want %q; the others are told %q", got, tt.code, told)
			}
		})
	}
	r := testRoom(t)
	if got := code(enter(t, r, store.RoleViewer).Chat("hello", nil, anyRun)); got != CodeNotAllowed {
		t.Errorf("a viewer says something: %q", got)
	}
}

func TestChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []store.Event
		h := NewHub(func(_ string, e Event) {
			data, err := json.Marshal(e.Data)
			if err != nil {
				t.Error(err)
			}
			events = append(events, store.Event{ID: int64(len(events)), Kind: e.Kind, At: e.At, Data: data})
		}, 0)
		r := loaded(t, h, nil)
		host, guest := enter(t, r, store.RoleHost), enter(t, r, store.RoleGuest)
		at := time.Now()
		if err := errors.Join(guest.Handling([]byte("7")), guest.Chat(" look <here> ", []Link{{File: "main", Line: 3}}, anyRun)); err != nil {
			t.Fatal(err)
		}
		own, told := last(t, guest, "chat"), last(t, host, "chat")
		if own["ref"] != 7.0 || told["ref"] != nil {
			t.Errorf("who says something is told %v, another %v", own, told)
		}
		msg := told["message"].(map[string]any)
		if sent, err := time.Parse(time.RFC3339Nano, msg["at"].(string)); err != nil || !sent.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("said at %v, %v; want %v", msg["at"], err, at)
		}
		if msg["text"] != "look <here>" || msg["by"].(map[string]any)["id"] != guest.You().ID || fmt.Sprint(msg["links"]) != "[map[file:main line:3]]" {
			t.Errorf("told %v", msg)
		}
		// chat is what who comes now is told.
		chat := func(r *Room) (texts []string) {
			t.Helper()
			late := enter(t, r, store.RoleViewer)
			defer late.Leave()
			for _, m := range last(t, late, "hello")["chat"].([]any) {
				texts = append(texts, m.(map[string]any)["text"].(string))
			}
			return texts
		}
		if got := chat(r); !slices.Equal(got, []string{"look <here>"}) {
			t.Errorf("who comes later is told %q", got)
		}
		// Ten at once, then one a second; a second connection of the same person has no more.
		for range chatsAtOnce - 1 {
			if err := guest.Chat("again", nil, anyRun); err != nil {
				t.Fatal(err)
			}
		}
		back := JoinRequest{Role: store.RoleGuest, Resume: h.resumeToken("room", guest.You().ID, [32]byte{})}
		guest, err := r.Join(back, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer guest.Leave()
		for _, want := range []string{CodeTooFast, CodeTooFast, "", CodeTooFast} {
			if want == "" {
				time.Sleep(time.Second)
			}
			if got := code(guest.Chat("fast", nil, anyRun)); got != want {
				t.Errorf("too fast: %q, want %q", got, want)
			}
		}
		if err := host.Chat("slowly", nil, anyRun); err != nil {
			t.Errorf("another is too fast: %v", err)
		}
		// The last ones stay.
		for i := range MaxChat {
			time.Sleep(time.Second)
			if err := host.Chat(fmt.Sprint(i), nil, anyRun); err != nil {
				t.Fatal(err)
			}
		}
		got := chat(r)
		if len(got) != MaxChat || got[0] != "0" || got[MaxChat-1] != fmt.Sprint(MaxChat-1) {
			t.Errorf("%d are kept, from %q on", len(got), got[0])
		}
		// Read from the log it is the same; what is no message there is left out.
		for _, bad := range []string{`5`, `{}`, `{"message":{"id":"x","text":""}}`, `{"message":{"id":"x","text":"a","links":[{}]}}`, `{"message":{"text":"a"}}`} {
			events = append(events, store.Event{Kind: KindChat, Data: json.RawMessage(bad)})
		}
		read := ChatOf(events)
		if len(read) != chatsAtOnce+2+MaxChat || read[0].By != (Participant{guest.You().ID, "Somebody", 0, store.RoleGuest}) || read[0].At.IsZero() || read[1].Links == nil {
			t.Errorf("%d messages are read from the log, the first %+v", len(read), read[0])
		}
		again := NewHub(func(string, Event) {}, 0)
		restored := loaded(t, again, func() (Restored, error) { return Restored{Chat: read}, nil })
		defer again.Release(restored)
		if after := chat(restored); !slices.Equal(after, got) {
			t.Errorf("restored is %q, want %q", after, got)
		}
		h.Release(r)
	})
}

// Whatever is said, who comes can be told all that is kept of it.
func TestChatFitsIntoHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRoom(t)
		m := enter(t, r, store.RoleGuest)
		worst := slices.Repeat([]Link{{File: strings.Repeat("x", 64), Line: maxLine, Anchor: base64.StdEncoding.EncodeToString(make([]byte, maxAnchorBytes))}}, maxChatLinks)
		for range MaxChat {
			time.Sleep(time.Second)
			if err := m.Chat(strings.Repeat("<", maxChatText), worst, anyRun); err != nil {
				t.Fatal(err)
			}
			drain(t, m)
		}
		late := enter(t, r, store.RoleViewer)
		if hello := last(t, late, "hello"); len(hello["chat"].([]any)) < 20 {
			t.Errorf("%d messages are kept", len(hello["chat"].([]any)))
		}
		if len(r.chat) >= MaxChat {
			t.Error("the bound in bytes was not reached")
		}
	})
}

func TestRemoveChat(t *testing.T) {
	broken := errors.New("the disk is gone")
	for name, tt := range map[string]struct {
		host  bool
		id    string // "" for the message's
		erase error
		code  string
		gone  bool
	}{
		"a host":                       {true, "", nil, "", true},
		"a guest":                      {false, "", nil, CodeNotAllowed, false},
		"one that only the log has":    {true, "m_old", nil, "", false},
		"one that nobody has":          {true, "m_none", store.ErrNotFound, CodeNotFound, false},
		"one that the log has no more": {true, "", fmt.Errorf("x: %w", store.ErrNotFound), "", true},
		"one that the store still has": {true, "", broken, broken.Error(), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRoom(t)
			guest, other := enter(t, r, store.RoleGuest), enter(t, r, store.RoleViewer)
			asks := guest
			if tt.host {
				asks = enter(t, r, store.RoleHost)
			}
			if err := guest.Chat("oops", nil, anyRun); err != nil {
				t.Fatal(err)
			}
			id := tt.id
			if id == "" {
				id = r.chat[0].ID
			}
			drain(t, other)
			if got := code(asks.RemoveChat(id, func() error { return tt.erase })); got != tt.code {
				t.Errorf("%q, want %q", got, tt.code)
			}
			if gone := len(r.chat) == 0; gone != tt.gone {
				t.Errorf("it is gone: %v", gone)
			}
			if tt.code != "" {
				if told := types(t, other); len(told) > 0 {
					t.Errorf("the others are told %q", told)
				}
				return
			}
			if m := last(t, other, "chat.removed"); m["id"] != id || m["by"] != asks.You().ID {
				t.Errorf("the others are told %v", m)
			}
		})
	}
}
