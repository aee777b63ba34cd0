package reference

import "strings"

// docs says what each key is for, in a sentence without a full stop. It is apart from the table of keys because it is for people: the schema, the
// reference and editors show it. A key that is ignored or not built says what it would do.
var docs = map[string]string{
	"$schema": "the schema of this file, for editors",

	"target":           "what to run in the context of: KIND/NAME of a cluster, with /container/CONTAINER where that matters, `targetless` for the cluster's names and connections alone, or `dir:PATH`, a pod directory; a relative PATH starts at the working directory",
	"target.path":      "the target as `-t` has it, or an object with its kind",
	"target.namespace": "the namespace of the target; without it the kubeconfig's, as kubectl has it",

	"target.pod":          "a pod of a cluster",
	"target.deployment":   "a deployment of a cluster",
	"target.rollout":      "a rollout of a cluster",
	"target.job":          "a job of a cluster",
	"target.cron_job":     "a cron job of a cluster",
	"target.stateful_set": "a stateful set of a cluster",
	"target.daemon_set":   "a daemon set of a cluster",
	"target.service":      "a service of a cluster",
	"target.replica_set":  "a replica set of a cluster",
	"target.labels":       "pods of a cluster with these labels",
	"target.container":    "the container of the pod",

	"feature": "what of the pod's context the program gets",

	"feature.env":                   "the pod's variables; false leaves all of them out",
	"feature.env.include":           "take only these variables of the pod, with the wildcards * and ?",
	"feature.env.exclude":           "leave out these variables of the pod, with the wildcards * and ?",
	"feature.env.override":          "variables with the values that they shall have; they win over everything but `unset`",
	"feature.env.unset":             "names that the program shall not have at all, compared without case",
	"feature.env.env_file":          "a file of NAME=VALUE lines that win over the pod's",
	"feature.env.mapping":           "patterns of names, each with the value that the variables it matches shall have",
	"feature.env.load_from_process": "read the environment later, inside the program",

	"feature.fs":                      "the pod's files; false is mode local, a string is the mode",
	"feature.fs.mode":                 "whose files are read and written where no pattern says otherwise; with read new files are this machine's and the pod's cannot be changed, with write all happens in the pod, with overlay what is written lies over the pod's files, on this machine",
	"feature.fs.read_only":            "patterns of paths that are read from the pod",
	"feature.fs.read_write":           "patterns of paths that are read and written in the pod",
	"feature.fs.overlay":              "the folder that mode overlay keeps what is written in, also for later sessions; without it there is one that is removed at the end",
	"feature.fs.local":                "patterns of paths that are this machine's",
	"feature.fs.not_found":            "patterns of paths that do not exist for the program",
	"feature.fs.mapping":              "patterns of paths, each with the path to use instead",
	"feature.fs.readonly_file_buffer": "how many bytes to read ahead; here whole files come at once",

	"feature.network": "names and connections; false leaves all of them on this machine",

	"feature.network.incoming":                     "connections to the pod's ports; a string is the mode, false is off",
	"feature.network.incoming.mode":                "who gets connections to the pod's ports that the program listens on: with steal the program, with mirror the pod's own and the program a copy, with off the pod's own; when nothing is said it is mirror where the pod has a program",
	"feature.network.incoming.ports":               "only these ports; others stay on this machine",
	"feature.network.incoming.ignore_ports":        "all ports but these",
	"feature.network.incoming.http_filter":         "only the HTTP requests that match",
	"feature.network.incoming.port_mapping":        "pairs of a port here and the pod's port that it stands for",
	"feature.network.incoming.listen_ports":        "pairs of a port that the program asks for and the one that it gets on this machine",
	"feature.network.incoming.ignore_localhost":    "leave listeners on a loopback address alone",
	"feature.network.incoming.tls_delivery":        "how connections of TLS are handed over",
	"feature.network.incoming.https_delivery":      "how connections of HTTPS are handed over",
	"feature.network.incoming.on_concurrent_steal": "what to do when another user has the port",

	"feature.network.outgoing":                  "connections that the program makes; false leaves them on this machine",
	"feature.network.outgoing.tcp":              "connect from the pod",
	"feature.network.outgoing.udp":              "send datagrams from the pod",
	"feature.network.outgoing.ignore_localhost": "leave connections to loopback addresses on this machine",
	"feature.network.outgoing.filter":           "which connections are made from the pod: `remote` or `local`, not both",
	"feature.network.outgoing.filter.remote":    "these are made from the pod, all others from this machine: [tcp://|udp://]HOST-OR-ADDRESS[/BITS][:PORT]",
	"feature.network.outgoing.filter.local":     "these are made from this machine, all others from the pod; written as in `remote`",
	"feature.network.outgoing.unix_streams":     "patterns of Unix sockets to connect to in the pod: of paths, and of abstract names behind `@`",

	"feature.network.dns":               "resolve names in the pod; false resolves them on this machine",
	"feature.network.dns.enabled":       "resolve names in the pod",
	"feature.network.dns.filter":        "which names the pod resolves: `remote` or `local`, not both",
	"feature.network.dns.filter.remote": "the pod resolves these, this machine all others: HOST[:PORT]",
	"feature.network.dns.filter.local":  "this machine resolves these, the pod all others; written as in `remote`",
	"feature.network.ipv6":              "let the program use IPv6",

	"feature.hostname": "the pod's host name",

	"feature.copy_target":                         "run a copy of the target instead",
	"feature.copy_target.enabled":                 "run a copy of the target instead",
	"feature.copy_target.scale_down":              "scale the target to zero meanwhile",
	"feature.copy_target.exclude_containers":      "containers to leave out of the copy",
	"feature.copy_target.exclude_init_containers": "init containers to leave out of the copy",
	"feature.magic":                               "settings for certain programs, made without being asked",
	"feature.magic.aws":                           "hide this machine's AWS profile from the program",
	"feature.magic.auto_mount":                    "read the mounted volumes of the pod",
	"feature.magic.turbo":                         "leave loopback connections of Next.js on this machine",
	"feature.split_queues":                        "share a message queue",
	"feature.db_branches":                         "use a branch of a database",
	"feature.preview":                             "run a preview environment",

	"skip_processes":              "names of programs, or of their scripts, that run without the pod's files and network; what they start is followed",
	"skip_build_tools":            "macOS: of build tools follow only what they start",
	"skip_extra_build_tools":      "macOS: names of more programs that count as build tools",
	"operator":                    "use the peer's operator in the cluster",
	"use_proxy":                   "use the proxy of the environment to reach the cluster",
	"profile":                     "settings that the cluster keeps",
	"multi_cluster":               "several clusters at once",
	"telemetry":                   "report the use to the maker; nothing is ever reported here",
	"key":                         "a name for the session",
	"kube_context":                "the context of the kubeconfig to use instead of its current one",
	"kubeconfig":                  "kubeconfig files, divided as in KUBECONFIG",
	"accept_invalid_certificates": "take any certificate of the API server",
	"sip_binaries":                "programs of macOS to sign again",
	"skip_sip":                    "programs of macOS not to sign again",
	"api":                         "offer a socket to other tools",
	"traceparent":                 "a trace to take part in",
	"baggage":                     "what to carry along in a trace",
	"ci":                          "settings for build servers",
	"startup_retry":               "how often to ask the cluster again",
	"internal_proxy":              "settings of the peer's local process",
	"external_proxy":              "settings of the peer's process for containers",
	"container":                   "settings of the peer's containers",

	"agent":                       "settings of the agent in the cluster",
	"agent.namespace":             "the namespace of the agent's own pod, which it has with the rights of a node and without a target; without it the target's",
	"agent.labels":                "labels of the agent's own pod and its Job",
	"agent.annotations":           "annotations of the agent's own pod and its Job",
	"agent.tolerations":           "which taints of nodes the agent's own pod bears, as Kubernetes writes them; on a target's node all",
	"agent.node_selector":         "labels of the nodes on which an agent without a target may run",
	"agent.resources":             "what the agent's own pod asks for and may take: requests and limits as Kubernetes writes them",
	"agent.service_account":       "the service account of the agent's own pod, which gets no token of it",
	"agent.priority_class":        "the priority class of the agent's own pod",
	"agent.image_pull_secrets":    "names of the Secrets with which nodes get the image of the agent's own pod",
	"agent.log_level":             "what the agent logs",
	"agent.image":                 "the agent's image, as the cluster's nodes know it; without it mirrord-agent of this release",
	"agent.ttl":                   "how long an ended agent is kept",
	"agent.startup_timeout":       "how many seconds an agent may take to start",
	"agent.image_pull_policy":     "when a node asks the registry for the agent's image",
	"agent.communication_timeout": "how many seconds the agent stays while its launcher does not come, or come back",
	"agent.rights":                "what the agent may do: with target what the target may, with network also take the pod's incoming connections, with node look into every process of the target's node; when nothing is said, what it needs, found by trying",
	"agent.ephemeral":             "true keeps the agent to a container of the target's pod, false to a Job on its node",

	"launch":         "what to run when `exec` is given no program; the app saves its launches so",
	"launch.name":    "the name that the app shows",
	"launch.folder":  "the folder in which the program starts, without which it is the working directory",
	"launch.command": "the program and its arguments, a list of words",
	"launch.plain":   "true: the app runs it without mirrord, for comparison",

	"experimental":                       "settings that the peer tries out",
	"experimental.tcp_ping4_mock":        "pretend that connections to port 7 succeed",
	"experimental.trust_any_certificate": "let programs of macOS trust any certificate",
	"experimental.hide_ipv6_interfaces":  "do not show the program addresses of IPv6",
}

// Describe gives the sentence about a key ("feature.fs.mode"), without a full stop. The ignored ones of a section that has one share it; "" when it is no key.
func Describe(path string) string {
	for path != "" {
		if text := docs[path]; text != "" {
			return text
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return ""
}
