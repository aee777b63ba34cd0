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

// build is what version -o json prints. Names are stable, new ones may come.
type build struct {
	Version      string `json:"version"`
	System       string `json:"system"`       // "linux"
	Architecture string `json:"architecture"` // "amd64"
	Layer        bool   `json:"layer"`        // the library is inside, so exec works
}

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:                   "version [-o json]",
		Short:                 "Print the version",
		DisableFlagsInUseLine: true,
		Args:                  alone,
		RunE: func(c *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(output)
			if err != nil {
				return err
			}
			_, missing := layer.Library()
			b := build{Version: version(), System: runtime.GOOS, Architecture: runtime.GOARCH, Layer: missing == nil}
			if asJSON {
				return printJSON(c.OutOrStdout(), b)
			}
			with := "with its layer"
			if !b.Layer {
				with = "without its layer: run make build"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "mirrord %s (%s/%s, %s)\n", b.Version, b.System, b.Architecture, with)
			return err
		},
	}
	outputFlag(c, &output)
	return c
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
