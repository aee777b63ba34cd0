package main

import (
	"context"
	"io"
	"net"
	"time"

	"mirrord/agent/startup"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
	// farewell is how long a report of a failure is repeated.
	farewell = 2 * time.Second
)

// announce repeats a report until ctx ends: a launcher that listens to the output hears what is written from then on only, and it does not wait for the log.
func announce(ctx context.Context, w io.Writer, report startup.Report) {
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if startup.WriteReport(w, report) != nil {
			return
		}
	}
}

// greeter is a listener that tells of its first connection.
type greeter struct {
	net.Listener
	greet func() // may be called more than once
}

func (g greeter) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err == nil {
		g.greet()
	}
	return conn, err
}
