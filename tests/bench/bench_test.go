package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func times(ms ...int) (s series) {
	for _, n := range ms {
		s = append(s, sample{took: time.Duration(n) * time.Millisecond})
	}
	return s
}

func TestSeries(t *testing.T) {
	for _, tt := range []struct {
		s            series
		best, median time.Duration
	}{
		{times(), 0, 0},
		{times(5), 5 * time.Millisecond, 5 * time.Millisecond},
		{times(9, 1, 4), 1 * time.Millisecond, 4 * time.Millisecond},
		{times(4, 3, 2, 1), 1 * time.Millisecond, 3 * time.Millisecond},
	} {
		if tt.s.best() != tt.best || tt.s.median() != tt.median {
			t.Errorf("%v: best %s, median %s", tt.s, tt.s.best(), tt.s.median())
		}
	}
}

func TestFailedWorkMeetsNoGoal(t *testing.T) {
	s := append(times(1), sample{errors: 2, first: "connect: Connection refused"}, sample{errors: 1, first: "later"})
	if got, want := faults(times(1), s), "3 errors, first: connect: Connection refused"; got != want {
		t.Errorf("faults: %q", got)
	}
	if got := goal("≤ 60", true, s); got != "≤ 60: **missed**" {
		t.Errorf("goal: %q", got)
	}
}

func TestInterleave(t *testing.T) {
	var order strings.Builder
	way := func(name string, once bool) way {
		return way{func() (sample, error) { order.WriteString(name); return sample{}, nil }, once}
	}
	all, err := interleave(2, way("A", false), way("B", true), way("C", false))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := order.String(), "AC"+"ABC"+"AC"; got != want {
		t.Errorf("order %s, not %s", got, want)
	}
	if diff := cmp.Diff([]int{2, 1, 2}, []int{len(all[0]), len(all[1]), len(all[2])}); diff != "" {
		t.Error(diff)
	}
}

// TestInterleaveGivesUp: what takes too long in the round before the others is measured by it alone.
func TestInterleaveGivesUp(t *testing.T) {
	slow := way{do: func() (sample, error) { return sample{took: tooLong + 1}, nil }}
	all, err := interleave(3, slow, way{do: func() (sample, error) { return sample{took: 1}, nil }})
	if err != nil || len(all[0]) != 1 || len(all[1]) != 3 {
		t.Errorf("measured %d and %d times, %v", len(all[0]), len(all[1]), err)
	}
}

// TestRelay: what is sent comes back, the end of either side is passed on, and nothing is cut by it.
func TestRelay(t *testing.T) {
	for _, trip := range []time.Duration{0, time.Millisecond} {
		p, err := startPeers()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		l, err := startRelay(p.server.Addr().String(), trip)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := io.ReadAll(c) // the server closes after a byte
		c.Close()
		if string(got) != "x" || err != nil || time.Since(start) < trip {
			t.Errorf("round trip %s: %q after %s, %v", trip, got, time.Since(start), err)
		}
	}
}

// TestBulk: the inner programs' peer takes and gives what it is told to.
func TestBulk(t *testing.T) {
	const size = 1 << 20
	head := binary.LittleEndian.AppendUint64([]byte{'d'}, size)
	near, far := net.Pipe()
	go serveBulk(far)
	near.Write(head)
	if n, err := io.CopyN(io.Discard, near, size); n != size || err != nil {
		t.Errorf("%d bytes down, %v", n, err)
	}
	near.Close()
	near, far = net.Pipe()
	go serveBulk(far)
	near.Write(append([]byte{'u'}, head[1:]...))
	near.Write(make([]byte, size))
	if n, err := near.Read(head); n != 1 || err != nil {
		t.Errorf("%d bytes after the upload, %v", n, err)
	}
	near.Close()
}

// TestRemote counts the comparison's round trips: stat, open, reads up to a short one, close.
func TestRemote(t *testing.T) {
	for _, tt := range []struct{ size, piece, trips int }{{1000, 4096, 4}, {4096, 4096, 5}, {100000, 4096, 28}} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, tt.size), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := newRemote(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		one, err := r.read(tt.piece)
		if err != nil || one.count != tt.size || r.trips != tt.trips {
			t.Errorf("%d bytes by %d: %d bytes in %d round trips, %v", tt.size, tt.piece, one.count, r.trips, err)
		}
		r.Close()
	}
}

func TestWriteKeepsTheSoak(t *testing.T) {
	path := filepath.Join(t.TempDir(), "RESULTS.md")
	for _, step := range []struct{ old, text, want string }{
		{"", "new\n", "new\n"},
		{"old\n", "new\n", "new\n"},
		{"old\n\n## Soak\n\ncounts\n", "new\n", "new\n\n## Soak\n\ncounts\n"},
	} {
		if step.old != "" {
			if err := os.WriteFile(path, []byte(step.old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var r report
		r.text.WriteString(step.text)
		if err := r.write(path); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		if diff := cmp.Diff(step.want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "RESULTS.md")
	for _, step := range []struct{ old, want string }{
		{"head\n\n## A\n\n1\n\n## B\n\n2\n\n## Soak\n\n3\n", "head\n\n## A\n\nnew\n\n## B\n\n2\n\n## C\n\nnew\n\n## Soak\n\n3\n"},
		{"head\n\n## A\n\n1\n", "head\n\n## A\n\nnew\n\n## C\n\nnew\n"},
		{"head\n\n## C\n\n1\n", "head\n\n## C\n\nnew\n\n## A\n\nnew\n"},
	} {
		if err := os.WriteFile(path, []byte(step.old), 0o600); err != nil {
			t.Fatal(err)
		}
		var r report
		r.text.WriteString("another head\n\n## A\n\nnew\n\n## C\n\nnew\n")
		if err := r.replace(path); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		if diff := cmp.Diff(step.want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}
