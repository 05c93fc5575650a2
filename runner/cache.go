package runner

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"sync"
)

// built is what a compile stage has made. It is never changed.
type built struct {
	program  []byte
	messages []piece // what the compiler printed
	cols     uint16  // of the terminal that it printed for
}

// fits tells whether the messages look as they would in a terminal of that width.
func (b *built) fits(cols uint16) bool { return len(b.messages) == 0 || b.cols == cols }

func (b *built) bytes() int64 {
	n := int64(len(b.program))
	for _, m := range b.messages {
		n += int64(len(m.data))
	}
	return n
}

// cacheBytes bounds what is kept of programs that were compiled.
const cacheBytes = 64 << 20

// cache keeps programs that were compiled, the least used of which go first. An entry is
// made by the compile stage of exactly the files, the profile (compiler and flags) and the
// image that it is found by, and no program can change it: it never leaves this process
// but as a copy in a box.
type cache struct {
	image string
	most  int64

	mu    sync.Mutex // guards below
	known map[cacheKey]*list.Element
	used  list.List // of *cached, the last used first
	bytes int64
	hits  int64
	tries int64
}

type cacheKey [sha256.Size]byte

type cached struct {
	key   cacheKey
	built *built
}

func newCache(image string, most int64) *cache {
	return &cache{image: image, most: most, known: make(map[cacheKey]*list.Element)}
}

// key names what a compile stage depends on. The mode is part of it, as messages have
// colours in a terminal. Every text has its length before it: no two lists are the same
// bytes.
func (c *cache) key(j *job) cacheKey {
	h := sha256.New()
	profile, err := json.Marshal(j.profile)
	if err != nil {
		panic(err) // strings, numbers and maps of these
	}
	text(h, c.image)
	text(h, string(profile))
	text(h, j.Mode)
	text(h, j.Entry)
	for _, f := range j.Files { // in their order, which a linker heeds
		text(h, f.Path)
		text(h, f.Content)
	}
	return cacheKey(h.Sum(nil))
}

func text(h hash.Hash, s string) {
	fmt.Fprintf(h, "%d:", len(s)) // a hash does not fail
	h.Write([]byte(s))
}

// find gives what was compiled of a job's files before, with messages for a terminal of that
// width, or nil.
func (c *cache) find(j *job, cols uint16) *built {
	key := c.key(j)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	e, ok := c.known[key]
	if !ok || !e.Value.(*cached).built.fits(cols) {
		return nil
	}
	c.hits++
	c.used.MoveToFront(e)
	return e.Value.(*cached).built
}

// add keeps what was compiled of a job's files.
func (c *cache) add(j *job, b *built) {
	size := b.bytes()
	if size > c.most/4 {
		return // it would drive out too much
	}
	key := c.key(j)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.known[key]; ok {
		if e.Value.(*cached).built.fits(b.cols) {
			return
		}
		c.remove(e)
	}
	c.known[key] = c.used.PushFront(&cached{key, b})
	for c.bytes += size; c.bytes > c.most; {
		c.remove(c.used.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	old := c.used.Remove(e).(*cached)
	delete(c.known, old.key)
	c.bytes -= old.built.bytes()
}

// stats counts lookups and those that found something.
func (c *cache) stats() (tries, hits, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries, c.hits, c.bytes
}
