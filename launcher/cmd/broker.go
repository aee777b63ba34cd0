package cmd

import (
	"github.com/spf13/cobra"

	"mirrord/launcher/run"
)

// newBroker is the process that exec starts for itself.
func newBroker() *cobra.Command {
	return &cobra.Command{
		Use:    run.BrokerCommand,
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE:   func(_ *cobra.Command, args []string) error { return run.Broker(args[0], args[1]) },
	}
}
