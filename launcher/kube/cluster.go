// Package kube is access to a Kubernetes cluster: which one and as whom the kubeconfig says, what its errors mean to people, and forwards to ports of its pods.
package kube

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // what old kubeconfig files may ask for
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Access says which cluster, and as whom. Zero fields are as kubectl has them.
type Access struct {
	Kubeconfig string // files in the manner of KUBECONFIG, with ~ and $VARIABLES
	Context    string
	Namespace  string
	Insecure   bool // take any certificate of the API server
}

// Cluster is access to one, with the namespace that is meant in it. Nothing of it changes after Connect; a copy may have another namespace. Its methods are safe for
// concurrent use; they return errors for people.
type Cluster struct {
	Client    kubernetes.Interface
	Config    *rest.Config // for what Client cannot ask; nil in tests alone
	Context   string       // the kubeconfig's; empty inside a cluster
	Server    string       // the API server's URL, for people
	Namespace string       // that targets are looked for in
}

// What may be asked of the API server in a second, and at once: starting a session is some ten requests, and nobody else's programs go through here.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 100
)

// loaderFor reads the kubeconfig as kubectl does.
func loaderFor(access Access) clientcmd.ClientConfig {
	// client-go would write into the user's terminal.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if access.Kubeconfig != "" {
		rules.Precedence = nil
		for _, path := range filepath.SplitList(access.Kubeconfig) {
			rules.Precedence = append(rules.Precedence, expand(path))
		}
		rules.WarnIfAllMissing = false
	}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: access.Context}
	overrides.Context.Namespace = access.Namespace
	overrides.ClusterInfo.InsecureSkipTLSVerify = access.Insecure
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// Connect reads the kubeconfig. It does not ask the cluster anything yet.
func Connect(access Access) (*Cluster, error) {
	loader := loaderFor(access)
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w\nhint: `kubectl config view` should show it", err)
	}
	c := &Cluster{Context: raw.CurrentContext}
	if access.Context != "" {
		c.Context = access.Context
	}
	if c.Context != "" && raw.Contexts[c.Context] == nil {
		return nil, fmt.Errorf("the kubeconfig has no context %q\nhint: %s", c.Context, contextsHint(raw.Contexts))
	}
	if c.Config, err = loader.ClientConfig(); err != nil {
		if clientcmd.IsEmptyConfig(err) {
			return nil, errors.New("there is no kubeconfig, so no cluster is known\n" +
				"hint: set KUBECONFIG, or make ~/.kube/config as your cluster's provider says; `kubectl get pods` must work. Without a cluster, -t dir:PATH takes a pod directory")
		}
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w\nhint: `kubectl get pods` must work", err)
	}
	if c.Namespace, _, err = loader.Namespace(); err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	c.Config.QPS, c.Config.Burst = requestsPerSecond, requestsAtOnce
	c.Config.WarningHandler = rest.NoWarnings{}
	c.Server = c.Config.Host
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w\nhint: `kubectl get pods` must work", err)
	}
	return c, nil
}

// expand is what a shell would do with a path.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return path
}

// String names the cluster for people.
func (c *Cluster) String() string {
	if c.Context == "" {
		return c.Server
	}
	return "context " + c.Context
}
