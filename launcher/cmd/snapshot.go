package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/progress"
	"mirrord/launcher/run"
	"mirrord/launcher/snapshot"
)

// snapshotSettings are those of exec's flags that say which pod, and how it is reached.
var snapshotSettings = append([]string{"target", "agent-image", "agent-namespace", "agent-log-level", "agent-ttl", "agent-startup-timeout", "ephemeral-container", "no-telemetry"},
	clusterSettings...)

// snapshotFlags are what snapshot has beyond exec's flags.
type snapshotFlags struct {
	file, mode, dir, used, maxSize string
	globs                          []string
	secrets, force                 bool
}

func newSnapshot() *cobra.Command {
	var f snapshotFlags
	c := &cobra.Command{
		Use:   "snapshot -t TARGET -o DIR [--files GLOB]... [--events FILE]",
		Short: "Record a pod into a pod directory",
		Long: `Record a pod into a pod directory, which exec -t dir:DIR then takes as its target, without the pod and without a cluster.

Recorded are the environment, /etc/hosts, /etc/resolv.conf, /etc/hostname, mounted ConfigMaps, the addresses of the names
in /etc/hosts and of the services in the environment, and the ports that the specification names. --files adds files: * ? and [] stand for
parts of a name, ** for any number of folders, and a folder that matches is taken with all that is in it. --events adds what a session has used:
files that it opened, the names among the folders that it listed, names that it resolved; the addresses that it connected to stand in DIR/pod.yaml as
comments, where you can give them routes.

Run offline, an address without a route is refused, a name that was not recorded is not found, and a file that was not recorded does not
exist; connect and name events tell the reason.

Left out are values and files of Secrets, unless --include-secrets; of a Secret that is taken into the environment as a whole, every variable that
nothing else accounts for. Credentials of service accounts are always left out, and so are /proc, /sys, /dev, sockets and devices. What the pod's
programs themselves write somewhere, and all of a pod directory, is not known to be secret. DIR/left-out.txt lists everything that was asked for and is not there. DIR is
readable by you alone and has a .gitignore; files keep the pod's permissions and times, not its owners.`,
		Example: `  mirrord snapshot -t deployment/cart -o cart.pod --files '/srv/data/**' --files /app/config.json
  mirrord exec -t deployment/cart --events used -- npm test && mirrord snapshot -t deployment/cart -o cart.pod --events used
  mirrord exec -t dir:cart.pod -- npm test`,
		DisableFlagsInUseLine: true,
		Args:                  alone,
		RunE: func(c *cobra.Command, _ []string) error {
			mode, err := progress.ParseMode(cmp.Or(f.mode, os.Getenv("MIRRORD_PROGRESS_MODE")))
			if err != nil {
				return err
			}
			conf, warnings, err := config.Load(config.LoadOptions{File: f.file, Flags: overrides(c.Flags())})
			if err != nil {
				return err
			}
			conf.Agent.Image = cmp.Or(conf.Agent.Image, agentImage())
			show := printer(mode)
			for _, w := range warnings {
				show.Show(events.Event{Type: events.Warning, Message: w.Message, Hint: w.Hint})
			}
			return f.take(conf, show.Show)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	for _, s := range settings {
		if slices.Contains(snapshotSettings, s.name) {
			s.add(flags)
		}
	}
	flags.StringVarP(&f.dir, "output", "o", "", "the `DIR` to write; it must not exist yet")
	flags.StringArrayVar(&f.globs, "files", nil, "record the pod's files that match `GLOB`, an absolute path; may be given several times")
	flags.StringVar(&f.used, "events", "", "record what sessions have used, by the events `FILE` of exec")
	flags.BoolVar(&f.secrets, "include-secrets", false, "record values and files of Secrets too")
	flags.StringVar(&f.maxSize, "max-size", "256M", "leave out files beyond this `SIZE` of all together, in bytes, K, M or G")
	flags.BoolVar(&f.force, "force", false, "replace an earlier snapshot in DIR")
	flags.StringVarP(&f.file, "config-file", "f", "", "configuration `FILE`")
	flags.StringVar(&f.mode, "progress", "", "`MODE` of messages: auto, plain, json or off (MIRRORD_PROGRESS_MODE)")
	completeSnapshot(c)
	return c
}

// take records the target of the configuration. Events go to emit.
func (f *snapshotFlags) take(conf *config.Config, emit func(events.Event)) error {
	o, err := f.options(conf)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	result, err := record(ctx, conf, o, emit)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted; nothing was written")
		}
		return err
	}
	const most = 10
	for i, l := range result.Left {
		if i == most {
			emit(events.Event{Type: events.Warning, Message: fmt.Sprintf("left out: %d more; %s lists all", len(result.Left)-most, filepath.Join(f.dir, "left-out.txt"))})
			break
		}
		emit(events.Event{Type: events.Warning, Message: "left out: " + l.String()})
	}
	summary := fmt.Sprintf("%s: %d variables, %d files (%s), %d names", f.dir, result.Variables, result.Files, snapshot.Size(result.Bytes), result.Names)
	if n := len(result.Left); n > 0 {
		summary += fmt.Sprintf("; %d left out", n)
	}
	emit(events.Event{Type: events.Phase, Phase: "snapshot", State: "done", Message: summary})
	return nil
}

// options are what can be known before the pod is looked at.
func (f *snapshotFlags) options(conf *config.Config) (o snapshot.Options, err error) {
	if f.dir == "" {
		return o, errors.New("no folder was given\nhint: name one that does not exist yet with -o")
	}
	if conf.Target.Kind == "targetless" {
		return o, errors.New("without a target there is nothing to record\nhint: name one with -t, for example -t deployment/NAME")
	}
	if err := snapshot.Check(f.dir, f.force); err != nil {
		return o, err
	}
	o = snapshot.Options{Target: conf.Target.Path, Dir: f.dir, Force: f.force, Secrets: f.secrets}
	if o.MaxSize, err = parseSize(f.maxSize); err != nil {
		return o, fmt.Errorf("--max-size: %w", err)
	}
	for _, text := range f.globs {
		g, err := snapshot.ParseGlob(text)
		if err != nil {
			return o, fmt.Errorf("--files: %w", err)
		}
		o.Globs = append(o.Globs, g)
	}
	if f.used == "" {
		return o, nil
	}
	used, err := os.Open(f.used)
	if err == nil {
		defer used.Close()
		o.Used, err = snapshot.ReadUsed(used)
	}
	if err != nil {
		return o, fmt.Errorf("--events: %w", err)
	}
	return o, nil
}

// record opens the target and takes the snapshot.
func record(ctx context.Context, conf *config.Config, o snapshot.Options, emit func(events.Event)) (*snapshot.Result, error) {
	attached, err := run.Attach(ctx, conf, emit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = attached.Close() }() // the snapshot is there, or not, by now; an agent that is not told ends with its lease
	o.Link, o.Origins, o.Phase = attached.Link, attached.Origins, attached.Phase
	return snapshot.Take(ctx, o)
}

var sizes = regexp.MustCompile(`^(\d+)([kKmMgG]?)(?:i?[bB])?$`)

// parseSize reads 1000, 64K, 256M, 2GiB; units are powers of 1024.
func parseSize(s string) (int64, error) {
	words := sizes.FindStringSubmatch(s)
	if words == nil {
		return 0, fmt.Errorf("%q is no size\nhint: write it as 512K, 256M or 2G", s)
	}
	unit := map[string]int64{"": 1, "k": 1 << 10, "K": 1 << 10, "m": 1 << 20, "M": 1 << 20, "g": 1 << 30, "G": 1 << 30}[words[2]]
	n, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is too much", s)
	}
	return n * unit, nil
}
