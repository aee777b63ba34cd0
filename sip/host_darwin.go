package sip

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// host is what the verdict depends on besides files.
type host struct {
	who Creds
	mac System
}

func newHost() host {
	return host{who: Creds{os.Getuid(), os.Getgid()}, mac: askMac().system()}
}

// rosettaRuntime is there once Rosetta is installed; there is no call that says so.
const rosettaRuntime = "/Library/Apple/usr/libexec/oah/libRosettaRuntime"

// askMac reads what the system says of itself. What it does not know stays zero: sysctls of Apple silicon are not there on Intel.
func askMac() macFacts {
	var f macFacts
	f.version, _ = unix.Sysctl("kern.osproductversion")
	f.build, _ = unix.Sysctl("kern.osversion")
	number := func(name string) uint32 {
		n, _ := unix.SysctlUint32(name)
		return n
	}
	f.arm64 = arch == "arm64" || number("hw.optional.arm64") == 1
	f.translated = number("sysctl.proc_translated") == 1
	f.affinity = number("kern.curproc_arch_affinity")
	_, err := os.Stat(rosettaRuntime)
	f.rosetta = err == nil
	// CSR_SYSCALL_GET_ACTIVE_CONFIG (xnu bsd/kern/kern_csr.c): what libSystem's csr_get_active_config calls.
	const getActiveConfig = 1
	if _, _, errno := unix.Syscall(unix.SYS_CSRCTL, getActiveConfig, uintptr(unsafe.Pointer(&f.allowed)), unsafe.Sizeof(f.allowed)); errno != 0 {
		f.allowed = 0
	}
	return f
}

func (h host) system() System { return h.mac }

// executable checks what execve checks before it reads: a regular file that may be executed.
func (host) executable(path string) (fileID, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileID{}, errnoOf(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, syscall.EACCES
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fileID{}, errnoOf(err)
	}
	return idOf(&st), 0
}

// inspect reads a file. What may be executed but not read (sudo is 04511) keeps what its rights say.
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
	f := rights(&st)
	if f.real = pathOf(fd); f.real == "" {
		f.real = resolved(path)
	}
	if errno := f.read(r, st.Size); errno != 0 {
		return nil, fileID{}, errno
	}
	return f, idOf(&st), 0
}

func unreadable(path string) (*file, fileID, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fileID{}, errnoOf(err)
	}
	f := rights(&st)
	f.format, f.real = formatBinary, resolved(path)
	return f, idOf(&st), 0
}

func rights(st *unix.Stat_t) *file {
	return &file{mode: uint32(st.Mode), uid: int(st.Uid), gid: int(st.Gid), flags: st.Flags}
}

// pathOf is the path of an open file as the volume keeps it, in its own case and without symbolic links (fcntl(2), F_GETPATH); "" when it has none.
func pathOf(fd int) string {
	var path [1024]byte // MAXPATHLEN
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETPATH, uintptr(unsafe.Pointer(&path[0]))); errno != 0 {
		return ""
	}
	return unix.ByteSliceToString(path[:])
}

// resolved is path without symbolic links.
func resolved(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path
	}
	return real
}

func (h host) privilege(path string, f *file, caller *Creds) string {
	reason := setID(f, h.who, caller)
	var fs unix.Statfs_t
	if reason != "" && unix.Statfs(path, &fs) == nil && fs.Flags&unix.MNT_NOSUID != 0 {
		return ""
	}
	return reason
}

func idOf(st *unix.Stat_t) fileID {
	return fileID{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), flags: st.Flags}
}
