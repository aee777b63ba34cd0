//go:build linux && (amd64 || arm64)

package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FilterFlags are those with which a filter is to be installed: SECCOMP_FILTER_FLAG_NEW_LISTENER, SPEC_ALLOW and WAIT_KILLABLE_RECV. Without the last (Linux 5.19), a signal
// may interrupt a call that is being answered, and the program then makes it again.
const FilterFlags = 1<<3 | 1<<2 | 1<<5

// The requests of a listener (linux/seccomp.h).
const (
	ioctlReceive = 0xc0502100
	ioctlSend    = 0xc0182101
	ioctlValid   = 0x40082102
	ioctlAdd     = 0x40182103
	ioctlFlags   = 0x40082104

	responseContinue = 1
	addSend          = 2
	syncWakeUp       = 1
)

// notification is struct seccomp_notif.
type notification struct {
	id     uint64
	pid    uint32
	flags  uint32
	number int32
	arch   uint32
	ip     uint64
	args   [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// addition is struct seccomp_notif_addfd.
type addition struct {
	id       uint64
	flags    uint32
	from, to uint32
	newFlags uint32
}

// Handler is asked about each call. It runs on the one thread of its listener, so it must not wait for anything: what takes time goes on in a goroutine, which
// answers later. Each call must be answered, once.
type Handler interface {
	Handle(*Call)
}

// Listener is the supervisor's end of one filter.
type Listener struct {
	fd   int
	sync bool
}

// Adopt takes over a listener's descriptor. Nothing is answered before Serve.
func Adopt(fd int) *Listener {
	l := &Listener{fd: fd}
	// Linux 6.6: the program's processor is handed to the supervisor at once, which is what a call costs least with.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlFlags, syncWakeUp)
	l.sync = errno == 0
	return l
}

// Serve answers until nothing runs under the filter any more, and closes the listener then. It has a thread to itself, on which all signals are blocked: one that
// comes while a descriptor is being handed over would have the kernel answer the program's call with 0 (measured: 9 in 300,000 opens).
func (l *Listener) Serve(h Handler) error {
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	block()
	defer unix.Close(l.fd)
	for {
		if !l.sync { // those kernels leave who waits in RECEIVE there when the last process has ended
			if ended, err := l.wait(); ended || err != nil {
				return err
			}
		}
		var n notification
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), ioctlReceive, uintptr(unsafe.Pointer(&n)))
		switch errno {
		case 0:
			h.Handle(&Call{l: l, id: n.id, TID: int(n.pid), Number: uint32(n.number), Args: n.args})
		case unix.EINTR, unix.EAGAIN:
		case unix.ENOENT: // the caller was killed, or there is none left: then it is ENOENT for ever
			if ended, err := l.poll(0); ended || err != nil {
				return err
			}
		default:
			return fmt.Errorf("cannot receive system calls: %w", errno)
		}
	}
}

// wait waits for a call; ended is true when there will be none.
func (l *Listener) wait() (ended bool, err error) { return l.poll(-1) }

func (l *Listener) poll(timeout int) (ended bool, err error) {
	p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(p, timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 && p[0].Revents&unix.POLLIN == 0, err
	}
}

// block blocks all signals on this thread, and returns those that were blocked before.
func block() (before unix.Sigset_t) {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before)
	return before
}

// undisturbed calls f on a thread where no signal comes.
func undisturbed(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := block()
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	f()
}

// Supported says why this kernel, or what guards it, does not let programs be supervised; nil if it does.
func Supported() error {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	}
	if major < 5 || major == 5 && minor < 14 { // since when a descriptor is handed over and the call answered at once
		return fmt.Errorf("Linux %d.%d cannot let system calls be answered, 5.14 can", major, minor)
	}
	action := uint32(retNotify)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, 2, 0, uintptr(unsafe.Pointer(&action))) // SECCOMP_GET_ACTION_AVAIL
	if errno != 0 {
		return fmt.Errorf("the system does not let system calls be answered: %w", errno)
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open is not to be had: %w", err)
	}
	defer unix.Close(fd)
	own, err := unix.PidfdGetfd(fd, fd, 0)
	if err != nil {
		return fmt.Errorf("pidfd_getfd is not to be had: %w", err)
	}
	unix.Close(own)
	return nil
}
