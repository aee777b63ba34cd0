package serve

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		near, far := Delay(a, 10*time.Millisecond), Delay(b, 10*time.Millisecond)
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
		io.ReadFull(near, got[:4])
		if took := time.Since(start); took != 20*time.Millisecond {
			t.Errorf("the round trip took %v", took)
		}
		near.Close()
		far.Close()
		if _, err := near.Write([]byte("x")); err == nil {
			t.Error("written after Close")
		}
	})
}

// The memory in flight is bounded, and Close frees a writer that waits for room.
func TestDelayBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		near := Delay(a, time.Second)
		chunk := make([]byte, 1<<20)
		failed := make(chan error)
		go func() {
			for {
				if _, err := near.Write(chunk); err != nil {
					failed <- err
					return
				}
			}
		}()
		synctest.Wait()
		if got := near.(*delayed).bytes; got != inFlight {
			t.Errorf("%d bytes in flight", got)
		}
		near.Close()
		if err := <-failed; err == nil {
			t.Error("no error")
		}
	})
}

// A connection that breaks ends the writing.
func TestDelayBroken(t *testing.T) {
	a, b := net.Pipe()
	near := Delay(a, time.Microsecond)
	b.Close()
	for {
		if _, err := near.Write(bytes.Repeat([]byte("x"), 100)); err != nil {
			break
		}
	}
	near.Close()
}
