// Package bundle is a room in one file: to take it elsewhere, or to keep it. Package web writes
// it and the command line reads it.
//
// A bundle is a zip archive:
//
//	files/main.py            the files as they are, as text, for people; not read again
//	document.yjs             the document, an update in Yjs's encoding, version 1
//	history/base.yjs         what it was when its history begins, if that was shortened
//	history/updates.jsonl    {"seq", "at", "author", "update"}: each update since, in base64
//	history/events.jsonl     {"at", "kind", "data"}: the log of events
//	runs/1/run.json          {"run", "update"}: a run that has ended, and the update it was of
//	runs/1/output.txt        what it printed, all streams as they were read
//	runs/1/output.index      lines of a stream's name, a number of bytes, and when they were
//	                         printed (microseconds since 1970; may be left out), in that order
//	runs/1/tests.jsonl       what became of each case, of a run of tests: lines of results
//	runs/1/artefacts/a.png   files that it left, \ and % in their names as %5C and %25
//	tests.json               {"cases"}: the tests of the room, if it has any, as hosts see them
//	manifest.json            the room, and how much of all that there is; the last to be written
//
// No token is in it, and no hash of one. Whatever is in a bundle, reading it takes bounded
// memory and comes to a room that a server of its own could have made, or to an error.
package bundle

import (
	"encoding/json"
	"strings"
	"time"

	"corun/collab"
	"corun/store"
)

const (
	format  = "corun-room"
	version = 1
)

// Names of entries.
const (
	manifestName = "manifest.json"
	documentName = "document.yjs"
	baseName     = "history/base.yjs"
	updatesName  = "history/updates.jsonl"
	eventsName   = "history/events.jsonl"
	testsName    = "tests.json"
	filesFolder  = "files/"
	runsFolder   = "runs/"

	runName        = "run.json"
	outputName     = "output.txt"
	indexName      = "output.index"
	resultsName    = "tests.jsonl"
	artefactFolder = "artefacts/"
)

// manifest says what the bundle is and has.
type manifest struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Room    room   `json:"room"`
	// LastUpdate is the number of the document's last update.
	LastUpdate int64 `json:"last_update"`
	// Base is what history/base.yjs is as of.
	Base    *base `json:"base,omitempty"`
	Updates int64 `json:"updates"`
	Events  int64 `json:"events"`
	Runs    int64 `json:"runs"`
	// Tests are the cases in tests.json.
	Tests int `json:"tests,omitempty"`
	// LeftOut counts the files whose paths cannot be in a folder, or that are too many. They
	// are in the document.
	LeftOut int `json:"files_left_out,omitempty"`
}

type room struct {
	ID          string    `json:"id"`
	Title       string    `json:"title"`
	Language    string    `json:"language"`
	Locked      bool      `json:"locked"`
	DriverOnly  bool      `json:"driver_only"`
	RunsEnabled bool      `json:"runs_enabled"`
	Ended       bool      `json:"ended"`
	CreatedAt   time.Time `json:"created_at"`
}

type base struct {
	Update int64     `json:"update"`
	At     time.Time `json:"at"`
}

type updateLine struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`
	Author string    `json:"author"`
	Update []byte    `json:"update"`
}

type eventLine struct {
	At   time.Time       `json:"at"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

type testsFile struct {
	Cases []store.TestCase `json:"cases"`
}

type runFile struct {
	Run    store.Run `json:"run"`
	Update int64     `json:"update"`
}

// Limits of what is read. A server's own limits are lower, or the same.
const (
	maxManifest   = 64 << 10
	maxDocument   = collab.MaxDocumentBytes + 1<<20
	maxUpdateLine = 4*maxDocument/3 + 4<<10
	maxAuthor     = 256
	maxEventLine  = 1 << 20
	maxKind       = 64
	maxRun        = 4 << 20
	maxRuns       = 100_000
	maxOutput     = 256 << 20
	maxIndex      = 256 << 20
	maxArtefacts  = 1000
	maxArtefact   = 256 << 20
	maxTitle      = 1000
	maxLanguage   = 64
	maxName       = 1 << 10
	maxTests      = 16 << 20
	maxResults    = 1000
	maxResult     = 4 << 20
	maxResultText = 256 << 10
)

// escape makes an artefact's path the name of an entry: archives are unpacked on systems that
// take a backslash for a folder's end.
var escape = strings.NewReplacer(`%`, "%25", `\`, "%5C").Replace
