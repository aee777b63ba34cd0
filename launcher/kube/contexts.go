package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Context is a context of the kubeconfig. Namespace is what it says, or "default".
type Context struct {
	Name, Cluster, Server, User, Namespace string
	Current                                bool // it is the one of access, or the kubeconfig's own choice
}

// Contexts returns the contexts of the kubeconfig, ordered by name. No cluster is asked.
func Contexts(access Access) ([]Context, error) {
	raw, err := loaderFor(access).RawConfig()
	if err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w\nhint: `kubectl config view` should show it", err)
	}
	current := raw.CurrentContext
	if access.Context != "" {
		current = access.Context
	}
	var all []Context
	for _, name := range slices.Sorted(maps.Keys(raw.Contexts)) {
		c := raw.Contexts[name]
		one := Context{Name: name, Cluster: c.Cluster, User: c.AuthInfo, Namespace: c.Namespace, Current: name == current}
		if cluster := raw.Clusters[c.Cluster]; cluster != nil {
			one.Server = cluster.Server
		}
		if one.Namespace == "" {
			one.Namespace = metav1.NamespaceDefault
		}
		all = append(all, one)
	}
	return all, nil
}

// Namespaces returns the names of the cluster's namespaces, in order, without those that are being deleted.
func (c *Cluster) Namespaces(ctx context.Context) ([]string, error) {
	list, err := c.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("cannot list namespaces: your user may not list namespaces of %s\nhint: ask for a ClusterRole with the verb \"list\" on \"namespaces\"; without it, -n names one", c)
	case err != nil:
		return nil, c.Explain(err, "list namespaces", "list", "namespaces")
	}
	var names []string
	for _, n := range list.Items {
		if n.Status.Phase != corev1.NamespaceTerminating {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
