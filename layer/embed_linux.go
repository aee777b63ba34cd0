package layer

import "embed"

// fileName is the library as the dynamic linker of this system wants it named.
const fileName = "libmirrord.so"

// variants: one library serves every program, and one program stands in front of those that no library helps in.
var variants = []string{Supervise}

// lib holds the built library; without one, only what says so.
//
//go:embed lib/*.so*
var lib embed.FS
