package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mirrord/launcher/config/document"
	"mirrord/launcher/config/environment"
	"mirrord/launcher/config/traffic"
)

// What keys take that have a form of their own, in the order of the table.

// targetKinds are the kinds as users write them, with the peer's short form.
var targetKinds = []string{"cronjob", "daemonset", "deploy", "deployment", "job", "label", "pod", "replicaset", "rollout", "service", "statefulset"}

// setTarget takes a target as `-t` has it, and the peer's long form.
func setTarget(d *decoder, n *document.Node) {
	if n.Kind == document.Object { // the long form, below target.path
		for _, m := range n.Members {
			if kind, ok := targetParts[m.Name]; ok {
				setTargetPart(kind)(d, m.Value)
			} else {
				d.fail(m.At, fmt.Sprintf("has the unknown kind %q", m.Name), "kinds are "+strings.Join(slices.Sorted(maps.Keys(targetParts)), ", "))
			}
		}
		return
	}
	if !isText(n) {
		d.wrong(n, "a string like \"dir:PATH\" or \"deployment/NAME\"")
		return
	}
	t, hint, err := parseTarget(n.Text)
	if err != nil {
		d.fail(n.At, err.Error(), hint)
	}
	t.Namespace = d.config.Target.Namespace
	d.config.Target = t
}

// setTargetPart sets the kind and name of a target, or its container.
func setTargetPart(kind string) setter {
	return func(d *decoder, n *document.Node) {
		value := n.Text
		if kind == "label" && n.Kind == document.Object { // {"app": "cart"}
			var pairs []string
			for _, m := range n.Members {
				pairs = append(pairs, m.Name+"="+m.Value.Text)
			}
			value = strings.Join(pairs, ",")
		} else if !isText(n) {
			d.wrong(n, "a string")
			return
		}
		t := &d.config.Target
		switch {
		case kind == "container":
			t.Container = value
		case t.Kind != "":
			d.fail(n.At, fmt.Sprintf("is a second target beside %s/%s", t.Kind, t.Name), "keep one of the two")
		default:
			t.Kind, t.Name = kind, value
		}
		t.Path = t.compose()
	}
}

// compose is how a user would write the target; empty without a kind.
func (t *Target) compose() string {
	if t.Kind == "" {
		return ""
	}
	path := t.Kind + "/" + t.Name
	if t.Container != "" {
		path += "/container/" + t.Container
	}
	return path
}

// parseTarget reads `dir:PATH`, `targetless` and `KIND/NAME[/container/CONTAINER]`.
func parseTarget(s string) (t Target, hint string, err error) {
	t.Path = s
	if path, ok := strings.CutPrefix(s, "dir:"); ok {
		if t.Kind, t.Name = "dir", path; path == "" {
			return t, "write the folder of the pod after `dir:`", fmt.Errorf("names no folder")
		}
		return t, "", nil
	}
	if s == "targetless" {
		t.Kind = s
		return t, "", nil
	}
	parts := strings.Split(s, "/")
	if parts[0] == "label" { // labels have slashes too: label/app.kubernetes.io/name=cart
		selector, container, named := strings.Cut(strings.TrimPrefix(s, "label/"), "/container/")
		if parts = []string{"label", selector}; named {
			parts = append(parts, "container", container)
		}
	}
	if len(parts) == 1 {
		return t, fmt.Sprintf("write `deployment/%s`, `pod/%s` or `dir:%s`", s, s, s), fmt.Errorf("%q does not say what kind of target it is", s)
	}
	if t.Kind, t.Name = parts[0], parts[1]; t.Kind == "deploy" {
		t.Kind = "deployment"
	}
	if !slices.Contains(targetKinds, t.Kind) {
		if slices.Contains([]string{"", ".", "..", "~"}, t.Kind) {
			return t, fmt.Sprintf("for a pod directory write `dir:%s`", s), fmt.Errorf("%q is a path, not a target", s)
		}
		return t, "a target is `dir:PATH`, or KIND/NAME with one of " + strings.Join(targetKinds, ", "), fmt.Errorf("has the unknown kind %q", t.Kind)
	}
	switch {
	case len(parts) == 4 && parts[2] == "container" && parts[3] != "" && t.Name != "":
		t.Container = parts[3]
	case len(parts) != 2 || t.Name == "":
		return t, "", fmt.Errorf("%q is not KIND/NAME or KIND/NAME/container/CONTAINER", s)
	}
	return t, "", nil
}

// shortEnv is `env: true` and `env: false`.
func shortEnv(d *decoder, n *document.Node) {
	if on, ok := d.boolean(n); ok && !on {
		d.config.Feature.Env = environment.Choice{Exclude: []string{"*"}}
	}
}

// setMapping checks the patterns, which are matched on names of variables.
func setMapping(d *decoder, n *document.Node) {
	mapKey(func(c *Config) *map[string]string { return &c.Feature.Env.Mapping })(d, n)
	for _, m := range n.Members {
		if _, err := regexp.Compile(m.Name); err != nil {
			d.fail(m.At, fmt.Sprintf("has the pattern %q: %s", m.Name, strings.TrimPrefix(err.Error(), "error parsing regexp: ")), "")
		}
	}
}

// shortFS is `fs: true`, `fs: false` and `fs: "local"`.
func shortFS(d *decoder, n *document.Node) {
	switch {
	case n.Kind != document.Boolean:
		setFSMode(d, n)
	case n.Text == "true":
		d.config.Feature.FS.Mode = FSRead
	default:
		d.config.Feature.FS.Mode = FSLocal
	}
}

func setFSMode(d *decoder, n *document.Node) {
	if mode, ok := d.choice(n, string(FSRead), string(FSWrite), string(FSOverlay), string(FSLocal), string(FSLocalWithOverrides)); ok {
		d.config.Feature.FS.Mode = FSMode(mode)
	}
}

// setPathMapping checks the patterns, which are matched on paths.
func setPathMapping(d *decoder, n *document.Node) {
	mapKey(func(c *Config) *map[string]string { return &c.Feature.FS.Mapping })(d, n)
	for _, m := range n.Members {
		d.pattern(m.At, m.Name)
	}
}

// shortNetwork is `network: true` and `network: false`.
func shortNetwork(d *decoder, n *document.Node) {
	if on, ok := d.boolean(n); ok && !on {
		d.config.Feature.Network = Network{Incoming: traffic.Incoming{Mode: traffic.Off}}
	}
}

// shortOutgoing is `outgoing: true` and `outgoing: false`.
func shortOutgoing(d *decoder, n *document.Node) {
	if on, ok := d.boolean(n); ok {
		d.config.Feature.Network.Outgoing.TCP, d.config.Feature.Network.Outgoing.UDP = on, on
	}
}

// setIncoming is `incoming: true`, `false` and `"steal"`. In a file true asks for the default mode, in the variable for stealing.
func setIncoming(d *decoder, n *document.Node) {
	on, err := strconv.ParseBool(n.Text)
	switch {
	case err != nil || n.Kind != document.Boolean && n.Kind != document.Word:
		setIncomingMode(d, n)
	case !on:
		d.config.Feature.Network.Incoming.Mode = traffic.Off
	case n.Kind == document.Word:
		d.config.Feature.Network.Incoming.Mode = traffic.Steal
	default:
		d.config.Feature.Network.Incoming.Mode = traffic.Unset
	}
}

func setIncomingMode(d *decoder, n *document.Node) {
	if mode, ok := d.choice(n, string(traffic.Mirror), string(traffic.Steal), string(traffic.Off)); ok {
		d.config.Feature.Network.Incoming.Mode = traffic.Mode(mode)
	}
}

// setPullPolicy takes the words of Kubernetes.
func setPullPolicy(d *decoder, n *document.Node) {
	if policy, ok := d.choice(n, "always", "ifnotpresent", "never"); ok {
		d.config.Agent.PullPolicy = map[string]string{"always": "Always", "ifnotpresent": "IfNotPresent", "never": "Never"}[policy]
	}
}

func setRights(d *decoder, n *document.Node) {
	if rights, ok := d.choice(n, string(RightsTarget), string(RightsNetwork), string(RightsNode)); ok {
		d.config.Agent.Rights = Rights(rights)
	}
}

// setEphemeral is the peer's choice between a container of the target's pod and a pod on its node.
func setEphemeral(d *decoder, n *document.Node) {
	if on, ok := d.boolean(n); ok {
		d.config.Agent.Ephemeral = &on
	}
}

// setTolerations reads a list of Kubernetes' objects.
func setTolerations(d *decoder, n *document.Node) {
	var all []Toleration
	for _, item := range d.elements(n) {
		if item.Kind != document.Object {
			d.wrong(item, "a list of tolerations as Kubernetes has them, {key, operator, value, effect}")
			continue
		}
		var t Toleration
		for _, m := range item.Members {
			if k := m.Value.Kind; k == document.List || k == document.Object { // without its key a toleration would bear every taint
				d.wrong(m.Value, "tolerations with plain values")
				continue
			}
			switch m.Name {
			case "key":
				t.Key = m.Value.Text
			case "operator":
				t.Operator = m.Value.Text
			case "value":
				t.Value = m.Value.Text
			case "effect":
				t.Effect = m.Value.Text
			case "tolerationSeconds":
				seconds, err := strconv.ParseInt(m.Value.Text, 10, 64)
				if err != nil {
					d.wrong(m.Value, "tolerations whose seconds are a whole number")
				}
				t.Seconds = &seconds
			default:
				d.fail(m.At, fmt.Sprintf("has a toleration with the unknown %q", m.Name), "a toleration has key, operator, value, effect and tolerationSeconds")
			}
		}
		all = append(all, t)
	}
	d.config.Agent.Tolerations = all
}

// setResources reads {requests, limits}. What is no quantity the cluster tells.
func setResources(d *decoder, n *document.Node) {
	if n.Kind != document.Object {
		d.wrong(n, "an object with requests and limits")
		return
	}
	for _, m := range n.Members {
		at := map[string]*map[string]string{"requests": &d.config.Agent.Resources.Requests, "limits": &d.config.Agent.Resources.Limits}[m.Name]
		if at == nil {
			d.fail(m.At, fmt.Sprintf("has the unknown %q", m.Name), "resources have requests and limits")
			continue
		}
		mapKey(func(*Config) *map[string]string { return at })(d, m.Value)
	}
}

// setPullSecrets takes names, and objects with a name as Kubernetes has them.
func setPullSecrets(d *decoder, n *document.Node) {
	var names []string
	for _, item := range d.elements(n) {
		if item.Kind == document.Object {
			if i := slices.IndexFunc(item.Members, func(m document.Member) bool { return m.Name == "name" }); i >= 0 && len(item.Members) == 1 {
				item = item.Members[i].Value
			}
		}
		if !isText(item) || item.Text == "" {
			d.wrong(item, "names of Secrets")
			continue
		}
		names = append(names, item.Text)
	}
	d.config.Agent.PullSecrets = names
}
