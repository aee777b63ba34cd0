package frame

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// On Linux a frame's numbers are the system's own.
func TestNumbers(t *testing.T) {
	known := 0
	for i := range unix.Errno(256) {
		name := unix.ErrnoName(i)
		if _, ok := errnos[name]; !ok {
			continue
		}
		known++
		if Errno(name) != int32(i) || Errno(ErrnoName(int32(i))) != int32(i) {
			t.Errorf("%s is %d, in frames %d, which is %s", name, i, Errno(name), ErrnoName(int32(i)))
		}
	}
	if known < 125 {
		t.Errorf("%d errnos are known by name", known)
	}
	if Errno("ENOPOLICY") != int32(unix.EIO) || ErrnoName(4711) != "EIO" {
		t.Errorf("unknown: %d, %s", Errno("EFTYPE"), ErrnoName(4711))
	}
	if runtime.GOARCH != "amd64" {
		return
	}
	for ours, theirs := range map[uint32]int{
		OpenWrite: unix.O_WRONLY, OpenReadWrite: unix.O_RDWR, OpenCreate: unix.O_CREAT, OpenExclusive: unix.O_EXCL, OpenTruncate: unix.O_TRUNC,
		OpenAppend: unix.O_APPEND, OpenDirectory: unix.O_DIRECTORY, OpenNoFollow: unix.O_NOFOLLOW, OpenPath: unix.O_PATH,
		OpenTemporary: unix.O_TMPFILE &^ unix.O_DIRECTORY,
	} {
		if ours != uint32(theirs) {
			t.Errorf("%#o is %#o", ours, theirs)
		}
	}
}
