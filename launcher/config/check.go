package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mirrord/launcher/config/document"
	"mirrord/launcher/config/environment"
	"mirrord/launcher/config/traffic"
)

// check finds what each source alone cannot show, fills in what follows from the rest, and returns what the user should know.
func (d *decoder) check() []Warning {
	f := &d.config.Feature
	out, dns := &f.Network.Outgoing.Filter, &f.Network.DNS.Filter
	d.exclusive("feature.env.include", len(f.Env.Include), "feature.env.exclude", len(f.Env.Exclude))
	d.exclusive("feature.network.incoming.ports", len(f.Network.Incoming.Ports), "feature.network.incoming.ignore_ports", len(f.Network.Incoming.IgnorePorts))
	d.exclusive("feature.network.outgoing.filter.remote", len(out.Remote), "feature.network.outgoing.filter.local", len(out.Local))
	d.exclusive("feature.network.dns.filter.remote", len(dns.Remote), "feature.network.dns.filter.local", len(dns.Local))

	d.checkTarget()
	d.checkRights()
	targetless := d.checkTargetless()
	d.path = "feature.env.override"
	for _, name := range slices.Sorted(maps.Keys(f.Env.Override)) {
		if problem := environment.Unusable(name, f.Env.Override[name]); problem != "" {
			d.fail(d.origin[d.path], fmt.Sprintf("has the variable %q, whose %s", name, problem), "")
		}
	}

	warnings := targetless
	if len(d.ignored) > 0 {
		slices.Sort(d.ignored)
		warnings = append(warnings, Warning{Message: "without effect here: " + strings.Join(slices.Compact(d.ignored), ", ")})
	}
	if !f.Network.DNS.Enabled && slices.ContainsFunc(out.Remote, func(r traffic.Rule) bool { return r.Host != "" }) {
		warnings = append(warnings, Warning{
			Message: "`feature.network.outgoing.filter.remote` names hosts, but names are resolved on this machine",
			Hint:    "set `feature.network.dns.enabled`, or give addresses",
		})
	}
	if f.FS.Mode == FSLocal && len(f.FS.ReadOnly)+len(f.FS.ReadWrite)+len(f.FS.NotFound) > 0 {
		warnings = append(warnings, Warning{
			Message: "`feature.fs.mode` is \"local\", so no pattern of `feature.fs` has an effect",
			Hint:    "mode \"localwithoverrides\" is local except for the patterns",
		})
	}
	if f.FS.Mode != FSOverlay && f.FS.Overlay != "" {
		warnings = append(warnings, Warning{Message: "`feature.fs.overlay` is for mode \"overlay\", and has no effect"})
	}
	for _, port := range identities(f.Network.Incoming.PortMapping) {
		warnings = append(warnings, Warning{Message: fmt.Sprintf("`feature.network.incoming.port_mapping` maps port %d to itself, which it is anyway", port)})
	}
	copyHosts(out, dns)
	return warnings
}

// checkTarget finds what is missing in a target of several keys.
func (d *decoder) checkTarget() {
	t := d.config.Target
	switch {
	case t.Kind == "" && t.Container != "":
		d.path = "target.container"
		d.fail(d.place(d.path), "names a container without its pod", "add `pod`, `deployment` or another kind")
	case t.Kind != "" && t.Kind != "targetless" && t.Name == "":
		d.path = "target"
		d.fail(d.place(d.path), "names no "+t.Kind, "")
	}
}

// checkTargetless takes out of the configuration what only a target has.
func (d *decoder) checkTargetless() (warnings []Warning) {
	f := &d.config.Feature
	if d.config.Target.Kind != "targetless" {
		return nil
	}
	d.path = "feature.network.incoming.mode"
	switch f.Network.Incoming.Mode {
	case traffic.Steal:
		d.fail(d.place(d.path), "is \"steal\", but without a target there are no connections to steal", "name a target with -t")
	case traffic.Mirror:
		warnings = append(warnings, Warning{Message: "without a target there are no incoming connections to mirror"})
	}
	if len(f.FS.ReadOnly)+len(f.FS.ReadWrite)+len(f.FS.Mapping) > 0 || f.FS.Mode == FSWrite || f.FS.Mode == FSOverlay {
		warnings = append(warnings, Warning{Message: "without a target there are no files to read: all are this machine's"})
	}
	f.Network.Incoming.Mode, f.FS = traffic.Off, FS{Mode: FSLocal, Local: f.FS.Local, NotFound: f.FS.NotFound}
	d.path = "agent.rights"
	if d.config.Agent.Rights != "" {
		d.fail(d.place(d.path), "is about a target, and there is none", "leave it out, as agent.ephemeral")
	}
	return warnings
}

// checkRights brings the two keys about the agent's rights together.
func (d *decoder) checkRights() {
	a := &d.config.Agent
	if a.Ephemeral == nil {
		return
	}
	if d.path = "agent.ephemeral"; a.Rights != "" && *a.Ephemeral == (a.Rights == RightsNode) {
		d.fail(d.place(d.path), fmt.Sprintf("is %t, which `agent.rights` %q cannot be", *a.Ephemeral, a.Rights), "keep one of the two")
	} else if !*a.Ephemeral {
		a.Rights = RightsNode
	}
}

// exclusive reports two lists that cannot both be given, at the one that was set last.
func (d *decoder) exclusive(a string, lenA int, b string, lenB int) {
	if lenA == 0 || lenB == 0 {
		return
	}
	at, other := d.place(b), d.place(a)
	d.path = b
	d.fail(at, fmt.Sprintf("cannot be combined with `%s` (%s)", a, other), "keep one of the two")
}

// place is where a key was set, or the shorthand of its section.
func (d *decoder) place(path string) document.Place {
	for path != "" {
		if at, ok := d.origin[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return document.Place{}
}

// identities are the pairs of a list that say nothing.
func identities(pairs [][2]uint16) (ports []uint16) {
	for _, p := range pairs {
		if p[0] == p[1] {
			ports = append(ports, p[0])
		}
	}
	return ports
}

// copyHosts makes the names of the outgoing filter be resolved on the side where they are connected to, as the peer does. A DNS filter of
// the other kind stays as the user wrote it.
func copyHosts(out, dns *traffic.Filter) {
	copySide := func(from []traffic.Rule, to *[]traffic.Rule, other []traffic.Rule) {
		if len(other) > 0 {
			return
		}
		for _, r := range from {
			if rule := (traffic.Rule{Host: r.Host, Port: r.Port}); r.Host != "" && !slices.Contains(*to, rule) {
				*to = append(*to, rule)
			}
		}
	}
	copySide(out.Remote, &dns.Remote, dns.Local)
	copySide(out.Local, &dns.Local, dns.Remote)
}
