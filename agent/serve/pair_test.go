package serve

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestPairDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := Pair(10 * time.Millisecond)
		start := time.Now()
		for i := range 1000 { // writing does not wait, and nothing queues up behind the delay
			if _, err := near.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("writing took %v", waited)
		}
		got := make([]byte, 1000)
		io.ReadFull(far, got)
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("arrived after %v", took)
		}
		for i, b := range got {
			if b != byte(i) {
				t.Fatalf("byte %d is %d", i, b)
			}
		}
		far.Write([]byte("back"))
		time.Sleep(3 * time.Millisecond)
		far.Write([]byte("later"))
		n, _ := near.Read(got)
		if took := time.Since(start); took != 20*time.Millisecond || n != 4 {
			t.Errorf("the round trip took %v, with %d bytes", took, n)
		}
		io.ReadFull(near, got[:5])
		if took := time.Since(start); took != 23*time.Millisecond {
			t.Errorf("what was written later arrived after %v", took)
		}
	})
}

// TestPairCarries sends much through pieces of all sizes, and then the end.
func TestPairCarries(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Microsecond} {
		near, far := Pair(delay)
		sent := make([]byte, 3<<20)
		rand.NewChaCha8([32]byte{}).Read(sent)
		go func() {
			for left := sent; len(left) > 0; {
				n, err := near.Write(left[:min(len(left), 1+rand.IntN(3*packetSize))])
				if err != nil {
					t.Error(err)
					return
				}
				left = left[n:]
			}
			near.Close()
		}()
		got, err := io.ReadAll(iotest.HalfReader(far))
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("delay %s: %d of %d bytes, %v", delay, len(got), len(sent), err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("written to a closed end: %v", err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("written after Close: %v", err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	}
}

// TestPairBounded: the memory under way is bounded, and either end's Close frees a writer that waits for room.
func TestPairBounded(t *testing.T) {
	for delay, limit := range map[time.Duration]int{0: room, time.Second: inFlight} {
		for closes := range 2 {
			synctest.Test(t, func(t *testing.T) {
				near, far := Pair(delay)
				failed := make(chan error)
				go func() {
					for {
						if _, err := near.Write(make([]byte, packetSize)); err != nil {
							failed <- err
							return
						}
					}
				}()
				synctest.Wait()
				if got := near.(*end).out.bytes; got != limit {
					t.Errorf("%d bytes under way, not %d", got, limit)
				}
				[]net.Conn{near, far}[closes].Close()
				<-failed
			})
		}
	}
}

// TestPairWaits: Close of either end frees a reader.
func TestPairWaits(t *testing.T) {
	for closes, want := range []error{net.ErrClosed, io.EOF} {
		synctest.Test(t, func(t *testing.T) {
			near, far := Pair(0)
			failed := make(chan error)
			go func() {
				_, err := near.Read(make([]byte, 1))
				failed <- err
			}()
			synctest.Wait()
			[]net.Conn{near, far}[closes].Close()
			if err := <-failed; !errors.Is(err, want) {
				t.Errorf("%v, not %v", err, want)
			}
		})
	}
}
