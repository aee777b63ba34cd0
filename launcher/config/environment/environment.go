// Package environment is what variables a program has: its own, the pod's as the user chose them, and those of an env file.
package environment

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Choice chooses and edits the pod's variables. Of those that do not describe the pod's machine, Include and Exclude choose; File lies over them; then Mapping changes
// values, then Override, and Unset takes away. Include and Exclude are never both set. The zero value takes all.
type Choice struct {
	Include  []string          `json:"include,omitempty"`  // wildcards * and ?; empty means all
	Exclude  []string          `json:"exclude,omitempty"`  // wildcards; `env: false` is the exclusion of "*"
	Override map[string]string `json:"override,omitempty"` // wins over everything but Unset
	Unset    []string          `json:"unset,omitempty"`    // names, compared without case
	EnvFile  string            `json:"env_file,omitempty"` // as the user wrote it; who reads it puts it into File
	Mapping  map[string]string `json:"mapping,omitempty"`  // RE2 on the name → new value

	File map[string]string `json:"-"` // what EnvFile held
}

// keptLocal are the variables that describe the machine they are on, never taken from the pod, not even by Include: the peer's list, and
// after it what would break the program's start here.
var keptLocal = []string{
	"BUNDLE_*", "BUNDLER_*", "CATALINA_HOME", "CLASSPATH", "DOTNET_EnableDiagnostics", "DOTNET_STARTUP_HOOKS", "GEM_HOME", "GEM_PATH", "GOPATH",
	"GOMODCACHE", "HOME", "HOMEPATH", "JAVA_EXE", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "PATH", "PWD", "PYTHONPATH", "RUBYLIB",
	"RUBYOPT", "MIRRORD_LOG", "RUST_LOG",
	"LD_*", "DYLD_*", "MIRRORD_*",
}

// Compose returns the environment of the program as "NAME=value": local (the launcher's own, in its order) with what is chosen of remote, the
// pod's, over it, without the names of Unset. remote is not changed and may be nil; what was chosen already is chosen again. The warnings name the pod's
// variables that no environment can hold.
func (c *Choice) Compose(local []string, remote map[string]string) (env, warnings []string) {
	selected := c.selected(remote)
	unset := func(name string) bool {
		return slices.ContainsFunc(c.Unset, func(u string) bool { return strings.EqualFold(u, name) })
	}
	env = make([]string, 0, len(local)+len(selected))
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
	for _, name := range slices.Sorted(maps.Keys(remote)) {
		if problem := Unusable(name, remote[name]); problem != "" {
			warnings = append(warnings, fmt.Sprintf("the pod's variable %q is left out: its %s", name, problem))
		}
	}
	return env, warnings
}

// selected are the variables that the program gets beyond its own, before Unset.
func (c *Choice) selected(remote map[string]string) map[string]string {
	all := map[string]string{}
	for name, value := range remote {
		if Unusable(name, value) == "" && !matchAny(keptLocal, name) && !matchAny(c.Exclude, name) &&
			(len(c.Include) == 0 || matchAny(c.Include, name)) {
			all[name] = value
		}
	}
	maps.Copy(all, c.File)
	applyMapping(all, c.Mapping)
	maps.Copy(all, c.Override)
	return all
}

// Unusable says why an environment cannot hold the variable; "" if it can.
func Unusable(name, value string) string {
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
			continue // who read the configuration has refused it
		}
		for name := range env {
			if re.MatchString(name) {
				env[name] = mapping[pattern]
			}
		}
	}
}
