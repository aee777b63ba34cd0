package workload

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"mirrord/launcher/kube"
	"mirrord/launcher/kube/kubetest"
)

func TestList(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cart"}}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: "shop"} }
	owned := meta("cart-5f")
	owned.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", Name: "cart"}}
	scheduled, ofSchedule, yes := meta("night"), meta("night-1"), true
	scheduled.UID = "u"
	ofSchedule.OwnerReferences = []metav1.OwnerReference{{UID: "u", Controller: &yes}}
	c, client := kubetest.Cluster(
		kubetest.Change(kubetest.Pod("a", 0, "istio-proxy", "app", "db"), func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 15001}}
			p.Spec.Containers[1].Ports = []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 80}}
			p.Spec.Containers[2].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
		}),
		kubetest.Change(kubetest.Pod("b", 0, "app"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = false }),
		kubetest.Change(kubetest.Pod("ended", 0, "app"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		kubetest.Change(kubetest.Pod("job-pod", time.Hour, "work"), func(p *corev1.Pod) { p.Labels = map[string]string{"job-name": "night-1"} }),
		&appsv1.Deployment{ObjectMeta: meta("cart"), Spec: appsv1.DeploymentSpec{Selector: selector}},
		&appsv1.Deployment{ObjectMeta: meta("aside"), Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}}},
		&appsv1.ReplicaSet{ObjectMeta: owned, Spec: appsv1.ReplicaSetSpec{Selector: selector}},
		&batchv1.CronJob{ObjectMeta: scheduled},
		&batchv1.Job{ObjectMeta: ofSchedule, Spec: batchv1.JobSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"job-name": "night-1"}}}, Status: batchv1.JobStatus{Active: 1}},
		&batchv1.Job{ObjectMeta: meta("night-0"), Spec: batchv1.JobSpec{Selector: selector}},
		&corev1.Service{ObjectMeta: meta("cart"), Spec: corev1.ServiceSpec{Selector: selector.MatchLabels}},
		&corev1.Service{ObjectMeta: meta("outside")},
	)
	kinds := []string{"service", "deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob", "pod"}
	got := lines(t, c, kinds)
	want := []string{
		"deployment/aside 0/0 [] []", "deployment/cart 1/2 [app db] [80 8080]", "job/night-1 1/1 [work] []", "cronjob/night 1/1 [work] []",
		"service/cart 1/2 [app db] [80 8080]", "pod/a 1/1 [app db] [80 8080]", "pod/b 0/1 [app] []", "pod/job-pod 1/1 [work] []",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	client.PrependReactor("list", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &batchv1.JobList{}, apierrors.NewForbidden(schema.GroupResource{Resource: "jobs"}, "", errors.New("no"))
	})
	if _, hidden, err := List(t.Context(), c, []string{"job", "pod"}); fmt.Sprint(hidden) != "[jobs.batch]" || err != nil {
		t.Error(hidden, err)
	}
	if err := CheckKind("pod"); err != nil {
		t.Error(err)
	}
	if err := CheckKind("planet"); err == nil || !strings.HasPrefix(err.Error(), "targets have no kind \"planet\"\nhint: kinds are pod, deployment, rollout") {
		t.Error(err)
	}
}

func lines(t *testing.T, c *kube.Cluster, kinds []string) (all []string) {
	t.Helper()
	targets, hidden, err := List(t.Context(), c, kinds)
	if err != nil || len(hidden) > 0 {
		t.Fatal(hidden, err)
	}
	for _, l := range targets {
		all = append(all, fmt.Sprintf("%s %d/%d %v %v", l.Path(), l.Ready, l.Pods, l.Containers, l.Ports))
	}
	return all
}

// Argo's rollouts are read without its types: their own selector, or that of the workload that they stand for.
func TestRollouts(t *testing.T) {
	answers := map[string]string{
		"/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts": `{"items": [{"metadata": {"name": "cart"}, "spec": {"selector": {"matchLabels": {"app": "cart"}}}},
			{"metadata": {"name": "ref"}, "spec": {"workloadRef": {"kind": "Deployment", "name": "cart"}}}]}`,
		"/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/cart": `{"metadata": {"name": "cart"}, "spec": {"selector": {"matchLabels": {"app": "cart"}}}}`,
		"/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/ref":  `{"metadata": {"name": "ref"}, "spec": {"workloadRef": {"kind": "Deployment", "name": "cart"}}}`,
		"/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/odd":  `{"metadata": {"name": "odd"}, "spec": {}}`,
		"/apis/apps/v1/namespaces/shop/deployments/cart":           `{"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"selector": {"matchLabels": {"app": "of-deployment"}}}}`,
		"/api/v1/namespaces/shop/pods":                             `{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a", "labels": {"app": "of-deployment"}}, "spec": {"containers": [{"name": "app"}]}}]}`,
		"/api/v1/namespaces/shop":                                  `{"kind": "Namespace", "apiVersion": "v1"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			text = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`
		}
		fmt.Fprint(w, text)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &kube.Cluster{Config: config, Client: client, Namespace: "shop"}
	for name, want := range map[string]string{"cart": "app=cart", "ref": "app=of-deployment", "odd": "rollout/odd selects no pods", "none": "there is no rollout none"} {
		selector, err := selectorOf(t.Context(), c, Target{Kind: "rollout", Name: name})
		got := fmt.Sprint(err)
		if err == nil {
			got = selector.String()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := lines(t, c, []string{"rollout"}); fmt.Sprint(got) != "[rollout/cart 0/0 [] [] rollout/ref 0/1 [app] []]" {
		t.Error(got)
	}
	delete(answers, "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts")
	if got := lines(t, c, []string{"rollout"}); len(got) != 0 {
		t.Error(got)
	}
}
