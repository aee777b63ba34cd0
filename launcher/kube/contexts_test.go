package kube_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"mirrord/launcher/kube/kubetest"
)

func TestNamespaces(t *testing.T) {
	c, client := kubetest.Cluster(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "leaving"}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating}})
	if got, err := c.Namespaces(t.Context()); fmt.Sprint(got) != "[bank shop]" || err != nil {
		t.Error(got, err)
	}
	client.PrependReactor("list", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.NamespaceList{}, apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "", errors.New("no"))
	})
	if _, err := c.Namespaces(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot list namespaces: your user may not list namespaces of context test\nhint: ask for a ClusterRole") {
		t.Error(err)
	}
}
