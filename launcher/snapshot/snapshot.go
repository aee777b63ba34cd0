// Package snapshot records a pod into a pod directory: environment, files, names, and which addresses were used. What runs with that directory has
// the pod's context without the pod; what the snapshot does not have is refused there, never taken from the machine it runs on.
package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"mirrord/agent/target"
	"mirrord/agent/wire"
	"mirrord/launcher/kube/origins"
)

// Bounds of one snapshot: folders above one, and names that are looked up.
const (
	maxDepth = 100
	maxNames = 5_000
)

// maxEntries bounds the entries of the pod's folders that are looked at. A variable for tests.
var maxEntries = 50_000

// parallel is how many requests are under way at once.
const parallel = 16

// Link is what a snapshot needs of a link to an agent; *links.Link is one.
type Link interface {
	Agent() wire.Hello
	Do(ctx context.Context, req *wire.Request) (*wire.Reply, error)
	Open(ctx context.Context, req *wire.Request) (*wire.Reply, io.ReadCloser, error)
}

// Options say what is recorded, and where to.
type Options struct {
	Link    Link
	Origins *origins.Origins // what is known to be secret; nil: nothing
	Target  string           // as the user named it

	Dir   string // see Check
	Force bool   // an earlier snapshot may be there; it is replaced

	Globs   []Glob
	Used    *Used // what a session has used; nil for nothing
	Secrets bool  // values and files of Secrets too
	MaxSize int64 // of all files together, in bytes

	// Phase runs a step that the user can see; message is for when it is done.
	Phase func(name string, step func() (message string, err error)) error
}

// Result says what was recorded.
type Result struct {
	Variables, Files, Names int
	Bytes                   int64 // of the files
	Left                    []Left
}

// Left is something that was not recorded, for people.
type Left struct{ What, Why string }

func (l Left) String() string { return l.What + ": " + l.Why }

// Take records a pod. It writes beside Options.Dir and gives the whole its name at the end: after an error, or when ctx ends, nothing is left. What cannot
// be recorded of a pod is no error but in Result.Left, and in a file of the snapshot's.
func Take(ctx context.Context, o Options) (_ *Result, err error) {
	d, err := begin(o.Dir, o.Force)
	if err != nil {
		return nil, err
	}
	defer func() {
		if derr := d.discard(); err == nil {
			err = derr
		}
	}()
	s := &shot{Options: o, files: newFiles(ctx, o, d.root)}
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{{"environment", s.readEnv}, {"files", s.readFiles}, {"names", s.readNames}} {
		if err := o.Phase(step.name, func() (string, error) { return step.do(ctx) }); err != nil {
			return nil, err
		}
	}
	s.result.Left = append(s.result.Left, s.files.left...)
	var left bytes.Buffer
	for _, l := range s.result.Left {
		fmt.Fprintln(&left, l)
	}
	for name, text := range map[string][]byte{podFile: s.describe(time.Now()), leftFile: left.Bytes(), ".gitignore": []byte("*\n")} {
		if err := d.write(name, text); err != nil {
			return nil, err
		}
	}
	// It has to be one that exec can read.
	read, err := target.OpenDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("what was recorded cannot be read back: %w", err)
	}
	if err := read.Close(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return &s.result, d.finish()
}

// shot is a snapshot in the making.
type shot struct {
	Options
	files  *files
	env    map[string]string
	hosts  map[string][]string // name → addresses
	result Result
}

func (s *shot) leave(what, why string) {
	s.result.Left = append(s.result.Left, Left{visible(what), visible(why)})
}

// readEnv records the variables that are no secrets.
func (s *shot) readEnv(ctx context.Context) (string, error) {
	if !slices.Contains(s.Link.Agent().Capabilities, "env") {
		s.leave("the environment", "the agent cannot read it")
		return "", nil
	}
	reply, err := s.Link.Do(ctx, &wire.Request{Op: wire.OpEnv})
	if err != nil {
		return "", fmt.Errorf("cannot read the pod's environment: %w", err)
	}
	s.env = make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(reply.Env)) {
		value := reply.Env[name]
		why := ""
		if s.Origins != nil && !s.Secrets {
			why = s.Origins.Secret(name, value)
		}
		if !isText(name) || !isText(value) {
			why = "pod.yaml can only hold text, which it is not"
		}
		if why != "" {
			s.leave("the variable "+name, why)
			continue
		}
		s.env[name] = value
	}
	s.result.Variables = len(s.env)
	return counted(len(s.env), "variable"), nil
}

// always are files that are recorded if the pod has them.
var always = []string{"/etc/hosts", "/etc/resolv.conf", "/etc/hostname"}

// readFiles records what every snapshot has, then what was asked for, then what a session has used.
func (s *shot) readFiles(ctx context.Context) (string, error) {
	f := s.files
	if !slices.Contains(s.Link.Agent().Capabilities, "files") {
		s.leave("all files", "the agent cannot read them")
		return "", nil
	}
	if err := f.start(s.Origins, s.Secrets); err != nil {
		return "", err
	}
	steps := []func() error{func() error { return f.present(always) }}
	if s.Origins != nil {
		for _, m := range s.Origins.Mounts {
			if m.Kind == origins.ConfigMount {
				steps = append(steps, func() error { return f.glob(literal(m.Path)) })
			}
		}
	}
	for _, g := range s.Globs {
		steps = append(steps, func() error { return f.glob(g) })
	}
	if s.Used != nil {
		steps = append(steps, func() error { return f.used(s.Used.Paths) })
	}
	steps = append(steps, f.links)
	for _, step := range steps {
		if err := step(); err == errFull {
			f.leave("files", fmt.Sprintf("only %d entries of folders are looked at; name fewer with --files", maxEntries))
			break
		} else if err != nil {
			return "", err
		}
	}
	if err := f.copyAll(); err != nil {
		return "", err
	}
	s.result.Files, s.result.Bytes = f.count, f.bytes
	return fmt.Sprintf("%s, %s", counted(f.count, "file"), Size(f.bytes)), nil
}

// isText says whether YAML can hold a text.
func isText(s string) bool { return strings.ToValidUTF8(s, "") == s && !strings.Contains(s, "\x00") }

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Size is a number of bytes for people.
func Size(n int64) string {
	for _, u := range []struct {
		unit int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.unit {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.unit), u.name)
		}
	}
	return counted(int(n), "byte")
}
