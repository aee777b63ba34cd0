//go:build linux && (amd64 || arm64)

// Package supervise is what the layer is, for programs that no library can be loaded into or that make their own system calls: it decides about each of their
// calls what the layer decides about a function's, and asks the same questions. What the kernel can do by itself it is left to do.
//
// A tree is a program with all that it starts. Of the calls that ask something of the pod each waits in a goroutine of its own; the rest is answered at once, on
// the thread that takes them. What is decided to be this machine's goes on in the kernel, which reads paths and addresses anew: a program that changes them
// meanwhile gets something else of this machine's, never of the pod's.
package supervise

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// Pod is whom the calls' questions go to: the broker. Its methods are called from many goroutines.
type Pod interface {
	// Rules are those of the layer, live.
	Rules() rules.File
	// Opened reports whether the session has handed out a file or directory of the pod: only then a descriptor may hold one.
	Opened() bool
	// Answer answers a request of the layer for a thread. It may take as long as the pod does.
	Answer(tid int, kind frame.Kind, m frame.Message) Reply
	// Executes is told what a process of the tree is about to execute; cwd is where a relative path starts. The caller does not wait.
	Executes(pid int, path, cwd string)
	// Blind is told of a process whose memory may not be looked at: it runs outside.
	Blind(pid int, why error)
}

// Reply is the answer to a request, as frames define it.
type Reply struct {
	Status int32
	Fields frame.Message // nil for a status without
	FD     int           // a descriptor, or -1; owned by who asked
}

// Tree is a program and all that it starts.
type Tree struct {
	pod     Pod
	rules   rules.File
	folders folders
	files   bool // some files are the pod's

	helper   atomic.Int64 // the process whose next exec is the helper's, which everybody knows of
	openRoot atomic.Bool  // a process has opened "/", so what is relative to a descriptor may be the pod's
	inRoot   atomic.Bool  // "/" may be a process's working directory, so what is relative to that may be the pod's
	chrooted atomic.Bool  // a process may have a root of its own
	locked   atomic.Bool  // a file of the pod
	relayed  atomic.Bool  // a UDP socket was connected to the broker
	asked    atomic.Bool  // a socket that is not connected has asked a name server

	accepting sync.Mutex // of who looks whether a connection waits, and takes it
	mu        sync.Mutex
	given     map[uint16]netip.AddrPort         // by the port that a socket is bound to: the address that the program asked for
	reported  map[netip.AddrPort]struct{}       // destinations of datagrams that leave from this machine
	senders   map[netip.AddrPort]netip.AddrPort // by the broker's address: whom the program takes it for
	blind     map[int]bool
}

// New gives a tree whose first process is pid, in a directory of the pod or, with an empty cwd, in one of this machine.
func New(pod Pod, pid int, cwd string) *Tree {
	t := &Tree{pod: pod, rules: pod.Rules(), given: map[uint16]netip.AddrPort{}, reported: map[netip.AddrPort]struct{}{},
		senders: map[netip.AddrPort]netip.AddrPort{}, blind: map[int]bool{}}
	t.files = t.rules.Has(rules.Files)
	t.helper.Store(int64(pid))
	t.inRoot.Store(isRoot(fmt.Sprintf("/proc/%d/cwd", pid)))
	if cwd != "" {
		t.folders.enter(pid, cwd)
	}
	return t
}

// Handle answers a call, now or later.
func (t *Tree) Handle(c *seccomp.Call) {
	if h := table[c.Number].handle; h != nil {
		h(t, c)
		return
	}
	c.Continue()
}

// ask is a question for the calling process.
func (t *Tree) ask(c *seccomp.Call, kind frame.Kind, m frame.Message) Reply {
	return t.pod.Answer(c.TID, kind, m)
}

// unreadable is how a call ends whose arguments cannot be read. A wrong address is for the kernel to refuse.
func (t *Tree) unreadable(c *seccomp.Call, err error) {
	switch err {
	case unix.EPERM, unix.EACCES:
		if pid, gone := seccomp.Process(c.TID); gone == nil {
			t.mu.Lock()
			told := t.blind[pid]
			t.blind[pid] = true
			t.mu.Unlock()
			if !told {
				t.pod.Blind(pid, err)
			}
		}
	case unix.ENAMETOOLONG:
		c.Fail(unix.ENAMETOOLONG)
		return
	}
	c.Continue()
}

// finish gives a call what a write into its memory has come to.
func finish(c *seccomp.Call, value int, err error) {
	switch e, ok := err.(unix.Errno); {
	case err == nil:
		c.Return(value)
	case ok:
		c.Fail(e)
	default: // nobody waits
		c.Fail(unix.EIO)
	}
}

// errnoOf is the errno that a system call of ours gave.
func errnoOf(err error) unix.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}

// errno is the one of a reply with a status above 0.
func errno(r Reply) unix.Errno { return unix.Errno(r.Status) }
