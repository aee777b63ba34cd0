package config

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// keptLocal are the variables that describe the machine they are on, never taken from the pod, not even by Include: the peer's list, and
// after it what would break the program's start here.
var keptLocal = []string{
	"BUNDLE_*", "BUNDLER_*", "CATALINA_HOME", "CLASSPATH", "DOTNET_EnableDiagnostics", "DOTNET_STARTUP_HOOKS", "GEM_HOME", "GEM_PATH", "GOPATH",
	"GOMODCACHE", "HOME", "HOMEPATH", "JAVA_EXE", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "PATH", "PWD", "PYTHONPATH", "RUBYLIB",
	"RUBYOPT", "MIRRORD_LOG", "RUST_LOG",
	"LD_*", "DYLD_*", "MIRRORD_*",
}

// SelectEnv returns the variables that the program gets beyond its own: the pod's without those that describe the pod's machine, chosen
// by Include and Exclude; over them the env file; then Mapping; then Override. remote is not changed and may be nil.
func SelectEnv(remote map[string]string, cfg *Config) map[string]string {
	env := &cfg.Feature.Env
	selected := map[string]string{}
	for name, value := range remote {
		if unusable(name, value) == "" && !matchAny(keptLocal, name) && !matchAny(env.Exclude, name) &&
			(len(env.Include) == 0 || matchAny(env.Include, name)) {
			selected[name] = value
		}
	}
	maps.Copy(selected, env.File)
	applyMapping(selected, env.Mapping)
	maps.Copy(selected, env.Override)
	return selected
}

// Compose returns the environment of the program as "NAME=value": local (the launcher's own, in its order) with SelectEnv(remote) over it,
// without the names of Unset. Calling it with what SelectEnv has already chosen gives the same. The warnings name the pod's variables that
// no environment can hold.
func Compose(local []string, remote map[string]string, cfg *Config) ([]string, []Warning) {
	selected := SelectEnv(remote, cfg)
	unset := func(name string) bool {
		return slices.ContainsFunc(cfg.Feature.Env.Unset, func(u string) bool { return strings.EqualFold(u, name) })
	}
	env := make([]string, 0, len(local)+len(selected))
	for _, entry := range local {
		name, _, _ := strings.Cut(entry, "=")
		if _, replaced := selected[name]; !replaced && !unset(name) {
			env = append(env, entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(selected)) {
		if !unset(name) {
			env = append(env, name+"="+selected[name])
		}
	}
	var warnings []Warning
	for _, name := range slices.Sorted(maps.Keys(remote)) {
		if problem := unusable(name, remote[name]); problem != "" {
			warnings = append(warnings, Warning{Message: fmt.Sprintf("the pod's variable %q is left out: its %s", name, problem)})
		}
	}
	return env, warnings
}

// unusable says why an environment cannot hold the variable; "" if it can.
func unusable(name, value string) string {
	switch {
	case name == "":
		return "name is empty"
	case strings.ContainsAny(name, "=\x00"):
		return "name has a '=' or NUL in it"
	case strings.Contains(value, "\x00"):
		return "value has a NUL in it"
	}
	return ""
}

// matchAny matches with the wildcards * and ? alone; a bracket or backslash is itself.
func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		// path.Match stops a * at a slash, which no wildcard here should.
		ok, err := path.Match(literal.Replace(p), strings.ReplaceAll(name, "/", "\x00"))
		return err == nil && ok
	})
}

var literal = strings.NewReplacer("[", `\[`, `\`, `\\`, "/", "\x00")

// applyMapping gives every variable whose name matches a pattern that pattern's value; when several match, the first in alphabetical order
// (an object has no order of its own).
func applyMapping(env, mapping map[string]string) {
	for _, pattern := range slices.Backward(slices.Sorted(maps.Keys(mapping))) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			continue // Load has refused it
		}
		for name := range env {
			if re.MatchString(name) {
				env[name] = mapping[pattern]
			}
		}
	}
}
