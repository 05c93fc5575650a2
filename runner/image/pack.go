package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"corun/runner/erofs"
)

// packedFile is the same as the folder rootfs, as a file system that a launcher mounts in
// its place where it can.
const packedFile = rootfsFolder + erofs.Suffix

// packable says whether a file system can be of use and is not there yet.
func packable(image string) bool {
	return !exists(filepath.Join(image, packedFile)) && erofs.Usable() == nil
}

// pack makes the file system of an image, whose contents are known, and looks whether it
// holds the same. An image is good without: only ctx's end is an error.
func pack(ctx context.Context, image string, was contents, say io.Writer) error {
	if !packable(image) {
		return nil
	}
	fmt.Fprintln(say, "Making the image's file system.")
	file := filepath.Join(image, packedFile)
	err := erofs.Make(ctx, filepath.Join(image, rootfsFolder), file)
	if err == nil {
		var differences []Difference
		if differences, err = comparePacked(ctx, file, was); len(differences) > 0 {
			err = fmt.Errorf("it is not the same: %v", differences[0])
		}
		if err != nil {
			err = errors.Join(err, os.Remove(file))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintf(say, "Boxes will use the image's folder, as it has no file system: %v.\n", err)
	}
	return nil
}

// comparePacked tells where a file system differs from a list. An error says that it
// cannot be read.
func comparePacked(ctx context.Context, file string, was contents) ([]Difference, error) {
	fs, err := erofs.Open(file)
	if err != nil {
		return nil, err
	}
	defer fs.Close()
	is, err := measure(ctx, fs.Path())
	if err != nil {
		return nil, err
	}
	return compare(was, is), nil
}

// packFormer makes the file system of an image that was made without.
func packFormer(ctx context.Context, dir string, img Image, say io.Writer) error {
	image := filepath.Dir(img.Rootfs)
	if !erofs.CanMake() || !packable(image) {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(image, contentsFile))
	if err != nil {
		return err
	}
	was, err := parseContents(text)
	if err != nil {
		return err
	}
	d, err := openFolder(ctx, dir, say)
	if err != nil {
		return err
	}
	return errors.Join(pack(ctx, image, was, say), d.close())
}
