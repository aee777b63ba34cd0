package agents

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"mirrord/launcher/kube/kubetest"
	"mirrord/launcher/kube/workload"
)

// A Job that leads to no agent is a reason to try other rights, and is taken away again.
func TestJobInVain(t *testing.T) {
	unschedulable := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "Insufficient cpu"}}}}
	outOf := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: "n"},
		Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfcpu", Message: "too much"}}
	denied := corev1.Event{Reason: "FailedCreate", Message: `Error creating: pods "x" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true)`}
	may := func(err error) clienttesting.ReactionFunc {
		return func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err }
	}
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	for _, c := range []struct {
		name           string
		pod            *corev1.Pod    // that the cluster makes of the Job
		events         []corev1.Event // about the Job
		create, remove error
		want           string
		left           int // Jobs
	}{
		{"a policy forbids the pod", nil, []corev1.Event{{Reason: "SuccessfulCreate"}, denied}, nil, nil,
			"a policy of the namespace tools forbids a pod for the agent: violates PodSecurity \"baseline:latest\"\nhint: agent.namespace names another", 0},
		{"no node has room", unschedulable, nil, nil, nil, "no node takes the agent's pod: Insufficient cpu\nhint: agent.tolerations", 0},
		{"the node has no room", outOf, nil, nil, nil, "the node n does not take the agent's pod: OutOfcpu, too much\nhint: end something", 0},
		{"no Jobs", nil, nil, apierrors.NewForbidden(jobs, "x", errors.New(`User "jane" cannot create resource`)), nil,
			"cannot start an agent's Job: your user may not create jobs.batch in the namespace tools", 0},
		{"a quota of Jobs", nil, nil, apierrors.NewForbidden(jobs, "x", errors.New("exceeded quota: few")), nil, "a policy of the namespace tools forbids a Job for the agent: exceeded quota: few\nhint: ", 0},
		{"Jobs that cannot be deleted", unschedulable, nil, nil, apierrors.NewForbidden(jobs, "x", errors.New("no")),
			"no node takes the agent's pod: Insufficient cpu\nhint: agent.tolerations, agent.node_selector and agent.resources say where it can go; and the Job mirrord-agent-s is left: `kubectl delete job", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, client := kubetest.Cluster()
			pods := watch.NewFakeWithChanSize(1, false)
			if c.pod != nil {
				pods.Add(c.pod)
			}
			client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) { return true, pods, nil })
			client.PrependReactor("list", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
				go pods.Stop() // a real one ends with its context
				return true, &corev1.EventList{Items: c.events}, nil
			})
			if c.create != nil {
				client.PrependReactor("create", "jobs", may(c.create))
			}
			if c.remove != nil {
				client.PrependReactor("delete", "jobs", may(c.remove))
			}
			place := &workload.Place{Container: "app", ContainerID: "id", Pod: kubetest.Pod("web", 0, "app")}
			_, err := startJob(t.Context(), cluster, place, Options{Session: "s", Lease: time.Second, Pod: Pod{Namespace: "tools"}})
			var refused refusal
			if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			list, err := client.BatchV1().Jobs("tools").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(list.Items) != c.left {
				t.Errorf("%d Jobs are left, %v", len(list.Items), err)
			}
		})
	}
}

// A Job's pod is the target's neighbour with the rights of the node, or without a target has none at all.
func TestJobOf(t *testing.T) {
	pod := kubetest.Pod("web", 0, "app")
	pod.Spec.NodeName = "n"
	o := Options{Session: "s", Pod: Pod{NodeSelector: map[string]string{"disk": "ssd"}, Labels: map[string]string{session: "another", "team": "shop"}, PullSecrets: []string{"registry"}}}
	near, alone := jobOf(&workload.Place{Pod: pod}, o, "x", nil), jobOf(nil, o, "x", nil)
	for _, job := range []*corev1.PodTemplateSpec{&near.Spec.Template, &alone.Spec.Template} {
		if job.Labels[session] != "s" || job.Labels["team"] != "shop" || *job.Spec.AutomountServiceAccountToken || job.Spec.ImagePullSecrets[0].Name != "registry" {
			t.Errorf("%+v", job)
		}
	}
	spec, security := near.Spec.Template.Spec, near.Spec.Template.Spec.Containers[0].SecurityContext
	if spec.NodeName != "n" || spec.NodeSelector != nil || !spec.HostPID || len(spec.Tolerations) != 1 || *security.RunAsUser != 0 || len(security.Capabilities.Add) != 4 || security.Privileged != nil {
		t.Errorf("%+v", spec)
	}
	spec, security = alone.Spec.Template.Spec, alone.Spec.Template.Spec.Containers[0].SecurityContext
	if spec.NodeName != "" || spec.NodeSelector["disk"] != "ssd" || spec.HostPID || spec.Tolerations != nil || *security.RunAsUser != stranger || security.Capabilities.Add != nil || !*security.ReadOnlyRootFilesystem {
		t.Errorf("%+v", spec)
	}
	if near.Spec.TTLSecondsAfterFinished == nil || *near.Spec.BackoffLimit != 0 || spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("%+v", near.Spec)
	}
}
