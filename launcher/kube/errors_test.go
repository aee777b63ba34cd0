package kube_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mirrord/launcher/kube/kubetest"
)

func TestExplain(t *testing.T) {
	c, _ := kubetest.Cluster()
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
		if got := c.Explain(err, "look", "patch", "pods/ephemeralcontainers"); !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%v\nwant %s", got, want)
		}
	}
	if c.Explain(nil, "", "", "") != nil {
		t.Error("an error of nothing")
	}
}
