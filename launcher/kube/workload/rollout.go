package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"mirrord/launcher/kube"
)

// rollout is Argo's kind, as far as it matters here; client-go does not know it.
type rollout struct {
	Metadata struct{ Name string }
	Spec     struct {
		Selector    *metav1.LabelSelector
		WorkloadRef *struct{ Kind, Name string }
	}
}

func rollouts(ctx context.Context, c *kube.Cluster) ([]rollout, error) {
	var list struct{ Items []rollout }
	err := readRollouts(ctx, c, "", &list)
	return list.Items, err
}

// readRollouts reads one rollout, or all for an empty name.
func readRollouts(ctx context.Context, c *kube.Cluster, name string, into any) error {
	path := strings.TrimSuffix("/apis/argoproj.io/v1alpha1/namespaces/"+c.Namespace+"/rollouts/"+name, "/")
	raw, err := c.Client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// rolloutSelector is the selector of the rollout with a name.
func rolloutSelector(ctx context.Context, c *kube.Cluster, t Target) (labels.Selector, error) {
	var o rollout
	if err := readRollouts(ctx, c, t.Name, &o); err != nil {
		return nil, missing(ctx, c, err, t)
	}
	return o.selector(ctx, c)
}

// selector is the rollout's own, or that of the workload that it stands for.
func (o *rollout) selector(ctx context.Context, c *kube.Cluster) (labels.Selector, error) {
	t := Target{Kind: "rollout", Name: o.Metadata.Name}
	switch {
	case o.Spec.Selector != nil:
		return asSelector(t, o.Spec.Selector)
	case o.Spec.WorkloadRef != nil:
		return selectorOf(ctx, c, Target{Kind: strings.ToLower(o.Spec.WorkloadRef.Kind), Name: o.Spec.WorkloadRef.Name})
	}
	return nil, fmt.Errorf("%s selects no pods", t)
}
