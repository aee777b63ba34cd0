// Package origins tells where a container's variables and files come from, so far as its pod's specification says: what of them is secret.
package origins

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// Origins is what a pod's specification tells of where a container's variables and files come from. It holds no values. The zero Origins knows of no secrets.
type Origins struct {
	Mounts []Mount  // the container's volumes
	Ports  []uint16 // TCP ports that the container's specification names

	own     map[string]string // variables that the specification lists → the secret that they hold; empty for none
	bundles []bundle
	config  map[string]string // variables of whole ConfigMaps, with their values
}

// bundle is a Secret all of whose keys are variables. Their names are not in the specification.
type bundle struct{ prefix, from string }

// Of tells of a place's container what its specification does. Where it takes whole Secrets and whole ConfigMaps as variables, the ConfigMaps tell the
// two apart, if the user may read them.
func Of(ctx context.Context, c *kube.Cluster, p *workload.Place) *Origins {
	o := specified(p)
	if len(o.bundles) == 0 {
		return o
	}
	unread := ""
	for _, source := range workload.ContainerOf(p.Pod, p.Container).EnvFrom {
		if source.ConfigMapRef == nil {
			continue
		}
		found, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(ctx, source.ConfigMapRef.Name, metav1.GetOptions{})
		if err != nil {
			unread = fmt.Sprintf("; the ConfigMap %s would tell, but cannot be read (%s)", source.ConfigMapRef.Name, cmp.Or(string(apierrors.ReasonForError(err)), err.Error()))
			continue
		}
		for key, value := range found.Data {
			o.config[source.Prefix+key] = value
		}
	}
	for i := range o.bundles {
		o.bundles[i].from += unread
	}
	return o
}

// specified is what can be told without asking the cluster.
func specified(p *workload.Place) *Origins {
	o := &Origins{own: make(map[string]string), config: make(map[string]string)}
	container := workload.ContainerOf(p.Pod, p.Container)
	for _, source := range container.EnvFrom {
		if source.SecretRef != nil {
			o.bundles = append(o.bundles, bundle{source.Prefix, secretName(source.SecretRef.Name)})
		}
	}
	o.readVariables(container.Env)
	volumes := make(map[string]*corev1.Volume)
	for i := range p.Pod.Spec.Volumes {
		volumes[p.Pod.Spec.Volumes[i].Name] = &p.Pod.Spec.Volumes[i]
	}
	for _, m := range container.VolumeMounts {
		kind, from := kindOf(volumes[m.Name])
		o.Mounts = append(o.Mounts, Mount{m.MountPath, kind, from})
	}
	for _, port := range container.Ports {
		if (port.Protocol == corev1.ProtocolTCP || port.Protocol == "") && !slices.Contains(o.Ports, uint16(port.ContainerPort)) {
			o.Ports = append(o.Ports, uint16(port.ContainerPort))
		}
	}
	return o
}

func secretName(name string) string { return "the Secret " + name }

// reference is how the value of one variable takes in another's.
var reference = regexp.MustCompile(`\$\(([^)]*)\)`)

// readVariables finds those that are, or take in, a secret.
func (o *Origins) readVariables(list []corev1.EnvVar) {
	for _, v := range list {
		from := ""
		switch s := v.ValueFrom; {
		case s == nil:
		case s.SecretKeyRef != nil:
			from = secretName(s.SecretKeyRef.Name)
		case s.FileKeyRef != nil: // written by an init container, which fetches credentials more often than not
			from = "a file of the volume " + s.FileKeyRef.VolumeName
		}
		o.own[v.Name] = cmp.Or(o.own[v.Name], from)
	}
	for found := true; found; { // a reference may lead to another one
		found = false
		for _, v := range list {
			for _, match := range reference.FindAllStringSubmatch(v.Value, -1) {
				if from := o.Secret(match[1], ""); from != "" && o.own[v.Name] == "" {
					o.own[v.Name], found = from, true
				}
			}
		}
	}
}

// Secret says which secret a variable's value is, or may be, from; empty for none. Which variables a whole Secret gave is not known: they are all that
// nothing else accounts for.
func (o *Origins) Secret(name, value string) string {
	if from, listed := o.own[name]; listed {
		return from
	}
	if v, known := o.config[name]; known && v == value {
		return ""
	}
	for _, b := range o.bundles {
		if strings.HasPrefix(name, b.prefix) && !usual(name, value) {
			return "perhaps " + b.from
		}
	}
	return ""
}

// common are variables of every container.
var common = []string{"HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "TERM"}

// The variables that Kubernetes makes for each service, with the form of their values: kubernetes.io/docs/concepts/services-networking/service, "Environment variables".
var serviceVariables = []struct {
	name  *regexp.Regexp
	value func(string) bool
}{
	{regexp.MustCompile(`_SERVICE_HOST$|_PORT_\d+_(TCP|UDP|SCTP)_ADDR$`), isAddress},
	{regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)_PORT$`), isPort},
	{regexp.MustCompile(`_PORT(_\d+_(TCP|UDP|SCTP))?$`), isEndpoint},
	{regexp.MustCompile(`_PORT_\d+_(TCP|UDP|SCTP)_PROTO$`), func(s string) bool { return s == "tcp" || s == "udp" || s == "sctp" }},
}

// usual says whether a variable is one that a container has from Kubernetes or its image, going by name and form.
func usual(name, value string) bool {
	if slices.Contains(common, name) {
		return true
	}
	for _, s := range serviceVariables {
		if s.name.MatchString(name) && s.value(value) {
			return true
		}
	}
	return false
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func isEndpoint(s string) bool {
	_, address, _ := strings.Cut(s, "://")
	_, err := netip.ParseAddrPort(address)
	return err == nil
}
