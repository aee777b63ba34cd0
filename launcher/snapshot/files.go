package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"mirrord/agent/wire"
	"mirrord/launcher/kube/origins"
)

// kind is what a path of the pod is.
type kind uint8

const (
	isFile kind = iota
	isDir
	isLink
	isGone // ENOENT
	isLeft // there, and not to be recorded; it has been listed
)

// node is what is known of a path that has no links above it.
type node struct {
	kind   kind
	stat   wire.Stat
	target string // of a link
	kept   bool   // it is part of the snapshot
	whole  bool   // of a folder: with all that is in it
}

// files collects the files of a pod. It follows links itself, one name at a time: so each link is recorded beside what it leads to, and a secret's folder is
// noticed by whatever name it is reached.
type files struct {
	ctx  context.Context
	link Link
	root *os.Root

	hidden  []origins.Mount // what lies there is left out
	nodes   map[string]*node
	devices map[uint64]string // file systems that hold no files → what they hold
	globbed map[string]bool
	found   []string // links below folders that were taken
	seen    int      // entries that were looked at
	left    []Left

	budget int64 // bytes that may still be taken
	jobs   []string
	count  int
	bytes  int64
}

func newFiles(ctx context.Context, o Options, root *os.Root) *files {
	return &files{ctx: ctx, link: o.Link, root: root, budget: o.MaxSize, nodes: make(map[string]*node), devices: make(map[uint64]string), globbed: make(map[string]bool)}
}

func (f *files) leave(what, why string) {
	f.left = append(f.left, Left{visible(what), visible(why)})
}

// errFull says that enough has been looked at.
var errFull = errors.New("too many entries")

// tokens is where Kubernetes puts the credentials of a pod.
const tokens = "/var/run/secrets/kubernetes.io"

// kernels are folders that hold no files wherever they are.
var kernels = []string{"/proc", "/sys", "/dev"}

// start learns what is hidden. known may be nil.
func (f *files) start(known *origins.Origins, secrets bool) error {
	for _, p := range kernels {
		f.hidden = append(f.hidden, origins.Mount{Path: p, From: "the kernel's, no files"})
	}
	f.hidden = append(f.hidden, origins.Mount{Path: tokens, Kind: origins.TokenMount, From: "credentials of the pod's service account"})
	if known != nil {
		for _, m := range known.Mounts {
			if m.Kind == origins.TokenMount || m.Kind == origins.SecretMount && !secrets {
				f.hidden = append(f.hidden, m)
			}
		}
	}
	// A link may lead to where it is mounted: /var/run is one in most images.
	for _, m := range slices.Clone(f.hidden) {
		reply, err := f.link.Do(f.ctx, &wire.Request{Op: wire.OpRealpath, Path: m.Path})
		if err = f.refusal(err); err != nil {
			return err
		}
		if reply != nil && reply.Path != m.Path {
			m.Path = reply.Path
			f.hidden = append(f.hidden, m)
		}
	}
	_, err := f.look("/", nil)
	return err
}

// refusal is nil for what the agent answers, which concerns one path; other errors end the snapshot.
func (f *files) refusal(err error) error {
	var refused *wire.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

// secret says what is hidden at a path without links; empty for nothing. Elsewhere in the pod a node's folders may be mounted, where the kubelet keeps the
// volumes of all pods by their kinds.
func (f *files) secret(p string) string {
	for _, m := range f.hidden {
		if p == m.Path || strings.HasPrefix(p, strings.TrimSuffix(m.Path, "/")+"/") {
			return m.From
		}
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "kubernetes.io~secret" || name == "kubernetes.io~projected" || name == "kubernetes.io~csi" {
			return "secrets of the node's pods"
		}
	}
	if strings.Contains(p+"/", "/kubernetes.io/serviceaccount/") {
		return "credentials of a service account"
	}
	return ""
}

// look tells what a path is whose folder is known to be one. entry is what a listing said of it; nil asks.
func (f *files) look(p string, entry *wire.Entry) (*node, error) {
	if n := f.nodes[p]; n != nil {
		return n, nil
	}
	if f.seen++; f.seen > maxEntries {
		return nil, errFull
	}
	if err := f.ctx.Err(); err != nil {
		return nil, context.Cause(f.ctx)
	}
	n := &node{kind: isLeft}
	f.nodes[p] = n
	if strings.Count(p, "/") > maxDepth {
		f.leave(p, fmt.Sprintf("it is below %d folders", maxDepth))
		return n, nil
	}
	if why := f.secret(p); why != "" {
		f.leave(p, why)
		return n, nil
	}
	if entry != nil && entry.Stat != nil {
		n.stat, n.target = *entry.Stat, string(entry.Target)
	} else if errno, err := f.ask(p, n); err != nil {
		return nil, err
	} else if errno == "ENOENT" {
		n.kind = isGone
		return n, nil
	} else if errno != "" {
		f.leave(p, errno)
		return n, nil
	}
	what, err := f.system(p, n.stat.Dev)
	if err != nil {
		return nil, err
	}
	// The numbers are Linux's, see wire.Stat.
	switch n.stat.Mode & 0o170000 {
	case 0o100000:
		n.kind = isFile
	case 0o040000:
		n.kind = isDir
	case 0o120000:
		if n.kind = isLink; n.target == "" {
			what = "a link to nowhere"
		}
	case 0:
		what = "of unknown type"
	default:
		what = special[n.stat.Mode&0o170000]
	}
	if what != "" {
		n.kind = isLeft
		f.leave(p, what)
	}
	return n, nil
}

// special names the types of what cannot be recorded.
var special = map[uint32]string{0o140000: "a socket", 0o010000: "a named pipe", 0o020000: "a device", 0o060000: "a device"}

// ask asks for a path's metadata and, of a link, where it leads. errno is what the agent answered instead.
func (f *files) ask(p string, n *node) (errno string, err error) {
	reply, err := f.link.Do(f.ctx, &wire.Request{Op: wire.OpStat, Path: p, NoFollow: true})
	if err == nil && reply.Stat == nil {
		return "EPROTO", nil
	}
	if err == nil {
		n.stat = *reply.Stat
		if n.stat.Mode&0o170000 == 0o120000 {
			if reply, err = f.link.Do(f.ctx, &wire.Request{Op: wire.OpReadlink, Path: p}); err == nil {
				n.target = reply.Path
			}
		}
	}
	var refused *wire.Error
	if errors.As(err, &refused) {
		return refused.Errno, nil
	}
	return "", err
}

// kernelSystems are the types of file systems that hold no files, by Linux's numbers (magic.h).
var kernelSystems = map[uint64]string{0x9fa0: "processes", 0x62656572: "devices", 0x27e0eb: "control groups", 0x63677270: "control groups",
	0x1cd1: "terminals", 0x64626720: "the kernel", 0x74726163: "the kernel", 0x73636673: "the kernel"}

// system says why a path's file system is left out: a node's /proc may be mounted anywhere, with the environments of all processes in it.
func (f *files) system(p string, device uint64) (string, error) {
	why, known := f.devices[device]
	if known {
		return why, nil
	}
	reply, err := f.link.Do(f.ctx, &wire.Request{Op: wire.OpStatfs, Path: p})
	if err == nil && reply.Statfs != nil && kernelSystems[reply.Statfs.Type] != "" {
		why = "a file system of " + kernelSystems[reply.Statfs.Type]
	}
	f.devices[device] = why
	return why, f.refusal(err)
}

// maxLinks is how many links a path may pass, as in Linux's namei.
const maxLinks = 40

// follow walks a path from a folder without links above it, and records the links on the way. It returns where that leads; the node is of the kind isGone or
// isLeft if nowhere.
func (f *files) follow(at, rest string) (string, *node, error) {
	for links := 0; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			n, err := f.look(at, nil)
			return at, n, err
		}
		name, after, _ := strings.Cut(rest, "/")
		rest = after
		if name == "." || name == ".." {
			if name == ".." {
				at = path.Dir(at)
			}
			continue
		}
		p := path.Join(at, name)
		n, err := f.look(p, nil)
		if err != nil {
			return "", nil, err
		}
		switch {
		case n.kind == isDir:
			at = p
		case n.kind != isLink:
			if n.kind == isFile && rest != "" {
				return p, &node{kind: isGone}, nil // ENOTDIR
			}
			return p, n, nil
		default:
			if err := f.keep(p, n); err != nil {
				return "", nil, err
			}
			if links++; links > maxLinks || len(n.target)+len(rest) > wire.MaxTarget {
				return p, &node{kind: isGone}, nil
			}
			if strings.HasPrefix(n.target, "/") {
				at = "/"
			}
			rest = n.target + "/" + rest
		}
	}
}

// keep makes a folder or a link part of the snapshot, with the folders above it.
func (f *files) keep(p string, n *node) error {
	if n.kept || n.kind != isDir && n.kind != isLink {
		return nil
	}
	if p == "/" {
		n.kept = true
		return nil
	}
	up := path.Dir(p)
	if err := f.keep(up, f.nodes[up]); err != nil || !f.nodes[up].kept {
		return err
	}
	var err error
	if n.kind == isDir {
		err = f.root.Mkdir(p[1:], 0o700)
	} else {
		err = f.root.Symlink(n.target, p[1:])
	}
	n.kept = err == nil
	return f.local(p, err)
}

// take makes a path that was asked for part of the snapshot: a folder with all that is in it, a link with what it leads to.
func (f *files) take(p string, n *node) error {
	switch n.kind {
	case isFile:
		return f.plan(p, n)
	case isDir:
		return f.tree(p, n)
	case isLink:
		p, n, err := f.follow(path.Dir(p), path.Base(p))
		if err != nil || n.kind == isLink {
			return err
		}
		return f.take(p, n)
	}
	return nil
}

// tree takes all that is in a folder. Where its links lead is seen to later.
func (f *files) tree(dir string, n *node) error {
	if n.whole {
		return nil
	}
	n.whole = true
	if err := f.keep(dir, n); err != nil {
		return err
	}
	return f.each(dir, func(p string, n *node) error {
		switch n.kind {
		case isLink:
			f.found = append(f.found, p)
			return f.keep(p, n)
		case isDir:
			return f.tree(p, n)
		case isFile:
			return f.plan(p, n)
		}
		return nil
	})
}

// plan has a file copied later, if there is room for it.
func (f *files) plan(p string, n *node) error {
	if n.kept {
		return nil
	}
	if n.stat.Size > f.budget {
		n.kind = isLeft
		f.leave(p, fmt.Sprintf("its %s are more than what --max-size leaves", Size(n.stat.Size)))
		return nil
	}
	up := path.Dir(p)
	if err := f.keep(up, f.nodes[up]); err != nil || !f.nodes[up].kept {
		return err
	}
	f.budget -= n.stat.Size
	n.kept = true
	f.jobs = append(f.jobs, p)
	return nil
}

// present takes those of the files that are there.
func (f *files) present(paths []string) error {
	for _, p := range paths {
		at, n, err := f.follow("/", p)
		if err == nil && n.kind == isFile {
			err = f.plan(at, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// used takes files that a session has opened. Of a folder it has seen the names, so these are taken, with the files among them.
func (f *files) used(paths []string) error {
	for _, p := range paths {
		at, n, err := f.follow("/", p)
		if err != nil {
			return err
		}
		switch n.kind {
		case isFile:
			err = f.plan(at, n)
		case isDir:
			if err = f.keep(at, n); err == nil && !n.whole {
				err = f.each(at, func(p string, n *node) error {
					if n.kind == isFile {
						return f.plan(p, n)
					}
					return f.keep(p, n)
				})
			}
		case isGone:
			f.leave(p, "it is not there any more")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// glob takes what a pattern matches.
func (f *files) glob(g Glob) error {
	found, err := f.expand(g.text, "/", g.names)
	if err == nil && !found {
		f.leave(g.text, "the pod has nothing of that name")
	}
	return err
}

// expand takes what the rest of a pattern matches below dir, above which there are no links.
func (f *files) expand(glob, dir string, names []string) (found bool, err error) {
	key := fmt.Sprint(glob, "\x00", len(names), "\x00", dir)
	if was, known := f.globbed[key]; known { // several ** lead here by several ways
		return was, nil
	}
	defer func() { f.globbed[key] = found }()
	at, n, err := f.follow(path.Dir(dir), path.Base(dir))
	if err != nil {
		return false, err
	}
	if len(names) == 0 || n.kind == isLeft {
		return true, f.take(at, n)
	}
	if n.kind != isDir {
		return false, nil
	}
	name, rest := names[0], names[1:]
	if name == "**" && len(rest) == 0 {
		return true, f.tree(at, n)
	}
	if name == "**" {
		if found, err = f.expand(glob, at, rest); err != nil {
			return found, err
		}
	}
	if literal, ok := exact(name); ok {
		p := path.Join(at, literal)
		n, err := f.look(p, nil)
		if err != nil || n.kind == isGone {
			return false, err
		}
		return f.expand(glob, p, rest)
	}
	err = f.each(at, func(p string, n *node) error {
		var more bool
		var err error
		if name == "**" {
			if n.kind == isDir {
				more, err = f.expand(glob, p, names)
			}
		} else if ok, _ := path.Match(name, path.Base(p)); ok {
			more, err = f.expand(glob, p, rest)
		}
		found = found || more
		return err
	})
	return found, err
}

// links takes the files that links lead to, and tells of folders that they lead to and that are not taken.
func (f *files) links() error {
	for i := 0; i < len(f.found); i++ { // there may come more
		p := f.found[i]
		at, n, err := f.follow(path.Dir(p), path.Base(p))
		if err != nil {
			return err
		}
		switch n.kind {
		case isFile:
			if err := f.plan(at, n); err != nil {
				return err
			}
		case isDir:
			if !n.whole {
				f.leave(p, "leads to the folder "+at+", which was not asked for")
			}
		}
	}
	return nil
}
