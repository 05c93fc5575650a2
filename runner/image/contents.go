package image

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The list of an image's contents is text: a first line, and a line for each
// entry, by path, of the root ("."), its folders, files and links. The image's
// digest is that of the list.
//
//	corun-contents 1
//	d 0755 "."
//	l "usr/bin" "bin"
//	f 0644 13 185f8db3… "etc/hostname"
//
// Owners and times are left out: a box shows every file as another user's, and
// two builds of the same packages are the same image. A hard link is a file with
// the same contents. What could give a program rights that the permissions do not
// show (grants) stands at the end of a line; no image that was made here has any,
// so that verify finds what was added.
const (
	contentsFile   = "contents"
	contentsHeader = "corun-contents 1\n"
	digestPrefix   = "sha256:"
)

// kind is what an entry is. There is nothing else in an image.
type kind byte

const (
	folderKind kind = 'd'
	fileKind   kind = 'f'
	linkKind   kind = 'l'
)

func (k kind) String() string {
	switch k {
	case folderKind:
		return "a folder"
	case fileKind:
		return "a file"
	}
	return "a link"
}

// entry is a line of the list.
type entry struct {
	path   string
	kind   kind
	mode   uint32            // of files and folders: permissions, setuid, setgid, sticky
	size   int64             // of files
	sum    [sha256.Size]byte // of files
	target string            // of links
	grants string
}

func (e entry) append(b []byte) []byte {
	switch e.kind {
	case folderKind:
		b = fmt.Appendf(b, "d %04o", e.mode)
	case fileKind:
		b = fmt.Appendf(b, "f %04o %d %x", e.mode, e.size, e.sum)
	case linkKind:
		b = append(b, "l "...)
		b = strconv.AppendQuote(b, e.target)
	}
	b = append(b, ' ')
	b = strconv.AppendQuote(b, e.path)
	if e.grants != "" {
		b = append(b, ' ')
		b = append(b, e.grants...)
	}
	return append(b, '\n')
}

// contents are an image's entries, sorted by path.
type contents []entry

func (c contents) text() []byte {
	b := []byte(contentsHeader)
	for _, e := range c {
		b = e.append(b)
	}
	return b
}

// size is the sum of the files' sizes.
func (c contents) size() (n int64) {
	for _, e := range c {
		n += e.size
	}
	return n
}

func digestOf(text []byte) string {
	return fmt.Sprintf("%s%x", digestPrefix, sha256.Sum256(text))
}

// measure lists what is below a folder. It fails if that is no image: if there is
// anything but files, folders and links.
func measure(ctx context.Context, rootfs string) (contents, error) {
	var all contents
	hashes := hasher{known: make(map[inode]entry), buffer: make([]byte, 128<<10)}
	err := filepath.WalkDir(rootfs, func(path string, found fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		name, err := filepath.Rel(rootfs, path)
		if err != nil {
			return err
		}
		e, err := hashes.entry(ctx, path, name)
		all = append(all, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the contents of %s: %w", rootfs, err)
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return all, nil
}

// inode is what hard links to one file have in common.
type inode struct{ dev, ino uint64 }

type hasher struct {
	known  map[inode]entry // files with several links
	buffer []byte
}

func (h *hasher) entry(ctx context.Context, path, name string) (entry, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return entry{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	e := entry{path: name, mode: st.Mode & 0o7777}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.kind = folderKind
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		e.kind, e.mode, e.target = linkKind, 0, target // a link's mode means nothing
		return e, err
	case unix.S_IFREG:
		e.kind, e.size = fileKind, st.Size
		if err := h.sum(ctx, path, &e, inode{uint64(st.Dev), st.Ino}, st.Nlink > 1); err != nil {
			return e, err
		}
	default:
		return e, fmt.Errorf("%s is neither a file nor a folder nor a link", path)
	}
	var err error
	e.grants, err = grants(path)
	return e, err
}

// sum reads a file, but only once however many links it has.
func (h *hasher) sum(ctx context.Context, path string, e *entry, id inode, several bool) error {
	if same, ok := h.known[id]; several && ok {
		e.size, e.sum = same.size, same.sum
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	// Hidden behind an interface of its own, or the buffer would not be used.
	n, err := io.CopyBuffer(sum, struct{ io.Reader }{contextReader{ctx, f}}, h.buffer)
	if err != nil {
		return err
	}
	e.size, e.sum = n, [sha256.Size]byte(sum.Sum(nil))
	if several {
		h.known[id] = *e
	}
	return nil
}

// contextReader reads until ctx is done.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// granting are the extended attributes that give somebody rights.
var granting = []string{"security.capability", "system.posix_acl_access", "system.posix_acl_default"}

// grants are those of a file or folder, as "name=hex name=hex".
func grants(path string) (string, error) {
	var list [4096]byte
	n, err := unix.Llistxattr(path, list[:])
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return "", nil
	}
	if err != nil {
		return "", &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var found []string
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if !slices.Contains(granting, name) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", &fs.PathError{Op: "getxattr", Path: path, Err: err}
		}
		found = append(found, name+"="+hex.EncodeToString(value[:n]))
	}
	slices.Sort(found)
	return strings.Join(found, " "), nil
}

// parseContents reads a list.
func parseContents(text []byte) (contents, error) {
	rest, ok := bytes.CutPrefix(text, []byte(contentsHeader))
	if !ok {
		return nil, errors.New("this is no list of contents")
	}
	var all contents
	for line := range strings.Lines(string(rest)) {
		e, err := parseEntry(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("line %d of the list of contents: %w", len(all)+2, err)
		}
		all = append(all, e)
	}
	return all, nil
}

func parseEntry(line string) (e entry, err error) {
	word, rest, _ := strings.Cut(line, " ")
	if len(word) != 1 {
		return e, errors.New("it has no kind")
	}
	e.kind = kind(word[0])
	switch e.kind {
	case folderKind:
		_, err = fmt.Sscanf(rest, "%o", &e.mode)
	case fileKind:
		var sum []byte
		_, err = fmt.Sscanf(rest, "%o %d %x", &e.mode, &e.size, &sum)
		copy(e.sum[:], sum)
	case linkKind:
		e.target, rest, err = unquote(rest)
	default:
		return e, fmt.Errorf("%q is no kind", word)
	}
	if err != nil {
		return e, err
	}
	_, quoted, ok := strings.Cut(rest, ` "`)
	if !ok {
		return e, errors.New("it has no path")
	}
	e.path, rest, err = unquote(`"` + quoted)
	e.grants = strings.TrimPrefix(rest, " ")
	return e, err
}

func unquote(s string) (value, rest string, err error) {
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", err
	}
	value, err = strconv.Unquote(quoted)
	return value, s[len(quoted):], err
}

// Difference is one between what an image was and what it is.
type Difference struct{ Path, What string }

func (d Difference) String() string { return d.Path + ": " + d.What }

// compare tells where two lists differ, by path.
func compare(was, is contents) (all []Difference) {
	for len(was) > 0 || len(is) > 0 {
		order := 0
		switch {
		case len(was) == 0:
			order = 1
		case len(is) == 0:
			order = -1
		default:
			order = cmp.Compare(was[0].path, is[0].path)
		}
		switch {
		case order < 0:
			all = append(all, Difference{was[0].path, "it is missing"})
			was = was[1:]
		case order > 0:
			all = append(all, Difference{is[0].path, "it was added"})
			is = is[1:]
		default:
			for _, what := range was[0].differences(is[0]) {
				all = append(all, Difference{is[0].path, what})
			}
			was, is = was[1:], is[1:]
		}
	}
	return all
}

func (e entry) differences(is entry) (all []string) {
	if e.kind != is.kind {
		return []string{fmt.Sprintf("it is %s and was %s", is.kind, e.kind)}
	}
	if e.mode != is.mode {
		all = append(all, fmt.Sprintf("its mode is %04o and was %04o", is.mode, e.mode))
	}
	switch {
	case e.size != is.size:
		all = append(all, fmt.Sprintf("it has %d bytes and had %d", is.size, e.size))
	case e.sum != is.sum:
		all = append(all, "its contents have changed")
	}
	if e.target != is.target {
		all = append(all, fmt.Sprintf("it leads to %q and led to %q", is.target, e.target))
	}
	if e.grants != is.grants {
		all = append(all, fmt.Sprintf("it has the attributes %q and had %q", is.grants, e.grants))
	}
	return all
}
