package files

import (
	"os"

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
