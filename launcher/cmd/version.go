package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"mirrord/layer"
)

// Version is set when a release is linked (-X); otherwise the version control's revision is shown.
var Version = ""

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			with := "with its layer"
			if _, err := layer.Library(); err != nil {
				with = "without its layer: run make build"
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "mirrord %s (%s/%s, %s)\n", version(), runtime.GOOS, runtime.GOARCH, with)
			return err
		},
	}
}

func version() string {
	if Version != "" {
		return Version
	}
	revision, dirty := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "+changes"
			}
		}
	}
	return "development " + revision + dirty
}
