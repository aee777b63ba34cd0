package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// rollout is Argo's kind, as far as it matters here; client-go does not know it.
type rollout struct {
	Metadata struct{ Name string }
	Spec     struct {
		Selector    *metav1.LabelSelector
		WorkloadRef *struct{ Kind, Name string }
	}
}

func (c *Cluster) rollouts(ctx context.Context) ([]rollout, error) {
	var list struct{ Items []rollout }
	err := c.readRollouts(ctx, "", &list)
	return list.Items, err
}

// readRollouts reads one rollout, or all for an empty name.
func (c *Cluster) readRollouts(ctx context.Context, name string, into any) error {
	path := strings.TrimSuffix("/apis/argoproj.io/v1alpha1/namespaces/"+c.namespace+"/rollouts/"+name, "/")
	raw, err := c.client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// rollout is the selector of the rollout with a name.
func (c *Cluster) rollout(ctx context.Context, t Target) (labels.Selector, error) {
	var o rollout
	if err := c.readRollouts(ctx, t.Name, &o); err != nil {
		return nil, c.missing(ctx, err, t)
	}
	return c.rolloutSelector(ctx, &o)
}

// rolloutSelector is the rollout's own selector, or that of the workload that it stands for.
func (c *Cluster) rolloutSelector(ctx context.Context, o *rollout) (labels.Selector, error) {
	t := Target{Kind: "rollout", Name: o.Metadata.Name}
	switch {
	case o.Spec.Selector != nil:
		return asSelector(t, o.Spec.Selector)
	case o.Spec.WorkloadRef != nil:
		return c.selector(ctx, Target{Kind: strings.ToLower(o.Spec.WorkloadRef.Kind), Name: o.Spec.WorkloadRef.Name})
	}
	return nil, fmt.Errorf("%s selects no pods", t)
}
