package origins

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Mount is where a container has a volume.
type Mount struct {
	Path string // absolute
	Kind MountKind
	From string // what it is, for people
}

// MountKind says what a volume holds.
type MountKind uint8

// The kinds of mounts.
const (
	DataMount   MountKind = iota // whatever a program puts there
	ConfigMount                  // ConfigMaps, or the pod's own description
	SecretMount
	TokenMount // credentials that Kubernetes makes for this one pod
)

// kindOf says what a volume holds. What is a part of it is all of it.
func kindOf(v *corev1.Volume) (MountKind, string) {
	switch {
	case v == nil:
		return DataMount, "a volume"
	case v.Secret != nil:
		return SecretMount, secretName(v.Secret.SecretName)
	case v.CSI != nil: // a volume in the pod's own specification: how drivers hand out secrets
		return SecretMount, "a volume of the driver " + v.CSI.Driver
	case v.ConfigMap != nil:
		return ConfigMount, "the ConfigMap " + v.ConfigMap.Name
	case v.DownwardAPI != nil:
		return ConfigMount, "the pod's own description"
	case v.Projected == nil:
		return DataMount, "the volume " + v.Name
	}
	kind, from := ConfigMount, "the volume "+v.Name
	for _, s := range v.Projected.Sources {
		switch {
		case s.ServiceAccountToken != nil, s.PodCertificate != nil:
			return TokenMount, fmt.Sprintf("the volume %s, which has credentials of the pod's service account", v.Name)
		case s.Secret != nil:
			kind, from = SecretMount, secretName(s.Secret.Name)
		}
	}
	return kind, from
}
