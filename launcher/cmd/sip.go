package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"mirrord/launcher/run"
)

func newSIP(ending *run.Ending) *cobra.Command {
	c := &cobra.Command{
		Use:   "sip explain|patch|verify",
		Short: "Tell how a program would be started, and why",
		Long: `macOS keeps libraries out of programs that System Integrity Protection guards, and Linux out of programs with special
rights. These commands tell what becomes of a program, without starting it, and make what would be started.`,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) > 0 {
				return fmt.Errorf("unknown command sip %s\nhint: sip --help lists the commands", words[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(newSIPExplain(ending), newSIPPatch(ending), newSIPVerify(ending))
	return c
}
