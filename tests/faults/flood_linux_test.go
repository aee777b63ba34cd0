package faults

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/layer/frame"
)

const (
	flood = 1 << 30
	// held is how much more memory a flood may bind at any time, in bytes: far less than the flood.
	held = 400 << 20
)

// memory is how much this process holds in its heap, in bytes.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// checkMemory looks every now and then until it is stopped, and reports the most that was seen above what it was before.
func checkMemory(t *testing.T) (stop func()) {
	runtime.GC()
	before, most := memory(), uint64(0)
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, memory())
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	return func() {
		close(done)
		looking.Wait()
		grown := int64(most) - int64(before)
		t.Logf("the heap grew by %d MiB at most", grown>>20)
		if grown > held {
			t.Errorf("a flood of %d MiB binds %d MiB", flood>>20, grown>>20)
		}
	}
}

// socket connects to the broker as a layer does. The variable is session.variable of the layer: name of the abstract socket, colon, token in hex.
func (s *site) socket(network, suffix string) (net.Conn, [frame.TokenSize]byte) {
	s.t.Helper()
	var token [frame.TokenSize]byte
	for _, kv := range s.env {
		if value, ok := strings.CutPrefix(kv, "MIRRORD_BROKER="); ok {
			name, secret, _ := strings.Cut(value, ":")
			raw, err := hex.DecodeString(secret)
			if err != nil {
				s.t.Fatal(err)
			}
			copy(token[:], raw)
			c, err := net.Dial(network, "@"+name+suffix)
			if err != nil {
				s.t.Fatal(err)
			}
			return c, token
		}
	}
	s.t.Fatal("no MIRRORD_BROKER")
	return nil, token
}

// TestFloodOfRequests: a process of the session that asks without end, reading the answers or not, is served at the pace of the answers.
func TestFloodOfRequests(t *testing.T) {
	s := newSite(t, "name: x", map[string]string{"srv/small": "small\n"}, change{})
	for name, reads := range map[string]bool{"that reads its answers": true, "that does not": false} {
		t.Run(name, func(t *testing.T) {
			c, token := s.socket("unix", "")
			defer c.Close()
			request, err := frame.AppendRequest(nil, frame.Stat, 1, token, &frame.StatRequest{Path: "/srv/" + strings.Repeat("x", 60<<10)})
			if err != nil {
				t.Fatal(err)
			}
			stop := checkMemory(t)
			var reading sync.WaitGroup
			if reads {
				reading.Go(func() { io.Copy(io.Discard, c) })
			}
			sent := 0
			for sent < flood {
				n, err := c.Write(request)
				if sent += n; err != nil {
					break
				}
			}
			if reads && sent < flood {
				t.Errorf("ended after %d bytes", sent)
			}
			c.Close()
			reading.Wait()
			stop()
		})
	}
	notes, _ := s.socket("unixgram", "+")
	defer notes.Close()
	rubbish := make([]byte, 60<<10)
	rand.Read(rubbish)
	stop := checkMemory(t)
	for sent := 0; sent < flood/8; sent += len(rubbish) {
		if _, err := notes.Write(rubbish); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if got, want := s.run("cat", "/srv/small"), (result{stdout: "small\n"}); got != want {
		t.Errorf("afterwards: %+v", got)
	}
}

// TestFloodOfStreams: a launcher that opens streams to the agent and never ends what it began to say. It speaks yamux by hand (spec.md of
// hashicorp/yamux), with no more memory than a frame.
func TestFloodOfStreams(t *testing.T) {
	d := openDir(t)
	for name, claimed := range map[string]uint32{"requests that are too large": 1 << 20, "requests that never end": 60 << 10} {
		t.Run(name, func(t *testing.T) {
			requests, theirs := net.Pipe()
			bulk, theirBulk := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- serve.Serve(context.Background(), theirs, theirBulk, d) }()
			go io.Copy(io.Discard, requests)
			go io.Copy(io.Discard, bulk)
			const window = 256 << 10 // what a new stream may send
			stop := checkMemory(t)
			frame := make([]byte, 12+window)
			binary.LittleEndian.PutUint32(frame[12:], claimed)
			for id, sent := uint32(1), 0; sent < flood; id += 2 {
				const data, syn = 0, 1 // type and flag: the frame opens the stream
				frame[1], frame[3] = data, syn
				binary.BigEndian.PutUint32(frame[4:], id)
				size := min(window, int(claimed))
				binary.BigEndian.PutUint32(frame[8:], uint32(size))
				if _, err := requests.Write(frame[:12+size]); err != nil {
					t.Logf("the agent hung up after %d MiB", sent>>20)
					break
				}
				sent += size
			}
			stop()
			requests.Close()
			bulk.Close()
			<-served
		})
	}
}

func openDir(t *testing.T) *target.Dir {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/pod.yaml", "name: x\n")
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
