package layer

import "embed"

// place is where lib has the library.
const place = "lib/arm64"

// lib holds the built library; without one, only what says so.
//
//go:embed lib/arm64*
var lib embed.FS
