package doctor

import "fmt"

// mac is what a Mac says of itself.
type mac struct {
	version, build, arch string
	sip, rosetta         bool
	translated           bool   // this process runs under Rosetta
	developer            string // the developer directory; "" when no developer tools are installed
}

func (m mac) findings() []Finding {
	all := []Finding{{Name: "release", State: OK, Message: fmt.Sprintf("macOS %s (%s) on %s", m.version, m.build, m.arch)}}
	sip := Finding{Name: "sip", State: OK, Message: "System Integrity Protection is on: what it guards runs as a copy, or outside"}
	if !m.sip {
		sip.State, sip.Message = Note, "System Integrity Protection is off, so the system's own programs take the layer here"
		sip.Hint = "what works on this Mac may not work on others; csrutil enable, in the recovery system, turns it on"
	}
	all = append(all, sip)
	if m.arch == "arm64" {
		rosetta := Finding{Name: "rosetta", State: OK, Message: "Rosetta is installed: copies of x86_64 slices run"}
		switch {
		case m.translated:
			rosetta.State, rosetta.Message = Warning, "this mirrord itself runs under Rosetta, and what it starts prefers to"
			rosetta.Hint = "run it from a terminal that does not; `arch -arm64 mirrord doctor` tells whether that helps"
		case !m.rosetta:
			rosetta.State, rosetta.Message = Warning, "Rosetta is not installed: the system's programs, which have no arm64 slice, may have to run outside"
			rosetta.Hint = "softwareupdate --install-rosetta"
		}
		all = append(all, rosetta)
	}
	developer := Finding{Name: "developer-tools", State: OK, Message: "developer tools are in " + m.developer}
	if m.developer == "" {
		developer.State, developer.Message = Note, "no developer tools are installed: git, make, python3 and others of /usr/bin only offer to install them"
		developer.Hint = "xcode-select --install"
	}
	return append(all, developer)
}
