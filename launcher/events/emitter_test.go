package events

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEmitterWritesLinesInOrder(t *testing.T) {
	var out strings.Builder
	e := NewEmitter(&out)
	status := 0
	e.Emit(Event{Type: SessionStarted, Session: "s", Command: []string{"a", "b\n"}})
	e.Emit(Event{Type: SessionEnded, Status: &status})
	e.Close(0)
	e.Emit(Event{Type: Warning})

	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"event":"session.started"`) || !strings.Contains(lines[1], `"status":0`) {
		t.Fatalf("%q", lines)
	}
	var ev Event
	if err := json.Unmarshal([]byte(lines[0]), &ev); err != nil || ev.Time.IsZero() {
		t.Fatalf("%+v, %v", ev, err)
	}
}

func TestSlowReaderLosesOnlyFrequentEvents(t *testing.T) {
	r, w := io.Pipe()
	e := NewEmitter(w)
	for range 2*maxQueued + 10 {
		e.Emit(Event{Type: File})
	}
	e.Emit(Event{Type: SessionEnded})
	counts := map[Type]int{}
	var warning string
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(r); s.Scan(); {
			var ev Event
			if err := json.Unmarshal(s.Bytes(), &ev); err != nil {
				t.Error(err)
			}
			counts[ev.Type]++
			if ev.Type == Warning {
				warning = ev.Message
			}
		}
	}()
	e.Close(0)
	w.Close()
	<-read
	if counts[SessionEnded] != 1 || counts[File] < maxQueued || counts[File] >= 2*maxQueued+10 || !strings.HasSuffix(warning, "events were lost: the reader was too slow") {
		t.Errorf("%v %q", counts, warning)
	}
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		e := NewEmitter(w)
		e.Emit(Event{Type: Warning})
		start := time.Now()
		e.Close(2 * time.Second)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("gave up after %v", d)
		}
		r.CloseWithError(errors.New("gone"))
		<-e.done
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		e := NewEmitter(w)
		e.Flush(time.Hour) // nothing waits
		e.Emit(Event{Type: Warning})
		start := time.Now()
		e.Flush(time.Second)
		if d := time.Since(start); d != time.Second {
			t.Errorf("gave up after %v", d)
		}
		read := make(chan int)
		go func() {
			time.Sleep(time.Minute)
			lines := 0
			for s := bufio.NewScanner(r); s.Scan(); lines++ {
			}
			read <- lines
		}()
		e.Emit(Event{Type: Warning})
		e.Emit(Event{Type: Warning})
		e.Flush(time.Hour)
		if d := time.Since(start); d != time.Second+time.Minute {
			t.Errorf("flushed after %v", d)
		}
		w.Close()
		if n := <-read; n != 3 {
			t.Errorf("%d lines when all was flushed", n)
		}
		e.Close(0)
	})
}

func TestReaderGone(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	e := NewEmitter(w)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				e.Emit(Event{Type: Phase})
			}
		})
	}
	wg.Wait()
	e.Close(0)
}
