package target

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// podFile is the name of a pod directory's description.
const podFile = "pod.yaml"

// maxLatency bounds the latency key.
const maxLatency = 10 * time.Second

// pod is what a pod.yaml says.
type pod struct {
	name, hostname string
	env            map[string]string
	hosts          map[string][]netip.Addr
	named          map[netip.Addr]bool // the addresses of hosts
	routes         map[route]netip.AddrPort
	unixRoutes     map[string]string // a path or @name of the pod → one of this machine, or a path relative to the pod directory
	ports          map[uint16]portSpec
	unserved       map[uint16]Fault // ports without an app, and what is wrong with mirroring them
	latency        time.Duration
	offline        bool // nothing but routes and this machine's loopback is connected to, no name but those of hosts is found
}

// route is the key of a route: an address of the pod's network.
type route struct {
	network string // tcp or udp
	addr    netip.AddrPort
}

// portSpec is one of the pod's ports: what arrives at listen has reached the pod; app is the pod's own program, invalid if it has none.
type portSpec struct{ listen, app netip.AddrPort }

// podParser collects the faults of a whole file.
type podParser struct {
	pod    *pod
	faults []Fault
}

// parsePod reads the text of a pod.yaml. dirName is the pod's name where the file gives none. With faults the pod is not to be used.
func parsePod(raw []byte, dirName string) (*pod, []Fault) {
	root, wrong := document(raw)
	if wrong != nil {
		return nil, []Fault{*wrong}
	}
	p := &podParser{pod: &pod{
		env:        make(map[string]string),
		hosts:      make(map[string][]netip.Addr),
		named:      make(map[netip.Addr]bool),
		routes:     make(map[route]netip.AddrPort),
		unixRoutes: make(map[string]string),
		ports:      make(map[uint16]portSpec),
		unserved:   make(map[uint16]Fault),
	}}
	keys := map[string]func(ast.Node){
		"name":     func(n ast.Node) { p.pod.name = p.hostname(n, "name") },
		"hostname": func(n ast.Node) { p.pod.hostname = p.hostname(n, "hostname") },
		"env":      func(n ast.Node) { p.each(n, "env", p.variable) },
		"hosts":    func(n ast.Node) { p.each(n, "hosts", p.host) },
		"routes":   func(n ast.Node) { p.each(n, "routes", p.route) },
		"ports":    p.ports,
		"latency":  p.latency,
		"offline":  p.offline,
	}
	p.fields(root, "key", keys)
	if p.pod.name == "" {
		p.pod.name = dirName
	}
	if p.pod.hostname == "" {
		p.pod.hostname = p.pod.name
	}
	sortFaults(p.faults)
	return p.pod, p.faults
}

func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

func (p *podParser) fault(n ast.Node, hint, format string, args ...any) {
	p.faults = append(p.faults, *fault(n, fmt.Sprintf(format, args...), hint))
}

// fields gives the value of each key of a mapping to its reader; null values are as good as absent.
func (p *podParser) fields(m ast.MapNode, what string, readers map[string]func(ast.Node)) {
	seen := make(map[string]bool)
	for it := m.MapRange(); it.Next(); {
		name, ok := p.key(it.Key(), what, seen)
		if !ok {
			continue
		}
		read := readers[name]
		if read == nil {
			known := make([]string, 0, len(readers))
			for key := range readers {
				known = append(known, key)
			}
			slices.Sort(known)
			p.fault(it.Key(), "known are: "+strings.Join(known, ", "), "unknown %s %q", what, name)
			continue
		}
		if it.Value().Type() != ast.NullType {
			read(it.Value())
		}
	}
}

// each gives the entries of a mapping with free keys to read.
func (p *podParser) each(n ast.Node, what string, read func(key, value ast.Node, name string)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		p.fault(n, "", "%s must be a mapping, not %s", what, kind(n))
		return
	}
	seen := make(map[string]bool)
	for it := m.MapRange(); it.Next(); {
		if name, ok := p.key(it.Key(), what, seen); ok {
			read(it.Key(), it.Value(), name)
		}
	}
}

// key returns the text of a key that has not been there before.
func (p *podParser) key(n ast.MapKeyNode, what string, seen map[string]bool) (string, bool) {
	name, ok := text(n)
	switch {
	case !ok:
		p.fault(n, "put quotes around it", "a key of %s is %s", what, kind(n))
		return "", false
	case seen[name]:
		p.fault(n, "", "%s has %q twice", what, name)
		return "", false
	}
	seen[name] = true
	return name, true
}

func (p *podParser) hostname(n ast.Node, what string) string {
	s, ok := text(n)
	if !ok || !validHostname(s) {
		p.fault(n, "letters, digits, - and . as in cart-7d9f", "%s must be a host name", what)
	}
	return s
}

// validHostname accepts what Linux takes (64 bytes) and a Kubernetes object name may be, in either case.
func validHostname(s string) bool {
	if len(s) == 0 || len(s) > 253 || strings.Trim(s, "-.") != s {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func (p *podParser) variable(key, value ast.Node, name string) {
	s, ok := text(value)
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00"):
		p.fault(key, "", "%q cannot be the name of an environment variable", name)
	case !ok:
		p.fault(value, `write "" for an empty value`, "the value of %s must be a text, a number, true or false, not %s", name, kind(value))
	case strings.Contains(s, "\x00"):
		p.fault(value, "", "the value of %s holds a zero byte", name)
	default:
		p.pod.env[name] = s
	}
}

// host is one name with an address or a list of them.
func (p *podParser) host(key, value ast.Node, name string) {
	folded := strings.ToLower(strings.TrimSuffix(name, "."))
	if folded == "" || len(folded) > 253 || strings.ContainsAny(folded, " \t\n\x00/:") {
		p.fault(key, "", "%q cannot be a host name", name)
		return
	}
	values := []ast.Node{value}
	if list, ok := value.(*ast.SequenceNode); ok {
		values = list.Values
	}
	for _, v := range values {
		s, _ := text(v)
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			p.fault(v, "an address looks like 10.96.0.7 or fd00::7; several go in a list", "the address of %s: %s is not one", name, shown(v))
			continue
		}
		addr = addr.Unmap()
		p.pod.hosts[folded] = append(p.pod.hosts[folded], addr)
		p.pod.named[addr] = true
	}
}

func (p *podParser) route(key, value ast.Node, name string) {
	network, rest := "tcp", name
	if before, after, ok := strings.Cut(name, "://"); ok {
		network, rest = before, after
	}
	if network == "unix" {
		p.unixRoute(key, value, name, rest)
		return
	}
	if network != "tcp" && network != "udp" {
		p.fault(key, "a route is for tcp://, udp:// or unix://", "the route %q: unknown network %q", name, network)
		return
	}
	from, ok := parseAddrPort(rest)
	if !ok {
		p.fault(key, "a route goes from an address of the pod's network, such as 10.96.0.7:80 or [fd00::7]:80", "the route %q: %q is not an address with a port", name, rest)
	}
	to, tok := p.addrPort(value, "the route "+name)
	if !ok || !tok {
		return
	}
	r := route{network, from}
	if _, twice := p.pod.routes[r]; twice {
		p.fault(key, "", "the route %q is there twice", name)
		return
	}
	p.pod.routes[r] = to
}

func (p *podParser) unixRoute(key, value ast.Node, name, from string) {
	to, ok := text(value)
	switch {
	case !isSocketName(from) || strings.HasPrefix(from, "/") && path.Clean(from) != from:
		p.fault(key, "such as unix:///run/app.sock, or unix://@name for an abstract one", "the route %q: %q is not the path of a Unix socket", name, from)
	case !ok || to == "" || to == "@" || strings.Contains(to, "\x00"):
		p.fault(value, "such as /run/app.sock, @name, or a path relative to the pod directory", "the route %s: %s is not the path of a Unix socket", name, shown(value))
	default:
		p.pod.unixRoutes[from] = to
	}
}

// isSocketName accepts an absolute path and an abstract name.
func isSocketName(s string) bool {
	return (strings.HasPrefix(s, "/") || strings.HasPrefix(s, "@")) && len(s) > 1 && !strings.Contains(s, "\x00")
}

func (p *podParser) ports(n ast.Node) {
	listens := make(map[netip.AddrPort]uint16)
	p.each(n, "ports", func(key, value ast.Node, name string) {
		number, err := strconv.ParseUint(name, 10, 16)
		if err != nil || number == 0 {
			p.fault(key, "a port is a number from 1 to 65535", "%q is not a port", name)
			return
		}
		fields, ok := value.(ast.MapNode)
		if !ok {
			p.fault(value, `such as {listen: "127.0.0.1:18080", app: "127.0.0.1:18090"}`, "port %d must be a mapping, not %s", number, kind(value))
			return
		}
		before := len(p.faults)
		var spec portSpec
		p.fields(fields, fmt.Sprintf("key of port %d", number), map[string]func(ast.Node){
			"listen": func(n ast.Node) {
				spec.listen, _ = p.listenAddr(n, fmt.Sprintf("listen of port %d", number))
				if other, twice := listens[spec.listen]; twice && spec.listen.Port() != 0 {
					p.fault(n, "each port needs a listen address of its own", "port %d listens at %s, and so does port %d", number, spec.listen, other)
				}
				listens[spec.listen] = uint16(number)
			},
			"app": func(n ast.Node) { spec.app, _ = p.addrPort(n, fmt.Sprintf("app of port %d", number)) },
		})
		switch {
		case len(p.faults) > before:
		case !spec.listen.IsValid():
			p.fault(key, "", "port %d needs a listen address", number)
		case spec.listen == spec.app:
			p.fault(value, "app is where the pod's own program listens", "port %d: listen and app are the same address", number)
		default:
			if _, twice := p.pod.ports[uint16(number)]; twice {
				p.fault(key, "", "port %d is there twice", number)
				return
			}
			p.pod.ports[uint16(number)] = spec
			if !spec.app.IsValid() {
				p.pod.unserved[uint16(number)] = *fault(key, fmt.Sprintf("port %d has no app, so there is nothing to mirror", number),
					"name the pod's own program as app, take the connections with --steal, or leave the port out with feature.network.incoming.ignore_ports")
			}
		}
	})
}

func (p *podParser) latency(n ast.Node) {
	s, _ := text(n)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxLatency {
		p.fault(n, "latency is the round trip to the pod, such as 20ms", "latency must be a duration from 0s to %s, not %s", maxLatency, shown(n))
		return
	}
	p.pod.latency = d
}

func (p *podParser) offline(n ast.Node) {
	switch s, _ := text(n); s {
	case "true", "false":
		p.pod.offline = s == "true"
	default:
		p.fault(n, "true refuses every address without a route, and every name that hosts does not have", "offline must be true or false, not %s", shown(n))
	}
}

// addrPort is an address to connect to.
func (p *podParser) addrPort(n ast.Node, what string) (netip.AddrPort, bool) {
	to, ok := p.listenAddr(n, what)
	if ok && to.Port() == 0 {
		p.fault(n, "", "%s: nobody can be reached at port 0", what)
		return to, false
	}
	return to, ok
}

// listenAddr is an address to listen at, where port 0 means any free one.
func (p *podParser) listenAddr(n ast.Node, what string) (netip.AddrPort, bool) {
	s, _ := text(n)
	addr, ok := parseAddrPort(s)
	if !ok {
		p.fault(n, "an address with a port looks like 127.0.0.1:18080 or [::1]:18080", "%s: %s is not an address with a port", what, shown(n))
	}
	return addr, ok
}

func parseAddrPort(s string) (netip.AddrPort, bool) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Addr().Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

// shown is a value in an error: its text, else what it is.
func shown(n ast.Node) string {
	if s, ok := text(n); ok {
		return strconv.Quote(s)
	}
	return kind(n)
}
