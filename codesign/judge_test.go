package codesign

import (
	"testing"

	"mirrord/codesign/machotest/judge"
)

// judged asks readers that we did not write whether a signed copy is sound, is what our own report says, and is filled in by dyld as the
// original is.
func judged(t *testing.T, original, out []byte) {
	t.Helper()
	judge.Signed(t, out)
	judge.SameFixups(t, original, out)
	for _, s := range verify(t, out).Slices {
		judge.Identified(t, out[s.Offset:][:s.Size], judge.Identity{Identifier: s.Identifier, Team: s.Team, Flags: s.Flags, CDHash: s.CDHash})
	}
}
