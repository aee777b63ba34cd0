package kube

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"mirrord/agent/wire"
)

// runningPod is one whose containers are ready.
func runningPod(name string, age time.Duration, containers ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{"app": "cart"}, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c, Ready: true, ContainerID: "containerd://" + c + "-id", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
	return pod
}

func change(pod *corev1.Pod, how func(*corev1.Pod)) *corev1.Pod {
	how(pod)
	return pod
}

func clusterWith(objects ...runtime.Object) *Cluster {
	objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	return &Cluster{client: fake.NewClientset(objects...), context: "test", server: "https://test", namespace: "shop"}
}

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
	c := clusterWith(
		runningPod("young", time.Minute, "app"), runningPod("old", time.Hour, "istio-proxy", "app"),
		change(runningPod("older", 2*time.Hour, "app"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = false }),
		change(runningPod("leaving", 3*time.Hour, "app"), func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x"}
		}),
		change(runningPod("ended", 4*time.Hour, "app"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		change(runningPod("other", 5*time.Hour, "app"), func(p *corev1.Pod) { p.Labels = nil }),
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
		place, err := c.Resolve(t.Context(), target)
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
	c := clusterWith(
		change(runningPod("crashing", 0, "app"), waiting("CrashLoopBackOff", "back-off 10s")),
		change(runningPod("unready", 0, "app"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = false }),
		change(runningPod("leaving", 0, "app"), func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x"}
		}),
		change(runningPod("pending", 0, "app"), func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}}
		}),
		runningPod("fine", 0, "app", "db"),
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
		if _, err := c.Resolve(t.Context(), target); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", target, err, want)
		}
	}
	c.namespace = "elsewhere"
	if _, err := c.Resolve(t.Context(), Target{Kind: "pod", Name: "x"}); err == nil || !strings.HasPrefix(err.Error(), "there is no namespace elsewhere in context test\nhint: -n names") {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	c := clusterWith()
	pods := schema.GroupResource{Resource: "pods"}
	for want, err := range map[string]error{
		"cannot look: your user may not patch pods/ephemeralcontainers in the namespace shop of context test\nhint: ask for a Role with the verb \"patch\" on \"pods/ephemeralcontainers\"": apierrors.NewForbidden(pods, "x", errors.New("no")),
		"cannot look: Unauthorized\nhint: your login has expired":                                                                            apierrors.NewUnauthorized("Unauthorized"),
		"cannot look: Get \"https://x\": getting credentials: exec: executable gke failed\nhint: the login plugin of your kubeconfig failed": errors.New("Get \"https://x\": getting credentials: exec: executable gke failed"),
		"cannot look: the login plugin aws is not found\nhint: the login plugin of your kubeconfig has to be installed":                      errors.New("Get \"https://x\": getting credentials: exec: executable aws not found\n\nIt looks like"),
		"cannot look: tls: failed to verify certificate: x509: certificate is valid for a, not b\nhint: the cluster's certificate is for other names": &tls.CertificateVerificationError{
			Err: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"a"}}, Host: "b"}},
		"cannot look: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: long ago\nhint: the cluster's certificate may not be used": &tls.CertificateVerificationError{
			Err: x509.CertificateInvalidError{Reason: x509.Expired, Detail: "long ago"}},
		"cannot look: the server could not find the requested resource (get pods)\nhint: what answers at https://test is no API server": apierrors.NewGenericServerResponse(404, "get", pods, "", "page not found", 0, true),
		"cannot look: boom": errors.New("boom"),
	} {
		if got := c.explain(err, "look", "patch", "pods/ephemeralcontainers"); !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%v\nwant %s", got, want)
		}
	}
	if c.explain(nil, "", "", "") != nil {
		t.Error("an error of nothing")
	}
	forbidden := clusterWith(runningPod("p", 0, "app"))
	forbidden.client.(*fake.Clientset).PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(pods, "p", errors.New("no"))
	})
	if _, err := forbidden.Resolve(t.Context(), Target{Kind: "pod", Name: "p"}); err == nil || !strings.Contains(err.Error(), "may not get pods in the namespace shop") {
		t.Error(err)
	}
}

func TestPolicy(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for want, err := range map[string]error{
		`violates PodSecurity "restricted:latest"`:                apierrors.NewForbidden(pods, "x", errors.New(`violates PodSecurity "restricted:latest": runAsUser=0 (container "a" must not set runAsUser=0)`)),
		`exceeded quota: small, requested: pods=1`:                apierrors.NewForbidden(pods, "x", errors.New("exceeded quota: small, requested: pods=1")),
		`admission webhook "x.example" denied the request: never`: &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Code: 403, Message: `admission webhook "x.example" denied the request: never`}},
	} {
		if got := policyOf(err); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	for _, err := range []error{
		apierrors.NewForbidden(pods, "x", errors.New(`User "ann" cannot patch resource "pods/ephemeralcontainers" in API group "" in the namespace "shop"`)),
		apierrors.NewNotFound(pods, "x"), errors.New("other"),
	} {
		if got := policyOf(err); got != "" {
			t.Errorf("%v is taken for a policy: %s", err, got)
		}
	}
}

func TestSecurity(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	yes := true
	everything := corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
	admin := &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}
	for _, c := range []struct {
		name      string
		pod       *corev1.PodSecurityContext
		container *corev1.SecurityContext
		user      *int64
		caps      *corev1.Capabilities
		sure      bool
	}{
		{"nothing said", nil, nil, nil, nil, false},
		{"root with more", nil, admin, nil, admin.Capabilities, false},
		{"root by name", &corev1.PodSecurityContext{RunAsUser: id(0)}, admin, nil, admin.Capabilities, true},
		{"the pod's user", &corev1.PodSecurityContext{RunAsUser: id(1000), RunAsGroup: id(1)}, nil, id(1000), &everything, true},
		{"the container's user", &corev1.PodSecurityContext{RunAsUser: id(1000)}, &corev1.SecurityContext{RunAsUser: id(2000), Capabilities: admin.Capabilities}, id(2000), &everything, false},
		{"the image's user", nil, &corev1.SecurityContext{RunAsNonRoot: &yes}, id(stranger), &everything, false},
	} {
		got, sure := securityFor(&corev1.Pod{Spec: corev1.PodSpec{SecurityContext: c.pod}}, &corev1.Container{SecurityContext: c.container})
		if diff := cmp.Diff(c.user, got.RunAsUser); diff != "" {
			t.Errorf("%s: user %s", c.name, diff)
		}
		if diff := cmp.Diff(c.caps, got.Capabilities); diff != "" || sure != c.sure {
			t.Errorf("%s: sure %t, capabilities %s", c.name, sure, diff)
		}
		if (c.user != nil) != (got.RunAsNonRoot != nil && *got.RunAsNonRoot && !*got.AllowPrivilegeEscalation && got.SeccompProfile.Type == "RuntimeDefault") {
			t.Errorf("%s: not what restricted asks for: %+v", c.name, got)
		}
	}
	base, _ := securityFor(&corev1.Pod{}, &corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsNonRoot: &yes}})
	if got := asUser(base, wire.User{UID: 101, GID: 5}); *got.RunAsUser != 101 || *got.RunAsGroup != 5 || !*got.RunAsNonRoot {
		t.Errorf("%+v", got)
	}
	if got := asUser(admin, wire.User{}); *got.RunAsUser != 0 || *got.RunAsGroup != 0 || got.RunAsNonRoot != nil || len(got.Capabilities.Add) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestChoose(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := runningPod("p", 0, "istio-proxy", "vault-agent", "app", "log")
	pod.Spec.InitContainers = []corev1.Container{{Name: "setup"}, {Name: "native", RestartPolicy: &always}}
	for asked, want := range map[string]string{"": "app [istio-proxy vault-agent]", "log": "log []", "native": "native []", "istio-proxy": "istio-proxy []", "setup": ""} {
		name, passed, err := choose(pod, asked)
		if got := fmt.Sprint(name, " ", passed); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v", asked, got, err)
		}
	}
	pod.Annotations = map[string]string{defaultContainer: "log"}
	if name, _, _ := choose(pod, ""); name != "log" {
		t.Error(name)
	}
	pod.Annotations[defaultContainer] = "gone"
	if name, _, _ := choose(pod, ""); name != "app" {
		t.Error(name)
	}
	if name, passed, _ := choose(runningPod("p", 0, "queue-proxy", "istio-proxy"), ""); name != "queue-proxy" || passed != nil {
		t.Error(name, passed)
	}
}

func TestConnect(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := Connect(Access{}); err == nil || !strings.HasPrefix(err.Error(), "there is no kubeconfig, so no cluster is known\nhint: set KUBECONFIG") {
		t.Errorf("without a kubeconfig: %v", err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "apiVersion: v1\nkind: Config\ncurrent-context: one\ncontexts: [{name: one, context: {cluster: c, user: u, namespace: shop}}, {name: two, context: {cluster: c, user: u}}]\n")
	write("b", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: x}}]\n")
	t.Setenv("WHERE", dir)
	both := "$WHERE/a:~/b"
	for _, c := range []struct {
		access Access
		want   string
	}{
		{Access{Kubeconfig: both}, "context one shop"},
		{Access{Kubeconfig: both, Context: "two"}, "context two default"},
		{Access{Kubeconfig: both, Context: "two", Namespace: "x"}, "context two x"},
	} {
		got, err := Connect(c.access)
		if err != nil {
			t.Fatal(err)
		}
		if s := got.String() + " " + got.Namespace(); s != c.want {
			t.Errorf("%+v: %s", c.access, s)
		}
	}
	if _, err := Connect(Access{Kubeconfig: both, Context: "three"}); err == nil || err.Error() != "the kubeconfig has no context \"three\"\nhint: it has one, two" {
		t.Error(err)
	}
	write("b", "{")
	if _, err := Connect(Access{Kubeconfig: both}); err == nil || !strings.HasPrefix(err.Error(), "cannot read the kubeconfig: ") {
		t.Error(err)
	}
	write("b", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: x}}]\n")
	c, err := Connect(Access{Kubeconfig: both})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(t.Context(), Target{Kind: "pod", Name: "x"}); err == nil || !strings.Contains(err.Error(), "\nhint: is https://127.0.0.1:1, of context one, the cluster you mean") {
		t.Errorf("nobody listens: %v", err)
	}
}
