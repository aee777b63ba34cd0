// Package pod is a live pod as a target, seen by an agent that runs in it as a further container (it shares the pod's network, and the processes of the
// container that it stands beside), or in a pod of its own on the same node, from where it enters the target's network. An agent without a target has the network
// of its own pod.
package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mirrord/agent/files"
	"mirrord/agent/links"
	"mirrord/agent/netns"
	"mirrord/agent/startup"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// Options say what the agent stands beside.
type Options struct {
	Name      string // the target's, for people
	Container string // the id that its runtime gave the target's container, without the runtime's name
	Rights    startup.Rights
	// HostNetwork: the target has its node's network, so incoming connections are left alone.
	HostNetwork bool
	Probes      []startup.Probe // of the pod, which go to its own program
	// Environ: this process's own environment holds what the target's specification says, and stands in for that of the target's process where it may not be read.
	Environ bool
}

// Pod is a live pod. It is a target.Target.
type Pod struct {
	name     string
	hostname string           // empty without a target
	process  *process         // nil without a target
	root     *os.File         // nil: lacks says why
	network  *netns.Namespace // nil: the agent's own
	lacks    map[string]string
	ports    *ports            // nil: lacks says why, or there is no target
	env      map[string]string // nil: what the process's environment is when somebody asks
}

// Open finds the target's process, becomes its user and opens its files. What the agent is not allowed to see, the Pod lacks; the error is a
// *WrongUserError where another user is needed to see anything.
func Open(o Options) (*Pod, error) { return open("/proc", o) }

func open(proc string, o Options) (_ *Pod, err error) {
	p := &Pod{name: o.Name, lacks: make(map[string]string)}
	if o.Rights == startup.RightsNone {
		return p, nil
	}
	if p.process, err = findProcess(proc, o.Container, os.Getpid(), o.Rights == startup.RightsNode); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if o.Rights == startup.RightsNode { // of a process that changed its user these are root's to read
		if p.env, err = p.process.environ(); err != nil {
			return nil, err
		}
	}
	if err := p.process.become(o.Rights); err != nil {
		return nil, err
	}
	p.hostname, err = os.Hostname()
	if o.Rights == startup.RightsNode {
		if p.network, err = netns.Open(filepath.Join(p.process.proc.Name(), "ns/net")); err != nil {
			return nil, fmt.Errorf("the network of the target: %w", err)
		}
		if err := p.network.Do(func() error { return nil }); err != nil {
			return nil, err
		}
		p.hostname, err = p.process.hostname()
	}
	if err != nil {
		return nil, err
	}
	if p.root, err = p.process.open("root"); err != nil {
		p.lacks["files"] = why(err)
	}
	if p.env == nil {
		if _, err := p.process.environ(); err != nil && o.Environ {
			p.env = ownEnvironment(os.Environ())
		} else if err != nil {
			p.lacks["env"] = why(err)
		}
	}
	ports, missing := openPorts(p.network, o)
	if missing != nil {
		p.lacks["incoming"] = missing.Error()
	}
	p.ports = ports
	return p, nil
}

// why explains an error of proc.
func why(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "the target's process has rights that the agent was not given (" + err.Error() + ")"
	}
	return err.Error()
}

// Close gives the target its ports back, and closes its files.
func (p *Pod) Close() (err error) {
	if p.ports != nil {
		err = p.ports.close()
	}
	if p.root != nil {
		err = errors.Join(err, p.root.Close())
	}
	if p.process != nil {
		err = errors.Join(err, p.process.close())
	}
	return errors.Join(err, p.network.Close())
}

// Gone is an error when the target's process has ended: what was its root may be pulled from under who looks into it, and its number may be another's.
func (p *Pod) Gone() error {
	if p.process != nil && p.process.ended() {
		return errors.New("the target's process has ended; its container may have been started again, which a new session finds")
	}
	return nil
}

// Name is the one of Options.
func (p *Pod) Name() string { return p.name }

// Hostname is the pod's; empty without a target.
func (p *Pod) Hostname() string { return p.hostname }

// Lacks tells what of env, files and incoming cannot be had here, and why.
func (p *Pod) Lacks() map[string]string { return p.lacks }

// Capabilities is what the agent's rights are enough for.
func (p *Pod) Capabilities() []string {
	all := []string{"names", "outgoing"}
	for _, name := range []string{"env", "files"} {
		if p.process != nil && p.lacks[name] == "" {
			all = append(all, name)
		}
	}
	if p.root != nil {
		if _, err := files.Do(p.root, &wire.Request{Op: wire.OpStat, Path: "/etc/ssl/certs"}); err == nil {
			all = append(all, "certs")
		}
	}
	if p.ports != nil {
		all = append(all, "steal", "mirror")
	}
	return all
}

// Env is the environment of the target's process; without a target it is empty.
func (p *Pod) Env() (map[string]string, error) {
	if p.process == nil || p.env != nil {
		return p.env, nil
	}
	env, err := p.process.environ()
	if err != nil {
		return nil, fmt.Errorf("the environment of the target's process: %s", why(err))
	}
	return env, nil
}

// Root is the file system as the target's process sees it, with its mounts; nil if it may not be seen.
func (p *Pod) Root() *os.File { return p.root }

// Hosts is what the target's /etc/hosts says now.
func (p *Pod) Hosts() map[string][]netip.Addr {
	return parseHosts(bytes.NewReader(p.read("/etc/hosts")))
}

// Resolver asks the name servers of the target's /etc/resolv.conf, as that is now.
func (p *Pod) Resolver() target.Resolver {
	return &resolver{config: p.resolvConf(), dial: p.dial}
}

func (p *Pod) resolvConf() config {
	return parseResolvConf(bytes.NewReader(p.read("/etc/resolv.conf")))
}

// maxResolverFile bounds hosts and resolv.conf, in bytes.
const maxResolverFile = 1 << 20

// read reads a small file of the target, or the agent's own where the target's may not be seen: the kubelet gives the same to every container of a pod.
// Nothing is read where there is none.
func (p *Pod) read(path string) []byte {
	if p.root == nil {
		raw, _ := os.ReadFile(path)
		return raw
	}
	raw, _ := files.Read(p.root, path, maxResolverFile)
	return raw
}

// Dial connects from the pod's network.
func (p *Pod) Dial(ctx context.Context, addr netip.AddrPort) (links.Conn, error) {
	conn, err := p.dial(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// DialDatagrams is Dial for UDP. The unspecified address with port 53 is the first name server.
func (p *Pod) DialDatagrams(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, error) {
	if addr.Addr().IsUnspecified() && addr.Port() == namePort {
		addr = p.resolvConf().servers[0]
	}
	conn, err := p.dial(ctx, "udp", addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// DialUnix connects as the target's program would: what its file system has at the path, or the pod's network under the abstract name.
func (p *Pod) DialUnix(ctx context.Context, name string, wait bool) (links.Conn, error) {
	if reason := p.lacks["files"]; reason != "" && !strings.HasPrefix(name, "@") {
		return nil, fmt.Errorf("%s: %s: %w", name, reason, syscall.EACCES)
	}
	return target.DialUnix(ctx, p.dial, p.root, name, wait)
}

// dial takes an address without a name in it, which net dials on the thread that asks.
func (p *Pod) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	// As a program's own connect: no keepalive that it has not asked for.
	dialer := net.Dialer{KeepAlive: -1}
	err = p.network.Do(func() (err error) {
		conn, err = dialer.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// IsNameServer is false: the pod has real ones.
func (p *Pod) IsNameServer(string, netip.AddrPort) bool { return false }
