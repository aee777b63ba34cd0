package sip

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/macho"
)

func TestMacFacts(t *testing.T) {
	for name, tt := range map[string]struct {
		facts macFacts
		want  System
	}{
		"Intel": {macFacts{version: "15.5", build: "24F74"}, System{Kernel: Darwin, Version: "15.5", Build: "24F74", Arch: "x86_64", SIP: true}},
		"Apple silicon as it comes": {macFacts{version: "27.0", build: "26A428", arm64: true},
			System{Kernel: Darwin, Version: "27.0", Build: "26A428", Arch: "arm64", SIP: true}},
		"with Rosetta":                 {macFacts{arm64: true, rosetta: true}, System{Kernel: Darwin, Arch: "arm64", Rosetta: true, SIP: true}},
		"translated":                   {macFacts{arm64: true, translated: true}, System{Kernel: Darwin, Arch: "arm64", Rosetta: true, Affinity: "x86_64", SIP: true}},
		"below what is translated":     {macFacts{arm64: true, rosetta: true, affinity: macho.CPUX86_64}, System{Kernel: Darwin, Arch: "arm64", Rosetta: true, Affinity: "x86_64", SIP: true}},
		"affinity to itself":           {macFacts{arm64: true, rosetta: true, affinity: macho.CPUARM64}, System{Kernel: Darwin, Arch: "arm64", Rosetta: true, SIP: true}},
		"csrutil disable":              {macFacts{allowed: 0x6f}, System{Kernel: Darwin, Arch: "x86_64"}},
		"csrutil enable --without fs":  {macFacts{allowed: 0x2}, System{Kernel: Darwin, Arch: "x86_64", SIP: true}},
		"csrutil enable without debug": {macFacts{allowed: 0xc}, System{Kernel: Darwin, Arch: "x86_64"}},
	} {
		if diff := cmp.Diff(tt.want, tt.facts.system()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
