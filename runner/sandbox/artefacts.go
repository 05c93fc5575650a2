package sandbox

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// CollectLimits bound what is read of a box. Each number must be above 0.
type CollectLimits struct {
	// Path is the one file or folder in /work that is read, relative to that and with /
	// between its parts; "" is all. Nothing is collected if it is not there, or neither.
	Path  string
	Bytes int64 // of all files together, as read: a sparse file has all its zeroes
	Files int   // entries that are looked at: files, folders and all else
	Depth int   // folders within each other
}

// Collected is what a program left in its folder.
type Collected struct {
	// Files are the regular files, by path. A path is as the program made it, any
	// bytes but zero and with / only between its parts: it may hold newlines and
	// need not be UTF-8. Of the mode there are the nine permissions alone.
	Files []File
	// Skipped are the entries that are neither files nor folders (links, FIFOs,
	// sockets), which are not followed or opened.
	Skipped []string
}

// ErrTooMuch says that a program left more than the limits of Collect allow. What was
// read until then is not given.
var ErrTooMuch = errors.New("the program left too much")

// Collect ends the box and reads the files that its program left in /work. Nothing
// runs any more while they are read, and they are opened beneath that folder alone,
// through no link (openat2(2)): what a program did to its files cannot make Corun read
// another one. Destroy must not have been called. Of gVisor's boxes nothing can be
// collected: their files are gone with their kernel.
func (b *Box) Collect(ctx context.Context, limits CollectLimits) (Collected, error) {
	if limits.Path != "" && (!fs.ValidPath(limits.Path) || limits.Path == ".") {
		return Collected{}, fmt.Errorf("collect from %s: the path is %q: it must be relative and clean", b.id, limits.Path)
	}
	if limits.Bytes <= 0 || limits.Files <= 0 || limits.Depth <= 0 {
		return Collected{}, fmt.Errorf("collect from %s: the limits are %+v: each must be above 0", b.id, limits)
	}
	f, err := b.keep.collect(ctx, limits)
	if err != nil {
		return Collected{}, fmt.Errorf("collect from %s: %w", b.id, err)
	}
	defer f.Close()
	c, err := readCollected(f)
	if err != nil {
		return Collected{}, fmt.Errorf("collect from %s: %w", b.id, err)
	}
	return c, nil
}

func (c *custody) collect(ctx context.Context, limits CollectLimits) (*os.File, error) {
	if c.launcher.gvisor != nil {
		return nil, errors.ErrUnsupported
	}
	if err := c.kill(); err != nil {
		return nil, err
	}
	if err := c.await(ctx); err != nil {
		return nil, err
	}
	// Its own, so that remove may close the other one meanwhile.
	c.mu.Lock()
	if c.work == nil {
		c.mu.Unlock()
		return nil, ErrBoxGone
	}
	work, err := unix.FcntlInt(c.work.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	c.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("open /work: %w", err)
	}
	defer unix.Close(work)
	return collect(ctx, work, limits)
}

// start reads what Path names.
func (c *collector) start(work int) error {
	if c.limits.Path == "" {
		return c.folder(work, ".", "", 1)
	}
	parent, name := path.Split(c.limits.Path)
	if parent != "" {
		folder, err := open(work, parent, unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil
		}
		if err != nil {
			return err
		}
		defer folder.Close()
		work = int(folder.Fd())
	}
	err := c.entry(work, name, c.limits.Path, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// collector writes what it finds into a file in memory that another process can be
// given. It holds a descriptor for each folder that it is in.
type collector struct {
	ctx    context.Context
	out    *bufio.Writer
	limits CollectLimits
	left   int64 // bytes
	looked int   // entries
}

// collect reads a folder. The result is sealed and at its beginning.
func collect(ctx context.Context, folder int, limits CollectLimits) (_ *os.File, err error) {
	fd, err := unix.MemfdCreate("corun-collected", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "collected")
	defer func() {
		if err != nil {
			_ = f.Close() // it is of no use
		}
	}()
	c := &collector{ctx: ctx, out: bufio.NewWriterSize(f, 1<<16), limits: limits, left: limits.Bytes}
	if err := c.start(folder); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		return nil, fmt.Errorf("seal what was read: %w", err)
	}
	return f, nil
}

// open opens an entry of a folder, and never anything else.
func open(folder int, name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(folder, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | flags,
		// Not RESOLVE_NO_XDEV: a name has one part, and no mount of the box is left.
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// folder looks at all entries of a folder, in the order of their names.
func (c *collector) folder(parent int, name, prefix string, depth int) error {
	if depth > c.limits.Depth {
		return fmt.Errorf("%w: more than %d folders within each other", ErrTooMuch, c.limits.Depth)
	}
	dir, err := open(parent, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(c.limits.Files - c.looked + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if c.looked++; c.looked > c.limits.Files {
			return fmt.Errorf("%w: more than %d files and folders", ErrTooMuch, c.limits.Files)
		}
		if err := c.entry(int(dir.Fd()), name, prefix+name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) entry(folder int, name, path string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("look at %q: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.folder(folder, name, path+"/", depth+1)
	case unix.S_IFREG:
		return c.file(folder, name, path)
	}
	return c.record(path, 0, nil, true)
}

func (c *collector) file(folder int, name, path string) error {
	f, err := open(folder, name, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is no regular file any more", path)
	}
	content, err := io.ReadAll(io.LimitReader(f, c.left+1))
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	if c.left -= int64(len(content)); c.left < 0 {
		return fmt.Errorf("%w: more than %d bytes", ErrTooMuch, c.limits.Bytes)
	}
	return c.record(path, uint32(info.Mode().Perm()), content, false)
}

// record writes an entry: the path's length and the path, whether it was skipped, the
// permissions, the content's length and the content.
func (c *collector) record(path string, mode uint32, content []byte, skipped bool) error {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(path)))
	head = append(head, path...)
	if skipped {
		head = append(head, 1)
	} else {
		head = append(head, 0)
	}
	head = binary.LittleEndian.AppendUint32(head, mode)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(content)))
	if _, err := c.out.Write(head); err != nil {
		return err
	}
	_, err := c.out.Write(content)
	return err
}

// readCollected reads what a collector wrote. It is the launcher's, which is trusted;
// lengths are checked all the same.
func readCollected(f *os.File) (c Collected, err error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return c, fmt.Errorf("read what was collected: %w", err)
	}
	take := func(n int) []byte {
		if n < 0 || n > len(b) {
			err = errors.New("what was collected is cut off")
			b, n = nil, 0
		}
		part := b[:n:n]
		b = b[n:]
		return part
	}
	number := func() int {
		part := take(4)
		if len(part) < 4 {
			return 0
		}
		return int(binary.LittleEndian.Uint32(part))
	}
	for len(b) > 0 && err == nil {
		path := string(take(number()))
		skipped := take(1)
		mode, content := number(), take(number())
		switch {
		case err != nil:
		case skipped[0] == 1:
			c.Skipped = append(c.Skipped, path)
		default:
			c.Files = append(c.Files, File{Path: path, Content: content, Mode: os.FileMode(mode)})
		}
	}
	return c, err
}
