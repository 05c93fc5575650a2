// Package profiles holds what boxes are made from: seccomp allow-lists in OCI's
// JSON, image recipes, language profiles, and the files that images have for them.
package profiles

import "embed"

// FS holds seccomp/*.json, images/*.toml, languages/*.toml and all of warm.
//
//go:embed seccomp/*.json images/*.toml languages/*.toml all:warm
var FS embed.FS
