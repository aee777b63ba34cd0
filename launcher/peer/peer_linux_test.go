package peer

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

var self = Peer{PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid()}

func TestOf(t *testing.T) {
	name := "mirrord-test-" + filepath.Base(t.TempDir()) + t.Name()
	l, err := ListenAbstract(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	near, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if who, ok := Of(near); !ok || who != self {
		t.Errorf("%+v, %v", who, ok)
	}
}

func TestSender(t *testing.T) {
	name := "mirrord-test-" + filepath.Base(t.TempDir()) + t.Name()
	l, err := ListenPackets(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: "@" + name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	control := make([]byte, 256)
	_, n, _, _, err := l.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		t.Fatal(err)
	}
	if who, ok := Sender(control[:n]); !ok || who != self {
		t.Errorf("%+v, %v", who, ok)
	}
	if _, ok := Sender(nil); ok {
		t.Error("nobody is somebody")
	}
}
