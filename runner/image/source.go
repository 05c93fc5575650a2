package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "crypto/sha512" // a digest may be one
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// source is an image in an archive: its layers, and what they must hash to.
type source struct {
	ref    string // what the archive calls it, or ""
	layers []layerSource
}

type layerSource struct {
	open   func() (io.ReadCloser, error)
	packed *v1.Descriptor // size and digest of what open gives, if the archive has them
	diffID v1.Hash        // of what that unpacks to
}

// openSource finds the image in a folder or file. What has to be unpacked for that
// goes into spare.
func openSource(ctx context.Context, from, ref, spare string, limits Limits) (source, error) {
	info, err := os.Stat(from)
	if err != nil {
		return source{}, err
	}
	switch {
	case info.IsDir():
		return openLayout(ctx, from, ref)
	case !info.Mode().IsRegular():
		return source{}, errors.New("it is neither a folder nor a file")
	}
	from, err = uncompressed(ctx, from, spare, limits)
	if err != nil {
		return source{}, err
	}
	files, err := members(ctx, from, limits)
	if err != nil {
		return source{}, err
	}
	if _, ok := files["index.json"]; ok {
		// Recent Dockers write a layout, too.
		dir := filepath.Join(spare, "layout")
		if err := unpackLayout(ctx, from, dir, limits); err != nil {
			return source{}, err
		}
		return openLayout(ctx, dir, ref)
	}
	if _, ok := files["manifest.json"]; ok {
		return openDocker(from, ref, files)
	}
	return source{}, errors.New("it is neither an OCI image layout (it has no index.json) nor made by docker save (it has no manifest.json)")
}

// unpacker gives what a compressed stream unpacks to, or the stream itself.
func unpacker(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte(gzipMagic)):
		return gzip.NewReader(b)
	case string(magic) == zstdMagic:
		// Bounded, because the stream says how much memory it needs.
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

const (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"
	// maxZstdWindow is what zstd --ultra --long asks for.
	maxZstdWindow = 128 << 20
)

// uncompressed gives a file with the archive itself, in spare if the one that was
// given is compressed.
func uncompressed(ctx context.Context, from, spare string, limits Limits) (string, error) {
	f, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil {
		return "", errors.New("it is no archive")
	}
	if !bytes.HasPrefix(magic, []byte(gzipMagic)) && string(magic) != zstdMagic {
		return from, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	packed := &meter{Reader: f, ctx: ctx}
	r, err := unpacker(packed)
	if err != nil {
		return "", err
	}
	defer r.Close()
	plain := filepath.Join(spare, "archive.tar")
	to, err := os.OpenFile(plain, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, &meter{Reader: r, ctx: ctx, check: limits.unpacked(packed, new(int64))})
	return plain, errors.Join(err, to.Close())
}

// unpacked gives the check of a stream that comes of another. before is what others
// have come to.
func (l Limits) unpacked(packed *meter, before *int64) func(n int64) error {
	return func(n int64) error {
		if *before+n > l.Unpacked {
			return refuse("", "it unpacks to more than the limit of %d bytes", l.Unpacked)
		}
		if n > ratioFrom && n > l.Ratio*packed.n {
			return refuse("", "it unpacks to more than %d times its size", l.Ratio)
		}
		return nil
	}
}

// each calls do with every entry of an archive, and its clean name.
func each(ctx context.Context, file string, limits Limits, do func(name string, h *tar.Header, body io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is no archive, or a damaged one: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n >= maxArchiveEntries {
			return refuse(h.Name, "the archive has more than %d entries", maxArchiveEntries)
		}
		name, err := cleanName(h.Name, limits.Path)
		if err != nil {
			return err
		}
		if err := do(name, h, r); err != nil {
			return err
		}
	}
}

// member is a file in an archive.
type member struct {
	size int64
	zstd bool
}

// members gives an archive's files. No two may have one name, as then it would be
// left to the reader which is meant.
func members(ctx context.Context, file string, limits Limits) (map[string]member, error) {
	files, seen := make(map[string]member), make(map[string]bool)
	err := each(ctx, file, limits, func(name string, h *tar.Header, body io.Reader) error {
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			return nil
		}
		if seen[name] {
			return refuse(h.Name, "it is in the archive twice")
		}
		seen[name] = true
		if h.Typeflag == tar.TypeReg {
			magic := make([]byte, len(zstdMagic))
			n, err := io.ReadFull(body, magic)
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return err
			}
			files[name] = member{h.Size, string(magic[:n]) == zstdMagic}
		}
		return nil
	})
	return files, err
}

// unpackLayout takes what belongs to an OCI image layout out of an archive.
func unpackLayout(ctx context.Context, file, dir string, limits Limits) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var total int64
	return each(ctx, file, limits, func(name string, h *tar.Header, body io.Reader) error {
		blob, err := path.Match("blobs/*/*", name)
		if err != nil || h.Typeflag != tar.TypeReg || !blob && name != "index.json" && name != "oci-layout" {
			return err
		}
		if total += h.Size; total > limits.Unpacked {
			return refuse(h.Name, "the archive has more than the limit of %d bytes", limits.Unpacked)
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return refuse(h.Name, "it is in the archive twice")
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(f, &meter{Reader: body, ctx: ctx})
		return errors.Join(err, f.Close())
	})
}

// found is an image in a layout.
type found struct {
	desc v1.Descriptor
	ref  string
}

// openLayout finds an image in an OCI image layout. Blobs are read through the
// library, which follows no links, and checked here, as it does not.
func openLayout(ctx context.Context, dir, ref string) (source, error) {
	p, err := layout.FromPath(dir)
	if err != nil {
		return source{}, fmt.Errorf("it is no OCI image layout: %w", err)
	}
	f, err := os.Open(filepath.Join(dir, "index.json"))
	if err != nil {
		return source{}, err
	}
	defer f.Close()
	data, err := readMetadata(f)
	if err != nil {
		return source{}, fmt.Errorf("read index.json: %w", err)
	}
	l := lister{ctx: ctx, layout: p, known: make(map[v1.Hash][]found)}
	all, err := l.images(data, 0)
	if err != nil {
		return source{}, err
	}
	chosen, err := choose(all, ref)
	if err != nil {
		return source{}, err
	}
	return layoutSource(p, chosen)
}

const (
	// maxNesting is of an index in an index.
	maxNesting = 3
	// maxManifests is of what all indexes list, what is listed twice counted twice.
	maxManifests = 10_000
)

// lister lists the images of a layout.
type lister struct {
	ctx    context.Context
	layout layout.Path
	known  map[v1.Hash][]found // of indexes that were read
	listed int
}

// images lists an index's images, those of its indexes included. One whose index does not
// say what it is called has no ref.
func (l *lister) images(data []byte, depth int) ([]found, error) {
	if depth > maxNesting {
		return nil, errors.New("its indexes are nested too deeply")
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read an index: %w", err)
	}
	var all []found
	for _, desc := range index.Manifests {
		if err := l.count(1); err != nil {
			return nil, err
		}
		// Docker and containerd keep the whole name apart from the tag.
		ref := cmp.Or(desc.Annotations["io.containerd.image.name"], desc.Annotations["org.opencontainers.image.ref.name"])
		switch {
		case desc.MediaType.IsIndex():
			inner, err := l.inner(desc, depth+1)
			if err != nil {
				return nil, err
			}
			for _, f := range inner {
				all = append(all, found{f.desc, cmp.Or(f.ref, ref)})
			}
		case desc.MediaType.IsImage() && forThisMachine(desc.Platform):
			all = append(all, found{desc, ref})
		}
	}
	return all, nil
}

// inner lists the images of an index in an index, which is read once.
func (l *lister) inner(desc v1.Descriptor, depth int) ([]found, error) {
	if all, ok := l.known[desc.Digest]; ok {
		return all, l.count(len(all))
	}
	data, err := readBlob(l.layout, desc)
	if err != nil {
		return nil, err
	}
	all, err := l.images(data, depth)
	l.known[desc.Digest] = all
	return all, err
}

func (l *lister) count(n int) error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	if l.listed += n; l.listed > maxManifests {
		return refuse("", "its indexes list more than %d images", maxManifests)
	}
	return nil
}

func forThisMachine(p *v1.Platform) bool {
	return p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH
}

// choose picks the image that is meant: the only one, or the one that ref names.
func choose(all []found, ref string) (found, error) {
	if ref != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(f found) bool { return f.ref != ref && f.desc.Digest.String() != ref })
	}
	all = slices.CompactFunc(all, func(a, b found) bool { return a.desc.Digest == b.desc.Digest })
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0 && ref != "":
		return found{}, fmt.Errorf("it has no image %q for linux/%s", ref, runtime.GOARCH)
	case len(all) == 0:
		return found{}, fmt.Errorf("it has no image for linux/%s", runtime.GOARCH)
	}
	var refs []string
	for _, f := range all {
		refs = append(refs, cmp.Or(f.ref, f.desc.Digest.String()))
	}
	return found{}, fmt.Errorf("it has several images, say which (--ref): %s", strings.Join(refs, ", "))
}

func layoutSource(p layout.Path, chosen found) (source, error) {
	s := source{ref: chosen.ref}
	data, err := readBlob(p, chosen.desc)
	if err != nil {
		return s, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return s, fmt.Errorf("read the manifest: %w", err)
	}
	data, err = readBlob(p, manifest.Config)
	if err != nil {
		return s, err
	}
	diffIDs, err := readConfig(data, len(manifest.Layers))
	if err != nil {
		return s, err
	}
	for i, desc := range manifest.Layers {
		if !desc.MediaType.IsLayer() || !desc.MediaType.IsDistributable() || len(desc.URLs) > 0 && !blobExists(p, desc) {
			return s, &RefusedError{Layer: i + 1, Why: fmt.Sprintf("it is of the type %q, or elsewhere: layers must be archives of files, and here", desc.MediaType)}
		}
		s.layers = append(s.layers, layerSource{
			open: func() (io.ReadCloser, error) { return p.Blob(desc.Digest) }, packed: &desc, diffID: diffIDs[i],
		})
	}
	return s, nil
}

func blobExists(p layout.Path, desc v1.Descriptor) bool {
	f, err := p.Blob(desc.Digest)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// readMetadata reads what must be small.
func readMetadata(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err == nil && len(data) > maxMetadata {
		err = fmt.Errorf("it has more than %d bytes", maxMetadata)
	}
	return data, err
}

// readBlob reads a manifest, an index or a configuration, and checks it.
func readBlob(p layout.Path, desc v1.Descriptor) ([]byte, error) {
	f, err := p.Blob(desc.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readMetadata(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	sum, err := v1.Hasher(desc.Digest.Algorithm)
	if err != nil {
		return nil, err
	}
	sum.Write(data)
	if got := hex.EncodeToString(sum.Sum(nil)); got != desc.Digest.Hex {
		return nil, refuse("", "the digest of blob %s does not match: it is %s", desc.Digest, got)
	}
	return data, nil
}

// readConfig gives what a configuration says that the layers unpack to.
func readConfig(data []byte, layers int) ([]v1.Hash, error) {
	config, err := v1.ParseConfigFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	switch {
	case cmp.Or(config.OS, "linux") != "linux" || cmp.Or(config.Architecture, runtime.GOARCH) != runtime.GOARCH:
		return nil, fmt.Errorf("the image is for %s/%s, this machine is linux/%s", config.OS, config.Architecture, runtime.GOARCH)
	case layers == 0:
		return nil, errors.New("the image has no layers")
	case layers > maxLayers:
		return nil, fmt.Errorf("the image has %d layers, the limit is %d", layers, maxLayers)
	case len(config.RootFS.DiffIDs) != layers:
		return nil, fmt.Errorf("the image has %d layers, and its configuration speaks of %d", layers, len(config.RootFS.DiffIDs))
	}
	return config.RootFS.DiffIDs, nil
}

// openDocker finds an image in what docker save wrote before it knew OCI's layout.
func openDocker(file, ref string, files map[string]member) (source, error) {
	opener := func() (io.ReadCloser, error) { return os.Open(file) }
	if files["manifest.json"].size > maxMetadata {
		return source{}, fmt.Errorf("its manifest.json has more than %d bytes", maxMetadata)
	}
	for name, m := range files {
		if m.zstd {
			// Docker does not do that, and the library would let the archive say how
			// much memory it takes to unpack.
			return source{}, refuse(name, "it is compressed with zstd")
		}
	}
	manifest, err := tarball.LoadManifest(opener)
	if err != nil {
		return source{}, fmt.Errorf("read manifest.json: %w", err)
	}
	desc, tag, err := chooseDocker(manifest, ref)
	if err != nil {
		return source{}, err
	}
	// The library reads it as a whole.
	if config, ok := files[path.Clean(desc.Config)]; !ok || config.size > maxMetadata {
		return source{}, fmt.Errorf("its configuration %q is not there or has more than %d bytes", desc.Config, maxMetadata)
	}
	img, err := tarball.Image(opener, tag)
	if err != nil {
		return source{}, fmt.Errorf("read the image: %w", err)
	}
	data, err := img.RawConfigFile()
	if err != nil {
		return source{}, fmt.Errorf("read the image's configuration: %w", err)
	}
	// The configuration is named by its digest.
	if sum, want := digestOf(data), digestPrefix+strings.TrimSuffix(path.Base(desc.Config), ".json"); goodDigest.MatchString(want) && sum != want {
		return source{}, refuse(desc.Config, "its digest does not match: it is %s", sum)
	}
	diffIDs, err := readConfig(data, len(desc.Layers))
	if err != nil {
		return source{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return source{}, fmt.Errorf("read the image: %w", err)
	}
	if len(layers) != len(diffIDs) {
		return source{}, fmt.Errorf("it has %d layers, and its configuration speaks of %d", len(layers), len(diffIDs))
	}
	s := source{ref: ref}
	if s.ref == "" && len(desc.RepoTags) > 0 {
		s.ref = desc.RepoTags[0]
	}
	for i, l := range layers {
		if t, err := l.MediaType(); err != nil || !t.IsDistributable() {
			return s, errors.Join(err, &RefusedError{Layer: i + 1, Why: fmt.Sprintf("it is of the type %q: layers must be in the archive", t)})
		}
		s.layers = append(s.layers, layerSource{
			// As it is there, not as the library unpacks it: what it unpacks to is bounded here.
			open: func() (io.ReadCloser, error) { return openMember(file, desc.Layers[i]) }, diffID: diffIDs[i],
		})
	}
	return s, nil
}

// openMember opens a file in an archive, which may be a link to another there.
func openMember(file, name string) (_ io.ReadCloser, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // nothing was written
		}
	}()
	name = path.Clean(name)
	for range maxLinks {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		r := tar.NewReader(f)
		var h *tar.Header
		for h == nil || path.Clean(h.Name) != name {
			if h, err = r.Next(); err == io.EOF {
				return nil, fmt.Errorf("%q is not in the archive", name)
			}
			if err != nil {
				return nil, err
			}
		}
		switch h.Typeflag {
		case tar.TypeReg:
			return struct {
				io.Reader
				io.Closer
			}{r, f}, nil
		case tar.TypeSymlink:
			name = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			name = path.Clean(h.Linkname)
		default:
			return nil, fmt.Errorf("%q in the archive is no file", name)
		}
	}
	return nil, fmt.Errorf("%q in the archive is behind too many links", name)
}

// chooseDocker picks the image that is meant: the only one, or the one that ref
// names.
func chooseDocker(manifest tarball.Manifest, ref string) (tarball.Descriptor, *name.Tag, error) {
	if ref == "" {
		if len(manifest) == 1 {
			return manifest[0], nil, nil
		}
		var refs []string
		for _, m := range manifest {
			refs = append(refs, m.RepoTags...)
		}
		return tarball.Descriptor{}, nil, fmt.Errorf("it has %d images, say which (--ref): %s", len(manifest), strings.Join(refs, ", "))
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return tarball.Descriptor{}, nil, fmt.Errorf("%q is no name of an image: %w", ref, err)
	}
	for _, m := range manifest {
		for _, t := range m.RepoTags {
			// There are several ways to write one.
			if other, err := name.NewTag(t); err == nil && other.Name() == tag.Name() {
				return m, &tag, nil
			}
		}
	}
	return tarball.Descriptor{}, nil, fmt.Errorf("it has no image %q", ref)
}
