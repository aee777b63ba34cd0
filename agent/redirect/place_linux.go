package redirect

import (
	"errors"
	"fmt"
	"net"
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
	if m, err = newMaps(); err != nil {
		return nil, maps{}, err
	}
	for slot := range slots {
		shared, err := sharedMaps(n, slot, m)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // free
		}
		m.close()
		if err != nil {
			return nil, maps{}, fmt.Errorf("the maps of another agent of the pod: %w", err)
		}
		m = shared
		break
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
		p.serving.Go(func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(placeTime))
			got, err := receive(conn)
			if err == nil && trusted(got) {
				conn.WriteMsgUnix([]byte{p.slot}, unix.UnixRights(m.listeners.FD(), m.passed.FD(), m.keepers.FD()), nil)
			}
			closeAll(got)
		})
	}
}

// trusted says whether the other end may redirect connections itself: it has shown a map that only who has CAP_BPF and CAP_NET_ADMIN can make. Other programs
// of the pod would get with the maps what they lack rights for.
func trusted(shown []*ebpf.Map) bool {
	return len(shown) > 0 && shown[0].Type() == ebpf.SockHash && shown[0].KeySize() == 4
}

// sharedMaps are those of the process that has a slot. ECONNREFUSED says that nobody has it, or not any more.
func sharedMaps(n Network, slot int, own maps) (m maps, err error) {
	for range goneTries {
		var conn *net.UnixConn
		if err = n.Do(func() (err error) { conn, err = net.DialUnix("unix", nil, placeAddr(slot)); return }); err != nil {
			return maps{}, err
		}
		m, err = askMaps(conn, own)
		conn.Close()
		if !ended(err) {
			break
		}
	}
	return m, err
}

// askMaps gets the maps of another process, which wants to see one of ours.
func askMaps(conn *net.UnixConn, own maps) (maps, error) {
	conn.SetDeadline(time.Now().Add(placeTime))
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(own.listeners.FD()), nil); err != nil {
		return maps{}, err
	}
	got, err := receive(conn)
	if err != nil {
		return maps{}, err
	}
	if len(got) != 3 || !trusted(got) || got[1].KeySize() != 20 || got[1].ValueSize() != 32 || got[2].KeySize() != 2 || got[2].ValueSize() != 1 {
		closeAll(got)
		return maps{}, errors.New("they are not what this agent knows")
	}
	return maps{got[0], got[1], got[2]}, nil
}

// receive takes a message with maps, at most three, which the caller closes.
func receive(conn *net.UnixConn) ([]*ebpf.Map, error) {
	var data [1]byte
	rights := make([]byte, unix.CmsgSpace(3*4))
	_, n, _, _, err := conn.ReadMsgUnix(data[:], rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("a message without them")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	var got []*ebpf.Map
	for _, fd := range fds {
		one, merr := ebpf.NewMapFromFD(fd) // which closes fd if it fails
		if merr != nil {
			err = merr
			continue
		}
		got = append(got, one)
	}
	if err != nil {
		closeAll(got)
		return nil, err
	}
	return got, nil
}

func closeAll(all []*ebpf.Map) {
	for _, one := range all {
		one.Close()
	}
}

func (p *place) close() error {
	err := p.socket.Close()
	p.serving.Wait()
	return err
}
