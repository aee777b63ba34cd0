package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Address is a path by which connect(2) reaches what is at path inside root, whatever links lead there and however long it is, until release is called.
// Errors are errnos.
func Address(root *os.File, path string) (address string, release func(), err error) {
	p, err := resolve(root, path, false)
	if err != nil {
		return "", nil, err
	}
	defer p.close()
	var fd int
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(p.dir, p.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { unix.Close(fd) }, nil
}
