package collab

import "sync"

// gate bounds bytes that wait. Its zero value is open.
type gate struct {
	mu     sync.Mutex // guards below
	bytes  int
	closed bool
	freed  *sync.Cond // made by the first that waits
}

// enter counts n bytes in, after a wait while the bound is exceeded; false says
// that the gate was closed.
func (g *gate) enter(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.bytes > mailboxBytes && !g.closed {
		if g.freed == nil {
			g.freed = sync.NewCond(&g.mu)
		}
		g.freed.Wait()
	}
	g.bytes += n
	return !g.closed
}

func (g *gate) leave(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes -= n
	if g.freed != nil {
		g.freed.Broadcast()
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.freed != nil {
		g.freed.Broadcast()
	}
}
