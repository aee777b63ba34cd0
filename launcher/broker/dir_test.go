package broker

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

// TestPodDirectory asks one of everything of the real agent.
func TestPodDirectory(t *testing.T) {
	remote, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	dir := t.TempDir()
	pod := fmt.Sprintf("name: cart\nhosts: {inventory: 10.96.0.7}\nroutes: {\"10.96.0.7:80\": %q}\nports: {8080: {listen: \"127.0.0.1:0\"}}\n", remote.Addr())
	if err := os.MkdirAll(filepath.Join(dir, "rootfs/srv/data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"pod.yaml": pod, "rootfs/srv/data/file": "of the pod"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	requests, bulk, done, err := serve.Dir(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	s := startOn(t, requests, bulk, nil)
	defer func() {
		s.Close()
		<-done
	}()

	_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/srv/data/file"}, nil)
	if f == nil {
		t.Fatal("no file")
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "of the pod" {
		t.Errorf("%q, %v", got, err)
	}
	f.Close()
	if _, f = s.ask(t, frame.Open, &frame.OpenRequest{Path: "/srv/data", Flags: frame.OpenDirectory}, nil); f == nil {
		t.Fatal("no directory")
	}
	if got, err := readDirectory(t, f); err != nil || len(got) != 2+len("/srv/data")+3*12+len(".")+len("..")+len("file") {
		t.Errorf("%q, %v", got, err)
	}
	f.Close()
	s.expect(int32(unix.ENOTDIR), frame.Open, &frame.OpenRequest{Path: "/srv/data/file", Flags: frame.OpenDirectory})
	var local unix.Statfs_t
	var fs frame.StatfsReply
	if err := unix.Statfs(dir, &local); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.ask(t, frame.Statfs, &frame.PathRequest{Path: "/srv/data"}, &fs); status != 0 || fs.Blocks != local.Blocks || fs.Bsize != uint64(local.Bsize) {
		t.Errorf("statfs: status %d, %+v, want %+v", status, fs, local)
	}
	s.expect(int32(unix.ENOENT), frame.Statfs, &frame.PathRequest{Path: "/srv/none"})
	s.checkHow(t, dir)
	s.expect(int32(unix.EROFS), frame.Change, &frame.ChangeRequest{Op: frame.Unlink, Path: "/srv/data/file"})

	var names frame.LookupReply
	if status, _ := s.ask(t, frame.Lookup, &frame.LookupRequest{Name: "inventory", Family: 4}, &names); status != 0 || len(names.Addrs) != 1 {
		t.Fatalf("lookup: status %d, %+v", status, names)
	}
	p := newSocket(t, unix.AF_INET, true)
	defer p.close()
	to := netip.AddrPortFrom(names.Addrs[0].Addr(), 80)
	if status, err := s.connect(t, p, to, frame.ConnectNonblock); status != 0 || err != unix.EINPROGRESS {
		t.Fatalf("connect: status %d, %v", status, err)
	}
	if e := p.wait(); e != 0 {
		t.Fatal(e)
	}
	far, err := remote.Accept()
	if err != nil {
		t.Fatal(err)
	}
	far.Close()

	program := s.program(t, "127.0.0.1:0", 8080)
	client, err := net.Dial("tcp", d.ListenAddr(8080).String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := program.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var view frame.EndpointReply
	ends := &frame.EndpointRequest{Local: sockets.AddrOf(c.LocalAddr()), Peer: sockets.AddrOf(c.RemoteAddr())}
	if status, _ := s.ask(t, frame.Endpoint, ends, &view); status != 0 || view.Peer != sockets.AddrOf(client.LocalAddr()) {
		t.Errorf("endpoint: status %d, %+v, want the peer %v", status, view, client.LocalAddr())
	}
}

// checkHow asks in the ways of openat2, and about what comes of it.
func (s *session) checkHow(t *testing.T, dir string) {
	t.Helper()
	if err := os.Symlink("data", filepath.Join(dir, "rootfs/srv/link")); err != nil {
		t.Fatal(err)
	}
	how := func(ways wire.Ways, flags uint32, path string) *frame.OpenHowRequest {
		return &frame.OpenHowRequest{Ways: uint32(ways), Flags: flags, From: "/srv/link", Path: path}
	}
	for _, c := range []struct {
		m    *frame.OpenHowRequest
		want int32
	}{
		{how(wire.WayBeneath, 0, "../data/file"), int32(unix.EXDEV)},
		{how(wire.WayInRoot, 0, "../../file/"), int32(unix.ENOTDIR)},
		{how(wire.WayInRoot, 0, "none"), int32(unix.ENOENT)},
		{how(resolveCached, 0, "file"), int32(unix.EAGAIN)},
		{how(0x40, 0, "file"), int32(unix.EINVAL)},
		{how(wire.WayBeneath, frame.OpenReadWrite, "file"), int32(unix.EROFS)},
		{how(wire.WayBeneath, frame.OpenCreate|frame.OpenWrite, "../new"), int32(unix.EXDEV)},
		{how(wire.WayBeneath, frame.OpenPath|frame.OpenDirectory, "file"), int32(unix.ENOTDIR)},
	} {
		s.expect(c.want, frame.OpenHow, c.m)
	}
	_, f := s.ask(t, frame.OpenHow, how(wire.WayInRoot|resolveNoMagicLinks, 0, "../../file"), nil)
	if f == nil {
		t.Fatal("no file in the root")
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "of the pod" {
		t.Errorf("%q, %v", got, err)
	}
	f.Close()
	// A directory is known by where it really is, a place too.
	for _, flags := range []uint32{frame.OpenDirectory, frame.OpenPath} {
		if _, f = s.ask(t, frame.OpenHow, how(wire.WayBeneath, flags, "."), nil); f == nil {
			t.Fatal("no directory")
		}
		got, err := readDirectory(t, f)
		if want := "\x09\x00/srv/data"; err != nil || len(got) < len(want) || string(got[:len(want)]) != want {
			t.Errorf("flags %o: %q, %v", flags, got, err)
		}
		if n, err := unix.Read(int(f.Fd()), make([]byte, 1)); err != unix.EBADF {
			t.Errorf("flags %o: read %d, %v", flags, n, err)
		}
		f.Close()
	}

	var st frame.StatReply
	s.ask(t, frame.Stat, &frame.StatRequest{Path: "/srv/data/file"}, &st)
	var of, by frame.StatfsReply
	s.ask(t, frame.Statfs, &frame.PathRequest{Path: "/srv/data/file"}, &of)
	if status, _ := s.ask(t, frame.Fstatfs, &frame.DeviceRequest{Dev: st.Dev}, &by); status != 0 || by.Fsid != of.Fsid || by.Blocks != of.Blocks {
		t.Errorf("fstatfs: status %d, %+v, want %+v", status, by, of)
	}
	s.expect(frame.StatusLocal, frame.Fstatfs, &frame.DeviceRequest{Dev: st.Dev + 1})
	for range 3 {
		s.expect(frame.StatusLocal, frame.Change, &frame.ChangeRequest{Op: frame.Lock})
	}
	if n := len(s.emitted(events.FileLocked)); n != 1 {
		t.Errorf("%d events of locks", n)
	}
}
