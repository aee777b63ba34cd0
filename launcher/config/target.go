package config

import (
	"fmt"
	"slices"
	"strings"
)

// targetKinds are the kinds as users write them, with the peer's short form.
var targetKinds = []string{"cronjob", "daemonset", "deploy", "deployment", "job", "label", "pod", "replicaset", "rollout", "service", "statefulset"}

// compose is how a user would write the target; empty without a kind.
func (t *Target) compose() string {
	if t.Kind == "" {
		return ""
	}
	path := t.Kind + "/" + t.Name
	if t.Container != "" {
		path += "/container/" + t.Container
	}
	return path
}

// parseTarget reads `dir:PATH`, `targetless` and `KIND/NAME[/container/CONTAINER]`.
func parseTarget(s string) (t Target, hint string, err error) {
	t.Path = s
	if path, ok := strings.CutPrefix(s, "dir:"); ok {
		if t.Kind, t.Name = "dir", path; path == "" {
			return t, "write the folder of the pod after `dir:`", fmt.Errorf("names no folder")
		}
		return t, "", nil
	}
	if s == "targetless" {
		t.Kind = s
		return t, "", nil
	}
	parts := strings.Split(s, "/")
	if parts[0] == "label" { // labels have slashes too: label/app.kubernetes.io/name=cart
		selector, container, named := strings.Cut(strings.TrimPrefix(s, "label/"), "/container/")
		if parts = []string{"label", selector}; named {
			parts = append(parts, "container", container)
		}
	}
	if len(parts) == 1 {
		return t, fmt.Sprintf("write `pod/%s` or `dir:%s`", s, s), fmt.Errorf("%q does not say what kind of target it is", s)
	}
	if t.Kind, t.Name = parts[0], parts[1]; t.Kind == "deploy" {
		t.Kind = "deployment"
	}
	if !slices.Contains(targetKinds, t.Kind) {
		if slices.Contains([]string{"", ".", "..", "~"}, t.Kind) {
			return t, fmt.Sprintf("for a pod directory write `dir:%s`", s), fmt.Errorf("%q is a path, not a target", s)
		}
		return t, "a target is `dir:PATH`, or KIND/NAME with one of " + strings.Join(targetKinds, ", "), fmt.Errorf("has the unknown kind %q", t.Kind)
	}
	switch {
	case len(parts) == 4 && parts[2] == "container" && parts[3] != "" && t.Name != "":
		t.Container = parts[3]
	case len(parts) != 2 || t.Name == "":
		return t, "", fmt.Errorf("%q is not KIND/NAME or KIND/NAME/container/CONTAINER", s)
	}
	return t, "", nil
}
