package console

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shown(b *Buffer) string {
	first, next := b.Range()
	return b.Text(first, next)
}

func TestWhatTerminalsShow(t *testing.T) {
	for _, tt := range []struct{ name, output, want string }{
		{"lines", "one\ntwo\r\n\nfour", "one\ntwo\n\nfour\n"},
		{"nothing", "", ""},
		{"carriage return", "10 %\r20 %\rdone", "done\n"},
		{"shorter after a carriage return", "100 %\rok", "ok0 %\n"},
		{"erased after a carriage return", "100 %\r\x1b[Kok", "ok\n"},
		{"erased to the cursor", "abcdef\x1b[3D\x1b[1K", "    ef\n"},
		{"whole line erased", "abc\x1b[2Kd", "   d\n"},
		{"bar of two lines", "a 1\nb 1\n\x1b[2Aa 2\nb 2\n", "a 2\nb 2\n"},
		{"cursor is kept below the top", "x\x1b[9Ay", "xy\n"},
		{"back and erased below", "a\nb\nc\x1b[2F\x1b[J!", "!\n"},
		{"tab and backspace", "a\tb\n12\b3", "a       b\n13\n"},
		{"screen cleared", "old\n\x1b[2J\x1b[Hnew", "old\nnew\n"},
		{"reset", "old\x1bcnew", "old\nnew\n"},
		{"title and link", "\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\", "ab\n"},
		{"broken off", "\x1b]0;never\x1b[31mred", "red\n"},
		{"unknown sequences", "a\x1b[?25l\x1b[>4;2m\x1b(B\x1b=\x1b[5nb", "ab\n"},
		{"no UTF-8", "a\xffb\xc3", "a\ufffdb\n"},
		{"other controls", "a\x00\x01\x07\x7fb\u0085", "ab\ufffd\n"},
		{"saved cursor", "ab\x1b7cd\x1b8X", "abXd\n"},
		{"removed runes", "abcdef\r\x1b[2P", "cdef\n"},
		{"moved beyond the end", "a\x1b[4Gb", "a  b\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			whole, bytewise := New(0), New(0)
			whole.Write([]byte(tt.output))
			for i := range len(tt.output) {
				bytewise.Write([]byte{tt.output[i]})
			}
			for _, b := range []*Buffer{whole, bytewise} {
				if diff := cmp.Diff(tt.want, shown(b)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestStyles(t *testing.T) {
	b := New(0)
	b.Write([]byte("plain \x1b[1;31mred\x1b[0m\x1b[38;5;208mo\x1b[48;2;1;2;300mb\x1b[39;49;4m \x1b[24;7;9;2;3mx\x1b[mend\n\x1b[97;101mhi\x1b[38;9mlo"))
	lines, first := b.Lines(0, 10)
	want := []Line{{
		{"plain ", Style{}},
		{"red", Style{Foreground: Indexed(1), Bold: true}},
		{"o", Style{Foreground: Indexed(208)}},
		{"b", Style{Foreground: Indexed(208), Background: RGB(1, 2, 255)}},
		{" ", Style{Underline: true}},
		{"x", Style{Inverse: true, Striked: true, Faint: true, Italic: true}},
		{"end", Style{}},
	}, {
		{"hilo", Style{Foreground: Indexed(15), Background: Indexed(9)}},
	}}
	if diff := cmp.Diff(want, lines); diff != "" || first != 0 {
		t.Errorf("from %d (-want +got):\n%s", first, diff)
	}
	if r, g, bl, ok := RGB(1, 2, 3).Parts(); r != 1 || g != 2 || bl != 3 || !ok {
		t.Error("parts of a colour")
	}
	if n, ok := Indexed(7).Index(); n != 7 || !ok {
		t.Error("index of a colour")
	}
	if _, ok := Color(0).Index(); ok {
		t.Error("the view's own colour has an index")
	}
}

func TestOnlyTheEndIsKept(t *testing.T) {
	b := New(64 << 10)
	const lines = 20000
	for i := range lines {
		fmt.Fprintf(b, "line %d\n", i)
	}
	first, next := b.Range()
	if next != lines || first == 0 || next-first < 100 {
		t.Fatalf("lines %d to %d", first, next)
	}
	got, from := b.Lines(first-5, first+1)
	if len(got) != 1 || from != first || got[0].Text() != fmt.Sprintf("line %d", first) {
		t.Errorf("%d: %v", from, got)
	}
	if got := b.Text(lines-1, lines+9); got != fmt.Sprintf("line %d\n", lines-1) {
		t.Errorf("%q", got)
	}
	if b.size > b.max {
		t.Errorf("%d bytes are kept", b.size)
	}
	b.Clear()
	b.Write([]byte("again\n"))
	if first, next := b.Range(); first != lines || next != lines+1 {
		t.Errorf("after Clear lines %d to %d", first, next)
	}
}

func TestLineWithoutEnd(t *testing.T) {
	b := New(1 << 20)
	b.Write([]byte(strings.Repeat("x", 3<<20)))
	first, next := b.Range()
	if next-first > 2<<20/columns || next != 3<<20/columns {
		t.Errorf("lines %d to %d", first, next)
	}
}

func TestSearch(t *testing.T) {
	b := New(0)
	b.Write([]byte("\x1b[31mEr\x1b[0mror: näh\nfine\nerror error\n"))
	want := []Match{{0, 0, 5}, {2, 0, 5}, {2, 6, 11}}
	if diff := cmp.Diff(want, b.Search("ERROR", 10)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Match{{0, 7, 10}}, b.Search("NÄH", 10)); diff != "" {
		t.Error(diff)
	}
	if got := b.Search("error", 2); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if got := b.Search("", 2); got != nil {
		t.Errorf("%v", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	b := New(32 << 10)
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 5000 {
			fmt.Fprintf(b, "\x1b[%dmline %d\x1b[0m\n", 30+i%8, i)
		}
	})
	all.Go(func() {
		for range 200 {
			first, next := b.Range()
			b.Lines(next-50, next)
			b.Search("line 4", 10)
			b.Text(first, first+3)
		}
	})
	all.Wait()
}

func FuzzWrite(f *testing.F) {
	for _, seed := range []string{"a\x1b[31mb\n", "\x1b[2J\x1b[H\x1b[5A\x1b[99999999C\x1b[Kx", "\x1b]0;t\x07", "\xe2\x82", "\x1b[38;5m\x1b[;;;;m", "\r\x1b[1K\x1b[3P\t\b", "\x1bc\x1b8\x1b[u"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, output []byte, split int) {
		whole, parts := New(4<<10), New(4<<10)
		whole.Write(output)
		for rest := output; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(max(1, min(split, 64))))
			parts.Write(rest[:n])
			rest = rest[n:]
		}
		a, b := shown(whole), shown(parts)
		if a != b {
			t.Fatalf("in one piece %q, in several %q", a, b)
		}
		if !utf8.ValidString(a) || strings.ContainsAny(a, "\x1b\r\x00") {
			t.Fatalf("%q", a)
		}
		if whole.size > whole.max || len(whole.screen) > 2*rows || whole.row >= len(whole.screen) {
			t.Fatalf("%d bytes, %d rows, cursor in %d", whole.size, len(whole.screen), whole.row)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	buffer := New(0)
	line := []byte("\x1b[32m2026-11-21T16:00:00Z\x1b[0m GET /items 200 in 3 ms\n")
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		buffer.Write(line)
	}
}
