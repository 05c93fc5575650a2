package web

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"corun/collab"
	"corun/collab/live"
	"corun/runner"
	"corun/store"
)

// maxLiveMessage is the largest web socket message on /live. Pasted input comes
// in pieces of this size at most.
const maxLiveMessage = 1 << 20

// clientMessage is the union of all that a client may send; CONTRACT.md §5
// tells which type has which fields. Fields that a type does not have are
// ignored.
type clientMessage struct {
	Type string          `json:"type"`
	Ref  json.RawMessage `json:"ref"`

	Run    int    `json:"run"`
	Data   string `json:"data"`
	Signal string `json:"signal"`
	To     string `json:"to"`
	ID     string `json:"id"`

	Withdraw bool     `json:"withdraw"`
	Minutes  *float64 `json:"minutes"`

	Text  string      `json:"text"`
	Links []live.Link `json:"links"`

	File   string `json:"file"`
	Anchor string `json:"anchor"`

	Name *string `json:"name"`
	Hue  *int    `json:"hue"`

	roomPatch
	runRequest
}

// liveClient is one socket on /live.
type liveClient struct {
	server *Server
	access *access
	ip     string
	room   *live.Room
	doc    *collab.Room
	member *live.Member
	id     string // the participant's
}

func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	a, err := s.authorize(r.Context(), r.PathValue("room"), q.Get("token"))
	if err != nil {
		return err
	}
	hue := 210
	if q.Has("hue") {
		if hue, err = strconv.Atoi(q.Get("hue")); err != nil || hue < 0 || hue > 359 {
			return badField("hue", "hue is %q: give a whole number from 0 to 359", q.Get("hue"))
		}
	}
	join := live.JoinRequest{
		Name: q.Get("name"), Hue: hue, Role: a.role, TokenHash: a.tokenHash, Resume: q.Get("resume"),
	}
	if err := live.CheckName(join.Name); err != nil {
		return badField("name", "%v", err)
	}
	if join.Session, err = sessionOf(q); err != nil {
		return err
	}
	return s.socket(w, r, func(ctx context.Context, ws *websocket.Conn) error {
		if a.room.Ended {
			return &live.CloseError{Code: live.CloseRoomEnded, Reason: "the host ended this room"}
		}
		doc, err := s.cfg.Rooms.Acquire(ctx, a.room.ID)
		if err != nil {
			return err
		}
		defer doc.Release()
		room, err := s.liveRoom(ctx, a.room.ID)
		if err != nil {
			return err
		}
		defer s.live.Release(room)
		join.Document = doc
		member, err := s.joinLive(ctx, a, room, join)
		if err != nil {
			return err
		}
		defer member.Leave()
		if !a.expires.IsZero() {
			defer time.AfterFunc(time.Until(a.expires), func() {
				room.Disconnect(func(m *live.Member) bool { return m == member }, live.CloseRemoved, expired)
			}).Stop()
		}
		if err := s.stillGood(ctx, a); err != nil {
			return err
		}
		if !s.cfg.Rooms.Writable() && !member.Waits() {
			member.Send(storageMessage(false))
		}
		c := &liveClient{server: s, access: a, ip: s.remoteIP(r), room: room, doc: doc, member: member, id: member.You().ID}
		return s.pump(ctx, ws, c.ip, maxLiveMessage,
			func(kind int, data []byte) error { return c.receive(ctx, kind, data) },
			func(ctx context.Context) error {
				frames, err := member.Next(ctx)
				if err != nil {
					return err
				}
				for _, f := range frames {
					kind := websocket.TextMessage
					if f.Binary {
						kind = websocket.BinaryMessage
					}
					if err := writeMessage(ws, kind, f.Data); err != nil {
						return err
					}
				}
				return nil
			})
	})
}

// joinLive makes a connection one of the room's, or lets it wait in the lobby.
func (s *Server) joinLive(ctx context.Context, a *access, room *live.Room, join live.JoinRequest) (*live.Member, error) {
	if !a.mustWait() {
		view, err := s.viewRoom(ctx, a.room)
		if err != nil {
			return nil, err
		}
		return room.Join(join, view, s.cfg.Runner.Languages())
	}
	member, err := room.Wait(join, s.cfg.Runner.Languages())
	if err != nil {
		return nil, err
	}
	// Who starts the room stores that first. So either they found this member waiting, or it is
	// found here.
	if err := s.letInIfStarted(ctx, a.room.ID, member); err != nil {
		member.Leave()
		return nil, err
	}
	return member, nil
}

func (s *Server) letInIfStarted(ctx context.Context, id string, member *live.Member) error {
	row, err := s.cfg.Store.Room(ctx, id)
	if err != nil || row.Lobby {
		return err
	}
	view, err := s.viewRoom(ctx, row)
	if err != nil {
		return err
	}
	member.LetIn(view)
	return nil
}

// mayWaiting tells whether somebody in the lobby may send a message.
func mayWaiting(kind string) bool { return kind == "ping" || kind == "participant.update" }

// errWaiting refuses the others.
var errWaiting = &live.Error{Code: live.CodeNotAllowed, Message: errWait.Detail}

// receive handles one message; what is refused is answered with error. Its own
// error ends the connection.
func (c *liveClient) receive(ctx context.Context, kind int, data []byte) error {
	if err := c.member.Handling(nil); err != nil {
		return err
	}
	if kind == websocket.BinaryMessage {
		if c.member.Waits() {
			c.fail(errWaiting, nil)
			return nil
		}
		if err := c.input(data); err != nil {
			c.fail(err, nil)
		}
		return nil
	}
	var msg clientMessage
	if !utf8.Valid(data) {
		c.member.Fail(live.CodeBadMessage, "the message is not valid UTF-8", nil)
		return nil
	}
	if err := json.Unmarshal(data, &msg); err != nil {
		_, detail := explainJSON(err)
		// Whatever else is wrong, the answer should find the question: what can be
		// read of it was.
		c.member.Fail(live.CodeBadMessage, detail, msg.Ref)
		return nil
	}
	if err := c.member.Handling(msg.Ref); err != nil {
		return err
	}
	if err := c.handle(ctx, &msg); err != nil {
		c.fail(err, msg.Ref)
	}
	return nil
}

func (c *liveClient) handle(ctx context.Context, msg *clientMessage) error {
	if !mayWaiting(msg.Type) && c.member.Waits() {
		return errWaiting
	}
	switch msg.Type {
	case "run.start":
		return c.startRun(ctx, msg)
	case "run.stop":
		return c.withRun(msg.Run, func(run *runner.Run) error { return run.Stop() })
	case "stdin":
		return c.stdin(msg.Run, []byte(msg.Data))
	case "stdin.eof":
		return c.asDriver(msg.Run, func(run *runner.Run, _ live.Seat) error { return run.StdinEOF() })
	case "resize":
		return c.asDriver(0, func(run *runner.Run, _ live.Seat) error { return run.Resize(msg.Cols, msg.Rows) })
	case "signal":
		return c.asDriver(msg.Run, func(run *runner.Run, _ live.Seat) error { return run.Signal(msg.Signal) })
	case "driver.request":
		if msg.Withdraw {
			c.member.WithdrawRequest()
			return nil
		}
		return c.member.RequestSeat()
	case "driver.grant":
		return c.member.GrantSeat(msg.To)
	case "driver.deny":
		return c.member.DenySeat(msg.To)
	case "driver.rotate":
		if msg.Minutes == nil {
			return &live.Error{Code: live.CodeBadMessage, Message: "minutes is missing: give after how many minutes the seat is handed on, or 0"}
		}
		return c.member.Rotate(*msg.Minutes)
	case "driver.give":
		return c.member.GiveSeat(msg.To)
	case "driver.take":
		return c.member.TakeSeat()
	case "driver.release":
		return c.member.ReleaseSeat()
	case "chat":
		return c.member.Chat(msg.Text, msg.Links, func(run int) error {
			_, err := c.server.findRun(ctx, c.access.room.ID, run)
			return err
		})
	case "chat.remove":
		return c.member.RemoveChat(msg.ID, func() error {
			if err := c.server.events.stored(ctx); err != nil {
				return err
			}
			return c.server.cfg.Store.EraseChat(ctx, c.access.room.ID, msg.ID, c.id)
		})
	case "bring":
		return c.member.Bring(msg.File, msg.Anchor)
	case "participant.update":
		return c.member.Update(msg.Name, msg.Hue)
	case "participant.remove":
		return c.remove(ctx, msg.ID)
	case "room.update":
		if c.access.role != store.RoleHost {
			return &live.Error{Code: live.CodeNotAllowed, Message: "only a host can change the room"}
		}
		_, err := c.server.updateRoom(ctx, c.access.room.ID, msg.roomPatch, live.Answer{To: c.id, Ref: msg.Ref})
		return err
	case "saved?":
		sv, err := c.doc.StateVector(ctx)
		if err != nil {
			return err
		}
		answer := live.SavedMessage(sv)
		addRef(answer, msg.Ref)
		c.member.Send(answer)
		return nil
	case "ping":
		answer := map[string]any{"type": "pong"}
		addRef(answer, msg.Ref)
		c.member.Send(answer)
		return nil
	}
	return &live.Error{Code: live.CodeUnknownType, Message: "there is no message type " + strconv.Quote(msg.Type) + " here"}
}

func addRef(answer map[string]any, ref json.RawMessage) {
	if len(ref) > 0 {
		answer["ref"] = ref
	}
}

// fail answers with the error that a client sees; ours are logged.
func (c *liveClient) fail(err error, ref json.RawMessage) {
	var refused *live.Error
	var p *problem
	switch {
	case errors.As(err, &refused):
		c.member.Fail(refused.Code, refused.Message, ref)
		return
	case errors.As(err, &p):
	default:
		p = c.server.translate(err)
	}
	if p == nil {
		c.server.log.Error("live message failed", "room", c.access.room.ID, "error", err)
		c.member.Fail("internal", "something went wrong on the server; it is in the server's log", ref)
		return
	}
	c.member.Fail(problemCode(err, p), p.Detail, ref)
}

func (c *liveClient) startRun(ctx context.Context, msg *clientMessage) error {
	if c.access.role == store.RoleViewer {
		return &live.Error{Code: live.CodeNotAllowed, Message: "a viewer cannot run the program"}
	}
	you := c.member.You()
	_, err := c.server.startRun(ctx, c.access.room.ID, starter{id: you.ID, name: you.Name, ip: c.ip, ref: msg.Ref}, msg.runRequest)
	if err != nil {
		return err
	}
	c.member.SeatForStarter()
	return nil
}

// withRun calls fn with the room's active run, which must be the number given,
// for those who may run. Number 0 stands for whichever is active.
func (c *liveClient) withRun(number int, fn func(*runner.Run) error) error {
	if c.access.role == store.RoleViewer {
		return &live.Error{Code: live.CodeNotAllowed, Message: "a viewer cannot do this"}
	}
	run := c.server.cfg.Runner.Active(c.access.room.ID)
	if run == nil || (number != 0 && run.Number() != number) {
		return &live.Error{Code: "no_run", Message: "that run is not active"}
	}
	return fn(run)
}

// asDriver is withRun for the driver alone; the seat cannot change hands
// meanwhile.
func (c *liveClient) asDriver(number int, fn func(*runner.Run, live.Seat) error) error {
	return c.member.AsDriver(func(seat live.Seat) error {
		return c.withRun(number, func(run *runner.Run) error { return fn(run, seat) })
	})
}

// stdin passes input on and, where no terminal echoes it, shows it to all.
func (c *liveClient) stdin(number int, data []byte) error {
	return c.asDriver(number, func(run *runner.Run, seat live.Seat) error {
		at := time.Now() // the program may answer before Stdin returns
		if err := run.Stdin(c.id, data); err != nil {
			return err
		}
		row := run.Snapshot()
		c.server.noteInput(at, &row, c.id, data, run.Typed()-int64(len(data)))
		if row.Mode == runner.ModePipes {
			seat.Echo(string(data))
		}
		return nil
	})
}

// input takes a binary frame: u8 0, u32 BE run number, bytes.
func (c *liveClient) input(frame []byte) error {
	if len(frame) < 5 || frame[0] != 0 {
		return &live.Error{Code: live.CodeBadMessage, Message: "an input frame is a zero byte, the run number in four bytes big-endian, and the input"}
	}
	return c.stdin(int(binary.BigEndian.Uint32(frame[1:])), frame[5:])
}

// remove throws a participant out and closes their way back: the link they held
// is replaced, and the others who came by it are given the new one.
func (c *liveClient) remove(ctx context.Context, id string) error {
	role, err := c.member.CheckRemove(id)
	if err != nil {
		return err
	}
	if c.access.tokenHash == ([32]byte{}) {
		return c.member.Remove(id) // an open room has no links to replace
	}
	token, old, err := c.server.replaceToken(ctx, c.access.room.ID, role, nil)
	if err != nil {
		return err
	}
	// Removed before the others are told: who is closing is not told.
	err = c.member.Remove(id)
	c.room.Rekey(role, token, store.HashToken(token))
	const reason = "a host removed somebody who came by this link: use the new one"
	c.doc.DisconnectToken(old, live.CloseRemoved, reason)
	return errors.Join(err, c.server.closeNotes(ctx, c.access.room.ID, old, live.CloseRemoved, reason))
}
