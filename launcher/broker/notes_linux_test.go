package broker

import (
	"crypto/rand"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

// noteSocket is a socket for datagrams as a layer has it.
func noteSocket(t *testing.T, s *session) *net.UnixConn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.socket.Addr().String() + notesSuffix}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{}); err != nil { // the kernel chooses
		t.Fatal(err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

func note(t *testing.T, kind frame.Kind, token [frame.TokenSize]byte, m frame.Message) []byte {
	t.Helper()
	out, err := frame.AppendRequest(nil, kind, 1, token, m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNotes: what comes as a datagram counts like what comes on a connection, and a hello is answered with the rules.
func TestNotes(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	c := noteSocket(t, s)
	c.Write(note(t, frame.Exec, s.token, &frame.ExecRequest{Path: "/bin/x"}))
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	status, f := askOn(t, c, s.token, frame.Hello, &frame.HelloRequest{PID: 1, Exe: "/bin/x"}, nil)
	if status != frame.StatusOK || f == nil {
		t.Fatalf("status %d, file %v", status, f)
	}
	defer f.Close()
	magic := make([]byte, len(pageMagic))
	if f.ReadAt(magic, 0); string(magic) != pageMagic {
		t.Errorf("magic %q", magic)
	}
	if !s.Injected(os.Getpid()) || s.Injected(1) {
		t.Error("the kernel's process id does not count")
	}
	if e := s.emitted(events.ProcessExec); len(e) != 1 || e[0].PID != os.Getpid() || e[0].Path != "/bin/x" {
		t.Errorf("events %+v", e)
	}
}

// TestNotesGarbage: a datagram that is no note of this session has no effect and no answer, and the next one is read.
func TestNotesGarbage(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	c := noteSocket(t, s)
	hello := note(t, frame.Hello, s.token, &frame.HelloRequest{PID: 1})
	garbage := make([]byte, 4000)
	rand.Read(garbage)
	for _, in := range [][]byte{
		nil, garbage, hello[:7], hello[:len(hello)-1], append(hello[:len(hello):len(hello)], 0), make([]byte, frame.HeaderSize+frame.MaxPayload+1),
		note(t, frame.Hello, [frame.TokenSize]byte{}, &frame.HelloRequest{PID: 1}),
		note(t, frame.Stat, s.token, &frame.StatRequest{Path: "/x"}), // would wait for the pod
	} {
		if _, err := c.Write(in); err != nil {
			t.Fatal(err)
		}
	}
	c.Write(note(t, frame.Exec, s.token, &frame.ExecRequest{Path: "/bin/last"}))
	eventually(t, "the last one is read", func() bool { return len(s.emitted(events.ProcessExec)) == 1 })
	if s.Injected(os.Getpid()) {
		t.Error("a hello without the token counts")
	}
	c.SetReadDeadline(time.Now())
	if n, err := c.Read(garbage); err == nil {
		t.Errorf("answered with %x", garbage[:n])
	}
}
