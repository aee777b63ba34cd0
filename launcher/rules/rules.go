// Package rules compiles which paths are the pod's into one file of tables. The broker publishes the file, the layer maps it in every
// process of the session, and each path is decided there by walking the tables, without a system call.
//
// The file, little-endian:
//
//	   0  magic "MIRRORD\x01"; 8 size u32; 12 flags u32
//	  16  relay_net u32, relay_mask u32: IPv4 as host-order integers
//	  24  live_dirs u32, live_ports_n u32
//	  32  actions u8[16][2]: per class what a read and a write do
//	  64  offsets of the automata u32[8], the first 0 ends them
//	  96  live_local u32: counts the paths of the pod that were written to and became this machine's
//	 100  offsets of the automata for Unix sockets u32[4], the first 0 ends them
//	 116  u8[8]: per class what becomes of writing where a write asks the broker (Writes)
//	 124  live_changed u32: counts the changes of the pod's files by this session
//	 128  hostname char[256], NUL-terminated
//	 512  live_ports[256] {actual u16, requested u16}
//	4096  the automata, each 8-aligned: states u32, classes u32, class u8[256] (of each byte), accept u32[states], next u16[states*classes]
//
// A path, absolute and normalised, goes through every automaton from state 0. The accept words of the final states and bit 7, together,
// are the classes of the path, and its lowest class decides. A Unix socket is the pod's when one of the automata for them accepts its path, or "@" and its
// abstract name; what cannot stand there as it is (zeros) is "@" too. The live fields belong to the broker, which changes them during the session.
package rules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// Offsets in bytes of the fields that the broker writes during a session, and their bounds.
const (
	PageSize       = 4096 // of the fields before the automata
	RelayNet       = 16   // u32 network, u32 mask
	LiveDirs       = 24   // u32: directories of the pod opened so far
	LivePortsCount = 28   // u32: entries of LivePorts in use
	LivePorts      = 512  // {actual u16, requested u16} each
	MaxLivePorts   = 256
	MaxHostname    = 255 // bytes
)

const (
	magic          = "MIRRORD\x01"
	offSize        = 8
	offFlags       = 12
	offActions     = 32
	offAutomata    = 64
	maxAutomata    = 8
	offStreams     = 100
	maxStreams     = 4
	offWrites      = 116
	offHostname    = 128
	liveLocal      = 96
	automatonFixed = 8 + 256 // bytes of an automaton before accept
)

// Flags is the flags word.
type Flags uint32

// Bits of the flags word.
const (
	Files           Flags = 1 << iota // some files are remote
	Names                             // names are resolved by the pod
	Outgoing                          // TCP connections are made by the pod
	Incoming                          // listening sockets get the pod's connections
	Hostname                          // the hostname field holds the pod's
	IgnoreLocalhost                   // connections to loopback stay on this machine
	AskBind                           // the broker is asked before a port is bound
	UDP                               // connected UDP sockets are the pod's
	NoIPv6                            // there is no IPv6
	Relative                          // the user's patterns may reach below folders of this machine: relative paths are looked at there too
	Unix                              // some Unix sockets are the pod's
)

// class is why a path is whose it is. Lower ones win.
type class uint

const (
	userNotFound class = iota
	userReadWrite
	userReadOnly
	userLocal
	defaultNotFound
	defaultRemote
	defaultLocal
	modeDefault // every path is in it
)

// Action is what happens to a path.
type Action uint8

// The actions. Numbers are part of the file.
const (
	Local    Action = 0 // the original call
	Remote   Action = 1 // the broker is asked
	NotFound Action = 2 // ENOENT
)

func (a Action) String() string {
	if a > NotFound {
		return fmt.Sprintf("action %d", uint8(a))
	}
	return [...]string{"local", "remote", "not found"}[a]
}

// Writes is what becomes of writing to a path of the pod.
type Writes uint8

// The values. Numbers are part of the file.
const (
	ReadOnly Writes = 0 // the pod's file stays as it is; what is new is this machine's
	Through  Writes = 1 // it happens in the pod
	Over     Writes = 2 // it happens on this machine, and lies over the pod's
)

// File is a rules file, as Compile made it or Parse accepted it.
type File []byte

// ErrMalformed is wrapped by the errors of Parse.
var ErrMalformed = errors.New("malformed rules file")

// Parse checks that b is a rules file that can be walked without leaving it.
func Parse(b []byte) (File, error) {
	if len(b) < PageSize || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: no magic", ErrMalformed)
	}
	if size := binary.LittleEndian.Uint32(b[offSize:]); uint64(size) != uint64(len(b)) {
		return nil, fmt.Errorf("%w: %d bytes say that they are %d", ErrMalformed, len(b), size)
	}
	for _, a := range b[offActions : offActions+32] {
		if Action(a) > NotFound {
			return nil, fmt.Errorf("%w: unknown %v", ErrMalformed, Action(a))
		}
	}
	for _, w := range b[offWrites : offWrites+8] {
		if Writes(w) > Over {
			return nil, fmt.Errorf("%w: unknown way of writing %d", ErrMalformed, w)
		}
	}
	for _, list := range []struct{ at, max int }{{offAutomata, maxAutomata}, {offStreams, maxStreams}} {
		for i := range list.max {
			offset := binary.LittleEndian.Uint32(b[list.at+4*i:])
			if offset == 0 {
				break
			}
			if err := checkAutomaton(b, uint64(offset)); err != nil {
				return nil, fmt.Errorf("%w: automaton %d at %d: %s", ErrMalformed, i, list.at, err)
			}
		}
	}
	return File(b), nil
}

func checkAutomaton(b []byte, offset uint64) error {
	if offset%8 != 0 || offset < PageSize || offset+automatonFixed > uint64(len(b)) {
		return fmt.Errorf("offset %d", offset)
	}
	b = b[offset:]
	states, classes := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	if states == 0 || states > maxStates || classes == 0 || classes > 256 || automatonFixed+4*states+2*states*classes > uint64(len(b)) {
		return fmt.Errorf("%d states, %d classes", states, classes)
	}
	for _, c := range b[8:automatonFixed] {
		if uint64(c) >= classes {
			return fmt.Errorf("a byte in class %d of %d", c, classes)
		}
	}
	next := b[automatonFixed+4*states:][:2*states*classes]
	for i := 0; i < len(next); i += 2 {
		if s := binary.LittleEndian.Uint16(next[i:]); uint64(s) >= states {
			return fmt.Errorf("a step to state %d of %d", s, states)
		}
	}
	return nil
}

// Has reports whether any of the flags is set.
func (f File) Has(any Flags) bool { return Flags(binary.LittleEndian.Uint32(f[offFlags:]))&any != 0 }

// Hostname is the pod's host name; it counts only with the flag.
func (f File) Hostname() string {
	name, _, _ := bytes.Cut(f[offHostname:offHostname+MaxHostname+1], []byte{0})
	return string(name)
}

// Relays reports whether an IPv4 address is one of the broker's relay sockets.
func (f File) Relays(ip [4]byte) bool {
	mask := f.live(RelayNet + 4)
	return mask != 0 && binary.BigEndian.Uint32(ip[:])&mask == f.live(RelayNet)
}

// Directories reports whether a directory of the pod was opened so far.
func (f File) Directories() bool { return f.live(LiveDirs) != 0 }

// Written counts the paths of the pod that were written to, and are this machine's now.
func (f File) Written() uint32 { return f.live(liveLocal) }

// Requested is the port that a program of the session asked for and was given actual in its place; 0 if there is none.
func (f File) Requested(actual uint16) uint16 {
	for i := range min(f.live(LivePortsCount), MaxLivePorts) {
		if w := f.live(LivePorts + 4*int(i)); w != 0 && uint16(w) == actual {
			return uint16(w >> 16)
		}
	}
	return 0
}

// live reads a word that the broker may be writing. Every machine that we run on is little-endian.
func (f File) live(offset int) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&f[offset])))
}

// Classify says what happens to a path, absolute and normalised, as the layer does.
func (f File) Classify(path string, write bool) Action {
	if !f.Has(Files) {
		return Local
	}
	at := offActions + 2*f.class(path)
	if write {
		at++
	}
	return Action(f[at])
}

// class is the lowest class that a path is in.
func (f File) class(path string) int {
	mask := uint32(1)<<modeDefault | f.accepted(offAutomata, maxAutomata, path)
	return bits.TrailingZeros32(mask) % 8
}

// Writable reports whether anything may be written to the pod, or lie over it.
func (f File) Writable() bool {
	return f.Has(Files) && bytes.ContainsFunc(f[offWrites:offWrites+8], func(r rune) bool { return r != 0 })
}

// Overlays reports whether what is written to some path lies over the pod's.
func (f File) Overlays() bool {
	return f.Has(Files) && bytes.IndexByte(f[offWrites:offWrites+8], byte(Over)) >= 0
}

// Writes says what becomes of writing to a path of the pod, absolute and normalised. Of any other path it says nothing.
func (f File) Writes(path string) Writes { return Writes(f[offWrites+f.class(path)]) }

// Stream says whether a Unix socket is the pod's, by its path, absolute and normalised, or "@" and its abstract name, as the layer does.
func (f File) Stream(name string) bool {
	return f.Has(Unix) && f.accepted(offStreams, maxStreams, name) != 0
}

// accepted joins the accept words of the automata in a list.
func (f File) accepted(list, most int, path string) (mask uint32) {
	for i := range most {
		offset := binary.LittleEndian.Uint32(f[list+4*i:])
		if offset == 0 {
			break
		}
		mask |= walk(f[offset:], path)
	}
	return mask
}

// walk returns the accept word of the state that path leads to.
func walk(b []byte, path string) uint32 {
	states, classes := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	accept := b[automatonFixed:]
	next := accept[4*states:]
	state := uint32(0)
	for i := range len(path) {
		state = uint32(binary.LittleEndian.Uint16(next[2*(state*classes+uint32(b[8+int(path[i])])):]))
	}
	return binary.LittleEndian.Uint32(accept[4*state:])
}
