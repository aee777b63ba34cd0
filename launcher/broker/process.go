package broker

import (
	"net"
	"sync"

	"mirrord/launcher/events"
	"mirrord/layer/frame"
	"mirrord/sip"
)

// processes are those that said hello.
type processes struct {
	mu       sync.Mutex
	injected map[int]struct{}
}

// Injected reports whether a process with this id has said hello.
func (b *Broker) Injected(pid int) bool {
	b.processes.mu.Lock()
	defer b.processes.mu.Unlock()
	_, ok := b.processes.injected[pid]
	return ok
}

// hello notes a process and gives it the rules. The kernel knows its id better than itself, which may live in another pid namespace.
func (b *Broker) hello(from asker, m *frame.HelloRequest) answer {
	pid := int(m.PID)
	if who, ok := from(); ok {
		pid = who.pid
	}
	b.processes.mu.Lock()
	if b.processes.injected == nil {
		b.processes.injected = map[int]struct{}{}
	}
	b.processes.injected[pid] = struct{}{}
	b.processes.mu.Unlock()
	b.debuggers.forget(pid)
	b.Emit(events.Event{Type: events.ProcessInject, PID: pid, PPID: int(m.PPID), Path: m.Exe})
	return descriptor(b.page.fd, true)
}

// exec says how a program is to be executed. An exec that will fail by itself is left to do so.
func (b *Broker) exec(from asker, m *frame.ExecRequest) answer {
	r := sip.Request{Path: m.Path, Argv0: m.Argv0, Cwd: m.Cwd, PathVar: m.PathVar, Search: m.Flags&frame.ExecSearch != 0}
	who, ok := from()
	if ok {
		r.Caller = &sip.Creds{UID: who.uid, GID: who.gid}
	}
	v := b.Decide(r)
	e := events.Event{Type: events.ProcessExec, PID: who.pid, Path: v.Path, Verdict: v.Kind.String(), Reason: v.Reason}
	if v.Kind == sip.Fails {
		e.Path = m.Path
		if v.Err != nil {
			e.Reason = v.Err.Error()
		}
	}
	b.Emit(e)
	if v.Kind == sip.Outside {
		e.Type = events.ProcessOutside
		b.Emit(e)
	}
	reply := &frame.ExecReply{Verdict: uint8(v.Kind)}
	if v.Words == nil && v.Path != m.Path {
		reply.Path = v.Path
	}
	return result(reply)
}

// asker tells who makes a request, if the kernel does.
type asker func() (peer, bool)

// peer is who made a connection or sent a datagram, as the kernel saw it.
type peer struct{ pid, uid, gid int }

// peerOf reports false where the kernel does not tell the process.
func peerOf(c *net.UnixConn) (p peer, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, false
	}
	raw.Control(func(fd uintptr) { p, ok = peerCred(int(fd)) })
	return p, ok
}
