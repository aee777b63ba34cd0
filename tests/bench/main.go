// Command bench measures what mirrord costs, side by side with the same work done plainly, and writes the results into a Markdown file.
// It reports and asserts nothing: rows that miss their goal stay in.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// options are the command line's.
type options struct {
	mirrord     string // path of the launcher
	results     string // file to write
	repeat      int    // repetitions of each measurement
	connections int    // new connections in a row
	entries     int    // of a directory
	only        string // sections, by a part of their functions' names; "" for all
	cluster     bool   // the sections that need a cluster, and no others
}

func main() {
	var o options
	flag.StringVar(&o.mirrord, "mirrord", "bin/mirrord", "the launcher to measure")
	flag.StringVar(&o.results, "results", "tests/bench/RESULTS.md", "the file to write")
	flag.IntVar(&o.repeat, "repeat", 11, "repetitions of each measurement")
	flag.IntVar(&o.connections, "connections", 60000, "new connections in a row")
	flag.IntVar(&o.entries, "entries", 10000, "entries of a directory")
	flag.StringVar(&o.only, "only", "", "measure only the sections whose `name` contains this, and replace them in the results")
	flag.BoolVar(&o.cluster, "cluster", false, "measure against the cluster of KUBECONFIG, and replace those sections in the results")
	serve := flag.Bool("serve", false, "be the program of the cluster's pods")
	ask, from, requests := flag.String("ask", "", "in a pod: send requests to this `URL`"), flag.String("from", "", "who should answer"), flag.Int("requests", 100, "how many")
	memory := flag.String("memory", "", "in a pod: tell the memory of this `PROGRAM`")
	var err error
	plan := os.Getenv(appEvents)
	if plan == "" { // its words are mirrord's
		flag.Parse()
	}
	switch {
	case plan != "":
		err = tellEvents(plan)
	case *serve:
		err = serveCluster()
	case *ask != "":
		askCluster(*ask, *from, *requests)
	case *memory != "":
		err = memoryOf(*memory)
	default:
		err = measure(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func measure(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return bench(ctx, o)
}

// bench measures everything and writes the results.
func bench(ctx context.Context, o options) error {
	mirrord, err := filepath.Abs(o.mirrord)
	if err != nil {
		return err
	}
	if _, err := os.Stat(mirrord); err != nil {
		return fmt.Errorf("the launcher: %w\nhint: make build", err)
	}
	if o.cluster {
		return benchCluster(ctx, mirrord, o)
	}
	peers, err := startPeers()
	if err != nil {
		return err
	}
	defer peers.Close()
	s, err := newStage(ctx, mirrord, peers)
	if err != nil {
		return err
	}
	defer s.Close()

	r := newReport(s, o)
	for _, section := range []struct {
		name    string
		measure func(context.Context, *stage, *report, options) error
	}{
		{"local", localWork}, {"start", startUp}, {"supervised", supervised}, {"calls", calls}, {"file", remoteFiles}, {"mounts", mounts},
		{"connections", connections}, {"http", smallHTTP}, {"bulk", bulk}, {"wait", waiting}, {"memory", memory}, {"agent", agentMemory},
		{"patch", patching}, {"decide", deciding}, {"macos", macPrograms}, {"app", appModel}, {"app window", window},
	} {
		if !strings.Contains(section.name, o.only) {
			continue
		}
		if err := section.measure(ctx, s, r, o); err != nil {
			return err
		}
		if o.only == "" {
			r.say("\nLoad: %s", load())
		} else {
			r.say("\nMeasured by itself at commit %s on %s, %d times. Load: %s", commit(), today(), o.repeat, load())
		}
	}
	if o.only != "" {
		return r.replace(o.results)
	}
	return r.write(o.results)
}

// command is a command that ends with ctx. Its environment is bare: a variable that names a file, as NODE_EXTRA_CA_CERTS, may have a program do
// more here than in the pod, or less.
func command(ctx context.Context, dir string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}
