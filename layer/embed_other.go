//go:build !linux

package layer

import "embed"

// fileName is the library as the dynamic linker of this system wants it named.
const fileName = "libmirrord.dylib"

// lib holds the built library; without one, only what says so.
//
//go:embed lib/libmirrord.dylib*
var lib embed.FS
