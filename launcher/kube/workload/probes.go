package workload

import (
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"mirrord/agent/startup"
)

// Probes are the kubelet's probes of all containers: a port is the pod's, whichever container it belongs to. known are those whose requests can be told from
// others; others are the ports, in order, of the rest that a program which steals the port has to answer: those that are not plain HTTP, and what is beyond
// startup.MaxProbes. A TCP probe only connects, which the agent's own listener is enough for.
func (p *Place) Probes() (known []startup.Probe, others []uint16) {
	for _, list := range [][]corev1.Container{p.Pod.Spec.Containers, p.Pod.Spec.InitContainers} {
		for i := range list {
			for _, probe := range []*corev1.Probe{list[i].ReadinessProbe, list[i].LivenessProbe, list[i].StartupProbe} {
				if probe == nil {
					continue
				}
				request, port := probeOf(&list[i], probe)
				switch {
				case request != nil && slices.Contains(known, *request):
				case request != nil && len(known) < startup.MaxProbes:
					known = append(known, *request)
				case port != 0 && !slices.Contains(others, port):
					others = append(others, port)
				}
			}
		}
	}
	slices.Sort(others)
	return known, others
}

// probeOf is what the kubelet's request looks like, and its port; nil: it is no plain HTTP. 0: nobody at a port of the pod has to answer.
func probeOf(container *corev1.Container, probe *corev1.Probe) (*startup.Probe, uint16) {
	switch {
	case probe.GRPC != nil:
		return nil, uint16(probe.GRPC.Port)
	case probe.HTTPGet == nil || probe.HTTPGet.Host != "":
		return nil, 0
	}
	get := probe.HTTPGet
	port := portOf(container, get.Port)
	if get.Scheme == corev1.URISchemeHTTPS {
		return nil, port
	}
	to, err := url.Parse(get.Path)
	if err != nil { // as the kubelet does
		to = &url.URL{Path: get.Path}
	}
	p := startup.Probe{Port: port, URI: to.RequestURI()}
	for _, header := range get.HTTPHeaders {
		if strings.EqualFold(header.Name, "User-Agent") {
			p.UserAgent = header.Value
		}
	}
	if p.Valid() != nil {
		return nil, port
	}
	return &p, port
}

// portOf is a port by its number or name; 0: there is none.
func portOf(container *corev1.Container, port intstr.IntOrString) uint16 {
	if port.Type == intstr.Int {
		return uint16(port.IntVal)
	}
	for _, p := range container.Ports {
		if p.Name == port.StrVal {
			return uint16(p.ContainerPort)
		}
	}
	return 0
}
