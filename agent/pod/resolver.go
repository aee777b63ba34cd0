package pod

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds and defaults of resolv.conf, as resolv.conf(5) has them.
const (
	maxServers     = 3
	maxNdots       = 15
	maxTimeout     = 30
	maxAttempts    = 5
	defaultTimeout = 5 * time.Second
	namePort       = 53
)

// config is a resolv.conf.
type config struct {
	servers  []netip.AddrPort
	search   []string // without dots at the ends
	ndots    int
	timeout  time.Duration // of one query to one server
	attempts int           // rounds through the servers
}

// parseResolvConf reads what it can; what is wrong is left out, as libc does.
func parseResolvConf(r io.Reader) config {
	c := config{ndots: 1, timeout: defaultTimeout, attempts: 2}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || strings.ContainsAny(words[0][:1], "#;") {
			continue
		}
		switch words[0] {
		case "nameserver":
			if addr, err := netip.ParseAddr(words[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, netip.AddrPortFrom(addr, namePort))
			}
		case "domain", "search": // the last of them counts
			c.search = nil
			for _, domain := range words[1:] {
				if domain = strings.Trim(domain, "."); domain != "" && (words[0] == "search" || c.search == nil) {
					c.search = append(c.search, domain)
				}
			}
		case "options":
			for _, option := range words[1:] {
				c.option(option)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), namePort)}
	}
	return c
}

func (c *config) option(option string) {
	name, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return
	}
	switch name {
	case "ndots":
		c.ndots = min(n, maxNdots)
	case "timeout":
		c.timeout = time.Duration(max(1, min(n, maxTimeout))) * time.Second
	case "attempts":
		c.attempts = max(1, min(n, maxAttempts))
	}
}

// candidates are the full names to try for a name, in the order of resolv.conf(5): one that ends with a dot, or has as many dots as ndots, stands for itself
// first.
func (c *config) candidates(name string) (all []string) {
	if rooted, ok := strings.CutSuffix(name, "."); ok {
		return []string{rooted + "."}
	}
	for _, domain := range c.search {
		all = append(all, name+"."+domain+".")
	}
	if strings.Count(name, ".") >= c.ndots {
		return slices.Insert(all, 0, name+".")
	}
	return append(all, name+".")
}

// parseHosts reads an /etc/hosts, with names in lower case.
func parseHosts(r io.Reader) map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if !slices.Contains(hosts[name], addr) {
				hosts[name] = append(hosts[name], addr)
			}
		}
	}
	return hosts
}

// resolver asks name servers as libc does. It is a target.Resolver.
type resolver struct {
	config config
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

// LookupNetIP asks for A and AAAA records side by side, whatever network says. A name that exists without an address has none and no error.
func (r *resolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	exists, unsure := false, false
	for _, name := range r.config.candidates(host) {
		addrs, err := r.addresses(ctx, name)
		var dns *net.DNSError
		switch {
		case err == nil && len(addrs) > 0:
			return addrs, nil
		case err == nil:
			exists = true
		case errors.As(err, &dns) && dns.IsNotFound:
		case errors.As(err, &dns) && dns.IsTemporary && !dns.IsTimeout: // this server cannot tell of this name, but perhaps of the next
			unsure = true
		default:
			return nil, err
		}
	}
	switch {
	case exists:
		return nil, nil
	case unsure:
		return nil, &net.DNSError{Err: "the name server failed", Name: host, IsTemporary: true}
	}
	return nil, notFound(host)
}

func (r *resolver) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	var answers [2][]dnsmessage.Resource
	var errs [2]error
	var asking sync.WaitGroup
	for i, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		asking.Go(func() { answers[i], errs[i] = r.query(ctx, name, kind) })
	}
	asking.Wait()
	var addrs []netip.Addr
	for _, a := range slices.Concat(answers[0], answers[1]) {
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			addrs = append(addrs, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addrs = append(addrs, netip.AddrFrom16(body.AAAA))
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	return nil, errors.Join(errs[:]...)
}

// LookupAddr asks for the names of an address.
func (r *resolver) LookupAddr(ctx context.Context, text string) (names []string, err error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return nil, notFound(text)
	}
	answers, err := r.query(ctx, reverseName(addr), dnsmessage.TypePTR)
	for _, a := range answers {
		if body, ok := a.Body.(*dnsmessage.PTRResource); ok {
			names = append(names, body.PTR.String())
		}
	}
	return names, err
}

// reverseName is where the names of an address are: RFC 1035, section 3.5, and RFC 3596, section 2.5.
func reverseName(addr netip.Addr) string {
	var b strings.Builder
	raw := addr.Unmap().AsSlice()
	for _, octet := range slices.Backward(raw) {
		if len(raw) == 4 {
			b.WriteString(strconv.Itoa(int(octet)) + ".")
		} else {
			const hex = "0123456789abcdef"
			b.Write([]byte{hex[octet&15], '.', hex[octet>>4], '.'})
		}
	}
	if len(raw) == 4 {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: strings.TrimSuffix(name, "."), IsNotFound: true}
}

// query asks one server after the other, each with a time of its own, until one knows. The error is a *net.DNSError.
func (r *resolver) query(ctx context.Context, name string, kind dnsmessage.Type) ([]dnsmessage.Resource, error) {
	full, err := dnsmessage.NewName(name)
	question := dnsmessage.Question{Name: full, Type: kind, Class: dnsmessage.ClassINET}
	if err == nil {
		_, err = newQuery(question).Pack()
	}
	if err != nil {
		return nil, notFound(name) // no name that could exist
	}
	var last error
	for range r.config.attempts {
		for _, server := range r.config.servers {
			answer, err := r.ask(ctx, server, question)
			switch {
			case ctx.Err() != nil:
				return nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: true, IsTemporary: true}
			case err != nil:
				last = &net.DNSError{Err: err.Error(), Name: name, Server: server.String(), IsTimeout: isTimeout(err), IsTemporary: true}
			case answer.RCode == dnsmessage.RCodeSuccess:
				return answer.Answers, nil
			case answer.RCode == dnsmessage.RCodeNameError:
				return nil, notFound(name)
			default:
				last = &net.DNSError{Err: "the name server failed", Name: name, Server: server.String(), IsTemporary: true}
			}
		}
	}
	return nil, last
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// ask sends one query as a datagram, and over TCP when the answer did not fit.
func (r *resolver) ask(ctx context.Context, server netip.AddrPort, question dnsmessage.Question) (*dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.timeout)
	defer cancel()
	query := newQuery(question)
	answer, err := r.askOver(ctx, "udp", server, query)
	if err == nil && answer.Truncated {
		return r.askOver(ctx, "tcp", server, query)
	}
	return answer, err
}

func newQuery(question dnsmessage.Question) *dnsmessage.Message {
	return &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions: []dnsmessage.Question{question},
	}
}

func (r *resolver) askOver(ctx context.Context, network string, server netip.AddrPort, query *dnsmessage.Message) (*dnsmessage.Message, error) {
	packed, err := query.Pack()
	if err != nil {
		return nil, err
	}
	conn, err := r.dial(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	return exchange(conn, network == "tcp", packed, query)
}

// exchange sends a query and waits for its answer; others, late or forged, are passed over.
func exchange(conn net.Conn, stream bool, packed []byte, query *dnsmessage.Message) (*dnsmessage.Message, error) {
	buf := make([]byte, 64<<10)
	if stream { // RFC 1035, section 4.2.2
		packed = append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	for {
		n := 0
		var err error
		if stream {
			if _, err = io.ReadFull(conn, buf[:2]); err == nil {
				n, err = io.ReadFull(conn, buf[:int(buf[0])<<8|int(buf[1])])
			}
		} else {
			n, err = conn.Read(buf)
		}
		if err != nil {
			return nil, err
		}
		var answer dnsmessage.Message
		err = answer.Unpack(buf[:n])
		if err == nil && answer.Response && answer.ID == query.ID && len(answer.Questions) == 1 && same(answer.Questions[0], query.Questions[0]) {
			return &answer, nil
		}
		if stream {
			return nil, errors.New("the name server answers something else")
		}
	}
}

func same(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}
