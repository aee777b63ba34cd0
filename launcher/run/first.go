package run

import (
	"slices"
	"strings"

	"mirrord/layer"
	"mirrord/sip"
)

// envLight has the layer only follow what its program starts.
const envLight = "MIRRORD_LIGHT"

// firstExec gives the words and the environment of the first program. The layer does for every other one what is done here.
func firstExec(command, env []string, library string, v sip.Verdict) (argv, envp []string) {
	argv, envp = command, edited(env, v.Edits)
	switch {
	case v.Argv != nil:
		argv = v.Argv
	case v.Words != nil:
		argv = append(v.Words[:len(v.Words):len(v.Words)], command[1:]...)
	}
	if v.Light || v.Kind == sip.ExecOnly {
		envp = edited(envp, []sip.Edit{{Name: envLight, Value: "1"}})
	}
	switch {
	case v.Kind == sip.Outside && !v.Skipped && strictLoader:
		envp = withoutLibrary(envp, library)
	case v.Variant != "":
		envp = withLibrary(withoutLibrary(envp, library), layer.Variant(library, v.Variant))
	}
	return argv, envp
}

// withLibrary puts the layer first, so that its functions are found before those of the user's own libraries.
func withLibrary(env []string, library string) []string {
	if own := lookup(env, preload); own != "" {
		library += ":" + own
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, preload+"=") })
	return append(env, preload+"="+library)
}

// withoutLibrary takes the layer out of the list of libraries; the user's own stay.
func withoutLibrary(env []string, library string) []string {
	list := slices.DeleteFunc(strings.Split(lookup(env, preload), ":"), func(path string) bool { return path == library })
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, preload+"=") })
	if own := strings.Join(list, ":"); own != "" {
		env = append(env, preload+"="+own)
	}
	return env
}

// edited is an environment with some variables set.
func edited(env []string, edits []sip.Edit) []string {
	for _, e := range edits {
		env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, e.Name+"=") })
		env = append(env, e.Name+"="+e.Value)
	}
	return env
}
