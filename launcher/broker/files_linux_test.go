package broker

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/layer/frame"
)

// TestOpenedFile: the descriptor is a read-only file with the pod's mode, times and tag, that nobody can change.
func TestOpenedFile(t *testing.T) {
	s := start(t, &fakeAgent{open: fileServer(map[string]func(*links.Stream){"/small": whole(regular(5), []byte("hello"))})}, nil)
	_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/small"}, nil)
	defer f.Close()
	want := "mirrord:f:100000000801-abc-81a0-1-3e8-3e9-0-5-1000-8-17979cfe362a0001-17979cfe362a0002-17979cfe362a0003"
	if name := nameOf(t, f); name != "/memfd:"+want {
		t.Errorf("name %s, want %s", name, want)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode != unix.S_IFREG|0o640 || st.Mtim.Nano() != 1700000000_000000002 || st.Atim.Nano() != 1700000000_000000001 {
		t.Errorf("%v, %+v", err, st)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("flags %o, %v", flags, err)
	}
	if w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0); err == nil {
		if _, err := w.Write([]byte("x")); !errors.Is(err, unix.EPERM) {
			t.Errorf("written through /proc: %v", err)
		}
		w.Close()
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, 5, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil || string(mem) != "hello" {
		t.Errorf("mmap %q, %v", mem, err)
	}
	unix.Munmap(mem)
}
