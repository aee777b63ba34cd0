package traffic

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for _, test := range []struct {
		s    string
		want Rule
		text string // as String writes it; empty when that is s
	}{
		{"db.internal", Rule{Host: "db.internal"}, ""},
		{"DB.Internal.:5432", Rule{Host: "db.internal", Port: 5432}, "db.internal:5432"},
		{"tcp://db:5432", Rule{Proto: "tcp", Host: "db", Port: 5432}, ""},
		{"UDP://my_service", Rule{Proto: "udp", Host: "my_service"}, "udp://my_service"},
		{"10.1.2.3", Rule{Prefix: netip.MustParsePrefix("10.1.2.3/32")}, "10.1.2.3/32"},
		{"10.1.2.3/8:80", Rule{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 80}, "10.0.0.0/8:80"},
		{"::ffff:10.1.2.3/104", Rule{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, "10.0.0.0/8"},
		{"0.0.0.0:80", Rule{Port: 80}, ":80"},
		{":80", Rule{Port: 80}, ""},
		{"tcp://:0", Rule{Proto: "tcp"}, ""},
		{"0.0.0.0", Rule{}, ":0"},
		{"::", Rule{}, ":0"},
		{"0.0.0.0/0", Rule{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, ""},
		{"::1", Rule{Prefix: netip.MustParsePrefix("::1/128")}, "[::1]/128"},
		{"[::1]:80", Rule{Prefix: netip.MustParsePrefix("::1/128"), Port: 80}, "[::1]/128:80"},
		{"[fe80::/10]:80", Rule{Prefix: netip.MustParsePrefix("fe80::/10"), Port: 80}, "[fe80::]/10:80"},
		{"udp://[fe80::]/10", Rule{Proto: "udp", Prefix: netip.MustParsePrefix("fe80::/10")}, ""},
	} {
		got, err := ParseRule(test.s)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", test.s, got, err)
			continue
		}
		text := test.text
		if text == "" {
			text = test.s
		}
		if got.String() != text {
			t.Errorf("%s is written %s, want %s", test.s, got, text)
		}
	}
	for s, want := range map[string]string{
		"": "neither a host nor a port", "tcp://": "neither a host nor a port", "icmp://x": "neither tcp nor udp", "x:": "the port is missing", "x:70000": "from 0 to 65535",
		"x:http": "from 0 to 65535", "10.0.0.0/99": "not an address with a mask", "x/8": "not an address with a mask", "[::1": "not closed", "[::1]x": "neither a mask nor a port",
		"10.0.0.256": "neither an address nor a host name", "a b": "neither an address nor a host name", "a..b": "neither an address nor a host name", ".a": "neither an address",
		"1:2:3": "not an address", "*.internal": "neither an address nor a host name",
	} {
		if _, err := ParseRule(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got the error %v, want %s", s, err, want)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"tcp://db:5432", "[fe80::]/10:80", "10.0.0.0/8", ":53", "::ffff:1.2.3.4/100", "fe80::1%eth0", "A.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rule, err := ParseRule(s)
		if err != nil {
			return
		}
		if again, err := ParseRule(rule.String()); err != nil || again != rule {
			t.Fatalf("%q → %+v → %q → %+v, %v", s, rule, rule, again, err)
		}
	})
}

func parseRules(t *testing.T, entries ...string) (all []Rule) {
	t.Helper()
	for _, s := range entries {
		r, err := ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestFilter(t *testing.T) {
	remote := Filter{Remote: parseRules(t, "tcp://10.0.0.0/8:5432", "db.internal", "udp://:53")}
	local := Filter{Local: remote.Remote}
	for _, test := range []struct {
		proto, addr string
		names       []string
		match       bool
	}{
		{"tcp", "10.1.2.3:5432", nil, true},
		{"tcp", "[::ffff:10.1.2.3]:5432", nil, true},
		{"udp", "10.1.2.3:5432", nil, false},
		{"tcp", "10.1.2.3:80", nil, false},
		{"tcp", "11.1.2.3:5432", nil, false},
		{"tcp", "11.1.2.3:80", []string{"other", "DB.internal."}, true},
		{"tcp", "11.1.2.3:80", []string{"xdb.internal"}, false},
		{"udp", "[2001:db8::1]:53", nil, true},
		{"tcp", "[2001:db8::1]:53", nil, false},
	} {
		addr := netip.MustParseAddrPort(test.addr)
		if got := remote.RemoteAddr(test.proto, addr, test.names); got != test.match {
			t.Errorf("remote, %v: %v", test, got)
		}
		if got := local.RemoteAddr(test.proto, addr, test.names); got == test.match {
			t.Errorf("local, %v: %v", test, got)
		}
	}
	if !(Filter{}).RemoteAddr("tcp", netip.MustParseAddrPort("1.2.3.4:5"), nil) || !(Filter{}).RemoteName("x") {
		t.Error("without a filter not everything is the pod's")
	}
	zoned := Filter{Remote: parseRules(t, "fe80::/10")}
	if !zoned.RemoteAddr("tcp", netip.MustParseAddrPort("[fe80::1%eth0]:80"), nil) {
		t.Error("an address with a zone is not in its network")
	}

	names := Filter{Remote: parseRules(t, "db.internal:5432", "10.0.0.0/8", ":80")}
	for name, want := range map[string]bool{"db.internal": true, "DB.INTERNAL.": true, "x.db.internal": false, "10.1.2.3": false, "other": false} {
		if got := names.RemoteName(name); got != want {
			t.Errorf("name %s: %v", name, got)
		}
	}
	if (Filter{Local: parseRules(t, ":0")}).RemoteName("x") {
		t.Error("a rule for everything leaves a name out")
	}
}
