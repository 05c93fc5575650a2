package collab

import (
	"crypto/rand"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"corun/collab/ycrdt"
)

// The document's schema, from CONTRACT.md §4.
const (
	rootFiles  = "files"
	rootRoom   = "room"
	filePrefix = "file/"
)

const (
	// MaxFiles and MaxFilesBytes bound a snapshot of a room's files.
	MaxFiles      = 200
	MaxFilesBytes = 4 << 20
	// MaxPathBytes bounds a file's path.
	MaxPathBytes = 255
)

var fileID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// File is one file of a room.
type File struct {
	ID      string `json:"id"`
	Path    string `json:"path"`
	Content string `json:"content"`
}

// Meta is what a document says of itself.
type Meta struct {
	Language string
	Entry    string // a file id
	Title    string
}

// Initial is what a new document begins with.
type Initial struct {
	Title, Language, Entry string
	Files                  []File
}

// NewFileID makes an id for another file; the first is main.
func NewFileID() string { return "f" + strings.ToLower(rand.Text()[:12]) }

// InitialDocument makes the first update of a room's document.
func InitialDocument(in Initial) ([]byte, error) {
	doc := ycrdt.New(ycrdt.Options{})
	update, err := doc.Transact(func(tx *ycrdt.Txn) error {
		for _, kv := range [][2]string{{"title", in.Title}, {"language", in.Language}, {"entry", in.Entry}} {
			if kv[1] == "" {
				continue
			}
			if err := tx.Map(rootRoom).Set(kv[0], kv[1]); err != nil {
				return err
			}
		}
		for _, f := range in.Files {
			if err := tx.Map(rootFiles).Set(f.ID, ycrdt.Object{{Key: "path", Value: f.Path}}); err != nil {
				return err
			}
			if err := tx.Text(filePrefix+f.ID).Insert(0, f.Content); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make first document: %w", err)
	}
	return update, nil
}

// FilesOf reads the files of a document, by path. What is no file by the schema
// is left out.
func FilesOf(doc *ycrdt.Doc) []File {
	files := []File{}
	for _, id := range doc.MapKeys(rootFiles) {
		entry, _ := doc.MapGet(rootFiles, id)
		var name any
		switch entry := entry.(type) {
		case ycrdt.Object:
			name, _ = entry.Get("path")
		case ycrdt.Shared: // a client that used a nested Y.Map
			name, _ = entry.Get("path")
		}
		if name, ok := name.(string); ok && fileID.MatchString(id) {
			files = append(files, File{id, name, doc.Text(filePrefix + id)})
		}
	}
	slices.SortStableFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

func metaOf(doc *ycrdt.Doc) Meta {
	get := func(key string) string {
		v, _ := doc.MapGet(rootRoom, key)
		s, _ := v.(string)
		return s
	}
	return Meta{Language: get("language"), Entry: get("entry"), Title: get("title")}
}

// FilesError says which files cannot be written to a disk, and why.
type FilesError struct{ Problems []string }

func (e *FilesError) Error() string { return strings.Join(e.Problems, "; ") }

// CheckFiles tells whether files can be written into one folder: their paths,
// their number, their size. The error is a *FilesError.
func CheckFiles(files []File) error {
	e := &FilesError{}
	total := 0
	isFile := make(map[string]bool)
	for _, f := range files {
		total += len(f.Content)
		if why := badPath(f.Path); why != "" {
			e.add("the path %q %s", f.Path, why)
			continue
		}
		if isFile[f.Path] {
			e.add("two files have the path %q", f.Path)
		}
		isFile[f.Path] = true
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if isFile[dir] {
				e.add("%q is a file, so that %q cannot be in it", dir, f.Path)
				break
			}
		}
	}
	if len(files) > MaxFiles {
		e.add("there are %d files: at most %d are allowed", len(files), MaxFiles)
	}
	if total > MaxFilesBytes {
		e.add("the files have %d bytes together: at most %d are allowed", total, MaxFilesBytes)
	}
	if len(e.Problems) > 0 {
		return e
	}
	return nil
}

// maxProblems keeps a message readable where everything is wrong.
const maxProblems = 5

func (e *FilesError) add(format string, args ...any) {
	if len(e.Problems) < maxProblems {
		e.Problems = append(e.Problems, fmt.Sprintf(format, args...))
	}
}

// badPath says what is wrong with a path, or "".
func badPath(p string) string {
	switch {
	case p == "":
		return "is empty: give a relative path like main.py"
	case len(p) > MaxPathBytes:
		return fmt.Sprintf("has %d bytes: at most %d are allowed", len(p), MaxPathBytes)
	case !utf8.ValidString(p):
		return "is not valid UTF-8"
	case strings.ContainsFunc(p, unicode.IsControl):
		return "holds a control character"
	case p[0] == '/':
		return "begins with a slash: give a relative path"
	case strings.Contains(p, `\`):
		return "holds a backslash: folders are separated by /"
	}
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".", "..":
			return fmt.Sprintf("holds the part %q: use plain names", part)
		}
	}
	return ""
}
