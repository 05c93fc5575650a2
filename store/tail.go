package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// A transcript is written in batches, behind the program's back: a database that is busy must
// not hold back what is printed. What people have seen survives the death of the process all
// the same, in a file beside the database that a run's output is appended to before it is
// shown. It is no flush, and costs one system call. A run that has ended needs it no more.

// Tail is that file. One goroutine uses it.
type Tail struct {
	path string
	file *os.File
	buf  []byte
}

// tailFolder is where the tails of a database lie.
func tailFolder(path string) string { return path + "-output" }

func tailName(room string, number int) string { return room + "." + strconv.Itoa(number) }

// Tail begins the file of a run.
func (s *Store) Tail(room string, number int) (*Tail, error) {
	if err := os.Mkdir(s.tails, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make folder for output: %w", err)
	}
	path := filepath.Join(s.tails, tailName(room, number))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep output: %w", err)
	}
	return &Tail{path: path, file: f}, nil
}

// Append adds chunks, all that the run prints and in order. After it has returned they
// survive the process.
func (t *Tail) Append(chunks ...Chunk) error {
	t.buf = t.buf[:0]
	for _, c := range chunks {
		t.buf = append(t.buf, byte(c.Stream))
		t.buf = binary.BigEndian.AppendUint64(t.buf, uint64(micros(c.At)))
		t.buf = binary.BigEndian.AppendUint32(t.buf, uint32(len(c.Data)))
		t.buf = append(t.buf, c.Data...)
	}
	if _, err := t.file.Write(t.buf); err != nil {
		return fmt.Errorf("keep output: %w", err)
	}
	return nil
}

// Release leaves the file as it is, for who opens the database next.
func (t *Tail) Release() error { return t.file.Close() }

// Close removes the file: all of it is in the transcript.
func (t *Tail) Close() error {
	return errors.Join(os.Remove(t.path), t.file.Close())
}

const (
	tailHead = 1 + 8 + 4
	// maxTail bounds what is read of a tail, in bytes: far more than a run may print.
	maxTail = 256 << 20
)

// readTail gives what is whole of a tail, from the offsets on that are known of its streams.
func readTail(data []byte, known OutputSizes) (chunks []Chunk) {
	var ends [4]int64
	have := [4]int64{0, known.Stdout, known.Stderr, known.PTY}
	for len(data) >= tailHead {
		stream, at, n := data[0], binary.BigEndian.Uint64(data[1:]), int64(binary.BigEndian.Uint32(data[9:]))
		data = data[tailHead:]
		if stream < byte(Stdout) || stream > byte(PTY) || n > int64(len(data)) {
			break // the process died while it wrote this
		}
		c := Chunk{Stream(stream), fromMicros(int64(at)), ends[stream], bytes.Clone(data[:n])}
		data = data[n:]
		ends[stream] += n
		if skip := have[stream] - c.Offset; skip > 0 {
			skip = min(skip, n)
			c.Offset, c.Data = c.Offset+skip, c.Data[skip:]
		}
		if len(c.Data) > 0 {
			chunks = append(chunks, c)
		}
	}
	return chunks
}

// recoverTail adds to a transcript what people have seen and it has not.
func (s *Store) recoverTail(ctx context.Context, room string, number, rows int, known OutputSizes) ([]Chunk, error) {
	path := filepath.Join(s.tails, tailName(room, number))
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find output that was kept: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxTail {
		return nil, nil // it is none of ours
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read output that was kept: %w", err)
	}
	chunks := readTail(data, known)
	if len(chunks) == 0 {
		return nil, nil
	}
	_, err = s.AppendOutput(ctx, room, number, rows, chunks)
	return chunks, err
}

// dropTails removes what a former process has left.
func (s *Store) dropTails() error {
	if err := os.RemoveAll(s.tails); err != nil {
		return fmt.Errorf("remove output that is in transcripts: %w", err)
	}
	return nil
}
