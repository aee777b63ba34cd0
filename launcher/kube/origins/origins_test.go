package origins

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

func TestOriginsVariables(t *testing.T) {
	secret := &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "db"}, Key: "p"}}
	listed := []corev1.EnvVar{
		{Name: "PLAIN", Value: "on"},
		{Name: "PASSWORD", ValueFrom: secret},
		{Name: "TWICE", ValueFrom: secret},
		{Name: "TWICE", Value: "x"},
		{Name: "OUTER", Value: "postgres://$(URL)"},
		{Name: "URL", Value: "me:$(PASSWORD)@db"},
		{Name: "HARMLESS", Value: "$(PLAIN) $PASSWORD (PASSWORD)"},
		{Name: "FILE", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "made"}}},
		{Name: "BUNDLED", Value: "$(DB_USER)"},
		{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{}}},
	}
	bundles := func(prefix string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{}},
			{Prefix: prefix, SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "all"}}},
		}
	}
	for _, c := range []struct {
		name, value string
		bundles     []corev1.EnvFromSource
		want        string
	}{
		{"PLAIN", "on", nil, ""},
		{"PASSWORD", "x", nil, "the Secret db"},
		{"TWICE", "x", nil, "the Secret db"},
		{"URL", "x", nil, "the Secret db"},
		{"OUTER", "x", nil, "the Secret db"},
		{"HARMLESS", "x", nil, ""},
		{"FILE", "x", nil, "a file of the volume made"},
		{"NODE", "x", nil, ""},
		{"OTHER", "x", nil, ""},
		{"BUNDLED", "x", nil, ""},
		{"OTHER", "x", bundles(""), "perhaps the Secret all"},
		{"BUNDLED", "x", bundles(""), "perhaps the Secret all"},
		{"PLAIN", "on", bundles(""), ""},
		{"HARMLESS", "x", bundles(""), ""},
		{"OTHER", "x", bundles("DB_"), ""},
		{"DB_USER", "x", bundles("DB_"), "perhaps the Secret all"},
		{"PATH", "/bin", bundles(""), ""},
		{"WEB_SERVICE_HOST", "10.96.0.7", bundles(""), ""},
		{"WEB_SERVICE_HOST", "hunter2", bundles(""), "perhaps the Secret all"},
		{"WEB_SERVICE_PORT_HTTP", "80", bundles(""), ""},
		{"WEB_SERVICE_PORT_HTTP", "hunter2", bundles(""), "perhaps the Secret all"},
		{"WEB_PORT", "tcp://10.96.0.7:80", bundles(""), ""},
		{"WEB_PORT", "1234", bundles(""), "perhaps the Secret all"},
		{"WEB_PORT_80_TCP", "tcp://10.96.0.7:80", bundles(""), ""},
		{"WEB_PORT_80_TCP_PROTO", "tcp", bundles(""), ""},
		{"WEB_PORT_80_TCP_PROTO", "hunter2", bundles(""), "perhaps the Secret all"},
		{"WEB_PORT_80_TCP_PORT", "80", bundles(""), ""},
		{"WEB_PORT_80_TCP_ADDR", "fd00::7", bundles(""), ""},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "side"}, {Name: "app", Env: listed, EnvFrom: c.bundles}}}}
		if got := specified(&workload.Place{Container: "app", Pod: pod}).Secret(c.name, c.value); got != c.want {
			t.Errorf("%s=%s with %d bundles: %q, not %q", c.name, c.value, len(c.bundles), got, c.want)
		}
	}
	if got := new(Origins).Secret("ANY", ""); got != "" {
		t.Errorf("nothing is known, and %q is said", got)
	}
}

// ConfigMaps that are variables as a whole are no Secret's, as long as the values are theirs; what cannot be read is said.
func TestOriginsConfigMaps(t *testing.T) {
	ref := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", EnvFrom: []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("plain")}, Prefix: "P_"},
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("gone")}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref("all")}},
	}}}}}
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: "shop"}, Data: map[string]string{"A": "1"}})
	o := Of(t.Context(), &kube.Cluster{Client: client, Namespace: "shop"}, &workload.Place{Container: "app", Pod: pod})
	for _, c := range []struct{ name, value, want string }{
		{"P_A", "1", ""},
		{"P_A", "other", "perhaps the Secret all; the ConfigMap gone would tell, but cannot be read (NotFound)"},
		{"A", "1", "perhaps the Secret all; "},
	} {
		if got := o.Secret(c.name, c.value); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s=%s: %q, not %q", c.name, c.value, got, c.want)
		}
	}
}

func TestOriginsMounts(t *testing.T) {
	named := corev1.LocalObjectReference{Name: "n"}
	projected := func(sources ...corev1.VolumeProjection) corev1.VolumeSource {
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}
	}
	config := corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named}}
	secret := corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named}}
	for _, c := range []struct {
		volume corev1.VolumeSource
		want   Mount
	}{
		{corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "n"}}, Mount{"/m", SecretMount, "the Secret n"}},
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named}}, Mount{"/m", ConfigMount, "the ConfigMap n"}},
		{corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}, Mount{"/m", ConfigMount, "the pod's own description"}},
		{corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, Mount{"/m", DataMount, "the volume v"}},
		{corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets"}}, Mount{"/m", SecretMount, "a volume of the driver secrets"}},
		{projected(config), Mount{"/m", ConfigMount, "the volume v"}},
		{projected(config, secret), Mount{"/m", SecretMount, "the Secret n"}},
		{projected(secret, config, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}),
			Mount{"/m", TokenMount, "the volume v, which has credentials of the pod's service account"}},
		{projected(corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{}}),
			Mount{"/m", TokenMount, "the volume v, which has credentials of the pod's service account"}},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/m"}},
				Ports: []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 80, HostPort: 1}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}}}},
			Volumes: []corev1.Volume{{Name: "other", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}}, {Name: "v", VolumeSource: c.volume}},
		}}
		got := specified(&workload.Place{Container: "app", Pod: pod})
		if d := cmp.Diff([]Mount{c.want}, got.Mounts); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]uint16{80}, got.Ports); d != "" {
			t.Error(d)
		}
	}
}
