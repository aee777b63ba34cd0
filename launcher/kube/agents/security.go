package agents

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"mirrord/agent/startup"
)

// stranger is the user of an agent that must not be root and does not know the target's user: it can ask, and no more.
const stranger = 65532

// securityFor is what an agent may do beside a container: what that may itself, and nothing at all if its user is not root. So whatever policy lets the
// target in lets the agent in, and the agent may look into the target's process, which takes the same user and no fewer rights. sure: the user is known.
func securityFor(pod *corev1.Pod, container *corev1.Container) (s *corev1.SecurityContext, sure bool) {
	own := container.SecurityContext.DeepCopy()
	if own == nil {
		own = new(corev1.SecurityContext)
	}
	shared := pod.Spec.SecurityContext
	if shared == nil {
		shared = new(corev1.PodSecurityContext)
	}
	user, group, nonRoot := first(own.RunAsUser, shared.RunAsUser), first(own.RunAsGroup, shared.RunAsGroup), first(own.RunAsNonRoot, shared.RunAsNonRoot)
	if user == nil && nonRoot != nil && *nonRoot {
		user = new(int64)
		*user = stranger
		return powerless(own, *user, group), false
	}
	if user != nil && *user != 0 {
		// The image may name the group.
		return powerless(own, *user, group), group != nil
	}
	own.ReadOnlyRootFilesystem = nil
	return own, user != nil
}

// networkFor is what an agent needs for incoming connections: root, which becomes the target's user and keeps two capabilities, and those that the target has
// if it is root. A profile of the runtime may forbid bpf(2) in spite of the capability.
func networkFor(own *corev1.SecurityContext, container *corev1.Container) *corev1.SecurityContext {
	s := &corev1.SecurityContext{RunAsUser: new(int64), RunAsGroup: new(int64), RunAsNonRoot: new(bool), Capabilities: new(corev1.Capabilities),
		SeccompProfile:  &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
		AppArmorProfile: own.AppArmorProfile, SELinuxOptions: own.SELinuxOptions}
	if its := container.SecurityContext; its != nil {
		s.Privileged = its.Privileged
		if its.Capabilities != nil {
			s.Capabilities = its.Capabilities.DeepCopy()
		}
	}
	for _, name := range []corev1.Capability{"NET_ADMIN", "BPF", "SETUID", "SETGID"} {
		if !slices.Contains(s.Capabilities.Add, name) {
			s.Capabilities.Add = append(s.Capabilities.Add, name)
		}
	}
	return s
}

// asUser is what securityFor gives for a user that the agent has found out.
func asUser(s *corev1.SecurityContext, user startup.User) *corev1.SecurityContext {
	group := int64(user.GID)
	if user.UID != 0 {
		return powerless(s, int64(user.UID), &group)
	}
	s = s.DeepCopy()
	s.RunAsUser, s.RunAsGroup = new(int64), &group
	return s
}

// powerless is what Pod Security's level "restricted" asks for.
func powerless(own *corev1.SecurityContext, user int64, group *int64) *corev1.SecurityContext {
	yes, no := true, false
	s := &corev1.SecurityContext{
		RunAsUser: &user, RunAsGroup: group, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: own.SeccompProfile, AppArmorProfile: own.AppArmorProfile, SELinuxOptions: own.SELinuxOptions,
	}
	if s.SeccompProfile == nil {
		s.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	return s
}

func first[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}
