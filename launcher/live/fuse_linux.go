package live

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// The kernel's protocol (include/uapi/linux/fuse.h), as far as a folder of open files needs it. Integers are the machine's, which is little-endian.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFsync       = 20
	opGetxattr    = 22
	opListxattr   = 23
	opInit        = 26
	opInterrupt   = 36
	opBatchForget = 42
	opFallocate   = 43
	opLseek       = 46

	protocolMajor, protocolMinor = 7, 31
	rootID                       = 1
	firstID                      = 2 // of our own file
	inHeaderSize                 = 40
	outHeaderSize                = 16
	attrSize                     = 88

	// Flags of init.
	initAsyncRead     = 1 << 0
	initBigWrites     = 1 << 5
	initAutoInvalData = 1 << 12 // pages are forgotten when the time of the last change moves
	initAsyncDIO      = 1 << 15
	initMaxPages      = 1 << 22
	initKillPriv      = 1 << 19 // what takes setuid bits away when a file is written is the pod's kernel

	// Flags of an answer to open.
	openDirectIO    = 1 << 0
	openNonseekable = 1 << 2
	openStream      = 1 << 4

	// What setattr sets.
	setMode, setUID, setGID, setSize   = 1 << 0, 1 << 1, 1 << 2, 1 << 3
	setAtime, setMtime                 = 1 << 4, 1 << 5
	setHandle, setAtimeNow, setMtimNow = 1 << 6, 1 << 7, 1 << 8
)

// maxRequest is how much one request reads or writes, in bytes.
const maxRequest = wire.MaxFileData

// request is one of the kernel's.
type request struct {
	op     uint32
	unique uint64
	node   uint64
	body   []byte
}

// parse reads a request; false when the kernel would not write it.
func parse(b []byte) (request, bool) {
	if len(b) < inHeaderSize || int(le.Uint32(b)) != len(b) {
		return request{}, false
	}
	return request{op: le.Uint32(b[4:]), unique: le.Uint64(b[8:]), node: le.Uint64(b[16:]), body: b[inHeaderSize:]}, true
}

var le = binary.LittleEndian

// u32 and u64 read a field; 0 when the request is too short, as an older kernel's may be.
func (r *request) u32(at int) uint32 {
	if len(r.body) < at+4 {
		return 0
	}
	return le.Uint32(r.body[at:])
}

func (r *request) u64(at int) uint64 {
	if len(r.body) < at+8 {
		return 0
	}
	return le.Uint64(r.body[at:])
}

// header is what precedes an answer of n bytes.
func header(unique uint64, n int, errno unix.Errno) []byte {
	b := le.AppendUint32(make([]byte, 0, outHeaderSize+n), uint32(outHeaderSize+n))
	b = le.AppendUint32(b, uint32(-int32(errno)))
	return le.AppendUint64(b, unique)
}

func appendInit(b []byte, maxReadahead, flags uint32) []byte {
	flags &= initAsyncRead | initBigWrites | initAutoInvalData | initAsyncDIO | initMaxPages | initKillPriv
	b = le.AppendUint32(b, protocolMajor)
	b = le.AppendUint32(b, protocolMinor)
	b = le.AppendUint32(b, maxReadahead)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint16(b, 64) // in the background
	b = le.AppendUint16(b, 48) // from there on it is congested
	b = le.AppendUint32(b, maxRequest)
	b = le.AppendUint32(b, 1) // granularity of times, in nanoseconds
	b = le.AppendUint16(b, maxRequest/4096)
	return append(b, make([]byte, 34)...)
}

// appendAttr says of a file what the kernel needs to work with it: the rest, of which it would make something else, is told by the front ends. Without links they
// know at once that there is a rest, and the kernel forgets the file with its last descriptor.
func appendAttr(b []byte, st *wire.Stat, uid, gid uint32) []byte {
	for _, v := range [...]uint64{st.Ino, uint64(max(st.Size, 0)), uint64(max(st.Blocks, 0))} {
		b = le.AppendUint64(b, v)
	}
	times := [...]int64{st.Atime, st.Mtime, st.Ctime}
	for _, t := range times {
		b = le.AppendUint64(b, uint64(unix.NsecToTimespec(t).Sec))
	}
	for _, t := range times {
		b = le.AppendUint32(b, uint32(unix.NsecToTimespec(t).Nsec))
	}
	for _, v := range [...]uint32{unix.S_IFREG | st.Mode&0o7777, 0, uid, gid, 0, uint32(st.Blksize), 0} {
		b = le.AppendUint32(b, v)
	}
	return b
}

// attrLife is how long the kernel believes what it is told of a file, in nanoseconds.
const attrLife = 20_000_000

func appendAttrOut(b, attr []byte) []byte {
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, attrLife)
	b = le.AppendUint32(b, 0)
	return append(b, attr...)
}

// appendEntry names a file; the name is asked for anew each time.
func appendEntry(b []byte, id uint64, attr []byte) []byte {
	for _, v := range [...]uint64{id, 0, 0, 0} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, attrLife)
	return append(b, attr...)
}

// changeOf is what a setattr wants.
func changeOf(r *request) *wire.FileChange {
	valid := r.u32(0)
	c := &wire.FileChange{Size: int64(r.u64(16)), Mode: r.u32(68) & 0o7777, UID: r.u32(76), GID: r.u32(80),
		Atime: int64(r.u64(32))*1e9 + int64(r.u32(56)), Mtime: int64(r.u64(40))*1e9 + int64(r.u32(60))}
	for from, to := range map[uint32]uint32{setMode: wire.SetMode, setUID: wire.SetUID, setGID: wire.SetGID, setSize: wire.SetSize,
		setAtime: wire.SetAtime, setMtime: wire.SetMtime, setAtimeNow: wire.SetAtimeNow, setMtimNow: wire.SetMtimeNow} {
		if valid&from != 0 {
			c.Set |= to
		}
	}
	return c
}
