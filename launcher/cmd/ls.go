package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mirrord/launcher/config"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// targetLine is a target as ls -o json prints it. Names are stable, new ones may come.
type targetLine struct {
	Target     string   `json:"target"`     // as -t of exec takes it
	Containers []string `json:"containers"` // of the first pod, without sidecars; never null
	Ports      []int32  `json:"ports"`      // that the pod's specification names; never null
	Ready      int      `json:"ready"`      // pods in which a session can begin
	Pods       int      `json:"pods"`
}

// lsTime limits the requests of ls.
const lsTime = 30 * time.Second

// clusterSettings are those of exec's flags that say which cluster.
var clusterSettings = []string{"target-namespace", "context", "accept-invalid-certificates"}

func newList() *cobra.Command {
	c := newListTargets("ls [targets|namespaces|contexts] [-n NAMESPACE] [-t KIND]... [-o json]")
	// Of the same command under its own name the help is the parent's.
	targets := newListTargets("targets [-n NAMESPACE] [-t KIND]... [-o json]")
	targets.Short, targets.Example = "List the targets of a namespace", ""
	c.AddCommand(targets, newListNamespaces(), newListContexts())
	return c
}

func newListTargets(use string) *cobra.Command {
	var output string
	var kinds []string
	c := &cobra.Command{
		Use:   use,
		Short: "List the targets of a cluster, its namespaces, or the kubeconfig's contexts",
		Long: `List the targets of a namespace that exec -t takes: the kubeconfig's namespace and context, unless flags, variables or the
configuration file say otherwise. READY are the pods in which a session can begin, of all that the target has.

With -o json it is an object: "namespace", "targets", each with "target", "containers", "ports", "ready" and "pods", and
"hidden", the kinds that your user may not list.`,
		Example: `  mirrord ls
  mirrord ls -n shop -t deployment -t statefulset
  mirrord ls -o json | jq -r '.targets[] | select(.ready > 0) | .target'
  mirrord ls namespaces --context staging`,
		DisableFlagsInUseLine: true,
		Args:                  alone,
	}
	c.Flags().StringArrayVarP(&kinds, "type", "t", nil, "only targets of this `KIND`; may be given several times")
	access := accessFlags(c, clusterSettings)
	outputFlag(c, &output)
	c.RunE = func(c *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON(output)
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			if err := workload.CheckKind(kind); err != nil {
				return err
			}
		}
		cluster, err := connect(access)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), lsTime)
		defer cancel()
		targets, hidden, err := workload.List(ctx, cluster, kinds)
		if err != nil {
			return err
		}
		if len(hidden) > 0 {
			fmt.Fprintf(os.Stderr, "warning: without %s, which your user may not list\n", strings.Join(hidden, ", "))
		}
		lines := make([]targetLine, len(targets))
		for i, t := range targets {
			lines[i] = targetLine{t.Path(), append([]string{}, t.Containers...), append([]int32{}, t.Ports...), t.Ready, t.Pods}
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), struct {
				Namespace string       `json:"namespace"`
				Targets   []targetLine `json:"targets"`
				Hidden    []string     `json:"hidden"` // kinds that the user may not list; never null
			}{cluster.Namespace, lines, append([]string{}, hidden...)})
		}
		return printTargets(c.OutOrStdout(), lines, cluster.Namespace)
	}
	return c
}

// accessFlags adds those of exec's flags that are named, and -f; the function returned reads what they, variables and the file come to.
func accessFlags(c *cobra.Command, names []string) func() (kube.Access, error) {
	var file string
	for _, s := range settings {
		if slices.Contains(names, s.name) {
			s.add(c.Flags())
		}
	}
	c.Flags().StringVarP(&file, "config-file", "f", "", "configuration `FILE`")
	return func() (kube.Access, error) {
		conf, _, err := config.Load(config.LoadOptions{File: file, Flags: overrides(c.Flags())})
		if err != nil {
			return kube.Access{}, err
		}
		return kube.Access{Kubeconfig: conf.Kubeconfig, Context: conf.KubeContext, Namespace: conf.Target.Namespace, Insecure: conf.AcceptInvalid}, nil
	}
}

func connect(access func() (kube.Access, error)) (*kube.Cluster, error) {
	a, err := access()
	if err != nil {
		return nil, err
	}
	return kube.Connect(a)
}

func printTargets(w io.Writer, lines []targetLine, namespace string) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintf(w, "the namespace %s has no targets\n", namespace)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "TARGET\tREADY\tCONTAINERS\tPORTS")
	for _, l := range lines {
		ports := make([]string, len(l.Ports))
		for i, p := range l.Ports {
			ports[i] = strconv.Itoa(int(p))
		}
		fmt.Fprintf(table, "%s\t%d/%d\t%s\t%s\n", l.Target, l.Ready, l.Pods, orDash(l.Containers), orDash(ports))
	}
	return table.Flush()
}

func orDash(words []string) string {
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ",")
}
