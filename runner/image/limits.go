package image

import (
	"context"
	"fmt"
	"hash"
	"io"
)

// Limits bound what an archive can make this machine do.
type Limits struct {
	Bytes   int64 // of all files that are written
	Entries int   // in all layers
	// Unpacked bounds what all layers come to, files that later layers replace and
	// whatever stands between and behind the entries included.
	Unpacked int64
	// Ratio is of what a layer comes to and its compressed form; real ones stay
	// below 20. It is heeded from ratioFrom bytes on.
	Ratio int64
	Path  int // bytes of a name
}

const (
	ratioFrom = 64 << 20
	// maxComponent is what file systems allow between two slashes.
	maxComponent = 255
	// maxLayers is what Docker allows.
	maxLayers = 128
	// maxMetadata is for a manifest, an index or a configuration, which are read
	// into memory. Registries take 4 MiB.
	maxMetadata = 4 << 20
	// maxArchiveEntries is for the archive around the layers.
	maxArchiveEntries = 10_000
)

// DefaultLimits are enough for a distribution with several compilers.
func DefaultLimits() Limits {
	return LimitsFor(8 << 30)
}

// LimitsFor are the limits of an image of so many bytes.
func LimitsFor(bytes int64) Limits {
	return Limits{Bytes: bytes, Entries: 500_000, Unpacked: 2 * bytes, Ratio: 200, Path: 1024}
}

// RefusedError says what in an archive was refused.
type RefusedError struct {
	Layer int    // from 1; 0 for the archive itself
	Entry string // its name, as it stands there, or ""
	Why   string
}

func (e *RefusedError) Error() string {
	switch {
	case e.Layer > 0 && e.Entry != "":
		return fmt.Sprintf("layer %d, entry %q: %s", e.Layer, e.Entry, e.Why)
	case e.Layer > 0:
		return fmt.Sprintf("layer %d: %s", e.Layer, e.Why)
	case e.Entry != "":
		return fmt.Sprintf("entry %q: %s", e.Entry, e.Why)
	}
	return e.Why
}

func refuse(entry, format string, args ...any) error {
	return &RefusedError{Entry: entry, Why: fmt.Sprintf(format, args...)}
}

// meter counts what is read, and hashes it if hash is set.
type meter struct {
	io.Reader
	ctx   context.Context
	hash  hash.Hash
	n     int64
	check func(n int64) error // may be nil
}

func (m *meter) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.Reader.Read(p)
	m.n += int64(n)
	if m.hash != nil {
		m.hash.Write(p[:n])
	}
	if m.check != nil {
		if err := m.check(m.n); err != nil {
			return n, err
		}
	}
	return n, err
}
