package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd/api"
)

// noPlugin is client-go's error for a login plugin that is not installed.
var noPlugin = regexp.MustCompile(`getting credentials: exec: executable (\S+) not found`)

// Explain says what a failed request to the API server means. verb and resource are those of a Role, such as "patch" and "pods/ephemeralcontainers";
// what completes "cannot …". The result wraps err, except for a missing permission or login plugin, and is nil for nil.
func (c *Cluster) Explain(err error, what, verb, resource string) error {
	var unknownAuthority x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var network net.Error
	hint := ""
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("cannot %s: your user may not %s %s in the namespace %s of %s\nhint: ask for a Role with the verb %q on %q; `kubectl auth can-i %s %s -n %s` shows whether you have it",
			what, verb, resource, c.Namespace, c, verb, resource, verb, resource, c.Namespace)
	case apierrors.IsUnauthorized(err):
		hint = "your login has expired, or is another cluster's: log in again as your provider says; `kubectl get pods` must work"
	case noPlugin.MatchString(err.Error()): // its other lines are client-go's advice
		name := noPlugin.FindStringSubmatch(err.Error())[1]
		return fmt.Errorf("cannot %s: the login plugin %s is not found\nhint: the login plugin of your kubeconfig has to be installed, and its folder to be in PATH", what, name)
	case strings.Contains(err.Error(), "getting credentials"): // an exec plugin that failed
		hint = "the login plugin of your kubeconfig failed: log in again as your provider says; `kubectl get pods` must work"
	case errors.As(err, &unknownAuthority):
		hint = "the cluster's certificate is not signed by what the kubeconfig names: it may be another cluster's; accept_invalid_certificates takes it as it is"
	case errors.As(err, &otherName):
		hint = "the cluster's certificate is for other names: another cluster may answer there; tls-server-name in the kubeconfig says which name to expect"
	case errors.As(err, &invalid):
		hint = "the cluster's certificate may not be used, or this machine's clock is wrong; accept_invalid_certificates takes it as it is"
	case apierrors.IsUnexpectedServerError(err):
		hint = "what answers at " + c.Server + " is no API server of Kubernetes; `kubectl config get-contexts` lists others"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "the API server of " + c.String() + " (" + c.Server + ") does not answer in time"
	case errors.As(err, &network):
		hint = "is " + c.Server + ", of " + c.String() + ", the cluster you mean, and can it be reached from here? `kubectl config get-contexts` lists others"
	}
	if hint != "" {
		return fmt.Errorf("cannot %s: %w\nhint: %s", what, err, hint)
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

func contextsHint(contexts map[string]*api.Context) string {
	if len(contexts) == 0 {
		return "it has none at all"
	}
	return "it has " + strings.Join(slices.Sorted(maps.Keys(contexts)), ", ")
}
