package snapshot

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"mirrord/launcher/events"
)

// maxLine bounds a line of an events file, in bytes.
const maxLine = 1 << 20

// unixScheme begins the route of a Unix socket, and is its protocol in events.
const unixScheme = "unix"

// Used is what a session has used of its pod.
type Used struct {
	Paths, Names []string          // that it got, each once
	Addresses    map[string]string // "10.96.0.9:5432", "udp://10.96.0.7:8125", "unix:///run/db.sock" that it connected to → a name, or nothing
}

// ReadUsed reads what `mirrord exec --events` has written, of any number of sessions.
func ReadUsed(r io.Reader) (*Used, error) {
	paths, names := make(map[string]bool), make(map[string]bool)
	u := &Used{Addresses: make(map[string]string)}
	known := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var ev events.Event
		if json.Unmarshal(lines.Bytes(), &ev) != nil || ev.Type == "" {
			continue // the last line of a session that was killed may be cut
		}
		known = true
		if ev.Errno != "" {
			continue
		}
		switch ev.Type {
		case events.File:
			paths[ev.Path] = strings.HasPrefix(ev.Path, "/")
		case events.Name:
			names[ev.Name] = ev.Name != ""
		case events.Connect:
			if ev.Protocol == unixScheme && ev.Path != "" {
				u.Addresses[unixScheme+"://"+ev.Path] = ""
				continue
			}
			addr, err := netip.ParseAddrPort(ev.Address)
			if err != nil || addr.Addr().IsLoopback() || addr.Addr().Zone() != "" {
				continue
			}
			key := addr.String()
			if ev.Protocol == "udp" {
				key = "udp://" + key
			}
			u.Addresses[key] = ev.Name
			if ev.Name != "" {
				names[ev.Name] = true
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the events: %w", err)
	}
	if !known {
		return nil, errors.New("there are no events in it\nhint: `mirrord exec --events FILE` writes them")
	}
	for set, list := range map[*[]string]map[string]bool{&u.Paths: paths, &u.Names: names} {
		maps.DeleteFunc(list, func(_ string, good bool) bool { return !good })
		*set = slices.Sorted(maps.Keys(list))
	}
	return u, nil
}
