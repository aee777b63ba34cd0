package files

import (
	"strconv"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// trailing is what of the slashes behind a path the kernel may be given: it looks whether there is a directory, and follows no link for that.
func trailing(slashes string) string { return slashes[:min(1, len(slashes))] }

func rename(fromDir int, from string, toDir int, to string, flags wire.ChangeFlags) error {
	var how uint
	if flags&wire.NoReplace != 0 {
		how |= unix.RENAME_NOREPLACE
	}
	if flags&wire.Exchange != 0 {
		how |= unix.RENAME_EXCHANGE
	}
	if how == 0 { // some file systems know no flags
		return unix.Renameat(fromDir, from, toDir, to)
	}
	return unix.Renameat2(fromDir, from, toDir, to, how)
}

func mknodat(dir int, name string, mode uint32, device int64) error {
	return unix.Mknodat(dir, name, mode, int(device))
}

// chmodat follows no link: fchmodat always does, but not through a descriptor.
func chmodat(dir int, name string, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

func utimesat(dir int, name string, c *wire.Change) error {
	times := []unix.Timespec{unix.NsecToTimespec(c.Atime), unix.NsecToTimespec(c.Mtime)}
	for i, of := range []struct{ now, omit wire.ChangeFlags }{{wire.AtimeNow, wire.AtimeOmit}, {wire.MtimeNow, wire.MtimeOmit}} {
		if c.Flags&of.now != 0 {
			times[i].Nsec = unix.UTIME_NOW
		}
		if c.Flags&of.omit != 0 {
			times[i].Nsec = unix.UTIME_OMIT
		}
	}
	return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW)
}
