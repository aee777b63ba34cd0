package main

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"mirrord/agent/serve"
)

// relay carries bytes between a connection and another that it makes, which seems so far away. It is the distance of everything here that is not a
// pod: with the pod's own code, because a kernel need not have one (sch_netem).
func relay(near net.Conn, to string, roundTrip time.Duration) {
	far, err := net.Dial("tcp4", to)
	if err != nil {
		near.Close()
		return
	}
	time.Sleep(roundTrip) // of the handshake, which the caller has had for nothing
	a, b := serve.Pair(roundTrip / 2)
	var all sync.WaitGroup
	carry := func(dst, src net.Conn) {
		io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 256<<10))
		dst.Close()
	}
	all.Go(func() { carry(a, near) })
	all.Go(func() { carry(far, b) })
	all.Go(func() { carry(b, far) })
	all.Go(func() { carry(near, a) })
	all.Wait()
}

// startRelay listens for connections to another address that seems so far away, until it is closed.
func startRelay(to string, roundTrip time.Duration) (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go each(l, func(c net.Conn) { relay(c, to, roundTrip) })
	return l, nil
}

// serveBulk sends as many bytes as it is told to, or takes them and says so by a byte. The client closes first.
func serveBulk(c net.Conn) {
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return
	}
	piece, left := make([]byte, 256<<10), binary.LittleEndian.Uint64(head[1:])
	for left > 0 {
		p := piece[:min(left, uint64(len(piece)))]
		var n int
		var err error
		if head[0] == 'd' {
			n, err = c.Write(p)
		} else {
			n, err = c.Read(p)
		}
		if err != nil {
			return
		}
		left -= uint64(n)
	}
	if head[0] == 'u' {
		c.Write([]byte{'x'})
	}
	io.Copy(io.Discard, c)
}
