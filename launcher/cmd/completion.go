package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mirrord/launcher/config"
)

// addCompletion adds the command that prints completions for shells.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd("exec") // the library adds it to programs that have commands; these are added later
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Aliases = []string{"completions"} // the leading peer's name for it
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, words []string) error {
				if len(words) == 0 {
					return c.Help()
				}
				return fmt.Errorf("there are no completions for %q\nhint: there are for bash, zsh, fish and powershell", words[0])
			}
		}
	}
}

// completeExec says what the shells may offer behind exec's flags, and for the program. Behind the program's name only files are offered: its
// flags are its own.
func completeExec(c *cobra.Command) {
	completeCommon(c)
	for _, k := range config.Keys() {
		for _, s := range settings {
			if s.key == k.Path && s.value == "" && len(k.Words) > 0 {
				_ = c.RegisterFlagCompletionFunc(s.name, fixed(k.Words...))
			}
		}
	}
	c.ValidArgsFunction = func(_ *cobra.Command, words []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(words) > 0 || typed == "" || strings.Contains(typed, "/") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return programs(typed, os.Getenv("PATH")), cobra.ShellCompDirectiveDefault
	}
}

// completeSnapshot says what the shells may offer behind snapshot's flags. Files of the pod are not known.
func completeSnapshot(c *cobra.Command) {
	completeCommon(c)
	_ = c.MarkFlagDirname("output")
	_ = c.RegisterFlagCompletionFunc("files", cobra.NoFileCompletions)
	_ = c.RegisterFlagCompletionFunc("max-size", cobra.NoFileCompletions)
	c.ValidArgsFunction = cobra.NoFileCompletions
}

// completeCommon is for flags of several commands.
func completeCommon(c *cobra.Command) {
	_ = c.RegisterFlagCompletionFunc("target", func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return completeTarget(typed)
	})
	_ = c.RegisterFlagCompletionFunc("progress", fixed("auto", "plain", "json", "off"))
	_ = c.MarkFlagFilename("config-file", configFormats...)
}

// configFormats are the ends of the names of configuration files.
var configFormats = []string{"json", "yaml", "yml", "toml"}

func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// maxOffered bounds what a shell is given.
const maxOffered = 1000

// completeTarget offers folders. One that is a pod is complete; others may hold one.
func completeTarget(typed string) (offers []string, directive cobra.ShellCompDirective) {
	const none, open = cobra.ShellCompDirectiveNoFileComp, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	path, ok := strings.CutPrefix(typed, "dir:")
	if !ok {
		if strings.HasPrefix("dir:", typed) {
			return []string{"dir:"}, open
		}
		return nil, none
	}
	folder, begun := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(folder)) // what cannot be read offers nothing; "" is the working directory
	directive = none
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, begun) || strings.HasPrefix(name, ".") && !strings.HasPrefix(begun, ".") || len(offers) >= maxOffered {
			continue
		}
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || !info.IsDir() {
			continue
		}
		offer := "dir:" + folder + name
		if _, err := os.Stat(filepath.Join(folder, name, "pod.yaml")); err != nil {
			offer, directive = offer+"/", open
		}
		offers = append(offers, offer)
	}
	return offers, directive
}

// programs are the names in the folders of PATH that begin like this.
func programs(begun, path string) (names []string) {
	for _, folder := range filepath.SplitList(path) {
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), begun) {
				continue
			}
			if info, err := os.Stat(filepath.Join(folder, e.Name())); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), maxOffered)]
}
