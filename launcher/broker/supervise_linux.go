//go:build linux && (amd64 || arm64)

package broker

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mirrord/launcher/events"
	"mirrord/launcher/peer"
	"mirrord/launcher/procs"
	tables "mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/launcher/supervise"
	"mirrord/layer/frame"
	"mirrord/sip"
)

// supervise takes a program under supervision, which its helper asks for: the filter is sent, the helper installs it and says the listener's number, and the
// broker takes that over. A program that cannot be supervised is executed as it is, and reported.
func (b *Broker) supervise(from asker, m *frame.SuperviseRequest) answer {
	who, ok := from.peer()
	if !ok || from.source == nil {
		return local
	}
	process, err := b.reach(who.PID, m)
	if err != nil {
		b.unsupervised(who.PID, m, "the system does not let it be looked into: "+err.Error())
		return local
	}
	defer unix.Close(process)
	filter, err := supervise.Filter(tables.File(b.page.mem))
	if err != nil {
		b.unsupervised(who.PID, m, err.Error())
		return local
	}
	if from.reply(result(&frame.SuperviseReply{Filter: string(filter)})) != nil {
		return local
	}
	h, fields, err := from.source.next()
	var installed frame.ListenerRequest
	if err != nil || h.Kind != frame.Listener || frame.Decode(fields, &installed) != nil {
		return local
	}
	if installed.Errno != 0 {
		b.unsupervised(who.PID, m, "the system does not let its calls be answered: "+unix.Errno(installed.Errno).Error())
		return local
	}
	fd, err := unix.PidfdGetfd(process, int(installed.Descriptor), 0)
	if err != nil {
		b.unsupervised(who.PID, m, err.Error())
		return failure(unix.EPERM) // it cannot go on under a filter that nobody serves
	}
	b.note(who.PID)
	b.Emit(events.Event{Type: events.ProcessInject, PID: who.PID, PPID: int(m.PPID), Path: m.Program, Verdict: sip.Supervise.String()})
	tree := supervise.New(&pod{b}, who.PID, m.Cwd)
	b.trees.Add(1)
	go func() { // as long as the tree lives: after Close its questions are answered with errors
		defer b.trees.Add(-1)
		if err := seccomp.Adopt(fd).Serve(tree); err != nil {
			b.warn(fmt.Sprintf("the calls of %s are not answered any more: %v", m.Program, err), "")
		}
	}()
	return status(frame.StatusOK)
}

// reach opens the helper's process, and tries all that supervising it takes.
func (b *Broker) reach(pid int, m *frame.SuperviseRequest) (process int, err error) {
	if process, err = unix.PidfdOpen(pid, 0); err != nil {
		return -1, err
	}
	fd, err := unix.PidfdGetfd(process, int(m.Socket), 0)
	if err == nil {
		unix.Close(fd)
		err = seccomp.Readable(pid, m.Scratch)
	}
	if err != nil {
		unix.Close(process)
		return -1, err
	}
	return process, nil
}

// unsupervised reports a program that runs outside although it was to be supervised.
func (b *Broker) unsupervised(pid int, m *frame.SuperviseRequest, why string) {
	b.Emit(events.Event{Type: events.ProcessOutside, PID: pid, PPID: int(m.PPID), Path: m.Program, Verdict: sip.Outside.String(), Reason: why})
}

// pod answers the calls of supervised programs.
type pod struct{ b *Broker }

func (p *pod) Rules() tables.File { return tables.File(p.b.page.mem) }
func (p *pod) Opened() bool       { return p.b.opened.Load() }

// Answer is dispatch without frames.
func (p *pod) Answer(tid int, kind frame.Kind, m frame.Message) supervise.Reply {
	a := p.b.respond(asker{peer: func() (peer.Peer, bool) {
		if kind == frame.Unix { // by this process the program's socket is connected
			return peer.Peer{PID: os.Getpid()}, true
		}
		process, err := seccomp.Process(tid)
		return peer.Peer{PID: process}, err == nil
	}}, kind, m)
	fd := a.fd
	if fd >= 0 && a.keep {
		fd, _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	return supervise.Reply{Status: a.status, Fields: a.fields, FD: fd}
}

// Executes tells of an exec in a supervised tree.
func (p *pod) Executes(pid int, path, cwd string) {
	v := p.b.Decide(sip.Request{Path: path, Cwd: cwd, Argv0: path, AsIs: true, Supervised: true})
	p.b.tellExec(pid, path, v)
	if v.Kind == sip.Supervise && v.Reason != "" {
		p.b.warn(v.Program+": "+v.Reason, "start it from outside the session")
	}
}

func (p *pod) Blind(pid int, why error) {
	p.b.Emit(events.Event{Type: events.ProcessOutside, PID: pid, Path: procs.CommandOf(pid).Exe, Verdict: sip.Outside.String(),
		Reason: "the system does not let it be looked into: " + why.Error()})
}
