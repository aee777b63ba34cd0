package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
	"mirrord/launcher/broker"
	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/rules"
	"mirrord/layer"
	"mirrord/sip"
)

// openPod opens the target and serves the layers from it. Each step is a phase that the user can see; what needs no agent is done while that starts.
func openPod(ctx context.Context, p *plan, decide func(sip.Request) sip.Verdict, emit func(events.Event)) (_ *pod, err error) {
	var opened closers
	defer func() {
		if err != nil {
			_ = opened.close()
		}
	}()
	phase := newPhases(emit)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var library string
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		if err := phase(phaseLayer, func() (_ string, err error) {
			library, err = extractLayer()
			return "", err
		}); err != nil {
			cancel(err)
		}
	})

	link, leave, err := openTarget(ctx, p, phase, emit, &opened)
	beside.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	var env []string
	var fromPod int
	if err := phase(phaseEnv, func() (string, error) {
		reply := new(wire.Reply)
		if slices.Contains(link.Agent().Capabilities, "env") { // that it is not was said
			if reply, err = link.Do(ctx, &wire.Request{Op: wire.OpEnv}); err != nil {
				return "", fmt.Errorf("cannot read the pod's environment: %w", err)
			}
		}
		var warnings []string
		local := os.Environ()
		env, warnings = p.Config.Feature.Env.Compose(local, reply.Env)
		for _, w := range warnings {
			emit(events.Event{Type: events.Warning, Message: w})
		}
		changed := different(local, env)
		changed.Variables = variables(local, reply.Env, env, p.Values)
		if !p.Values {
			changed.Values = nil
		}
		fromPod = len(changed.Names)
		emit(changed)
		return someVariables(fromPod), nil
	}); err != nil {
		return nil, err
	}
	var b *broker.Broker
	if err := phase(phaseBroker, func() (string, error) {
		table, err := compileRules(p, link.Agent(), env, library, Engine().Decide(firstRequest(p, env)))
		if err != nil {
			return "", err
		}
		folder, remove, err := brokerFolder(p.Session)
		if err != nil {
			return "", err
		}
		opened = append(opened, remove)
		overlayFolder := p.Config.Feature.FS.Overlay
		if overlayFolder != "" {
			if overlayFolder, err = filepath.Abs(overlayFolder); err != nil {
				return "", err
			}
		}
		o := broker.Options{Link: link, Rules: table, Emit: emit, Config: p.Config, Decide: decide, TempDir: folder, Overlay: overlayFolder, Values: p.Values}
		if len(p.Config.SkipProcesses) > 0 {
			o.Skips = lists(p.Config).Skips
			if o.Idle, err = rules.Compile(rules.Input{Mode: string(config.FSLocal)}); err != nil {
				return "", err
			}
		}
		b, err = broker.Start(o)
		if err == nil {
			opened = append(opened, b.Close, leave)
		}
		return "", err
	}); err != nil {
		return nil, err
	}
	return &pod{
		env:      inject(env, library, b.Env()),
		library:  library,
		summary:  summary(p, link.Agent(), fromPod),
		injected: b.Injected,
		drain:    b.Drain,
		close:    opened.close,
	}, nil
}

// closers are closed in reverse order. Each may be called more than once.
type closers []func() error

func (c *closers) close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	*c = nil
	return errors.Join(errs...)
}

// openTarget connects to the agent of the target. leave tells the agent that it is not needed any more, before the
// broker closes the link.
func openTarget(ctx context.Context, p *plan, phase phases, emit func(events.Event), opened *closers) (link *links.Link, leave func() error, err error) {
	switch p.Target.Kind {
	case "dir", "":
		err = phase(phaseTarget, func() (string, error) {
			link, err = openDir(ctx, p, opened)
			return p.Target.Path, err
		})
		return link, func() error { return nil }, err
	default:
		return openCluster(ctx, p, phase, emit, opened)
	}
}

// openDir serves a pod directory in this process.
func openDir(ctx context.Context, p *plan, opened *closers) (*links.Link, error) {
	if p.Target.Kind == "" {
		return nil, errors.New("no target was given\nhint: name one with -t, for example -t deployment/NAME, or -t dir:PATH for a pod directory")
	}
	d, err := target.OpenDir(p.Target.Name)
	if err != nil {
		return nil, err
	}
	*opened = append(*opened, d.Close)
	if in := p.Config.Feature.Network.Incoming; in.Mode == traffic.Mirror {
		if err := d.CheckMirror(func(pod uint16) bool { _, ok := in.PodPort(in.LocalPort(pod)); return ok }); err != nil {
			return nil, err
		}
	}
	serving, stop := context.WithCancel(context.Background())
	requests, bulk, done, err := serve.Dir(serving, d)
	if err != nil {
		stop()
		return nil, err
	}
	*opened = append(*opened, func() error {
		stop()
		<-done
		return nil
	})
	hello, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	link, err := links.New(hello, requests, bulk, p.Session)
	if err != nil {
		return nil, fmt.Errorf("cannot talk to the agent: %w", err)
	}
	*opened = append(*opened, link.Close)
	return link, nil
}

// CacheFolder is ours in the user's cache; it need not be there yet. A child of root may drop to a user that cannot enter root's home, so root's is where everybody can
// read.
func CacheFolder() (string, error) {
	if os.Geteuid() == 0 && os.Getenv("XDG_CACHE_HOME") == "" {
		return filepath.Join(rootCache, cacheName), nil
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no folder to keep files in: %w\nhint: set XDG_CACHE_HOME", err)
	}
	return filepath.Join(folder, cacheName), nil
}

// extractLayer puts the layer's library into the cache.
func extractLayer() (string, error) {
	folder, err := CacheFolder()
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(folder, ": ") {
		return "", fmt.Errorf("the folder %q cannot hold the layer library: the loader's list of libraries is divided at colons and blanks\nhint: set XDG_CACHE_HOME to a path without them", folder)
	}
	path, err := layer.Extract(folder)
	if errors.Is(err, layer.ErrNotBuilt) {
		err = fmt.Errorf("%w\nhint: run `make build`, then use bin/mirrord", err)
	}
	return path, err
}

// programDirs are the folders in which programs are looked for, as far as this machine has them: programs are never the pod's, so a shell must
// find those that are here, and must not ask the pod about each.
func programDirs(pathVar string) (dirs []string) {
	for _, dir := range filepath.SplitList(pathVar) {
		if info, err := os.Stat(dir); filepath.IsAbs(dir) && err == nil && info.IsDir() {
			dirs = append(dirs, filepath.Clean(dir))
		}
	}
	return dirs
}

// compileRules says which paths are the pod's, for a program with this environment.
func compileRules(p *plan, agent wire.Hello, env []string, library string, program sip.Verdict) ([]byte, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("the working directory is gone: %w", err)
	}
	home, _ := os.UserHomeDir() // without a home there is no rule for it
	f := p.Config.Feature
	in := rules.Input{
		Mode: string(f.FS.Mode), NotFound: f.FS.NotFound, ReadOnly: f.FS.ReadOnly, ReadWrite: f.FS.ReadWrite, Local: f.FS.Local,
		Home: home, TempDir: os.TempDir(), Cwd: cwd, ProjectRoot: rules.ProjectRoot(cwd, home),
		LocalDirs: append(programDirs(lookup(env, "PATH")), filepath.Dir(library)),
		Names:     f.Network.DNS.Enabled, Outgoing: f.Network.Outgoing.TCP,
		Incoming:        f.Network.Incoming.Mode != traffic.Off,
		LocalCerts:      !slices.Contains(agent.Capabilities, "certs"),
		AskBind:         len(f.Network.Incoming.ListenPorts) > 0,
		IgnoreLocalhost: f.Network.Outgoing.IgnoreLocalhost,
		UDP:             f.Network.Outgoing.UDP, NoIPv6: !f.Network.IPv6, UnixStreams: f.Network.Outgoing.UnixStreams,
	}
	if mapped := f.FS.MappedPatterns(); f.FS.Mode == config.FSWrite {
		in.ReadWrite = slices.Concat(in.ReadWrite, mapped)
	} else {
		in.ReadOnly = slices.Concat(in.ReadOnly, mapped)
	}
	if f.Hostname {
		in.Hostname = agent.Hostname
	}
	for _, file := range program.Chain {
		in.LocalDirs = append(in.LocalDirs, filepath.Dir(filepath.Clean(file)))
		if real, err := filepath.EvalSymlinks(file); err == nil {
			in.LocalDirs = append(in.LocalDirs, filepath.Dir(real))
		}
	}
	if len(program.Chain) > 0 {
		in.Executable = filepath.Clean(program.Chain[0])
	}
	slices.Sort(in.LocalDirs)
	in.LocalDirs = slices.Compact(in.LocalDirs)
	return rules.Compile(in)
}

// inject adds what the layer needs.
func inject(env []string, library, socket string) []string {
	return append(withLibrary(env, library), EnvBroker+"="+socket)
}

// bearsMark says whether an environment is that of a process of a session: the layer keeps the broker's address in every one, and that has the
// session's id in it.
func bearsMark(env []string, session string) bool {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, EnvBroker+"="); ok && session != "" && strings.Contains(value, session) {
			return true
		}
	}
	return false
}

// different tells the variables in which env differs from local, other than by leaving some out.
func different(local, env []string) events.Event {
	ev := events.Event{Type: events.Environment, Values: map[string]string{}}
	for _, kv := range env {
		if name, value, _ := strings.Cut(kv, "="); !slices.Contains(local, kv) {
			ev.Names = append(ev.Names, name)
			ev.Values[name] = value
		}
	}
	return ev
}

// summary is what the program gets, in one line.
func summary(p *plan, agent wire.Hello, fromPod int) string {
	f := p.Config.Feature
	mirrors := f.Network.Incoming.Mode == traffic.Mirror || f.Network.Incoming.Mode == traffic.Unset
	parts := []string{someVariables(fromPod)}
	for _, part := range []struct {
		name string
		on   bool
	}{
		{"files (" + string(f.FS.Mode) + ")", f.FS.Mode != config.FSLocal && slices.Contains(agent.Capabilities, "files")},
		{"names", f.Network.DNS.Enabled},
		{"outgoing connections", f.Network.Outgoing.TCP || f.Network.Outgoing.UDP},
		{"incoming connections (steal)", f.Network.Incoming.Mode == traffic.Steal && slices.Contains(agent.Capabilities, "steal")},
		{"incoming connections (mirror)", mirrors && slices.Contains(agent.Capabilities, "mirror")},
	} {
		if part.on {
			parts = append(parts, part.name)
		}
	}
	return fmt.Sprintf("%s (%s): %s", p.Target.Path, agent.Name, strings.Join(parts, ", "))
}

// variables tells of each variable of this machine, the pod and the program where it is, and whose the program has.
func variables(local []string, pod map[string]string, final []string, values bool) (all []events.Variable) {
	here, there := byName(local), byName(final)
	names := map[string]bool{}
	for _, from := range []map[string]string{here, pod, there} {
		for name := range from {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if len(all) == events.MaxVariables {
			break
		}
		v := events.Variable{Name: name}
		var kept bool
		v.LocalValue, v.Local = here[name]
		v.PodValue, v.Pod = pod[name]
		v.Value, kept = there[name]
		switch {
		case !kept:
		case v.Local && v.Value == v.LocalValue:
			v.From = "local"
		case v.Pod && v.Value == v.PodValue:
			v.From = "pod"
		default:
			v.From = "configuration"
		}
		for _, value := range []*string{&v.LocalValue, &v.PodValue, &v.Value} {
			if !values {
				*value = ""
			}
			*value = (*value)[:min(len(*value), events.MaxValue)]
		}
		all = append(all, v)
	}
	return all
}

func byName(env []string) map[string]string {
	all := make(map[string]string, len(env))
	for _, kv := range env {
		if name, value, ok := strings.Cut(kv, "="); ok {
			all[name] = value
		}
	}
	return all
}

func someVariables(n int) string {
	if n == 1 {
		return "1 variable"
	}
	return fmt.Sprintf("%d variables", n)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
