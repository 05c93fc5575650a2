package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// patience bounds what should take a moment.
	patience = 2 * time.Minute
	// pollEvery is how often metrics are read while boxes are being built. To give them is
	// work for the server, which slows the building.
	pollEvery = 50 * time.Millisecond
)

// server is a real one, with data of its own.
type server struct {
	cmd         *exec.Cmd
	data        string
	addr, admin string
	client      *http.Client

	read sync.WaitGroup // its log
	mu   sync.Mutex     // guards log
	log  bytes.Buffer
}

// where is in the line of the log that tells of it.
var where = regexp.MustCompile(`msg=serving addr=(\S+) admin=(\S+)`)

// startServer starts one on free ports, without quotas, and returns when it serves.
func startServer(ctx context.Context, binary, imageDir string, flags ...string) (_ *server, err error) {
	data, err := os.MkdirTemp("", "corun-bench-data-")
	if err != nil {
		return nil, err
	}
	s := &server{data: data, client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	s.cmd = exec.Command(binary, append([]string{
		"serve", "--data-dir", data, "--image-dir", imageDir, "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0",
		"--runs-per-minute", "1000000", "--runs-per-minute-room", "1000000", "--runs-per-minute-address", "1000000", "--runs-at-once", "1000",
	}, flags...)...)
	// ^C is this program's to pass on, when it is done with the server.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s (make build makes it): %w", binary, err), os.RemoveAll(data))
	}
	serves := make(chan []string, 1)
	s.read.Go(func() {
		defer close(serves)
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if m := where.FindStringSubmatch(lines.Text()); m != nil {
				serves <- m
			}
		}
	})
	select {
	case m, ok := <-serves:
		if !ok {
			return nil, errors.Join(errors.New("the server ended"), s.stop())
		}
		s.addr, s.admin = m[1], m[2]
		return s, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.stop())
	case <-time.After(patience):
		return nil, errors.Join(errors.New("the server does not begin to serve"), s.stop())
	}
}

// stop ends the server, and removes its data.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	s.read.Wait()
	err := s.cmd.Wait()
	if err != nil {
		err = fmt.Errorf("the server: %w\n%s", err, s.log.String())
	}
	return errors.Join(err, os.RemoveAll(s.data))
}

// post asks for something in JSON and reads the answer into v.
func (s *server) post(ctx context.Context, path string, body, v any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s: %s", path, res.Status, answer)
	}
	return json.Unmarshal(answer, v)
}

// quiet returns when nothing runs, and as many boxes of each kind wait as should.
func (s *server) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		why, err := s.busy(ctx)
		if err != nil || why == "" {
			return err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return fmt.Errorf("the server does not come to rest: %s: %w", why, ctx.Err())
		}
	}
}

// figure is a line of metrics that tells whether boxes are to come.
var figure = regexp.MustCompile(`(?m)^corun_(boxes_wanted|boxes_ready|boxes_building|runs_active|runs_queued)(\{.*\})? (\S+)$`)

// busy says what goes on, if anything.
func (s *server) busy(ctx context.Context) (why string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/metrics", nil)
	if err != nil {
		return "", err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET /metrics: %s: %s", res.Status, text)
	}
	var missing float64
	lines := figure.FindAllStringSubmatch(string(text), -1)
	if len(lines) == 0 {
		return "", errors.New("the metrics tell of no boxes")
	}
	for _, m := range lines {
		n, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return "", fmt.Errorf("read metrics: %w", err)
		}
		switch m[1] {
		case "boxes_wanted":
			missing += n
		case "boxes_ready":
			missing -= n
		default:
			if n > 0 {
				return m[0], nil
			}
		}
	}
	if missing > 0 {
		return fmt.Sprintf("%.0f boxes are missing", missing), nil
	}
	return "", nil
}

// room is one of the server's, with a program in it, as a participant sees it.
type room struct {
	ws *websocket.Conn
	// came has what was read; it is closed when the socket is, after err was set. Reading
	// goes on between runs, as the server's pings must be answered.
	came chan message
	err  error
}

// message is one on /live, as it came.
type message struct {
	at     time.Time
	binary bool
	data   []byte
}

// unread is how many messages may wait: a run has a handful.
const unread = 1024

// liveMessage has what is looked at of messages on /live.
type liveMessage struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Run     struct {
		Status   string `json:"status"`
		ExitCode *int   `json:"exit_code"`
		Message  string `json:"message"`
	} `json:"run"`
}

// enter makes a room with the program in it, and joins it.
func (s *server) enter(ctx context.Context, p *program, token string) (*room, error) {
	var made struct {
		ID     string            `json:"id"`
		Tokens map[string]string `json:"tokens"`
	}
	type file struct {
		Path    string `json:"path"`
		Content string `json:"content"`
	}
	err := s.post(ctx, "/api/v1/rooms", map[string]any{"language": p.language, "files": []file{{p.path, p.text(token)}}}, &made)
	if err != nil {
		return nil, err
	}
	at := url.URL{Scheme: "ws", Host: s.addr, Path: "/live/" + made.ID, RawQuery: url.Values{"token": {made.Tokens["host"]}, "name": {"bench"}}.Encode()}
	ws, _, err := websocket.DefaultDialer.DialContext(ctx, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", made.ID, err)
	}
	r := &room{ws: ws, came: make(chan message, unread)}
	go r.read() // ends with the socket
	return r, r.await("hello")
}

func (r *room) read() {
	defer close(r.came)
	for {
		kind, data, err := r.ws.ReadMessage()
		if err != nil {
			r.err = err
			return
		}
		r.came <- message{time.Now(), kind == websocket.BinaryMessage, data}
	}
}

// await reads until a message of a type.
func (r *room) await(wanted string) error {
	for {
		m, err := r.next()
		if err != nil {
			return err
		}
		if m.binary {
			continue
		}
		var said liveMessage
		if err := json.Unmarshal(m.data, &said); err != nil {
			return err
		}
		if said.Type == wanted {
			return nil
		}
	}
}

func (r *room) next() (message, error) {
	select {
	case m, ok := <-r.came:
		if !ok {
			return m, r.err
		}
		return m, nil
	case <-time.After(patience):
		return message{}, errors.New("the server says nothing")
	}
}

func (r *room) leave() { _ = r.ws.Close() } // the server forgets the room

// frameHead is how many bytes stand before the output in a binary frame, the first of
// which names the stream.
const (
	frameHead   = 1 + 4 + 8
	frameStdout = 1
)

// first starts the room's program and gives how long it took until the first byte.
func (r *room) first(arg string) (took time.Duration, said string, err error) {
	start, err := json.Marshal(map[string]any{"type": "run.start", "mode": "pipes", "args": []string{arg}})
	if err != nil {
		return 0, "", err
	}
	var stdout, stderr strings.Builder
	began := time.Now()
	if err := r.ws.WriteMessage(websocket.TextMessage, start); err != nil {
		return 0, "", err
	}
	for {
		m, err := r.next()
		if err != nil {
			return 0, "", err
		}
		if m.binary {
			if len(m.data) < frameHead {
				return 0, "", fmt.Errorf("a frame has %d bytes only", len(m.data))
			}
			if m.data[0] != frameStdout {
				stderr.Write(m.data[frameHead:])
				continue
			}
			if stdout.Len() == 0 {
				took = m.at.Sub(began)
			}
			stdout.Write(m.data[frameHead:])
			continue
		}
		var told liveMessage
		if err := json.Unmarshal(m.data, &told); err != nil {
			return 0, "", err
		}
		switch told.Type {
		case "error":
			return 0, "", errors.New(told.Message)
		case "run.exited":
			if run := told.Run; run.Status != "exited" || run.ExitCode == nil || *run.ExitCode != 0 || stdout.Len() == 0 {
				return 0, "", fmt.Errorf("the run ended as %s: %s\n%s%s", run.Status, run.Message, stdout.String(), stderr.String())
			}
			return took, stdout.String(), nil
		}
	}
}
