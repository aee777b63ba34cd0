package workload

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"mirrord/launcher/kube/kubetest"
)

func TestResolve(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cart"}}
	meta := metav1.ObjectMeta{Name: "cart", Namespace: "shop"}
	scheduled := meta
	scheduled.UID = "u"
	jobOf := func(name, uid string, active int32, age time.Duration, selector *metav1.LabelSelector) *batchv1.Job {
		yes := true
		return &batchv1.Job{Spec: batchv1.JobSpec{Selector: selector}, Status: batchv1.JobStatus{Active: active}, ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", CreationTimestamp: metav1.NewTime(time.Now().Add(-age)), OwnerReferences: []metav1.OwnerReference{{UID: types.UID(uid), Controller: &yes}}}}
	}
	others := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "others"}}
	c, _ := kubetest.Cluster(
		kubetest.Pod("young", time.Minute, "app"), kubetest.Pod("old", time.Hour, "istio-proxy", "app"),
		kubetest.Change(kubetest.Pod("older", 2*time.Hour, "app"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = false }),
		kubetest.Change(kubetest.Pod("leaving", 3*time.Hour, "app"), func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x"}
		}),
		kubetest.Change(kubetest.Pod("ended", 4*time.Hour, "app"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		kubetest.Change(kubetest.Pod("other", 5*time.Hour, "app"), func(p *corev1.Pod) { p.Labels = nil }),
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector}},
		&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector}},
		&appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector}},
		&appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector}},
		&batchv1.CronJob{ObjectMeta: scheduled}, jobOf("cart", "u", 1, time.Hour, selector), jobOf("cart-older", "u", 1, 2*time.Hour, others),
		jobOf("cart-done", "u", 0, time.Minute, others), jobOf("cart-other", "another", 1, time.Minute, others),
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: selector.MatchLabels}},
	)
	for target, want := range map[Target]string{
		{"pod", "young", ""}:          "pod/young/container/app app-id []",
		{"pod", "old", ""}:            "pod/old/container/app app-id [istio-proxy]",
		{"deployment", "cart", ""}:    "pod/old/container/app app-id [istio-proxy]",
		{"statefulset", "cart", ""}:   "pod/old/container/app app-id [istio-proxy]",
		{"daemonset", "cart", ""}:     "pod/old/container/app app-id [istio-proxy]",
		{"replicaset", "cart", ""}:    "pod/old/container/app app-id [istio-proxy]",
		{"job", "cart", ""}:           "pod/old/container/app app-id [istio-proxy]",
		{"cronjob", "cart", ""}:       "pod/old/container/app app-id [istio-proxy]",
		{"service", "cart", ""}:       "pod/old/container/app app-id [istio-proxy]",
		{"label", "app=cart", ""}:     "pod/old/container/app app-id [istio-proxy]",
		{"pod", "old", "istio-proxy"}: "pod/old/container/istio-proxy istio-proxy-id []",
	} {
		place, err := Resolve(t.Context(), c, target)
		if err != nil {
			t.Errorf("%s: %v", target, err)
		} else if got := fmt.Sprint(place.Name(), " ", place.ContainerID, " ", place.Passed); got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func TestResolveFaults(t *testing.T) {
	waiting := func(reason, message string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
		}
	}
	c, _ := kubetest.Cluster(
		kubetest.Change(kubetest.Pod("crashing", 0, "app"), waiting("CrashLoopBackOff", "back-off 10s")),
		kubetest.Change(kubetest.Pod("unready", 0, "app"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = false }),
		kubetest.Change(kubetest.Pod("leaving", 0, "app"), func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x"}
		}),
		kubetest.Change(kubetest.Pod("pending", 0, "app"), func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}}
		}),
		kubetest.Pod("fine", 0, "app", "db"),
		&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: "shop"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "outside", Namespace: "shop"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "idle", Namespace: "shop"},
			Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "idle"}}}},
	)
	for target, want := range map[Target]string{
		{"pod", "nothing", ""}:        "there is no pod nothing in the namespace shop of context test\nhint: `mirrord ls -n shop`",
		{"deployment", "nothing", ""}: "there is no deployment nothing in the namespace shop",
		{"pod", "crashing", ""}:       "the container app of the pod crashing does not run: CrashLoopBackOff, back-off 10s\nhint: `kubectl describe pod crashing -n shop`",
		{"pod", "unready", ""}:        "the container app of the pod unready is not ready yet\nhint: its readiness probe fails",
		{"pod", "leaving", ""}:        "the pod leaving is being deleted",
		{"pod", "pending", ""}:        "the pod pending does not run, it is Pending: Unschedulable, 0/1 nodes are available",
		{"pod", "fine", "web"}:        "the pod fine has no container \"web\"\nhint: it has app, db",
		{"cronjob", "nightly", ""}:    "the cronjob nightly has no job that runs now\nhint: start one: kubectl create job",
		{"service", "outside", ""}:    "the service outside selects no pods",
		{"deployment", "idle", ""}:    "deployment/idle has no pod in the namespace shop\nhint: it may be scaled to 0",
		{"label", "app in", ""}:       "\"app in\" is no selector of labels",
		{"label", "app=none", ""}:     "label/app=none has no pod",
		{"planet", "x", ""}:           "a target has no kind \"planet\"\nhint: kinds are cronjob, daemonset",
	} {
		if _, err := Resolve(t.Context(), c, target); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", target, err, want)
		}
	}
	c.Namespace = "elsewhere"
	if _, err := Resolve(t.Context(), c, Target{Kind: "pod", Name: "x"}); err == nil || !strings.HasPrefix(err.Error(), "there is no namespace elsewhere in context test\nhint: -n names") {
		t.Error(err)
	}
	forbidden, client := kubetest.Cluster(kubetest.Pod("p", 0, "app"))
	client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "p", errors.New("no"))
	})
	if _, err := Resolve(t.Context(), forbidden, Target{Kind: "pod", Name: "p"}); err == nil || !strings.Contains(err.Error(), "may not get pods in the namespace shop") {
		t.Error(err)
	}
}
