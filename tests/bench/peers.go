package main

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// httpBody is the body of the answers of peers.http.
var httpBody = strings.Repeat("x", 64)

// peers are the local services that the benchmarks connect to.
type peers struct {
	server net.Listener // writes a byte and closes
	client net.Listener // echoes until the client has closed
	http   net.Listener
	bulk   net.Listener // sends or takes as many bytes as it is told to
	far    net.Listener // leads to bulk, which seems as far away as distance
}

func startPeers() (*peers, error) {
	p := &peers{}
	for _, l := range []*net.Listener{&p.server, &p.client, &p.http, &p.bulk, &p.far} {
		var err error
		if *l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			p.Close()
			return nil, err
		}
	}
	go each(p.server, func(c net.Conn) { c.Write([]byte{'x'}) })
	go each(p.client, func(c net.Conn) { io.Copy(c, c) })
	go each(p.bulk, serveBulk)
	go each(p.far, func(c net.Conn) { relay(c, p.bulk.Addr().String(), distance) })
	go http.Serve(p.http, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, httpBody) }))
	return p, nil
}

// each serves a listener's connections until it is closed.
func each(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

func (p *peers) Close() {
	for _, l := range []net.Listener{p.server, p.client, p.http, p.bulk, p.far} {
		if l != nil {
			l.Close()
		}
	}
}

// remote is a file server that works as one round trip per call would: a client that reads a file waits for the answer to each stat, open, read and
// close. It is the comparison for the benchmark of remote files.
type remote struct {
	conn  net.Conn
	buf   []byte
	trips int // round trips so far
}

// The calls. A request is the call and the number of bytes asked for; an answer is a length and as many bytes.
const (
	callStat = iota
	callOpen
	callRead
	callClose
)

// newRemote serves path at a distance of one round trip per call.
func newRemote(path string, roundTrip time.Duration) (*remote, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := l.Accept()
	if err != nil {
		conn.Close()
		return nil, err
	}
	go serveRemote(far, path, roundTrip)
	return &remote{conn: conn}, nil
}

func serveRemote(conn net.Conn, path string, roundTrip time.Duration) {
	defer conn.Close()
	var f *os.File
	var answer []byte
	request := make([]byte, 5)
	for {
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		// The client waits meanwhile, so both halves of the round trip may be spent here.
		time.Sleep(roundTrip)
		answer = append(answer[:0], 0, 0, 0, 0)
		switch request[0] {
		case callStat:
			os.Stat(path)
		case callOpen:
			f, _ = os.Open(path)
		case callRead:
			n := int(binary.LittleEndian.Uint32(request[1:]))
			answer = slices.Grow(answer, n)
			n, _ = io.ReadFull(f, answer[4:4+n])
			answer = answer[:4+n]
		case callClose:
			f.Close()
		}
		binary.LittleEndian.PutUint32(answer, uint32(len(answer)-4))
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// call returns how many bytes the answer has.
func (r *remote) call(kind byte, n int) (int, error) {
	r.trips++
	var head [5]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[1:], uint32(n))
	if _, err := r.conn.Write(head[:]); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(r.conn, head[:4]); err != nil {
		return 0, err
	}
	n = int(binary.LittleEndian.Uint32(head[:]))
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	return io.ReadFull(r.conn, r.buf[:n])
}

// read reads the file whole, piece bytes at a time, and counts them.
func (r *remote) read(piece int) (sample, error) {
	var one sample
	start := time.Now()
	for _, kind := range []byte{callStat, callOpen} {
		if _, err := r.call(kind, 0); err != nil {
			return one, err
		}
	}
	for {
		n, err := r.call(callRead, piece)
		if err != nil {
			return one, err
		}
		one.count += n
		if n < piece {
			break
		}
	}
	_, err := r.call(callClose, 0)
	one.took = time.Since(start)
	return one, err
}

func (r *remote) Close() { r.conn.Close() }
