package anonfile

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inMemory makes a memfd by the name of the tag. Where memfd_create is not to be had (an old kernel, a sandbox, no memory) it is an unlinked file in dir.
func inMemory(tag, dir string) (w, r int, err error) {
	w, err = unix.MemfdCreate(tag, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM) {
		return unlinked(tag, dir)
	}
	if err != nil {
		return -1, -1, err
	}
	// A description of its own, before the mode is set: with the writer's the program could write and would share the offset.
	r, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", w), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(w)
		return unlinked(tag, dir)
	}
	return w, r, nil
}

// Unreadable replaces r by a description of the same file that cannot be read, as a directory cannot; the layer opens it anew. It gives r
// back where that fails. Access mode 3 is for neither reading nor writing (open(2)): of one for writing libc's fdopendir would make no stream.
func Unreadable(r int) int {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", r), unix.O_ACCMODE|unix.O_CLOEXEC, 0)
	if err != nil {
		return r
	}
	unix.Close(r)
	return fd
}

// PlaceOnly replaces r by a description of the same file that is good for nothing but saying which one it is (O_PATH).
func PlaceOnly(r int) int {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", r), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return r
	}
	unix.Close(r)
	return fd
}

// Seal makes the content of a memfd unchangeable, also for who opens it again. An unlinked file has no seals; it is read-only by its
// descriptor alone.
func Seal(w int) {
	unix.FcntlInt(uintptr(w), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
}

// SealShared is Seal for a file that its maker goes on writing through a mapping (Linux 5.1).
func SealShared(w int) {
	unix.FcntlInt(uintptr(w), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
}

// SetTimes is futimens, in nanoseconds since 1970.
func SetTimes(fd int, atime, mtime int64) {
	ts := [2]unix.Timespec{unix.NsecToTimespec(atime), unix.NsecToTimespec(mtime)}
	unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// OnlyPaths: a Maker has to have Paths here.
const OnlyPaths = false

// TagAttribute is the extended attribute that holds the tag of a file where its name cannot be read (Maker.Paths). The layer of macOS reads it.
const TagAttribute = "user.mirrord"
