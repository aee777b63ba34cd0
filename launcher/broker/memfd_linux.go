package broker

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// anonymousFile makes a file without a place in any directory: w to fill it, and r, a read-only description of its own at offset 0. The tag is
// its name under /proc/self/fd. Where memfd_create is not to be had (an old kernel, a sandbox, no memory) it is an unlinked file in dir.
func anonymousFile(tag, dir string) (w, r int, err error) {
	w, err = unix.MemfdCreate(tag, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM) {
		return unlinkedFile(tag, dir)
	}
	if err != nil {
		return -1, -1, err
	}
	// A description of its own, before the mode is set: with the writer's the program could write and would share the offset.
	r, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", w), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(w)
		return unlinkedFile(tag, dir)
	}
	return w, r, nil
}

// unreadable replaces r by a description of the same file that cannot be read, as a directory cannot; the layer opens it anew. It gives r
// back where that fails. Access mode 3 is for neither reading nor writing (open(2)): of one for writing libc's fdopendir would make no stream.
func unreadable(r int) int {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", r), unix.O_ACCMODE|unix.O_CLOEXEC, 0)
	if err != nil {
		return r
	}
	unix.Close(r)
	return fd
}

// placeOnly replaces r by a description of the same file that is good for nothing but saying which one it is (O_PATH).
func placeOnly(r int) int {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", r), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return r
	}
	unix.Close(r)
	return fd
}

// seal makes the content of a memfd unchangeable, also for who opens it again. An unlinked file has no seals; it is read-only by its
// descriptor alone.
func seal(w int) {
	unix.FcntlInt(uintptr(w), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
}

// sealShared is seal for a file that the broker goes on writing through its mapping (Linux 5.1).
func sealShared(w int) {
	unix.FcntlInt(uintptr(w), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
}

// setTimes is futimens, in nanoseconds since 1970.
func setTimes(fd int, atime, mtime int64) {
	ts := [2]unix.Timespec{unix.NsecToTimespec(atime), unix.NsecToTimespec(mtime)}
	unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// onlyPaths: see Options.Paths.
const onlyPaths = false

// tagAttribute is the extended attribute that holds the tag of a file where its name cannot be read (Options.Paths). The layer of macOS reads it.
const tagAttribute = "user.mirrord"
