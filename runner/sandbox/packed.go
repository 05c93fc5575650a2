package sandbox

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"corun/runner/erofs"
)

// packs are the file systems that boxes are made of, by the folders that they stand for:
// nil for a folder that has none. mu guards it.
type packs struct {
	mu    sync.Mutex
	known map[string]*erofs.FS
}

// of gives the one for a folder, or nil. The error says why there is none where there
// could be; it is told once.
func (ps *packs) of(folder string) (*erofs.FS, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if fs, ok := ps.known[folder]; ok {
		return fs, nil
	}
	if ps.known == nil {
		ps.known = make(map[string]*erofs.FS)
	}
	ps.known[folder] = nil
	file := folder + erofs.Suffix
	if _, err := os.Lstat(file); err != nil || os.Geteuid() != 0 {
		return nil, nil
	}
	fs, err := erofs.Open(file)
	if err != nil {
		return nil, err
	}
	ps.known[folder] = fs
	return fs, nil
}

func (ps *packs) close() (err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, fs := range ps.known {
		if fs != nil {
			err = errors.Join(err, fs.Close())
		}
	}
	clear(ps.known)
	return err
}

// checkPacked looks whether images can be file systems of their own. Boxes work without.
func checkPacked() Finding {
	err := erofs.Usable()
	if err != nil {
		err = fmt.Errorf("boxes use the folders of their images: %w", err)
	}
	f := finding("erofs", "an image that has a file system of its own is mounted from it", err, "modprobe -a loop erofs; in a container, give it /dev/loop-control and the loop devices")
	f.Fatal = false
	return f
}
