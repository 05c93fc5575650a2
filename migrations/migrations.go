// Package migrations holds the database schema as goose files, a folder per
// dialect. A migration is one file and one transaction; one that was released
// is never changed.
package migrations

import "embed"

// FS holds the folders of all dialects.
//
//go:embed sqlite/*.sql
var FS embed.FS
