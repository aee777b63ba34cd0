package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/serve"
)

// Addresses of the link's ends, of the network that is reserved for benchmarks (RFC 2544).
const (
	linkHere  = "198.18.77.1"
	linkThere = "198.18.77.2"
)

// link is a network between this machine and a network namespace, with a round trip: two TUN devices whose packets this process carries. What is
// connected over it is the kernel's own TCP, with its handshake, slow start and windows.
type link struct {
	net.Listener // in the namespace, which ends with it and the devices
	devices      []*device
}

// startLink needs the right to make devices and namespaces.
func startLink(roundTrip time.Duration) (l *link, err error) {
	l = &link{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	here, err := openDevice(linkHere)
	if err != nil {
		return l, err
	}
	l.devices = append(l.devices, here)
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		made <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("a network namespace: %w", err)
			}
			there, err := openDevice(linkThere)
			if err != nil {
				return err
			}
			l.devices = append(l.devices, there)
			l.Listener, err = net.Listen("tcp4", linkThere+":0")
			return err
		}()
	}()
	if err := <-made; err != nil {
		return l, err
	}
	a, b := serve.Pair(roundTrip / 2)
	for i, end := range []net.Conn{a, b} {
		go l.devices[i].send(end)
		go l.devices[i].receive(end)
	}
	return l, nil
}

// Close removes all of the link.
func (l *link) Close() error {
	var errs []error
	if l.Listener != nil {
		errs = append(errs, l.Listener.Close())
	}
	for _, d := range l.devices {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// device is a TUN device.
type device struct{ *os.File }

// openDevice makes a device with an address in the calling thread's namespace.
func openDevice(address string) (*device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, _ := unix.NewIfreq("") // the kernel chooses the name
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("a TUN device: %w", err)
	}
	d := &device{os.NewFile(uintptr(fd), "tun")}
	for _, words := range []string{"addr add " + address + "/24 dev ", "link set mtu 65535 up dev "} {
		if out, err := exec.Command("ip", strings.Fields(words+request.Name())...).CombinedOutput(); err != nil {
			d.Close()
			return nil, fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
	}
	return d, nil
}

// send passes on what the kernel sends, each packet behind its length, until the device is closed.
func (d *device) send(to net.Conn) {
	defer to.Close()
	packet := make([]byte, 4+1<<16)
	for {
		n, err := d.Read(packet[4:])
		if err != nil {
			return
		}
		binary.LittleEndian.PutUint32(packet, uint32(n))
		if _, err := to.Write(packet[:4+n]); err != nil {
			return
		}
	}
}

// receive gives the kernel what the other device sends.
func (d *device) receive(from net.Conn) {
	defer from.Close()
	packet := make([]byte, 4+1<<16)
	for {
		if _, err := io.ReadFull(from, packet[:4]); err != nil {
			return
		}
		p := packet[4:][:binary.LittleEndian.Uint32(packet)]
		if _, err := io.ReadFull(from, p); err != nil {
			return
		}
		if _, err := d.Write(p); err != nil {
			return
		}
	}
}
