package config

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/launcher/config/traffic"
)

// load loads a file of that name and content, with these variables only.
func load(t testing.TB, name, content string, env map[string]string, flags ...Override) (*Config, []Warning, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(LoadOptions{Dir: dir, File: name, LookupEnv: lookupIn(env), Flags: flags})
}

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func mustLoad(t testing.TB, name, content string, env map[string]string, flags ...Override) *Config {
	t.Helper()
	c, _, err := load(t, name, content, env, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var ignoreRule = cmpopts.EquateComparable(traffic.Rule{})

//go:embed testdata/everything.yaml
var everythingYAML string

//go:embed testdata/everything.toml
var everythingTOML string

//go:embed testdata/everything.json
var everythingJSON string

func TestFormatsSayTheSame(t *testing.T) {
	want := mustLoad(t, "m.yaml", everythingYAML, nil)
	if got := want.Feature.Network.DNS.Filter.Local; !cmp.Equal(got, []traffic.Rule{{Host: "db.internal", Port: 5432}}, ignoreRule) {
		t.Errorf("the host of the outgoing filter is not in the DNS filter: %v", got)
	}
	if got, want := want.Feature.Env.Override, (map[string]string{"PORT": "8080", "DEBUG": "true", "EMPTY": "", "TEXT": "hello", "SAME": "hello"}); !cmp.Equal(got, want) {
		t.Errorf("override %v", got)
	}
	again, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	decoded, parsed := Default(), *want
	if err := json.Unmarshal(again, decoded); err != nil {
		t.Fatal(err)
	}
	parsed.Target.Kind, parsed.Target.Name = "", ""
	if diff := cmp.Diff(&parsed, decoded, ignoreRule, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("decoded without Load (-want +got):\n%s", diff)
	}
	for name, content := range map[string]string{
		"m.toml": everythingTOML, "m.json": everythingJSON, "m": everythingJSON, "m.yml": everythingYAML, "bom.json": "\ufeff" + everythingJSON, "again.json": string(again),
	} {
		got := mustLoad(t, name, content, nil)
		if diff := cmp.Diff(want, got, ignoreRule); diff != "" {
			t.Errorf("%s (-yaml +%s):\n%s", name, name, diff)
		}
	}
	got, _, err := Load(LoadOptions{File: "-", Stdin: strings.NewReader(everythingJSON), LookupEnv: lookupIn(nil)})
	if diff := cmp.Diff(want, got, ignoreRule); err != nil || diff != "" {
		t.Errorf("from stdin: %v\n%s", err, diff)
	}
}

func TestDefaultsRoundTrip(t *testing.T) {
	for _, content := range []string{"", "{}", "feature:\n", "# nothing", "feature: {env: true, fs: true, network: {incoming: true, outgoing: true, dns: true}, hostname: true}"} {
		c := mustLoad(t, "m.yaml", content, nil)
		if diff := cmp.Diff(Default(), c); diff != "" {
			t.Errorf("%q is not the default:\n%s", content, diff)
		}
	}
	data, err := json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), mustLoad(t, "m.json", string(data), nil)); diff != "" {
		t.Errorf("%s is not the default:\n%s", data, diff)
	}
}

func TestShorthands(t *testing.T) {
	for content, want := range map[string]func(*Config){
		`{"target": "deploy/x/container/c"}`: func(c *Config) {
			c.Target = Target{Path: "deploy/x/container/c", Kind: "deployment", Name: "x", Container: "c"}
		},
		`{"target": {"container": "c", "cron_job": "x", "namespace": "n"}}`: func(c *Config) {
			c.Target = Target{Path: "cronjob/x/container/c", Kind: "cronjob", Name: "x", Container: "c", Namespace: "n"}
		},
		`{"target": {"namespace": "n", "path": {"labels": {"app": "x", "tier": "y"}}}}`: func(c *Config) {
			c.Target = Target{Path: "label/app=x,tier=y", Kind: "label", Name: "app=x,tier=y", Namespace: "n"}
		},
		`{"agent": {"image": "x:1", "image_pull_policy": "never", "startup_timeout": 5, "communication_timeout": 2}}`: func(c *Config) {
			c.Agent = Agent{Image: "x:1", PullPolicy: "Never", Startup: 5, Communication: 2}
		},
		`{"kube_context": "x", "kubeconfig": "a:b", "accept_invalid_certificates": true}`: func(c *Config) {
			c.KubeContext, c.Kubeconfig, c.AcceptInvalid = "x", "a:b", true
		},
		`{"target": "dir:/pods/x"}`:                                            func(c *Config) { c.Target = Target{Path: "dir:/pods/x", Kind: "dir", Name: "/pods/x"} },
		`{"feature": {"env": false}}`:                                          func(c *Config) { c.Feature.Env.Exclude = []string{"*"} },
		`{"feature": {"fs": false}}`:                                           func(c *Config) { c.Feature.FS.Mode = FSLocal },
		`{"feature": {"fs": "local"}}`:                                         func(c *Config) { c.Feature.FS.Mode = FSLocal },
		`{"feature": {"fs": "Read"}}`:                                          func(c *Config) {},
		`{"feature": {"network": {"incoming": "steal"}}}`:                      func(c *Config) { c.Feature.Network.Incoming.Mode = traffic.Steal },
		`{"feature": {"network": {"incoming": {"port_mapping": [3000, 80]}}}}`: func(c *Config) { c.Feature.Network.Incoming.PortMapping = [][2]uint16{{3000, 80}} },
		`{"feature": {"network": {"incoming": "Mirror"}}}`:                     func(c *Config) { c.Feature.Network.Incoming.Mode = traffic.Mirror },
		`{"feature": {"network": {"incoming": false}}}`:                        func(c *Config) { c.Feature.Network.Incoming.Mode = traffic.Off },
		`{"feature": {"network": {"outgoing": false}}}`:                        func(c *Config) { c.Feature.Network.Outgoing = Outgoing{} },
		`{"feature": {"network": {"dns": false}}}`:                             func(c *Config) { c.Feature.Network.DNS.Enabled = false },
		`{"feature": {"network": false}}`:                                      func(c *Config) { c.Feature.Network = Network{Incoming: traffic.Incoming{Mode: traffic.Off}} },
		`{"feature": {"network": {"incoming": {"ports":9}}}}`:                  func(c *Config) { c.Feature.Network.Incoming.Ports = []uint16{9} },
	} {
		c := Default()
		want(c)
		if diff := cmp.Diff(c, mustLoad(t, "m.json", content, nil)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", content, diff)
		}
	}
}

func TestHostsOfOutgoingFilter(t *testing.T) {
	db, x := traffic.Rule{Host: "db", Port: 80}, traffic.Rule{Host: "x"}
	for filters, want := range map[string]traffic.Filter{
		`"outgoing": {"filter": {"remote": ["tcp://db:80", "udp://db:80", "10.0.0.1"]}}`:             {Remote: []traffic.Rule{db}},
		`"outgoing": {"filter": {"local": ["db:80"]}}, "dns": {"filter": {"local": ["x", "db:80"]}}`: {Local: []traffic.Rule{x, db}},
		`"outgoing": {"filter": {"local": ["db:80"]}}, "dns": {"filter": {"remote": "x"}}`:           {Remote: []traffic.Rule{x}},
		`"outgoing": {"filter": {"remote": ["db:80"]}}, "dns": {"filter": {"local": "x"}}`:           {Local: []traffic.Rule{x}},
		`"outgoing": {"filter": {"remote": ["10.0.0.1"]}}`:                                           {},
	} {
		got := mustLoad(t, "m.json", `{"feature": {"network": {`+filters+`}}}`, nil).Feature.Network.DNS.Filter
		if diff := cmp.Diff(want, got, ignoreRule); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filters, diff)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := `{"target": {"path": "dir:file", "namespace": "shop"}, "feature": {"fs": "local", "env": {"include": ["FILE"]}, "network": {"incoming": "off"}}}`
	env := map[string]string{"MIRRORD_IMPERSONATED_TARGET": "dir:variable", "MIRRORD_FILE_MODE": "localwithoverrides", "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE": "A;B"}
	flags := []Override{{"--fs-mode", "feature.fs.mode", "read"}, {"--steal", "feature.network.incoming.mode", "steal"}}
	c := mustLoad(t, "m.json", file, env, flags...)
	want := Default()
	want.Target = Target{Path: "dir:variable", Namespace: "shop", Kind: "dir", Name: "variable"}
	want.Feature.Env.Include = []string{"A", "B"}
	want.Feature.FS.Mode = FSRead
	want.Feature.Network.Incoming.Mode = traffic.Steal
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVariables(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        func(*Config)
	}{
		{"MIRRORD_FILE_MODE", "", func(*Config) {}},
		{"MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "true", func(c *Config) { c.Feature.Network.Incoming.Mode = traffic.Steal }},
		{"MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "false", func(c *Config) { c.Feature.Network.Incoming.Mode = traffic.Off }},
		{"MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal", func(c *Config) { c.Feature.Network.Incoming.Mode = traffic.Steal }},
		{"MIRRORD_REMOTE_DNS", "false", func(c *Config) { c.Feature.Network.DNS.Enabled = false }},
		{"MIRRORD_TCP_OUTGOING", "false", func(c *Config) { c.Feature.Network.Outgoing.TCP = false }},
		{"MIRRORD_UDP_OUTGOING", "0", func(c *Config) { c.Feature.Network.Outgoing.UDP = false }},
		{"MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "A; B;", func(c *Config) { c.Feature.Env.Exclude = []string{"A", "B"} }},
		{"MIRRORD_TARGET_NAMESPACE", "shop", func(c *Config) { c.Target.Namespace = "shop" }},
		{"MIRRORD_TELEMETRY", "false", func(*Config) {}},
		{"MIRRORD_SOMETHING_ELSE", "x", func(*Config) {}},
	} {
		got, _, err := Load(LoadOptions{Dir: t.TempDir(), LookupEnv: lookupIn(map[string]string{test.name: test.value})})
		want := Default()
		test.want(want)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s=%s: %v\n%s", test.name, test.value, err, diff)
		}
	}
}

func TestDefaultFile(t *testing.T) {
	dir := t.TempDir()
	loadDir := func() (*Config, error) {
		c, _, err := Load(LoadOptions{Dir: dir, LookupEnv: lookupIn(nil)})
		return c, err
	}
	if err := os.Mkdir(filepath.Join(dir, ".mirrord"), 0o700); err != nil {
		t.Fatal(err)
	}
	if c, err := loadDir(); err != nil || !cmp.Equal(c, Default()) {
		t.Errorf("without a file: %v", err)
	}
	for _, ext := range []string{"json", "yaml", "yml", "toml"} {
		path := filepath.Join(dir, ".mirrord", "mirrord."+ext)
		content := `{"target": "dir:x"}`
		if ext == "toml" {
			content = `target = "dir:x"`
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := loadDir(); err != nil || c.Target.Name != "x" {
			t.Errorf("%s: %v", ext, err)
		}
		if ext != "toml" {
			os.Remove(path)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".mirrord", "mirrord.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := loadDir()
	want := ".mirrord/mirrord.toml: is a second configuration beside .mirrord/mirrord.json\nhint: remove one, or name one with `-f`"
	if err == nil || err.Error() != want {
		t.Errorf("two files: %v", err)
	}
	_, _, err = Load(LoadOptions{Dir: dir, LookupEnv: lookupIn(map[string]string{"MIRRORD_CONFIG_FILE": "gone.json"})})
	if err == nil || !strings.HasPrefix(err.Error(), "MIRRORD_CONFIG_FILE: cannot be read: open ") || !strings.HasSuffix(err.Error(), "gone.json: no such file or directory") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestEnvFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("A=1\nB='two words'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(LoadOptions{Dir: dir, LookupEnv: lookupIn(map[string]string{"MIRRORD_OVERRIDE_ENV_VARS_FILE": ".env"})})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "two words"}, c.Feature.Env.File); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, _, err = load(t, "m.yaml", "feature: {env: {env_file: m.yaml}}", nil)
	if err == nil || !strings.HasPrefix(err.Error(), "m.yaml:1: is not NAME=value") {
		t.Errorf("a file that is none: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	_, warnings, err := load(t, "m.yaml", `
telemetry: false
operator: false
agent: {ttl: 30, metrics: {registry: x, tag: y}}
experimental: {tcp_ping4_mock: false}
feature:
  copy_target: {enabled: false}
  fs: {mode: local, read_only: x}
  network: {dns: false, outgoing: {filter: {remote: [db]}}, ipv6: true, incoming: {http_filter: {}, on_concurrent_steal: abort}}
`, map[string]string{"MIRRORD_TELEMETRY": "false"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Warning{
		{Message: "without effect here: agent.metrics, agent.ttl, experimental.tcp_ping4_mock, feature.copy_target.enabled, " +
			"feature.network.incoming.http_filter, feature.network.incoming.on_concurrent_steal, operator, telemetry"},
		{Message: "`feature.network.outgoing.filter.remote` names hosts, but names are resolved on this machine", Hint: "set `feature.network.dns.enabled`, or give addresses"},
		{Message: "`feature.fs.mode` is \"local\", so no pattern of `feature.fs` has an effect", Hint: "mode \"localwithoverrides\" is local except for the patterns"},
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever is in the file, Load ends with a configuration or with faults that can be shown.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{everythingYAML, everythingJSON, "a: &a [*a]\n<<: *a\n? [x]\n: y\n", "{\"feature\": {\"env\": {\"override\": {\"A\": [1,", "- !!str 4\n--- |\n x", "[[target]]"} {
		f.Add(s, "m.yaml")
		f.Add(s, "m.json")
	}
	f.Add(everythingTOML, "m.toml")
	f.Fuzz(func(t *testing.T, content, name string) {
		d := newDecoder()
		d.document(name, []byte(content))
		d.check()
		if len(d.faults) > 0 {
			for _, fault := range d.faults {
				if fault.Problem == "" {
					t.Fatalf("%+v cannot be shown", fault)
				}
			}
			return
		}
		data, err := json.Marshal(d.config)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("{{")) || bytes.Contains(data, []byte("{%")) || !utf8.ValidString(content) {
			return // only an escape can bring these in
		}
		again := newDecoder()
		again.document("again.json", data)
		again.check()
		if len(again.faults) > 0 {
			t.Fatalf("%s: %v", data, again.faults)
		}
		if diff := cmp.Diff(d.config, again.config, ignoreRule, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s reads differently:\n%s", data, diff)
		}
	})
}

// The peer's key and ours about what the agent may do are one setting.
func TestRights(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                        "",
		`{"rights": "Network"}`:                     "network",
		`{"ephemeral": false}`:                      "node",
		`{"ephemeral": true}`:                       "",
		`{"rights": "everyone"}`:                    "agent.rights",
		`{"rights": "node", "ephemeral": true}`:     "agent.ephemeral",
		`{"rights": "network", "ephemeral": false}`: "agent.ephemeral",
	} {
		c, _, err := Load(LoadOptions{File: "-", Stdin: strings.NewReader(`{"agent": ` + text + `}`), LookupEnv: func(string) (string, bool) { return "", false }})
		if strings.HasPrefix(want, "agent.") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
		} else if err != nil || string(c.Agent.Rights) != want {
			t.Errorf("%s: %v, %v", text, c, err)
		}
	}
}

// What describes the agent's own pod, in Kubernetes' and in our shorter words.
func TestAgentPod(t *testing.T) {
	c, _, err := load(t, "m.yaml", `
target: targetless
agent:
  namespace: tools
  labels: {team: shop}
  annotations: {a: 1}
  node_selector: {disk: ssd}
  tolerations: [{key: gpu, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
  resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}
  service_account: quiet
  priority_class: low
  image_pull_secrets: [one, {name: two}]
feature: {fs: {read_only: x}, network: {incoming: mirror}}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	five := int64(5)
	want := Agent{
		Startup: 60, Communication: 30, Namespace: "tools", Labels: map[string]string{"team": "shop"}, Annotations: map[string]string{"a": "1"}, NodeSelector: map[string]string{"disk": "ssd"},
		Tolerations:    []Toleration{{Key: "gpu", Operator: "Exists", Effect: "NoExecute", Seconds: &five}},
		Resources:      Resources{Requests: map[string]string{"cpu": "10m"}, Limits: map[string]string{"memory": "64Mi"}},
		ServiceAccount: "quiet", PriorityClass: "low", PullSecrets: []string{"one", "two"},
	}
	if diff := cmp.Diff(want, c.Agent); diff != "" {
		t.Error(diff)
	}
	if f := c.Feature; f.FS.Mode != FSLocal || f.FS.ReadOnly != nil || f.Network.Incoming.Mode != traffic.Off || !f.Network.DNS.Enabled {
		t.Errorf("without a target: %+v", f)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := load(t, "m.json", string(raw), nil)
	if diff := cmp.Diff(c, again); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestIdentityMapping(t *testing.T) {
	_, warnings, err := Load(LoadOptions{File: "-", Stdin: strings.NewReader(`{"feature": {"network": {"incoming": {"port_mapping": [[80, 80]]}}}}`), LookupEnv: lookupIn(nil)})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "maps port 80 to itself") {
		t.Errorf("%v, %v", warnings, err)
	}
}
