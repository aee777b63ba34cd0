package files

import "golang.org/x/sys/unix"

// exchange swaps two names at once.
func exchange(a, b string) { unix.RenameatxNp(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_SWAP) }
