package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/progress"
	"mirrord/launcher/run"
)

// defaultConfig is what -f without a value means.
const defaultConfig = "./.mirrord/mirrord.json"

// setting is a flag that sets a key of the configuration.
type setting struct {
	name, short string
	key         string // in package config
	value       string // set by a flag that is only said; empty: the flag has a value
	usage       string // empty: hidden, one that users of the leading peer know and that has no effect on a pod directory, or is not built
}

var settings = []setting{
	{name: "target", short: "t", key: "target", usage: "what to run in the context of: `KIND/NAME` of a cluster, or dir:PATH, a pod directory"},
	{name: "target-namespace", short: "n", key: "target.namespace", usage: "the `NAMESPACE` of the target, instead of the kubeconfig's"},
	{name: "context", key: "kube_context", usage: "the `CONTEXT` of the kubeconfig, instead of its current one"},
	{name: "agent-image", short: "i", key: "agent.image", usage: "the agent's `IMAGE`, as the cluster's nodes know it"},
	{name: "steal", key: "feature.network.incoming", value: "steal", usage: "connections to the pod's ports go to the program instead of the pod"},
	{name: "fs-mode", key: "feature.fs.mode", usage: "whose files are read: and written: `MODE` read, write, overlay, local, or localwithoverrides"},
	{name: "override-env-vars-exclude", short: "x", key: "feature.env.exclude", usage: "leave out these variables of the pod: `NAMES` divided by ; with * and ?"},
	{name: "override-env-vars-include", short: "s", key: "feature.env.include", usage: "take only these variables of the pod: `NAMES` as above"},
	{name: "env-file", key: "feature.env.env_file", usage: "variables from this `FILE` win over the pod's"},
	{name: "skip-processes", key: "skip_processes", usage: "run programs of these `NAMES`, divided by ;, without the pod's files and network"},
	{name: "no-remote-dns", key: "feature.network.dns.enabled", value: "false", usage: "resolve names on this machine"},
	{name: "no-outgoing", key: "feature.network.outgoing", value: "false", usage: "connections go out from this machine"},
	{name: "no-tcp-outgoing", key: "feature.network.outgoing.tcp", value: "false", usage: "TCP connections go out from this machine"},
	{name: "no-udp-outgoing", key: "feature.network.outgoing.udp", value: "false", usage: "datagrams go out from this machine"},

	{name: "no-telemetry", key: "telemetry", value: "false"},
	{name: "accept-invalid-certificates", short: "c", key: "accept_invalid_certificates", value: "true"},
	{name: "agent-namespace", short: "a", key: "agent.namespace", usage: "the `NAMESPACE` of the agent, where that has a pod of its own"},
	{name: "agent-log-level", short: "l", key: "agent.log_level"},
	{name: "agent-ttl", key: "agent.ttl"},
	{name: "agent-startup-timeout", key: "agent.startup_timeout"},
	{name: "ephemeral-container", short: "e", key: "agent.ephemeral", value: "true", usage: "keep the agent to a container of the target's pod"},
	{name: "key", short: "k", key: "key"},
}

// add defines the flag.
func (s setting) add(flags *pflag.FlagSet) {
	if s.value != "" {
		flags.BoolP(s.name, s.short, false, s.usage)
	} else {
		flags.StringP(s.name, s.short, "", s.usage)
	}
	flags.Lookup(s.name).Hidden = s.usage == ""
}

func newExec(ending *run.Ending) *cobra.Command {
	var file, mode, sink string
	var values bool
	c := &cobra.Command{
		Use:   "exec -t TARGET [flags] [--] [PROGRAM [ARGUMENT...]]",
		Short: "Run a program in the context of a pod",
		Long: `Run a program on this machine with a pod's environment, files, names and traffic.

Without a program it is the one of the configuration's key launch, as the app saves them.

The program has the terminal, its signals and its exit status; mirrord writes to standard error only. Failures
of mirrord itself end with status 125, a program that cannot be executed with 126, one that is not found with 127.`,
		Example: `  mirrord exec -t deployment/cart -- npm start         the environment, files, names and outgoing connections of a pod of it
  mirrord exec -t dir:./pod -- npm start               those of a pod directory on this machine
  mirrord exec -t dir:./pod --steal -- npm start       and the connections that come to the pod
  mirrord exec -f -- npm test                          as .mirrord/mirrord.json says
  mirrord exec -t dir:./pod --events log -- npm start  what happened, as JSON lines`,
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, command []string) error {
			// What follows reports its own errors, in the manner that --progress asks for.
			*ending = execute(c.Flags(), file, mode, sink, values, command)
			return nil
		},
	}
	flags := c.Flags()
	flags.SetInterspersed(false) // the first word that is no flag is the program; flags behind it are its own
	flags.SortFlags = false
	for _, s := range settings {
		s.add(flags)
	}
	flags.StringVarP(&file, "config-file", "f", "", "configuration `FILE` (json, yaml, toml; - is standard input); without a value "+defaultConfig)
	flags.StringVar(&mode, "progress", "", "`MODE` of messages: auto, plain, json or off (MIRRORD_PROGRESS_MODE)")
	flags.StringVar(&sink, "events", "", "write what happens as JSON lines to a `FILE`, or to a descriptor (fd:3)")
	flags.BoolVar(&values, "events-values", false, "let events carry values too: of variables, of the program's arguments, of names")
	flags.Bool("disable-version-check", false, "")
	_ = flags.MarkHidden("disable-version-check")
	completeExec(c)
	return c
}

// execute runs the session that the flags ask for.
func execute(flags *pflag.FlagSet, file, mode, sink string, values bool, command []string) run.Ending {
	if mode == "" {
		mode = os.Getenv("MIRRORD_PROGRESS_MODE")
	}
	m, err := progress.ParseMode(mode)
	if err != nil {
		return fail(err)
	}
	show := printer(m)
	out, err := openEvents(sink)
	if err == nil && os.Getenv(run.EnvBroker) != "" {
		err = errors.New("this is already inside a session of mirrord exec, and sessions do not nest\nhint: run the program without mirrord here; it is in the pod's context like its parent")
	}
	var conf *config.Config
	var warnings []config.Warning
	if err == nil {
		conf, warnings, err = config.Load(config.LoadOptions{File: file, Flags: overrides(flags)})
	}
	if err == nil && len(command) == 0 {
		command, err = launch(conf.Launch)
	}
	if err != nil {
		return abandon(err, show, out)
	}
	var warned []events.Event
	for _, w := range warnings {
		warned = append(warned, events.Event{Type: events.Warning, Message: w.Message, Hint: w.Hint})
	}
	if conf.Agent.Image == "" {
		conf.Agent.Image = agentImage()
	}
	return run.Exec(run.Options{
		Config:   conf,
		Command:  command,
		Events:   out,
		Report:   show.Show,
		Frequent: m == progress.JSON,
		Values:   values,
		Warnings: warned,
		Stderr:   os.Stderr,
	})
}

// launch goes to where the configuration's own program starts, and returns its words. Relative paths of the configuration begin there, too.
func launch(l config.Launch) ([]string, error) {
	if len(l.Command) == 0 {
		return nil, errors.New("no program was given\nhint: mirrord exec -t dir:PATH -- npm start")
	}
	if l.Folder != "" {
		if err := os.Chdir(l.Folder); err != nil {
			return nil, fmt.Errorf("cannot start in launch.folder: %w\nhint: name a folder of this machine, or leave it out", err)
		}
		if folder, err := filepath.Abs("."); err == nil {
			_ = os.Setenv("PWD", folder) // as a shell does
		}
	}
	return l.Command, nil
}

// agentImage is the image of the agent that belongs to this program, by the name that `make agent-image` gives it.
func agentImage() string { return "mirrord-agent:" + cmp.Or(Version, "dev") }

// abandon ends a session that has not begun.
func abandon(err error, show *progress.Printer, out *os.File) run.Ending {
	ending := run.Ending{Status: run.OwnFailure}
	run.Fail(err, ending, show.Show, out)
	return ending
}

// overrides are the keys that the flags set.
func overrides(flags *pflag.FlagSet) (all []config.Override) {
	for _, s := range settings {
		f := flags.Lookup(s.name)
		if f == nil {
			continue // not one of this command's
		}
		value := f.Value.String()
		if s.value != "" && value == "true" {
			value = s.value
		} else if s.value != "" {
			continue // --steal=false: as if it had not been said
		}
		if f.Changed {
			all = append(all, config.Override{Source: "--" + s.name, Path: s.key, Value: value})
		}
	}
	return all
}

// openEvents opens where the events go: nil for nowhere, "fd:N" is a descriptor that we were started with, and that the program does not get.
func openEvents(sink string) (*os.File, error) {
	if sink == "" {
		return nil, nil
	}
	if number, ok := strings.CutPrefix(sink, "fd:"); ok {
		fd, err := strconv.Atoi(number)
		if err != nil || fd < 1 {
			return nil, fmt.Errorf("--events: %q is no descriptor\nhint: write fd:3, for example, and open it in the shell: 3>events.json", sink)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
			return nil, fmt.Errorf("--events: descriptor %d is not open for writing\nhint: open it in the shell: %d>events.json", fd, fd)
		}
		// The program keeps its own standard streams even if the events go there too.
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("--events: %w", err)
		}
		if fd > 2 {
			_ = unix.Close(fd)
		}
		return os.NewFile(uintptr(own), sink), nil
	}
	f, err := os.OpenFile(sink, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--events: %w\nhint: name a file in a folder that you can write to, or a descriptor like fd:3", err)
	}
	return f, nil
}

// giveValue makes -f without a value what it is for the leading peer: its value is the next word unless that is a flag or --. The flag library
// knows flags that always or never take the next word.
func giveValue(exec *cobra.Command, args []string) []string {
	if len(args) == 0 || args[0] != exec.Name() {
		return args
	}
	args = slices.Clone(args)
	for i := 1; i < len(args); i++ {
		word := args[i]
		if word == "--" || !strings.HasPrefix(word, "-") || word == "-" {
			break
		}
		last := i+1 == len(args)
		if word == "-f" || word == "--config-file" {
			if last || args[i+1] != "-" && strings.HasPrefix(args[i+1], "-") {
				args[i] = "--config-file=" + defaultConfig
			} else {
				i++
			}
		} else if takesWord(exec.Flags(), word) {
			i++
		}
	}
	return args
}

// takesWord says whether the word behind a flag is its value.
func takesWord(flags *pflag.FlagSet, word string) bool {
	var f *pflag.Flag
	if name, long := strings.CutPrefix(word, "--"); long {
		f = flags.Lookup(name) // nil for --name=value
	} else if len(word) == 2 {
		f = flags.ShorthandLookup(word[1:])
	}
	return f != nil && f.NoOptDefVal == ""
}
