package main

import (
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
	for i, d := range l.devices {
		go d.carry(serve.Delay(l.devices[1-i], roundTrip/2))
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

// device is a TUN device, as a connection of which a write is a packet.
type device struct {
	net.Conn // nil; only for serve.Delay
	file     *os.File
}

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
	d := &device{file: os.NewFile(uintptr(fd), "tun")}
	for _, words := range []string{"addr add " + address + "/24 dev ", "link set mtu 65535 up dev "} {
		if out, err := exec.Command("ip", strings.Fields(words+request.Name())...).CombinedOutput(); err != nil {
			d.Close()
			return nil, fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
	}
	return d, nil
}

func (d *device) Write(packet []byte) (int, error) { return d.file.Write(packet) }
func (d *device) Close() error                     { return d.file.Close() }

// carry passes packets on until a device is closed.
func (d *device) carry(to io.Writer) {
	packet := make([]byte, 1<<16)
	for {
		n, err := d.file.Read(packet)
		if err == nil {
			_, err = to.Write(packet[:n])
		}
		if err != nil {
			return
		}
	}
}
