package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Layers are applied as OCI's image-spec says (layer.md): an entry replaces what is
// there, but a folder keeps what is in a folder; .wh.x takes x of the layers below
// away, and .wh..wh..opq all that they have in its folder.
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	// whiteoutMeta begins what AUFS kept for itself.
	whiteoutMeta = ".wh..wh."
)

// maxLinks is how many links the way to an entry may go through, as in the kernel.
const maxLinks = 40

// applier writes layers into a root. It goes through links that stay below the
// root, because the distributions' /bin and /lib are such, and through no others:
// neither by its own reckoning (folder) nor by os.Root's.
type applier struct {
	root    *os.Root
	limits  Limits
	bytes   int64 // written so far
	entries int   // so far
	buffer  []byte

	// fresh is what this layer has made, with all folders above it: its own
	// whiteouts do not touch that.
	fresh map[string]bool
	// closed are folders that get a mode at the end by which their owner could not
	// write into them.
	closed map[string]fs.FileMode
	// folders are where names of folders lead to; empty after each change that may
	// lead them elsewhere.
	folders map[string]string
}

func newApplier(root *os.Root, limits Limits) *applier {
	return &applier{root: root, limits: limits, buffer: make([]byte, 128<<10), closed: make(map[string]fs.FileMode), folders: make(map[string]string)}
}

// layer applies one. A RefusedError names the entry.
func (a *applier) layer(ctx context.Context, archive io.Reader) error {
	a.fresh = make(map[string]bool)
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // a comment
		}
		if a.entries++; a.entries > a.limits.Entries {
			return refuse(h.Name, "the image has more than %d entries", a.limits.Entries)
		}
		if err := a.entry(h, r); err != nil {
			var refused *RefusedError
			if errors.As(err, &refused) {
				return err
			}
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}

func (a *applier) entry(h *tar.Header, body io.Reader) error {
	name, err := cleanName(h.Name, a.limits.Path)
	if err != nil {
		return err
	}
	dir, base := path.Split(name)
	if hidden(name, whiteoutMeta) && base != whiteoutOpaque {
		return nil
	}
	if hidden(path.Clean(dir), whiteoutPrefix) {
		return refuse(h.Name, "names with %s are for whiteouts", whiteoutPrefix)
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return refuse(h.Name, "the root must be a folder")
		}
		return nil // its mode is ours
	}
	parent, err := a.folder(path.Clean(dir), h.Name)
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return a.whiteout(h.Name, parent, base)
	}
	at := path.Join(parent, base)
	if err := a.checkDepth(h.Name, at); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = a.makeFolder(h, at)
	case tar.TypeReg, tar.TypeGNUSparse:
		err = a.makeFile(h, at, body)
	case tar.TypeSymlink:
		err = a.makeLink(h, at)
	case tar.TypeLink:
		err = a.makeHardLink(h, at)
	case tar.TypeChar, tar.TypeBlock:
		return refuse(h.Name, "it is a device, and an image has none")
	case tar.TypeFifo:
		return refuse(h.Name, "it is a FIFO, and an image has none")
	default:
		return refuse(h.Name, "it is of the unknown type %q", h.Typeflag)
	}
	if err == nil {
		a.made(at)
	}
	return err
}

// cleanName gives an entry's name without what means nothing in it.
func cleanName(name string, limit int) (string, error) {
	switch {
	case len(name) > limit:
		return "", refuse(name[:64]+"…", "its name has %d bytes, the limit is %d", len(name), limit)
	case strings.HasPrefix(name, "/"):
		return "", refuse(name, "its name is absolute")
	case strings.ContainsRune(name, 0):
		return "", refuse(name, "its name has a zero byte")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", refuse(name, "its name leads out of the image")
		case len(part) > maxComponent:
			return "", refuse(name, "a part of its name has %d bytes, the limit is %d", len(part), maxComponent)
		}
	}
	return path.Clean(name), nil
}

// hidden tells whether a part of a name begins with a prefix.
func hidden(name, prefix string) bool {
	return strings.HasPrefix(name, prefix) || strings.Contains(name, "/"+prefix)
}

// made notes that this layer has something at a place.
func (a *applier) made(at string) {
	for ; at != "." && !a.fresh[at]; at = path.Dir(at) {
		a.fresh[at] = true
	}
}

// folder finds the folder that an entry goes into, as a name without links, and
// makes it if it is not there. Links that lead out of the root are refused.
func (a *applier) folder(dir, entry string) (string, error) {
	if at, ok := a.folders[dir]; ok {
		return at, nil
	}
	at, links := ".", 0
	for rest := strings.Split(dir, "/"); len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..": // of a link
			if at == "." {
				return "", refuse(entry, "on its way is a link that leads out of the image")
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		if err := a.checkDepth(entry, next); err != nil {
			return "", err
		}
		info, err := a.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := a.mkdir(next, 0o755); err != nil {
				return "", err
			}
			a.made(next)
			at = next
		case err != nil:
			return "", err
		case info.IsDir():
			at = next
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := a.root.Readlink(next)
			if err != nil {
				return "", err
			}
			if links++; links > maxLinks {
				return "", refuse(entry, "on its way are too many links")
			}
			if path.IsAbs(target) || leadsOut(next, target) {
				return "", refuse(entry, "on its way is the link %q, which leads out of the image, to %q", next, target)
			}
			rest = append(strings.Split(target, "/"), rest...)
		default:
			return "", refuse(entry, "%q on its way is no folder", next)
		}
	}
	a.folders[dir] = at
	return at, nil
}

// checkDepth bounds where names lead to: a short name that goes through links may
// lead far down.
func (a *applier) checkDepth(entry, at string) error {
	if len(at) > a.limits.Path {
		return refuse(entry, "it leads to a place %d bytes down, the limit is %d", len(at), a.limits.Path)
	}
	return nil
}

// leadsOut tells whether a relative link climbs above the root.
func leadsOut(link, target string) bool {
	depth := strings.Count(link, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// clear makes room for something that is no folder, or a folder where there is none.
func (a *applier) clear(at string) error {
	if _, err := a.root.Lstat(at); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	clear(a.folders)
	return a.root.RemoveAll(at)
}

func (a *applier) makeFolder(h *tar.Header, at string) error {
	mode := h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSticky)
	info, err := a.root.Lstat(at)
	switch {
	case err == nil && info.IsDir():
		return a.chmod(at, mode)
	case err == nil:
		err = a.clear(at)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	return a.mkdir(at, mode)
}

func (a *applier) mkdir(at string, mode fs.FileMode) error {
	if err := a.root.Mkdir(at, 0o700); err != nil {
		return err
	}
	return a.chmod(at, mode)
}

const ownerAll = 0o700

func (a *applier) chmod(at string, mode fs.FileMode) error {
	delete(a.closed, at)
	if mode&ownerAll != ownerAll {
		a.closed[at] = mode
	}
	return a.root.Chmod(at, mode|ownerAll)
}

// finish gives folders the modes that would have been in the way.
func (a *applier) finish() error {
	for at, mode := range a.closed {
		info, err := a.root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			continue // a later layer has removed it
		}
		if err != nil {
			return err
		}
		if err := a.root.Chmod(at, mode); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) makeFile(h *tar.Header, at string, body io.Reader) error {
	if h.Size < 0 || h.Size > a.limits.Bytes-a.bytes {
		return refuse(h.Name, "with its %d bytes the files have more than the limit of %d", h.Size, a.limits.Bytes)
	}
	a.bytes += h.Size
	if err := a.clear(at); err != nil {
		return err
	}
	f, err := a.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// Hidden behind an interface of its own, or the buffer would not be used.
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, body, a.buffer)
	if err == nil {
		// No setuid, no setgid; no owner and no attributes are set at all.
		err = f.Chmod(h.FileInfo().Mode().Perm())
	}
	if err == nil {
		// Programs compare times: Python that of a source with that in its cache.
		at := unix.NsecToTimeval(min(max(h.ModTime.Unix(), 0), 1<<32) * 1e9)
		err = unix.Futimes(int(f.Fd()), []unix.Timeval{at, at})
	}
	return errors.Join(err, f.Close())
}

func (a *applier) makeLink(h *tar.Header, at string) error {
	switch {
	case h.Linkname == "" || strings.ContainsRune(h.Linkname, 0):
		return refuse(h.Name, "it is a link to nothing")
	case len(h.Linkname) > a.limits.Path:
		return refuse(h.Name, "it is a link to a name of %d bytes, the limit is %d", len(h.Linkname), a.limits.Path)
	case !path.IsAbs(h.Linkname) && leadsOut(at, h.Linkname):
		return refuse(h.Name, "it is a link that leads out of the image, to %q", h.Linkname)
	}
	if err := a.clear(at); err != nil {
		return err
	}
	clear(a.folders)
	return a.root.Symlink(h.Linkname, at)
}

func (a *applier) makeHardLink(h *tar.Header, at string) error {
	name, err := cleanName(h.Linkname, a.limits.Path)
	if err != nil || name == "." {
		return refuse(h.Name, "it is a hard link that leads out of the image, to %q", h.Linkname)
	}
	dir, base := path.Split(name)
	parent, err := a.folder(path.Clean(dir), h.Name)
	if err != nil {
		return err
	}
	target := path.Join(parent, base)
	if target == at {
		return refuse(h.Name, "it is a hard link to itself")
	}
	info, err := a.root.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(h.Name, "it is a hard link to %q, which is not there", h.Linkname)
	}
	if err != nil {
		return err
	}
	switch {
	case info.Mode().IsRegular():
		if err := a.clear(at); err != nil {
			return err
		}
		return a.root.Link(target, at)
	case info.Mode().Type() == fs.ModeSymlink:
		to, err := a.root.Readlink(target)
		if err != nil {
			return err
		}
		same := *h
		same.Linkname = to
		return a.makeLink(&same, at)
	}
	return refuse(h.Name, "it is a hard link to %q, which is no file", h.Linkname)
}

func (a *applier) whiteout(entry, parent, base string) error {
	clear(a.folders)
	if base == whiteoutOpaque {
		return a.hideChildren(parent)
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return refuse(entry, "it is a whiteout of nothing")
	}
	return a.hide(path.Join(parent, name))
}

// hide removes what the layers below have at a place.
func (a *applier) hide(at string) error {
	if !a.fresh[at] {
		return a.root.RemoveAll(at)
	}
	info, err := a.root.Lstat(at)
	if err != nil || !info.IsDir() {
		return err
	}
	return a.hideChildren(at)
}

func (a *applier) hideChildren(at string) error {
	f, err := a.root.Open(at)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := a.hide(path.Join(at, name)); err != nil {
			return err
		}
	}
	return nil
}
