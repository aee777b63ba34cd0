package run

import (
	"maps"
	"sync"

	"mirrord/launcher/events"
)

// counts is how much of the pod the session used, for its end: these events may be too many to be shown, and may be dropped.
type counts struct {
	mu        sync.Mutex
	succeeded map[events.Type]int
}

// add counts an event of a frequent type that succeeded. It is safe for concurrent use.
func (c *counts) add(ev events.Event) {
	if !ev.Type.Frequent() || ev.Errno != "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.succeeded == nil {
		c.succeeded = map[events.Type]int{}
	}
	c.succeeded[ev.Type]++
}

func (c *counts) total() map[events.Type]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.succeeded)
}
