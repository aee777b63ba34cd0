package events

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxQueued is how many events wait for a slow reader before frequent ones are dropped.
const maxQueued = 8192

// Emitter writes events to one reader, a JSON object per line, in order. Emit never waits for the reader: a terminal that stands still, or a
// front end that was stopped, must not stop the user's program. When too many wait, the frequent types are dropped and a warning says how many.
type Emitter struct {
	w    io.Writer
	done chan struct{}

	mu      sync.Mutex
	wake    *sync.Cond
	queue   []Event
	lost    int
	closed  bool
	writing bool       // events that were taken off the queue are on their way
	idle    *sync.Cond // nothing is queued or on its way
}

// NewEmitter starts an emitter for w, which it does not close. Close must be called.
func NewEmitter(w io.Writer) *Emitter {
	e := &Emitter{w: w, done: make(chan struct{})}
	e.wake, e.idle = sync.NewCond(&e.mu), sync.NewCond(&e.mu)
	go e.write()
	return e
}

// Emit queues ev and gives it a time if it has none. After Close it does nothing. It is safe for concurrent use.
func (e *Emitter) Emit(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if len(e.queue) >= maxQueued && ev.Type.Frequent() {
		e.lost++
		return
	}
	if len(e.queue) < maxQueued {
		e.confess()
	}
	e.queue = append(e.queue, ev)
	e.wake.Signal()
}

// confess queues a warning about dropped events. e.mu is held.
func (e *Emitter) confess() {
	if e.lost == 0 {
		return
	}
	e.queue = append(e.queue, Event{Time: time.Now(), Type: Warning, Message: fmt.Sprintf("%d events were lost: the reader was too slow", e.lost), Lost: e.lost})
	e.lost = 0
}

// Flush waits until what was emitted before it is written, for at most patience.
func (e *Emitter) Flush(patience time.Duration) {
	over := false
	t := time.AfterFunc(patience, func() {
		e.mu.Lock()
		over = true
		e.mu.Unlock()
		e.idle.Broadcast()
	})
	defer t.Stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for !over && (len(e.queue) > 0 || e.writing) {
		e.idle.Wait()
	}
}

// Close writes out what waits, for at most patience (0: as long as it takes), and ends the emitter.
func (e *Emitter) Close(patience time.Duration) {
	e.mu.Lock()
	e.closed = true
	e.confess()
	e.wake.Signal()
	e.mu.Unlock()
	if patience == 0 {
		<-e.done
		return
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-e.done:
	case <-t.C:
	}
}

func (e *Emitter) write() {
	defer close(e.done)
	var failed bool
	for {
		e.mu.Lock()
		e.writing = false
		for len(e.queue) == 0 && !e.closed {
			e.idle.Broadcast()
			e.wake.Wait()
		}
		batch := e.queue
		e.queue, e.writing = nil, len(batch) > 0
		e.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, ev := range batch {
			if failed {
				break // the reader is gone for good; go on emptying the queue
			}
			line, err := json.Marshal(ev)
			if err != nil {
				continue // only possible for a time beyond year 9999
			}
			_, err = e.w.Write(append(line, '\n'))
			failed = err != nil
		}
	}
}
