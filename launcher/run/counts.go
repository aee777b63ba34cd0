package run

import (
	"maps"
	"sync"

	"mirrord/agent/wire"
	"mirrord/launcher/events"
)

// counts is how much of the pod the session used, for its end: these events may be too many to be shown, and may be dropped.
type counts struct {
	mu                sync.Mutex
	succeeded, failed map[events.Type]int
}

// add counts an event of a frequent type, of a connection its beginning. It is safe for concurrent use. That a name has no address of one kind is neither success nor failure:
// programs ask for both kinds.
func (c *counts) add(ev events.Event) {
	if !ev.Type.Frequent() || ev.Errno == wire.ErrnoNoData || ev.Type == events.ConnectEnded || ev.Type == events.IncomingEnded {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	to := &c.succeeded
	if ev.Errno != "" {
		to = &c.failed
	}
	if *to == nil {
		*to = map[events.Type]int{}
	}
	(*to)[ev.Type]++
}

// put adds the counts to the session's last event.
func (c *counts) put(ev *events.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev.Succeeded, ev.Failed = maps.Clone(c.succeeded), maps.Clone(c.failed)
}
