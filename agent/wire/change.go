package wire

import "golang.org/x/sys/unix"

// ChangeKind says which change an OpChange makes.
type ChangeKind uint8

// The changes, named for the system calls that they are. Numbers are part of the protocol.
const (
	ChangeUnlink   ChangeKind = 1
	ChangeRmdir    ChangeKind = 2
	ChangeRename   ChangeKind = 3 // Path becomes Other, as Flags say
	ChangeMkdir    ChangeKind = 4
	ChangeChmod    ChangeKind = 5
	ChangeChown    ChangeKind = 6
	ChangeTruncate ChangeKind = 7
	ChangeUtimes   ChangeKind = 8
	ChangeLink     ChangeKind = 9  // Other becomes another name of Path
	ChangeSymlink  ChangeKind = 10 // Path becomes a link to Other, which is any text
	ChangeMknod    ChangeKind = 11 // a regular file, FIFO or socket; devices as far as the target may make them
)

// ChangeFlags say more of a change.
type ChangeFlags uint32

// Bits of ChangeFlags. Numbers are part of the protocol.
const (
	NoFollow  ChangeFlags = 1 << iota // Chmod, Chown, Utimes: of a link itself; Link always is, unless Follow
	Follow                            // Link: of what Path leads to
	NoReplace                         // Rename: EEXIST rather than replacing Other
	Exchange                          // Rename: Other becomes Path, too
	AtimeNow                          // Utimes
	AtimeOmit                         // Utimes
	MtimeNow                          // Utimes
	MtimeOmit                         // Utimes
	Exactly   ChangeFlags = 1 << 8    // Chmod, Chown, Utimes: ESTALE if Path is another file than Dev and Ino by now
)

// Unchanged is a UID or GID that stays as it is.
const Unchanged = ^uint32(0)

// Change is one change of the target's files. Fields that a kind does not need are zero.
type Change struct {
	Kind  ChangeKind  `cbor:"1,keyasint"`
	Flags ChangeFlags `cbor:"2,keyasint,omitempty"`
	Other string      `cbor:"3,keyasint,omitempty"` // the second path, absolute inside the target; Symlink: what the link says
	Mode  uint32      `cbor:"4,keyasint,omitempty"` // Mkdir, Chmod, Mknod: Linux's numbers, the umask already applied; Mknod: with the type
	UID   uint32      `cbor:"5,keyasint,omitempty"` // Chown
	GID   uint32      `cbor:"6,keyasint,omitempty"` // Chown
	Size  int64       `cbor:"7,keyasint,omitempty"` // Truncate: bytes; Mknod: the device's number
	Atime int64       `cbor:"8,keyasint,omitempty"` // Utimes: nanoseconds since 1970
	Mtime int64       `cbor:"9,keyasint,omitempty"` // Utimes
	Dev   uint64      `cbor:"10,keyasint,omitempty"`
	Ino   uint64      `cbor:"11,keyasint,omitempty"`
}

// maxTarget bounds what a link says, in bytes (PATH_MAX, with its zero).
const maxTarget = 4096

// Impossible is the errno of what the kernel refuses before it looks at the path; nil if it looks.
func (c *Change) Impossible() error {
	switch {
	case c.Kind < ChangeUnlink || c.Kind > ChangeMknod:
		return unix.ENOSYS
	case c.Kind == ChangeMknod && c.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EPERM
	case c.Kind == ChangeTruncate && c.Size < 0, c.Kind == ChangeRename && c.Flags&NoReplace != 0 && c.Flags&Exchange != 0:
		return unix.EINVAL
	case c.Kind == ChangeSymlink && c.Other == "":
		return unix.ENOENT
	case c.Kind == ChangeSymlink && len(c.Other) >= maxTarget:
		return unix.ENAMETOOLONG
	}
	return nil
}
