// Package kubetest has clusters for tests: one that only keeps objects, and an API server for port-forwards.
package kubetest

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"mirrord/launcher/kube"
)

// Pod is one of the namespace shop that runs, and whose containers are ready. It is older than others by its age.
func Pod(name string, age time.Duration, containers ...string) *corev1.Pod {
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

// Change is a pod that is not as it was.
func Change(pod *corev1.Pod, how func(*corev1.Pod)) *corev1.Pod {
	how(pod)
	return pod
}

// Cluster has these objects and the namespace shop, and nobody who acts on them. The client that is returned is the cluster's own.
func Cluster(objects ...runtime.Object) (*kube.Cluster, *fake.Clientset) {
	client := fake.NewClientset(append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})...)
	return &kube.Cluster{Client: client, Context: "test", Server: "https://test", Namespace: "shop"}, client
}
