package config

import (
	"slices"
	"strings"

	"mirrord/launcher/config/document"
	"mirrord/launcher/config/traffic"
)

// class says what becomes of a key that users of the leading peer know.
type class int

const (
	works   class = iota
	ignored       // makes no difference here: one warning names all of them
	unbuilt       // would change what the program sees: an error
)

// setter puts the value of a key into the decoder's configuration, or fails there.
type setter func(*decoder, *document.Node)

// key is a row of the table. A key whose path is the beginning of others' is a section.
type key struct {
	path     string
	class    class
	set      setter // of keys that work; for a section, its shorthand for a value that is no object
	fine     string // of unbuilt: the value that asks for what happens anyway, so it is ignored
	variable string // the environment variable that sets it; "" when there is none
	hint     string // of unbuilt: what to do instead
}

const noOperator = "it needs the peer's operator"

// keys classifies every key, in the order in which people meet them.
var keys = slices.Concat([]key{
	{path: "$schema", set: func(*decoder, *document.Node) {}}, // editors put it there
	{path: "target", set: setTarget, variable: "MIRRORD_IMPERSONATED_TARGET"},
	{path: "target.path", set: setTarget},
	{path: "target.namespace", set: stringKey(func(c *Config) *string { return &c.Target.Namespace }), variable: "MIRRORD_TARGET_NAMESPACE"},

	{path: "feature"},
	{path: "feature.env", set: shortEnv},
	{path: "feature.env.include", set: listKey(func(c *Config) *[]string { return &c.Feature.Env.Include }), variable: "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE"},
	{path: "feature.env.exclude", set: listKey(func(c *Config) *[]string { return &c.Feature.Env.Exclude }), variable: "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE"},
	{path: "feature.env.override", set: mapKey(func(c *Config) *map[string]string { return &c.Feature.Env.Override })},
	{path: "feature.env.unset", set: listKey(func(c *Config) *[]string { return &c.Feature.Env.Unset })},
	{path: "feature.env.env_file", set: stringKey(func(c *Config) *string { return &c.Feature.Env.EnvFile }), variable: "MIRRORD_OVERRIDE_ENV_VARS_FILE"},
	{path: "feature.env.mapping", set: setMapping},
	{path: "feature.env.load_from_process", class: ignored},

	{path: "feature.fs", set: shortFS},
	{path: "feature.fs.mode", set: setFSMode, variable: "MIRRORD_FILE_MODE"},
	{path: "feature.fs.read_only", set: patternsKey(func(c *Config) *[]string { return &c.Feature.FS.ReadOnly })},
	{path: "feature.fs.local", set: patternsKey(func(c *Config) *[]string { return &c.Feature.FS.Local })},
	{path: "feature.fs.not_found", set: patternsKey(func(c *Config) *[]string { return &c.Feature.FS.NotFound })},
	{path: "feature.fs.read_write", set: patternsKey(func(c *Config) *[]string { return &c.Feature.FS.ReadWrite })},
	{path: "feature.fs.overlay", set: stringKey(func(c *Config) *string { return &c.Feature.FS.Overlay })},
	{path: "feature.fs.mapping", set: setPathMapping},
	{path: "feature.fs.readonly_file_buffer", class: ignored},

	{path: "feature.network", set: shortNetwork},
	{path: "feature.network.incoming", set: setIncoming, variable: "MIRRORD_AGENT_TCP_STEAL_TRAFFIC"},
	{path: "feature.network.incoming.mode", set: setIncomingMode},
	{path: "feature.network.incoming.ports", set: portsKey(func(c *Config) *[]uint16 { return &c.Feature.Network.Incoming.Ports })},
	{path: "feature.network.incoming.ignore_ports", set: portsKey(func(c *Config) *[]uint16 { return &c.Feature.Network.Incoming.IgnorePorts })},
	{path: "feature.network.incoming.http_filter", class: unbuilt, fine: "{}", hint: "without a filter, `ports` chooses what is stolen"},
	{path: "feature.network.incoming.port_mapping", set: pairsKey([2]string{"local", "remote"}, func(c *Config) *[][2]uint16 { return &c.Feature.Network.Incoming.PortMapping })},
	{path: "feature.network.incoming.listen_ports", set: pairsKey([2]string{"asked", "actual"}, func(c *Config) *[][2]uint16 { return &c.Feature.Network.Incoming.ListenPorts })},
	{path: "feature.network.incoming.ignore_localhost", set: boolKey(func(c *Config) *bool { return &c.Feature.Network.Incoming.IgnoreLocalhost })},
	{path: "feature.network.incoming.tls_delivery", class: unbuilt, hint: noOperator},
	{path: "feature.network.incoming.https_delivery", class: unbuilt, hint: noOperator},
	{path: "feature.network.incoming.on_concurrent_steal", class: unbuilt, fine: "abort"},
	{path: "feature.network.outgoing", set: shortOutgoing},
	{path: "feature.network.outgoing.tcp", set: boolKey(func(c *Config) *bool { return &c.Feature.Network.Outgoing.TCP }), variable: "MIRRORD_TCP_OUTGOING"},
	{path: "feature.network.outgoing.udp", set: boolKey(func(c *Config) *bool { return &c.Feature.Network.Outgoing.UDP }), variable: "MIRRORD_UDP_OUTGOING"},
	{path: "feature.network.outgoing.ignore_localhost", set: boolKey(func(c *Config) *bool { return &c.Feature.Network.Outgoing.IgnoreLocalhost }), variable: "MIRRORD_OUTGOING_IGNORE_LOCALHOST"},
	{path: "feature.network.outgoing.filter"},
	{path: "feature.network.outgoing.filter.remote", set: rulesKey(func(c *Config) *[]traffic.Rule { return &c.Feature.Network.Outgoing.Filter.Remote })},
	{path: "feature.network.outgoing.filter.local", set: rulesKey(func(c *Config) *[]traffic.Rule { return &c.Feature.Network.Outgoing.Filter.Local })},
	{path: "feature.network.outgoing.unix_streams", set: patternsKey(func(c *Config) *[]string { return &c.Feature.Network.Outgoing.UnixStreams })},
	{path: "feature.network.dns", set: boolKey(dnsEnabled)},
	{path: "feature.network.dns.enabled", set: boolKey(dnsEnabled), variable: "MIRRORD_REMOTE_DNS"},
	{path: "feature.network.dns.filter"},
	{path: "feature.network.dns.filter.remote", set: rulesKey(func(c *Config) *[]traffic.Rule { return &c.Feature.Network.DNS.Filter.Remote })},
	{path: "feature.network.dns.filter.local", set: rulesKey(func(c *Config) *[]traffic.Rule { return &c.Feature.Network.DNS.Filter.Local })},
	{path: "feature.network.ipv6", set: boolKey(func(c *Config) *bool { return &c.Feature.Network.IPv6 })},

	{path: "feature.hostname", set: boolKey(func(c *Config) *bool { return &c.Feature.Hostname })},
	{path: "feature.copy_target", class: unbuilt, fine: "false", hint: noOperator},
	{path: "feature.copy_target.enabled", class: unbuilt, fine: "false", hint: noOperator},
	{path: "feature.magic", class: unbuilt, fine: "false"},
	{path: "feature.magic.aws", class: unbuilt, fine: "false", hint: "`feature.env.unset: AWS_PROFILE` is the half of it that is built"},
	{path: "feature.magic.auto_mount", class: unbuilt, fine: "false", hint: "name the folders in `feature.fs.read_only`"},
	{path: "feature.magic.turbo", class: unbuilt, fine: "false", hint: "set `feature.network.outgoing.ignore_localhost`"},
	{path: "feature.split_queues", class: unbuilt, fine: "{}", hint: noOperator},
	{path: "feature.db_branches", class: unbuilt, fine: "[]", hint: noOperator},
	{path: "feature.preview", class: unbuilt, hint: noOperator},

	{path: "skip_processes", set: listKey(func(c *Config) *[]string { return &c.SkipProcesses }), variable: "MIRRORD_SKIP_PROCESSES"},
	{path: "skip_build_tools", set: boolKey(func(c *Config) *bool { return &c.SkipBuildTools })},
	{path: "skip_extra_build_tools", set: listKey(func(c *Config) *[]string { return &c.SkipExtraBuildTools })},
	{path: "operator", class: unbuilt, fine: "false", hint: "there is no operator here; leave the key out"},
	{path: "use_proxy", class: unbuilt, fine: "true", hint: "`feature.env.unset: [http_proxy, https_proxy]` does the same"},
	{path: "profile", class: unbuilt, hint: noOperator},
	{path: "multi_cluster", class: unbuilt, hint: noOperator},
	{path: "telemetry", class: ignored, variable: "MIRRORD_TELEMETRY"},
	{path: "key", class: ignored, variable: "MIRRORD_KEY"},
	{path: "kube_context", set: stringKey(func(c *Config) *string { return &c.KubeContext }), variable: "MIRRORD_KUBE_CONTEXT"},
	{path: "kubeconfig", set: stringKey(func(c *Config) *string { return &c.Kubeconfig })},
	{path: "accept_invalid_certificates", set: boolKey(func(c *Config) *bool { return &c.AcceptInvalid }), variable: "MIRRORD_ACCEPT_INVALID_CERTIFICATES"},

	{path: "agent"},
	{path: "agent.namespace", set: stringKey(func(c *Config) *string { return &c.Agent.Namespace }), variable: "MIRRORD_AGENT_NAMESPACE"},
	{path: "agent.log_level", class: ignored, variable: "MIRRORD_AGENT_RUST_LOG"},
	{path: "agent.image", set: stringKey(func(c *Config) *string { return &c.Agent.Image }), variable: "MIRRORD_AGENT_IMAGE"},
	{path: "agent.image_pull_policy", set: setPullPolicy},
	{path: "agent.ttl", class: ignored, variable: "MIRRORD_AGENT_TTL"},
	{path: "agent.startup_timeout", set: secondsKey(func(c *Config) *uint16 { return &c.Agent.Startup }), variable: "MIRRORD_AGENT_STARTUP_TIMEOUT"},
	{path: "agent.communication_timeout", set: secondsKey(func(c *Config) *uint16 { return &c.Agent.Communication })},
	{path: "agent.rights", set: setRights, variable: "MIRRORD_AGENT_RIGHTS"},
	{path: "agent.labels", set: mapKey(func(c *Config) *map[string]string { return &c.Agent.Labels })},
	{path: "agent.annotations", set: mapKey(func(c *Config) *map[string]string { return &c.Agent.Annotations })},
	{path: "agent.tolerations", set: setTolerations},
	{path: "agent.node_selector", set: mapKey(func(c *Config) *map[string]string { return &c.Agent.NodeSelector })},
	{path: "agent.resources", set: setResources},
	{path: "agent.service_account", set: stringKey(func(c *Config) *string { return &c.Agent.ServiceAccount })},
	{path: "agent.priority_class", set: stringKey(func(c *Config) *string { return &c.Agent.PriorityClass })},
	{path: "agent.image_pull_secrets", set: setPullSecrets},
	{path: "agent.ephemeral", set: setEphemeral, variable: "MIRRORD_EPHEMERAL_CONTAINER"},

	{path: "launch"},
	{path: "launch.name", set: stringKey(func(c *Config) *string { return &c.Launch.Name })},
	{path: "launch.folder", set: stringKey(func(c *Config) *string { return &c.Launch.Folder })},
	{path: "launch.command", set: listKey(func(c *Config) *[]string { return &c.Launch.Command })},
	{path: "launch.plain", set: boolKey(func(c *Config) *bool { return &c.Launch.Plain })},

	{path: "experimental"},
	{path: "experimental.tcp_ping4_mock", class: unbuilt, fine: "false"},
	{path: "experimental.trust_any_certificate", class: unbuilt, fine: "false"},
	{path: "experimental.hide_ipv6_interfaces", class: unbuilt, fine: "false"},
},
	targetKeys("pod", "deployment", "rollout", "job", "cron_job", "stateful_set", "daemon_set", "service", "replica_set", "labels", "container"),
	ignoredKeys("", "sip_binaries skip_sip api traceparent baggage ci startup_retry internal_proxy external_proxy container"),
	ignoredKeys("feature.copy_target.", "scale_down exclude_containers exclude_init_containers"),
	ignoredKeys("agent.", `privileged disabled_capabilities flush_connections security_context nftables external_ip_fix
		check_out_of_pods dns metrics inject_headers override_cache_control http_detection_timeout max_body_buffer_size
		max_body_buffer_timeout clean_iptables_on_start exclude_from_mesh disable_mesh_sidecar_injection json_log jaq_time_limit`),
	ignoredKeys("experimental.", `enable_exec_hooks_linux disable_reuseaddr use_dev_null idle_local_http_connection_timeout
		ignore_system_proxy_config browser_extension_config sip_log_destination non_blocking_tcp_connect dlopen_cgo latency applev sip_utils
		go_asmcgocall guard_std_fds`),
)

func dnsEnabled(c *Config) *bool { return &c.Feature.Network.DNS.Enabled }

// targetParts are the peer's long form of a target, {"deployment": NAME, "container": CONTAINER}, and the kind that each is.
var targetParts = map[string]string{
	"pod": "pod", "deployment": "deployment", "rollout": "rollout", "job": "job", "cron_job": "cronjob", "stateful_set": "statefulset", "daemon_set": "daemonset",
	"service": "service", "replica_set": "replicaset", "labels": "label", "container": "container",
}

// targetKeys are the same as keys of `target`.
func targetKeys(names ...string) (all []key) {
	for _, name := range names {
		all = append(all, key{path: "target." + name, set: setTargetPart(targetParts[name])})
	}
	return all
}

func ignoredKeys(section, names string) []key { return rows(section, names, key{class: ignored}) }

// rows makes a row like k for each name.
func rows(section, names string, k key) []key {
	var all []key
	for _, name := range strings.Fields(names) {
		k.path = section + name
		all = append(all, k)
	}
	return all
}

// Key is a row of the table as others see it.
type Key struct {
	Path     string   // "feature.fs.mode"
	Class    string   // "works", "ignored" (one warning) or "unbuilt" (an error)
	Section  bool     // others are below it
	Variable string   // the environment variable that sets it; "" when there is none
	Words    []string // those that it takes, for one that is one of a few words
	Boolean  bool     // true can be its value; of a section: in place of its object
	Text     bool     // text that is not one of Words can be its value; likewise
	Fine     string   // of an unbuilt one: the value that is no error; may be ""
	Hint     string   // of an unbuilt one: what to do instead; may be ""
}

// Keys are all keys, those that work and those that users of the leading peer know, in the order in which people meet them. The section of a key is before it.
func Keys() []Key {
	all := make([]Key, len(keys))
	for i, k := range keys {
		all[i] = Key{
			Path: k.path, Class: [...]string{works: "works", ignored: "ignored", unbuilt: "unbuilt"}[k.class], Section: len(children(k.path)) > 0,
			Variable: k.variable, Words: k.words(), Fine: k.fine, Hint: k.hint,
			Boolean: k.accepts(&document.Node{Kind: document.Boolean, Text: "true"}), Text: k.accepts(&document.Node{Kind: document.Text, Text: "dir:x"}),
		}
	}
	return all
}

// accepts asks the decoder.
func (k key) accepts(n *document.Node) bool {
	d := newDecoder()
	if k.set != nil {
		k.set(d, n)
	}
	return k.set != nil && len(d.faults) == 0
}

// modes are all words that some mode of the peer has.
var modes = []string{"read", "write", "overlay", "local", "localwithoverrides", "mirror", "steal", "off"}

// words are those that the key takes; nil for one that takes any text or none.
func (k key) words() (words []string) {
	for _, mode := range modes {
		if k.accepts(&document.Node{Kind: document.Text, Text: mode}) {
			words = append(words, mode)
		}
	}
	if len(words) == len(modes) {
		return nil
	}
	return words
}

// lookup finds a key by its path.
func lookup(path string) (key, bool) {
	for _, k := range keys {
		if k.path == path {
			return k, true
		}
	}
	return key{}, false
}

// children returns the names of the keys directly below a section ("" is the root).
func children(section string) []string {
	prefix := section + "."
	if section == "" {
		prefix = ""
	}
	var names []string
	for _, k := range keys {
		if name, ok := strings.CutPrefix(k.path, prefix); ok && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	return names
}

// suggestion is the key that an unknown one was probably meant to be: a neighbour, else one of the same name elsewhere.
func suggestion(section, name string) string {
	if c := Nearest(name, children(section)); c != "" {
		return strings.TrimPrefix(section+"."+c, ".")
	}
	for _, k := range keys {
		if strings.HasSuffix(k.path, "."+name) {
			return k.path
		}
	}
	return ""
}

// Nearest returns the candidate that is fewest edits away from word, and "" when all are too far to be meant.
func Nearest(word string, candidates []string) string {
	best, bound := "", max(2, len(word)/2)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < bound {
			best, bound = c, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes must be inserted, deleted or replaced.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
