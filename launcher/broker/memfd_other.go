//go:build !linux

package broker

import "golang.org/x/sys/unix"

// anonymousFile makes an unlinked file in dir: w to fill it, and r, a read-only description of its own at offset 0.
func anonymousFile(tag, dir string) (w, r int, err error) { return unlinkedFile(tag, dir) }

// unreadable is of Linux: an unlinked file has no name to be opened by again.
func unreadable(r int) int { return r }

// placeOnly is of Linux: no other system has O_PATH.
func placeOnly(r int) int { return r }

// Only Linux has seals.
func seal(int)       {}
func sealShared(int) {}

// setTimes is futimes, in nanoseconds since 1970.
func setTimes(fd int, atime, mtime int64) {
	unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(atime), unix.NsecToTimeval(mtime)})
}

// onlyPaths: see Options.Paths.
const onlyPaths = true

// tagAttribute is the extended attribute that holds the tag of a file where its name cannot be read (Options.Paths). The layer of macOS reads it.
const tagAttribute = "mirrord"
