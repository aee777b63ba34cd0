package overlay

import (
	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

func statOf(st *unix.Stat_t) *wire.Stat {
	return &wire.Stat{
		Here: true, Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint64(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: st.Rdev, Size: st.Size, Blksize: int64(st.Blksize),
		Blocks: st.Blocks, Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

func statfs(p string) (*wire.Statfs, error) {
	var st unix.Statfs_t
	err := unix.Statfs(p, &st)
	return &wire.Statfs{
		Type: uint64(st.Type), Bsize: uint64(st.Bsize), Frsize: uint64(st.Frsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files,
		Ffree: st.Ffree, Fsid: uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32, Namelen: uint64(st.Namelen), Flags: uint64(st.Flags),
	}, err
}

// swap exchanges two files of this machine.
func swap(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

const (
	utimeNow  = unix.UTIME_NOW
	utimeOmit = unix.UTIME_OMIT
)
