package run

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"mirrord/agent/startup"
	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/kube/agents"
)

// agentOptions are what the configuration says about the agent.
func agentOptions(p *plan) (o agents.Options, err error) {
	settings, feature := p.Config.Agent, p.Config.Feature
	o = agents.Options{
		Session: p.Session, Image: settings.Image, Pull: corev1.PullPolicy(settings.PullPolicy),
		Lease: time.Duration(settings.Communication) * time.Second, Startup: time.Duration(settings.Startup) * time.Second,
		Rights: startup.Rights(settings.Rights), Beside: settings.Ephemeral != nil && *settings.Ephemeral,
		Env:      !slices.Contains(feature.Env.Exclude, "*"),
		Incoming: feature.Network.Incoming.Mode != traffic.Off,
		Pod: agents.Pod{
			Namespace: settings.Namespace, Labels: settings.Labels, Annotations: settings.Annotations, NodeSelector: settings.NodeSelector,
			ServiceAccount: settings.ServiceAccount, PriorityClass: settings.PriorityClass, PullSecrets: settings.PullSecrets,
		},
	}
	if feature.FS.Mode != config.FSLocal {
		o.Needs = append(o.Needs, "files")
	}
	if mode := feature.Network.Incoming.Mode; mode == traffic.Steal || mode == traffic.Mirror {
		o.Needs = append(o.Needs, "incoming")
	}
	for _, t := range settings.Tolerations {
		o.Pod.Tolerations = append(o.Pod.Tolerations, corev1.Toleration{
			Key: t.Key, Operator: corev1.TolerationOperator(t.Operator), Value: t.Value, Effect: corev1.TaintEffect(t.Effect), TolerationSeconds: t.Seconds,
		})
	}
	if o.Pod.Resources.Requests, err = quantities(settings.Resources.Requests); err != nil {
		return o, err
	}
	o.Pod.Resources.Limits, err = quantities(settings.Resources.Limits)
	return o, err
}

func quantities(texts map[string]string) (corev1.ResourceList, error) {
	list := corev1.ResourceList{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		amount, err := resource.ParseQuantity(texts[name])
		if err != nil {
			return nil, fmt.Errorf("agent.resources has %q for %s, which is no quantity\nhint: Kubernetes writes them as 100m, 64Mi or 2", texts[name], name)
		}
		list[corev1.ResourceName(name)] = amount
	}
	return list, nil
}
