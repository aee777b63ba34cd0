package anonfile

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDescriptions: what each description of one file is good for.
func TestDescriptions(t *testing.T) {
	w, r, err := Maker{Dir: t.TempDir()}.New("the tag")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(w)
	if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r)); err != nil || name != "/memfd:the tag (deleted)" {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := unix.Write(w, []byte("new")); err != nil {
		t.Fatal(err)
	}
	SetTimes(w, 1, 2e9+3)
	var st unix.Stat_t
	if err := unix.Fstat(r, &st); err != nil || st.Atim.Nano() != 1 || st.Mtim.Nano() != 2e9+3 {
		t.Errorf("%v %v, %v", st.Atim, st.Mtim, err)
	}
	Seal(w)
	if _, err := unix.Write(w, []byte("x")); err != unix.EPERM {
		t.Errorf("write to what is sealed: %v", err)
	}
	buf := make([]byte, 10)
	r = Unreadable(r)
	if _, err := unix.Read(r, buf); err != unix.EBADF {
		t.Errorf("read of what is unreadable: %v", err)
	}
	r = PlaceOnly(r)
	defer unix.Close(r)
	if flags, err := unix.FcntlInt(uintptr(r), unix.F_GETFL, 0); err != nil || flags&unix.O_PATH == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}
