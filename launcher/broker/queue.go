package broker

import (
	"sync"
	"time"
)

// A program that is slower than its port is busy gets what it can take: when so many stolen connections wait to be accepted, and one of them for so long, further ones
// are the pod's own program's. Few may wait for as long as they like, since the program may stand in a debugger, and many for a moment, since it may only begin.
const (
	queueLength = 64
	queueTime   = time.Second
)

// queue is the stolen connections that wait to be accepted.
type queue struct {
	mu    sync.Mutex
	since map[uint64]time.Time
	last  uint64
}

// enter adds a connection at the time now; false: there is no room for it. leave is to be called when it waits no more.
func (q *queue) enter(now time.Time) (leave func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.since) >= queueLength {
		for _, since := range q.since {
			if now.Sub(since) > queueTime {
				return nil, false
			}
		}
	}
	if q.since == nil {
		q.since = map[uint64]time.Time{}
	}
	q.last++
	id := q.last
	q.since[id] = now
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.since, id)
	}, true
}
