package run

import (
	"context"

	"mirrord/agent/links"
	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/kube/origins"
)

// Attached is a target that is looked at without a program running in its context.
type Attached struct {
	Link    *links.Link
	Origins *origins.Origins // what a pod's specification tells; nil for a pod directory, of which nothing is known

	// Phase runs a step and tells of it by events.
	Phase func(name string, step func() (message string, err error)) error

	opened closers
}

// Attach opens the target of a configuration as a session does, for reading alone: nothing of what comes to the pod is asked for, so the agent has the
// lowest rights. emit is told the phases and warnings. Close must be called.
func Attach(ctx context.Context, c *config.Config, emit func(events.Event)) (*Attached, error) {
	p := &plan{Session: newSession(), Config: reading(c)}
	p.setTarget(c.Target)
	phase := newPhases(emit)
	a := &Attached{Phase: phase}
	link, _, err := openTarget(ctx, p, phase, emit, &a.opened)
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	a.Link = link
	if p.origins != nil {
		a.Origins = p.origins()
	}
	return a, nil
}

// reading is a configuration for looking at all of a pod, whatever of it a program would get.
func reading(c *config.Config) *config.Config {
	all := *c
	all.Feature = config.Default().Feature
	all.Feature.Network.Incoming = traffic.Incoming{Mode: traffic.Off}
	return &all
}

// Close tells the agent that it is not needed any more, and ends the link.
func (a *Attached) Close() error { return a.opened.close() }
