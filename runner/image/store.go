package image

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"corun/runner/erofs"
)

const (
	lockFile      = ".lock"
	digestsFolder = "sha256"
	namesFolder   = "names"
	hostFolder    = "host"

	temporaryPrefix = ".tmp-"
	formerPrefix    = ".build-" // of former versions
)

// Info is what is known of an image. In its JSON form it is a reference.
type Info struct {
	Name    string    `json:"name"`             // "" if no name refers to it
	Digest  string    `json:"digest"`           // "" if a former version made it
	Folder  string    `json:"folder,omitempty"` // where a former version has put it
	Size    int64     `json:"size"`
	Entries int       `json:"entries"`
	Made    time.Time `json:"made"`

	// Where it is from: a distribution's packages, with their versions, or an archive.
	Distribution string   `json:"distribution,omitempty"`
	Packages     []string `json:"packages,omitempty"`
	Source       string   `json:"source,omitempty"`

	InUse bool `json:"-"`
}

// path is its folder.
func (i Info) path(dir string) string {
	if i.Folder != "" {
		return filepath.Join(dir, i.Folder)
	}
	return filepath.Join(dir, digestsFolder, strings.TrimPrefix(i.Digest, digestPrefix))
}

var (
	goodName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	goodDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// reserved are no names of images: they stand for something else where an image is
// chosen, or are folders of ours.
var reserved = []string{"default", hostFolder, namesFolder, digestsFolder}

func checkName(name string) error {
	if slices.Contains(reserved, name) {
		return fmt.Errorf("%q cannot be the name of an image: the word is taken", name)
	}
	if !goodName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of an image: use a-z, 0-9, dot, dash and underscore, at most 100, and a letter or digit first", name)
	}
	return nil
}

func readReference(dir, name string) (Info, error) {
	path := filepath.Join(dir, namesFolder, name+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		return Info{}, err
	}
	var ref Info
	if err := json.Unmarshal(data, &ref); err != nil {
		return Info{}, fmt.Errorf("read %s: %w", path, err)
	}
	if ref.Name != name || !goodDigest.MatchString(ref.Digest) || ref.Folder != "" && ref.Folder != name {
		return Info{}, fmt.Errorf("read %s: it is no reference to an image", path)
	}
	return ref, nil
}

// readReferences gives all, by name. One that cannot be read is an error: what it
// refers to must not be taken for garbage.
func readReferences(dir string) ([]Info, error) {
	files, err := os.ReadDir(filepath.Join(dir, namesFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Info
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		ref, err := readReference(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, ref)
	}
	return all, nil
}

// folder is a folder of images that may be changed: its lock is held.
type folder struct {
	dir  string
	lock *os.File
	say  io.Writer
}

// openFolder waits for the right to change a folder of images, and removes what
// others left when they were killed. say is told what goes on.
func openFolder(ctx context.Context, dir string, say io.Writer) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	waiting := func() { fmt.Fprintf(say, "Another command works on the images in %s; waiting for it.\n", dir) }
	if err := acquire(ctx, f, unix.LOCK_EX, waiting); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d := &folder{dir: dir, lock: f, say: say}
	if err := d.sweep(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// tidy removes what others left, if nobody is at work. It makes no difference to
// whoever wants to use an image, so its failure is told and no more.
func tidy(dir string, say io.Writer) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return // read-only, or another user's
	}
	defer f.Close()
	if free, err := try(f, unix.LOCK_EX); err != nil || !free {
		return
	}
	d := &folder{dir: dir, lock: f, say: say}
	if err := d.sweep(); err != nil {
		fmt.Fprintln(say, "Removing what an interrupted command left:", err)
	}
}

func (d *folder) close() error { return d.lock.Close() }

// sweep removes temporary folders of the dead, and contents that have neither a
// name nor a user.
func (d *folder) sweep() error {
	found, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range found {
		if !strings.HasPrefix(e.Name(), temporaryPrefix) && !strings.HasPrefix(e.Name(), formerPrefix) {
			continue
		}
		path := filepath.Join(d.dir, e.Name())
		f, free, err := tryFolder(path, unix.LOCK_EX)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !free {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(d.say, "Removing %s, which an interrupted command left.\n", path)
		if err := errors.Join(removeTree(path), f.Close()); err != nil {
			return err
		}
	}
	refs, err := readReferences(d.dir)
	if err != nil {
		return err
	}
	unnamed, err := unnamed(d.dir, refs)
	if err != nil {
		return err
	}
	for _, digest := range unnamed {
		if _, err := d.discard(Info{Digest: digest}); err != nil {
			return err
		}
	}
	return nil
}

// unnamed are the digests of contents that no reference leads to.
func unnamed(dir string, refs []Info) ([]string, error) {
	found, err := os.ReadDir(filepath.Join(dir, digestsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []string
	for _, e := range found {
		digest := digestPrefix + e.Name()
		named := func(r Info) bool { return r.Digest == digest && r.Folder == "" }
		if goodDigest.MatchString(digest) && !slices.ContainsFunc(refs, named) {
			all = append(all, digest)
		}
	}
	return all, nil
}

// discard removes an image's folder, unless somebody uses it.
func (d *folder) discard(i Info) (removed bool, err error) {
	f, free, err := tryFolder(i.path(d.dir), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !free {
		return false, err
	}
	defer f.Close()
	// Gone at once for all others; should this be interrupted, the next sweep ends it.
	away, err := os.MkdirTemp(d.dir, temporaryPrefix)
	if err != nil {
		return false, err
	}
	if err := os.Rename(i.path(d.dir), filepath.Join(away, "removed")); err != nil {
		return false, errors.Join(err, os.Remove(away))
	}
	return true, removeTree(away)
}

// workspace is where an image is made: image is its place, spare is for what else
// is needed on the way.
type workspace struct {
	path, image, spare string
	lock               *os.File
}

// newWorkspace is called with the folder's lock, so that no sweep sees it unlocked.
func (d *folder) newWorkspace() (*workspace, error) {
	path, err := os.MkdirTemp(d.dir, temporaryPrefix)
	if err != nil {
		return nil, err
	}
	w := &workspace{path: path, image: filepath.Join(path, "image"), spare: filepath.Join(path, "spare")}
	var free bool
	if w.lock, free, err = tryFolder(path, unix.LOCK_EX); err != nil || !free {
		return nil, errors.Join(err, os.Remove(path))
	}
	for _, sub := range []string{w.path, w.image, w.rootfs(), w.spare} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, errors.Join(err, w.remove())
		}
		// Boxes, and the users that packages are made by, have other uids; the
		// images' folder itself is closed to all but root. Whatever the umask.
		if err := os.Chmod(sub, 0o755); err != nil {
			return nil, errors.Join(err, w.remove())
		}
	}
	return w, nil
}

func (w *workspace) rootfs() string { return filepath.Join(w.image, rootfsFolder) }

func (w *workspace) remove() error {
	return errors.Join(removeTree(w.path), w.lock.Close())
}

// seal lists the contents, writes the list beside them, and makes a file system of them.
// Then all is on the disk.
func (w *workspace) seal(ctx context.Context, ref *Info, say io.Writer) error {
	all, err := seal(ctx, w.image, ref)
	if err != nil {
		return err
	}
	if err := pack(ctx, w.image, all, say); err != nil {
		return err
	}
	// An image that is named after a power failure must be whole.
	if err := unix.Syncfs(int(w.lock.Fd())); err != nil {
		return fmt.Errorf("write the image to disk: %w", err)
	}
	return nil
}

func seal(ctx context.Context, path string, ref *Info) (contents, error) {
	all, err := measure(ctx, filepath.Join(path, rootfsFolder))
	if err != nil {
		return nil, err
	}
	text := all.text()
	ref.Digest, ref.Size, ref.Entries = digestOf(text), all.size(), len(all)
	return all, os.WriteFile(filepath.Join(path, contentsFile), text, 0o644)
}

// ErrTaken says that a name refers to another image already.
var ErrTaken = errors.New("the name is taken")

// install puts what was made in its place and lets the name refer to it. If the
// same is there already that is what the name refers to.
func (d *folder) install(w *workspace, ref Info, replace bool) (Info, error) {
	before, err := readReference(d.dir, ref.Name)
	switch {
	case err == nil && before.Digest == ref.Digest && exists(before.path(d.dir)):
		return before, nil
	case err == nil && !replace && before.Digest != ref.Digest:
		return Info{}, fmt.Errorf("%w: %s is %s", ErrTaken, ref.Name, before.Digest)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Info{}, err
	}
	if !exists(ref.path(d.dir)) {
		if err := os.MkdirAll(filepath.Join(d.dir, digestsFolder), 0o755); err != nil {
			return Info{}, err
		}
		if err := os.Rename(w.image, ref.path(d.dir)); err != nil {
			return Info{}, err
		}
	}
	if err := d.refer(ref); err != nil {
		return Info{}, err
	}
	return ref, d.sweep() // what the name referred to before
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// refer writes a reference, whole or not at all.
func (d *folder) refer(ref Info) error {
	data, err := json.MarshalIndent(ref, "", "  ")
	if err != nil {
		return err
	}
	names := filepath.Join(d.dir, namesFolder)
	if err := os.MkdirAll(names, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.dir, temporaryPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), filepath.Join(names, ref.Name+".json")); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return errors.Join(syncFolder(names), syncFolder(d.dir))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// adopt makes an image of a former version one that can be verified. It stays where
// it is, because servers of that version may use it.
func (d *folder) adopt(ctx context.Context, name, distribution string) error {
	path := filepath.Join(d.dir, name)
	info, err := os.Lstat(filepath.Join(path, rootfsFolder))
	if err != nil {
		return err
	}
	ref := Info{Name: name, Folder: name, Made: info.ModTime().UTC(), Distribution: distribution}
	if _, err := seal(ctx, path, &ref); err != nil {
		return err
	}
	return d.refer(ref)
}

// former are the names of images that a former version made and nobody adopted.
func former(dir string, refs []Info) ([]string, error) {
	found, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []string
	for _, e := range found {
		known := func(r Info) bool { return r.Name == e.Name() }
		if checkName(e.Name()) == nil && !slices.ContainsFunc(refs, known) && exists(filepath.Join(dir, e.Name(), rootfsFolder)) {
			all = append(all, e.Name())
		}
	}
	return all, nil
}

// List gives the images in a folder, by name, and those without a name that
// somebody still uses.
func List(dir string) ([]Info, error) {
	all, err := readReferences(dir)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	nameless, err := unnamed(dir, all)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	old, err := former(dir, all)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	for _, name := range old {
		all = append(all, Info{Name: name, Folder: name})
	}
	for _, digest := range nameless {
		all = append(all, Info{Digest: digest})
	}
	for i := range all {
		f, free, err := tryFolder(all[i].path(dir), unix.LOCK_EX)
		all[i].InUse = err == nil && !free
		if f != nil {
			_ = f.Close()
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest, b.Digest)) })
	return all, nil
}

// find gives the images that a name, a digest or the beginning of one stands for:
// one, but for a digest that has several names.
func find(dir, what string) ([]Info, error) {
	all, err := List(dir)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(i Info) bool { return i.Name == what }); i >= 0 {
		return all[i : i+1], nil
	}
	const shortestDigest = 6 // digits
	digits := strings.TrimPrefix(what, digestPrefix)
	matches := slices.DeleteFunc(all, func(i Info) bool {
		return len(digits) < shortestDigest || !strings.HasPrefix(i.Digest, digestPrefix+digits)
	})
	if len(matches) == 0 {
		return nil, fmt.Errorf("there is no image %s in %s: %w", what, dir, ErrNotBuilt)
	}
	for _, m := range matches {
		if m.Digest != matches[0].Digest {
			return nil, fmt.Errorf("%s stands for several images: give more of the digest", what)
		}
	}
	return matches, nil
}

var (
	// ErrInUse says that a server uses the image, or another process.
	ErrInUse = errors.New("the image is in use")
	// ErrReferred says that names refer to it.
	ErrReferred = errors.New("the image has names")
)

// Remove removes a name, and with the last one what it refers to. It removes
// nothing if that is in use. A digest is removed only if no name refers to it.
func Remove(ctx context.Context, dir, what string, say io.Writer) error {
	d, err := openFolder(ctx, dir, say)
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	defer d.close()
	found, err := find(d.dir, what)
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	i := found[0]
	if i.Name != what && i.Name != "" {
		var names []string
		for _, f := range found {
			names = append(names, f.Name)
		}
		return fmt.Errorf("remove image %s: %w: %s", i.Digest, ErrReferred, strings.Join(names, ", "))
	}
	if err := d.remove(i); err != nil {
		return fmt.Errorf("remove image %s: %w", what, err)
	}
	return nil
}

func (d *folder) remove(i Info) error {
	others, err := readReferences(d.dir)
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(o Info) bool { return o.path(d.dir) != i.path(d.dir) || o.Name == i.Name })
	if len(others) == 0 {
		f, free, err := tryFolder(i.path(d.dir), unix.LOCK_EX)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !free {
			return ErrInUse
		}
		if f != nil {
			_ = f.Close() // who takes it into use now does so by a name that goes next
		}
	}
	reference := filepath.Join(d.dir, namesFolder, i.Name+".json")
	if err := os.Remove(reference); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(others) > 0 {
		fmt.Fprintf(d.say, "Its contents stay: %s refers to them.\n", others[0].Name)
		return nil
	}
	removed, err := d.discard(i)
	if err == nil && !removed {
		return ErrInUse
	}
	return err
}

// Verify tells where an image differs from what it was when it was made: its folder, and
// its file system where one can be mounted. An error says that this cannot be told.
func Verify(ctx context.Context, dir, what string) (Info, []Difference, error) {
	found, err := find(dir, what)
	if err != nil {
		return Info{}, nil, fmt.Errorf("verify image: %w", err)
	}
	i := found[0]
	differences, err := i.verify(ctx, dir)
	if err != nil {
		return i, nil, fmt.Errorf("verify image %s: %w", what, err)
	}
	return i, differences, nil
}

func (i Info) verify(ctx context.Context, dir string) ([]Difference, error) {
	if i.Digest == "" {
		return nil, errors.New("a former version made it and kept no digest; image build takes it over, image remove and image build make it anew")
	}
	text, err := os.ReadFile(filepath.Join(i.path(dir), contentsFile))
	if err != nil {
		return nil, err
	}
	var differences []Difference
	if digest := digestOf(text); digest != i.Digest {
		differences = append(differences, Difference{contentsFile, "the list itself has changed: its digest is " + digest})
	}
	was, err := parseContents(text)
	if err != nil {
		return append(differences, Difference{contentsFile, err.Error()}), nil
	}
	is, err := measure(ctx, filepath.Join(i.path(dir), rootfsFolder))
	if err != nil {
		return nil, err
	}
	differences = append(differences, compare(was, is)...)
	packed := filepath.Join(i.path(dir), packedFile)
	if !exists(packed) || erofs.Usable() != nil {
		return differences, nil
	}
	others, err := comparePacked(ctx, packed, was)
	if err != nil {
		return append(differences, Difference{packedFile, err.Error()}), nil
	}
	for _, d := range others {
		differences = append(differences, Difference{packedFile + ": " + d.Path, d.What})
	}
	return differences, nil
}

// removeTree removes a folder and all below it, but never what is mounted there: a
// killed build may have left the machine's devices.
func removeTree(path string) error {
	mounted, err := mountBelow(path)
	if err != nil {
		return err
	}
	if mounted != "" {
		return fmt.Errorf("remove %s: something is mounted on %s; unmount it first", path, mounted)
	}
	err = os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// Folders that their owner may not write to. Root does not get here.
	_ = filepath.WalkDir(path, func(sub string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			return os.Chmod(sub, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}

// mountBelow gives a mount point in a folder, or "".
func mountBelow(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		if point == path || strings.HasPrefix(point, path+"/") {
			return point, nil
		}
	}
	return "", lines.Err()
}

// unescape undoes what the kernel does to mount points in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
