package startup

import (
	"errors"
	"strconv"
	"strings"
)

// Probe is an HTTP probe of the kubelet's, as its requests show it.
type Probe struct {
	Port      uint16
	URI       string // of the request line: the path, escaped, and the query
	UserAgent string // that the probe's own headers set; empty: the kubelet's, "kube-probe/" and its version
}

// MaxProbes bounds the probes of a pod that a Start tells, in number.
const MaxProbes = 64

// Bounds of a probe in bytes.
const (
	maxProbeURI  = 2 << 10
	maxUserAgent = 512
)

// String is what ParseProbe reads: "8080,/healthz?x=1", and after a space the user agent.
func (p Probe) String() string {
	text := strconv.Itoa(int(p.Port)) + "," + p.URI
	if p.UserAgent != "" {
		text += " " + p.UserAgent
	}
	return text
}

// Valid says whether ParseProbe reads p as it is.
func (p Probe) Valid() error {
	switch {
	case p.Port == 0:
		return errors.New("a probe has a port from 1 to 65535")
	case len(p.URI) > maxProbeURI || !strings.HasPrefix(p.URI, "/") || strings.ContainsFunc(p.URI, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("a probe's path begins with a slash, is escaped and not longer than 2 KiB")
	case len(p.UserAgent) > maxUserAgent || p.UserAgent != strings.TrimSpace(p.UserAgent) ||
		strings.ContainsFunc(p.UserAgent, func(r rune) bool { return r < ' ' || r == 0x7f || r > 0xff }):
		return errors.New("a probe's user agent is one line, not longer than 512 bytes")
	}
	return nil
}

// ParseProbe reads String.
func ParseProbe(text string) (Probe, error) {
	port, rest, _ := strings.Cut(text, ",")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Probe{}, errors.New("a probe looks like 8080,/healthz")
	}
	p := Probe{Port: uint16(number)}
	p.URI, p.UserAgent, _ = strings.Cut(rest, " ")
	if err := p.Valid(); err != nil {
		return Probe{}, err
	}
	return p, nil
}
