// Package agents starts an agent for a container of a pod, or for none, with the rights that suffice, and connects the two ends of the link to it.
package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"mirrord/agent/links"
	"mirrord/agent/startup"
	"mirrord/agent/wire"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// Options say what agent is started.
type Options struct {
	Session string // tells this session's agent from others; a part of a name in Kubernetes
	Image   string
	Pull    corev1.PullPolicy // empty: as Kubernetes has it for the image's tag
	Lease   time.Duration     // how long it lives without a launcher
	Startup time.Duration     // how long it may take to start

	Pod      Pod                  // the agent's own, where it has one
	Rights   startup.Rights       // empty: those that suffice, found by trying
	Beside   bool                 // never startup.RightsNode
	Env      bool                 // the environment is wanted
	Incoming bool                 // rights for incoming connections are tried for
	Needs    []string             // of Agent.Lacks what is worth more rights; with "incoming" in it, no agent is better than one that lacks that
	Say      func(message string) // is told of each way that was tried in vain
}

// Agent is one that listens.
type Agent struct {
	Name   string // of its container or Job
	Rights startup.Rights
	Lacks  map[string]string // what it cannot do here → why
	// Crowd is how many containers were added to the pod while it runs; Kubernetes never removes them, though those that have ended cost nothing.
	Crowd int

	cluster *kube.Cluster // with the agent's namespace
	pod     string
	port    uint16
	token   startup.Token
	ahead   *ahead // nil: used, or none
}

// refusal is why an agent cannot be had in one way, while another way may be open.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// policyOf is what an admission (Pod Security, a quota, a webhook) says when it refuses; "": the error is another, or none. A missing permission, which has the
// same status, is worded with the user's name.
func policyOf(err error) string {
	if !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "User \"") {
		return ""
	}
	return policyText(err.Error())
}

// policyText is the reason in an admission's words. Pod Security lists everything that is not as it should be; its level says enough.
func policyText(text string) string {
	if _, reason, found := strings.Cut(text, " is forbidden: "); found {
		text = reason
	}
	if level, _, found := strings.Cut(text, `": `); found && strings.HasPrefix(level, "violates PodSecurity") {
		text = level + `"`
	}
	return text
}

// Start starts an agent for the target and waits until it listens. What rights it needs is found by trying: policies are closed, and what a node's kernel
// allows shows only there.
func Start(ctx context.Context, c *kube.Cluster, place *workload.Place, o Options) (*Agent, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Startup, errSlow)
	defer cancel()
	if place.HostNetwork() && slices.Contains(o.Needs, "incoming") {
		return nil, fmt.Errorf("the pod %s has the network of its node, so the connections to its ports are not its own: none is stolen or mirrored\nhint: "+
			"leave --steal and incoming.mode out, or name a pod without hostNetwork", place.Pod.Name)
	}
	agent, err := o.climb(ladder(place, o), func(rights startup.Rights) (*Agent, error) { return startWith(ctx, c, place, o, rights) }, func(a *Agent) { a.dismiss(ctx) })
	if err != nil || !o.Env || agent.Lacks["env"] == "" || agent.Rights == startup.RightsNode {
		return agent, err
	}
	return withSpecified(ctx, c, place, o, agent), nil
}

// withSpecified replaces an agent that cannot read the environment of the target's process by one that has what the specification of the target's container
// says. The kubelet resolves that, so the user needs no permission for Secrets, but only when a container starts. It is done when a first agent has said that it
// must be, which is rare, and not always: all the target's variables would stand in the pod once more for each session, and a Secret that has been deleted
// since the target's start would keep every agent from starting.
func withSpecified(ctx context.Context, c *kube.Cluster, place *workload.Place, o Options, agent *Agent) *Agent {
	better, err := startBeside(ctx, c, place, o, agent.Rights, true)
	if err != nil {
		o.Say("no agent with the variables of the specification: " + firstLine(err))
		return agent
	}
	o.Say("the variables are those of the pod's specification, without what its image and program add: " + agent.Lacks["env"])
	agent.dismiss(ctx)
	return better
}

func firstLine(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// StartTargetless starts an agent without a target, in a pod of its own, and waits until it listens.
func StartTargetless(ctx context.Context, c *kube.Cluster, o Options) (*Agent, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Startup, errSlow)
	defer cancel()
	return startJob(ctx, c, nil, o)
}

// climb tries rights until they suffice; what is started in vain is dismissed.
func (o *Options) climb(rungs []startup.Rights, start func(startup.Rights) (*Agent, error), dismiss func(*Agent)) (*Agent, error) {
	var refusals []error
	var best *Agent // the one that lacks least of those that started
	note := func(rights startup.Rights, why error) {
		o.Say(fmt.Sprintf("no agent with the rights %q: %s", rights, firstLine(why)))
		refusals = append(refusals, why)
	}
	for _, rights := range rungs {
		if best != nil && rights != startup.RightsNode {
			continue // of the rights beside the target it has the most that can be had
		}
		agent, err := start(rights)
		var refused refusal
		switch {
		case err == nil:
			if best != nil {
				for _, name := range missing(best, o.Needs) {
					o.Say(fmt.Sprintf("the agent has the rights %q, since one with %q cannot serve %s: %s", rights, best.Rights, name, best.Lacks[name]))
				}
				dismiss(best)
			}
			if best = agent; len(missing(best, o.Needs)) == 0 {
				return best, nil
			}
		case errors.As(err, &refused):
			note(rights, err)
		case best == nil:
			return nil, err
		default:
			note(rights, err)
		}
	}
	switch {
	case best == nil:
		return nil, together(refusals)
	case slices.Contains(missing(best, o.Needs), "incoming"):
		dismiss(best)
		why := fmt.Errorf("an agent with the rights %q cannot serve incoming connections: %s\nhint: without --steal and incoming.mode the session runs without them",
			best.Rights, best.Lacks["incoming"])
		return nil, together(append([]error{why}, refusals...))
	}
	return best, nil
}

// ladder is which rights are tried, in order. Rights of the node come last: they are much more than a pod's.
func ladder(place *workload.Place, o Options) (all []startup.Rights) {
	if o.Rights != "" {
		return []startup.Rights{o.Rights}
	}
	must := slices.Contains(o.Needs, "incoming")
	if must || o.Incoming && !place.HostNetwork() {
		all = append(all, startup.RightsNetwork)
	}
	if !must {
		all = append(all, startup.RightsTarget)
	}
	if !o.Beside {
		all = append(all, startup.RightsNode)
	}
	return all
}

// missing are those needs that an agent cannot serve.
func missing(a *Agent, needs []string) (names []string) {
	for _, name := range needs {
		if a.Lacks[name] != "" {
			names = append(names, name)
		}
	}
	return names
}

// together is one error of several refusals, none of which is more to blame than another.
func together(refusals []error) error {
	var texts, hints []string
	for _, err := range refusals {
		text, hint, _ := strings.Cut(err.Error(), "\nhint: ")
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	text := strings.Join(texts, "; and ")
	if len(hints) > 0 {
		text += "\nhint: " + strings.Join(hints, "; or ")
	}
	return errors.New(text)
}

var errSlow = errors.New("the agent took too long")

// startWith starts an agent with certain rights.
func startWith(ctx context.Context, c *kube.Cluster, place *workload.Place, o Options, rights startup.Rights) (*Agent, error) {
	if rights == startup.RightsNode {
		return startJob(ctx, c, place, o)
	}
	return startBeside(ctx, c, place, o, rights, false)
}

// fit checks what a started agent says.
func (a *Agent) fit(report startup.Report) error {
	switch {
	case report.Error != "":
		return refusal{fmt.Errorf("the agent in the pod %s could not start: %s", a.pod, report.Error)}
	case report.Version != wire.Version:
		return fmt.Errorf("the agent speaks version %d of the protocol, this mirrord version %d\nhint: use an agent's image of the same release as mirrord", report.Version, wire.Version)
	}
	a.port, a.Lacks = report.Port, map[string]string{}
	for name, why := range report.Lacks {
		a.Lacks[name] = strings.ReplaceAll(why, "\n", "; ")
	}
	return nil
}

// dismiss ends an agent that a better one has replaced. One that cannot be reached ends with its lease.
func (a *Agent) dismiss(ctx context.Context) {
	requests, bulk, err := a.Dial(ctx)
	if err != nil {
		return
	}
	if link, err := links.New(ctx, requests, bulk, a.Name); err == nil {
		_ = link.Goodbye()
		_ = link.Close()
	}
}
