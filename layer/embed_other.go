//go:build !linux

package layer

import "embed"

// fileName is the library as the dynamic linker of this system wants it named.
const fileName = "libmirrord.dylib"

// place is where lib has the library.
const place = "lib"

// variants are for programs that load no plain library (sip.VariantARM64e).
var variants = []string{"arm64e"}

// lib holds the built libraries; without them, only what says so.
//
//go:embed lib/libmirrord*.dylib*
var lib embed.FS
