package workload

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"mirrord/agent/startup"
)

func TestProbes(t *testing.T) {
	get := func(port intstr.IntOrString, path string, change func(*corev1.HTTPGetAction)) *corev1.Probe {
		action := &corev1.HTTPGetAction{Port: port, Path: path}
		if change != nil {
			change(action)
		}
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: action}}
	}
	number, name := intstr.FromInt32, intstr.FromString
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		Containers: []corev1.Container{
			{
				Ports:          []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}},
				ReadinessProbe: get(name("web"), "/ready?deep=yes", nil),
				LivenessProbe:  get(name("web"), "/ready?deep=yes", nil),
				StartupProbe: get(number(8081), "/a b", func(a *corev1.HTTPGetAction) {
					a.HTTPHeaders = []corev1.HTTPHeader{{Name: "Accept", Value: "*/*"}, {Name: "user-agent", Value: "our probe"}}
				}),
			},
			{
				ReadinessProbe: get(number(8443), "/", func(a *corev1.HTTPGetAction) { a.Scheme = corev1.URISchemeHTTPS }),
				LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: number(5432)}}},
				StartupProbe:   &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9000}}},
			},
			{
				ReadinessProbe: get(number(1), "/", func(a *corev1.HTTPGetAction) { a.Host = "elsewhere" }),
				LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}},
				StartupProbe:   get(name("unknown"), "/", nil),
			},
		},
		InitContainers: []corev1.Container{{RestartPolicy: &always, ReadinessProbe: get(number(15021), "", nil)}},
	}}
	known, others := (&Place{Pod: pod}).Probes()
	want := []startup.Probe{{Port: 8080, URI: "/ready?deep=yes"}, {Port: 8081, URI: "/a%20b", UserAgent: "our probe"}, {Port: 15021, URI: "/"}}
	if diff := cmp.Diff(want, known); diff != "" {
		t.Error(diff)
	}
	if fmt.Sprint(others) != "[8443 9000]" {
		t.Error(others)
	}
}

// More probes than an agent is told of are the program's to answer.
func TestManyProbes(t *testing.T) {
	pod := new(corev1.Pod)
	for i := range startup.MaxProbes + 2 {
		get := &corev1.HTTPGetAction{Port: intstr.FromInt32(8080 + int32(i)), Path: "/"}
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}})
	}
	known, others := (&Place{Pod: pod}).Probes()
	start := startup.Start{Lease: 1, Rights: startup.RightsNetwork, Probes: known}
	if _, err := startup.ParseStart(start.Args()); err != nil || len(known) != startup.MaxProbes || fmt.Sprint(others) != "[8144 8145]" {
		t.Error(len(known), others, err)
	}
}
