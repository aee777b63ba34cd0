package files

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// openDir opens a directory only to look up names in it, which needs no permission to read it.
const openDir = unix.O_PATH

func stat(st *unix.Stat_t) *wire.Stat {
	return &wire.Stat{
		Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint64(st.Nlink), UID: st.Uid, GID: st.Gid, Rdev: st.Rdev,
		Size: st.Size, Blksize: int64(st.Blksize), Blocks: st.Blocks,
		Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// statfs asks for the file system of a place, which may have one mounted on it.
func statfs(p *place) (*wire.Statfs, error) {
	fd, err := unix.Openat(p.dir, p.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return nil, err
	}
	return &wire.Statfs{
		Type: uint64(st.Type), Bsize: uint64(st.Bsize), Frsize: uint64(st.Frsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree, Fsid: uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		Namelen: uint64(st.Namelen), Flags: uint64(st.Flags),
	}, nil
}

// generated says of a file system's type whether its files are made while they are read, so that their sizes say nothing.
var generated = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true,
	unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true,
}

func isGenerated(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && generated[int64(st.Type)]
}

// Where a file's holes are.
const (
	seekData = unix.SEEK_DATA
	seekHole = unix.SEEK_HOLE
)

func allocate(fd int, mode uint32, offset, length int64) error {
	return unix.Fallocate(fd, mode, offset, length)
}

func syncData(fd int) error { return unix.Fdatasync(fd) }

func setTimes(fd int, atime, mtime unix.Timespec) error {
	times := [2]unix.Timespec{atime, mtime}
	if _, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// born is when a file came to be, in nanoseconds since 1970; 0 where the file system does not tell.
func born(fd int) int64 {
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st) != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

// The times that utimensat(2) takes for others.
const (
	timeNow  = unix.UTIME_NOW
	timeOmit = unix.UTIME_OMIT
)

// mountOf tells mounts apart.
func mountOf(dir int, name string) (uint64, error) {
	var st unix.Statx_t
	err := ignoringEINTR(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
	})
	if err == nil && st.Mask&unix.STATX_MNT_ID == 0 { // before Linux 5.8
		return uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), nil
	}
	return st.Mnt_id, err
}

// entries calls each for every entry of a directory except "." and "..", with the type as a DT_ number, 0 if the file system does not tell.
// See getdents(2) for the records.
func entries(f *os.File, each func(ino uint64, kind uint8, name []byte) error) error {
	buf := make([]byte, copyBuffer)
	for {
		var n int
		err := ignoringEINTR(func() (err error) {
			n, err = unix.Getdents(int(f.Fd()), buf)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		for rest := buf[:n]; len(rest) > 0; {
			const fixed = 19 // d_ino u64, d_off i64, d_reclen u16, d_type u8; d_name follows
			if len(rest) < fixed {
				return io.ErrUnexpectedEOF
			}
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			if size < fixed || size > len(rest) {
				return io.ErrUnexpectedEOF
			}
			name, _, _ := bytes.Cut(rest[fixed:size], []byte{0})
			if s := string(name); s != "." && s != ".." {
				if err := each(binary.NativeEndian.Uint64(rest), rest[18], name); err != nil {
					return err
				}
			}
			rest = rest[size:]
		}
	}
}
