package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Flags of OpFile, of open(2): Linux's numbers on x86_64, whatever the machine.
const (
	OpenAccess    = 0o3
	OpenRead      = 0o0
	OpenWrite     = 0o1
	OpenReadWrite = 0o2
	OpenCreate    = 0o100
	OpenExclusive = 0o200
	OpenTruncate  = 0o1000
	OpenAppend    = 0o2000
	OpenNonblock  = 0o4000
	OpenDirectory = 0o200000
	OpenNoFollow  = 0o400000
	OpenAlter     = 0o100000000 // none of open(2): with OpenRead, mode, owner and times may be set by the descriptor as well
)

// FileKind says how an open file behaves.
type FileKind uint8

// Bits of a FileKind.
const (
	FileDirect FileKind = 1 // its size says nothing of its content: of proc, a device
	FileStream FileKind = 2 // it has no offsets, and may wait: a FIFO, a terminal
)

// FileOp says what a FileRequest wants.
type FileOp uint8

// The operations on an open file. Numbers are part of the protocol. Each is answered by one FileReply, but FileCancel by none.
const (
	FileRead     FileOp = 1 // up to Length bytes at Offset; less than there are, only at the end or of a FileStream. How 1: without waiting
	FileWrite    FileOp = 2 // Data at Offset, or at the end when the file was opened with OpenAppend; FileReply.Offset is how much was taken. How as for FileRead
	FileStat     FileOp = 3
	FileSet      FileOp = 4 // Data is a FileChange
	FileSync     FileOp = 5 // fsync; How 1: fdatasync
	FileAllocate FileOp = 6 // fallocate(2) of Length bytes at Offset; How is its mode
	FileSeek     FileOp = 7 // lseek(2) with SEEK_DATA (How 3) or SEEK_HOLE (4) → FileReply.Offset
	FileCancel   FileOp = 8 // nobody waits for the request ID any more: if it waits itself it fails with EINTR
)

// MaxFileData bounds what a FileRequest or FileReply carries, in bytes; FileRequest.Length of a FileRead as well.
const MaxFileData = 1 << 20

// FileRequest is what the launcher sends on the stream of an open file, as often as it likes. In bytes: op u8, how u8, 0 u16, id u32, offset i64, length i64, size
// of the data u32, data; little-endian.
type FileRequest struct {
	Op             FileOp
	How            uint8
	ID             uint32 // names the reply; one that is under way has no other's
	Offset, Length int64
	Data           []byte
}

const fileRequestSize = 28

// AppendFileRequest appends a request, whose data are at most MaxFileData bytes.
func AppendFileRequest(b []byte, r *FileRequest) []byte {
	b = append(b, byte(r.Op), r.How, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, r.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Length))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Data)))
	return append(b, r.Data...)
}

// ReadFileRequest reads a request; its data are in a slice of their own. It returns io.EOF at the end of the stream, and an error that wraps ErrMalformed for
// what the protocol does not allow: an unknown operation, data of another, a size or an offset out of bounds.
func ReadFileRequest(in io.Reader) (*FileRequest, error) {
	var b [fileRequestSize]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return nil, err
	}
	r := &FileRequest{Op: FileOp(b[0]), How: b[1], ID: binary.LittleEndian.Uint32(b[4:]),
		Offset: int64(binary.LittleEndian.Uint64(b[8:])), Length: int64(binary.LittleEndian.Uint64(b[16:]))}
	n := binary.LittleEndian.Uint32(b[24:])
	switch {
	case r.Op < FileRead || r.Op > FileCancel, r.Offset < 0, r.Length < 0, b[2] != 0 || b[3] != 0,
		n > 0 && r.Op != FileWrite && r.Op != FileSet, n > MaxFileData, r.Op == FileSet && n != fileChangeSize, r.Op == FileRead && r.Length > MaxFileData:
		return nil, fmt.Errorf("%w: a request to a file", ErrMalformed)
	}
	var err error
	r.Data, err = readData(in, n)
	return r, err
}

// FileReply answers the FileRequest of the same ID. In bytes: id u32, length of the errno u8, 1 u8 if there is a Stat, 0 u16, offset i64, size of the data u32, errno,
// the Stat as 13 u64, data.
type FileReply struct {
	ID     uint32
	Errno  string // a name, as in Reply; empty on success
	Offset int64  // of FileWrite and FileSeek
	Stat   *Stat  // of the file after the request; nil when it cannot be told
	Data   []byte // of FileRead
}

const fileReplySize = 20

// AppendFileReply appends a reply, whose data are at most MaxFileData bytes.
func AppendFileReply(b []byte, r *FileReply) []byte {
	errno := r.Errno
	if len(errno) > maxErrno {
		errno = "EIO"
	}
	has := byte(0)
	if r.Stat != nil {
		has = 1
	}
	b = binary.LittleEndian.AppendUint32(b, r.ID)
	b = append(b, byte(len(errno)), has, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Data)))
	b = append(b, errno...)
	if r.Stat != nil {
		for _, v := range r.Stat.numbers() {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return append(b, r.Data...)
}

// ReadFileReply reads a reply as ReadFileRequest reads a request.
func ReadFileReply(in io.Reader) (*FileReply, error) {
	var b [fileReplySize + maxErrno + 8*statNumbers]byte
	if _, err := io.ReadFull(in, b[:fileReplySize]); err != nil {
		return nil, err
	}
	r := &FileReply{ID: binary.LittleEndian.Uint32(b[:]), Offset: int64(binary.LittleEndian.Uint64(b[8:]))}
	errno, has, n := int(b[4]), b[5], binary.LittleEndian.Uint32(b[16:])
	if errno > maxErrno || has > 1 || b[6] != 0 || b[7] != 0 || n > MaxFileData {
		return nil, fmt.Errorf("%w: a reply of a file", ErrMalformed)
	}
	rest := b[fileReplySize : fileReplySize+errno+8*statNumbers*int(has)]
	if _, err := io.ReadFull(in, rest); err != nil {
		return nil, cut(err)
	}
	r.Errno = string(rest[:errno])
	if has == 1 {
		var v [statNumbers]uint64
		for i := range v {
			v[i] = binary.LittleEndian.Uint64(rest[errno+8*i:])
		}
		r.Stat = statOf(v)
	}
	var err error
	r.Data, err = readData(in, n)
	return r, err
}

// readData holds no more memory than a small multiple of what has arrived.
func readData(in io.Reader, n uint32) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	const step = 128 << 10
	data := make([]byte, min(n, step))
	for at := 0; ; {
		if _, err := io.ReadFull(in, data[at:]); err != nil {
			return nil, cut(err)
		}
		if at = len(data); at == int(n) {
			return data, nil
		}
		data = append(data, make([]byte, min(int(n)-at, at))...)
	}
}

// FileChange is what a FileSet changes: the fields that Set names.
type FileChange struct {
	Set          uint32 // Set bits
	Mode         uint32 // permissions
	UID, GID     uint32
	Size         int64
	Atime, Mtime int64 // nanoseconds since 1970
}

// Bits of FileChange.Set.
const (
	SetMode     = 1
	SetUID      = 2
	SetGID      = 4
	SetSize     = 8
	SetAtime    = 16
	SetMtime    = 32
	SetAtimeNow = 64  // with SetAtime: to the target's time, and not to Atime
	SetMtimeNow = 128 // with SetMtime
)

const fileChangeSize = 40

// AppendFileChange appends a change as a FileSet carries it: the fields in their order, little-endian.
func AppendFileChange(b []byte, c *FileChange) []byte {
	for _, v := range [...]uint32{c.Set, c.Mode, c.UID, c.GID} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for _, v := range [...]int64{c.Size, c.Atime, c.Mtime} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

// ReadFileChange reads the data of a FileSet, which ReadFileRequest has found to have the right size.
func ReadFileChange(b []byte) *FileChange {
	at32 := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	at64 := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[16+8*i:])) }
	return &FileChange{Set: at32(0), Mode: at32(1), UID: at32(2), GID: at32(3), Size: at64(0), Atime: at64(1), Mtime: at64(2)}
}
