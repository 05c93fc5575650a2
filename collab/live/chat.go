package live

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"corun/store"
)

// KindChat is the log's entry of a message of the chat; its data is a chatEvent.
const KindChat = "chat"

// CodeTooFast refuses who asks for something too often.
const CodeTooFast = "too_fast"

const (
	// MaxChat is how many messages of its chat a room keeps in memory, for hello.
	MaxChat = 200
	// maxChatBytes bounds those, in bytes of JSON: hello must fit into what may wait for one
	// participant. Full messages of ordinary text come to less.
	maxChatBytes   = 1 << 20
	maxChatText    = 4000 // bytes
	maxChatLinks   = 8
	maxAnchorBytes = 256
	maxLine        = 1 << 30
)

var fileID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ChatMessage is what a participant said, as everybody sees it.
type ChatMessage struct {
	ID    string      `json:"id"`
	At    time.Time   `json:"at"`
	By    Participant `json:"by"` // as they were then
	Text  string      `json:"text"`
	Links []Link      `json:"links"`
}

// Link is what a message points to: a run, or a line of a file.
type Link struct {
	Run    int    `json:"run,omitempty"`
	File   string `json:"file,omitempty"`   // its id
	Line   int    `json:"line,omitempty"`   // from 1
	Anchor string `json:"anchor,omitempty"` // of the line: a relative position of Yjs in base64, or ""
}

// chatEvent is a message in the log.
type chatEvent struct {
	Message ChatMessage `json:"message"`
}

// keptMessage is a message that hello has.
type keptMessage struct {
	ChatMessage
	bytes int // of its JSON
}

// Chat says something to everybody. checkRun gives the error of a run that is not in the room;
// it is called without the room's lock.
func (m *Member) Chat(text string, links []Link, checkRun func(number int) error) error {
	r := m.room
	if err := m.mayChat(); err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	if err := checkChat(text, links); err != nil {
		return err
	}
	for _, l := range links {
		if l.Run == 0 {
			continue
		}
		if err := checkRun(l.Run); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.closed != nil {
		return refuse(CodeNotAllowed, "this participant is being disconnected")
	}
	msg := ChatMessage{
		ID: "m_" + strings.ToLower(rand.Text()[:16]), At: r.hub.now().UTC().Truncate(time.Microsecond),
		By: m.who, Text: text, Links: append([]Link{}, links...),
	}
	r.keepChat(msg)
	r.broadcastAnswer(map[string]any{"type": "chat", "message": msg}, m.who.ID, m.ref)
	r.hub.log(r.id, Event{Kind: KindChat, Data: chatEvent{msg}, At: msg.At})
	return nil
}

// mayChat refuses viewers, and who says too much.
func (m *Member) mayChat() error {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if m.who.Role == store.RoleViewer {
		return refuse(CodeNotAllowed, "a viewer cannot write in the chat")
	}
	if !m.allowed.chats.AllowN(m.room.hub.now(), 1) {
		return refuse(CodeTooFast, "that is more than one message a second: wait a little")
	}
	return nil
}

// RemoveChat takes a message out of the chat, which a host may. erase takes its text out of
// the log; it is called without the room's lock, and its error is store.ErrNotFound for one
// that is not there.
func (m *Member) RemoveChat(id string, erase func() error) error {
	r := m.room
	if m.You().Role != store.RoleHost {
		return refuse(CodeNotAllowed, "only a host can remove a message")
	}
	// What everybody is told to be gone must be so in the log as well.
	err := erase()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := len(r.chat)
	r.chat = slices.DeleteFunc(r.chat, func(c keptMessage) bool { return c.ID == id })
	if err != nil && len(r.chat) == kept { // the log may have forgotten it earlier than the room
		return refuse(CodeNotFound, "there is no message %q in this room", id)
	}
	r.broadcastAnswer(map[string]any{"type": "chat.removed", "id": id, "by": m.who.ID}, m.who.ID, m.ref)
	return nil
}

// EraseName puts another name in the place of a participant's who has left.
func (r *Room) EraseName(participant, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.chat {
		if r.chat[i].By.ID == participant {
			r.chat[i].By.Name = name
		}
	}
	if r.run != nil && r.run.StartedBy == participant {
		run := *r.run // the other was given out
		run.StartedByName = name
		r.run = &run
	}
}

// keepChat adds a message to those that hello has. mu is held.
func (r *Room) keepChat(msg ChatMessage) {
	r.chat = append(r.chat, keptMessage{msg, len(mustJSON(msg))})
	size := 0
	for i, msg := range slices.Backward(r.chat) {
		if size += msg.bytes; size > maxChatBytes || len(r.chat)-i > MaxChat {
			r.chat = slices.Delete(r.chat, 0, i+1)
			break
		}
	}
}

// chatSoFar is what hello has of the chat, the oldest message first. mu is held.
func (r *Room) chatSoFar() []ChatMessage {
	all := make([]ChatMessage, len(r.chat))
	for i, msg := range r.chat {
		all[i] = msg.ChatMessage
	}
	return all
}

// checkChat tells what is wrong with a message, if anything is.
func checkChat(text string, links []Link) error {
	switch {
	case text == "":
		return refuse(CodeBadMessage, "text is missing: say something")
	case len(text) > maxChatText:
		return refuse(CodeBadMessage, "text has %d bytes: at most %d are allowed", len(text), maxChatText)
	case !utf8.ValidString(text):
		return refuse(CodeBadMessage, "text is not valid UTF-8")
	case len(links) > maxChatLinks:
		return refuse(CodeBadMessage, "there are %d links: at most %d are allowed", len(links), maxChatLinks)
	}
	for _, c := range text {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return refuse(CodeBadMessage, "text holds the control character %U: leave it out", c)
		}
		// Those that change the order of what follows could make it look like something else.
		if c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return refuse(CodeBadMessage, "text holds the direction control %U: leave it out", c)
		}
	}
	for i, l := range links {
		if err := l.check(); err != nil {
			return refuse(CodeBadMessage, "links[%d]: %v", i, err)
		}
	}
	return nil
}

// check tells what is wrong with a link, if anything is.
func (l Link) check() error {
	anchor, err := base64.StdEncoding.DecodeString(l.Anchor)
	switch {
	case l.Run != 0 && l != (Link{Run: l.Run}):
		return errors.New("give run, or file and line, not both")
	case l.Run < 0:
		return errors.New("run is the number of a run, 1 or more")
	case l.Run > 0:
		return nil
	case !fileID.MatchString(l.File):
		return errors.New("give run, or the id of a file and a line")
	case l.Line < 1 || l.Line > maxLine:
		return errors.New("line is the number of a line, 1 or more")
	case err != nil:
		return errors.New("anchor is not base64")
	case len(anchor) > maxAnchorBytes:
		return errors.New("anchor has more than 256 bytes")
	}
	return nil
}

// ChatOf reads the chat from a room's events, oldest first. What is no message, as a bundle
// may hold it, is left out.
func ChatOf(events []store.Event) []ChatMessage {
	var chat []ChatMessage
	for _, e := range events {
		var data chatEvent
		if json.Unmarshal(e.Data, &data) != nil {
			continue
		}
		msg := data.Message
		if e.Kind != KindChat || msg.ID == "" || checkChat(msg.Text, msg.Links) != nil {
			continue
		}
		msg.At, msg.Links = e.At.UTC(), append([]Link{}, msg.Links...)
		chat = append(chat, msg)
	}
	return chat
}
