package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// pod is a target that has only names. Its resolver knows what is in answers; an error there is its answer.
type pod struct {
	target.Target
	answers map[string]any
}

func (pod) Hostname() string { return "Cart-7d9f" }

func (pod) Hosts() map[string][]netip.Addr {
	return map[string][]netip.Addr{
		"inventory":   addrs("10.96.0.7"),
		"db.internal": addrs("10.96.0.9", "fd00::9"),
		"db":          addrs("10.96.0.9"),
		"six":         addrs("fd00::6"),
	}
}

func (p pod) Resolver() target.Resolver { return p }

func (p pod) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	switch a := p.answers[network+" "+host].(type) {
	case []netip.Addr:
		return a, nil
	case error:
		return nil, a
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (p pod) LookupAddr(_ context.Context, addr string) ([]string, error) {
	switch a := p.answers["ptr "+addr].(type) {
	case []string:
		return a, nil
	case error:
		return nil, a
	}
	return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
}

func addrs(s ...string) (list []netip.Addr) {
	for _, a := range s {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

var thePod = pod{answers: map[string]any{
	"ip example.com":   addrs("192.0.2.1", "2001:db8::1"),
	"ip mapped":        addrs("::ffff:192.0.2.2"),
	"ip zoned":         addrs("fe80::1%eth0"),
	"ip v4only":        addrs("192.0.2.3"),
	"ip slow":          &net.DNSError{Err: "i/o timeout", IsTimeout: true},
	"ip broken":        &net.DNSError{Err: "server misbehaving", IsTemporary: true},
	"ip rooted.":       addrs("192.0.2.4"),
	"ptr 192.0.2.1":    []string{"example.com.", "other."},
	"ptr 192.0.2.9":    &net.DNSError{Err: "i/o timeout", IsTimeout: true},
	"ptr 192.0.2.8":    []string{},
	"ip nobody.cares.": context.DeadlineExceeded,
}}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		name   string
		family uint8
		want   []netip.Addr
		errno  string
	}{
		{name: "inventory", want: addrs("10.96.0.7")},
		{name: "INVENTORY.", want: addrs("10.96.0.7")},
		{name: "inventory", family: 4, want: addrs("10.96.0.7")},
		{name: "inventory", family: 6, errno: wire.ErrnoNoData},
		{name: "db.internal", want: addrs("10.96.0.9", "fd00::9")},
		{name: "db.internal", family: 6, want: addrs("fd00::9")},
		{name: "six", family: 4, errno: wire.ErrnoNoData},
		{name: "localhost", want: addrs("127.0.0.1", "::1")},
		{name: "app.LocalHost.", family: 6, want: addrs("::1")},
		{name: "cart-7d9f", family: 4, want: addrs("127.0.0.1")},
		{name: "10.1.2.3", want: addrs("10.1.2.3")},
		{name: "::1", family: 4, errno: wire.ErrnoNoData},
		{name: "example.com", want: addrs("192.0.2.1", "2001:db8::1")},
		{name: "example.com", family: 6, want: addrs("2001:db8::1")},
		{name: "rooted.", want: addrs("192.0.2.4")}, // the dot keeps a resolver from trying search domains
		{name: "mapped", family: 4, want: addrs("192.0.2.2")},
		{name: "zoned", want: addrs("fe80::1")},
		{name: "v4only", family: 6, errno: wire.ErrnoNoData},
		{name: "nowhere", errno: wire.ErrnoNotFound},
		{name: "nowhere", family: 6, errno: wire.ErrnoNotFound},
		{name: "slow", errno: wire.ErrnoAgain},
		{name: "broken", errno: wire.ErrnoAgain},
		{name: "nobody.cares.", errno: wire.ErrnoAgain},
		{name: "", errno: wire.ErrnoNotFound},
		{name: ".", errno: wire.ErrnoNotFound},
		{name: "a b", errno: wire.ErrnoNotFound},
		{name: strings.Repeat("x", 300), errno: wire.ErrnoNotFound},
	} {
		reply, err := Lookup(t.Context(), thePod, &wire.Request{Name: c.name, Family: c.family})
		if got := errno(err); got != c.errno {
			t.Errorf("%s, family %d: %v, want %q", c.name, c.family, err, c.errno)
			continue
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(c.want, reply.Addrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s, family %d (-want +got):\n%s", c.name, c.family, diff)
		}
		if want := strings.TrimSuffix(c.name, "."); reply.Name != want {
			t.Errorf("%s is canonically %s", c.name, reply.Name)
		}
	}
}

func TestReverse(t *testing.T) {
	for addr, want := range map[string]string{
		"10.96.0.7":        "inventory",
		"10.96.0.9":        "db", // the shortest of two
		"::ffff:10.96.0.7": "inventory",
		"fd00::9":          "db.internal",
		"127.0.0.1":        "localhost",
		"::1":              "localhost",
		"192.0.2.1":        "example.com",
		"192.0.2.7":        "error " + wire.ErrnoNotFound,
		"192.0.2.8":        "error " + wire.ErrnoNotFound,
		"192.0.2.9":        "error " + wire.ErrnoAgain,
	} {
		reply, err := Reverse(t.Context(), thePod, &wire.Request{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 0)})
		got := "error " + errno(err)
		if err == nil {
			got = reply.Name
		}
		if got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if _, err := Reverse(t.Context(), thePod, &wire.Request{}); errno(err) != wire.ErrnoNotFound {
		t.Errorf("no address: %v", err)
	}
}

func errno(err error) string {
	var failure *wire.Error
	if errors.As(err, &failure) {
		return failure.Errno
	}
	return ""
}
