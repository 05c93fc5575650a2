package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ImportOptions say what Import does.
type ImportOptions struct {
	From    string // an OCI image layout, as a folder or archive, or what docker save wrote
	Ref     string // which image of several there; "" for the only one
	Name    string // its name here; "" for what the archive calls it
	Replace bool   // the name may refer to another image now
	Limits  Limits
}

// Import makes an image of an archive. Of one that is refused, or interrupted,
// nothing is left. say is told what goes on.
func Import(ctx context.Context, dir string, opts ImportOptions, say io.Writer) (Info, error) {
	if opts.Name != "" {
		if err := checkName(opts.Name); err != nil {
			return Info{}, fmt.Errorf("import image: %w", err)
		}
	}
	info, err := doImport(ctx, dir, opts, say)
	if err != nil {
		return Info{}, fmt.Errorf("import %s: %w", opts.From, err)
	}
	return info, nil
}

func doImport(ctx context.Context, dir string, opts ImportOptions, say io.Writer) (_ Info, err error) {
	d, err := openFolder(ctx, dir, say)
	if err != nil {
		return Info{}, err
	}
	w, err := d.newWorkspace()
	// Others may work on theirs while this one is filled.
	if err := errors.Join(err, d.close()); err != nil {
		return Info{}, err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	src, err := openSource(ctx, opts.From, opts.Ref, w.spare, opts.Limits)
	if err != nil {
		return Info{}, err
	}
	ref := Info{Name: opts.Name, Made: time.Now().UTC().Truncate(time.Second), Source: describe(opts.From, src.ref)}
	if ref.Name == "" {
		if ref.Name = nameOf(src.ref); ref.Name == "" {
			return Info{}, errors.New("the archive does not say what the image is called: give it a name (--name)")
		}
	}
	if err := fill(ctx, src, w.rootfs(), opts.Limits); err != nil {
		return Info{}, err
	}
	if err := w.seal(ctx, &ref, say); err != nil {
		return Info{}, err
	}
	if d, err = openFolder(ctx, dir, say); err != nil {
		return Info{}, err
	}
	defer d.close()
	return d.install(w, ref, opts.Replace)
}

func describe(from, ref string) string {
	if ref == "" {
		return filepath.Base(from)
	}
	return ref + " in " + filepath.Base(from)
}

var notInNames = regexp.MustCompile(`[^a-z0-9._-]+`)

// nameOf makes a name here of one there: python-3.12-slim of
// docker.io/library/python:3.12-slim; "" if that cannot be.
func nameOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	name := notInNames.ReplaceAllString(strings.ToLower(path.Base(ref)), "-")
	if checkName(name) != nil {
		return ""
	}
	return name
}

// fill writes the layers into an empty root and makes it one for boxes.
func fill(ctx context.Context, src source, rootfs string, limits Limits) error {
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return err
	}
	defer root.Close()
	a := newApplier(root, limits)
	var unpacked int64
	for i, l := range src.layers {
		if err := l.apply(ctx, a, &unpacked); err != nil {
			var refused *RefusedError
			if errors.As(err, &refused) {
				refused.Layer = i + 1
				return refused
			}
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	if err := a.finish(); err != nil {
		return err
	}
	return finish(root)
}

// apply writes a layer and checks its digests. unpacked is what all have come to.
func (l layerSource) apply(ctx context.Context, a *applier, unpacked *int64) error {
	f, err := l.open()
	if err != nil {
		return err
	}
	defer f.Close()
	packed := &meter{Reader: f, ctx: ctx}
	if l.packed != nil {
		if packed.hash, err = v1.Hasher(l.packed.Digest.Algorithm); err != nil {
			return err
		}
		packed.check = func(n int64) error {
			if n > l.packed.Size {
				return refuse("", "it has more than the %d bytes that the manifest speaks of", l.packed.Size)
			}
			return nil
		}
	}
	r, err := unpacker(packed)
	if err != nil {
		return fmt.Errorf("unpack it: %w", err)
	}
	defer r.Close()
	plain := &meter{Reader: r, ctx: ctx, check: a.limits.unpacked(packed, unpacked)}
	if plain.hash, err = v1.Hasher(l.diffID.Algorithm); err != nil {
		return err
	}
	if err := a.layer(ctx, plain); err != nil {
		return err
	}
	// What is behind the last entry counts and is hashed, too.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return fmt.Errorf("unpack it: %w", err)
	}
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	*unpacked += plain.n
	if got := hex.EncodeToString(plain.hash.Sum(nil)); got != l.diffID.Hex {
		return refuse("", "its digest does not match: it unpacks to %s, the configuration says %s", got, l.diffID.Hex)
	}
	if l.packed == nil {
		return nil
	}
	if got := hex.EncodeToString(packed.hash.Sum(nil)); got != l.packed.Digest.Hex || packed.n != l.packed.Size {
		return refuse("", "its digest does not match: it is %s of %d bytes, the manifest says %s of %d", got, packed.n, l.packed.Digest.Hex, l.packed.Size)
	}
	return nil
}
