package agents

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestEnvironmentOf(t *testing.T) {
	c := &corev1.Container{Name: "app", Env: []corev1.EnvVar{
		{Name: "A", Value: "b"}, {Name: "CPUS", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
	}, EnvFrom: []corev1.EnvFromSource{{Prefix: "X_"}}}
	env, from := environmentOf(c)
	if env[0].Value != "b" || env[1].ValueFrom.ResourceFieldRef.ContainerName != "app" || from[0].Prefix != "X_" {
		t.Errorf("%+v %+v", env, from)
	}
	if c.Env[1].ValueFrom.ResourceFieldRef.ContainerName != "" {
		t.Error("the target's own was changed")
	}
}
