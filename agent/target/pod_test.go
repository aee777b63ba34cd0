package target

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wholePod = `# as in the documentation
name: cart-7d9f
hostname: cart
env:
  DB_HOST: db.internal
  FEATURE: on
  QUOTED: "on"
  PORT: 8080
  HEX: 0x1F
  OCTAL: 010
  PRICE: 1.50
  TRUE: true
  EMPTY: ""
  TEXT: |
    two
    lines
  JSON: '{"a": [1, {"b": 2}]}'
hosts:
  inventory: 10.96.0.7
  DB.Internal.: [10.96.0.9, "fd00::9"]
routes:
  "10.96.0.7:80": "127.0.0.1:18081"
  "tcp://10.96.0.7:81": "127.0.0.1:18082"
  "udp://10.96.0.10:53": "127.0.0.1:15353"
  "[fd00::9]:5432": "[::1]:15432"
  "unix:///run/db.sock": run/db.sock
  "unix://@abstract": "@here"
ports:
  8080: {listen: "127.0.0.1:18080", app: "127.0.0.1:18090"}
  9090:
    listen: 127.0.0.1:0
latency: 20ms
`

func TestParsePod(t *testing.T) {
	ap := netip.MustParseAddrPort
	want := &pod{
		name: "cart-7d9f", hostname: "cart",
		env: map[string]string{"DB_HOST": "db.internal", "FEATURE": "on", "QUOTED": "on", "PORT": "8080", "HEX": "0x1F", "OCTAL": "010",
			"PRICE": "1.50", "TRUE": "true", "EMPTY": "", "TEXT": "two\nlines\n", "JSON": `{"a": [1, {"b": 2}]}`},
		hosts: map[string][]netip.Addr{"inventory": {netip.MustParseAddr("10.96.0.7")},
			"db.internal": {netip.MustParseAddr("10.96.0.9"), netip.MustParseAddr("fd00::9")}},
		named: map[netip.Addr]bool{netip.MustParseAddr("10.96.0.7"): true, netip.MustParseAddr("10.96.0.9"): true, netip.MustParseAddr("fd00::9"): true},
		routes: map[route]netip.AddrPort{
			{"tcp", ap("10.96.0.7:80")}:   ap("127.0.0.1:18081"),
			{"tcp", ap("10.96.0.7:81")}:   ap("127.0.0.1:18082"),
			{"udp", ap("10.96.0.10:53")}:  ap("127.0.0.1:15353"),
			{"tcp", ap("[fd00::9]:5432")}: ap("[::1]:15432"),
		},
		unixRoutes: map[string]string{"/run/db.sock": "run/db.sock", "@abstract": "@here"},
		ports: map[uint16]portSpec{
			8080: {listen: ap("127.0.0.1:18080"), app: ap("127.0.0.1:18090")},
			9090: {listen: ap("127.0.0.1:0")},
		},
		latency: 20 * time.Millisecond,
	}
	got, faults := parsePod([]byte(wholePod), "directory")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want.unserved = map[uint16]Fault{9090: {Line: 30, Column: 3, Message: "port 9090 has no app, so there is nothing to mirror",
		Hint: "name the pod's own program as app, take the connections with --steal, or leave the port out with feature.network.incoming.ignore_ports"}}
	opts := cmp.Options{cmp.AllowUnexported(pod{}, route{}, portSpec{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	got, faults = parsePod([]byte("env: {A: b}\nports:\n"), "directory")
	if len(faults) > 0 || got.name != "directory" || got.hostname != "directory" {
		t.Errorf("without a name: %+v, %v", got, faults)
	}
}

func TestParsePodFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "1:1: the file is empty"},
		{"comments", "# nothing\n", "1:1: the file is empty"},
		{"a list", "- a\n", "1:1: the file is not a mapping but a list"},
		{"a text", "name cart", "1:1: the file is not a mapping but a text"},
		{"syntax", "name: cart: x\n", "1:7: mapping value is not allowed in this context"},
		{"tab", "env:\n\tA: b\n", "2:1: found character '\t' that cannot start any token"},
		{"two documents", "name: x\n---\nname: y\n", "3:1: a second document"},
		{"twice", "env:\n  A: b\n  A: c\n", `3:3: mapping key "A" already defined at [2:3]`},
		{"unknown key", "name: x\nprots: {}\n", `2:1: unknown key "prots"`},
		{"name", "name: my pod\n", "1:7: name must be a host name"},
		{"name of a directory is free", "hostname: -x\n", "1:11: hostname must be a host name"},
		{"env is a list", "env: [A=b]\n", "1:6: env must be a mapping, not a list"},
		{"env value", "env:\n  A: [1]\n  B:\n  C: {}\n", "2:6: the value of A must be a text, a number, true or false, not a list\n" +
			"3:5: the value of B must be a text, a number, true or false, not nothing\n4:6: the value of C must be a text, a number, true or false, not a mapping"},
		{"env name", "env: {\"A=B\": c, \"\": d}\n", `1:7: "A=B" cannot be the name of an environment variable` + "\n" +
			`1:17: "" cannot be the name of an environment variable`},
		{"zero byte", "env: {A: \"a\\0b\"}\n", "1:10: the value of A holds a zero byte"},
		{"alias", "env: {A: &x b, C: *x}\n", "1:10: the value of A must be a text, a number, true or false, not an anchor or alias, which are not used here\n" +
			"1:19: the value of C must be a text, a number, true or false, not an anchor or alias, which are not used here"},
		{"merge", "env:\n  <<: {A: b}\n", "2:3: a key of env is an anchor or alias, which are not used here"},
		{"hosts", "hosts: {db: 10.0.0.300, x: [10.0.0.1, y], \"a b\": 10.0.0.2, z: fe80::1%eth0}\n",
			`1:13: the address of db: "10.0.0.300" is not one` + "\n" + `1:39: the address of x: "y" is not one` + "\n" +
				`1:43: "a b" cannot be a host name` + "\n" + `1:63: the address of z: "fe80::1%eth0" is not one`},
		{"routes", "routes:\n  inventory:80: 127.0.0.1:1\n  10.0.0.1:80: localhost:1\n  icmp://10.0.0.1:1: 127.0.0.1:1\n  10.0.0.2:1: 127.0.0.1:0\n" +
			"  10.0.0.3:1: 127.0.0.1:1\n  tcp://10.0.0.3:1: 127.0.0.1:1\n",
			`2:3: the route "inventory:80": "inventory:80" is not an address with a port` + "\n" +
				`3:16: the route 10.0.0.1:80: "localhost:1" is not an address with a port` + "\n" +
				`4:3: the route "icmp://10.0.0.1:1": unknown network "icmp"` + "\n" +
				"5:15: the route 10.0.0.2:1: nobody can be reached at port 0\n" +
				`7:3: the route "tcp://10.0.0.3:1" is there twice`},
		{"routes of Unix sockets", "routes:\n  unix://run/x: /x\n  unix:///run/../x: /x\n  unix://@: /x\n  unix:///a: \"\"\n  unix:///b: [x]\n",
			`2:3: the route "unix://run/x": "run/x" is not the path of a Unix socket` + "\n" +
				`3:3: the route "unix:///run/../x": "/run/../x" is not the path of a Unix socket` + "\n" +
				`4:3: the route "unix://@": "@" is not the path of a Unix socket` + "\n" +
				`5:14: the route unix:///a: "" is not the path of a Unix socket` + "\n" +
				"6:14: the route unix:///b: a list is not the path of a Unix socket"},
		{"ports", "ports:\n  0: {}\n  70000: {}\n  http: {}\n  80: 8080\n  81: {}\n  82: {listen: 1.2.3}\n  83: {listen: 127.0.0.1:83, apps: x}\n" +
			"  84: {listen: 127.0.0.1:84, app: 127.0.0.1:84}\n  85: {listen: 127.0.0.1:84}\n  86: {listen: 127.0.0.1:86, app: 127.0.0.1:0}\n",
			`2:3: "0" is not a port` + "\n" + `3:3: "70000" is not a port` + "\n" + `4:3: "http" is not a port` + "\n" +
				"5:7: port 80 must be a mapping, not a number\n6:3: port 81 needs a listen address\n" +
				`7:16: listen of port 82: "1.2.3" is not an address with a port` + "\n" + `8:30: unknown key of port 83 "apps"` + "\n" +
				"9:7: port 84: listen and app are the same address\n" +
				"10:16: port 85 listens at 127.0.0.1:84, and so does port 84\n11:35: app of port 86: nobody can be reached at port 0"},
		{"latency", "latency: 5\n", `1:10: latency must be a duration from 0s to 10s, not "5"`},
		{"latency too long", "latency: 11s\n", `1:10: latency must be a duration from 0s to 10s, not "11s"`},
		{"three faults", "name: [x]\nhosts: {a: b}\nfoo: 1\n", "1:7: name must be a host name\n" +
			`2:12: the address of a: "b" is not one` + "\n" + `3:1: unknown key "foo"`},
		{"too deep", "env: " + strings.Repeat("[", 5000), "1:1: the file nests too deep"},
	} {
		_, faults := parsePod([]byte(c.text), "x")
		var lines []string
		for _, f := range faults {
			lines = append(lines, fmt.Sprintf("%d:%d: %s", f.Line, f.Column, f.Message))
		}
		if diff := cmp.Diff(c.want, strings.Join(lines, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestFileError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, podFile)
	if err := os.WriteFile(path, []byte("nmae: x\nlatency: never\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDir(dir)
	want := path + ":1:1: unknown key \"nmae\"\nhint: known are: env, hostname, hosts, latency, name, offline, ports, routes\n" +
		path + ":2:10: latency must be a duration from 0s to 10s, not \"never\"\nhint: latency is the round trip to the pod, such as 20ms"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func FuzzPodYAML(f *testing.F) {
	f.Add([]byte(wholePod))
	for _, s := range []string{"", "name: x", "env: {A: &a b, C: *a}", "ports: {80: {listen: '127.0.0.1:0'}}", "? [a]\n: b", "a: !!binary x", "<<: {a: b}",
		"env:\n  A: >-\n    x\n", "---\n...\n", "\xff\xfe", "{", "env: {\"\\u0000\": x}", "hosts: {a: [[b]]}", "%YAML 1.2\n---\nname: x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, faults := parsePod(raw, "x")
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Message == "" || strings.Contains(fault.Message, "\n") {
				t.Errorf("%+v", fault)
			}
		}
		if len(faults) == 0 && (p.name == "" || p.hostname == "") {
			t.Errorf("%+v", p)
		}
	})
}
