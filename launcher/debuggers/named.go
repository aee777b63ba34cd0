package debuggers

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mirrord/launcher/procs"
)

// named finds the ports of the debuggers that people use: those of node (and what editors start it with), Python (debugpy, pydevd), Java (jdwp),
// Go (delve) and .NET as Rider starts it. The variable MIRRORD_IGNORE_DEBUGGER_PORTS, which editors' extensions set, names any others: "5678,45000-45010".
func named(c procs.Command) []ports {
	found := parseRanges(variable(c, "MIRRORD_IGNORE_DEBUGGER_PORTS"))
	if len(c.Argv) == 0 {
		return found
	}
	var more []string
	switch program := path.Base(c.Exe); {
	case program == "node" || program == "nodejs":
		more = nodePorts(c)
	case strings.HasPrefix(program, "python") || strings.HasPrefix(program, "pypy"):
		more = pythonPorts(c.Argv[1:])
	case program == "java":
		more = javaPorts(c)
	case program == "dlv":
		more = delvePorts(c.Argv[1:])
	case program == "dotnet":
		more = dotnetPorts(c.Argv[1:])
	}
	for _, p := range more {
		// [host:]port
		if port, err := strconv.ParseUint(p[strings.LastIndexByte(p, ':')+1:], 10, 16); err == nil && port != 0 {
			found = append(found, ports{uint16(port), uint16(port)})
		}
	}
	return found
}

func parseRanges(text string) (all []ports) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 == nil && err2 == nil {
			all = append(all, ports{uint16(first), uint16(last)})
		}
	}
	return all
}

// inspectorURL is what editors' loaders put into an environment.
var inspectorURL = regexp.MustCompile(`"inspectorURL"\s*:\s*"ws://([^/"]*)`)

// nodePorts: without a word, SIGUSR1 opens the default port (https://nodejs.org/en/learn/getting-started/debugging).
func nodePorts(c procs.Command) []string {
	port := "9229"
	words := slices.Concat(strings.Fields(variable(c, "NODE_OPTIONS")), c.Argv[1:])
	for i, word := range words {
		name, value, given := strings.Cut(word, "=")
		switch name {
		case "--inspect-port", "--debug-port":
			if !given && i+1 < len(words) {
				value, given = words[i+1], true
			}
		case "--inspect", "--inspect-brk", "--inspect-wait":
		default:
			given = false
		}
		if given && value != "" && strings.Trim(value[strings.LastIndexByte(value, ':')+1:], "0123456789") == "" {
			port = value
		}
	}
	found := []string{port}
	for _, name := range []string{"NODE_INSPECTOR_INFO", "VSCODE_INSPECTOR_OPTIONS"} {
		if m := inspectorURL.FindStringSubmatch(variable(c, name)); m != nil {
			found = append(found, m[1])
		}
	}
	return found
}

// pythonPorts: `-m debugpy --listen|--connect`, debugpy's adapter and launcher, and `pydevd.py --port`.
func pythonPorts(argv []string) (found []string) {
	for i, word := range argv {
		parts := strings.Split(word, "/")
		last := strings.TrimSuffix(parts[len(parts)-1], ".py")
		rest := argv[i+1:]
		switch {
		case last == "pydevd":
			return option(rest, "--port")
		case !slices.Contains(parts, "debugpy"):
			continue
		case slices.Contains(parts, "adapter"):
			return slices.Concat(option(rest, "--port"), option(rest, "--for-server"))
		case slices.Contains(parts, "launcher"):
			return rest[:min(1, len(rest))]
		default:
			return slices.Concat(option(rest, "--listen"), option(rest, "--connect"))
		}
	}
	return nil
}

// option is the first value of an option: the word after it, or what an equals sign gives it.
func option(argv []string, name string) []string {
	for i, word := range argv {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return []string{value}
		}
		if word == name && i+1 < len(argv) {
			return argv[i+1 : i+2]
		}
	}
	return nil
}

// javaPorts: the options may stand in variables and, with an @, in files, too (the JDK's java(1)).
func javaPorts(c procs.Command) (found []string) {
	words := c.Argv[1:]
	for _, name := range []string{"JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"} {
		words = append(words[:len(words):len(words)], strings.Fields(variable(c, name))...)
	}
	for i := 0; i < len(words); i++ {
		word := strings.Trim(words[i], `"'`)
		if file, ok := strings.CutPrefix(word, "@"); ok && i < len(c.Argv)-1 {
			words = append(words[:len(words):len(words)], strings.Fields(c.ReadFile(file))...)
			continue
		}
		options, ok := strings.CutPrefix(word, "-agentlib:jdwp=")
		if !ok {
			options, ok = strings.CutPrefix(word, "-Xrunjdwp:")
		}
		for option := range strings.SplitSeq(options, ",") {
			if address, is := strings.CutPrefix(option, "address="); ok && is {
				found = append(found, address)
			}
		}
	}
	return found
}

// delvePorts: where it listens, or where the client of its DAP server does. The words behind "--" are the program's.
func delvePorts(argv []string) (found []string) {
	if end := slices.Index(argv, "--"); end >= 0 {
		argv = argv[:end]
	}
	for _, name := range []string{"--listen", "-l", "--client-addr"} {
		found = append(found, option(argv, name)...)
	}
	return found
}

func dotnetPorts(argv []string) []string {
	if !slices.ContainsFunc(argv, func(word string) bool { return strings.Contains(word, "Debugger") }) {
		return nil
	}
	return option(argv, "--frontend-port")
}

// variable is the value of a variable; the first one counts, as in libc.
func variable(c procs.Command, name string) string {
	for _, kv := range c.Env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}
