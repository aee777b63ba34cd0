package overlay

import (
	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

func statOf(st *unix.Stat_t) *wire.Stat {
	return &wire.Stat{
		Here: true, Dev: uint64(st.Dev), Ino: st.Ino, Mode: uint32(st.Mode), Nlink: uint64(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: uint64(st.Rdev), Size: st.Size,
		Blksize: int64(st.Blksize), Blocks: st.Blocks, Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// statfs has no type and flags of Linux's.
func statfs(p string) (*wire.Statfs, error) {
	var st unix.Statfs_t
	err := unix.Statfs(p, &st)
	return &wire.Statfs{
		Bsize: uint64(st.Bsize), Frsize: uint64(st.Bsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Fsid: uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32, Namelen: maxName,
	}, err
}

// swap exchanges two files of this machine.
func swap(a, b string) error {
	return unix.RenameatxNp(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_SWAP)
}

// What stands for "now" and "as it is" (sys/stat.h).
const (
	utimeNow  = -1
	utimeOmit = -2
)
