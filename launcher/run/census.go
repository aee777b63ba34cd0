package run

import (
	"path/filepath"
	"sync"

	"mirrord/launcher/events"
)

// census finds the processes of the session that run outside the pod's context without anybody having said so: they were started by a
// process that is itself outside, or by a call that the layer does not see.
type census struct {
	library  string                   // what an injected process has mapped
	injected func(pid int) bool       // has it said hello?
	original func(path string) string // of what program is this a copy? Of none: itself
	emit     func(events.Event)

	mu        sync.Mutex
	known     map[image]finding
	announced map[string]int // programs that are about to run outside, by their real path: that was reported when it was decided
}

// image is a process while it runs one program.
type image struct {
	process
	exe string
}

type finding uint8

const (
	suspect finding = iota + 1 // seen once without the layer: it may be about to load it
	settled                    // has the layer, or was reported
)

// newCensus gives one whose library and injected must be set before the first walk.
func newCensus(emit func(events.Event), original func(string) string) *census {
	return &census{emit: emit, original: original, known: map[image]finding{}, announced: map[string]int{}}
}

// take walks over the processes below this one and reports each that was without the layer twice (once if it is the last walk). It returns
// how many have the layer.
func (c *census) take(root int, last bool) (inside int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := map[image]finding{}
	for _, p := range descendants(root, nil) {
		im := image{process: p, exe: exeOf(p.pid)}
		if im.exe == "" {
			continue // it ended meanwhile
		}
		if c.hasLayer(p.pid) {
			inside++
			current[im] = settled
			continue
		}
		state := c.known[im]
		switch {
		case state == settled:
		case state == 0 && c.announced[im.exe] > 0:
			c.announced[im.exe]--
			state = settled
		case state == suspect || last:
			state = settled
			c.emit(events.Event{Type: events.ProcessOutside, PID: p.pid, PPID: p.ppid, Path: c.original(im.exe), Verdict: "outside", Reason: "the layer is not loaded in it"})
		default:
			state = suspect
		}
		current[im] = state
	}
	c.known = current
	return inside
}

// hasLayer looks at what is mapped: a process that said hello may run another program by now. Where that is hidden (a program of another
// user) the hello counts.
func (c *census) hasLayer(pid int) bool {
	if yes, known := loads(pid, c.library); known {
		return yes
	}
	return c.injected(pid)
}

// announce notes that a program was reported as outside before it runs.
func (c *census) announce(program string) {
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announced[program]++
}
