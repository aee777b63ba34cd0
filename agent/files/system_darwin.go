package files

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// openDir opens a directory to look up names in it.
const openDir = unix.O_RDONLY

func stat(st *unix.Stat_t) *wire.Stat {
	return &wire.Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Mode: uint32(st.Mode), Nlink: uint64(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: uint64(st.Rdev),
		Size: st.Size, Blksize: int64(st.Blksize), Blocks: st.Blocks,
		Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// statfs asks for the file system of a place's directory. Its type and flags have no Linux number.
func statfs(p *place) (*wire.Statfs, error) {
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(p.dir, &st) }); err != nil {
		return nil, err
	}
	const longestName = 255
	return &wire.Statfs{
		Bsize: uint64(st.Bsize), Frsize: uint64(st.Bsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files,
		Ffree: st.Ffree, Fsid: uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32, Namelen: longestName,
	}, nil
}

func isGenerated(int) bool { return false }

// Where a file's holes are (sys/unistd.h).
const (
	seekData = 4
	seekHole = 3
)

func allocate(int, uint32, int64, int64) error { return unix.ENOTSUP }

func syncData(fd int) error { return unix.Fsync(fd) }

// The times that stand for others.
const (
	timeNow  = -1
	timeOmit = -2
)

// setTimes has microseconds; there is nothing by a descriptor that omits one of the two times.
func setTimes(fd int, atime, mtime unix.Timespec) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var times [2]unix.Timeval
	for i, t := range [2]unix.Timespec{atime, mtime} {
		switch t.Nsec {
		case timeNow:
			t = unix.NsecToTimespec(time.Now().UnixNano())
		case timeOmit:
			t = [2]unix.Timespec{st.Atim, st.Mtim}[i]
		}
		times[i] = unix.NsecToTimeval(t.Nano())
	}
	return unix.Futimes(fd, times[:])
}

// born is when a file came to be, in nanoseconds since 1970.
func born(fd int) int64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Btim.Nano()
}

// mountOf tells file systems apart.
func mountOf(dir int, name string) (uint64, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return uint64(st.Dev), err
}

// entries calls each for every entry of a directory except "." and "..", with the type as a DT_ number.
func entries(f *os.File, each func(ino uint64, kind uint8, name []byte) error) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		if err := each(st.Ino, kindOf(uint32(st.Mode)), []byte(name)); err != nil {
			return err
		}
	}
	return nil
}
