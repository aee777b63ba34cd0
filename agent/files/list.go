package files

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// list sends a directory as packed entries (wire.Entry), "." and ".." first; with stats each other one has its metadata. Above the root there is
// the root again.
func list(w io.Writer, f *os.File, st *unix.Stat_t, root *os.File, stats bool) error {
	out := make([]byte, 0, copyBuffer)
	pack := func(ino uint64, kind uint8, name []byte) error {
		e := wire.Entry{Ino: ino, Kind: kind, Name: name}
		if stats || kind == 0 {
			describe(int(f.Fd()), &e, stats)
		}
		out = wire.AppendEntry(out, e)
		if len(out) < copyBuffer-2*wire.MaxTarget {
			return nil
		}
		_, err := w.Write(out)
		out = out[:0]
		return err
	}
	dir := kindOf(unix.S_IFDIR)
	out = wire.AppendEntry(out, wire.Entry{Ino: st.Ino, Kind: dir, Name: []byte(".")})
	out = wire.AppendEntry(out, wire.Entry{Ino: parent(f, st, root), Kind: dir, Name: []byte("..")})
	if err := entries(f, pack); err != nil {
		return err
	}
	_, err := w.Write(out)
	return err
}

// describe adds what lstat says of an entry. What cannot be looked at, or is gone, goes without.
func describe(dir int, e *wire.Entry, stats bool) {
	var st unix.Stat_t
	name := string(e.Name)
	if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	if e.Kind == 0 {
		e.Kind = kindOf(uint32(st.Mode))
	}
	if !stats {
		return
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := readlinkat(dir, name)
		if err != nil {
			return
		}
		e.Target = []byte(target)
	}
	e.Stat = stat(&st)
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
