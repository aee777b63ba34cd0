package launches

import (
	"os"
	"path/filepath"
	"slices"

	"mirrord/app/shell"
)

// AsCommand is the launch as one types it in a shell: with flags where they can say it all, else with its file. One that is not saved, and says more than flags can, is not
// all there.
func (s *Store) AsCommand(l Launch) string {
	cd := "cd " + shell.Quote(l.Folder) + " && "
	if l.Plain {
		return cd + shell.Command(l.Command)
	}
	words := []string{"mirrord", "exec"}
	if l.ID != "" && (l.custom || hasConfig(l.Folder)) { // which would be read where no other is named
		words = append(words, "-f", s.File(l.ID))
	} else {
		words = append(words, flags(l)...)
	}
	text := shell.Command(append(append(words, "--"), l.Command...))
	if l.Shared[TrafficIn] == Off && !slices.Contains(words, "-f") { // no flag says that
		text = "MIRRORD_AGENT_TCP_STEAL_TRAFFIC=off " + text
	}
	return cd + text
}

// hasConfig says whether a folder has a configuration of its own.
func hasConfig(folder string) bool {
	found, _ := filepath.Glob(filepath.Join(folder, ".mirrord", "mirrord.*"))
	for _, file := range found {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// flags are those that say what the launch does; without a target at least the words for everything else.
func flags(l Launch) (words []string) {
	if l.Target.Path != "" {
		words = append(words, "-t", l.Target.Path)
	}
	if l.Target.Namespace != "" {
		words = append(words, "-n", l.Target.Namespace)
	}
	if l.Target.Context != "" {
		words = append(words, "--context", l.Target.Context)
	}
	if l.Shared[Environment] == Off {
		words = append(words, "-x", "*")
	}
	switch l.Shared[Files] {
	case Off:
		words = append(words, "--fs-mode", "local")
	case Full:
		words = append(words, "--fs-mode", "write")
	}
	if l.Shared[NetworkOut] == Off {
		words = append(words, "--no-outgoing", "--no-remote-dns")
	}
	if l.Shared[TrafficIn] == Full {
		words = append(words, "--steal")
	}
	return words
}
