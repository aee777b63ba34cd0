// Package names answers lookups as the target's resolver would: its own hosts, then localhost and its own name, then its name servers.
package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// lookupTime limits one lookup: glibc's resolver gives up after 5 s for each of two attempts.
const lookupTime = 10 * time.Second

var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// Lookup answers OpLookup. The error is a *wire.Error with one of wire's lookup failures.
func Lookup(ctx context.Context, t target.Target, req *wire.Request) (*wire.Reply, error) {
	name := strings.TrimSuffix(req.Name, ".")
	if name == "" || len(name) > 253 || strings.ContainsAny(name, " /\x00") {
		return nil, &wire.Error{Errno: wire.ErrnoNotFound, Text: "not a host name"}
	}
	addrs := known(t, strings.ToLower(name))
	if addrs == nil {
		var err error
		if addrs, err = ask(ctx, t.Resolver(), req.Name); err != nil {
			return nil, err
		}
	}
	reply := &wire.Reply{Name: name}
	for _, addr := range addrs {
		addr = addr.Unmap().WithZone("")
		if req.Family == 0 || req.Family == 4 && addr.Is4() || req.Family == 6 && addr.Is6() {
			reply.Addrs = append(reply.Addrs, addr)
		}
	}
	if len(reply.Addrs) == 0 {
		return nil, &wire.Error{Errno: wire.ErrnoNoData, Text: name + " has no address of that family"}
	}
	return reply, nil
}

// known returns what needs no name server: nil for a name that does. name is in lower case.
func known(t target.Target, name string) []netip.Addr {
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr}
	}
	if addrs := t.Hosts()[name]; addrs != nil {
		return addrs
	}
	// RFC 6761, section 6.3: every name below localhost is this machine.
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || name == strings.ToLower(t.Hostname()) {
		return loopback
	}
	return nil
}

// ask asks for both families at once: only so an existing name without an address of one of them can be told from a name that does not exist.
func ask(ctx context.Context, resolver target.Resolver, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, failure(err)
	}
	return addrs, nil
}

// Reverse answers OpReverse. Errors are Lookup's.
func Reverse(ctx context.Context, t target.Target, req *wire.Request) (*wire.Reply, error) {
	addr := req.Addr.Addr().Unmap()
	if !addr.IsValid() {
		return nil, &wire.Error{Errno: wire.ErrnoNotFound, Text: "not an address"}
	}
	if name := hostOf(t.Hosts(), addr); name != "" {
		return &wire.Reply{Name: name}, nil
	}
	if addr.IsLoopback() {
		return &wire.Reply{Name: "localhost"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := t.Resolver().LookupAddr(ctx, addr.String())
	if err != nil {
		return nil, failure(err)
	}
	if len(found) == 0 {
		return nil, &wire.Error{Errno: wire.ErrnoNotFound}
	}
	return &wire.Reply{Name: strings.TrimSuffix(found[0], ".")}, nil
}

// hostOf returns the name that has the address; of several the shortest, then the first, so that the answer is always the same.
func hostOf(hosts map[string][]netip.Addr, addr netip.Addr) string {
	best := ""
	for name, addrs := range hosts {
		for _, a := range addrs {
			if a == addr && (best == "" || len(name) < len(best) || len(name) == len(best) && name < best) {
				best = name
			}
		}
	}
	return best
}

// failure turns a resolver's error into a reply's. What is not known to be final may be tried again.
func failure(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return &wire.Error{Errno: wire.ErrnoNotFound, Text: err.Error()}
	}
	return &wire.Error{Errno: wire.ErrnoAgain, Text: err.Error()}
}
