package layer

import "embed"

// fileName is the library as the dynamic linker of this system wants it named.
const fileName = "libmirrord.so"

// variants: one library serves every program.
var variants []string

// lib holds the built library; without one, only what says so.
//
//go:embed lib/*.so*
var lib embed.FS
