package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab/ycrdt"
	"corun/collab/yproto"
)

const (
	// keysGoal is how much longer a keystroke may take while a program floods, at p99.
	keysGoal = 1.5
	// keysTurns is how often quiet and flood take turns.
	keysTurns = 10
	// keysPause is between a keystroke that was seen and the next one.
	keysPause = 5 * time.Millisecond
	// keysWatchers see what the program prints.
	keysWatchers = 3
	// floodBegun is how much of a flood has been seen when it counts as one.
	floodBegun = 1 << 20
)

// keystrokes measures how long an edit takes from one client of /sync to another of the same
// room, while nothing runs and, in turns, while a program of that room floods its terminal as
// fast as it can and three watch it on /live. A flood ends at the limit on output; then the
// next one begins.
func keystrokes(ctx context.Context, out io.Writer, s *server, n int) (err error) {
	var made struct {
		ID     string            `json:"id"`
		Tokens map[string]string `json:"tokens"`
	}
	err = s.post(ctx, "/api/v1/rooms", map[string]any{
		"language": "bash", "files": []map[string]string{{"path": "main.sh", "content": "exec yes 'A line of what a program prints that has run away.'\n"}},
	}, &made)
	if err != nil {
		return err
	}
	typist, err := s.openSync(ctx, made.ID, made.Tokens["guest"])
	if err != nil {
		return err
	}
	defer typist.ws.Close()
	reader, err := s.openSync(ctx, made.ID, made.Tokens["guest"])
	if err != nil {
		return err
	}
	defer reader.ws.Close()
	f, err := s.openFlood(ctx, made.ID, made.Tokens["host"])
	if err != nil {
		return err
	}
	defer func() { f.close() }()

	var quiet, flooded []float64
	var printed int64
	var took time.Duration
	each := max(n/keysTurns, 1)
	for turn := range keysTurns + 1 { // the first warms up
		if err := s.quiet(ctx); err != nil {
			return err
		}
		alone, err := typeKeys(ctx, typist, reader, each)
		if err != nil {
			return err
		}
		if err := f.begin(ctx); err != nil {
			return err
		}
		before, began := f.printed.Load(), time.Now()
		beside, err := typeKeys(ctx, typist, reader, each)
		if err != nil {
			return err
		}
		if turn > 0 {
			quiet, flooded = append(quiet, alone...), append(flooded, beside...)
			printed += f.printed.Load() - before
			took += time.Since(began)
		}
		if err := f.end(ctx); err != nil {
			return err
		}
	}
	slices.Sort(quiet)
	slices.Sort(flooded)
	p99 := quantile(flooded, 0.99) / quantile(quiet, 0.99)
	fmt.Fprintln(out, "\n| keystroke to another's screen | quiet p50 | quiet p99 | flood p50 | flood p99 | flood ÷ quiet p50 | p99 | goal | met |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	fmt.Fprintf(out, "| while a program of the room floods its terminal | %.2f ms | %.2f ms | %.2f ms | %.2f ms | %.2f | %.2f | p99 ≤ %.1f | %s |\n",
		quantile(quiet, 0.5), quantile(quiet, 0.99), quantile(flooded, 0.5), quantile(flooded, 0.99),
		quantile(flooded, 0.5)/quantile(quiet, 0.5), p99, keysGoal, yes(p99 <= keysGoal))
	_, err = fmt.Fprintf(out, "\n%d keystrokes each way in %d turns; each of the %d watchers got %.1f MiB/s of the flood.\n",
		len(quiet), keysTurns, keysWatchers, float64(printed)/took.Seconds()/(1<<20))
	return err
}

// syncClient is one on /sync.
type syncClient struct {
	ws  *websocket.Conn
	doc *ycrdt.Doc
	// updates has what came; it is closed when the socket is, after err was set.
	updates chan seenUpdate
	err     error
}

// seenUpdate is an edit of somebody else's.
type seenUpdate struct {
	at   time.Time
	data []byte
}

func (s *server) dial(ctx context.Context, path, token string) (*websocket.Conn, error) {
	at := url.URL{Scheme: "ws", Host: s.addr, Path: path, RawQuery: url.Values{"token": {token}, "name": {"bench"}}.Encode()}
	// As a browser does, which reads much at once.
	dialer := websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 64 << 10}
	ws, _, err := dialer.DialContext(ctx, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", path, err)
	}
	return ws, nil
}

// openSync joins a document, and returns when that has come.
func (s *server) openSync(ctx context.Context, room, token string) (*syncClient, error) {
	ws, err := s.dial(ctx, "/sync/"+room, token)
	if err != nil {
		return nil, err
	}
	c := &syncClient{ws: ws, doc: ycrdt.New(ycrdt.Options{}), updates: make(chan seenUpdate, unread)}
	synced := make(chan struct{})
	go c.read(synced) // ends with the socket
	if err := ws.WriteMessage(websocket.BinaryMessage, yproto.AppendSync(nil, yproto.SyncStep1, []byte{0})); err != nil {
		return nil, err
	}
	select {
	case <-synced:
		return c, nil
	case <-time.After(patience):
		return nil, errors.New("the document does not come")
	}
}

func (c *syncClient) read(synced chan<- struct{}) {
	defer close(c.updates)
	for {
		_, data, err := c.ws.ReadMessage()
		at := time.Now()
		if err != nil {
			c.err = err
			return
		}
		m, err := yproto.Decode(data)
		if err != nil {
			c.err = err
			return
		}
		switch m.Kind {
		case yproto.SyncStep2:
			close(synced)
		case yproto.SyncUpdate:
			c.updates <- seenUpdate{at, m.Payload}
		}
	}
}

// typeKeys has one type n characters, each when the other has seen the last, and gives how
// long each took, in milliseconds.
func typeKeys(ctx context.Context, typist, reader *syncClient, n int) ([]float64, error) {
	times := make([]float64, 0, n)
	for range n {
		update, err := typist.doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("keys").Insert(0, "k") })
		if err != nil {
			return nil, err
		}
		message := yproto.AppendSync(nil, yproto.SyncUpdate, update)
		began := time.Now()
		if err := typist.ws.WriteMessage(websocket.BinaryMessage, message); err != nil {
			return nil, err
		}
		select {
		case seen, ok := <-reader.updates:
			if !ok {
				return nil, reader.err
			}
			if !bytes.Equal(seen.data, update) {
				return nil, errors.New("another edit was seen than was made")
			}
			times = append(times, float64(seen.at.Sub(began).Microseconds())/1000)
		case <-time.After(patience):
			return nil, errors.New("a keystroke is not seen")
		}
		select {
		case <-time.After(keysPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return times, nil
}

// flood is a program that is started again and again, and who watches it.
type flood struct {
	watchers []*websocket.Conn // the first starts it
	printed  atomic.Int64      // bytes that the last one got
	wanted   atomic.Bool
	reading  sync.WaitGroup
	rests    chan struct{} // holds a token when it has ended and is not wanted
	failed   chan error    // holds the first error
}

func (s *server) openFlood(ctx context.Context, room, token string) (*flood, error) {
	f := &flood{rests: make(chan struct{}, 1), failed: make(chan error, 1)}
	for i := range keysWatchers {
		ws, err := s.dial(ctx, "/live/"+room, token)
		if err != nil {
			f.close()
			return nil, err
		}
		f.watchers = append(f.watchers, ws)
		f.reading.Go(func() { f.watch(ws, i) })
	}
	return f, nil
}

func (f *flood) close() {
	for _, ws := range f.watchers {
		_ = ws.Close() // the server forgets the room
	}
	f.reading.Wait()
}

func (f *flood) fail(err error) {
	select {
	case f.failed <- err:
	default:
	}
}

// watch reads what one of them is sent. Output is counted and not kept: watchers stand for other
// machines, and a collector that is busy with what they got would slow the server of this one.
func (f *flood) watch(ws *websocket.Conn, number int) {
	scratch := make([]byte, 64<<10)
	for {
		kind, message, err := ws.NextReader()
		if err != nil {
			f.fail(err)
			return
		}
		if kind == websocket.BinaryMessage {
			n, err := io.CopyBuffer(writeOnly{io.Discard}, message, scratch)
			if err != nil {
				f.fail(err)
				return
			}
			if number == keysWatchers-1 {
				f.printed.Add(n - frameHead)
			}
			continue
		}
		data, err := io.ReadAll(message)
		if err != nil {
			f.fail(err)
			return
		}
		if number > 0 {
			continue
		}
		var told liveMessage
		if err := json.Unmarshal(data, &told); err != nil {
			f.fail(err)
			return
		}
		switch {
		case told.Type == "error":
			f.fail(errors.New(told.Message))
		case told.Type == "run.exited" && f.wanted.Load():
			if told.Run.Status != "output_limit" {
				f.fail(fmt.Errorf("the flood ended as %s: %s", told.Run.Status, told.Run.Message))
			}
			f.send(`{"type":"run.start","mode":"terminal"}`)
		case told.Type == "run.exited":
			f.rests <- struct{}{}
		case told.Type == "run.started" && !f.wanted.Load():
			f.send(`{"type":"run.stop"}`) // it was started again just before
		}
	}
}

// writeOnly hides how its writer would rather read, in smaller pieces.
type writeOnly struct{ io.Writer }

func (f *flood) send(message string) {
	if err := f.watchers[0].WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		f.fail(err)
	}
}

// begin starts it, and returns when it is in full flow.
func (f *flood) begin(ctx context.Context) error {
	until := f.printed.Load() + floodBegun
	f.wanted.Store(true)
	f.send(`{"type":"run.start","mode":"terminal"}`)
	for f.printed.Load() < until {
		select {
		case err := <-f.failed:
			return err
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end returns when it has ended for good.
func (f *flood) end(ctx context.Context) error {
	f.wanted.Store(false)
	select {
	case err := <-f.failed:
		return err
	case <-f.rests: // at its limit, which is near
		return nil
	case <-time.After(patience):
		return errors.New("the flood does not end")
	case <-ctx.Done():
		return ctx.Err()
	}
}
