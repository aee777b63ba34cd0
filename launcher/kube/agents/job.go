package agents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mirrord/agent/startup"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// jobContainer is the name of the agent's container in a pod of its own.
const jobContainer = "agent"

// Pod describes the pod that an agent has of its own. Zero fields are as we have them.
type Pod struct {
	Namespace           string // the target's
	Labels, Annotations map[string]string
	Tolerations         []corev1.Toleration // of a node's agent: all
	NodeSelector        map[string]string   // of an agent without a target; the other stands on the target's node
	Resources           corev1.ResourceRequirements
	ServiceAccount      string
	PriorityClass       string
	PullSecrets         []string
}

// ours is the label of an agent's Job and its pod, and session the one whose value tells sessions apart.
const (
	ours    = "app"
	session = "mirrord/session"
)

// agentResources are what an agent's own pod asks for and may take, where the user says nothing: on a full node, too, there is room for it. A quota may ask for both.
var agentResources = corev1.ResourceRequirements{
	Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("0"), corev1.ResourceMemory: resource.MustParse("0")},
	Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("128Mi")},
}

// unmeshed keep the proxies of service meshes out of the agent's pod: some go by a label, some by an annotation.
var unmeshed = map[string]string{"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled", "kuma.io/sidecar-injection": "disabled"}

// elsewhere is what to do about a policy.
const elsewhere = "agent.namespace names another namespace for the agent's own pod"

// startJob starts an agent in a pod of its own: on the target's node, or without a target (nil) anywhere.
func startJob(ctx context.Context, c *kube.Cluster, place *workload.Place, o Options) (*Agent, error) {
	in := *c
	if o.Pod.Namespace != "" {
		in.Namespace = o.Pod.Namespace
	}
	a := &Agent{Name: "mirrord-agent-" + o.Session, Rights: startup.RightsNone, cluster: &in, token: startup.NewToken()}
	start := startup.Start{TokenHash: a.token.Hash(), Name: "targetless", Lease: o.Lease, Rights: startup.RightsNone}
	if place != nil {
		a.Rights = startup.RightsNode
		start.Container, start.Name, start.HostNetwork, start.Rights = place.ContainerID, place.Name(), place.HostNetwork(), startup.RightsNode
		start.Probes, _ = place.Probes()
	}
	job := jobOf(place, o, a.Name, start.Args())
	created, err := in.Client.BatchV1().Jobs(in.Namespace).Create(ctx, job, metav1.CreateOptions{})
	switch {
	case policyOf(err) != "":
		return nil, refusal{fmt.Errorf("a policy of the namespace %s forbids a Job for the agent: %s\nhint: %s", in.Namespace, policyOf(err), elsewhere)}
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return nil, refusal{in.Explain(err, "start an agent's Job", "create", "jobs.batch")}
	case err != nil:
		return nil, in.Explain(err, "start an agent's Job", "create", "jobs.batch")
	}
	report, err := awaitJob(ctx, &in, a, o)
	if err == nil {
		err = a.fit(report)
	}
	if err != nil {
		return nil, removeJob(ctx, &in, created.Name, err)
	}
	return a, nil
}

// jobOf is the Job. It is gone a second after its agent has ended, and its pod with it.
func jobOf(place *workload.Place, o Options, name string, args []string) *batchv1.Job {
	yes, no, zero, second, grace := true, false, int32(0), int32(1), int64(1)
	labels := map[string]string{ours: "mirrord", session: o.Session}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: merged(unmeshed, o.Pod.Labels, labels), Annotations: merged(unmeshed, o.Pod.Annotations)},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: &grace,
			ServiceAccountName: o.Pod.ServiceAccount, PriorityClassName: o.Pod.PriorityClass, Tolerations: o.Pod.Tolerations, NodeSelector: o.Pod.NodeSelector,
			Containers: []corev1.Container{{
				Name: jobContainer, Image: o.Image, ImagePullPolicy: o.Pull, Args: args, Resources: agentResources, SecurityContext: powerless(new(corev1.SecurityContext), stranger, nil),
			}},
		},
	}
	spec := &template.Spec
	for _, secret := range o.Pod.PullSecrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
	}
	if len(o.Pod.Resources.Requests)+len(o.Pod.Resources.Limits) > 0 {
		spec.Containers[0].Resources = o.Pod.Resources
	}
	if place != nil {
		// Without the scheduler: a node that takes no other pods has the target's.
		spec.NodeName, spec.NodeSelector, spec.HostPID = place.Pod.Spec.NodeName, nil, true
		if len(spec.Tolerations) == 0 {
			spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		}
		spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			RunAsUser: new(int64), RunAsGroup: new(int64), RunAsNonRoot: &no,
			Capabilities:    &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "BPF", "SYS_PTRACE", "SYS_ADMIN"}},
			SeccompProfile:  &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
			AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
		}
	} else {
		spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem = &yes
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: merged(o.Pod.Labels, labels), Annotations: merged(o.Pod.Annotations)},
		Spec:       batchv1.JobSpec{BackoffLimit: &zero, TTLSecondsAfterFinished: &second, Template: template},
	}
}

func merged(all ...map[string]string) map[string]string {
	m := map[string]string{}
	for _, one := range all {
		maps.Copy(m, one)
	}
	return m
}

// awaitJob waits until the Job's agent has told where it listens.
func awaitJob(ctx context.Context, c *kube.Cluster, a *Agent, o Options) (startup.Report, error) {
	watching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go watchFailures(watching, c, a.Name, stop)
	var pod *corev1.Pod
	err := awaitPod(watching, c, metav1.ListOptions{LabelSelector: session + "=" + o.Session}, func(seen *corev1.Pod) (bool, error) {
		pod = seen
		return seen.Spec.NodeName != "", rejected(seen)
	})
	var refused refusal
	if cause := context.Cause(watching); errors.As(cause, &refused) {
		return startup.Report{}, cause
	}
	if err != nil {
		return startup.Report{}, err
	}
	a.pod, a.ahead = pod.Name, dialAhead(ctx, c, pod.Name)
	report, err := awaitReport(ctx, c, pod, jobContainer, o.Image)
	if err != nil || report.Error != "" {
		a.ahead.close()
	}
	return report, err
}

// rejected says why no node takes a pod: the scheduler has found none, or the one that the pod names has no room.
func rejected(pod *corev1.Pod) error {
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return refusal{fmt.Errorf("the node %s does not take the agent's pod: %s, %s\nhint: end something on it, or ask for less with agent.resources", pod.Spec.NodeName, pod.Status.Reason, pod.Status.Message)}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			return refusal{fmt.Errorf("no node takes the agent's pod: %s\nhint: agent.tolerations, agent.node_selector and agent.resources say where it can go", condition.Message)}
		}
	}
	return nil
}

// failureInterval is how often the events of a Job without a pod are looked at.
const failureInterval = 500 * time.Millisecond

// watchFailures stops the waiting for a Job whose pod the cluster refuses to make, which only events tell. Who may not list them waits for as long as an agent may take.
func watchFailures(ctx context.Context, c *kube.Cluster, job string, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(failureInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		list, err := c.Client.CoreV1().Events(c.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Job,involvedObject.name=" + job})
		if apierrors.IsForbidden(err) {
			return
		}
		if err != nil {
			continue
		}
		for _, event := range list.Items {
			if event.Reason == "FailedCreate" {
				reason := policyText(strings.TrimPrefix(event.Message, "Error creating: "))
				stop(refusal{fmt.Errorf("a policy of the namespace %s forbids a pod for the agent: %s\nhint: %s", c.Namespace, reason, elsewhere)})
				return
			}
		}
	}
}

// removeJob takes away a Job whose agent is of no use, and returns why it is not.
func removeJob(ctx context.Context, c *kube.Cluster, name string, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	policy := metav1.DeletePropagationBackground
	err := c.Client.BatchV1().Jobs(c.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &policy})
	if err == nil || apierrors.IsNotFound(err) {
		return why
	}
	text, hint, _ := strings.Cut(why.Error(), "\nhint: ")
	left := fmt.Errorf("%s\nhint: %s; and the Job %s is left: `kubectl delete job %s -n %s`", text, hint, name, name, c.Namespace)
	var refused refusal
	if errors.As(why, &refused) {
		return refusal{left}
	}
	return left
}
