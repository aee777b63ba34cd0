package broker

import (
	"sync"
	"time"
)

// A program that is slower than its port is busy gets what it can take: a stolen connection that would wait too long, at the pace at which the program has accepted others
// lately, is the pod's own program's. Few may wait for as long as they like, since the program may stand in a debugger, and many for a moment, since it may only begin.
const (
	queueLength = 64
	queueTime   = 3 * time.Second
	paceTime    = 2 * time.Second // what "lately" and "a moment" are
)

// queue is the stolen connections that wait to be accepted.
type queue struct {
	mu      sync.Mutex
	waiting int
	busy    time.Time   // since when somebody waits
	left    []time.Time // when connections have left, the oldest first and none older than paceTime
}

// enter adds a connection at the time now; false: there is no room for it. leave is to be called, with the time, when it waits no more.
func (q *queue) enter(now time.Time) (leave func(now time.Time), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == 0 {
		q.busy = now
	}
	q.forget(now)
	if q.waiting >= queueLength && now.Sub(q.busy) > paceTime && time.Duration(q.waiting)*paceTime > time.Duration(len(q.left))*queueTime {
		return nil, false
	}
	q.waiting++
	return func(now time.Time) {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.waiting--
		q.left = append(q.left, now)
		q.forget(now)
	}, true
}

func (q *queue) forget(now time.Time) {
	for len(q.left) > 0 && now.Sub(q.left[0]) > paceTime {
		q.left = q.left[1:]
	}
}
