package sip

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// reasonCaps is the one that only Linux has (ld.so(8), "secure-execution mode").
const reasonCaps = "has file capabilities: the system drops injected libraries"

// host is what the verdict depends on besides files.
type host struct {
	uid, gid       int
	noNewPrivilege bool
}

func newHost() host {
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return host{uid: os.Getuid(), gid: os.Getgid(), noNewPrivilege: nnp == 1}
}

func (host) system() System {
	return System{Kernel: Linux, Arch: arch}
}

// executable checks what execve checks before it reads: a regular file that may be executed (the mount too: access(2) looks at noexec).
func (host) executable(path string) (fileID, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileID{}, errnoOf(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, syscall.EACCES
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return fileID{}, errnoOf(err)
	}
	return idOf(&st), 0
}

// inspect reads a file. A file that may be executed but not read (mode 0711) can still be injected; what it is stays unknown.
func (host) inspect(path string) (*file, fileID, syscall.Errno) {
	// O_NONBLOCK: if a FIFO took the file's place meanwhile, open must not wait for a writer.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return unreadable(path)
	}
	if err != nil {
		return nil, fileID{}, errnoOf(err)
	}
	r := os.NewFile(uintptr(fd), path)
	defer r.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fileID{}, errnoOf(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fileID{}, syscall.EACCES
	}
	f := rights(&st, func(b []byte) (int, error) { return unix.Fgetxattr(fd, "security.capability", b) })

	var head [headSize]byte
	n, err := r.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return nil, fileID{}, errnoOf(err)
	}
	if string(head[:min(n, 4)]) == "\x7fELF" {
		e, ok := inspectELF(r, path)
		if !ok {
			return nil, fileID{}, syscall.ENOEXEC
		}
		f.format, f.reason, f.origin = formatBinary, e.reason, e.origin
	} else if words, ok := linuxWords(head[:n]); ok {
		f.format, f.words, f.crlf = formatScript, words, endsInCRLF(head[:n])
	}
	return f, idOf(&st), 0
}

func unreadable(path string) (*file, fileID, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fileID{}, errnoOf(err)
	}
	f := rights(&st, func(b []byte) (int, error) { return unix.Getxattr(path, "security.capability", b) })
	f.format, f.unreadable = formatBinary, true
	return f, idOf(&st), 0
}

// setgid is what makes a file run with its group: without S_IXGRP the bit once meant mandatory locks (inode(7)).
const setgid = unix.S_ISGID | unix.S_IXGRP

// rights are what a file gives to who executes it. get reads its attribute security.capability.
func rights(st *unix.Stat_t, get func([]byte) (int, error)) *file {
	f := &file{mode: st.Mode, uid: int(st.Uid), gid: int(st.Gid)}
	if f.mode&setgid == setgid {
		name := strconv.Itoa(f.gid)
		if g, err := user.LookupGroupId(name); err == nil {
			name = g.Name
		}
		f.rights = append(f.rights, "the group "+name)
	}
	var permitted uint64
	f.caps, permitted = effectiveCaps(get)
	f.rights = append(f.rights, capabilityNames(permitted)...)
	return f
}

// effectiveCaps reads struct vfs_cap_data (capabilities(7), linux/capability.h): a little-endian magic whose lowest bit is "effective", then
// the permitted and inheritable halves. Inheritable ones alone change nothing for an ordinary user.
func effectiveCaps(get func([]byte) (int, error)) (effective bool, permitted uint64) {
	var raw [24]byte
	n, err := get(raw[:])
	if err != nil || n < 12 {
		return false, 0
	}
	permitted = uint64(binary.LittleEndian.Uint32(raw[4:]))
	if n >= 20 {
		permitted |= uint64(binary.LittleEndian.Uint32(raw[12:])) << 32
	}
	return raw[0]&1 != 0 || permitted != 0, permitted
}

// privilege says why the loader would be in secure-execution mode, or "". The kernel compares the identity after the exec with the caller's
// real one (security/commoncap.c, cap_bprm_creds_from_file); for root, capabilities of a file add nothing.
func (h host) privilege(path string, f *file, caller *Creds) string {
	setid := f.mode&unix.S_ISUID != 0 || f.mode&setgid == setgid
	if !setid && !f.caps {
		return ""
	}
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return ""
	}
	c := Creds{UID: h.uid, GID: h.gid}
	if caller != nil {
		c = *caller
	}
	switch {
	case f.mode&unix.S_ISUID != 0 && f.uid != c.UID && !h.noNewPrivilege:
		return reasonSetuid
	case f.mode&setgid == setgid && f.gid != c.GID && !h.noNewPrivilege:
		return reasonSetgid
	case f.caps && c.UID != 0:
		return reasonCaps
	}
	return ""
}

func idOf(st *unix.Stat_t) fileID {
	return fileID{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
}
