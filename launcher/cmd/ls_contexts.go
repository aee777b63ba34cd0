package cmd

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mirrord/launcher/kube"
)

// contextLine is a context as ls contexts -o json prints it. Names are stable, new ones may come.
type contextLine struct {
	Name      string `json:"name"`
	Cluster   string `json:"cluster"`
	Server    string `json:"server"` // its URL; empty if the kubeconfig does not say
	User      string `json:"user"`
	Namespace string `json:"namespace"`
	Current   bool   `json:"current"`
}

func newListContexts() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "contexts [-o json]",
		Short: "List the contexts of the kubeconfig",
		Long: `List the contexts of the kubeconfig, as --context takes them. The star marks the one that is used when none is named.

With -o json it is an object: "contexts", each with "name", "cluster", "server", "user", "namespace" and "current".`,
		DisableFlagsInUseLine: true,
		Args:                  alone,
	}
	access := accessFlags(c, []string{"context"})
	outputFlag(c, &output)
	c.RunE = func(c *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON(output)
		if err != nil {
			return err
		}
		a, err := access()
		if err != nil {
			return err
		}
		contexts, err := kube.Contexts(a)
		if err != nil {
			return err
		}
		lines := make([]contextLine, len(contexts))
		for i, one := range contexts {
			lines[i] = contextLine(one)
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), struct {
				Contexts []contextLine `json:"contexts"`
			}{lines})
		}
		if len(lines) == 0 {
			_, err := fmt.Fprintln(c.OutOrStdout(), "the kubeconfig has no contexts")
			return err
		}
		table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 3, ' ', 0)
		fmt.Fprintln(table, " \tCONTEXT\tCLUSTER\tUSER\tNAMESPACE")
		for _, l := range lines {
			star := " "
			if l.Current {
				star = "*"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", star, l.Name, l.Cluster, l.User, l.Namespace)
		}
		return table.Flush()
	}
	return c
}

func newListNamespaces() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "namespaces [--context CONTEXT] [-o json]",
		Short: "List the namespaces of a cluster",
		Long: `List the namespaces of a cluster, as -n takes them; that needs the permission to list them.

With -o json it is an object: "namespace", the one that is used when none is named, and "namespaces", the names of all.`,
		DisableFlagsInUseLine: true,
		Args:                  alone,
	}
	access := accessFlags(c, []string{"context", "accept-invalid-certificates"})
	outputFlag(c, &output)
	c.RunE = func(c *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON(output)
		if err != nil {
			return err
		}
		cluster, err := connect(access)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), lsTime)
		defer cancel()
		names, err := cluster.Namespaces(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), struct {
				Namespace  string   `json:"namespace"`
				Namespaces []string `json:"namespaces"`
			}{cluster.Namespace, append([]string{}, names...)})
		}
		for _, name := range names {
			fmt.Fprintln(c.OutOrStdout(), name)
		}
		return nil
	}
	return c
}
