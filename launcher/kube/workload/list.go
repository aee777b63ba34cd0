package workload

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"mirrord/launcher/kube"
)

// Listed is a target that can be named.
type Listed struct {
	Kind, Name string
	Containers []string // of its first pod, without sidecars and those added for agents; nil: it has no pod
	Ports      []int32  // that the first pod's specification names, in order
	Ready      int      // pods that a session can begin in
	Pods       int
}

// Path is the target as users write it.
func (l *Listed) Path() string { return l.Kind + "/" + l.Name }

// List returns the targets of the namespace, of these kinds or all, ordered by kind and name: workloads before the pods. What the user may not list is left out and
// named in hidden; the error is one that concerns all.
func List(ctx context.Context, c *kube.Cluster, kinds []string) (targets []Listed, hidden []string, err error) {
	pods, err := c.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, c.Explain(err, "list targets", "list", "pods")
	}
	for _, kind := range listed {
		if len(kinds) > 0 && !slices.Contains(kinds, kind.name) {
			continue
		}
		workloads, err := kind.list(ctx, c)
		switch {
		case apierrors.IsForbidden(err):
			hidden = append(hidden, resources[kind.name])
			continue
		case err != nil:
			return nil, nil, c.Explain(err, "list targets", "list", resources[kind.name])
		}
		slices.SortFunc(workloads, func(a, b workload) int { return cmp.Compare(a.name, b.name) })
		for _, w := range workloads {
			targets = append(targets, w.among(kind.name, pods.Items))
		}
	}
	if len(kinds) == 0 || slices.Contains(kinds, "pod") {
		for i := range pods.Items {
			if p := &pods.Items[i]; !over(p) {
				l := Listed{Kind: "pod", Name: p.Name}
				l.count(p)
				targets = append(targets, l)
			}
		}
	}
	return targets, hidden, nil
}

// over: the pod's programs have ended or are being ended.
func over(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// workload is something that has pods: those that the selector matches (nil: none), and those of the jobs, by name.
type workload struct {
	name     string
	selector labels.Selector
	jobs     []string
}

// selecting is a selector of the API as one; what makes none selects nothing.
func selecting(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

// among counts the workload's pods.
func (w *workload) among(kind string, pods []corev1.Pod) Listed {
	l := Listed{Kind: kind, Name: w.name}
	for i := range pods {
		p := &pods[i]
		if !over(p) && (w.selector != nil && w.selector.Matches(labels.Set(p.Labels)) || slices.Contains(w.jobs, p.Labels["job-name"])) {
			l.count(p)
		}
	}
	return l
}

// count adds a pod.
func (l *Listed) count(p *corev1.Pod) {
	l.Pods++
	if _, err := placeIn(p, ""); err == nil {
		l.Ready++
	}
	if l.Containers != nil {
		return
	}
	for _, container := range p.Spec.Containers {
		if !slices.Contains(sidecars, container.Name) {
			l.Containers = append(l.Containers, container.Name)
			for _, port := range container.Ports {
				l.Ports = append(l.Ports, port.ContainerPort)
			}
		}
	}
	slices.Sort(l.Ports)
	l.Ports = slices.Compact(l.Ports)
}

// listed are the kinds of workloads, in the order in which people meet them. A rollout's kind is there only where Argo is.
var listed = []struct {
	name string
	list func(context.Context, *kube.Cluster) ([]workload, error)
}{
	{"deployment", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.AppsV1().Deployments(c.Namespace).List(ctx, metav1.ListOptions{})
		for _, o := range list.Items {
			all = append(all, workload{name: o.Name, selector: selecting(o.Spec.Selector)})
		}
		return all, err
	}},
	{"rollout", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := rollouts(ctx, c)
		for _, o := range list {
			selector, err := o.selector(ctx, c)
			if err != nil {
				selector = labels.Nothing() // it stands for a workload that is not there, or may not be read
			}
			all = append(all, workload{name: o.Metadata.Name, selector: selector})
		}
		if apierrors.IsNotFound(err) {
			err = nil
		}
		return all, err
	}},
	{"statefulset", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.AppsV1().StatefulSets(c.Namespace).List(ctx, metav1.ListOptions{})
		for _, o := range list.Items {
			all = append(all, workload{name: o.Name, selector: selecting(o.Spec.Selector)})
		}
		return all, err
	}},
	{"daemonset", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.AppsV1().DaemonSets(c.Namespace).List(ctx, metav1.ListOptions{})
		for _, o := range list.Items {
			all = append(all, workload{name: o.Name, selector: selecting(o.Spec.Selector)})
		}
		return all, err
	}},
	{"replicaset", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.AppsV1().ReplicaSets(c.Namespace).List(ctx, metav1.ListOptions{})
		for _, o := range list.Items {
			if len(o.OwnerReferences) == 0 { // a deployment's are the deployment
				all = append(all, workload{name: o.Name, selector: selecting(o.Spec.Selector)})
			}
		}
		return all, err
	}},
	{"job", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{})
		for _, o := range list.Items {
			if o.Status.Active > 0 {
				all = append(all, workload{name: o.Name, selector: selecting(o.Spec.Selector)})
			}
		}
		return all, err
	}},
	{"cronjob", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.BatchV1().CronJobs(c.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			return nil, err
		}
		jobs, err := c.Client.BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{})
		for i := range list.Items {
			o := &list.Items[i]
			w := workload{name: o.Name}
			for j := range jobs.Items {
				if metav1.IsControlledBy(&jobs.Items[j], o) {
					w.jobs = append(w.jobs, jobs.Items[j].Name)
				}
			}
			all = append(all, w)
		}
		return all, err
	}},
	{"service", func(ctx context.Context, c *kube.Cluster) (all []workload, err error) {
		list, err := c.Client.CoreV1().Services(c.Namespace).List(ctx, metav1.ListOptions{})
		for _, o := range list.Items {
			if len(o.Spec.Selector) > 0 {
				all = append(all, workload{name: o.Name, selector: labels.SelectorFromSet(o.Spec.Selector)})
			}
		}
		return all, err
	}},
}

// CheckKind says whether targets of a kind can be listed.
func CheckKind(kind string) error {
	known := []string{"pod"}
	for _, k := range listed {
		known = append(known, k.name)
	}
	if !slices.Contains(known, kind) {
		return fmt.Errorf("targets have no kind %q\nhint: kinds are %s", kind, joined(known))
	}
	return nil
}
