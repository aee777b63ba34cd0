package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var entries = []Entry{
	{Ino: 7, Kind: 4, Name: []byte(".")},
	{Ino: 1<<64 - 1, Kind: 8, Name: []byte("\xff\n"), Stat: &Stat{
		Dev: 0x801, Ino: 9, Mode: 0o100640, Nlink: 2, UID: 1000, GID: 1<<32 - 1, Rdev: 3, Size: 1 << 40, Blksize: 4096, Blocks: 8,
		Atime: -1, Mtime: 1700000000_000000002, Ctime: 3,
	}, Target: []byte{}},
	{Ino: 8, Kind: 10, Name: []byte("link"), Stat: &Stat{Mode: 0o120777}, Target: []byte("../somewhere")},
}

func TestEntry(t *testing.T) {
	var b []byte
	for _, e := range entries {
		b = AppendEntry(b, e)
	}
	rest := b
	for _, want := range entries {
		var got Entry
		var err error
		if got, rest, err = ReadEntry(rest); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-packed +read):\n%s", diff)
		}
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes left", len(rest))
	}
	// No part of an entry is one.
	for _, e := range entries {
		whole := AppendEntry(nil, e)
		for n := range whole {
			if _, _, err := ReadEntry(whole[:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
			}
		}
	}
}

func FuzzReadEntry(f *testing.F) {
	for _, e := range entries {
		f.Add(AppendEntry(nil, e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := ReadEntry(b)
		if err != nil {
			return
		}
		again, none, err := ReadEntry(AppendEntry(nil, e))
		if err != nil || len(none) > 0 {
			t.Fatalf("%v, %d bytes left", err, len(none))
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
		if !bytes.HasSuffix(b, rest) {
			t.Error("the rest is not the end")
		}
	})
}
