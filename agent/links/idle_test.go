package links

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"mirrord/agent/wire"
)

// heap is what is in use, in bytes, without what pools keep: that goes with the second collection.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A thousand relays that have carried something and are idle hold no buffer.
func TestPipeIdleHoldsNoBuffer(t *testing.T) {
	const relays, size = 1000, 64 << 10
	a, b := net.Pipe()
	near, _ := NewSession(a, true, true)
	far, _ := NewSession(b, false, true)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { // the pod's program echoes
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				for p := make([]byte, 512); ; {
					n, err := c.Read(p)
					if _, werr := c.Write(p[:n]); err != nil || werr != nil {
						return
					}
				}
			})
		}
	})
	running.Go(func() { near.Serve(MaxRelays, nil) })
	running.Go(func() {
		far.Serve(MaxRelays, func(s *Stream, _ *wire.Request) {
			c, err := net.Dial("tcp4", listener.Addr().String())
			if err != nil {
				t.Error(err)
				s.Close()
				return
			}
			Pipe(s, c.(*net.TCPConn))
		})
	})
	defer func() {
		near.Close()
		far.Close()
		listener.Close()
		running.Wait()
	}()

	before := heap()
	data, back := make([]byte, size), make([]byte, size)
	var streams []*Stream
	echo := func(s *Stream) {
		sent := make(chan error, 1)
		go func() {
			_, err := s.Write(data)
			sent <- err
		}()
		if _, err := io.ReadFull(s, back); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	for range relays {
		s, err := near.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.WriteHeader(s, &wire.Request{Op: wire.OpConnect}); err != nil {
			t.Fatal(err)
		}
		echo(s)
		streams = append(streams, s)
	}
	near.shrink(true)
	far.shrink(true)
	// Both ends of a relay, without stacks, take 7 KiB.
	if more := heap() - before; more > relays*size/4 {
		t.Errorf("%d idle relays hold %d KiB", relays, more>>10)
	}
	runtime.KeepAlive(streams)
}

// What streams have buffered is given back during a burst, not only some time after it.
func TestSweepDuringBurst(t *testing.T) {
	const relays, size = 1000, 64 << 10
	got := make(chan struct{})
	near, far := sessions(t, true, MaxRelays, func(s *Stream, _ *wire.Request) {
		p := make([]byte, 512)
		for n := 0; ; {
			more, err := s.Read(p)
			if err != nil {
				s.Close()
				return
			}
			if n += more; n == size {
				got <- struct{}{}
			}
		}
	})
	var streams []*Stream
	for range relays {
		streams = append(streams, open(t, near))
	}
	before := heap()
	data := make([]byte, size)
	for _, s := range streams {
		if _, err := s.Write(data); err != nil {
			t.Fatal(err)
		}
		<-got
	}
	for len(far.full) > 0 || far.received.Load() >= sweepSize {
		runtime.Gosched() // a sweep has been asked for
	}
	if more := heap() - before; more > relays*size/2 {
		t.Errorf("%d streams hold %d KiB more after %d KiB each", relays, more>>10, size>>10)
	}
	runtime.KeepAlive(streams)
}
