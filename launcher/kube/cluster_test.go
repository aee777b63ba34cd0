package kube_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/launcher/kube"
)

func TestConnect(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kube.Connect(kube.Access{}); err == nil || !strings.HasPrefix(err.Error(), "there is no kubeconfig, so no cluster is known\nhint: set KUBECONFIG") {
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
		access kube.Access
		want   string
	}{
		{kube.Access{Kubeconfig: both}, "context one shop"},
		{kube.Access{Kubeconfig: both, Context: "two"}, "context two default"},
		{kube.Access{Kubeconfig: both, Context: "two", Namespace: "x"}, "context two x"},
	} {
		got, err := kube.Connect(c.access)
		if err != nil {
			t.Fatal(err)
		}
		if s := got.String() + " " + got.Namespace; s != c.want {
			t.Errorf("%+v: %s", c.access, s)
		}
	}
	if _, err := kube.Connect(kube.Access{Kubeconfig: both, Context: "three"}); err == nil || err.Error() != "the kubeconfig has no context \"three\"\nhint: it has one, two" {
		t.Error(err)
	}
	write("b", "{")
	if _, err := kube.Connect(kube.Access{Kubeconfig: both}); err == nil || !strings.HasPrefix(err.Error(), "cannot read the kubeconfig: ") {
		t.Error(err)
	}
	write("b", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: x}}]\n")
	c, err := kube.Connect(kube.Access{Kubeconfig: both})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Namespaces(t.Context()); err == nil || !strings.Contains(err.Error(), "\nhint: is https://127.0.0.1:1, of context one, the cluster you mean") {
		t.Errorf("nobody listens: %v", err)
	}
}
