package traffic

import "slices"

// Mode says what happens to connections to the pod's ports.
type Mode string

// The modes of incoming traffic.
const (
	Mirror Mode = "mirror" // the pod's program gets them, ours sees a copy
	Steal  Mode = "steal"  // our program gets them in place of the pod's
	Off    Mode = "off"
	// Unset: the user said nothing. It is mirror where the pod has a program to mirror; elsewhere the user is told of --steal.
	Unset Mode = "unset"
)

// IsZero leaves the mode out of the JSON form when the user said nothing.
func (m Mode) IsZero() bool { return m == Unset }

// Incoming is connections to the pod's ports. Ports and IgnorePorts are never both set. No port is in two pairs of a list on the same side.
type Incoming struct {
	Mode            Mode        `json:"mode,omitzero"`
	Ports           []uint16    `json:"ports,omitempty"`        // the pod's; only these; empty means all
	IgnorePorts     []uint16    `json:"ignore_ports,omitempty"` // the program's or the pod's
	PortMapping     [][2]uint16 `json:"port_mapping,omitempty"` // the program's port, the pod's
	ListenPorts     [][2]uint16 `json:"listen_ports,omitempty"` // the port that the program asks for, the one it gets on this machine
	IgnoreLocalhost bool        `json:"ignore_localhost"`       // listeners on loopback addresses are this machine's
}

// PodPort is the pod's port of which a program that listens on local gets the connections; false: none, the port is this machine's alone.
func (in Incoming) PodPort(local uint16) (uint16, bool) {
	pod := local
	for _, pair := range in.PortMapping {
		if pair[0] == local {
			pod = pair[1]
			break
		}
		if pair[1] == local { // another port of the program stands for this one of the pod
			pod = 0
		}
	}
	if local == 0 || pod == 0 || in.Mode == Off || slices.Contains(in.IgnorePorts, local) || slices.Contains(in.IgnorePorts, pod) {
		return 0, false
	}
	return pod, len(in.Ports) == 0 || slices.Contains(in.Ports, pod)
}

// LocalPort is the port on which a program listens for the connections to the pod's port.
func (in Incoming) LocalPort(pod uint16) uint16 {
	for _, pair := range in.PortMapping {
		if pair[1] == pod {
			return pair[0]
		}
	}
	return pod
}

// ListenPort is the port of this machine that a program which asks for port is to get; false: the same, or another if that is taken.
func (in Incoming) ListenPort(port uint16) (uint16, bool) {
	for _, pair := range in.ListenPorts {
		if pair[0] == port {
			return pair[1], true
		}
	}
	return 0, false
}
