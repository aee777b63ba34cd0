package serve

import (
	"net"
	"os"
	"sync"
	"time"
)

// inFlight bounds what is under way in one direction of a delayed connection, in bytes; a writer waits beyond it. At 20 ms it allows 26 Gbit/s.
const inFlight = 64 << 20

// delayed is a connection whose writes arrive later: in order, and as fast one after the other as they were written.
type delayed struct {
	net.Conn
	by time.Duration

	mu      sync.Mutex
	changed sync.Cond // queue, bytes, err
	queue   []packet
	bytes   int   // in queue
	err     error // of the connection, or os.ErrClosed; sticky
	closing chan struct{}
	sender  sync.WaitGroup
}

type packet struct {
	due time.Time
	p   []byte
}

// Delay returns conn, which it owns from now on, with every write delayed. What is still under way when it is closed is lost, as with a link that
// breaks.
func Delay(conn net.Conn, by time.Duration) net.Conn {
	d := &delayed{Conn: conn, by: by, closing: make(chan struct{})}
	d.changed.L = &d.mu
	d.sender.Go(d.send)
	return d
}

func (d *delayed) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.err == nil && d.bytes > 0 && d.bytes+len(p) > inFlight {
		d.changed.Wait()
	}
	if d.err != nil {
		return 0, d.err
	}
	d.queue = append(d.queue, packet{time.Now().Add(d.by), append([]byte(nil), p...)})
	d.bytes += len(p)
	d.changed.Broadcast()
	return len(p), nil
}

func (d *delayed) send() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		d.mu.Lock()
		for d.err == nil && len(d.queue) == 0 {
			d.changed.Wait()
		}
		if d.err != nil {
			d.mu.Unlock()
			return
		}
		next := d.queue[0]
		d.mu.Unlock()

		timer.Reset(time.Until(next.due))
		select {
		case <-timer.C:
		case <-d.closing:
			return
		}
		_, err := d.Conn.Write(next.p)

		d.mu.Lock()
		d.queue[0] = packet{}
		d.queue = d.queue[1:]
		d.bytes -= len(next.p)
		if err != nil && d.err == nil {
			d.err = err
		}
		d.changed.Broadcast()
		d.mu.Unlock()
	}
}

// Close ends the connection and returns when nothing is sent any more.
func (d *delayed) Close() error {
	d.mu.Lock()
	if d.err != os.ErrClosed {
		d.err = os.ErrClosed
		close(d.closing)
	}
	d.changed.Broadcast()
	d.mu.Unlock()
	err := d.Conn.Close()
	d.sender.Wait()
	return err
}
