package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Image is a root file system.
type Image struct {
	Name   string // a reference, as default-0123456789ab
	Digest string // of its contents, sha256:…; "" if a former version made it
	Rootfs string // its folder
	Usr    string // folder that takes the place of its /usr, or ""
}

// ErrNotBuilt says that there is no such image, or not yet.
var ErrNotBuilt = errors.New("the image is not built")

const rootfsFolder = "rootfs"

// Open finds an image by name, or ErrNotBuilt.
func Open(dir, name string) (Image, error) {
	if err := checkName(name); err != nil {
		return Image{}, fmt.Errorf("find image: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Image{}, fmt.Errorf("find image: %w", err)
	}
	ref, err := readReference(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		ref, err = Info{Name: name, Folder: name}, nil // maybe of a former version
	}
	if err != nil {
		return Image{}, fmt.Errorf("find image: %w", err)
	}
	img := Image{Name: name, Digest: ref.Digest, Rootfs: filepath.Join(ref.path(dir), rootfsFolder)}
	// Neither may be a link: it would show programs another part of the host.
	for _, path := range []string{filepath.Dir(img.Rootfs), img.Rootfs} {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return Image{}, fmt.Errorf("image %s in %s: %w", name, dir, ErrNotBuilt)
		}
		if err != nil {
			return Image{}, fmt.Errorf("find image: %w", err)
		}
		if !info.IsDir() {
			return Image{}, fmt.Errorf("find image %s: %s is no folder", name, path)
		}
	}
	return img, nil
}
