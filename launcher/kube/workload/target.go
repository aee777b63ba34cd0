// Package workload knows what a target is: which of a cluster's objects can be named, and which container of which running pod that means.
package workload

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"mirrord/launcher/kube"
)

// Target is what a user names.
type Target struct {
	Kind      string // see Kinds
	Name      string // of a "label": its selector, k=v or several divided by commas
	Container string // empty: chosen as users know it
}

// Kinds are those of targets, as users write them.
var Kinds = []string{"cronjob", "daemonset", "deployment", "job", "label", "pod", "replicaset", "rollout", "service", "statefulset"}

func joined(words []string) string { return strings.Join(words, ", ") }

func (t Target) String() string { return t.Kind + "/" + t.Name }

// Place is one container of a running pod, beside which an agent can stand.
type Place struct {
	Pod         *corev1.Pod // as it was when it was found
	Container   string      // one of Pod's
	ContainerID string      // the runtime's, without its name
	Passed      []string    // sidecars that were passed over for Container
}

// HostNetwork says that the pod has its node's network instead of one of its own.
func (p *Place) HostNetwork() bool { return p.Pod.Spec.HostNetwork }

// Name is what the target turned out to be.
func (p *Place) Name() string { return "pod/" + p.Pod.Name + "/container/" + p.Container }

// Resolve finds a ready pod of the target, and the container in it.
func Resolve(ctx context.Context, c *kube.Cluster, t Target) (*Place, error) {
	pods, err := podsOf(ctx, c, t)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("%s has no pod in the namespace %s\nhint: it may be scaled to 0, or its pods cannot be created; `kubectl get %s -n %s` tells more",
			t, c.Namespace, strings.TrimPrefix(t.String(), "label/"), c.Namespace)
	}
	// The same choice each time, as long as nothing changes: the oldest that is ready.
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		if d := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); d != 0 {
			return d
		}
		return cmp.Compare(a.Name, b.Name)
	})
	var first error
	for i := range pods {
		place, err := placeIn(&pods[i], t.Container)
		if err == nil {
			return place, nil
		}
		if first == nil {
			first = err
		}
	}
	if len(pods) > 1 {
		return nil, fmt.Errorf("none of the %d pods of %s is ready; of the oldest: %w", len(pods), t, first)
	}
	return nil, first
}

// podsOf are all pods of a target; that there are none is not an error, that there is no target is.
func podsOf(ctx context.Context, c *kube.Cluster, t Target) ([]corev1.Pod, error) {
	if t.Kind == "pod" {
		pod, err := c.Client.CoreV1().Pods(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if err != nil {
			return nil, missing(ctx, c, err, t)
		}
		return []corev1.Pod{*pod}, nil
	}
	selector, err := selectorOf(ctx, c, t)
	if err != nil || selector == nil {
		return nil, err
	}
	list, err := c.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, c.Explain(err, "list the pods of "+t.String(), "list", "pods")
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return over(&p) }), nil
}

// selectorOf is which pods are a workload's; nil: none.
func selectorOf(ctx context.Context, c *kube.Cluster, t Target) (labels.Selector, error) {
	apps, core, batch := c.Client.AppsV1(), c.Client.CoreV1(), c.Client.BatchV1()
	var chosen *metav1.LabelSelector
	var err error
	switch t.Kind {
	case "deployment":
		o, e := apps.Deployments(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		chosen, err = o.Spec.Selector, e
	case "statefulset":
		o, e := apps.StatefulSets(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		chosen, err = o.Spec.Selector, e
	case "daemonset":
		o, e := apps.DaemonSets(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		chosen, err = o.Spec.Selector, e
	case "replicaset":
		o, e := apps.ReplicaSets(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		chosen, err = o.Spec.Selector, e
	case "job":
		o, e := batch.Jobs(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		chosen, err = o.Spec.Selector, e
	case "cronjob":
		o, e := batch.CronJobs(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if e == nil {
			return running(ctx, c, o)
		}
		err = e
	case "service":
		o, e := core.Services(c.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if e == nil && len(o.Spec.Selector) == 0 {
			return nil, fmt.Errorf("the service %s selects no pods\nhint: name the pod or the deployment behind it", t.Name)
		}
		chosen, err = &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, e
	case "rollout":
		return rolloutSelector(ctx, c, t)
	case "label":
		parsed, e := labels.Parse(t.Name)
		if e != nil {
			return nil, fmt.Errorf("%q is no selector of labels: %w\nhint: write label/app=cart, or several divided by commas", t.Name, e)
		}
		return parsed, nil
	default:
		return nil, fmt.Errorf("a target has no kind %q\nhint: kinds are %s", t.Kind, joined(Kinds))
	}
	if err != nil {
		return nil, missing(ctx, c, err, t)
	}
	return asSelector(t, chosen)
}

// running is the selector of the cronjob's newest job that runs, also of one that a person has made of it: the cronjob's own list has only those that its
// controller made.
func running(ctx context.Context, c *kube.Cluster, o *batchv1.CronJob) (labels.Selector, error) {
	list, err := c.Client.BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, c.Explain(err, "list the jobs of cronjob/"+o.Name, "list", resources["job"])
	}
	jobs := slices.DeleteFunc(list.Items, func(j batchv1.Job) bool { return j.Status.Active == 0 || !metav1.IsControlledBy(&j, o) })
	if len(jobs) == 0 {
		return nil, fmt.Errorf("the cronjob %s has no job that runs now\nhint: start one: kubectl create job %s-now --from=cronjob/%s -n %s",
			o.Name, o.Name, o.Name, c.Namespace)
	}
	newest := slices.MaxFunc(jobs, func(a, b batchv1.Job) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return asSelector(Target{Kind: "job", Name: newest.Name}, newest.Spec.Selector)
}

func asSelector(t Target, chosen *metav1.LabelSelector) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(chosen)
	if err != nil {
		return nil, fmt.Errorf("the selector of %s: %w", t, err)
	}
	return selector, nil
}

// resources are the kinds as a Role names them.
var resources = map[string]string{"cronjob": "cronjobs.batch", "daemonset": "daemonsets.apps", "deployment": "deployments.apps", "job": "jobs.batch", "pod": "pods",
	"replicaset": "replicasets.apps", "rollout": "rollouts.argoproj.io", "service": "services", "statefulset": "statefulsets.apps"}

// missing explains why a target could not be read; the frequent reason is a wrong namespace or context.
func missing(ctx context.Context, c *kube.Cluster, err error, t Target) error {
	if !apierrors.IsNotFound(err) {
		return c.Explain(err, "read "+t.String(), "get", resources[t.Kind])
	}
	hint := fmt.Sprintf("`mirrord ls -n %s` lists targets; -n names another namespace, --context another cluster", c.Namespace)
	_, nerr := c.Client.CoreV1().Namespaces().Get(ctx, c.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsUnexpectedServerError(nerr):
		return c.Explain(nerr, "read "+t.String(), "get", resources[t.Kind])
	case apierrors.IsNotFound(nerr):
		return fmt.Errorf("there is no namespace %s in %s\nhint: -n names another namespace, --context another cluster", c.Namespace, c)
	}
	return fmt.Errorf("there is no %s %s in the namespace %s of %s\nhint: %s", t.Kind, t.Name, c.Namespace, c, hint)
}
