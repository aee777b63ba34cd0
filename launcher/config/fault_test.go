package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFaults(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"m.yaml", "feature:\n  netwrok: {}\n  fs: reed\ntelemetri: false\n", "" +
			"3 faults in the configuration\n" +
			"m.yaml:2:3: field `feature.netwrok` is unknown\nhint: did you mean `feature.network`?\n" +
			"m.yaml:3:7: field `feature.fs` must be one of \"read\", \"write\", \"overlay\", \"local\", \"localwithoverrides\", not \"reed\"\nhint: did you mean \"read\"?\n" +
			"m.yaml:4:1: field `telemetri` is unknown\nhint: did you mean `telemetry`?"},
		{"m.json", "{\n\t\"feature\": {\"env\": {\"include\": \"A\", \"exclude\": [\"B\", 3]}},\n\t\"operator\": true\n}\n", "" +
			"3 faults in the configuration\n" +
			"m.json:2:38: field `feature.env.exclude` cannot be combined with `feature.env.include` (m.json:2:22)\nhint: keep one of the two\n" +
			"m.json:2:55: field `feature.env.exclude` must be a string or a list of strings, not 3\n" +
			"m.json:3:2: field `operator` is not built yet\nhint: there is no operator here; leave the key out"},
		{"m.toml", "target = \"cart\"\n[feature]\nfs.mode = \"writing\"\nnet.x = 3\n[feature.env]\noverride = { \"B=C\" = 1 }\n", "" +
			"4 faults in the configuration\n" +
			"m.toml:1:11: field `target` \"cart\" does not say what kind of target it is\nhint: write `deployment/cart`, `pod/cart` or `dir:cart`\n" +
			"m.toml:3:12: field `feature.fs.mode` must be one of \"read\", \"write\", \"overlay\", \"local\", \"localwithoverrides\", not \"writing\"\nhint: did you mean \"write\"?\n" +
			"m.toml:4:9: field `feature.net` is unknown\nhint: `mirrord schema` prints all keys\n" +
			"m.toml:6:13: field `feature.env.override` has the variable \"B=C\", whose name has a '=' or NUL in it"},
		{"m.json", "[]", "m.json:1:1: a configuration is an object, not a list"},
		{"m.yaml", "- a\n", "m.yaml:1:1: a configuration is an object, not a list"},
		{"m.toml", "a = '" + strings.Repeat("x", maxFile) + "'", "--config-file: cannot be read: it is larger than 64 KiB"},
	} {
		_, _, err := load(t, test.name, test.content, nil)
		if err == nil {
			t.Errorf("no error, want %s", test.want)
			continue
		}
		if diff := cmp.Diff(strings.Split(test.want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", test.name, test.content, diff)
		}
	}
}

func TestFaultsOfValues(t *testing.T) {
	for _, test := range []struct{ content, want string }{
		{"target: targetless\nfeature: {network: {incoming: steal}}", "2:21: field `feature.network.incoming.mode` is \"steal\", but without a target there are no connections to steal"},
		{"target: targetless\nagent: {rights: node}", "2:9: field `agent.rights` is about a target, and there is none"},
		{"agent: {tolerations: [{keys: a}]}", "1:24: field `agent.tolerations` has a toleration with the unknown \"keys\""},
		{"agent: {tolerations: [{key: [gpu], operator: Exists}]}", "1:29: field `agent.tolerations` must be tolerations with plain values, not a list"},
		{"agent: {tolerations: [a]}", "1:23: field `agent.tolerations` must be a list of tolerations"},
		{"agent: {resources: {request: {cpu: 1}}}", "1:21: field `agent.resources` has the unknown \"request\""},
		{"agent: {image_pull_secrets: [{names: a}]}", "1:30: field `agent.image_pull_secrets` must be names of Secrets"},
		{`target: {pod: 3}`, "1:15: field `target.pod` must be a string, not 3"},
		{`target: {pod: x, deployment: y}`, "1:30: field `target.deployment` is a second target beside pod/x\nhint: keep one of the two"},
		{`target: {path: {pods: x}}`, "field `target.path` has the unknown kind \"pods\"\nhint: kinds are container, cron_job"},
		{`target: {container: x}`, "field `target.container` names a container without its pod"},
		{`target: {pod: ""}`, "field `target` names no pod"},
		{`agent: {startup_timeout: 0}`, "must be a number of seconds from 1 to 65535, not 0"},
		{`agent: {startup_timeout: "5"}`, "must be a number of seconds from 1 to 65535, not \"5\""},
		{`agent: {image_pull_policy: sometimes}`, "field `agent.image_pull_policy` must be"},
		{`agent: {image: {registry: x}}`, "field `agent.image` must be a string, not an object"},
		{`target: pod/x/y`, "\"pod/x/y\" is not KIND/NAME"},
		{`target: pods/x`, "has the unknown kind \"pods\""},
		{`target: ./x`, "hint: for a pod directory write `dir:./x`"},
		{`target: "dir:"`, "names no folder"},
		{`target: 3`, "must be a string like \"dir:PATH\" or \"deployment/NAME\", not 3"},
		{`feature: true`, "1:10: field `feature` must be an object, not true"},
		{`feature: {hostname: !!str true}`, "must be true or false, not \"true\""},
		{`feature: {env: 1}`, "must be true or false, not 1"},
		{`feature: {env: {include: {a: b}}}`, "must be a list, not an object"},
		{`feature: {env: {override: [A=1]}}`, "must be an object of names and values, not a list"},
		{`feature: {env: {override: {A: [1]}}}`, "has a list for \"A\"; a value is a string"},
		{`feature: {fs: {mapping: {"a(?=b)": x}}}`, "has the pattern \"a(?=b)\": column 2: look-ahead"},
		{`feature: {fs: {mapping: [a]}}`, "must be an object"},
		{`feature: {env: {mapping: {"(": x}}}`, "has the pattern \"(\": missing closing ): `(`"},
		{`feature: {env: {env_file: gone}}`, "1:17: field `feature.env.env_file` cannot be read: open "},
		{`feature: {fs: {not_found: [a, "x(?=y)"]}}`, "1:31: field `feature.fs.not_found` has the pattern \"x(?=y)\": column 2: look-ahead is not supported (patterns are RE2)"},
		{`feature: {fs: {local: 3}}`, "must be a pattern or a list of patterns, not 3"},
		{`feature: {network: {incoming: miror}}`, "must be one of \"mirror\", \"steal\", \"off\", not \"miror\"\nhint: did you mean \"mirror\"?"},
		{`feature: {network: {incoming: {port_mapping: 80}}}`, "1:46: field `feature.network.incoming.port_mapping` must be a list of pairs of ports, [[local, remote], ...], not 80"},
		{`feature: {network: {incoming: {port_mapping: [80, 81, 82]}}}`, "1:46: field `feature.network.incoming.port_mapping` must be pairs of ports, [local, remote], not a list"},
		{`feature: {network: {incoming: {port_mapping: [[80, 81, 82]]}}}`, "must be pairs of ports, [local, remote], not a list"},
		{`feature: {network: {incoming: {port_mapping: [[80, 0]]}}}`, "1:52: field `feature.network.incoming.port_mapping` must be pairs of ports, whole numbers from 1 to 65535, not 0"},
		{`feature: {network: {incoming: {port_mapping: [[80, x]]}}}`, "not \"x\""},
		{`feature: {network: {incoming: {port_mapping: [[80, 90], [81, 90]]}}}`, "1:57: field `feature.network.incoming.port_mapping` has the remote port 90 twice"},
		{`feature: {network: {incoming: {listen_ports: [[80, 90], [80, 91]]}}}`, "1:57: field `feature.network.incoming.listen_ports` has the asked port 80 twice"},
		{`feature: {network: {incoming: {listen_ports: {80: 90}}}}`, "must be a list of pairs of ports, [[asked, actual], ...], not an object"},
		{`feature: {network: {incoming: {ignore_localhost: 7}}}`, "1:50: field `feature.network.incoming.ignore_localhost` must be true or false, not 7"},
		{`feature: {network: {incoming: {ports: [80, 70000]}}}`, "1:44: field `feature.network.incoming.ports` must be ports, whole numbers from 1 to 65535, not 70000"},
		{`feature: {network: {incoming: {ports: 0}}}`, "not 0"},
		{`feature: {network: {incoming: {ports: 1, ignore_ports: 2}}}`, "cannot be combined with `feature.network.incoming.ports` (m.yaml:1:32)"},
		{`feature: {network: {outgoing: {unix_streams: ["^/run/", "(x"]}}}`, "1:57: field `feature.network.outgoing.unix_streams` has the pattern \"(x\": column 1"},
		{`feature: {network: {outgoing: {filter: {local: a, remote: b}}}}`, "field `feature.network.outgoing.filter.local` cannot be combined"},
		{`feature: {network: {dns: {filter: {local: a, remote: b}}}}`, "field `feature.network.dns.filter.local` cannot be combined"},
		{`feature: {network: {dns: {filter: {local: "udp://a"}}}}`, "has the entry \"udp://a\": a name has no protocol"},
		{`feature: {network: {outgoing: {filter: {local: [10.0.0.0/99]}}}}`, "\"10.0.0.0/99\" is not an address with a mask"},
		{`feature: {network: {incoming: {http_filter: {header_filter: x}}}}`, "field `feature.network.incoming.http_filter` is not built yet"},
		{`feature: {network: {ipv6: 4}}`, "feature.network.ipv6"},
		{`incoming: steal`, "field `incoming` is unknown\nhint: did you mean `feature.network.incoming`?"},
		{`qqqqqqqqqqqq: 1`, "1:1: field `qqqqqqqqqqqq` is unknown"},
	} {
		_, _, err := load(t, "m.yaml", test.content, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\ngot  %v\nwant %s", test.content, err, test.want)
		}
	}
}

func TestFaultsOfVariablesAndFlags(t *testing.T) {
	_, _, err := load(t, "m.yaml", "feature: {env: {exclude: X}, fs: 1}",
		map[string]string{"MIRRORD_FILE_MODE": "reading", "MIRRORD_TCP_OUTGOING": "maybe"},
		Override{"--fs-mode", "feature.fs.mode", "none"}, Override{"-s", "feature.env.include", "A"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{
		"MIRRORD_FILE_MODE: field `feature.fs.mode` must be one of \"read\", \"write\", \"overlay\", \"local\", \"localwithoverrides\", not \"reading\"\nhint: did you mean \"read\"?",
		"MIRRORD_TCP_OUTGOING: field `feature.network.outgoing.tcp` must be true or false, not \"maybe\"",
		"--fs-mode: field `feature.fs.mode` must be one of",
		"cannot be combined with `feature.env.include` (-s)",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("missing: %s\nin: %v", part, err)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, test := range []struct{ word, want string }{
		{"netwrok", "network"}, {"Network", "network"}, {"hostnam", "hostname"}, {"fz", "fs"}, {"completely-different", ""}, {"", "fs"},
	} {
		if got := Nearest(test.word, []string{"network", "hostname", "fs"}); got != test.want {
			t.Errorf("%q: %q, want %q", test.word, got, test.want)
		}
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("kitten to sitting: %d", d)
	}
}

// Every row of the table must be reachable: its section exists, and no path or variable is there twice.
func TestKeys(t *testing.T) {
	paths, variables := map[string]bool{}, map[string]bool{}
	for _, k := range keys {
		if paths[k.path] || k.variable != "" && variables[k.variable] {
			t.Errorf("%s is there twice", k.path)
		}
		paths[k.path], variables[k.variable] = true, true
		if i := strings.LastIndexByte(k.path, '.'); i >= 0 && !paths[k.path[:i]] {
			t.Errorf("%s comes before its section", k.path)
		}
		if k.class == works && k.set == nil && len(children(k.path)) == 0 {
			t.Errorf("%s works, but nothing sets it", k.path)
		}
	}
}
