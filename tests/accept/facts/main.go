// Facts tries what the product builds on, on any Unix, and says what was seen:
//
//	facts unlinked   an unlinked file is told by device and inode, also after it went through a socket
//	facts connect    a full queue holds a connect in progress, and a simultaneous open ends it
//	facts shell      the login shell tells its environment to an app that has a bare PATH
//	facts terminal   what the app opens in a terminal runs there, with the login shell's PATH
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/app/loginenv"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == loginenv.PrintFlag { // the login shell calls
		if err := loginenv.Print(os.Stdout, os.Args[2]); err != nil {
			os.Exit(1)
		}
		return
	}
	facts := map[string]func() (string, error){"unlinked": unlinked, "connect": connect, "shell": loginShell, "terminal": opened}
	if len(os.Args) != 2 || facts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: facts unlinked|connect|shell|terminal")
		os.Exit(2)
	}
	seen, err := facts[os.Args[1]]()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(seen)
}

// unlinked passes an open file without a name to itself.
func unlinked() (string, error) {
	f, err := os.CreateTemp("", "mirrord-fact-*")
	if err != nil {
		return "", err
	}
	defer f.Close()
	var named, nameless, received unix.Stat_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &named), os.Remove(f.Name()), unix.Fstat(int(f.Fd()), &nameless)); err != nil {
		return "", err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	if err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		return "", err
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, 0)
	if err != nil {
		return "", err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return "", fmt.Errorf("%d messages came: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return "", fmt.Errorf("%d descriptors came: %w", len(fds), err)
	}
	if err := unix.Fstat(fds[0], &received); err != nil {
		return "", err
	}
	seen := fmt.Sprintf("device %d inode %d, without a name %d %d, received %d %d, links %d", named.Dev, named.Ino, nameless.Dev, nameless.Ino, received.Dev, received.Ino, received.Nlink)
	if named.Dev != nameless.Dev || named.Ino != nameless.Ino || named.Dev != received.Dev || named.Ino != received.Ino || received.Nlink != 0 {
		return "", errors.New(seen)
	}
	return seen, nil
}

// patience is for what loopback does at once.
const patience = 2 * time.Second

// connect makes a listener whose queue is full, connects a second socket to it without waiting, and then connects to that from the listener's address.
func connect() (string, error) {
	listener, err := socket()
	if err != nil {
		return "", err
	}
	if err := errors.Join(unix.Bind(listener, loopback(0)), unix.Listen(listener, 0)); err != nil {
		return "", err
	}
	at, err := unix.Getsockname(listener)
	if err != nil {
		return "", err
	}
	held := -1
	fillers := 0
	for held < 0 && fillers < 32 { // how many fill a queue of zero is each system's own matter
		fd, err := socket()
		if err != nil {
			return "", err
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return "", err
		}
		if err := unix.Connect(fd, at); err != nil && err != unix.EINPROGRESS {
			return "", fmt.Errorf("connect number %d: %w", fillers+1, err)
		}
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, _ := unix.Poll(ready, 300); n == 0 {
			held = fd
			break
		}
		fillers++
	}
	if held < 0 {
		return "", fmt.Errorf("%d connects to a queue of zero succeeded, none is held", fillers)
	}
	own, err := unix.Getsockname(held)
	if err != nil {
		return "", err
	}
	if err := unix.Close(listener); err != nil {
		return "", err
	}
	other, err := socket()
	if err != nil {
		return "", err
	}
	if err := unix.Bind(other, at); err != nil {
		return "", fmt.Errorf("%d fill the queue, one is held; its listener's address cannot be bound: %w", fillers, err)
	}
	began := time.Now()
	if err := unix.Connect(other, own); err != nil {
		return "", fmt.Errorf("%d fill the queue, one is held; the simultaneous open: %w", fillers, err)
	}
	ready := []unix.PollFd{{Fd: int32(held), Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, int(patience.Milliseconds())); n != 1 {
		return "", fmt.Errorf("%d fill the queue, one is held; it was not told of the simultaneous open: %w", fillers, err)
	}
	if code, err := unix.GetsockoptInt(held, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return "", fmt.Errorf("%d fill the queue, one is held; after the simultaneous open its error is %w", fillers, unix.Errno(code))
	}
	return fmt.Sprintf("%d fill the queue, one is held, the simultaneous open took %v", fillers, time.Since(began).Round(10*time.Microsecond)), nil
}

func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
	)
}

func loopback(port int) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}
