package cli

import (
	"context"
	"time"
)

// Context is a context of the kubeconfig.
type Context struct {
	Name      string `json:"name"`
	Cluster   string `json:"cluster"`
	Server    string `json:"server"` // a URL, or empty
	User      string `json:"user"`
	Namespace string `json:"namespace"` // the one that it begins with
	Current   bool   `json:"current"`
}

// Contexts lists the contexts of the kubeconfig, ordered by name. No cluster is asked.
func (t *Tool) Contexts(ctx context.Context) ([]Context, error) {
	var all struct{ Contexts []Context }
	err := t.ask(ctx, &all, "ls", "contexts", "-o", "json")
	return all.Contexts, err
}

// Namespaces are those of a cluster.
type Namespaces struct {
	Current string   `json:"namespace"` // that is used when none is named
	Names   []string `json:"namespaces"`
}

// Namespaces lists the namespaces of a context's cluster; an empty context is the current one. Who may not list them can still name one.
func (t *Tool) Namespaces(ctx context.Context, kubeContext string) (all Namespaces, err error) {
	err = t.ask(ctx, &all, access([]string{"ls", "namespaces", "-o", "json"}, kubeContext, "")...)
	return all, err
}

// Target is what a program can run in the context of.
type Target struct {
	Target     string   `json:"target"`     // as a launch names it: "deployment/cart"
	Containers []string `json:"containers"` // of its first pod, without sidecars
	Ports      []int    `json:"ports"`      // that its specification names
	Ready      int      `json:"ready"`      // pods in which a session can begin
	Pods       int      `json:"pods"`
}

// Targets are those of a namespace.
type Targets struct {
	Namespace string   `json:"namespace"`
	Targets   []Target `json:"targets"`
	Hidden    []string `json:"hidden"` // kinds that the user may not list
}

// Targets lists the targets of a namespace; empty strings are the kubeconfig's own choice.
func (t *Tool) Targets(ctx context.Context, kubeContext, namespace string) (all Targets, err error) {
	err = t.ask(ctx, &all, access([]string{"ls", "targets", "-o", "json"}, kubeContext, namespace)...)
	return all, err
}

func access(words []string, kubeContext, namespace string) []string {
	if kubeContext != "" {
		words = append(words, "--context="+kubeContext)
	}
	if namespace != "" {
		words = append(words, "--target-namespace="+namespace)
	}
	return words
}

// Session is one that runs on this machine, whoever started it.
type Session struct {
	ID        string    `json:"id"`
	Target    string    `json:"target"`
	Program   string    `json:"program"`
	Arguments int       `json:"arguments"` // how many; what they say is not kept
	Folder    string    `json:"cwd"`
	Started   time.Time `json:"started"`
	Ports     []int     `json:"ports"`
	PID       int       `json:"pid"`
	State     string    `json:"state"` // "running", or "remaining": the program has ended, what it started has not
}

// Sessions lists the sessions of this user.
func (t *Tool) Sessions(ctx context.Context) (all []Session, err error) {
	err = t.ask(ctx, &all, "session", "ls", "-o", "json")
	return all, err
}

// Stop ends sessions and waits until they are gone, ten seconds at most for each; without ids all.
func (t *Tool) Stop(ctx context.Context, ids ...string) (stopped []string, err error) {
	words := []string{"session", "stop", "-o", "json"}
	if len(ids) == 0 {
		words = append(words, "--all")
	}
	var answer struct{ Stopped []string }
	err = t.ask(ctx, &answer, append(words, ids...)...)
	return answer.Stopped, err
}
