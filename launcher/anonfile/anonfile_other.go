//go:build !linux

package anonfile

import "golang.org/x/sys/unix"

// inMemory is of Linux.
func inMemory(tag, dir string) (w, r int, err error) { return unlinked(tag, dir) }

// Unreadable is of Linux: an unlinked file has no name to be opened by again.
func Unreadable(r int) int { return r }

// PlaceOnly is of Linux: no other system has O_PATH.
func PlaceOnly(r int) int { return r }

// Seal and SealShared are of Linux.
func Seal(int)       {}
func SealShared(int) {}

// SetTimes is futimes, in nanoseconds since 1970.
func SetTimes(fd int, atime, mtime int64) {
	unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(atime), unix.NsecToTimeval(mtime)})
}

// OnlyPaths: a Maker has to have Paths here.
const OnlyPaths = true

// TagAttribute is the extended attribute that holds the tag of a file where its name cannot be read (Maker.Paths). The layer of macOS reads it.
const TagAttribute = "mirrord"
