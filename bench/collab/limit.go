package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// limit is the least that a server in Go can do for y-websocket's protocol: it holds no
// document, stores nothing and checks nothing. To who asks for the document it gives an
// empty one, and all else it passes on. While nothing happens a connection has one
// goroutine and no buffer but its reader's.
//
// With a journal it passes on what the disk has: the least that it takes to save what others
// see.
type limit struct {
	upgrader websocket.Upgrader
	journal  *journal // or nil

	mu    sync.Mutex // guards rooms
	rooms map[string]*limitRoom
}

type limitRoom struct {
	mu    sync.Mutex // guards conns; comes after limit.mu and before a conn's
	conns map[*limitConn]struct{}
}

type limitConn struct {
	ws *websocket.Conn

	mu      sync.Mutex // guards below
	owed    []byte
	writing bool
	dead    bool
}

// maxOwed is what may wait for a slow reader, in bytes.
const maxOwed = 1 << 20

// serveLimit serves until it fails; saving to a file if one is named.
func serveLimit(addr, file string) (err error) {
	requests := make(chan os.Signal, 1)
	signal.Notify(requests, syscall.SIGUSR2)
	go func() {
		for range requests {
			debug.FreeOSMemory()
		}
	}()
	l := &limit{rooms: make(map[string]*limitRoom)}
	if file != "" {
		if l.journal, err = openJournal(file); err != nil {
			return err
		}
	}
	l.upgrader = websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 1 << 10, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true },
	}
	return fmt.Errorf("serve: %w", http.ListenAndServe(addr, l))
}

func (l *limit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := l.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	// In a goroutine of its own, so that the request's memory is freed.
	go l.serve(&limitConn{ws: ws}, strings.Clone(r.URL.Path))
}

func (l *limit) serve(c *limitConn, path string) {
	r := l.enter(c, path)
	defer l.leave(c, r, path)
	c.send(limitFrame([]byte{messageSync, syncStep1, 1, 0}))
	for {
		_, message, err := c.ws.ReadMessage()
		switch {
		case err != nil:
			return
		case len(message) < 2:
		case message[0] == messageSync && message[1] == syncStep1:
			c.send(limitFrame([]byte{messageSync, syncStep2, 2, 0, 0}))
		case message[0] == messageSync && message[1] == syncUpdate && l.journal != nil:
			frame := limitFrame(message)
			l.journal.append(frame, func() { r.broadcast(frame, c) })
		case message[0] == messageSync && message[1] == syncUpdate, message[0] == messageAwareness:
			r.broadcast(limitFrame(message), c)
		}
	}
}

func (l *limit) enter(c *limitConn, path string) *limitRoom {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.rooms[path]
	if !ok {
		r = &limitRoom{conns: make(map[*limitConn]struct{})}
		l.rooms[path] = r
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = struct{}{}
	return r
}

func (l *limit) leave(c *limitConn, r *limitRoom, path string) {
	_ = c.ws.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	if len(r.conns) == 0 {
		delete(l.rooms, path)
	}
}

func (r *limitRoom) broadcast(frame []byte, except *limitConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		if c != except {
			c.send(frame)
		}
	}
}

var limitBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func (c *limitConn) send(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dead:
		return
	case len(c.owed)+len(frame) > maxOwed:
		c.dead, c.owed = true, nil
		_ = c.ws.Close()
		return
	case c.owed == nil:
		c.owed = *limitBuffers.Get().(*[]byte)
	}
	c.owed = append(c.owed, frame...)
	if !c.writing {
		c.writing = true
		go c.flush()
	}
}

func (c *limitConn) flush() {
	for {
		c.mu.Lock()
		b := c.owed
		c.owed = nil
		c.writing = len(b) > 0 && !c.dead
		writing := c.writing
		c.mu.Unlock()
		if !writing {
			return
		}
		_, err := c.ws.NetConn().Write(b)
		if cap(b) <= 16<<10 {
			b = b[:0]
			limitBuffers.Put(&b)
		}
		if err != nil {
			_ = c.ws.Close()
			c.mu.Lock()
			c.dead, c.writing = true, false
			c.mu.Unlock()
			return
		}
	}
}

// journal is a file to whose end everything is written, and flushed, with what comes
// meanwhile in one: it was allocated before, so that no flush has more to write than what is
// new, and begins again when it is full.
type journal struct {
	file *os.File
	at   int64

	mu    sync.Mutex // guards below
	wake  *sync.Cond
	queue []byte
	then  []func()
}

const journalBytes = 64 << 20

func openJournal(name string) (*journal, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	for at := int64(0); at < journalBytes; at += 1 << 20 {
		if _, err := f.WriteAt(make([]byte, 1<<20), at); err != nil {
			return nil, err
		}
	}
	j := &journal{file: f}
	j.wake = sync.NewCond(&j.mu)
	go j.run() // as long as the process
	return j, f.Sync()
}

// append has then called, in order, once b is on the disk.
func (j *journal) append(b []byte, then func()) {
	j.mu.Lock()
	j.queue, j.then = append(j.queue, b...), append(j.then, then)
	j.wake.Signal()
	j.mu.Unlock()
}

func (j *journal) run() {
	var spare []byte
	for {
		j.mu.Lock()
		for len(j.then) == 0 {
			j.wake.Wait()
		}
		b, then := j.queue, j.then
		j.queue, j.then = spare[:0], nil
		j.mu.Unlock()
		if j.at+int64(len(b)) > journalBytes {
			j.at = 0
		}
		if _, err := j.file.WriteAt(b, j.at); err != nil {
			log.Fatal(err)
		}
		if err := unix.Fdatasync(int(j.file.Fd())); err != nil {
			log.Fatal(err)
		}
		j.at += int64(len(b))
		for _, do := range then {
			do()
		}
		spare = b
	}
}

// limitFrame is a message as a server's binary frame.
func limitFrame(message []byte) []byte {
	n := len(message)
	b := make([]byte, 0, n+10)
	switch {
	case n < 126:
		b = append(b, 0x82, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x82, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x82, 127), uint64(n))
	}
	return append(b, message...)
}

// freePort is a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
