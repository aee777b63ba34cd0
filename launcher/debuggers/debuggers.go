// Package debuggers finds the ports over which a program of a session and its debugger talk. Debugger, editor and program are on this machine, so these ports
// are not the pod's: a listener gets no connections from there, and a connection on loopback stays here. Which they are shows in a program's command
// line and environment, which are read when it first listens or connects on loopback: late, but a debugger is not in a hurry.
package debuggers

import (
	"slices"
	"sync"

	"mirrord/launcher/procs"
)

// Ports are those of all programs of a session so far: children talk to their parents' debugger. The zero value is ready for use.
type Ports struct {
	Read func(pid int) procs.Command // how a process was started; nil: procs.CommandOf

	mu     sync.Mutex
	ports  []ports
	looked map[int]bool // processes whose command line was read
}

// ports are a range.
type ports struct{ first, last uint16 }

// maxPorts bounds what one session remembers.
const maxPorts = 256

// Has says whether a debugger is meant by this port. The command line of the process that asks is read first, if that was not done yet, or anew; 0 is a process that is
// not known.
func (p *Ports) Has(pid int, port uint16, anew bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pid != 0 && (anew || !p.looked[pid]) {
		if p.looked == nil {
			p.looked = map[int]bool{}
		}
		p.looked[pid] = true
		read := p.Read
		if read == nil {
			read = procs.CommandOf
		}
		for _, r := range named(read(pid)) {
			if !slices.Contains(p.ports, r) && len(p.ports) < maxPorts {
				p.ports = append(p.ports, r)
			}
		}
	}
	return slices.ContainsFunc(p.ports, func(r ports) bool { return r.first <= port && port <= r.last })
}

// Forget is called when a process executes a program: it has another command line then.
func (p *Ports) Forget(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.looked, pid)
}
