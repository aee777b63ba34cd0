package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mirrord/launcher/config/document"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/rules"
)

// decoder fills a Config from the sources, one after the other; a later one wins.
type decoder struct {
	config  *Config
	path    string                    // of the key that is being set
	origin  map[string]document.Place // where each key was set last
	ignored []string                  // keys that make no difference here
	faults  []document.Fault
}

func newDecoder() *decoder { return &decoder{config: Default(), origin: map[string]document.Place{}} }

func (d *decoder) fail(at document.Place, problem, hint string) {
	d.faults = append(d.faults, document.Fault{Place: at, Field: d.path, Problem: problem, Hint: hint})
}

// wrong is the fault of a value that is not what its key wants.
func (d *decoder) wrong(n *document.Node, want string) {
	d.fail(n.At, fmt.Sprintf("must be %s, not %v", want, n), "")
}

// object walks the members of a section.
func (d *decoder) object(section string, n *document.Node) {
	for _, m := range n.Members {
		path := strings.TrimPrefix(section+"."+m.Name, ".")
		d.path = path
		k, ok := lookup(path)
		switch {
		case !ok:
			hint := "`mirrord schema` prints all keys"
			if s := suggestion(section, m.Name); s != "" {
				hint = fmt.Sprintf("did you mean `%s`?", s)
			}
			d.fail(m.At, "is unknown", hint)
		default:
			d.apply(k, m.At, m.Value)
		}
	}
}

// apply sets one key. A null means that the key is not given.
func (d *decoder) apply(k key, at document.Place, n *document.Node) {
	d.path = k.path
	d.origin[k.path] = at
	switch {
	case n.Kind == document.Null:
	case n.Kind == document.Object && len(children(k.path)) > 0:
		d.object(k.path, n)
	case k.class == ignored || k.class == unbuilt && says(n, k.fine):
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
func says(n *document.Node, text string) bool {
	switch n.Kind {
	case document.List:
		return len(n.Items) == 0 && text == "[]"
	case document.Object:
		return len(n.Members) == 0 && text == "{}"
	}
	return text != "" && n.Text == text
}

// isText says whether a value is one for a key that takes any text.
func isText(n *document.Node) bool { return n.Kind == document.Text || n.Kind == document.Word }

func (d *decoder) boolean(n *document.Node) (value, ok bool) {
	if n.Kind == document.Boolean || n.Kind == document.Word {
		if v, err := strconv.ParseBool(n.Text); err == nil {
			return v, true
		}
	}
	d.wrong(n, "true or false")
	return false, false
}

// choice reads one of a few words.
func (d *decoder) choice(n *document.Node, words ...string) (string, bool) {
	v := strings.ToLower(n.Text)
	if isText(n) && slices.Contains(words, v) {
		return v, true
	}
	hint := ""
	if c := Nearest(n.Text, words); c != "" {
		hint = fmt.Sprintf("did you mean %q?", c)
	}
	d.fail(n.At, fmt.Sprintf("must be one of %s, not %v", quoted(words), n), hint)
	return "", false
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}

// elements reads a list, one value in place of a list, or a variable's values with ';' between them.
func (d *decoder) elements(n *document.Node) []*document.Node {
	switch n.Kind {
	case document.List:
		return n.Items
	case document.Word:
		var items []*document.Node
		for s := range strings.SplitSeq(n.Text, ";") {
			if s = strings.TrimSpace(s); s != "" {
				items = append(items, &document.Node{At: n.At, Kind: document.Word, Text: s})
			}
		}
		return items
	case document.Object:
		d.wrong(n, "a list")
		return nil
	}
	return []*document.Node{n}
}

func (d *decoder) strings(n *document.Node) []string {
	var all []string
	for _, item := range d.elements(n) {
		if !isText(item) {
			d.wrong(item, "a string or a list of strings")
			continue
		}
		all = append(all, item.Text)
	}
	return all
}

func boolKey(at func(*Config) *bool) setter {
	return func(d *decoder, n *document.Node) {
		if v, ok := d.boolean(n); ok {
			*at(d.config) = v
		}
	}
}

func stringKey(at func(*Config) *string) setter {
	return func(d *decoder, n *document.Node) {
		if !isText(n) {
			d.wrong(n, "a string")
			return
		}
		*at(d.config) = n.Text
	}
}

func listKey(at func(*Config) *[]string) setter {
	return func(d *decoder, n *document.Node) { *at(d.config) = d.strings(n) }
}

// patternsKey takes only patterns that the rules can be compiled from.
func patternsKey(at func(*Config) *[]string) setter {
	return func(d *decoder, n *document.Node) {
		for _, item := range d.elements(n) {
			if !isText(item) {
				d.wrong(item, "a pattern or a list of patterns")
				continue
			}
			d.pattern(item.At, item.Text)
		}
		*at(d.config) = d.strings(n)
	}
}

// pattern checks one on paths.
func (d *decoder) pattern(at document.Place, text string) {
	var bad *rules.PatternError
	if err := rules.CheckPattern(text); errors.As(err, &bad) {
		d.fail(at, fmt.Sprintf("has the pattern %q: column %d: %s", text, bad.Column, bad.Reason), bad.Hint)
	}
}

// mapKey takes scalars of every kind as text, so that `PORT: 8080` needs no quotes.
func mapKey(at func(*Config) *map[string]string) setter {
	return func(d *decoder, n *document.Node) {
		if n.Kind != document.Object {
			d.wrong(n, "an object of names and values")
			return
		}
		values := make(map[string]string, len(n.Members))
		for _, m := range n.Members {
			if m.Value.Kind == document.List || m.Value.Kind == document.Object {
				d.fail(m.At, fmt.Sprintf("has %v for %q; a value is a string", m.Value, m.Name), "")
			}
			values[m.Name] = m.Value.Text
		}
		*at(d.config) = values
	}
}

func portsKey(at func(*Config) *[]uint16) setter {
	return func(d *decoder, n *document.Node) {
		var ports []uint16
		for _, item := range d.elements(n) {
			port, err := strconv.ParseUint(item.Text, 10, 16)
			if err != nil || port == 0 {
				d.wrong(item, "ports, whole numbers from 1 to 65535")
				continue
			}
			ports = append(ports, uint16(port))
		}
		*at(d.config) = ports
	}
}

// pairsKey reads a list of pairs of ports, [[a, b], …]. what names the sides in errors.
func pairsKey(what [2]string, at func(*Config) *[][2]uint16) setter {
	return func(d *decoder, n *document.Node) {
		if n.Kind != document.List {
			d.wrong(n, fmt.Sprintf("a list of pairs of ports, [[%s, %s], ...]", what[0], what[1]))
			return
		}
		items := n.Items
		if len(items) > 0 && !slices.ContainsFunc(items, func(item *document.Node) bool { return item.Kind == document.List }) {
			items = []*document.Node{n} // one pair in place of a list
		}
		var pairs [][2]uint16
		for _, item := range items {
			pair, ok := d.pair(item, what)
			if !ok {
				continue
			}
			for side := range pair {
				for _, other := range pairs {
					if other[side] == pair[side] {
						d.fail(item.At, fmt.Sprintf("has the %s port %d twice", what[side], pair[side]), "")
					}
				}
			}
			pairs = append(pairs, pair)
		}
		*at(d.config) = pairs
	}
}

func (d *decoder) pair(n *document.Node, what [2]string) (pair [2]uint16, ok bool) {
	if n.Kind != document.List || len(n.Items) != 2 {
		d.wrong(n, fmt.Sprintf("pairs of ports, [%s, %s]", what[0], what[1]))
		return pair, false
	}
	for side, item := range n.Items {
		port, err := strconv.ParseUint(item.Text, 10, 16)
		if err != nil || port == 0 {
			d.wrong(item, "pairs of ports, whole numbers from 1 to 65535")
			return pair, false
		}
		pair[side] = uint16(port)
	}
	return pair, true
}

func rulesKey(at func(*Config) *[]traffic.Rule) setter {
	return func(d *decoder, n *document.Node) {
		var all []traffic.Rule
		for _, item := range d.elements(n) {
			if !isText(item) {
				d.wrong(item, "a string or a list of strings")
				continue
			}
			rule, err := traffic.ParseRule(item.Text)
			if err == nil && rule.Proto != "" && strings.HasPrefix(d.path, "feature.network.dns") {
				err = errors.New("a name has no protocol")
			}
			if err != nil {
				d.fail(item.At, fmt.Sprintf("has the entry %q: %v", item.Text, err), "an entry is [tcp://|udp://]HOST-OR-ADDRESS[/BITS][:PORT]")
				continue
			}
			all = append(all, rule)
		}
		*at(d.config) = all
	}
}

// secondsKey takes a whole number of seconds.
func secondsKey(at func(*Config) *uint16) setter {
	return func(d *decoder, n *document.Node) {
		v, err := strconv.ParseUint(n.Text, 10, 16)
		if err != nil || v == 0 || n.Kind != document.Number && n.Kind != document.Word {
			d.wrong(n, "a number of seconds from 1 to 65535")
			return
		}
		*at(d.config) = uint16(v)
	}
}
