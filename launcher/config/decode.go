package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mirrord/launcher/rules"
)

// decoder fills a Config from the sources, one after the other; a later one wins.
type decoder struct {
	config  *Config
	path    string              // of the key that is being set
	origin  map[string]position // where each key was set last
	ignored []string            // keys that make no difference here
	faults  []Fault
}

func newDecoder() *decoder { return &decoder{config: Default(), origin: map[string]position{}} }

func (d *decoder) fail(at position, problem, hint string) {
	d.faults = append(d.faults, Fault{at.source, at.line, at.column, d.path, problem, hint})
}

// wrong is the fault of a value that is not what its key wants.
func (d *decoder) wrong(n *node, want string) {
	d.fail(n.at, fmt.Sprintf("must be %s, not %v", want, n), "")
}

// object walks the members of a section.
func (d *decoder) object(section string, n *node) {
	for _, m := range n.members {
		path := strings.TrimPrefix(section+"."+m.name, ".")
		d.path = path
		k, ok := lookup(path)
		switch {
		case !ok:
			hint := "`mirrord schema` prints all keys"
			if s := suggestion(section, m.name); s != "" {
				hint = fmt.Sprintf("did you mean `%s`?", s)
			}
			d.fail(m.at, "is unknown", hint)
		default:
			d.apply(k, m.at, m.value)
		}
	}
}

// apply sets one key. A null means that the key is not given.
func (d *decoder) apply(k key, at position, n *node) {
	d.path = k.path
	d.origin[k.path] = at
	switch {
	case n.kind == null:
	case n.kind == object && len(children(k.path)) > 0:
		d.object(k.path, n)
	case k.class == ignored || k.class == unbuilt && n.says(k.fine):
		d.ignored = append(d.ignored, k.path)
	case k.class == unbuilt:
		d.fail(at, "is not built yet", cmp.Or(k.hint, "leave it out"))
	case k.set != nil:
		k.set(d, n)
	default:
		d.wrong(n, "an object")
	}
}

// says compares a scalar with its text, and an empty list or object with "[]" or "{}".
func (n *node) says(text string) bool {
	switch n.kind {
	case list:
		return len(n.items) == 0 && text == "[]"
	case object:
		return len(n.members) == 0 && text == "{}"
	}
	return text != "" && n.text == text
}

func (d *decoder) boolean(n *node) (value, ok bool) {
	if n.kind == boolean || n.kind == word {
		if v, err := strconv.ParseBool(n.text); err == nil {
			return v, true
		}
	}
	d.wrong(n, "true or false")
	return false, false
}

// choice reads one of a few words.
func (d *decoder) choice(n *node, words ...string) (string, bool) {
	v := strings.ToLower(n.text)
	if (n.kind == text || n.kind == word) && slices.Contains(words, v) {
		return v, true
	}
	hint := ""
	if c := Nearest(n.text, words); c != "" {
		hint = fmt.Sprintf("did you mean %q?", c)
	}
	d.fail(n.at, fmt.Sprintf("must be one of %s, not %v", quoted(words), n), hint)
	return "", false
}

// elements reads a list, one value in place of a list, or a variable's values with ';' between them.
func (d *decoder) elements(n *node) []*node {
	switch n.kind {
	case list:
		return n.items
	case word:
		var items []*node
		for s := range strings.SplitSeq(n.text, ";") {
			if s = strings.TrimSpace(s); s != "" {
				items = append(items, &node{at: n.at, kind: word, text: s})
			}
		}
		return items
	case object:
		d.wrong(n, "a list")
		return nil
	}
	return []*node{n}
}

func (d *decoder) strings(n *node) []string {
	var all []string
	for _, item := range d.elements(n) {
		if item.kind != text && item.kind != word {
			d.wrong(item, "a string or a list of strings")
			continue
		}
		all = append(all, item.text)
	}
	return all
}

func boolKey(at func(*Config) *bool) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		if v, ok := d.boolean(n); ok {
			*at(d.config) = v
		}
	}
}

func stringKey(at func(*Config) *string) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		if n.kind != text && n.kind != word {
			d.wrong(n, "a string")
			return
		}
		*at(d.config) = n.text
	}
}

func listKey(at func(*Config) *[]string) func(*decoder, *node) {
	return func(d *decoder, n *node) { *at(d.config) = d.strings(n) }
}

// patternsKey takes only patterns that the rules can be compiled from.
func patternsKey(at func(*Config) *[]string) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		for _, item := range d.elements(n) {
			if item.kind != text && item.kind != word {
				d.wrong(item, "a pattern or a list of patterns")
				continue
			}
			d.pattern(item.at, item.text)
		}
		*at(d.config) = d.strings(n)
	}
}

// pattern checks one on paths.
func (d *decoder) pattern(at position, text string) {
	var bad *rules.PatternError
	if err := rules.CheckPattern(text); errors.As(err, &bad) {
		d.fail(at, fmt.Sprintf("has the pattern %q: column %d: %s", text, bad.Column, bad.Reason), bad.Hint)
	}
}

// setPathMapping checks the patterns, which are matched on paths.
func setPathMapping(d *decoder, n *node) {
	mapKey(func(c *Config) *map[string]string { return &c.Feature.FS.Mapping })(d, n)
	for _, m := range n.members {
		d.pattern(m.at, m.name)
	}
}

// mapKey takes scalars of every kind as text, so that `PORT: 8080` needs no quotes.
func mapKey(at func(*Config) *map[string]string) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		if n.kind != object {
			d.wrong(n, "an object of names and values")
			return
		}
		values := make(map[string]string, len(n.members))
		for _, m := range n.members {
			if m.value.kind == list || m.value.kind == object {
				d.fail(m.at, fmt.Sprintf("has %v for %q; a value is a string", m.value, m.name), "")
			}
			values[m.name] = m.value.text
		}
		*at(d.config) = values
	}
}

func portsKey(at func(*Config) *[]uint16) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		var ports []uint16
		for _, item := range d.elements(n) {
			port, err := strconv.ParseUint(item.text, 10, 16)
			if err != nil || port == 0 {
				d.wrong(item, "ports, whole numbers from 1 to 65535")
				continue
			}
			ports = append(ports, uint16(port))
		}
		*at(d.config) = ports
	}
}

func rulesKey(at func(*Config) *[]Rule) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		var all []Rule
		for _, item := range d.elements(n) {
			if item.kind != text && item.kind != word {
				d.wrong(item, "a string or a list of strings")
				continue
			}
			rule, err := ParseRule(item.text)
			if err == nil && rule.Proto != "" && strings.HasPrefix(d.path, "feature.network.dns") {
				err = errors.New("a name has no protocol")
			}
			if err != nil {
				d.fail(item.at, fmt.Sprintf("has the entry %q: %v", item.text, err), "an entry is [tcp://|udp://]HOST-OR-ADDRESS[/BITS][:PORT]")
				continue
			}
			all = append(all, rule)
		}
		*at(d.config) = all
	}
}

func setTarget(d *decoder, n *node) {
	if n.kind == object { // the long form, below target.path
		for _, m := range n.members {
			if kind, ok := targetParts[m.name]; ok {
				setTargetPart(kind)(d, m.value)
			} else {
				d.fail(m.at, fmt.Sprintf("has the unknown kind %q", m.name), "kinds are "+strings.Join(slices.Sorted(maps.Keys(targetParts)), ", "))
			}
		}
		return
	}
	if n.kind != text && n.kind != word {
		d.wrong(n, "a string like \"dir:PATH\" or \"deployment/NAME\"")
		return
	}
	t, hint, err := parseTarget(n.text)
	if err != nil {
		d.fail(n.at, err.Error(), hint)
	}
	t.Namespace = d.config.Target.Namespace
	d.config.Target = t
}

// setTargetPart sets the kind and name of a target, or its container.
func setTargetPart(kind string) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		value := n.text
		if kind == "label" && n.kind == object { // {"app": "cart"}
			var pairs []string
			for _, m := range n.members {
				pairs = append(pairs, m.name+"="+m.value.text)
			}
			value = strings.Join(pairs, ",")
		} else if n.kind != text && n.kind != word {
			d.wrong(n, "a string")
			return
		}
		t := &d.config.Target
		switch {
		case kind == "container":
			t.Container = value
		case t.Kind != "":
			d.fail(n.at, fmt.Sprintf("is a second target beside %s/%s", t.Kind, t.Name), "keep one of the two")
		default:
			t.Kind, t.Name = kind, value
		}
		t.Path = t.compose()
	}
}

// secondsKey takes a whole number of seconds.
func secondsKey(at func(*Config) *uint16) func(*decoder, *node) {
	return func(d *decoder, n *node) {
		v, err := strconv.ParseUint(n.text, 10, 16)
		if err != nil || v == 0 || n.kind != number && n.kind != word {
			d.wrong(n, "a number of seconds from 1 to 65535")
			return
		}
		*at(d.config) = uint16(v)
	}
}

// shortEnv is `env: true` and `env: false`.
func shortEnv(d *decoder, n *node) {
	if on, ok := d.boolean(n); ok && !on {
		d.config.Feature.Env = Env{Exclude: []string{"*"}}
	}
}

// shortFS is `fs: true`, `fs: false` and `fs: "local"`.
func shortFS(d *decoder, n *node) {
	switch {
	case n.kind != boolean:
		setFSMode(d, n)
	case n.text == "true":
		d.config.Feature.FS.Mode = FSRead
	default:
		d.config.Feature.FS.Mode = FSLocal
	}
}

func setFSMode(d *decoder, n *node) {
	if mode, ok := d.choice(n, string(FSRead), string(FSWrite), string(FSOverlay), string(FSLocal), string(FSLocalWithOverrides)); ok {
		d.config.Feature.FS.Mode = FSMode(mode)
	}
}

// shortNetwork is `network: true` and `network: false`.
func shortNetwork(d *decoder, n *node) {
	if on, ok := d.boolean(n); ok && !on {
		d.config.Feature.Network = Network{Incoming: Incoming{Mode: IncomingOff}}
	}
}

// shortOutgoing is `outgoing: true` and `outgoing: false`.
func shortOutgoing(d *decoder, n *node) {
	if on, ok := d.boolean(n); ok {
		d.config.Feature.Network.Outgoing.TCP, d.config.Feature.Network.Outgoing.UDP = on, on
	}
}

// setMapping checks the patterns, which are matched on names of variables.
func setMapping(d *decoder, n *node) {
	mapKey(func(c *Config) *map[string]string { return &c.Feature.Env.Mapping })(d, n)
	for _, m := range n.members {
		if _, err := regexp.Compile(m.name); err != nil {
			d.fail(m.at, fmt.Sprintf("has the pattern %q: %s", m.name, strings.TrimPrefix(err.Error(), "error parsing regexp: ")), "")
		}
	}
}
