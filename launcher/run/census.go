package run

import (
	"path/filepath"
	"sync"
	"time"

	"mirrord/launcher/events"
	"mirrord/launcher/procs"
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
	hellos    map[int]uint64 // the generation of each process that said hello
	outside   bool           // there was one at the last walk
}

// image is a process while it runs one program.
type image struct {
	procs.Process
	exe string
}

// finding is what is known of a process without the layer: since when, and whether that was reported. The zero time is for one with the layer.
type finding struct {
	since    time.Time
	reported bool
}

// newCensus gives one whose library and injected must be set before the first walk.
func newCensus(emit func(events.Event), original func(string) string) *census {
	return &census{emit: emit, original: original, known: map[image]finding{}, announced: map[string]int{}, hellos: map[int]uint64{}}
}

// interval is how long to wait for the next walk: processes that one outside starts are not announced by anybody, and may be short.
func (c *census) interval() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outside {
		return censusInterval / 4
	}
	return censusInterval
}

// take walks over the processes below this one and reports each that was without the layer for some time (at once if it is the last walk): it
// may be about to load it. It returns how many have the layer.
func (c *census) take(root int, last bool) (inside int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	current := map[image]finding{}
	without := map[int]string{} // the programs of processes without the layer
	for _, p := range procs.Descendants(root, nil) {
		im := image{Process: p, exe: procs.Exe(p.PID)}
		if im.exe == "" {
			continue // it ended meanwhile
		}
		if c.hasLayer(p.PID) {
			inside++
			continue
		}
		without[p.PID] = im.exe
		f, seen := c.known[im]
		if !seen {
			f = finding{since: now, reported: c.announced[im.exe] > 0}
			if f.reported {
				c.announced[im.exe]--
			}
		}
		if !f.reported && (last || now.Sub(f.since) >= censusInterval/5) {
			f.reported = true
			reason := "the layer is not loaded in it"
			if parent := without[p.PPID]; parent != "" {
				reason = "outside, below " + filepath.Base(parent)
			}
			c.emit(events.Event{Type: events.ProcessOutside, PID: p.PID, PPID: p.PPID, Path: c.original(im.exe), Verdict: "outside", Reason: reason})
		}
		current[im] = f
	}
	c.known, c.outside = current, len(without) > 0
	return inside
}

// hasLayer says whether a process is inside: with the layer, or supervised. It looks at what is mapped: a process that said hello may run another program by now. Where that is hidden (a program of another
// user, macOS) the hello counts, if it was of the same program.
func (c *census) hasLayer(pid int) bool {
	if yes, known := procs.Loads(pid, c.library); known {
		return yes || supervised(pid)
	}
	generation, heard := c.hellos[pid]
	return c.injected(pid) && (!heard || generation == procs.Generation(pid))
}

// heard notes that a process said hello.
func (c *census) heard(pid int) {
	if generation := procs.Generation(pid); generation != 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hellos[pid] = generation
	}
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
