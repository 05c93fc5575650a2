package runner

import (
	"fmt"
	"strings"
	"time"

	"corun/runner/sandbox"
)

const (
	// artefactFolder is where in its folder a program leaves what is to be kept.
	artefactFolder = "out"
	artefactDepth  = 8
	// collectWithin bounds the reading of what a box has left, of which there are at most
	// some megabytes in memory.
	collectWithin = 5 * time.Second
)

// Artefact is a file that a program left in /work/out. Data is not to be changed.
type Artefact struct {
	Path string // relative to /work/out, as a file's of a room
	Data []byte
}

// Artefacts are what the run's program left, when the run is over.
func (run *Run) Artefacts() []Artefact {
	var all []Artefact
	for _, stage := range run.stages() {
		all = append(all, stage.Artefacts...)
	}
	return all
}

// artefactsOf gives what can be kept of what was left, and says what cannot.
func artefactsOf(left sandbox.Collected) (kept []Artefact, message string) {
	skipped := len(left.Skipped)
	for _, f := range left.Files {
		path := strings.TrimPrefix(f.Path, artefactFolder+"/")
		if path == f.Path || checkPath(path) != nil { // a file of that name, or one that nobody could ask for
			skipped++
			continue
		}
		kept = append(kept, Artefact{Path: path, Data: f.Content})
	}
	if skipped > 0 {
		message = fmt.Sprintf(" Of what it left in %s/%s, %d could not be kept: only files with usual names are.", homeDir, artefactFolder, skipped)
	}
	return kept, message
}
