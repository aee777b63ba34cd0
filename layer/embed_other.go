//go:build !linux

package layer

// fileName is the library as the dynamic linker of this system wants it named.
const fileName = "libmirrord.dylib"
