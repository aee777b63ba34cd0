package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/redirect"
	"mirrord/agent/sockdiag"
	"mirrord/agent/startup"
	"mirrord/agent/target"
)

// leaveTime limits how long an agent that ends waits for the connections that it has passed on to the target's own program.
const leaveTime = 5 * time.Second

// ports are those of the pod whose connections come to the agent: as long as somebody steals or mirrors them.
type ports struct {
	network redirect.Network
	probes  probes

	mu       sync.Mutex
	redirect *redirect.Redirect // nil until it is needed
	open     map[uint16]*port
	all      map[*port]struct{} // and those that are left to their last connections
	ending   sync.WaitGroup     // of those
	closed   bool
}

// port is one that is open.
type port struct {
	*target.Port
	users int
	hold  io.Closer // nil where several processes may have the port
}

// openPorts looks whether the agent may have incoming connections.
func openPorts(n redirect.Network, o Options) (*ports, error) {
	if o.HostNetwork {
		return nil, errors.New("the pod has its node's network, where all ports are the node's")
	}
	r, err := redirect.Open(n)
	if err != nil {
		return nil, err
	}
	return &ports{network: n, probes: groupProbes(o.Probes), open: make(map[uint16]*port), all: make(map[*port]struct{})}, r.Close()
}

// source is what redirect gives, as a target.Source.
type source struct {
	redirect *redirect.Redirect
	probes   []startup.Probe // of the port
	*redirect.Listener
}

// Accept is of target.Source.
func (s *source) Accept() (target.Arrival, error) {
	conn, origin, err := s.Listener.Accept()
	if err != nil {
		return target.Arrival{}, err
	}
	dial := func(ctx context.Context) (links.Conn, error) { return s.redirect.Dial(ctx, origin) }
	a := target.Arrival{Conn: conn, Local: origin.Local, Remote: origin.Remote, Dial: dial}
	if len(s.probes) > 0 {
		a.Own = func(ctx context.Context) bool { return isProbe(ctx, conn, s.probes) }
	}
	return a, nil
}

// subscribe has begin use the port, which is opened for the first user.
func (p *ports) subscribe(number uint16, steal bool, user string, begin func(*target.Port) (io.Closer, error)) (io.Closer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if p.redirect == nil {
		opened, err := redirect.Open(p.network)
		if err != nil {
			return nil, err
		}
		p.redirect = opened
	}
	s := &subscription{ports: p, number: number}
	if err := s.begin(steal, user, begin); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

var errClosed = fmt.Errorf("the agent is ending: %w", syscall.ECANCELED)

// subscription is one user of a port.
type subscription struct {
	ports  *ports
	number uint16
	steals bool
	hold   io.Closer // the port, for the only thief; may be nil
	port   *port
	using  io.Closer
}

// begin and end are called with ports.mu held.
func (s *subscription) begin(steal bool, user string, begin func(*target.Port) (io.Closer, error)) (err error) {
	p := s.ports
	if steal && p.redirect.Shared() {
		if s.hold, err = p.redirect.Hold(s.number, "stolen by "+user); err != nil {
			return err
		}
	}
	opened := p.open[s.number]
	if opened == nil {
		if opened, err = p.listen(s.number, user); err != nil {
			return err
		}
	}
	opened.users++
	s.port = opened
	if s.using, err = begin(opened.Port); err != nil || !steal {
		return err
	}
	s.steals = true
	return p.redirect.Steals(s.number, true)
}

// listen opens a port.
func (p *ports) listen(number uint16, user string) (*port, error) {
	opened := new(port)
	if !p.redirect.Shared() {
		var err error
		if opened.hold, err = p.redirect.Hold(number, "taken by "+user); err != nil {
			return nil, err
		}
	}
	l, err := p.redirect.Listen(number)
	if err != nil {
		if opened.hold != nil {
			opened.hold.Close()
		}
		return nil, err
	}
	opened.Port = target.OpenPort(&source{p.redirect, p.probes[number], l})
	p.open[number] = opened
	p.all[opened] = struct{}{}
	return opened, nil
}

func (s *subscription) end() error {
	p := s.ports
	var errs []error
	if s.using != nil {
		errs = append(errs, s.using.Close())
	}
	if s.steals {
		errs = append(errs, p.redirect.Steals(s.number, false))
	}
	if s.port != nil {
		if s.port.users--; s.port.users == 0 {
			errs = append(errs, s.port.Stop())
			if s.port.hold != nil {
				errs = append(errs, s.port.hold.Close())
			}
			delete(p.open, s.number)
			p.ending.Go(func() { p.forget(s.port) })
		}
	}
	if s.hold != nil {
		errs = append(errs, s.hold.Close())
	}
	return errors.Join(errs...)
}

// Close gives the port back, if nobody else uses it.
func (s *subscription) Close() error {
	s.ports.mu.Lock()
	defer s.ports.mu.Unlock()
	return s.end()
}

// forget lets a port go that has no users, when its last connection has ended.
func (p *ports) forget(last *port) {
	last.Wait(context.Background())
	p.mu.Lock()
	delete(p.all, last)
	p.mu.Unlock()
}

// close gives all ports back, and returns when the connections that were passed on have ended, or have been broken after leaveTime.
func (p *ports) close() error {
	p.mu.Lock()
	p.closed = true
	var errs []error
	var all []*port
	for one := range p.all {
		errs = append(errs, one.Stop())
		all = append(all, one)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	for _, one := range all {
		one.Wait(ctx)
	}
	for _, one := range all {
		errs = append(errs, one.Close())
	}
	p.ending.Wait()
	if p.redirect != nil {
		errs = append(errs, p.redirect.Close())
	}
	return errors.Join(errs...)
}

// maxListed is how many ports are told of. Ephemeral ones are not: nobody has chosen them, and the agents' own are among them.
const (
	maxListed = 5
	ephemeral = 32768 // the first of net.ipv4.ip_local_port_range, if nobody has changed that
)

// Unserved is of target.Observant: whoever is to get what comes to a port may have meant another.
func (p *Pod) Unserved(number uint16, _ bool) string {
	if p.ports == nil {
		return ""
	}
	var all []uint16
	err := p.ports.network.Do(func() error {
		return sockdiag.Each(sockdiag.Listen, 0, func(s sockdiag.Socket) { all = append(all, s.Local.Port()) })
	})
	if err != nil || slices.Contains(all, number) {
		return ""
	}
	return fmt.Sprintf("nothing in the pod listens on port %d%s", number, others(all))
}

// others tells of the ports that somebody has chosen.
func others(all []uint16) string {
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(port uint16) bool { return port >= ephemeral })
	var words []string
	for _, port := range all[:min(len(all), maxListed)] {
		words = append(words, strconv.Itoa(int(port)))
	}
	switch more := len(all) - len(words); {
	case len(words) == 0:
		return ""
	case more > 0:
		return fmt.Sprintf("; its programs listen on %s and %d more", strings.Join(words, ", "), more)
	}
	return "; its programs listen on " + strings.Join(words, ", ")
}

// errIncoming is why no connection can be stolen or mirrored.
func (p *Pod) errIncoming() error {
	if p.process == nil {
		return fmt.Errorf("an agent without a target has no ports: %w", syscall.EOPNOTSUPP)
	}
	return fmt.Errorf("incoming connections: %s: %w", p.lacks["incoming"], syscall.EOPNOTSUPP)
}

// Steal takes any port of the pod, whether a program listens there or not.
func (p *Pod) Steal(number uint16, user string, take func(target.Incoming) bool) (io.Closer, error) {
	if p.ports == nil {
		return nil, p.errIncoming()
	}
	return p.ports.subscribe(number, true, user, func(port *target.Port) (io.Closer, error) { return port.Steal(take) })
}

// Mirror watches any port of the pod.
func (p *Pod) Mirror(number uint16, user string, see func(*target.Copy)) (io.Closer, error) {
	if p.ports == nil {
		return nil, p.errIncoming()
	}
	return p.ports.subscribe(number, false, user, func(port *target.Port) (io.Closer, error) { return port.Mirror(see) })
}
