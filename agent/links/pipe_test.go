package links

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"mirrord/agent/wire"
)

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near.(*net.TCPConn), far.(*net.TCPConn)
}

// relay is a program, connected through a launcher's Pipe, a stream and an agent's Pipe to a server.
func relay(t testing.TB) (program, server *net.TCPConn) {
	t.Helper()
	a, b := net.Pipe()
	near, _ := NewSession(a, true, true)
	far, _ := NewSession(b, false, true)
	program, local := tcpPair(t)
	server, remote := tcpPair(t)
	var running sync.WaitGroup
	running.Go(func() { far.Serve(MaxRelays, func(s *Stream, _ *wire.Request) { Pipe(s, remote) }) })
	running.Go(func() { near.Serve(MaxRelays, nil) })
	stream, err := near.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wire.WriteHeader(stream, &wire.Request{Op: wire.OpConnect})
	running.Go(func() { Pipe(local, stream) })
	t.Cleanup(func() {
		near.Close()
		far.Close()
		running.Wait()
	})
	return program, server
}

func TestPipeBothWays(t *testing.T) {
	program, server := relay(t)
	up, down := make([]byte, 20<<20), make([]byte, 10<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(up)
	random.Read(down)
	var senders sync.WaitGroup
	send := func(c *net.TCPConn, p []byte) {
		senders.Go(func() {
			if _, err := io.Copy(c, bytes.NewReader(p)); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
		})
	}
	send(program, up)
	send(server, down)
	var readers sync.WaitGroup
	for _, end := range []struct {
		conn *net.TCPConn
		want []byte
	}{{program, down}, {server, up}} {
		readers.Go(func() {
			sum := sha256.New()
			if n, err := io.Copy(sum, end.conn); n != int64(len(end.want)) || err != nil {
				t.Errorf("%d of %d bytes, %v", n, len(end.want), err)
			} else if want := sha256.Sum256(end.want); !bytes.Equal(sum.Sum(nil), want[:]) {
				t.Error("other bytes arrived")
			}
		})
	}
	senders.Wait()
	readers.Wait()
}

// One direction ends, the other goes on.
func TestPipeHalfClose(t *testing.T) {
	program, server := relay(t)
	io.WriteString(program, "question")
	program.CloseWrite()
	if got, err := io.ReadAll(server); string(got) != "question" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	io.WriteString(server, "answer")
	server.Close()
	if got, err := io.ReadAll(program); string(got) != "answer" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

// A reset at one end is a reset at the other, not the end of the data.
func TestPipeReset(t *testing.T) {
	for name, ends := range map[string]func(program, server *net.TCPConn) (from, to *net.TCPConn){
		"program": func(program, server *net.TCPConn) (_, _ *net.TCPConn) { return program, server },
		"server":  func(program, server *net.TCPConn) (_, _ *net.TCPConn) { return server, program },
	} {
		from, to := ends(relay(t))
		io.WriteString(from, "hel")
		if _, err := io.ReadFull(to, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		Refuse(from)
		if n, err := to.Read(make([]byte, 1)); n != 0 || !isReset(err) {
			t.Errorf("reset by the %s: read %d, %v", name, n, err)
		}
	}
}

// A server that closes while the program still sends: what the server had said arrives.
func TestPipeServerHangsUpEarly(t *testing.T) {
	program, server := relay(t)
	io.WriteString(server, "413 too large")
	if _, err := io.ReadFull(program, make([]byte, 13)); err != nil {
		t.Fatal(err)
	}
	server.Close()
	for range 1 << 20 {
		if _, err := program.Write(make([]byte, 64<<10)); err != nil {
			if !isReset(err) {
				t.Errorf("writing ended with %v", err)
			}
			return
		}
	}
	t.Error("the program can write for ever")
}

// The link's end is a reset for the program, never the end of the data.
func TestPipeLinkLost(t *testing.T) {
	accepted := make(chan *Stream)
	session, agent := sessions(t, true, MaxRelays, func(s *Stream, _ *wire.Request) { accepted <- s })
	stream := open(t, session)
	far := <-accepted
	program, local := tcpPair(t)
	piped := make(chan struct{})
	go func() { Pipe(local, stream); close(piped) }()
	io.WriteString(far, "hel")
	if _, err := io.ReadFull(program, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	agent.Close()
	if n, err := program.Read(make([]byte, 1)); n != 0 || !isReset(err) {
		t.Errorf("read %d, %v", n, err)
	}
	<-piped
}

// An end that never reads does not keep a relay whose other end is gone.
func TestPipeStuck(t *testing.T) {
	for name, end := range map[string]func(*Stream){
		"reset":     func(s *Stream) { s.SetLinger(0); s.Close() },
		"link lost": func(s *Stream) { s.session.mux.Close() },
	} {
		near, far := streams(t)
		_, local := tcpPair(t) // nobody reads the other end
		piped := make(chan struct{})
		go func() { pipe(far, local, time.Millisecond); close(piped) }()
		sent := make(chan struct{})
		go func() { near.Write(make([]byte, 64<<20)); close(sent) }()
		near.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // until everything in between is full
		near.Read(nil)
		end(near)
		<-sent
		select {
		case <-piped:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the relay is still there", name)
		}
	}
}

// A connection without descriptor or Read(nil) that waits works as well.
func TestPipePlainConns(t *testing.T) {
	a, near := net.Pipe()
	b, far := net.Pipe()
	piped := make(chan struct{})
	go func() { Pipe(plain{a}, plain{b}); close(piped) }()
	go io.WriteString(near, "hello")
	if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	near.Close()
	far.Close()
	<-piped
}

type plain struct{ net.Conn }

func (p plain) CloseWrite() error { return p.Close() }

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func BenchmarkPipe(b *testing.B) {
	program, server := relay(b)
	go io.Copy(io.Discard, server)
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := program.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
