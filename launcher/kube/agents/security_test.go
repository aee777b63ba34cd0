package agents

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"mirrord/agent/startup"
)

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
	if got := asUser(base, startup.User{UID: 101, GID: 5}); *got.RunAsUser != 101 || *got.RunAsGroup != 5 || !*got.RunAsNonRoot {
		t.Errorf("%+v", got)
	}
	if got := asUser(admin, startup.User{}); *got.RunAsUser != 0 || *got.RunAsGroup != 0 || got.RunAsNonRoot != nil || len(got.Capabilities.Add) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestNetworkRights(t *testing.T) {
	own := &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"BPF", "CHOWN"}}}
	s := networkFor(own, &corev1.Container{SecurityContext: own})
	if got := fmt.Sprint(*s.RunAsUser, *s.RunAsGroup, *s.RunAsNonRoot, s.Capabilities.Drop, s.Capabilities.Add); got != "0 0 false [ALL] [BPF CHOWN NET_ADMIN SETUID SETGID]" {
		t.Error(got)
	}
	if len(own.Capabilities.Add) != 2 {
		t.Error("the target's own were changed")
	}
}
