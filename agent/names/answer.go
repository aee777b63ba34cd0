package names

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// Sizes of messages in bytes: what a datagram may have when the client says nothing (RFC 1035), what we offer and accept with EDNS (RFC 6891; the
// number is that of the DNS flag day 2020), and what TCP carries.
const (
	plainRoom  = 512
	edns       = 1232
	maxMessage = 65535
)

// ttl of every answer in seconds: pod.yaml may change with the next session.
const ttl = 5

// records is what a resolver may know beyond Resolver; net.Resolver does.
type records interface {
	LookupCNAME(ctx context.Context, host string) (string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNS(ctx context.Context, name string) ([]*net.NS, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Answer answers a DNS query as the target's name server: A, AAAA and PTR from what Lookup and Reverse know, other records from the target's
// resolver. room is what the answer may have in bytes, 0 for what the query says; an answer that is longer is cut as a server would, so that the
// client asks again over TCP. nil: what came is no query, and deserves no answer.
func Answer(ctx context.Context, t target.Target, query []byte, room int) []byte {
	var p dnsmessage.Parser
	asked, err := p.Start(query)
	if err != nil || asked.Response {
		return nil
	}
	r := reply{header: dnsmessage.Header{
		ID: asked.ID, Response: true, OpCode: asked.OpCode, RecursionDesired: asked.RecursionDesired, RecursionAvailable: true,
	}}
	questions, err := p.AllQuestions()
	switch {
	case asked.OpCode != 0:
		r.header.RCode = dnsmessage.RCodeNotImplemented
		return r.pack(plainRoom)
	case err != nil || len(questions) != 1:
		r.header.RCode = dnsmessage.RCodeFormatError
		return r.pack(plainRoom)
	}
	r.question = &questions[0]
	limit := plainRoom
	if limit, r.edns, err = clientRoom(&p); err != nil {
		r.header.RCode = dnsmessage.RCodeFormatError
		return r.pack(plainRoom)
	}
	if room > 0 {
		limit = room
	}
	r.header.RCode, r.answers = resolve(ctx, t, questions[0])
	return r.pack(limit)
}

// Question returns the name that a query asks about, with its final dot; false for what is no query with one question.
func Question(query []byte) (name string, ok bool) {
	var p dnsmessage.Parser
	asked, err := p.Start(query)
	if err != nil || asked.Response {
		return "", false
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return "", false
	}
	return questions[0].Name.String(), true
}

// maxAddresses bounds what one answer tells.
const maxAddresses = 64

// Addresses returns the name that was asked for, without its final dot, and the addresses that an answer gives to it, or to what it is another name of. There are none
// in what is no whole answer to one question.
func Addresses(answer []byte) (name string, addrs []netip.Addr) {
	var p dnsmessage.Parser
	told, err := p.Start(answer)
	if err != nil || !told.Response {
		return "", nil
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return "", nil
	}
	for len(addrs) < maxAddresses {
		r, err := p.Answer()
		if err != nil {
			break
		}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			addrs = append(addrs, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addrs = append(addrs, netip.AddrFrom16(body.AAAA).Unmap())
		}
	}
	return strings.TrimSuffix(questions[0].Name.String(), "."), addrs
}

// clientRoom reads how long an answer the client takes as a datagram.
func clientRoom(p *dnsmessage.Parser) (room int, edns bool, err error) {
	if err := errors.Join(p.SkipAllAnswers(), p.SkipAllAuthorities()); err != nil {
		return 0, false, err
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return plainRoom, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		if h.Type == dnsmessage.TypeOPT { // its class is the size, RFC 6891
			return max(plainRoom, min(int(h.Class), wire.MaxDatagram)), true, nil
		}
		if err := p.SkipAdditional(); err != nil {
			return 0, false, err
		}
	}
}

// reply is an answer before it is packed.
type reply struct {
	header   dnsmessage.Header
	question *dnsmessage.Question // nil: there was none that could be read
	answers  []dnsmessage.ResourceBody
	edns     bool
}

// pack makes a message of at most room bytes.
func (r *reply) pack(room int) []byte {
	message, err := r.build()
	if err == nil && len(message) <= room {
		return message
	}
	cut := *r
	cut.answers = nil
	if cut.header.Truncated = err == nil; err != nil { // the resolver's answer has what no message can
		cut.header.RCode = dnsmessage.RCodeServerFailure
	}
	message, _ = cut.build()
	return message
}

func (r *reply) build() ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainRoom), r.header)
	b.EnableCompression()
	if r.question != nil {
		err := errors.Join(b.StartQuestions(), b.Question(*r.question), b.StartAnswers())
		for _, body := range r.answers {
			err = errors.Join(err, addTo(&b, dnsmessage.ResourceHeader{Name: r.question.Name, Class: dnsmessage.ClassINET, TTL: ttl}, body))
		}
		if r.edns {
			var h dnsmessage.ResourceHeader
			err = errors.Join(err, b.StartAdditionals(), h.SetEDNS0(edns, dnsmessage.RCodeSuccess, false), b.OPTResource(h, dnsmessage.OPTResource{}))
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

func addTo(b *dnsmessage.Builder, h dnsmessage.ResourceHeader, body dnsmessage.ResourceBody) error {
	switch body := body.(type) {
	case *dnsmessage.AResource:
		return b.AResource(h, *body)
	case *dnsmessage.AAAAResource:
		return b.AAAAResource(h, *body)
	case *dnsmessage.PTRResource:
		return b.PTRResource(h, *body)
	case *dnsmessage.CNAMEResource:
		return b.CNAMEResource(h, *body)
	case *dnsmessage.MXResource:
		return b.MXResource(h, *body)
	case *dnsmessage.NSResource:
		return b.NSResource(h, *body)
	case *dnsmessage.SRVResource:
		return b.SRVResource(h, *body)
	case *dnsmessage.TXTResource:
		return b.TXTResource(h, *body)
	}
	return errors.ErrUnsupported
}

// resolve answers one question.
func resolve(ctx context.Context, t target.Target, q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody) {
	name := q.Name.String()
	if q.Class != dnsmessage.ClassINET && q.Class != dnsmessage.ClassANY {
		return dnsmessage.RCodeRefused, nil
	}
	if q.Type == dnsmessage.TypePTR {
		if addr, ok := addressIn(name); ok {
			found, err := Reverse(ctx, t, &wire.Request{Addr: netip.AddrPortFrom(addr, 0)})
			if err != nil {
				return rcode(err), nil
			}
			owner, err := nameOf(found.Name)
			if err != nil {
				return dnsmessage.RCodeServerFailure, nil
			}
			return dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: owner}}
		}
	}
	switch q.Type {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeALL:
		return addresses(ctx, t, name, q.Type)
	}
	if known(t, strings.ToLower(strings.TrimSuffix(name, "."))) != nil {
		return dnsmessage.RCodeSuccess, nil
	}
	resolver, ok := t.Resolver().(records)
	if !ok {
		return dnsmessage.RCodeNotImplemented, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	return others(ctx, resolver, name, q.Type)
}

func addresses(ctx context.Context, t target.Target, name string, kind dnsmessage.Type) (dnsmessage.RCode, []dnsmessage.ResourceBody) {
	family := map[dnsmessage.Type]uint8{dnsmessage.TypeA: 4, dnsmessage.TypeAAAA: 6}[kind]
	found, err := Lookup(ctx, t, &wire.Request{Name: name, Family: family})
	if err != nil {
		return rcode(err), nil
	}
	var out []dnsmessage.ResourceBody
	for _, a := range found.Addrs {
		if a.Is4() {
			out = append(out, &dnsmessage.AResource{A: a.As4()})
		} else {
			out = append(out, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	return dnsmessage.RCodeSuccess, out
}

// others asks for the kinds of records that programs ask for beside addresses.
func others(ctx context.Context, r records, name string, kind dnsmessage.Type) (dnsmessage.RCode, []dnsmessage.ResourceBody) {
	var out []dnsmessage.ResourceBody
	var err error
	target := func(host string) dnsmessage.Name {
		n, wrong := nameOf(host)
		err = errors.Join(err, wrong)
		return n
	}
	switch kind {
	case dnsmessage.TypeCNAME:
		var host string
		if host, err = r.LookupCNAME(ctx, name); err == nil && !strings.EqualFold(strings.TrimSuffix(host, "."), strings.TrimSuffix(name, ".")) {
			out = append(out, &dnsmessage.CNAMEResource{CNAME: target(host)})
		}
	case dnsmessage.TypeMX:
		var found []*net.MX
		found, err = r.LookupMX(ctx, name)
		for _, mx := range found {
			out = append(out, &dnsmessage.MXResource{Pref: mx.Pref, MX: target(mx.Host)})
		}
	case dnsmessage.TypeNS:
		var found []*net.NS
		found, err = r.LookupNS(ctx, name)
		for _, ns := range found {
			out = append(out, &dnsmessage.NSResource{NS: target(ns.Host)})
		}
	case dnsmessage.TypeSRV:
		var found []*net.SRV
		_, found, err = r.LookupSRV(ctx, "", "", name)
		for _, s := range found {
			out = append(out, &dnsmessage.SRVResource{Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: target(s.Target)})
		}
	case dnsmessage.TypeTXT:
		var found []string
		found, err = r.LookupTXT(ctx, name)
		for _, text := range found {
			var parts []string
			for part := range slices.Chunk([]byte(text), 255) {
				parts = append(parts, string(part))
			}
			out = append(out, &dnsmessage.TXTResource{TXT: parts})
		}
	default:
		return dnsmessage.RCodeNotImplemented, nil
	}
	if err != nil {
		return rcode(failure(err)), nil
	}
	return dnsmessage.RCodeSuccess, out
}

// nameOf makes a name of a message; the error tells one that none can hold.
func nameOf(host string) (dnsmessage.Name, error) {
	return dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
}

// rcode is how DNS says what a lookup met. A name without the wanted record is no error there.
func rcode(err error) dnsmessage.RCode {
	var failed *wire.Error
	if errors.As(err, &failed) {
		switch failed.Errno {
		case wire.ErrnoNoData:
			return dnsmessage.RCodeSuccess
		case wire.ErrnoNotFound:
			return dnsmessage.RCodeNameError
		}
	}
	return dnsmessage.RCodeServerFailure
}

// addressIn reads the address of a name that is asked for its owner: 7.0.96.10.in-addr.arpa, or 32 hexadecimal digits below ip6.arpa (RFC 3596).
func addressIn(name string) (netip.Addr, bool) {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(name, ".")), ".")
	n := len(labels)
	switch {
	case n == 6 && labels[4] == "in-addr" && labels[5] == "arpa":
		slices.Reverse(labels[:4])
		for _, l := range labels[:4] {
			if _, err := strconv.ParseUint(l, 10, 8); err != nil {
				return netip.Addr{}, false
			}
		}
		addr, err := netip.ParseAddr(strings.Join(labels[:4], "."))
		return addr, err == nil
	case n == 34 && labels[32] == "ip6" && labels[33] == "arpa":
		slices.Reverse(labels[:32])
		raw, err := hex.DecodeString(strings.Join(labels[:32], ""))
		if err != nil || len(raw) != 16 {
			return netip.Addr{}, false
		}
		return netip.AddrFrom16([16]byte(raw)), true
	}
	return netip.Addr{}, false
}
