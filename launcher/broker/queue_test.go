package broker

import (
	"testing"
	"time"
)

func TestQueue(t *testing.T) {
	var q queue
	now := time.Now()
	var leave []func(time.Time)
	enter := func(n int, want bool) {
		t.Helper()
		for i := range n {
			l, ok := q.enter(now)
			if ok != want {
				t.Fatalf("connection %d: %v", i, ok)
			}
			if ok {
				leave = append(leave, l)
			}
		}
	}
	accept := func(n int) {
		for _, l := range leave[:n] {
			l(now)
		}
		leave = leave[n:]
	}
	enter(1, true)
	now = now.Add(time.Minute)
	enter(queueLength-1, true) // few wait as long as they like
	enter(1, false)
	accept(queueLength)

	now = now.Add(time.Minute)
	enter(10*queueLength, true) // many for a moment
	now = now.Add(paceTime)
	enter(10*queueLength, true)
	now = now.Add(time.Millisecond)
	enter(1, false) // nothing was accepted
	accept(10 * queueLength)
	enter(5*queueLength+1, true) // at this pace the last of them waits for three seconds
	enter(1, false)
	now = now.Add(paceTime + 1)
	enter(1, false) // it stands still
	accept(len(leave))
	enter(100*queueLength, true)
}
