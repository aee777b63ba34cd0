package run

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/startup"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/agents"
	"mirrord/launcher/kube/origins"
	"mirrord/launcher/kube/workload"
)

// crowd is how many further containers that were added to a pod are worth a word: Kubernetes lists them for as long as the pod lives.
const crowd = 10

// targetless is the kind of target that is none.
const targetless = "targetless"

// openCluster finds the target in the cluster, starts an agent beside it and links to that.
func openCluster(ctx context.Context, p *plan, phase phases, emit func(events.Event), opened *closers) (link *links.Link, leave func() error, err error) {
	var cluster *kube.Cluster
	var place *workload.Place
	err = phase(phaseTarget, func() (_ string, err error) {
		access := kube.Access{Kubeconfig: p.Config.Kubeconfig, Context: p.Config.KubeContext, Namespace: p.Target.Namespace, Insecure: p.Config.AcceptInvalid}
		if cluster, err = kube.Connect(access); err != nil || p.Target.Kind == targetless {
			return p.Target.Path, err
		}
		limited, cancel := context.WithTimeout(ctx, time.Duration(p.Config.Agent.Startup)*time.Second)
		defer cancel()
		if place, err = workload.Resolve(limited, cluster, workload.Target{Kind: p.Target.Kind, Name: p.Target.Name, Container: p.Target.Container}); err != nil {
			return "", err
		}
		p.origins = func() *origins.Origins { return origins.Of(ctx, cluster, place) }
		return place.Name(), nil
	})
	if err != nil {
		return nil, nil, err
	}
	if place != nil && len(place.Passed) > 0 {
		emit(events.Event{Type: events.Warning, Message: "the container is " + place.Container + "; passed over as a sidecar: " + strings.Join(place.Passed, ", "),
			Hint: "/container/NAME behind the target names another"})
	}
	var agent *agents.Agent
	err = phase(phaseAgent, func() (message string, err error) {
		agent, message, err = startAgent(ctx, p, cluster, place, emit)
		return message, err
	})
	if err != nil {
		return nil, nil, err
	}
	if err = phase(phaseLink, func() (_ string, err error) {
		link, err = connect(ctx, p, agent, emit)
		return "", err
	}); err != nil {
		return nil, nil, err
	}
	leave = sync.OnceValue(link.Goodbye)
	*opened = append(*opened, link.Close, leave)
	return link, leave, nil
}

// startAgent starts one with the rights that the session needs, or the most that can be had. message says which, and why it has no more where that is normal.
// place is nil without a target.
func startAgent(ctx context.Context, p *plan, cluster *kube.Cluster, place *workload.Place, emit func(events.Event)) (agent *agents.Agent, message string, err error) {
	o, err := agentOptions(p)
	if err != nil {
		return nil, "", err
	}
	if place == nil {
		if agent, err = agents.StartTargetless(ctx, cluster, o); err != nil {
			return nil, "", err
		}
		return agent, agent.Name, nil
	}
	var said []string
	o.Say = func(message string) { said = append(said, message) }
	if agent, err = agents.Start(ctx, cluster, place, o); err != nil {
		return nil, "", err
	}
	if agent.Rights == startup.RightsTarget && len(said) == 1 { // many clusters allow no more, and who did not ask for incoming connections may not need them
		message, said = ", "+said[0], nil
	}
	for _, message := range said {
		emit(events.Event{Type: events.Warning, Message: message})
	}
	for _, name := range slices.Sorted(maps.Keys(agent.Lacks)) {
		if name != "incoming" { // a program that listens is told
			emit(events.Event{Type: events.Warning, Message: fmt.Sprintf("the agent cannot serve %s: %s", name, agent.Lacks[name])})
		}
	}
	if agent.Crowd > 0 && agent.Crowd%crowd == 0 { // not each time from then on
		emit(events.Event{Type: events.Warning, Message: fmt.Sprintf("%d containers were added to the pod %s, by sessions of mirrord or by kubectl debug", agent.Crowd, place.Pod.Name),
			Hint: "those that have ended cost nothing, but Kubernetes lists them until the pod is deleted"})
	}
	_, probed := place.Probes()
	warnOfProbes(p.Config.Feature.Network.Incoming, probed, emit)
	return agent, agent.Name + message, nil
}

// warnOfProbes tells of those of the kubelet's probes, by their ports, that a program which steals the port has to answer.
func warnOfProbes(in traffic.Incoming, probed []uint16, emit func(events.Event)) {
	if in.Mode != traffic.Steal {
		return
	}
	ports := slices.DeleteFunc(probed, func(pod uint16) bool {
		_, taken := in.PodPort(in.LocalPort(pod))
		return !taken
	})
	if len(ports) > 0 {
		emit(events.Event{Type: events.Warning, Message: "the program has to answer the kubelet's probes of a stolen port: " + strings.Trim(fmt.Sprint(ports), "[]"),
			Hint: fmt.Sprintf("only those by plain HTTP, up to %d, are left to the pod's own program; the pod may be restarted while others have no answer", startup.MaxProbes)})
	}
}

// connect makes the link to a started agent, which is made anew when it is lost, for as long as the agent waits.
func connect(ctx context.Context, p *plan, agent *agents.Agent, emit func(events.Event)) (*links.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	requests, bulk, err := agent.Dial(ctx)
	if err != nil {
		return nil, err
	}
	var lost time.Time // Changed is not called concurrently
	redial := &links.Redial{Dial: agent.Dial, Patience: time.Duration(p.Config.Agent.Communication) * time.Second, Changed: func(up bool) {
		if up {
			emit(events.Event{Type: events.Link, State: stateRestored, Message: "the connection to the pod is there again", Took: milliseconds(time.Since(lost))})
		} else {
			lost = time.Now()
			emit(events.Event{Type: events.Link, State: stateLost, Message: "the connection to the pod is lost, and with it what was under way",
				Hint: fmt.Sprintf("it is tried again for %d seconds, while the program waits; agent.communication_timeout says how long", p.Config.Agent.Communication)})
		}
	}}
	link, err := links.NewLasting(ctx, requests, bulk, p.Session, whoAmI(), redial)
	if err != nil {
		return nil, fmt.Errorf("cannot talk to the agent: %w", err)
	}
	return link, nil
}

// whoAmI is the user, as others who want the same port of a pod are told.
func whoAmI() string {
	name, host := "somebody", "a machine"
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
