package kube

import (
	"strings"
	"testing"

	"mirrord/agent/wire"
)

func TestEar(t *testing.T) {
	var line strings.Builder
	if err := wire.WriteReport(&line, wire.Report{Port: 4321}); err != nil {
		t.Fatal(err)
	}
	// Who begins to listen in the middle hears the rest of a line first.
	said := line.String()[5:] + "something else\n" + line.String() + line.String()
	for size := 1; size <= len(said); size++ {
		var heard []wire.Report
		e := &ear{heard: func(r wire.Report) { heard = append(heard, r) }}
		for rest := said; rest != ""; rest = rest[min(size, len(rest)):] {
			piece := rest[:min(size, len(rest))]
			if n, err := e.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if len(heard) != 1 || heard[0].Port != 4321 {
			t.Fatalf("in pieces of %d: %v", size, heard)
		}
	}
	e := &ear{heard: func(wire.Report) { t.Error("heard") }}
	endless := make([]byte, 64<<10)
	var err error
	for range 2*maxLog/len(endless) + 1 {
		if _, err = e.Write(endless); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("an endless line is kept")
	}
}
