package main

import (
	"database/sql"
	"encoding/binary"
	"errors"
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
	"time"

	"github.com/gorilla/websocket"
	_ "github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"
)

// limit is the least that a server in Go can do for y-websocket's protocol: it holds no
// document, stores nothing and checks nothing. To who asks for the document it gives an
// empty one, and all else it passes on. While nothing happens a connection has one
// goroutine and no buffer but its reader's.
//
// With a journal it passes on what the disk has: the least that it takes to save what others
// see, in a file or in a database.
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
	switch {
	case strings.HasSuffix(file, ".db"):
		l.journal, err = openDatabase(file)
	case file != "":
		l.journal, err = openJournal(file)
	}
	if err != nil {
		return err
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
			l.journal.append(entry{path, frame, func() { r.broadcast(frame, c) }})
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

// journal keeps what it is given, with what comes while it writes in one flush.
type journal struct {
	write func([]entry) error // and flush

	mu    sync.Mutex // guards below
	wake  *sync.Cond
	queue []entry
}

type entry struct {
	room string
	data []byte
	then func()
}

func newJournal(write func([]entry) error) *journal {
	j := &journal{write: write}
	j.wake = sync.NewCond(&j.mu)
	go j.run() // as long as the process
	return j
}

// append has then called, in order, once data is on the disk.
func (j *journal) append(e entry) {
	j.mu.Lock()
	j.queue = append(j.queue, e)
	j.wake.Signal()
	j.mu.Unlock()
}

func (j *journal) run() {
	var spare []entry
	for {
		j.mu.Lock()
		for len(j.queue) == 0 {
			j.wake.Wait()
		}
		all := j.queue
		j.queue = spare[:0]
		j.mu.Unlock()
		if err := j.write(all); err != nil {
			log.Fatal(err)
		}
		for _, e := range all {
			e.then()
		}
		clear(all)
		spare = all
	}
}

const journalBytes = 64 << 20

// openJournal makes a journal that is a file, allocated before, so that no flush has more to
// write than what is new. It begins again when it is full.
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
	var at int64
	var b []byte
	return newJournal(func(all []entry) error {
		b = b[:0]
		for _, e := range all {
			b = append(b, e.data...)
		}
		if at+int64(len(b)) > journalBytes {
			at = 0
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
		return unix.Fdatasync(int(f.Fd()))
	}), f.Sync()
}

// openDatabase makes a journal that is a table in SQLite: a row for each entry, by room and
// number, as who wants them back needs them.
func openDatabase(name string) (*journal, error) {
	db, err := sql.Open("sqlite3", "file:"+name+"?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE entries (room TEXT, seq INTEGER, at INTEGER, data BLOB, PRIMARY KEY (room, seq)) WITHOUT ROWID`); err != nil {
		return nil, err
	}
	insert, err := db.Prepare(`INSERT INTO entries VALUES (?, ?, ?, ?)`)
	if err != nil {
		return nil, err
	}
	seqs := make(map[string]int)
	add := func(s *sql.Stmt, e entry) error {
		seqs[e.room]++
		_, err := s.Exec(e.room, seqs[e.room], time.Now().UnixMilli(), e.data)
		return err
	}
	return newJournal(func(all []entry) error {
		if len(all) == 1 {
			return add(insert, all[0])
		}
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		s := tx.Stmt(insert)
		for _, e := range all {
			if err := add(s, e); err != nil {
				return errors.Join(err, tx.Rollback())
			}
		}
		return tx.Commit()
	}), nil
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
