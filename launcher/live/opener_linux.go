package live

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// opener opens the files of the file system that this process serves. Whoever opens one waits for an answer of this process; if that is killed meanwhile, the kernel waits
// for it to close the device, and a thread that waits closes nothing: neither it nor the programs would ever end. So the thread that opens has a table of
// descriptors of its own, without the device.
type opener struct {
	closing  context.Context
	requests chan opening
	done     chan struct{} // closed when the thread opens nothing any more

	receiving sync.Mutex
	socket    int // where descriptors come from the thread
}

type opening struct {
	name  string
	flags int
	errs  chan error // has room for one
}

// newOpener starts the thread, which takes root over and ends with closing.
func newOpener(closing context.Context, root int) (*opener, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		unix.Close(root)
		return nil, err
	}
	o := &opener{closing: closing, requests: make(chan opening), done: make(chan struct{}), socket: pair[0]}
	ready := make(chan error)
	elsewhere(func() { o.run(root, pair[1], ready) })
	err = <-ready
	unix.Close(pair[1])
	unix.Close(root)
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	return o, nil
}

// elsewhere calls f on a thread of its own, which ends with f. It is not the first one, whose descriptors /proc/self/fd shows.
func elsewhere(f func()) {
	locked := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			elsewhere(f)
			runtime.UnlockOSThread()
			close(locked)
			return
		}
		close(locked)
		f()
	}()
	<-locked
}

// run is the thread.
func (o *opener) run(root, socket int, ready chan<- error) {
	defer close(o.done)
	err := unix.Unshare(unix.CLONE_FILES)
	if err == nil {
		err = closeAllBut(root, socket)
	}
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case r := <-o.requests:
			r.errs <- hand(root, socket, r)
		case <-o.closing.Done():
			return
		}
	}
}

// hand opens a file and sends the descriptor.
func hand(root, socket int, r opening) error {
	for {
		fd, err := unix.Openat(root, r.name, r.flags|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		err = unix.Sendmsg(socket, []byte{0}, unix.UnixRights(fd), nil, 0)
		unix.Close(fd)
		return err
	}
}

// closeAllBut closes the descriptors of this thread's table but those, and those that the Go runtime uses on every thread (of its poller).
func closeAllBut(keep ...int) error {
	const folder = "/proc/thread-self/fd"
	dir, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var names []string
	for buf := make([]byte, 16<<10); ; {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	kept := map[int]bool{dir: true}
	for _, fd := range keep {
		kept[fd] = true
	}
	var link [64]byte
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || kept[fd] {
			continue
		}
		n, err := unix.Readlink(folder+"/"+name, link[:])
		if err != nil || !strings.HasPrefix(string(link[:n]), "anon_inode:[event") {
			unix.Close(fd)
		}
	}
	return nil
}

// open returns a descriptor of the file system's file of that name. Errors are errnos.
func (o *opener) open(name string, flags int) (int, error) {
	o.receiving.Lock()
	defer o.receiving.Unlock()
	r := opening{name, flags, make(chan error, 1)}
	select {
	case o.requests <- r:
	case <-o.done:
		return -1, unix.EIO
	}
	if err := <-r.errs; err != nil {
		return -1, err
	}
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(o.socket, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return -1, unix.EMFILE // the kernel drops a descriptor for which there is no room
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, unix.EMFILE
	}
	return fds[0], nil
}

// close returns when the thread has ended, which it does after closing.
func (o *opener) close() error {
	<-o.done
	o.receiving.Lock()
	defer o.receiving.Unlock()
	return unix.Close(o.socket)
}
