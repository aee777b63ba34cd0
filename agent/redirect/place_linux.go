package redirect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// place is one of the slots. It is held by an abstract socket of the namespace's, where the other processes get the maps; the kernel frees it when the
// process ends.
type place struct {
	slot    uint8
	socket  *net.UnixListener
	serving sync.WaitGroup
}

// placeName begins the names of the sockets; the number is that of the maps' layout and of the program's way.
const placeName = "@mirrord/redirect/1"

// placeTime limits what takes another process that lives no time at all.
const placeTime = 2 * time.Second

// takePlace takes the first free slot, with the maps of the processes that are there, or new ones for the first.
func takePlace(n Network) (_ *place, m maps, err error) {
	unlock, err := lockPlaces(n)
	if err != nil {
		return nil, maps{}, err
	}
	defer unlock()
	for slot := range slots {
		var conn *net.UnixConn
		err := n.Do(func() (err error) {
			conn, err = net.DialUnix("unix", nil, placeAddr(slot))
			return
		})
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // free
		}
		if err != nil {
			return nil, maps{}, err
		}
		m, err = receiveMaps(conn)
		conn.Close()
		if err != nil {
			return nil, maps{}, fmt.Errorf("the maps of another agent of the pod: %w", err)
		}
		break
	}
	if m.listeners == nil {
		if m, err = newMaps(); err != nil {
			return nil, maps{}, err
		}
	}
	p := new(place)
	for slot := range slots {
		err = n.Do(func() (err error) { p.socket, err = net.ListenUnix("unix", placeAddr(slot)); return })
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err == nil {
			p.slot = uint8(slot)
			err = m.forget(p.slot)
		}
		break
	}
	if err != nil {
		m.close()
		if p.socket != nil {
			p.socket.Close()
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%d other agents redirect connections of this pod", slots)
		}
		return nil, maps{}, err
	}
	p.serving.Go(func() { p.serve(m) })
	return p, m, nil
}

func placeAddr(slot int) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: placeName + "/" + strconv.Itoa(slot)}
}

// lockPlaces waits until no other process is taking a place: of two that are the first at the same time, one must find the other's maps.
func lockPlaces(n Network) (unlock func(), err error) {
	for end := time.Now().Add(placeTime); ; time.Sleep(time.Millisecond) {
		var lock *net.UnixListener
		err := n.Do(func() (err error) {
			lock, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: placeName})
			return
		})
		if err == nil {
			return func() { lock.Close() }, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return nil, err
		}
	}
}

// serve gives the maps to whoever comes and may have them.
func (p *place) serve(m maps) {
	for {
		conn, err := p.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		// The room in the socket is enough for one message, so that nobody can make us wait.
		if trusted(conn) {
			conn.WriteMsgUnix([]byte{p.slot}, unix.UnixRights(m.listeners.FD(), m.passed.FD(), m.keepers.FD()), nil)
		}
		conn.Close()
	}
}

// trusted says whether the other end may redirect connections: it is root, or runs as we do. Others of the pod would get with the maps what they lack
// rights for.
func trusted(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Geteuid()
}

func receiveMaps(conn *net.UnixConn) (m maps, err error) {
	if !trusted(conn) {
		return m, errors.New("it runs as another user")
	}
	conn.SetReadDeadline(time.Now().Add(placeTime))
	var data [1]byte
	rights := make([]byte, unix.CmsgSpace(3*4))
	_, n, _, _, err := conn.ReadMsgUnix(data[:], rights)
	if err != nil {
		return m, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return m, errors.New("it does not share them")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return m, err
	}
	var got []*ebpf.Map
	for _, fd := range fds {
		one, merr := ebpf.NewMapFromFD(fd) // which closes fd if it fails
		err = errors.Join(err, merr)
		got = append(got, one)
	}
	if len(got) == 3 {
		m = maps{got[0], got[1], got[2]}
	}
	if err == nil && (len(got) != 3 || m.listeners.KeySize() != 4 || m.passed.KeySize() != 20 || m.passed.ValueSize() != 32 || m.keepers.ValueSize() != 1) {
		err = errors.New("they are not what this agent knows")
	}
	if err != nil {
		for _, one := range got {
			one.Close()
		}
		return maps{}, err
	}
	return m, nil
}

func (p *place) close() error {
	err := p.socket.Close()
	p.serving.Wait()
	return err
}
