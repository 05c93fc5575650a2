// Package profiles holds what boxes are made from: seccomp allow-lists in OCI's
// JSON, image recipes and language profiles.
package profiles

import "embed"

// FS holds seccomp/*.json, images/*.toml and languages/*.toml.
//
//go:embed seccomp/*.json images/*.toml languages/*.toml
var FS embed.FS
