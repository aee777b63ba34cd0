package config

import (
	"fmt"
	"slices"
	"strconv"

	"mirrord/launcher/config/document"
)

// IncomingMode says what happens to connections to the pod's ports.
type IncomingMode string

// The modes of incoming traffic.
const (
	IncomingMirror IncomingMode = "mirror" // the pod's program gets them, ours sees a copy
	IncomingSteal  IncomingMode = "steal"  // our program gets them in place of the pod's
	IncomingOff    IncomingMode = "off"
	// IncomingUnset: the user said nothing. It is mirror where the pod has a program to mirror; elsewhere the user is told of --steal.
	IncomingUnset IncomingMode = "unset"
)

// IsZero leaves the mode out of the JSON form when the user said nothing.
func (m IncomingMode) IsZero() bool { return m == IncomingUnset }

// Incoming is connections to the pod's ports. Ports and IgnorePorts are never both set. No port is in two pairs of a list on the same side.
type Incoming struct {
	Mode            IncomingMode `json:"mode,omitzero"`
	Ports           []uint16     `json:"ports,omitempty"`        // the pod's; only these; empty means all
	IgnorePorts     []uint16     `json:"ignore_ports,omitempty"` // the program's or the pod's
	PortMapping     [][2]uint16  `json:"port_mapping,omitempty"` // the program's port, the pod's
	ListenPorts     [][2]uint16  `json:"listen_ports,omitempty"` // the port that the program asks for, the one it gets on this machine
	IgnoreLocalhost bool         `json:"ignore_localhost"`       // listeners on loopback addresses are this machine's
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
	if local == 0 || pod == 0 || in.Mode == IncomingOff || slices.Contains(in.IgnorePorts, local) || slices.Contains(in.IgnorePorts, pod) {
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

// setIncoming is `incoming: true`, `false` and `"steal"`. In a file true asks for the default mode, in the variable for stealing.
func setIncoming(d *decoder, n *document.Node) {
	on, err := strconv.ParseBool(n.Text)
	switch {
	case err != nil || n.Kind != document.Boolean && n.Kind != document.Word:
		setIncomingMode(d, n)
	case !on:
		d.config.Feature.Network.Incoming.Mode = IncomingOff
	case n.Kind == document.Word:
		d.config.Feature.Network.Incoming.Mode = IncomingSteal
	default:
		d.config.Feature.Network.Incoming.Mode = IncomingUnset
	}
}

func setIncomingMode(d *decoder, n *document.Node) {
	if mode, ok := d.choice(n, string(IncomingMirror), string(IncomingSteal), string(IncomingOff)); ok {
		d.config.Feature.Network.Incoming.Mode = IncomingMode(mode)
	}
}

// pairsKey reads a list of pairs of ports, [[a, b], …]. what names the sides in errors.
func pairsKey(what [2]string, at func(*Config) *[][2]uint16) setter {
	return func(d *decoder, n *document.Node) {
		if n.Kind != document.List {
			d.wrong(n, fmt.Sprintf("a list of pairs of ports, [[%s, %s], ...]", what[0], what[1]))
			return
		}
		items := n.Items
		if len(items) > 0 && !slices.ContainsFunc(items, func(item *document.Node) bool { return item.Kind == document.List }) {
			items = []*document.Node{n} // one pair in place of a list
		}
		var pairs [][2]uint16
		for _, item := range items {
			pair, ok := d.pair(item, what)
			if !ok {
				continue
			}
			for side := range pair {
				for _, other := range pairs {
					if other[side] == pair[side] {
						d.fail(item.At, fmt.Sprintf("has the %s port %d twice", what[side], pair[side]), "")
					}
				}
			}
			pairs = append(pairs, pair)
		}
		*at(d.config) = pairs
	}
}

func (d *decoder) pair(n *document.Node, what [2]string) (pair [2]uint16, ok bool) {
	if n.Kind != document.List || len(n.Items) != 2 {
		d.wrong(n, fmt.Sprintf("pairs of ports, [%s, %s]", what[0], what[1]))
		return pair, false
	}
	for side, item := range n.Items {
		port, err := strconv.ParseUint(item.Text, 10, 16)
		if err != nil || port == 0 {
			d.wrong(item, "pairs of ports, whole numbers from 1 to 65535")
			return pair, false
		}
		pair[side] = uint16(port)
	}
	return pair, true
}

// identities are the pairs of a list that say nothing.
func identities(pairs [][2]uint16) (ports []uint16) {
	for _, p := range pairs {
		if p[0] == p[1] {
			ports = append(ports, p[0])
		}
	}
	return ports
}
