package agents

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mirrord/agent/startup"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// beside is a container for an agent in the target's pod.
type beside struct {
	name     string
	rights   startup.Rights
	security *corev1.SecurityContext
	// environ: the container has the variables of the target's.
	environ bool
}

// startBeside adds an agent's container to the target's pod.
func startBeside(ctx context.Context, c *kube.Cluster, place *workload.Place, o Options, rights startup.Rights, environ bool) (*Agent, error) {
	security, sure := securityFor(place.Pod, workload.ContainerOf(place.Pod, place.Container))
	b := beside{name: "mirrord-" + o.Session, rights: rights, environ: environ}
	if rights == startup.RightsNetwork {
		// As root it becomes whatever user the target is.
		security, sure = networkFor(security, workload.ContainerOf(place.Pod, place.Container)), true
	} else {
		b.name += "-t" // there may be one of more rights beside it, which has ended
	}
	if environ {
		b.name += "-e"
	}
	b.security = security
	agent, report, err := tryBeside(ctx, c, place, o, b)
	if err == nil && report.User != nil && !sure {
		// What the image's user is only a process of the container tells.
		b.name, b.security = b.name+"-u", asUser(security, *report.User)
		agent, report, err = tryBeside(ctx, c, place, o, b)
	}
	if err != nil {
		return nil, err
	}
	return agent, agent.fit(report)
}

// tryBeside starts one agent and returns what it reports.
func tryBeside(ctx context.Context, c *kube.Cluster, place *workload.Place, o Options, b beside) (*Agent, startup.Report, error) {
	a := &Agent{Name: b.name, Rights: b.rights, cluster: c, pod: place.Pod.Name, token: startup.NewToken()}
	start := startup.Start{TokenHash: a.token.Hash(), Container: place.ContainerID, Name: place.Name(), Lease: o.Lease, Rights: b.rights,
		HostNetwork: place.HostNetwork(), Environ: b.environ}
	start.Probes, _ = place.Probes()
	container := corev1.EphemeralContainer{
		TargetContainerName: place.Container,
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: b.name, Image: o.Image, ImagePullPolicy: o.Pull, Args: start.Args(), SecurityContext: b.security,
			TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		},
	}
	if b.environ {
		container.Env, container.EnvFrom = environmentOf(workload.ContainerOf(place.Pod, place.Container))
	}
	pod, err := addContainer(ctx, c, place, container)
	if err != nil {
		return nil, startup.Report{}, err
	}
	a.Crowd = len(pod.Spec.EphemeralContainers)
	a.ahead = dialAhead(ctx, c, pod.Name)
	report, err := awaitReport(ctx, c, pod, b.name, o.Image)
	if err != nil || report.Error != "" {
		a.ahead.close()
	}
	return a, report, err
}

// environmentOf are a container's variables for another one of the same pod: a container's resources would be the other's own.
func environmentOf(container *corev1.Container) ([]corev1.EnvVar, []corev1.EnvFromSource) {
	own := container.DeepCopy()
	for _, v := range own.Env {
		if from := v.ValueFrom; from != nil && from.ResourceFieldRef != nil && from.ResourceFieldRef.ContainerName == "" {
			from.ResourceFieldRef.ContainerName = own.Name
		}
	}
	return own.Env, own.EnvFrom
}

func addContainer(ctx context.Context, c *kube.Cluster, place *workload.Place, container corev1.EphemeralContainer) (*corev1.Pod, error) {
	const resource = "pods/ephemeralcontainers"
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{container}}})
	if err != nil {
		return nil, err
	}
	pod, err := c.Client.CoreV1().Pods(c.Namespace).Patch(ctx, place.Pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
	switch {
	case err == nil:
		return pod, nil
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("the pod %s is gone\nhint: try again; naming its workload, such as deployment/NAME, finds another", place.Pod.Name)
	case policyOf(err) != "":
		return nil, refusal{fmt.Errorf("a policy of the cluster forbids the agent in the pod %s: %s\nhint: ask who sets the policies of the namespace %s", place.Pod.Name, policyOf(err), c.Namespace)}
	case apierrors.IsInvalid(err):
		return nil, refusal{fmt.Errorf("the cluster does not take the agent's container: %w", err)}
	case apierrors.IsForbidden(err):
		return nil, refusal{c.Explain(err, "start an agent in the pod "+place.Pod.Name, "patch", resource)}
	}
	return nil, c.Explain(err, "start an agent in the pod "+place.Pod.Name, "patch", resource)
}
