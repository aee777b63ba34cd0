// Package config is what the user asked for: the configuration file, MIRRORD_* variables and flags, checked and merged into one Config.
//
// A key works, is harmless to ignore here, or would change behaviour and is not built, which is an error; keys.go holds the one table
// that says which. All faults of all sources are reported together, with line and column.
package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"mirrord/launcher/config/environment"
	"mirrord/launcher/config/traffic"
)

// Config is the merged configuration. Its JSON form is a valid configuration file again, that says the same. It can also be decoded over
// Default() without Load, by a process that trusts it; the fields marked "-" are then missing.
type Config struct {
	Target  Target  `json:"target,omitzero"`
	Feature Feature `json:"feature"`

	// Names of programs, without folders.
	SkipProcesses       []string `json:"skip_processes,omitempty"`         // run outside of the pod's context
	SkipBuildTools      bool     `json:"skip_build_tools"`                 // macOS: of build tools only what they start is followed
	SkipExtraBuildTools []string `json:"skip_extra_build_tools,omitempty"` // macOS: more of them
	KubeContext         string   `json:"kube_context,omitempty"`           // empty: the kubeconfig's current one
	Kubeconfig          string   `json:"kubeconfig,omitempty"`             // files divided as in KUBECONFIG; empty: as kubectl has it
	AcceptInvalid       bool     `json:"accept_invalid_certificates,omitempty"`
	Agent               Agent    `json:"agent"`

	Launch Launch `json:"launch,omitzero"`
}

// Launch is what to run when no program is given; the app saves those. It is zero when nothing is said.
type Launch struct {
	Name    string   `json:"name,omitempty"`   // for people
	Folder  string   `json:"folder,omitempty"` // where the program starts; empty: the working directory
	Command []string `json:"command,omitempty"`
	Plain   bool     `json:"plain,omitempty"` // the app runs it without mirrord
}

// Target is what to run in the context of. It is zero when none was given.
type Target struct {
	Path      string `json:"path"` // as the user wrote it: "dir:PATH", "pod/NAME/container/C"
	Namespace string `json:"namespace,omitempty"`

	Kind      string `json:"-"` // "dir"; "pod", "deployment"…
	Name      string `json:"-"` // for "dir" the path, relative to the working directory unless absolute
	Container string `json:"-"`
}

// Agent is how one is started in a cluster.
type Agent struct {
	Image         string `json:"image,omitempty"`             // empty: that of this release
	PullPolicy    string `json:"image_pull_policy,omitempty"` // as Kubernetes has them; empty: its own default
	Startup       uint16 `json:"startup_timeout"`             // seconds it may take to start
	Communication uint16 `json:"communication_timeout"`       // seconds that it lives without its launcher
	Rights        Rights `json:"rights,omitempty"`
	Ephemeral     *bool  `json:"ephemeral,omitempty"` // true: never RightsNode; false: nothing else, and Rights is that

	// Of the agent's own pod, which it has with RightsNode and without a target; see agents.Pod.
	Namespace      string            `json:"namespace,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Annotations    map[string]string `json:"annotations,omitempty"`
	Tolerations    []Toleration      `json:"tolerations,omitempty"`
	NodeSelector   map[string]string `json:"node_selector,omitempty"`
	Resources      Resources         `json:"resources,omitzero"`
	ServiceAccount string            `json:"service_account,omitempty"`
	PriorityClass  string            `json:"priority_class,omitempty"`
	PullSecrets    []string          `json:"image_pull_secrets,omitempty"`
}

// Toleration is one of a pod, with Kubernetes' own words.
type Toleration struct {
	Key      string `json:"key,omitempty"`
	Operator string `json:"operator,omitempty"`
	Value    string `json:"value,omitempty"`
	Effect   string `json:"effect,omitempty"`
	Seconds  *int64 `json:"tolerationSeconds,omitempty"`
}

// Resources are a container's, as Kubernetes writes quantities: {"cpu": "100m"}.
type Resources struct {
	Requests map[string]string `json:"requests,omitempty"`
	Limits   map[string]string `json:"limits,omitempty"`
}

// Rights say what the agent is given. Empty: what it needs, found by trying.
type Rights string

// The rights, each more than the one before.
const (
	RightsTarget  Rights = "target"  // a container beside the target's, with the target's own rights
	RightsNetwork Rights = "network" // the same with NET_ADMIN and BPF, for incoming connections
	RightsNode    Rights = "node"    // a Job on the target's node that sees all its processes
)

// Feature is what of the pod's context the program gets.
type Feature struct {
	Env      environment.Choice `json:"env"`
	FS       FS                 `json:"fs"`
	Network  Network            `json:"network"`
	Hostname bool               `json:"hostname"` // the pod's host name
}

// FSMode says which files are the pod's when no pattern says otherwise.
type FSMode string

// The modes of files.
const (
	FSRead               FSMode = "read"               // reading remote, writing local
	FSWrite              FSMode = "write"              // reading and writing remote
	FSOverlay            FSMode = "overlay"            // reading remote; what is written lies over that, on this machine
	FSLocal              FSMode = "local"              // no remote files at all
	FSLocalWithOverrides FSMode = "localwithoverrides" // local, except for what the patterns and defaults name
)

// FS says whose files are read. The patterns are RE2, matched anywhere in the absolute path, without case.
type FS struct {
	Mode     FSMode   `json:"mode"`
	ReadOnly []string `json:"read_only,omitempty"`
	// ReadWrite are paths that are read and written in the pod, whatever the mode, except FSLocal.
	ReadWrite []string `json:"read_write,omitempty"`
	Local     []string `json:"local,omitempty"`
	NotFound  []string `json:"not_found,omitempty"`

	// Mapping is a pattern on the program's path → what stands in its place in the pod's; "$1" and "${name}" are what the groups matched.
	// Such a path is the pod's, as those of ReadOnly are, with FSWrite as those of ReadWrite. Of several patterns that match, the longest counts; see PathMappings.
	Mapping map[string]string `json:"mapping,omitempty"`

	// Overlay is the folder of mode FSOverlay, which is kept; empty: one of the session, which is removed at the end.
	Overlay string `json:"overlay,omitempty"`
}

// PathMapping is one entry of feature.fs.mapping.
type PathMapping struct {
	Pattern     *regexp.Regexp // on the program's absolute path, without case
	Replacement string         // a template of regexp.Expand
}

// PathMappings are the entries of Mapping, the longest pattern first, so that the order does not depend on the file's format. The error is
// that of a pattern.
func (fs *FS) PathMappings() ([]PathMapping, error) {
	patterns := slices.SortedFunc(maps.Keys(fs.Mapping), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	var all []PathMapping
	for _, p := range patterns {
		re, err := regexp.Compile("(?i)" + p)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", p, err)
		}
		all = append(all, PathMapping{re, fs.Mapping[p]})
	}
	return all, nil
}

// MappedPatterns are the patterns of Mapping, in alphabetical order.
func (fs *FS) MappedPatterns() []string { return slices.Sorted(maps.Keys(fs.Mapping)) }

// Network is traffic and names.
type Network struct {
	Incoming traffic.Incoming `json:"incoming"`
	Outgoing Outgoing         `json:"outgoing"`
	DNS      DNS              `json:"dns"`
	IPv6     bool             `json:"ipv6"` // false: the program finds no IPv6 on this machine
}

// Outgoing is connections that the program makes.
type Outgoing struct {
	TCP             bool           `json:"tcp"`
	UDP             bool           `json:"udp"` // connected sockets; name servers belong to DNS
	IgnoreLocalhost bool           `json:"ignore_localhost"`
	Filter          traffic.Filter `json:"filter,omitzero"`

	// Patterns as those of FS, on absolute paths and on "@" and abstract names: stream sockets that are connected to in the pod. All others are this machine's.
	UnixStreams []string `json:"unix_streams,omitempty"`
}

// DNS is name resolution.
type DNS struct {
	Enabled bool           `json:"enabled"`
	Filter  traffic.Filter `json:"filter,omitzero"` // rules without protocol
}

// Default returns what holds when nothing is said.
func Default() *Config {
	return &Config{
		SkipBuildTools: true,
		Feature: Feature{
			FS: FS{Mode: FSRead},
			Network: Network{
				Incoming: traffic.Incoming{Mode: traffic.Unset},
				Outgoing: Outgoing{TCP: true, UDP: true},
				DNS:      DNS{Enabled: true},
				IPv6:     true,
			},
			Hostname: true,
		},
		Agent: Agent{Startup: 60, Communication: 30},
	}
}
