package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"corun/runner/image"
)

type imageCmd struct {
	Build  imageBuildCmd  `cmd:"" help:"Build an image from this machine's own package sources, if it is not there."`
	Import imageImportCmd `cmd:"" help:"Make an image of an OCI image layout or of what docker save wrote."`
	List   imageListCmd   `cmd:"" help:"List the images."`
	Verify imageVerifyCmd `cmd:"" help:"Compare images with what they were when they were made."`
	Remove imageRemoveCmd `cmd:"" help:"Remove an image that nothing uses."`
}

type imageBuildCmd struct {
	Recipe string `arg:"" optional:"" default:"default" help:"Name of a recipe, or the path of a file with one."`
}

func (c imageBuildCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	began := time.Now()
	recipe, err := image.ReadRecipe(c.Recipe)
	if err != nil {
		return err
	}
	dir, err := common.imageFolder(true)
	if err != nil {
		return err
	}
	img, err := image.Build(ctx, recipe, dir, os.Stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s  %s  (%.1f s)\n", img.Name, img.Rootfs, time.Since(began).Seconds())
	return nil
}

type imageImportCmd struct {
	From    string `arg:"" help:"A folder or file with an OCI image layout, or what docker save wrote; also compressed."`
	Ref     string `help:"Which image, if there are several." placeholder:"REF"`
	Name    string `help:"Its name here. Default: made of its name there." placeholder:"NAME"`
	Replace bool   `help:"The name may refer to another image now."`
	MaxSize int64  `help:"The most that its files may have, in MiB." default:"8192" placeholder:"MIB"`
}

func (c imageImportCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	if c.MaxSize < 1 || c.MaxSize > 1<<20 {
		return fmt.Errorf("--max-size is %d: use 1 to %d (MiB)", c.MaxSize, 1<<20)
	}
	dir, err := common.imageFolder(true)
	if err != nil {
		return err
	}
	info, err := image.Import(ctx, dir, image.ImportOptions{
		From: c.From, Ref: c.Ref, Name: c.Name, Replace: c.Replace, Limits: image.LimitsFor(c.MaxSize << 20),
	}, os.Stderr)
	if errors.Is(err, image.ErrTaken) {
		return fmt.Errorf("%w (--name gives it another, --replace takes this one)", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s  %s  %d files and folders, %.1f MiB\n", info.Name, info.Digest, info.Entries, float64(info.Size)/(1<<20))
	return nil
}

type imageListCmd struct{}

func (imageListCmd) Run(out io.Writer, common *common) error {
	dir, err := common.imageFolder(false)
	if err != nil {
		return err
	}
	images, err := image.List(dir)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, i := range images {
		from, use := i.Source, ""
		if from == "" {
			from = i.Distribution
		}
		if i.InUse {
			use = "in use"
		}
		digest := i.Digest
		if len(digest) > 19 {
			digest = digest[:19] // enough to name it by
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f MiB\t%s\t%s\n", i.Name, digest, float64(i.Size)/(1<<20), from, use)
	}
	return table.Flush()
}

type imageVerifyCmd struct {
	Names []string `arg:"" optional:"" help:"Names or digests. Default: all."`
}

func (c imageVerifyCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	dir, err := common.imageFolder(false)
	if err != nil {
		return err
	}
	names := c.Names
	if len(names) == 0 {
		all, err := image.List(dir)
		if err != nil {
			return err
		}
		for _, i := range all {
			if i.Name != "" {
				names = append(names, i.Name)
			} else {
				names = append(names, i.Digest)
			}
		}
	}
	var failed error
	for _, name := range names {
		info, differences, err := image.Verify(ctx, dir, name)
		switch {
		case err != nil:
			fmt.Fprintln(os.Stderr, err)
			failed = exitStatus(1)
		case len(differences) > 0:
			for _, d := range differences {
				fmt.Fprintf(out, "%s  %v\n", name, d)
			}
			failed = exitStatus(1)
		default:
			fmt.Fprintf(out, "%s  %s  as it was made\n", name, info.Digest)
		}
	}
	return failed
}

type imageRemoveCmd struct {
	Name string `arg:"" help:"Name, or digest of an image without one."`
}

func (c imageRemoveCmd) Run(ctx context.Context, common *common) error {
	dir, err := common.imageFolder(true)
	if err != nil {
		return err
	}
	return image.Remove(ctx, dir, c.Name, os.Stderr)
}
