// Package traffic is which connections and names are the pod's: the user's rules about those that a program makes, and about those that come to the pod's ports.
package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rule is one entry of a filter: `[tcp://|udp://]host-or-ip[/bits][:port]`. A part that is empty, 0.0.0.0, :: or port 0 matches anything.
type Rule struct {
	Proto  string       // "tcp", "udp" or "" for both
	Prefix netip.Prefix // zero when Host is set or any address matches
	Host   string       // lower case, without a final dot; "" when it is an address
	Port   uint16       // 0 is any
}

// Match says whether a connection of proto ("tcp", "udp") to addr is meant. names are the names that were resolved to the address.
func (r Rule) Match(proto string, addr netip.AddrPort, names []string) bool {
	if r.Proto != "" && r.Proto != proto || r.Port != 0 && r.Port != addr.Port() {
		return false
	}
	if r.Host != "" {
		return slices.ContainsFunc(names, r.matchName)
	}
	return !r.Prefix.IsValid() || r.Prefix.Contains(addr.Addr().Unmap().WithZone(""))
}

func (r Rule) matchName(name string) bool {
	return strings.EqualFold(strings.TrimSuffix(name, "."), r.Host)
}

// Filter divides connections or names between the pod and this machine. At most one list is set; when none is, everything is the pod's.
type Filter struct {
	Remote []Rule `json:"remote,omitempty"` // these go to the pod, all others stay here
	Local  []Rule `json:"local,omitempty"`  // these stay here, all others go to the pod
}

// RemoteAddr says whether a connection is the pod's; the arguments are those of Rule.Match.
func (f Filter) RemoteAddr(proto string, addr netip.AddrPort, names []string) bool {
	return f.remote(func(r Rule) bool { return r.Match(proto, addr, names) })
}

// RemoteName says whether the pod resolves the name. A lookup has neither address nor port, so rules of only those match nothing, and a
// rule with a name matches whatever its port.
func (f Filter) RemoteName(name string) bool {
	return f.remote(func(r Rule) bool {
		return r.Host != "" && r.matchName(name) || r.Host == "" && r.Port == 0 && !r.Prefix.IsValid()
	})
}

func (f Filter) remote(match func(Rule) bool) bool {
	if len(f.Remote) > 0 {
		return slices.ContainsFunc(f.Remote, match)
	}
	return !slices.ContainsFunc(f.Local, match)
}

// ParseRule parses an entry of a filter.
func ParseRule(s string) (Rule, error) {
	var r Rule
	rest := s
	if proto, after, ok := strings.Cut(s, "://"); ok {
		if r.Proto = strings.ToLower(proto); r.Proto != "tcp" && r.Proto != "udp" {
			return Rule{}, fmt.Errorf("the protocol %q is neither tcp nor udp", proto)
		}
		rest = after
	}
	host, port, err := splitPort(rest)
	if err != nil {
		return Rule{}, err
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return Rule{}, fmt.Errorf("the port %q is not a number from 0 to 65535", port)
		}
		r.Port = uint16(n)
	}
	if host == "" {
		if port == "" {
			return Rule{}, errors.New("neither a host nor a port is given")
		}
		return r, nil
	}
	r.Host, r.Prefix, err = parseHost(host)
	return r, err
}

// splitPort takes the port off. An IPv6 address with a port is in brackets, which may hold its mask or be followed by it.
func splitPort(s string) (host, port string, err error) {
	if after, ok := strings.CutPrefix(s, "["); ok {
		inside, tail, ok := strings.Cut(after, "]")
		if !ok {
			return "", "", errors.New("the bracket is not closed")
		}
		mask, port, _ := strings.Cut(tail, ":")
		if mask != "" && mask[0] != '/' {
			return "", "", fmt.Errorf("%q after the bracket is neither a mask nor a port", tail)
		}
		return inside + mask, port, nil
	}
	if strings.Count(s, ":") > 1 {
		return s, "", nil
	}
	host, port, found := strings.Cut(s, ":")
	if found && port == "" {
		return "", "", errors.New("the port is missing")
	}
	return host, port, nil
}

func parseHost(s string) (host string, p netip.Prefix, err error) {
	if strings.Contains(s, "/") {
		if p, err = netip.ParsePrefix(s); err != nil {
			return "", netip.Prefix{}, fmt.Errorf("%q is not an address with a mask", s)
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		return "", p.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.IsUnspecified() {
			return "", netip.Prefix{}, nil
		}
		a = a.Unmap().WithZone("")
		return "", netip.PrefixFrom(a, a.BitLen()), nil
	}
	if strings.Contains(s, ":") {
		return "", netip.Prefix{}, fmt.Errorf("%q is not an address", s)
	}
	host = strings.ToLower(strings.TrimSuffix(s, "."))
	// A name of digits and dots is a mistyped address. Underscores occur in names of services.
	if host == "" || len(host) > 253 || strings.Trim(host, "0123456789.") == "" ||
		strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || strings.Contains(host, "..") || host[0] == '.' || host[len(host)-1] == '.' {
		return "", netip.Prefix{}, fmt.Errorf("%q is neither an address nor a host name", s)
	}
	return host, netip.Prefix{}, nil
}

// String is the form that ParseRule reads.
func (r Rule) String() string {
	s := r.Host
	if p := r.Prefix; p.IsValid() {
		s = p.String()
		if p.Addr().Is6() {
			s = fmt.Sprintf("[%s]/%d", p.Addr(), p.Bits())
		}
	}
	if s == "" || r.Port != 0 {
		s += fmt.Sprintf(":%d", r.Port)
	}
	if r.Proto != "" {
		s = r.Proto + "://" + s
	}
	return s
}

// MarshalText makes a rule a string in the JSON form of a Config.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Rule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRule(string(text))
	return err
}
