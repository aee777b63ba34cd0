package broker

import (
	"io"
	"net"
	"time"

	"mirrord/launcher/events"
)

// meter counts what passes a program's end of a connection. Each number is one goroutine's until the relay has ended.
type meter struct{ sent, received int64 }

// Saw counts what comes from the program; see links.Watched.
func (m *meter) Saw(p []byte, _ error) { m.sent += int64(len(p)) }

// wrote counts what went to the program.
func (m *meter) wrote(n int, err error) (int, error) {
	m.received += int64(n)
	return n, err
}

// tell adds what was counted, in the time since began, to an event.
func (m *meter) tell(e *events.Event, began time.Time) {
	e.Sent += m.sent
	e.Received += m.received
	e.Took = milliseconds(time.Since(began))
}

// counted is a program's end of a TCP connection.
type counted struct {
	*net.TCPConn
	meter
}

func (c *counted) Write(p []byte) (int, error) { return c.wrote(c.TCPConn.Write(p)) }

// tally counts what is read.
type tally struct {
	io.Reader
	n int64
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.n += int64(n)
	return n, err
}

// ending is the event of the end of a connection, by that of its beginning.
func ending(e events.Event) events.Event {
	switch e.Type {
	case events.Connect:
		e.Type = events.ConnectEnded
	case events.Incoming:
		e.Type = events.IncomingEnded
	}
	e.Time, e.Took = time.Time{}, 0
	return e
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
