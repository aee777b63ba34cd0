package layer

import "embed"

// place is where lib has the library.
const place = "lib/amd64"

// lib holds the built library; without one, only what says so.
//
//go:embed lib/amd64*
var lib embed.FS
