package config

import (
	"fmt"
	"slices"
	"strconv"

	"mirrord/launcher/config/document"
)

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
