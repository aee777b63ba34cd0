package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/launcher/config"
)

// ways are the values that tell apart where a key was set, and what is to be seen then.
var ways = map[string]struct {
	file, variable, flag string // "" where there is no such way; a flag that is only said has the value of its setting
	get                  func(*config.Config) any
	wants                [4]any // by the flag, the variable, the file, the default
}{
	"target": {`"dir:file"`, "dir:variable", "dir:flag",
		func(c *config.Config) any { return c.Target.Path }, [4]any{"dir:flag", "dir:variable", "dir:file", ""}},
	"target.namespace": {`"file"`, "variable", "flag",
		func(c *config.Config) any { return c.Target.Namespace }, [4]any{"flag", "variable", "file", ""}},
	"skip_processes": {`["F"]`, "V;W", "G",
		func(c *config.Config) any { return fmt.Sprint(c.SkipProcesses) }, [4]any{"[G]", "[V W]", "[F]", "[]"}},
	"feature.env.include": {`["F"]`, "V;W", "G",
		func(c *config.Config) any { return fmt.Sprint(c.Feature.Env.Include) }, [4]any{"[G]", "[V W]", "[F]", "[]"}},
	"feature.env.exclude": {`["F"]`, "V;W", "G",
		func(c *config.Config) any { return fmt.Sprint(c.Feature.Env.Exclude) }, [4]any{"[G]", "[V W]", "[F]", "[]"}},
	"feature.env.env_file": {`"file"`, "variable", "flag",
		func(c *config.Config) any { return c.Feature.Env.EnvFile }, [4]any{"flag", "variable", "file", ""}},
	"feature.fs.mode": {`"localwithoverrides"`, "read", "local",
		func(c *config.Config) any { return string(c.Feature.FS.Mode) }, [4]any{"local", "read", "localwithoverrides", "read"}},
	"feature.network.incoming": {`"steal"`, "false", "steal",
		func(c *config.Config) any { return string(c.Feature.Network.Incoming.Mode) }, [4]any{"steal", "off", "steal", "unset"}},
	"feature.network.outgoing": {`true`, "", "false",
		func(c *config.Config) any { return c.Feature.Network.Outgoing.TCP }, [4]any{false, nil, true, true}},
	"feature.network.outgoing.tcp": {`true`, "false", "false",
		func(c *config.Config) any { return c.Feature.Network.Outgoing.TCP }, [4]any{false, false, true, true}},
	"feature.network.outgoing.udp": {`true`, "false", "false",
		func(c *config.Config) any { return c.Feature.Network.Outgoing.UDP }, [4]any{false, false, true, true}},
	"feature.network.outgoing.ignore_localhost": {`true`, "false", "",
		func(c *config.Config) any { return c.Feature.Network.Outgoing.IgnoreLocalhost }, [4]any{nil, false, true, false}},
	"feature.network.dns.enabled": {`true`, "false", "false",
		func(c *config.Config) any { return c.Feature.Network.DNS.Enabled }, [4]any{false, false, true, true}},
	"kube_context": {`"file"`, "variable", "flag",
		func(c *config.Config) any { return c.KubeContext }, [4]any{"flag", "variable", "file", ""}},
	"accept_invalid_certificates": {`false`, "false", "true",
		func(c *config.Config) any { return c.AcceptInvalid }, [4]any{true, false, false, false}},
	"agent.image": {`"file"`, "variable", "flag",
		func(c *config.Config) any { return c.Agent.Image }, [4]any{"flag", "variable", "file", ""}},
	"agent.namespace": {`"file"`, "variable", "flag",
		func(c *config.Config) any { return c.Agent.Namespace }, [4]any{"flag", "variable", "file", ""}},
	"agent.rights": {`"node"`, "network", "",
		func(c *config.Config) any { return string(c.Agent.Rights) }, [4]any{nil, "network", "node", ""}},
	"agent.ephemeral": {`false`, "false", "true",
		func(c *config.Config) any { return c.Agent.Ephemeral != nil && *c.Agent.Ephemeral }, [4]any{true, false, false, false}},
	"agent.startup_timeout": {`1`, "2", "3",
		func(c *config.Config) any { return c.Agent.Startup }, [4]any{uint16(3), uint16(2), uint16(1), uint16(60)}},
}

// A flag wins over a variable, a variable over the file, the file over the default: for every key that has a variable or a flag.
func TestPrecedence(t *testing.T) {
	flags := map[string]setting{}
	for _, s := range settings {
		flags[s.key] = s
	}
	for _, k := range config.Keys() {
		flag, hasFlag := flags[k.Path]
		if k.Class != "works" || k.Variable == "" && !hasFlag {
			continue
		}
		way, ok := ways[k.Path]
		if !ok || (way.variable == "") != (k.Variable == "") || (way.flag == "") == hasFlag {
			t.Errorf("%s: variable %q, flag %q: not in the table of ways, or not so", k.Path, k.Variable, flag.name)
			continue
		}
		dir := t.TempDir()
		for _, name := range []string{"file", "variable", "flag"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text := way.file
		steps := strings.Split(k.Path, ".")
		for i := len(steps) - 1; i >= 0; i-- {
			text = fmt.Sprintf("{%q: %s}", steps[i], text)
		}
		if err := os.WriteFile(filepath.Join(dir, "m.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// With the strongest way first, each is taken away in turn.
		for i := range 4 {
			if way.wants[i] == nil {
				continue
			}
			o := config.LoadOptions{Dir: dir, LookupEnv: func(string) (string, bool) { return "", false }}
			if i <= 2 {
				o.File = "m.json"
			}
			if i <= 1 && k.Variable != "" {
				o.LookupEnv = func(name string) (string, bool) {
					if name != k.Variable {
						return "", false
					}
					return way.variable, true
				}
			}
			if i == 0 {
				o.Flags = []config.Override{{Source: "--" + flag.name, Path: k.Path, Value: way.flag}}
			}
			c, _, err := config.Load(o)
			if err != nil {
				t.Errorf("%s: %v", k.Path, err)
			} else if got := way.get(c); got != way.wants[i] {
				t.Errorf("%s, set by the %s and all below: %v, not %v", k.Path, [...]string{"flag", "variable", "file", "default"}[i], got, way.wants[i])
			}
		}
	}
}

// The variables that the leading peer's flags set are read here too.
func TestVariablesOfThePeersFlags(t *testing.T) {
	known := map[string]string{}
	for _, k := range config.Keys() {
		known[k.Variable] = k.Path
	}
	for flag, variable := range map[string]string{
		"target": "MIRRORD_IMPERSONATED_TARGET", "target-namespace": "MIRRORD_TARGET_NAMESPACE", "agent-namespace": "MIRRORD_AGENT_NAMESPACE",
		"agent-log-level": "MIRRORD_AGENT_RUST_LOG", "agent-image": "MIRRORD_AGENT_IMAGE", "agent-ttl": "MIRRORD_AGENT_TTL",
		"agent-startup-timeout": "MIRRORD_AGENT_STARTUP_TIMEOUT", "ephemeral-container": "MIRRORD_EPHEMERAL_CONTAINER", "fs-mode": "MIRRORD_FILE_MODE",
		"override-env-vars-exclude": "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "override-env-vars-include": "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE",
		"env-file": "MIRRORD_OVERRIDE_ENV_VARS_FILE", "no-remote-dns": "MIRRORD_REMOTE_DNS", "skip-processes": "MIRRORD_SKIP_PROCESSES",
		"accept-invalid-certificates": "MIRRORD_ACCEPT_INVALID_CERTIFICATES", "steal": "MIRRORD_AGENT_TCP_STEAL_TRAFFIC",
		"no-tcp-outgoing": "MIRRORD_TCP_OUTGOING", "no-udp-outgoing": "MIRRORD_UDP_OUTGOING", "no-telemetry": "MIRRORD_TELEMETRY",
		"context": "MIRRORD_KUBE_CONTEXT", "key": "MIRRORD_KEY",
	} {
		found := false
		for _, s := range settings {
			found = found || s.name == flag && s.key == known[variable]
		}
		if !found || known[variable] == "" {
			t.Errorf("--%s and %s do not set the same key", flag, variable)
		}
	}
}
