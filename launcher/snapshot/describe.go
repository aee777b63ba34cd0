package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// describe is the snapshot's pod.yaml.
func (s *shot) describe(now time.Time) []byte {
	var b bytes.Buffer
	agent := s.Link.Agent()
	fmt.Fprintf(&b, "%s of %s, %s\n", mark, visible(s.Target), now.UTC().Format("2006-01-02 15:04 UTC"))
	if hostname.MatchString(agent.Hostname) {
		fmt.Fprintf(&b, "name: %s\n", quote(agent.Hostname))
	}
	b.WriteString("offline: true # an address without a route is refused, a name that hosts does not have is not found\n")
	b.WriteString("env:\n")
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		fmt.Fprintf(&b, "  %s: %s\n", quote(name), quote(s.env[name]))
	}
	b.WriteString("hosts:\n")
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
		fmt.Fprintf(&b, "  %s: [", quote(name))
		for i, addr := range s.hosts[name] {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(addr))
		}
		b.WriteString("]\n")
	}
	b.WriteString("routes: # where something stands in for an address, such as \"10.96.0.9:5432\": \"127.0.0.1:5432\"\n")
	if s.Used != nil {
		for _, addr := range slices.Sorted(maps.Keys(s.Used.Addresses)) {
			here := "127.0.0.1:PORT"
			if strings.HasPrefix(addr, unixScheme+"://") {
				here = "SOCKET"
			}
			fmt.Fprintf(&b, "  # %q: %q", addr, here)
			if name := s.Used.Addresses[addr]; name != "" {
				fmt.Fprintf(&b, " # %s", visible(name))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("ports: # listen is where connections reach the port, with port 0 at any free one\n")
	if s.Origins != nil {
		for _, port := range s.Origins.Ports {
			fmt.Fprintf(&b, "  %d: {listen: \"127.0.0.1:0\"}\n", port)
		}
	}
	return b.Bytes()
}

// hostname is what pod.yaml takes for one.
var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// quote writes a text for YAML, which takes JSON's. Readers of pod.yaml bound brackets that are open, wherever they stand.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	text := strings.TrimSuffix(b.String(), "\n")
	if strings.Count(s, "[")+strings.Count(s, "{") != strings.Count(s, "]")+strings.Count(s, "}") {
		text = strings.NewReplacer("[", `\u005b`, "{", `\u007b`).Replace(text)
	}
	return text
}

// visible keeps a text from the pod on one line and from controlling a terminal.
func visible(s string) string {
	quoted := strconv.Quote(s)
	if quoted[1:len(quoted)-1] != s {
		return quoted
	}
	return s
}
