// Package startup is what launcher and agent tell each other before there is a link: how an agent is to be started in a pod, where it listens then, and by what it knows
// the launcher.
package startup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"mirrord/agent/wire"
)

// Start is how a launcher starts an agent in a pod: everybody who may read the pod's specification sees it.
type Start struct {
	TokenHash [sha256.Size]byte // of the Token
	Container string            // the runtime's id of the target's container
	Name      string            // the target's, for people
	Lease     time.Duration     // how long the agent lives without a link
	Rights    Rights            // what it was given
	// HostNetwork: the target has its node's network, whose connections are not the target's alone.
	HostNetwork bool
	// Environ: the agent's own environment holds what the specification of the target's container says, for where the process's may not be read.
	Environ bool
	Probes  []Probe // the kubelet's HTTP probes of the pod's ports, at most MaxProbes
}

// Rights say what an agent was given beyond asking and listening.
type Rights string

// The rights, each with all of those before.
const (
	RightsNone    Rights = "none"    // it stands in a pod of its own and has no target
	RightsTarget  Rights = "target"  // beside the target, with what that may itself
	RightsNetwork Rights = "network" // beside the target, and it may give the pod's incoming connections to others
	RightsNode    Rights = "node"    // in a pod of its own on the target's node, and it may look into every process and enter its namespaces
)

// Hash is what a Start shows of a token.
func (t Token) Hash() [sha256.Size]byte { return sha256.Sum256(t[:]) }

// Args are the agent's command line.
func (s *Start) Args() []string {
	args := []string{
		"--token-sha256=" + hex.EncodeToString(s.TokenHash[:]),
		"--container=" + s.Container,
		"--name=" + s.Name,
		"--lease=" + s.Lease.String(),
		"--rights=" + string(s.Rights),
	}
	if s.HostNetwork {
		args = append(args, "--host-network")
	}
	if s.Environ {
		args = append(args, "--environ")
	}
	for _, p := range s.Probes {
		args = append(args, "--probe="+p.String())
	}
	return args
}

// ParseStart reads Args.
func ParseStart(args []string) (*Start, error) {
	s := new(Start)
	flags := flag.NewFlagSet("mirrord-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	hash := flags.String("token-sha256", "", "")
	flags.StringVar(&s.Container, "container", "", "")
	flags.StringVar(&s.Name, "name", "", "")
	flags.DurationVar(&s.Lease, "lease", 0, "")
	rights := flags.String("rights", "", "")
	flags.BoolVar(&s.HostNetwork, "host-network", false, "")
	flags.BoolVar(&s.Environ, "environ", false, "")
	flags.Func("probe", "", func(text string) error {
		p, err := ParseProbe(text)
		if err == nil && len(s.Probes) == MaxProbes {
			err = fmt.Errorf("more than %d", MaxProbes)
		}
		s.Probes = append(s.Probes, p)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(*hash)
	switch {
	case err != nil || len(sum) != len(s.TokenHash):
		return nil, errors.New("--token-sha256 must be 64 hex digits")
	case s.Lease <= 0:
		return nil, errors.New("--lease must be a duration")
	case !slices.Contains([]Rights{RightsNone, RightsTarget, RightsNetwork, RightsNode}, Rights(*rights)):
		return nil, fmt.Errorf("--rights cannot be %q", *rights)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("%q is too much", flags.Arg(0))
	}
	copy(s.TokenHash[:], sum)
	s.Rights = Rights(*rights)
	return s, nil
}

// Report is the line that a started agent writes to its log: where it listens, or why it does not. Everybody who may read the log sees it.
type Report struct {
	Agent   string            `json:"agent"` // "mirrord": tells the line from others
	Version uint              `json:"version"`
	Port    uint16            `json:"port,omitempty"`  // on the pod's loopback
	Lacks   map[string]string `json:"lacks,omitempty"` // capabilities that it could not get → why
	Error   string            `json:"error,omitempty"` // it has ended
	User    *User             `json:"user,omitempty"`  // with Error: an agent that is started as this user gets further
}

// User is a user and group by number.
type User struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// WriteReport writes a report as one line.
func WriteReport(w io.Writer, r Report) error {
	r.Agent, r.Version = agentName, wire.Version
	return json.NewEncoder(w).Encode(r)
}

const agentName = "mirrord"

// maxReport bounds the line of a report in bytes.
const maxReport = 64 << 10

// ParseReport reads a line of an agent's log; false: it is something else.
func ParseReport(line []byte) (r Report, ok bool) {
	if len(line) > maxReport || json.Unmarshal(line, &r) != nil || r.Agent != agentName || r.Port == 0 && r.Error == "" {
		return Report{}, false
	}
	return r, true
}
