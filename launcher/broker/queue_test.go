package broker

import (
	"testing"
	"time"
)

func TestQueue(t *testing.T) {
	var q queue
	now := time.Now()
	enter := func(after time.Duration, want bool) func() {
		t.Helper()
		leave, ok := q.enter(now.Add(after))
		if ok != want {
			t.Fatalf("after %v: %v", after, ok)
		}
		return leave
	}
	first := enter(0, true)
	for range queueLength - 2 {
		enter(time.Minute, true) // few wait as long as they like
	}
	enter(time.Minute, true)
	enter(time.Minute, false) // the first has waited too long for many
	first()
	enter(time.Minute, true)
	for range 10 * queueLength {
		enter(time.Minute+queueTime, true) // many at once
	}
	enter(time.Minute+queueTime+1, false)
}
