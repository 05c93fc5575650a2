package collab

import "sync"

// work is what a room is given to do: a frame of a connection, or a call.
type work struct {
	conn  *SyncConn
	frame []byte
	call  func()
}

// commit is what the store says of an update.
type commit struct {
	seq  int64
	size int
	err  error
}

// mailbox is what a room has to do. One goroutine at a time does it, and there is one only
// while there is something to do, so that a room where nothing happens costs no stack.
type mailbox struct {
	mu       sync.Mutex // guards below
	freed    *sync.Cond // frames may enter; made by the first that waits
	queue    []work     // from head on
	head     int
	frames   int // in queue
	bytes    int // of those
	commits  []commit
	working  bool // a goroutine is at work
	stopping bool
	closed   bool
}

// put queues work and says whether a goroutine is to be started for it; ok is false when the
// mailbox is closed.
func (m *mailbox) put(w work) (start, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.append(w)
}

// putFrame is put for a frame, which waits while too much waits already: one more frame
// always fits.
func (m *mailbox) putFrame(w work) (start, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for (m.frames >= mailboxSize || m.bytes > mailboxBytes) && !m.closed {
		if m.freed == nil {
			m.freed = sync.NewCond(&m.mu)
		}
		m.freed.Wait()
	}
	m.frames++
	m.bytes += len(w.frame)
	return m.append(w)
}

func (m *mailbox) append(w work) (start, ok bool) {
	if m.closed {
		return false, false
	}
	m.queue = append(m.queue, w)
	return m.start(), true
}

func (m *mailbox) start() bool {
	start := !m.working && !m.closed
	m.working = m.working || start
	return start
}

// putCommit queues what the store says, which comes before all else.
func (m *mailbox) putCommit(c commit) (start bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits = append(m.commits, c)
	return m.start()
}

// stop makes next say so once all is done.
func (m *mailbox) stop() (start bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopping = true
	return m.start()
}

// next gives what is to be done now: commits, or else, unless the room is full, the work that
// waits longest. Where there is neither the caller is no longer at work; where that is so
// because the room is to stop and idle, ended is true and the mailbox is closed.
func (m *mailbox) next(full, idle bool, spare []commit) (commits []commit, w work, more, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.commits) > 0:
		commits, m.commits = m.commits, spare[:0]
		return commits, w, true, false
	case m.head < len(m.queue) && !full:
		w, m.queue[m.head] = m.queue[m.head], work{}
		if m.head++; m.head == len(m.queue) {
			m.queue, m.head = m.queue[:0], 0
			if cap(m.queue) > 16 {
				m.queue = nil // it was a burst
			}
		} else if m.head > mailboxSize {
			n := copy(m.queue, m.queue[m.head:])
			clear(m.queue[n:])
			m.queue, m.head = m.queue[:n], 0
		}
		if w.conn != nil {
			m.frames--
			m.bytes -= len(w.frame)
			if m.freed != nil {
				m.freed.Broadcast()
			}
		}
		return nil, w, true, false
	case m.stopping && idle && m.head == len(m.queue):
		m.close()
		return nil, w, false, true
	}
	m.working = false
	return nil, w, false, false
}

// close refuses all that comes from now on. mu is held.
func (m *mailbox) close() {
	m.closed, m.queue = true, nil
	if m.freed != nil {
		m.freed.Broadcast()
	}
}

// abandon closes the mailbox of a room that could not be loaded.
func (m *mailbox) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.close()
}
