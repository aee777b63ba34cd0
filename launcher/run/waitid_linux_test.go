package run

import (
	"syscall"
	"unsafe"
)

func waitid(kind, id int, info *[128]byte, options int) syscall.Errno {
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, uintptr(kind), uintptr(id), uintptr(unsafe.Pointer(info)), uintptr(options), 0, 0)
	return errno
}
