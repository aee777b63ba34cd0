package config

import (
	"fmt"
	"slices"
	"strconv"
)

// setPullPolicy takes the words of Kubernetes.
func setPullPolicy(d *decoder, n *node) {
	if policy, ok := d.choice(n, "always", "ifnotpresent", "never"); ok {
		d.config.Agent.PullPolicy = map[string]string{"always": "Always", "ifnotpresent": "IfNotPresent", "never": "Never"}[policy]
	}
}

func setRights(d *decoder, n *node) {
	if rights, ok := d.choice(n, string(RightsTarget), string(RightsNetwork), string(RightsNode)); ok {
		d.config.Agent.Rights = Rights(rights)
	}
}

// setEphemeral is the peer's choice between a container of the target's pod and a pod on its node.
func setEphemeral(d *decoder, n *node) {
	if on, ok := d.boolean(n); ok {
		d.config.Agent.Ephemeral = &on
	}
}

// setTolerations reads a list of Kubernetes' objects.
func setTolerations(d *decoder, n *node) {
	var all []Toleration
	for _, item := range d.elements(n) {
		if item.kind != object {
			d.wrong(item, "a list of tolerations as Kubernetes has them, {key, operator, value, effect}")
			continue
		}
		var t Toleration
		for _, m := range item.members {
			if k := m.value.kind; k == list || k == object { // without its key a toleration would bear every taint
				d.wrong(m.value, "tolerations with plain values")
				continue
			}
			switch m.name {
			case "key":
				t.Key = m.value.text
			case "operator":
				t.Operator = m.value.text
			case "value":
				t.Value = m.value.text
			case "effect":
				t.Effect = m.value.text
			case "tolerationSeconds":
				seconds, err := strconv.ParseInt(m.value.text, 10, 64)
				if err != nil {
					d.wrong(m.value, "tolerations whose seconds are a whole number")
				}
				t.Seconds = &seconds
			default:
				d.fail(m.at, fmt.Sprintf("has a toleration with the unknown %q", m.name), "a toleration has key, operator, value, effect and tolerationSeconds")
			}
		}
		all = append(all, t)
	}
	d.config.Agent.Tolerations = all
}

// setResources reads {requests, limits}. What is no quantity the cluster tells.
func setResources(d *decoder, n *node) {
	if n.kind != object {
		d.wrong(n, "an object with requests and limits")
		return
	}
	for _, m := range n.members {
		at := map[string]*map[string]string{"requests": &d.config.Agent.Resources.Requests, "limits": &d.config.Agent.Resources.Limits}[m.name]
		if at == nil {
			d.fail(m.at, fmt.Sprintf("has the unknown %q", m.name), "resources have requests and limits")
			continue
		}
		mapKey(func(*Config) *map[string]string { return at })(d, m.value)
	}
}

// setPullSecrets takes names, and objects with a name as Kubernetes has them.
func setPullSecrets(d *decoder, n *node) {
	var names []string
	for _, item := range d.elements(n) {
		if item.kind == object {
			if i := slices.IndexFunc(item.members, func(m member) bool { return m.name == "name" }); i >= 0 && len(item.members) == 1 {
				item = item.members[i].value
			}
		}
		if item.kind != text && item.kind != word || item.text == "" {
			d.wrong(item, "names of Secrets")
			continue
		}
		names = append(names, item.text)
	}
	d.config.Agent.PullSecrets = names
}
