package files

import (
	"encoding/binary"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// list sends a directory as packed entries: ino u64, type u8 (Linux's DT_ numbers), 0 u8, length of the name u16, name; little-endian, "." and ".."
// first. Above the root there is the root again.
func list(w io.Writer, f *os.File, st *unix.Stat_t, root *os.File) error {
	out := make([]byte, 0, copyBuffer)
	pack := func(ino uint64, kind uint8, name []byte) error {
		if kind == 0 {
			var entry unix.Stat_t
			if unix.Fstatat(int(f.Fd()), string(name), &entry, unix.AT_SYMLINK_NOFOLLOW) == nil {
				kind = kindOf(uint32(entry.Mode))
			}
		}
		out = binary.LittleEndian.AppendUint64(out, ino)
		out = append(out, kind, 0)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(name)))
		out = append(out, name...)
		if len(out) < copyBuffer-1024 {
			return nil
		}
		_, err := w.Write(out)
		out = out[:0]
		return err
	}
	dir := kindOf(unix.S_IFDIR)
	pack(st.Ino, dir, []byte("."))
	pack(parent(f, st, root), dir, []byte(".."))
	if err := entries(f, pack); err != nil {
		return err
	}
	_, err := w.Write(out)
	return err
}

// parent is the inode of a directory's "..".
func parent(f *os.File, st *unix.Stat_t, root *os.File) uint64 {
	var top, up unix.Stat_t
	if unix.Fstat(int(root.Fd()), &top) != nil || top.Dev == st.Dev && top.Ino == st.Ino {
		return st.Ino
	}
	if unix.Fstatat(int(f.Fd()), "..", &up, 0) != nil {
		return st.Ino
	}
	return up.Ino
}

// kindOf turns the type bits of a mode into Linux's DT_ number (dirent.h's IFTODT).
func kindOf(mode uint32) uint8 { return uint8(mode & unix.S_IFMT >> 12) }
