// Package frame is the protocol between the layer (C, inside the user's processes) and the broker (Go).
//
// A connection to the broker's Unix socket carries one request and at most one reply, so a request can be made from a signal
// handler, between vfork and exec, or from any thread without shared state. Only who asks about an exec may get more: StatusWait, each time the
// broker has worked for KeepAlive, and StatusArgv, once, to be answered with Argv. Everything is little-endian, whatever the machine:
//
//	header   len u32 (payload bytes) | kind u16 | flags u16 | id u64 (echoed in the reply)
//	request  token [16]byte | fields of the kind, in the order of the struct below
//	reply    status i32 | fields of the kind; a descriptor may ride along (SCM_RIGHTS), announced by FlagDescriptor
//
// A reply has fields only with StatusOK, and a Connect reply also with StatusLocal. A request is written in one piece.
//
// On Linux a Hello, Exec, Connected or Datagram, which nobody waits for, is a datagram to a second socket, whose address ends in "+"; a Hello's answer is one, too.
// When its queue is full the request goes the other way.
//
// Integers are written at their own size, a string is a u16 length and its bytes, an address (Addr) is family u8 (0 none, 4, 6), port
// u16 and 16 bytes of address, of which IPv4 uses the first four; unused bytes are zero. A list is its length as u16 and its members.
// layer/src/frame.h says the same in C;
// testdata/frames.hex holds both to it.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

const (
	// HeaderSize is the size in bytes of the header before every payload.
	HeaderSize = 16
	// MaxPayload bounds a payload in bytes: two paths of PATH_MAX, a PATH variable and room to spare.
	MaxPayload = 64 << 10
	// TokenSize is the size in bytes of the session's secret at the start of every request.
	TokenSize = 16
)

// Kind says what a request asks for; a reply carries the kind of its request.
type Kind uint16

// The kinds of requests. Numbers are part of the protocol.
const (
	Hello     Kind = 1  // a process has the layer; answered with the rules as a descriptor
	Open      Kind = 2  // open a file or directory of the pod; answered with a descriptor
	Stat      Kind = 3  // stat, lstat
	Access    Kind = 4  // access, faccessat
	Readlink  Kind = 5  // readlink
	Realpath  Kind = 6  // realpath
	Change    Kind = 7  // unlink, rename, mkdir…: whatever would change the pod's files
	Lookup    Kind = 8  // name → addresses
	Reverse   Kind = 9  // address → name
	Connect   Kind = 10 // an outgoing TCP connection, or a socket's or a destination's datagrams
	Connected Kind = 11 // one way: the local end of the socket that was connected for an attempt
	Endpoint  Kind = 12 // what the pod sees as the two ends of a relayed connection
	SockError Kind = 13 // the pod's errno of a failed non-blocking connect
	Bind      Kind = 14 // the asked port is to be bound, or could not be
	Listen    Kind = 15 // a TCP socket listens
	Exec      Kind = 16 // a program is about to be executed; with ExecAsk: how?
	Datagram  Kind = 17 // one way: a datagram of an unconnected socket leaves from this machine
	Argv      Kind = 18 // the words of the program that the same connection has asked about, after StatusArgv
	Unix      Kind = 19 // an outgoing connection to a Unix socket
	Statfs    Kind = 20 // statfs, statvfs
	UnixPeer  Kind = 21 // relay of a Unix reply → the name that was asked for
	Supervise Kind = 22 // of the helper: its program's system calls are to be answered; answered with the filter
	Listener  Kind = 23 // on the same connection: the filter is installed, or cannot be
	OpenHow   Kind = 40 // openat2 with ways of resolving
	Fstatfs   Kind = 41 // fstatfs, fstatvfs
)

// OneWay tells the kinds that have no reply.
func (k Kind) OneWay() bool { return k == Connected || k == Datagram }

// FlagDescriptor in a reply's flags says that a descriptor comes with it.
const FlagDescriptor = 1

// Status values of a reply that are not an errno of the host (those are positive).
const (
	StatusOK    int32 = 0
	StatusLocal int32 = -1 // not the broker's: call the original
	StatusWait  int32 = -2 // of Exec: the broker is at work, another reply follows
	StatusArgv  int32 = -3 // of Exec: the broker has to know the words; another reply follows them
)

// Between StatusWait and the next reply no more than KeepAlive should pass; who asked gives up after Patience.
const (
	KeepAlive = 200 * time.Millisecond
	Patience  = 2 * time.Second
)

// Bits of ExecRequest.Flags.
const (
	ExecSearch uint8 = 1 // Path is to be looked up in PathVar as execvp does
	ExecAsk    uint8 = 2 // the asker waits for the reply, and does what it says
)

// Bits of ExecReply.Flags.
const (
	ExecLight  uint8 = 1 // the layer in the program is to follow its children only
	ExecARM64e uint8 = 2 // of macOS: the program loads the layer's arm64e variant, and no other
)

// Status values of a Lookup or Reverse reply.
const (
	LookupNotFound int32 = 1 // EAI_NONAME, HOST_NOT_FOUND
	LookupAgain    int32 = 2 // EAI_AGAIN, TRY_AGAIN
	LookupFail     int32 = 3 // EAI_FAIL, NO_RECOVERY
	LookupNoData   int32 = 4 // the name exists, without an address of that family
)

// Bits of StatRequest.NoFollow.
const (
	StatNoFollow   uint8 = 1
	StatNeighbours uint8 = 2 // the reply may bring metadata of other entries of the same directory
	StatDescriptor uint8 = 4 // Path is what stands behind "mirrord:l:" in the name of an open file's descriptor
)

// MaxNeighbours bounds StatReply.Neighbours in bytes, so that the reply fits into a frame.
const MaxNeighbours = 60_000

// Values of HelloRequest.How.
const (
	HowExec uint8 = 0 // a program that was executed
	HowFork uint8 = 1 // reserved for a child that goes on without exec
)

// Values of ConnectRequest.Flags.
const (
	ConnectNonblock uint8 = 1 // the socket is non-blocking: answer without waiting for the pod
	ConnectV6Only   uint8 = 2 // the socket cannot reach an IPv4 address: relay on ::1
	ConnectDatagram uint8 = 4 // a UDP socket; of a Unix socket: none of bytes (SOCK_STREAM)
	ConnectNever    uint8 = 8 // with ConnectDatagram: the socket stays unconnected, and Relay takes what any such socket sends to the address; of a Unix socket: it stays here
)

// Op says which change a Change request is about.
type Op uint16

// The changes. Numbers are part of the protocol.
const (
	Unlink   Op = 1
	Rmdir    Op = 2
	Rename   Op = 3
	Mkdir    Op = 4
	Chmod    Op = 5
	Chown    Op = 6
	Truncate Op = 7
	Utimes   Op = 8
	Link     Op = 9
	Symlink  Op = 10
	Mknod    Op = 11
	SetAttr  Op = 12 // an extended attribute or a flag, which the pod's files cannot be given
	Lock     Op = 40 // of a descriptor, without a path: a lock that nobody in the pod knows of
)

// Bits of ChangeRequest.Flags. Numbers are part of the protocol, and those of wire.ChangeFlags.
const (
	ChangeNoFollow  uint32 = 1   // Chmod, Chown, Utimes: of a link itself
	ChangeFollow    uint32 = 2   // Link: of what Path leads to
	ChangeNoReplace uint32 = 4   // Rename
	ChangeExchange  uint32 = 8   // Rename
	ChangeAtimeNow  uint32 = 16  // Utimes
	ChangeAtimeOmit uint32 = 32  // Utimes
	ChangeMtimeNow  uint32 = 64  // Utimes
	ChangeMtimeOmit uint32 = 128 // Utimes
	ChangeHeld      uint32 = 256 // Chmod, Chown, Utimes: Path is what stands behind "mirrord:f:" in the name of a descriptor
)

// The requests, field by field as they are written after the token.
type (
	// HelloRequest: a process has loaded the layer. Exe is /proc/self/exe as the process reads it.
	HelloRequest struct {
		PID, PPID  uint32
		How        uint8
		Exe, Argv0 string
	}
	// OpenRequest: Flags and Mode are open(2)'s, in the host's numbers. Path is absolute.
	OpenRequest struct {
		Flags, Mode uint32
		Path        string
	}
	// OpenHowRequest: Ways are RESOLVE_… of openat2(2); Path is relative to From, an absolute path.
	OpenHowRequest struct {
		Flags, Mode, Ways uint32
		From, Path        string
	}
	// DeviceRequest is Fstatfs: Dev is that of a Stat reply or tag.
	DeviceRequest struct{ Dev uint64 }
	// StatRequest: NoFollow is StatNoFollow for lstat, plus StatNeighbours.
	StatRequest struct {
		NoFollow uint8
		Path     string
	}
	// AccessRequest: Mode is access(2)'s.
	AccessRequest struct {
		Mode uint32
		Path string
	}
	// PathRequest is Readlink, Realpath, Statfs and UnixPeer.
	PathRequest struct{ Path string }
	// ChangeRequest: Other is rename's and link's second path, of Symlink what the link says, else empty. Of Rename and Link a path that is empty is one of this
	// machine. Mode is as the program gave it, its umask is not applied. UID and GID of all ones stay as they are. Size is Truncate's length, or Mknod's
	// device. Times are nanoseconds since 1970.
	ChangeRequest struct {
		Op                    Op
		Flags, Mode, UID, GID uint32
		Size, Atime, Mtime    uint64
		Path, Other           string
	}
	// LookupRequest: Family is 0 (any), 4 or 6.
	LookupRequest struct {
		Family uint8
		Name   string
	}
	// ReverseRequest asks for the name of an address.
	ReverseRequest struct{ Addr netip.AddrPort }
	// ConnectRequest: where the program wants to go.
	ConnectRequest struct {
		Flags uint8
		Addr  netip.AddrPort
	}
	// UnixRequest: Flags are ConnectNonblock, ConnectDatagram and ConnectNever, the last of which is only told. Name is an absolute path, or "@" and an abstract name, which may hold any bytes.
	UnixRequest struct {
		Flags uint8
		Name  string
	}
	// ConnectedRequest is one way.
	ConnectedRequest struct {
		Attempt uint64
		Local   netip.AddrPort // as the kernel names it
	}
	// EndpointRequest: both ends as the kernel names them.
	EndpointRequest struct{ Local, Peer netip.AddrPort }
	// SockErrorRequest: the local end as the kernel names it.
	SockErrorRequest struct{ Local netip.AddrPort }
	// BindRequest: the address that the program asked for, and the errno that the kernel gave; 0 before the kernel was asked.
	BindRequest struct {
		Errno     uint32
		Requested netip.AddrPort
	}
	// ListenRequest: the address that the program asked for, and the one that is bound.
	ListenRequest struct {
		V6Only            uint8
		Requested, Actual netip.AddrPort
	}
	// ExecRequest: Flags are ExecSearch and ExecAsk. Cwd may be empty when Path is absolute, PathVar without ExecSearch. DeveloperDir is the
	// variable DEVELOPER_DIR of macOS.
	ExecRequest struct {
		Flags                                   uint8
		Path, Cwd, Argv0, PathVar, DeveloperDir string
	}
	// ArgvRequest: Words is argv from its beginning. Cut is 1 when there are more than fit into a frame.
	ArgvRequest struct {
		Cut   uint8
		Words []string
	}
	// SuperviseRequest: Program is what the helper executes once it is under the filter, Cwd the pod's directory that it is in, or empty. Socket is the number of
	// the connection's descriptor, Scratch an address of readable memory: the broker tries with them whether it may look into the helper.
	SuperviseRequest struct {
		PPID, Socket uint32
		Scratch      uint64
		Program, Cwd string
	}
	// ListenerRequest: the number of the listener's descriptor, or the errno of installing the filter.
	ListenerRequest struct{ Descriptor, Errno uint32 }
	// DatagramRequest is one way: where it goes.
	DatagramRequest struct{ Addr netip.AddrPort }
)

// The replies, field by field as they are written after the status.
type (
	// StatReply is struct stat with times in nanoseconds since 1970. Neighbours, at most MaxNeighbours bytes, are entries of the same
	// directory, which may be believed for Life milliseconds: each a u16 length, the name, and the 13 numbers above of lstat.
	StatReply struct {
		Dev, Ino, Mode, Nlink, UID, GID, Rdev, Size, Blksize, Blocks uint64
		Atime, Mtime, Ctime                                          uint64
		Life                                                         uint32
		Neighbours                                                   string
	}
	// StatfsReply is struct statfs, with Linux's numbers in Type and Flags.
	StatfsReply struct {
		Type, Bsize, Frsize, Blocks, Bfree, Bavail, Files, Ffree, Fsid, Namelen, Flags uint64
	}
	// PathReply answers Readlink, Realpath, UnixPeer and Unix: connect to the socket of this machine at Path, which is a name as in the variable MIRRORD_BROKER.
	PathReply struct{ Path string }
	// LookupReply: Addrs carry port 0; Canonical may be empty.
	LookupReply struct {
		Canonical string
		Addrs     []netip.AddrPort // written as count u16, then the addresses
	}
	// NameReply answers Reverse.
	NameReply struct{ Name string }
	// ConnectReply: with StatusOK connect to Relay and report the local end for Attempt (0: nothing is to be reported); with StatusLocal connect to
	// Relay when it is valid (a listener of the session on another port), else to the address as asked.
	ConnectReply struct {
		Attempt uint64
		Relay   netip.AddrPort
	}
	// EndpointReply: the two ends as the pod sees them.
	EndpointReply struct{ Local, Peer netip.AddrPort }
	// SuperviseReply: Filter is struct sock_filter after struct sock_filter. With StatusLocal the program is executed as it is.
	SuperviseReply struct{ Filter string }
	// BindReply: the port to bind in place of the asked one; 0 is any. With StatusLocal the program's call stays as it is.
	BindReply struct{ Port uint16 }
	// ExecReply: Verdict is a sip.Kind. Path is empty when the file is executed that was asked about. Words stand in the place of the first Skip
	// words of argv (of all, if there are fewer). Edits are made to the environment after all else: "NAME=value" sets a variable, "NAME" removes it.
	ExecReply struct {
		Verdict, Flags uint8
		Path           string
		Skip           uint16
		Words, Edits   []string
	}
)

// ErrMalformed is wrapped by every decoding error.
var ErrMalformed = errors.New("malformed frame")

// Header precedes every payload.
type Header struct {
	Len   uint32 // bytes of payload that follow, at most MaxPayload
	Kind  Kind
	Flags uint16
	ID    uint64 // chosen by the asker, echoed
}

// ReadHeader reads and checks a header. It returns io.EOF when the stream ends before the first byte.
func ReadHeader(r io.Reader) (Header, error) {
	var raw [HeaderSize]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return Header{}, err
	}
	return ParseHeader(raw[:])
}

// ParseHeader checks the header in the first HeaderSize bytes of raw, which must hold as many.
func ParseHeader(raw []byte) (Header, error) {
	h := Header{
		Len:   binary.LittleEndian.Uint32(raw[0:]),
		Kind:  Kind(binary.LittleEndian.Uint16(raw[4:])),
		Flags: binary.LittleEndian.Uint16(raw[6:]),
		ID:    binary.LittleEndian.Uint64(raw[8:]),
	}
	if h.Len > MaxPayload {
		return Header{}, fmt.Errorf("%w: a payload of %d bytes (at most %d)", ErrMalformed, h.Len, MaxPayload)
	}
	return h, nil
}

// AppendHeader appends h in its wire form.
func AppendHeader(b []byte, h Header) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.Len)
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Kind))
	b = binary.LittleEndian.AppendUint16(b, h.Flags)
	return binary.LittleEndian.AppendUint64(b, h.ID)
}
