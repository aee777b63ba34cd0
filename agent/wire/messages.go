// Package wire is what the launcher's broker and the agent say to each other. Each request is one stream of a link (agent/links): a header (u32 little-endian length,
// then CBOR with integer keys), the answering header, then raw bytes where the operation has any: a file's body, datagrams, operations on an open file.
package wire

import "net/netip"

// Version of the protocol. Both ends send theirs in Hello; the launcher refuses an agent with another one.
const Version = 1

// Bounds of CBOR headers in bytes. A request holds little more than two paths; that it is small lets an agent serve many launchers' worth of them,
// finished or not.
const (
	MaxHeader  = 1 << 20 // of a reply, which may hold a whole environment
	MaxRequest = 64 << 10
)

// MaxEarly bounds what goes along with the offer of a connection, in bytes: a request, as a rule.
const MaxEarly = 16 << 10

// Op says what a stream is for.
type Op uint8

// The operations. Numbers are part of the protocol.
const (
	OpHello     Op = 1  // first stream of each session
	OpEnv       Op = 2  // the target's environment → Reply.Env
	OpOpen      Op = 3  // a file's content or a directory's entries → Reply.Stat, of a directory the real path in Reply.Path, then a body
	OpStat      Op = 4  // → Reply.Stat
	OpAccess    Op = 5  // access(2) with Request.Mode
	OpReadlink  Op = 6  // → Reply.Path
	OpRealpath  Op = 7  // → Reply.Path
	OpLookup    Op = 8  // Request.Name, Request.Family → Reply.Addrs, Reply.Name (canonical)
	OpReverse   Op = 9  // Request.Addr → Reply.Name
	OpConnect   Op = 10 // bulk session: Request.Addr, Datagram → Reply.Local, Reply.Remote, or Request.Path, NoWait; then the stream is the connection, or carries datagrams
	OpSubscribe Op = 11 // Request.Port: incoming connections come to the launcher for as long as this stream is open → Reply.Text; further replies are notices
	OpIncoming  Op = 12 // bulk session, opened by the agent: Request.Port, Local, Remote; an error in the reply gives the connection back
	OpReset     Op = 13 // bulk session, opened by either end: the stream Request.Stream ends at once; no reply, closed when that is done
	OpGoodbye   Op = 14 // the launcher needs the agent no more, and hangs up when it has the reply
	OpStatfs    Op = 20 // → Reply.Statfs
	OpFile      Op = 30 // bulk session: Request.Path, Flags, Mode → Reply.Stat, File; then the file stays open, see FileRequest
	OpChange    Op = 31 // changes the files of the target: Request.Path, Change
)

// Request is the header that opens a stream. Fields that an operation does not name are zero.
type Request struct {
	Op       Op             `cbor:"1,keyasint"`
	Path     string         `cbor:"2,keyasint,omitempty"` // absolute path inside the target; OpConnect: of a Unix socket, or "@" and an abstract name
	NoFollow bool           `cbor:"3,keyasint,omitempty"` // OpStat: lstat; OpOpen: O_NOFOLLOW
	Dir      bool           `cbor:"4,keyasint,omitempty"` // OpOpen: O_DIRECTORY
	Mode     uint32         `cbor:"5,keyasint,omitempty"` // OpAccess: R_OK 4, W_OK 2, X_OK 1
	Limit    int64          `cbor:"6,keyasint,omitempty"` // OpOpen: largest regular file wanted, bytes; a larger one is EFBIG
	Name     string         `cbor:"7,keyasint,omitempty"`
	Family   uint8          `cbor:"8,keyasint,omitempty"` // OpLookup: 0 any, 4, 6
	Addr     netip.AddrPort `cbor:"9,keyasint,omitzero"`
	Port     uint16         `cbor:"10,keyasint,omitempty"` // OpSubscribe, OpIncoming: the target's port
	Steal    bool           `cbor:"11,keyasint,omitempty"` // OpSubscribe: take the connections instead of seeing a copy
	Local    netip.AddrPort `cbor:"12,keyasint,omitzero"`  // OpIncoming: the address that was connected to
	Remote   netip.AddrPort `cbor:"13,keyasint,omitzero"`  // OpIncoming: who connected
	Hello    *Hello         `cbor:"14,keyasint,omitempty"` // OpHello only
	Stream   uint32         `cbor:"15,keyasint,omitempty"` // OpReset: yamux's id of the stream
	Datagram bool           `cbor:"16,keyasint,omitempty"` // OpConnect: a UDP socket; each datagram then is u16 length, bytes (see Datagram)
	NoWait   bool           `cbor:"17,keyasint,omitempty"` // OpConnect with Path: EAGAIN when the listener's queue is full
	Early    uint32         `cbor:"18,keyasint,omitempty"` // OpIncoming: so many of the connection's first bytes follow at once, up to MaxEarly
	Stats    bool           `cbor:"20,keyasint,omitempty"` // OpOpen: the entries of a directory come with their metadata
	Live     int64          `cbor:"30,keyasint,omitempty"` // OpOpen, unless 0: for a regular file of more bytes, and whatever has no content to be sent once, Reply.Live is wanted
	Flags    uint32         `cbor:"31,keyasint,omitempty"` // OpFile: the Open flags
	Change   *Change        `cbor:"40,keyasint,omitempty"` // OpChange only
	From     string         `cbor:"50,keyasint,omitempty"` // OpOpen, OpStat, OpRealpath: an absolute path, which Path is relative to; Reply.Path is where it leads to
	Ways     Ways           `cbor:"51,keyasint,omitempty"` // with From
}

// Ways are how a path may be resolved: RESOLVE_… of openat2(2), by its numbers.
type Ways uint64

// The ways. The others of Linux say nothing in a target: links of proc lead nowhere there, and nothing is known of what is cached.
const (
	WayNoXDev  Ways = 0x01 // crossing a mount is EXDEV
	WayNoLinks Ways = 0x04 // a link on the way is ELOOP
	WayBeneath Ways = 0x08 // leaving From, or an absolute path or link, is EXDEV
	WayInRoot  Ways = 0x10 // From is the root
)

// Reply answers a Request. Errno is empty on success.
type Reply struct {
	Errno  string            `cbor:"1,keyasint,omitempty"` // the name of an errno ("ENOENT"): numbers differ between systems
	Text   string            `cbor:"2,keyasint,omitempty"` // for people: what failed; OpSubscribe, without an errno: why nothing may come
	Stat   *Stat             `cbor:"3,keyasint,omitempty"`
	Path   string            `cbor:"4,keyasint,omitempty"`
	Addrs  []netip.Addr      `cbor:"5,keyasint,omitempty"`
	Name   string            `cbor:"6,keyasint,omitempty"`
	Env    map[string]string `cbor:"7,keyasint,omitempty"`
	Local  netip.AddrPort    `cbor:"8,keyasint,omitzero"`
	Remote netip.AddrPort    `cbor:"9,keyasint,omitzero"`
	Hello  *Hello            `cbor:"10,keyasint,omitempty"`
	Statfs *Statfs           `cbor:"20,keyasint,omitempty"`
	Live   bool              `cbor:"30,keyasint,omitempty"` // OpOpen: no body follows, for the file grows, is too large or special: OpFile opens it
	File   FileKind          `cbor:"31,keyasint,omitempty"` // OpFile
}

// Lookup failures travel in Reply.Errno beside the real errnos.
const (
	ErrnoNotFound = "NOTFOUND" // no such name
	ErrnoNoData   = "NODATA"   // the name exists, without an address of that family
	ErrnoAgain    = "AGAIN"    // a resolver did not answer; asking again may help
)

// Hello is exchanged on the first stream of each session.
type Hello struct {
	Version      uint     `cbor:"1,keyasint"`
	Session      string   `cbor:"2,keyasint,omitempty"` // the launcher's session id, the same on both sessions of a link
	Bulk         bool     `cbor:"3,keyasint,omitempty"` // this session is the bulk one
	Capabilities []string `cbor:"4,keyasint,omitempty"` // the agent's: env, files, names, outgoing, steal, mirror; certs: the target has /etc/ssl/certs
	Name         string   `cbor:"5,keyasint,omitempty"` // the agent's: the target's name
	Hostname     string   `cbor:"6,keyasint,omitempty"` // the agent's: the target's host name
	User         string   `cbor:"7,keyasint,omitempty"` // the launcher's: user@host, told to others who want a port that this one steals
}

// Stat is a file's metadata. Mode holds type and permission bits with Linux numbers (S_IFREG 0100000, S_IFDIR 0040000…); times are
// nanoseconds since 1970.
type Stat struct {
	Dev     uint64 `cbor:"1,keyasint"`
	Ino     uint64 `cbor:"2,keyasint"`
	Mode    uint32 `cbor:"3,keyasint"`
	Nlink   uint64 `cbor:"4,keyasint"`
	UID     uint32 `cbor:"5,keyasint"`
	GID     uint32 `cbor:"6,keyasint"`
	Rdev    uint64 `cbor:"7,keyasint"`
	Size    int64  `cbor:"8,keyasint"`
	Blksize int64  `cbor:"9,keyasint"`
	Blocks  int64  `cbor:"10,keyasint"`
	Atime   int64  `cbor:"11,keyasint"`
	Mtime   int64  `cbor:"12,keyasint"`
	Ctime   int64  `cbor:"13,keyasint"`
	Here    bool   `cbor:"-"` // of a file of this machine, which stands for one of the target; never sent
}

// Statfs is what is known of a file system; Type and Flags have Linux's numbers, 0 where the system has others.
type Statfs struct {
	Type    uint64 `cbor:"1,keyasint"`
	Bsize   uint64 `cbor:"2,keyasint"` // bytes, as Frsize, the unit of Blocks, Bfree and Bavail
	Frsize  uint64 `cbor:"3,keyasint"`
	Blocks  uint64 `cbor:"4,keyasint"`
	Bfree   uint64 `cbor:"5,keyasint"`
	Bavail  uint64 `cbor:"6,keyasint"`
	Files   uint64 `cbor:"7,keyasint"`
	Ffree   uint64 `cbor:"8,keyasint"`
	Fsid    uint64 `cbor:"9,keyasint"`
	Namelen uint64 `cbor:"10,keyasint"`
	Flags   uint64 `cbor:"11,keyasint"`
}
