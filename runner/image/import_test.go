package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Kinds of entries, for short.
func file(name, content string) tar.Header {
	return tar.Header{Name: name, Linkname: content, Mode: 0o644}
}
func dir(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
}
func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}
func hard(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}
}
func gone(name string) tar.Header {
	d, b := filepath.Split(name)
	return file(d+".wh."+b, "")
}
func opaque(folder string) tar.Header { return file(folder+"/.wh..wh..opq", "") }

// archive writes entries; a file's content is in its Linkname.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			content, h.Linkname, h.Typeflag = h.Linkname, "", tar.TypeReg
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// imageOf is an image of layers.
func imageOf(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// layoutOf writes images as an OCI layout, each under a name.
func layoutOf(t testing.TB, images map[string]v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for ref, img := range images {
		var options []layout.Option
		if ref != "" {
			options = append(options, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": ref}))
		}
		if err := p.AppendImage(img, options...); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func importFrom(t testing.TB, images, from, called string) (Info, error) {
	t.Helper()
	return Import(context.Background(), images, ImportOptions{From: from, Name: called, Limits: LimitsFor(8 << 20)}, io.Discard)
}

// tree lists what an image has, without what every image gets: path, and content or
// target, and the mode where it is unusual.
func tree(t testing.TB, rootfs string) (all []string) {
	t.Helper()
	usual := map[string]bool{".": true}
	for _, name := range mountpoints {
		usual[name] = true
	}
	for name := range etc {
		usual[name] = true
	}
	err := filepath.WalkDir(rootfs, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(rootfs, path)
		if err != nil || usual[rel] {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		line := rel
		switch {
		case e.IsDir():
			line += "/"
			if info.Mode().Perm() != 0o755 {
				line += fmt.Sprintf(" %#o", info.Mode().Perm())
			}
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		default:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += "=" + string(content)
			if info.Mode() != 0o644 {
				line += " " + info.Mode().String()
			}
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLayers(t *testing.T) {
	setuid := file("s", "x")
	setuid.Mode = 0o6755
	capable := file("c", "x")
	capable.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	owned := file("o", "x")
	owned.Uid, owned.Gid = 1234, 1234
	closed := dir("d")
	closed.Mode = 0o555
	for name, c := range map[string]struct {
		layers [][]tar.Header
		want   []string
	}{
		"files and folders":     {[][]tar.Header{{dir("a"), file("a/b", "1"), file("x/y/z", "2")}}, []string{"a/", "a/b=1", "x/", "x/y/", "x/y/z=2"}},
		"a file replaced":       {[][]tar.Header{{file("a", "1")}, {file("a", "2")}}, []string{"a=2"}},
		"a whiteout":            {[][]tar.Header{{file("a", "1"), file("d/b", "1"), file("d/c", "1")}, {gone("a"), gone("d/b")}}, []string{"d/", "d/c=1"}},
		"a whiteout of all":     {[][]tar.Header{{file("d/b/c", "1")}, {gone("d")}}, nil},
		"its own stays":         {[][]tar.Header{{file("d/old", "1")}, {file("d/new", "2"), gone("d")}}, []string{"d/", "d/new=2"}},
		"an opaque folder":      {[][]tar.Header{{file("d/a", "1"), file("d/e/f", "1")}, {file("d/b", "2"), opaque("d")}}, []string{"d/", "d/b=2"}},
		"opaque, then filled":   {[][]tar.Header{{file("d/a", "1")}, {opaque("d"), file("d/a", "2")}}, []string{"d/", "d/a=2"}},
		"of nothing":            {[][]tar.Header{{file("a", "1")}, {gone("b"), opaque("d")}}, []string{"a=1", "d/"}},
		"AUFS's own":            {[][]tar.Header{{file("a", "1"), file(".wh..wh.aufs", "x"), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1", "x")}}, []string{"a=1"}},
		"a folder for a file":   {[][]tar.Header{{file("a", "1")}, {dir("a"), file("a/b", "2")}}, []string{"a/", "a/b=2"}},
		"a file for a folder":   {[][]tar.Header{{file("a/b", "1")}, {file("a", "2")}}, []string{"a=2"}},
		"a link":                {[][]tar.Header{{file("usr/bin/x", "1"), link("bin", "usr/bin")}, {file("bin/y", "2")}}, []string{"bin -> usr/bin", "usr/", "usr/bin/", "usr/bin/x=1", "usr/bin/y=2"}},
		"a whiteout by a link":  {[][]tar.Header{{file("usr/bin/x", "1"), link("bin", "usr/bin")}, {gone("bin/x")}}, []string{"bin -> usr/bin", "usr/", "usr/bin/"}},
		"a link replaced":       {[][]tar.Header{{link("a", "b")}, {file("a", "1")}}, []string{"a=1"}},
		"a file under a link":   {[][]tar.Header{{file("b", "1"), link("a", "b")}, {file("a", "2")}}, []string{"a=2", "b=1"}},
		"an absolute link":      {[][]tar.Header{{link("a", "/etc/alternatives/x")}}, []string{"a -> /etc/alternatives/x"}},
		"hard links":            {[][]tar.Header{{file("a", "1"), hard("b", "a")}, {hard("c", "b")}}, []string{"a=1", "b=1", "c=1"}},
		"a hard link replaced":  {[][]tar.Header{{file("a", "1"), hard("b", "a")}, {file("b", "2")}}, []string{"a=1", "b=2"}},
		"a hard link of a link": {[][]tar.Header{{link("a", "x"), hard("b", "a")}}, []string{"a -> x", "b -> x"}},
		"setuid is left out":    {[][]tar.Header{{setuid}}, []string{"s=x -rwxr-xr-x"}},
		"capabilities as well":  {[][]tar.Header{{capable}}, []string{"c=x"}},
		"owners as well":        {[][]tar.Header{{owned}}, []string{"o=x"}},
		"a closed folder":       {[][]tar.Header{{closed, file("d/a", "1")}, {file("d/b", "2")}}, []string{"d/ 0555", "d/a=1", "d/b=2"}},
		"dots in names":         {[][]tar.Header{{dir("./"), file("./a", "1"), file("b//c", "2"), file("..x", "3"), file("x..", "4")}}, []string{"..x=3", "a=1", "b/", "b/c=2", "x..=4"}},
		"odd names":             {[][]tar.Header{{file("new\nline", "1"), file("\xff\xfe", "2"), file(strings.Repeat("n", 255), "3")}}, []string{"new\nline=1", strings.Repeat("n", 255) + "=3", "\xff\xfe=2"}},
		"what boxes mount over": {[][]tar.Header{{file("tmp/a", "1"), link("work", "/etc"), file("dev/x", "1"), file("proc/x", "1"), file("run/x", "1"), file("etc/passwd", "evil"), file("etc/mine", "1")}}, []string{"etc/mine=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var layers [][]byte
			for _, entries := range c.layers {
				layers = append(layers, archive(t, entries...))
			}
			images := t.TempDir()
			info, err := importFrom(t, images, layoutOf(t, map[string]v1.Image{"x": imageOf(t, layers...)}), "it")
			if err != nil {
				t.Fatal(err)
			}
			img, err := Open(images, "it")
			if err != nil || img.Digest != info.Digest {
				t.Fatal(img, err)
			}
			if got := tree(t, img.Rootfs); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if _, differences, err := Verify(t.Context(), images, "it"); err != nil || len(differences) > 0 {
				t.Errorf("verify: %v, %v", differences, err)
			}
			err = filepath.WalkDir(img.Rootfs, func(path string, _ fs.DirEntry, err error) error {
				var st unix.Stat_t
				if err := unix.Lstat(path, &st); err != nil || st.Uid != uint32(os.Geteuid()) {
					t.Errorf("%s is owned by %d, %v", path, st.Uid, err)
				}
				if n, err := unix.Lgetxattr(path, "security.capability", nil); err == nil {
					t.Errorf("%s has capabilities of %d bytes", path, n)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// hostile are layers that must be refused, and what has to be said.
var hostile = map[string]struct {
	layers [][]tar.Header
	says   string
}{
	"leading out":                 {[][]tar.Header{{file("../canary", "x")}}, "leads out"},
	"leading out, later":          {[][]tar.Header{{file("a/../../canary", "x")}}, "leads out"},
	"absolute":                    {[][]tar.Header{{file("/canary", "x")}}, "absolute"},
	"through a link up":           {[][]tar.Header{{link("a", ".."), file("a/canary", "x")}}, "leads out"},
	"through a link of two":       {[][]tar.Header{{dir("d"), link("d/a", "../.."), file("d/a/canary", "x")}}, "leads out"},
	"through an absolute link":    {[][]tar.Header{{link("a", "/tmp"), file("a/canary", "x")}}, "leads out"},
	"through a link of a layer":   {[][]tar.Header{{link("a", "/")}, {file("a/canary", "x")}}, "leads out"},
	"through a chain of links":    {[][]tar.Header{{dir("x/y"), link("a", "x/y"), link("x/y/b", "../../..")}, {file("a/b/canary", "x")}}, "leads out"},
	"through a link to itself":    {[][]tar.Header{{link("a", "a"), file("a/b", "x")}}, "too many links"},
	"through a file":              {[][]tar.Header{{file("a", "1"), file("a/b", "x")}}, "no folder"},
	"a folder by a link":          {[][]tar.Header{{link("a", "/"), dir("a/canary")}}, "leads out"},
	"a whiteout by a link":        {[][]tar.Header{{link("a", "/"), gone("a/canary")}}, "leads out"},
	"an opaque by a link":         {[][]tar.Header{{link("a", "/tmp"), opaque("a")}}, "leads out"},
	"a whiteout of ..":            {[][]tar.Header{{file("d/.wh...", "")}}, "whiteout of nothing"},
	"a whiteout of nothing":       {[][]tar.Header{{file(".wh.", "")}}, "whiteout of nothing"},
	"below a whiteout":            {[][]tar.Header{{file(".wh.a/b", "")}}, "whiteouts"},
	"a link up":                   {[][]tar.Header{{link("a", "../x")}}, "leads out"},
	"a link up, hidden":           {[][]tar.Header{{link("d/a", "x/../../../y")}}, "leads out"},
	"a link to nothing":           {[][]tar.Header{{link("a", "")}}, "link to nothing"},
	"a hard link out":             {[][]tar.Header{{hard("a", "../canary")}}, "leads out"},
	"a hard link out, absolute":   {[][]tar.Header{{hard("a", "/etc/passwd")}}, "leads out"},
	"a hard link through a link":  {[][]tar.Header{{link("d", "/etc"), hard("a", "d/passwd")}}, "leads out"},
	"a hard link to nothing":      {[][]tar.Header{{hard("a", "b")}}, "not there"},
	"a hard link to a folder":     {[][]tar.Header{{dir("d"), hard("a", "d")}}, "no file"},
	"a hard link to itself":       {[][]tar.Header{{file("a", "1"), hard("a", "a")}}, "itself"},
	"a hard link of a link up":    {[][]tar.Header{{dir("x/y"), link("x/y/l", "../../z"), hard("l", "x/y/l")}}, "leads out"},
	"a character device":          {[][]tar.Header{{{Name: "a", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}}, "device"},
	"a block device":              {[][]tar.Header{{{Name: "a", Typeflag: tar.TypeBlock, Devmajor: 8}}}, "device"},
	"a FIFO":                      {[][]tar.Header{{{Name: "a", Typeflag: tar.TypeFifo}}}, "FIFO"},
	"a contiguous file":           {[][]tar.Header{{{Name: "a", Typeflag: tar.TypeCont}}}, "unknown type"},
	"a long part":                 {[][]tar.Header{{file(strings.Repeat("n", 256), "x")}}, "256 bytes"},
	"a long name":                 {[][]tar.Header{{file(strings.Repeat("n/", 600)+"x", "x")}}, "1201 bytes"},
	"far down by a link":          {[][]tar.Header{{dir(strings.Repeat("d/", 400)), link("a", strings.Repeat("d/", 400)), file("a/"+strings.Repeat("e/", 400)+"f", "x")}}, "bytes down"},
	"more bytes than are allowed": {[][]tar.Header{{file("a", strings.Repeat("x", 5<<20))}, {file("b", strings.Repeat("x", 5<<20))}}, "limit of 8388608"},
	"the root as a file":          {[][]tar.Header{{file(".", "x")}}, "root must be a folder"},
}

func TestHostileLayers(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var layers [][]byte
			for _, entries := range c.layers {
				layers = append(layers, archive(t, entries...))
			}
			refusedWith(t, layoutOf(t, map[string]v1.Image{"x": imageOf(t, layers...)}), c.says)
		})
	}
}

// What a layer unpacks to is compared with what it is in the archive, whoever made that.
func TestRatioOfDockerLayers(t *testing.T) {
	layer := archive(t, file("zeros", strings.Repeat("\x00", ratioFrom+(1<<20))))
	img := imageOf(t, layer)
	tag, err := name.NewTag("thing:1.0")
	if err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(docker, tag, img); err != nil {
		t.Fatal(err)
	}
	for kind, from := range map[string]string{"docker": docker, "layout": layoutOf(t, map[string]v1.Image{"x": img})} {
		_, err = Import(t.Context(), t.TempDir(), ImportOptions{From: from, Name: "it", Limits: LimitsFor(1 << 30)}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "200 times its size") {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}

// An index that lists another many times, which does the same, is not unfolded.
func TestIndexBomb(t *testing.T) {
	from := layoutOf(t, map[string]v1.Image{"x": imageOf(t, archive(t, file("a", "1")))})
	top := filepath.Join(from, "index.json")
	for range maxNesting {
		was, err := os.ReadFile(top)
		if err != nil {
			t.Fatal(err)
		}
		digest := digestOf(was)
		if err := os.WriteFile(filepath.Join(from, "blobs", "sha256", strings.TrimPrefix(digest, digestPrefix)), was, 0o644); err != nil {
			t.Fatal(err)
		}
		one := fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q}`, types.OCIImageIndex, len(was), digest)
		bomb := `{"schemaVersion":2,"manifests":[` + strings.Repeat(one+",", 24_999) + one + `]}`
		if err := os.WriteFile(top, []byte(bomb), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refusedWith(t, from, "list more than")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openLayout(ctx, from, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("it does not end with its context: %v", err)
	}
}

// refusedWith imports what must be refused, and looks that nothing is left of it, nor
// outside.
func refusedWith(t *testing.T, from, says string) {
	t.Helper()
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("alive"), 0o644); err != nil {
		t.Fatal(err)
	}
	images := filepath.Join(outside, "images")
	_, err := importFrom(t, images, from, "it")
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %q", err, says)
	}
	found, err := os.ReadDir(images)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if e.Name() != lockFile {
			t.Errorf("%s is left", e.Name())
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 2 {
		t.Errorf("outside are %v, %v", entries, err)
	}
	if text, err := os.ReadFile(canary); err != nil || string(text) != "alive" {
		t.Errorf("the canary is %q, %v", text, err)
	}
}

func TestArchives(t *testing.T) {
	img := imageOf(t, archive(t, file("a", "1")), archive(t, file("b", "2")))
	folder := layoutOf(t, map[string]v1.Image{"docker.io/library/Thing:1.0": img})
	plain := filepath.Join(t.TempDir(), "layout.tar")
	if out, err := exec.Command("tar", "-C", folder, "-cf", plain, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tag, err := name.NewTag("thing:1.0")
	if err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(docker, tag, img); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(t.TempDir(), "index")
	p, err := layout.Write(index, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	other := imageOf(t, archive(t, file("other", "1")))
	if err := p.AppendIndex(mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
	)); err != nil {
		t.Fatal(err)
	}
	digests := make(map[string]bool)
	for name, from := range map[string]string{
		"a folder": folder, "an archive": plain, "compressed": packed(t, plain, "gzip"), "compressed with zstd": packed(t, plain, "zstd"),
		"docker": docker, "docker, compressed": packed(t, docker, "gzip"), "an index": index,
	} {
		images := t.TempDir()
		info, err := importFrom(t, images, from, "it")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := tree(t, filepath.Join(info.path(images), rootfsFolder)); !slices.Equal(got, []string{"a=1", "b=2"}) {
			t.Errorf("%s: %q", name, got)
		}
		digests[info.Digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("the same image has the digests %v", digests)
	}
	if info, err := importFrom(t, t.TempDir(), folder, ""); err != nil || info.Name != "thing-1.0" {
		t.Errorf("it is called %q, %v", info.Name, err)
	}
	two := layoutOf(t, map[string]v1.Image{"one": img, "two": other})
	if _, err := importFrom(t, t.TempDir(), two, "it"); err == nil || !strings.Contains(err.Error(), "--ref") {
		t.Errorf("of two images: %v", err)
	}
	info, err := Import(t.Context(), t.TempDir(), ImportOptions{From: two, Ref: "two", Limits: DefaultLimits()}, io.Discard)
	if err != nil || info.Name != "two" {
		t.Errorf("the second of two: %+v, %v", info, err)
	}
}

func packed(t *testing.T, path, how string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "packed")
	if err := os.WriteFile(to, compress(t, data, how), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

func compress(t testing.TB, data []byte, how string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if how == "zstd" {
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	good := imageOf(t, archive(t, file("a", "1")))
	// change makes a layout and spoils it.
	change := func(how func(dir string)) string {
		dir := layoutOf(t, map[string]v1.Image{"x": good})
		how(dir)
		return dir
	}
	blobs := func(dir string) (all []string) {
		all, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	write := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "archive.tar")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bomb := static.NewLayer(compress(t, make([]byte, 100<<20), "gzip"), types.OCILayer)
	withBomb, err := mutate.AppendLayers(imageOf(t), bomb)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := mutate.AppendLayers(imageOf(t), static.NewLayer(archive(t, file("a", "1")), types.OCIRestrictedLayer))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, says string }{
		"nothing":             {filepath.Join(t.TempDir(), "none"), "no such file"},
		"a device":            {"/dev/null", "neither a folder nor a file"},
		"an empty folder":     {t.TempDir(), "no OCI image layout"},
		"an empty file":       {write(nil), "no archive"},
		"noise":               {write(bytes.Repeat([]byte("noise"), 1000)), "no archive"},
		"an archive of files": {write(archive(t, file("a", "1"))), "neither an OCI image layout"},
		"cut off":             {write(archive(t, file("manifest.json", "[]"))[:600]), "archive"},
		"gzip that is none":   {write([]byte("\x1f\x8b\x08garbage")), ""},
		"twice the same":      {write(archive(t, file("manifest.json", "[]"), file("manifest.json", "[]"))), "twice"},
		"docker, no images":   {write(archive(t, file("manifest.json", "[]"))), "0 images"},
		"docker, no layers":   {write(archive(t, file("manifest.json", `[{"Config":"c.json","Layers":[]}]`), file("c.json", "{}"))), "no layers"},
		"docker, elsewhere":   {write(archive(t, file("manifest.json", `[{"Config":"../../etc/passwd","Layers":["/etc/shadow"]}]`))), "not there"},
		"docker, noise":       {write(archive(t, file("manifest.json", `{"a`))), "manifest.json"},
		"a zip bomb":          {layoutOf(t, map[string]v1.Image{"x": withBomb}), "unpacks to more"},
		"a foreign layer":     {layoutOf(t, map[string]v1.Image{"x": foreign}), "of the type"},
		"another machine's":   {layoutOf(t, map[string]v1.Image{"x": forOther(t, good)}), "this machine is"},
		"a changed blob": {change(func(dir string) {
			for _, b := range blobs(dir) {
				data, err := os.ReadFile(b)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.HasPrefix(data, []byte(gzipMagic)) {
					if err := os.WriteFile(b, compress(t, archive(t, file("a", "evil")), "gzip"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}), "digest does not match"},
		"a changed manifest": {change(func(dir string) {
			for _, b := range blobs(dir) {
				data, err := os.ReadFile(b)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(b, append(data, ' '), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}), "does not match"},
		"a missing blob": {change(func(dir string) {
			for _, b := range blobs(dir) {
				if err := os.Remove(b); err != nil {
					t.Fatal(err)
				}
			}
		}), "no such file"},
		"a blob that is a link": {change(func(dir string) {
			for _, b := range blobs(dir) {
				if err := errors.Join(os.Remove(b), os.Symlink("/etc/passwd", b)); err != nil {
					t.Fatal(err)
				}
			}
		}), ""},
		"an index of noise": {change(func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte("{"), 0o644); err != nil {
				t.Fatal(err)
			}
		}), "index"},
		"a huge index": {change(func(dir string) {
			if err := os.Truncate(filepath.Join(dir, "index.json"), 1<<40); err != nil {
				t.Fatal(err)
			}
		}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusedWith(t, c.from, c.says)
		})
	}
}

func forOther(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture = "s390x"
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// FuzzLayer: whatever a layer says, nothing is written outside of its root, and what
// is in it are files, folders and links.
func FuzzLayer(f *testing.F) {
	for _, c := range hostile {
		for _, entries := range c.layers {
			if b := archive(f, entries...); len(b) < 1<<16 {
				f.Add(b)
			}
		}
	}
	f.Add(archive(f, dir("a"), link("b", "a"), file("b/c", "1"), hard("d", "a/c"), gone("a/c"), opaque("a")))
	f.Fuzz(func(t *testing.T, layer []byte) {
		outside := t.TempDir()
		rootfs := filepath.Join(outside, "a", "rootfs")
		if err := os.MkdirAll(rootfs, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(rootfs)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		a := newApplier(root, Limits{Bytes: 1 << 20, Entries: 200, Unpacked: 4 << 20, Ratio: 100, Path: 512})
		for range 2 { // as the second layer it finds links
			if err := a.layer(context.Background(), bytes.NewReader(layer)); err != nil {
				break
			}
		}
		if err := a.finish(); err != nil {
			t.Fatal(err)
		}
		if err := finish(root); err != nil && !strings.Contains(err.Error(), "is no folder") {
			t.Logf("finish: %v", err)
		}
		_ = filepath.WalkDir(outside, func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(outside, path)
			if rel != "." && rel != "a" && rel != "a/rootfs" && !strings.HasPrefix(rel, "a/rootfs/") {
				t.Errorf("%q was written", rel)
			}
			if err == nil && !e.IsDir() && !e.Type().IsRegular() && e.Type() != fs.ModeSymlink {
				t.Errorf("%q is a %v", rel, e.Type())
			}
			return nil
		})
	})
}
