package files

import (
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// trailing is what of the slashes behind a path the kernel may be given: none, it would follow links for them.
func trailing(string) string { return "" }

func rename(fromDir int, from string, toDir int, to string, flags wire.ChangeFlags) error {
	var how uint32
	if flags&wire.NoReplace != 0 {
		how |= unix.RENAME_EXCL
	}
	if flags&wire.Exchange != 0 {
		how |= unix.RENAME_SWAP
	}
	return unix.RenameatxNp(fromDir, from, toDir, to, how)
}

// mknodat makes regular files only: the system has no call for others below a descriptor that every version knows.
func mknodat(dir int, name string, mode uint32, _ int64) error {
	if kind := mode & unix.S_IFMT; kind != unix.S_IFREG && kind != 0 {
		return unix.EPERM
	}
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, mode&0o7777)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// chmodat follows no link.
func chmodat(dir int, name string, mode uint32) error {
	return unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}

// utimesat sets whole microseconds, and none of a link.
func utimesat(dir int, name string, c *wire.Change) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	choose := func(flags, now, omit wire.ChangeFlags, is unix.Timespec, given int64) unix.Timeval {
		switch {
		case flags&omit != 0:
			given = is.Nano()
		case flags&now != 0:
			given = time.Now().UnixNano()
		}
		return unix.NsecToTimeval(given)
	}
	return unix.Futimes(fd, []unix.Timeval{
		choose(c.Flags, wire.AtimeNow, wire.AtimeOmit, st.Atim, c.Atime), choose(c.Flags, wire.MtimeNow, wire.MtimeOmit, st.Mtim, c.Mtime),
	})
}
