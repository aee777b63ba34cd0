//go:build linux && (amd64 || arm64)

package seccomp

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is one system call of a supervised thread, which waits for its answer. Until then nothing but a deadly signal ends it.
type Call struct {
	l      *Listener
	id     uint64
	TID    int // the thread, as this process numbers it
	Number uint32
	Args   [6]uint64
	read   []words // a few: what was read of the memory
}

type words struct {
	address uint64
	value   string
}

// ErrGone says that the thread has ended: what was read under its number may be another's.
var ErrGone = errors.New("the thread that made the call is gone")

// Arg is an argument as a C int.
func (c *Call) Arg(i int) int { return int(int32(c.Args[i])) }

// Valid reports whether the thread still waits. What was read of it before is its own then.
func (c *Call) Valid() bool {
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(c.l.fd), ioctlValid, uintptr(unsafe.Pointer(&c.id)))
	return errno == 0
}

// Continue has the kernel do what the program asked for. The kernel reads the arguments' memory anew, so this is for what was not decided by it.
func (c *Call) Continue() { c.send(response{id: c.id, flags: responseContinue}) }

// Return gives a result.
func (c *Call) Return(value int) { c.send(response{id: c.id, value: int64(value)}) }

// Fail gives an errno.
func (c *Call) Fail(errno unix.Errno) { c.send(response{id: c.id, err: -int32(errno)}) }

// Restart has the thread take the signals that wait for it, and then make the call again or return EINTR, as the handler was installed (SA_RESTART).
func (c *Call) Restart() { c.send(response{id: c.id, err: -erestartsys}) }

// erestartsys is the kernel's own errno for that (linux/errno.h).
const erestartsys = 512

func (c *Call) send(r response) {
	// A thread that is gone needs no answer.
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(c.l.fd), ioctlSend, uintptr(unsafe.Pointer(&r)))
		if errno != unix.EINTR {
			return
		}
	}
}

// ReturnDescriptor makes fd, which stays the caller's, a descriptor of the program and its number the result. newFlags is 0 or O_CLOEXEC. It fails with the
// program's errno when that has no room.
func (c *Call) ReturnDescriptor(fd int, newFlags uint32) {
	var errno unix.Errno
	undisturbed(func() {
		a := addition{id: c.id, flags: addSend, from: uint32(fd), newFlags: newFlags}
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(c.l.fd), ioctlAdd, uintptr(unsafe.Pointer(&a)))
	})
	if errno != 0 && errno != unix.ENOENT && errno != unix.EINPROGRESS {
		c.Fail(errno)
	}
}

// Descriptor duplicates a descriptor of the program; the caller closes it. It is the same open file.
func (c *Call) Descriptor(fd int) (int, error) {
	if fd < 0 {
		return -1, unix.EBADF
	}
	process, err := c.process()
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, fd, 0)
}

// pidfdThread is PIDFD_THREAD (Linux 6.9): the descriptor may be of any thread.
const pidfdThread = unix.O_EXCL

func (c *Call) process() (int, error) {
	fd, err := unix.PidfdOpen(c.TID, pidfdThread)
	if errors.Is(err, unix.EINVAL) {
		leader, err := Process(c.TID)
		if err != nil {
			return -1, err
		}
		return unix.PidfdOpen(leader, 0)
	}
	return fd, err
}

const pageSize = 4096

// Read fills b from the program's memory, as far as that goes; n may be less than its length only at the end of what is mapped.
func (c *Call) Read(address uint64, b []byte) (n int, err error) {
	n, err = memory(unix.SYS_PROCESS_VM_READV, c.TID, address, b)
	return n, err
}

// Write puts b into the program's memory, whole. What the program cannot write itself is EFAULT.
func (c *Call) Write(address uint64, b []byte) error {
	if !c.Valid() {
		return ErrGone
	}
	n, err := memory(unix.SYS_PROCESS_VM_WRITEV, c.TID, address, b)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return err
}

// memory copies between b and another process. The kernel stops at the first part that it cannot reach, so the parts end at pages.
func memory(number uintptr, tid int, address uint64, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if address == 0 {
		return 0, unix.EFAULT
	}
	var parts [20]unix.RemoteIovec
	copied := 0
	for copied < len(b) {
		n, size := 0, 0
		for at := address + uint64(copied); n < len(parts) && copied+size < len(b); n++ {
			part := min(pageSize-int(at%pageSize), len(b)-copied-size)
			parts[n] = unix.RemoteIovec{Base: uintptr(at), Len: part}
			at += uint64(part)
			size += part
		}
		local := unix.Iovec{Base: &b[copied]}
		local.SetLen(size)
		got, _, errno := unix.RawSyscall6(number, uintptr(tid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&parts)), uintptr(n), 0)
		if errno != 0 {
			if errno == unix.EFAULT && copied > 0 {
				return copied, nil
			}
			return copied, errno
		}
		copied += int(got)
		if int(got) < size {
			break
		}
	}
	return copied, nil
}

// String reads what ends in a zero byte, which it leaves out. What is longer than limit is ENAMETOOLONG, as it is for the kernel. What was read once is not read again:
// another thread may have changed it.
func (c *Call) String(address uint64, limit int) (string, error) {
	for _, t := range c.read {
		if t.address == address {
			return t.value, nil
		}
	}
	value, err := c.readString(address, limit)
	if err == nil {
		c.read = append(c.read, words{address, value})
	}
	return value, err
}

func (c *Call) readString(address uint64, limit int) (string, error) {
	var first [256]byte
	b, have := first[:min(limit, len(first))], 0
	for {
		n, err := memory(unix.SYS_PROCESS_VM_READV, c.TID, address+uint64(have), b[have:])
		if err != nil {
			return "", err
		}
		if end := bytes.IndexByte(b[have:have+n], 0); end >= 0 {
			return string(b[:have+end]), nil
		}
		if have += n; have < len(b) {
			return "", unix.EFAULT
		}
		if have >= limit {
			return "", unix.ENAMETOOLONG
		}
		b = append(make([]byte, 0, limit), b...)[:limit]
	}
}

// Process is the process that a thread belongs to.
func Process(tid int) (int, error) {
	status, err := readProc(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, err
	}
	tgid, ok := field(status, "\nTgid:\t")
	if !ok {
		return 0, unix.ESRCH
	}
	return tgid, nil
}

// Readable says whether the memory of a process may be read, by trying it at an address where there is some.
func Readable(pid int, address uint64) error {
	var b [1]byte
	_, err := memory(unix.SYS_PROCESS_VM_READV, pid, address, b[:])
	return err
}
