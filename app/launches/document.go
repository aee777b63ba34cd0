package launches

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// document is a configuration file: what a Launch has is read from it and put into it, the rest stays.
type document map[string]any

func parse(text []byte) (document, error) {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var d document
	if err := in.Decode(&d); err != nil {
		return nil, errors.New("it is no object of JSON: " + err.Error())
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	if d == nil {
		return nil, errors.New("it is no object of JSON")
	}
	return d, nil
}

// text is the file. The command line takes two braces for a template, which it does not have, so the second is written by its number.
func (d document) text() ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(d); err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(b.String(), "{{", `{\u007b`)
	return []byte(strings.ReplaceAll(text, "{%", `{\u0025`)), nil
}

// at returns what is at a path; nil when nothing is.
func (d document) at(path ...string) any {
	var v any = map[string]any(d)
	for _, name := range path {
		section, _ := v.(map[string]any)
		v = section[name]
	}
	return v
}

func (d document) word(path ...string) string {
	s, _ := d.at(path...).(string)
	return s
}

// set puts a value at a path; a section that is not there, or is a shorthand, becomes an object.
func (d document) set(value any, path ...string) {
	section := map[string]any(d)
	for _, name := range path[:len(path)-1] {
		below, ok := section[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			section[name] = below
		}
		section = below
	}
	if last := path[len(path)-1]; value == nil || value == "" {
		delete(section, last)
	} else {
		section[last] = value
	}
}

// launch is what the document says.
func (d document) launch() Launch {
	l := Launch{
		Name: d.word("launch", "name"), Folder: d.word("launch", "folder"),
		Target: Target{Context: d.word("kube_context"), Namespace: d.word("target", "namespace"), Path: d.target()},
		Shared: d.shared(), custom: d.custom(),
	}
	l.Plain, _ = d.at("launch", "plain").(bool)
	words, _ := d.at("launch", "command").([]any)
	for _, w := range words {
		word, ok := w.(string)
		if !ok || strings.ContainsRune(word, 0) {
			l.Command = nil
			break
		}
		l.Command = append(l.Command, word)
	}
	return l
}

// target is the path in any of the forms that the command line takes: a string, an object with a path, or with a kind.
func (d document) target() string {
	for _, path := range [][]string{{"target"}, {"target", "path"}} {
		if s := d.word(path...); s != "" {
			return s
		}
	}
	for _, kind := range []string{"pod", "deployment", "rollout", "job", "cron_job", "stateful_set", "daemon_set", "service", "replica_set"} {
		for _, path := range [][]string{{"target", kind}, {"target", "path", kind}} {
			if name := d.word(path...); name != "" {
				text := strings.ReplaceAll(kind, "_", "") + "/" + name
				if container := d.word(append(path[:len(path)-1:len(path)-1], "container")...); container != "" {
					text += "/container/" + container
				}
				return text
			}
		}
	}
	return ""
}

// put makes the document say what the launch does. What it says already is not touched.
func (d document) put(l Launch) {
	d.set(l.Name, "launch", "name")
	d.set(l.Folder, "launch", "folder")
	d.set(l.Command, "launch", "command")
	d.set(nil, "launch", "plain")
	if l.Plain {
		d.set(true, "launch", "plain")
	}
	d.set(l.Target.Context, "kube_context")
	if l.Target.Path != d.target() || l.Target.Namespace != d.word("target", "namespace") {
		delete(d, "target")
		if l.Target.Path != "" {
			d.set(l.Target.Path, "target", "path")
		}
		if l.Target.Namespace != "" {
			d.set(l.Target.Namespace, "target", "namespace")
		}
	}
	now := d.shared()
	if d.at("feature", "network") == false && l.Shared != now {
		d.share(NetworkOut, Off)
		d.share(TrafficIn, Off)
	}
	for _, f := range Features {
		if l.Shared[f] != now[f] {
			d.share(f, l.Shared[f])
		}
	}
}

// shared reads the levels from the configuration.
func (d document) shared() Shared {
	s := Default()
	if d.at("feature", "env") == false {
		s[Environment] = Off
	}
	mode := d.word("feature", "fs")
	if mode == "" {
		mode = d.word("feature", "fs", "mode")
	}
	switch {
	case d.at("feature", "fs") == false, strings.EqualFold(mode, "local"), strings.EqualFold(mode, "localwithoverrides"):
		s[Files] = Off
	case strings.EqualFold(mode, "write"):
		s[Files] = Full
	}
	if out := d.at("feature", "network", "outgoing"); out == false || d.at("feature", "network", "outgoing", "tcp") == false || d.at("feature", "network") == false {
		s[NetworkOut] = Off
	}
	in := d.at("feature", "network", "incoming")
	mode = d.word("feature", "network", "incoming")
	if mode == "" {
		mode = d.word("feature", "network", "incoming", "mode")
	}
	switch {
	case in == false, strings.EqualFold(mode, "off"), d.at("feature", "network") == false:
		s[TrafficIn] = Off
	case in == true, strings.EqualFold(mode, "steal"):
		s[TrafficIn] = Full
	}
	return s
}

// share writes a level, as gently as it can: the object of a feature with more to say keeps that.
func (d document) share(f Feature, l Level) {
	switch f {
	case Environment:
		if d.set(nil, "feature", "env"); l == Off {
			d.set(false, "feature", "env")
		}
	case Files:
		d.set([...]string{"local", "read", "write"}[l], "feature", "fs", "mode")
	case NetworkOut:
		on := l != Off
		for _, path := range [][]string{{"outgoing", "tcp"}, {"outgoing", "udp"}, {"dns", "enabled"}} {
			d.set(on, append([]string{"feature", "network"}, path...)...)
		}
	case TrafficIn:
		d.set([...]string{"off", "mirror", "steal"}[l], "feature", "network", "incoming", "mode")
	}
}

// custom says whether the document has more than a Launch.
func (d document) custom() bool {
	known := map[string][]string{
		"": {"launch", "target", "kube_context", "feature", "$schema"}, "feature": {"env", "fs", "network"}, "feature.fs": {"mode"}, "feature.network": {"incoming", "outgoing", "dns"},
		"feature.network.incoming": {"mode"}, "feature.network.outgoing": {"tcp", "udp"}, "feature.network.dns": {"enabled"}, "target": {"path", "namespace"},
		"launch": {"name", "folder", "command", "plain"}, "feature.env": {},
	}
	for section, names := range known {
		var path []string
		if section != "" {
			path = strings.Split(section, ".")
		}
		object, _ := d.at(path...).(map[string]any)
		for name := range object {
			if !slices.Contains(names, name) {
				return true
			}
		}
	}
	mode := d.word("feature", "fs") + d.word("feature", "fs", "mode")
	return !slices.Contains([]string{"", "local", "read", "write"}, mode)
}
