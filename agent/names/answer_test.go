package names

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// full is a pod whose resolver knows other records, too.
type full struct{ pod }

func (f full) Resolver() target.Resolver { return f }

func (full) LookupCNAME(context.Context, string) (string, error) { return "real.example.", nil }
func (full) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "mx.example.", Pref: 10}}, nil
}
func (full) LookupNS(context.Context, string) ([]*net.NS, error) {
	return []*net.NS{{Host: "ns.example."}}, nil
}
func (full) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", []*net.SRV{{Target: "a.example.", Port: 27017, Priority: 1, Weight: 2}}, nil
}
func (full) LookupTXT(context.Context, string) ([]string, error) {
	return []string{strings.Repeat("x", 300)}, nil
}

var resolvable = map[string]any{
	"ip outside.example.": addrs("192.0.2.1", "2001:db8::1"),
	"ip slow.example.":    &net.DNSError{Err: "timeout", IsTimeout: true},
	"ptr 192.0.2.1":       []string{"outside.example."},
	"ip many.example.": func() (l []netip.Addr) {
		for i := range 100 {
			l = append(l, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		return l
	}(),
}

// query makes a query as clients send it; ednsRoom 0 is one without EDNS.
func query(t testing.TB, name string, kind dnsmessage.Type, ednsRoom int) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 4711, RecursionDesired: true})
	b.StartQuestions()
	if err := b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}); err != nil {
		t.Fatal(err)
	}
	if ednsRoom > 0 {
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(ednsRoom, dnsmessage.RCodeSuccess, false)
		b.StartAdditionals()
		b.OPTResource(h, dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 10, Data: []byte("cookie12")}}})
	}
	message, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func ask1(t *testing.T, p target.Target, q []byte, room int) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(Answer(t.Context(), p, q, room)); err != nil {
		t.Fatal(err)
	}
	return m
}

// said is an answer in short.
func said(m dnsmessage.Message) string {
	out := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	if m.Truncated {
		out = append(out, "TC")
	}
	for _, a := range m.Answers {
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(b.AAAA).String())
		case *dnsmessage.PTRResource:
			out = append(out, b.PTR.String())
		case *dnsmessage.CNAMEResource:
			out = append(out, b.CNAME.String())
		case *dnsmessage.MXResource:
			out = append(out, fmt.Sprint(b.Pref, b.MX))
		case *dnsmessage.NSResource:
			out = append(out, b.NS.String())
		case *dnsmessage.SRVResource:
			out = append(out, fmt.Sprint(b.Priority, b.Weight, b.Port, b.Target))
		case *dnsmessage.TXTResource:
			out = append(out, fmt.Sprint(len(strings.Join(b.TXT, ""))))
		}
	}
	return strings.Join(out, " ")
}

func TestAnswer(t *testing.T) {
	nibbles := strings.Repeat("0.", 24) + "0.0.0.0.0.0.d.f.ip6.arpa."
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"inventory.", dnsmessage.TypeA, "Success 10.96.0.7"},
		{"INVENtory.", dnsmessage.TypeA, "Success 10.96.0.7"},
		{"inventory.", dnsmessage.TypeAAAA, "Success"}, // it exists, without an address of that family
		{"db.internal.", dnsmessage.TypeALL, "Success 10.96.0.9 fd00::9"},
		{"six.", dnsmessage.TypeA, "Success"},
		{"cart-7d9f.", dnsmessage.TypeA, "Success 127.0.0.1"},
		{"localhost.", dnsmessage.TypeAAAA, "Success ::1"},
		{"outside.example.", dnsmessage.TypeAAAA, "Success 2001:db8::1"},
		{"nowhere.example.", dnsmessage.TypeA, "NameError"},
		{"slow.example.", dnsmessage.TypeA, "ServerFailure"},
		{".", dnsmessage.TypeA, "NameError"},
		{"7.0.96.10.in-addr.arpa.", dnsmessage.TypePTR, "Success inventory."},
		{"1.2.0.192.in-addr.arpa.", dnsmessage.TypePTR, "Success outside.example."},
		{"9.9.9.9.in-addr.arpa.", dnsmessage.TypePTR, "NameError"},
		{"6" + nibbles[1:], dnsmessage.TypePTR, "Success six."},
		{"x.0.96.10.in-addr.arpa.", dnsmessage.TypePTR, "NotImplemented"},
		{"inventory.", dnsmessage.TypeMX, "Success"},
		{"outside.example.", dnsmessage.TypeMX, "Success 10 mx.example."},
		{"www.example.", dnsmessage.TypeCNAME, "Success real.example."},
		{"example.", dnsmessage.TypeNS, "Success ns.example."},
		{"_mongodb._tcp.example.", dnsmessage.TypeSRV, "Success 1 2 27017 a.example."},
		{"outside.example.", dnsmessage.TypeTXT, "Success 300"},
		{"outside.example.", dnsmessage.TypeSOA, "NotImplemented"},
	} {
		var p target.Target = full{pod{answers: resolvable}}
		m := ask1(t, p, query(t, c.name, c.kind, 0), 0)
		if got := said(m); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.name, c.kind, got, c.want)
		}
		want := dnsmessage.Question{Name: dnsmessage.MustNewName(c.name), Type: c.kind, Class: dnsmessage.ClassINET}
		if m.ID != 4711 || !m.Response || !m.RecursionDesired || !m.RecursionAvailable || len(m.Questions) != 1 || m.Questions[0] != want {
			t.Errorf("%s %v: %+v", c.name, c.kind, m.Header)
		}
	}
	if got := said(ask1(t, pod{}, query(t, "outside.example.", dnsmessage.TypeMX, 0), 0)); got != "NotImplemented" {
		t.Errorf("a resolver that knows only addresses: %s", got)
	}
}

// An answer that is too long for a datagram is cut, and whole over TCP or where the client has more room.
func TestAnswerRoom(t *testing.T) {
	p := pod{answers: resolvable}
	for _, c := range []struct {
		edns, room, answers int
		cut                 bool
	}{{0, 0, 0, true}, {1232, 0, 0, true}, {100, 0, 0, true}, {4096, 0, 100, false}, {0, maxMessage, 100, false}} {
		q := query(t, "many.example.", dnsmessage.TypeA, c.edns)
		m := ask1(t, p, q, c.room)
		if len(m.Answers) != c.answers || m.Truncated != c.cut || (c.edns > 0) != (len(m.Additionals) == 1) {
			t.Errorf("%+v: %d answers, %d additional, cut %v", c, len(m.Answers), len(m.Additionals), m.Truncated)
		}
	}
}

func TestAnswerMalformed(t *testing.T) {
	good := query(t, "inventory.", dnsmessage.TypeA, 0)
	change := func(at int, to byte) []byte {
		q := bytes.Clone(good)
		q[at] = to
		return q
	}
	for name, c := range map[string]struct {
		query []byte
		want  string // "": no answer
	}{
		"empty":           {nil, ""},
		"short":           {good[:11], ""},
		"a response":      {change(2, 0x81), ""},
		"no question":     {change(5, 0), "FormatError"},
		"two questions":   {change(5, 2), "FormatError"},
		"cut":             {good[:len(good)-3], "FormatError"},
		"another opcode":  {change(2, 0x29), "NotImplemented"},
		"another class":   {change(len(good)-1, 3), "Refused"},
		"additional lost": {change(11, 1), "FormatError"},
	} {
		answer := Answer(t.Context(), pod{}, c.query, 0)
		if (answer == nil) != (c.want == "") {
			t.Errorf("%s: %x", name, answer)
			continue
		}
		var m dnsmessage.Message
		if answer == nil {
			continue
		}
		if err := m.Unpack(answer); err != nil || said(m) != c.want || m.ID != 4711 {
			t.Errorf("%s: %v %v, want %s", name, said(m), err, c.want)
		}
	}
}

// Whatever comes, the answer is a message of the right size, or none.
func TestAddresses(t *testing.T) {
	p := full{pod{answers: resolvable}}
	answer := func(name string, kind dnsmessage.Type) []byte {
		return Answer(t.Context(), p, query(t, name, kind, 4096), 0)
	}
	for _, tt := range []struct {
		answer []byte
		want   string
	}{
		{answer("inventory.", dnsmessage.TypeA), "inventory [10.96.0.7]"},
		{answer("inventory.", dnsmessage.TypeA)[:40], "inventory []"},
		{answer("nowhere.", dnsmessage.TypeA), "nowhere []"},
		{answer("7.0.96.10.in-addr.arpa.", dnsmessage.TypePTR), "7.0.96.10.in-addr.arpa []"},
		{query(t, "inventory.", dnsmessage.TypeA, 0), " []"},
		{nil, " []"},
	} {
		if name, addrs := Addresses(tt.answer); fmt.Sprint(name, " ", addrs) != tt.want {
			t.Errorf("%x: %s %v, want %s", tt.answer, name, addrs, tt.want)
		}
	}
	if _, addrs := Addresses(answer("many.example.", dnsmessage.TypeA)); len(addrs) != maxAddresses {
		t.Errorf("%d addresses", len(addrs))
	}
}

func FuzzAddresses(f *testing.F) {
	p := full{pod{answers: resolvable}}
	f.Add(Answer(f.Context(), p, query(f, "inventory.", dnsmessage.TypeA, 0), 0))
	f.Add(Answer(f.Context(), p, query(f, "outside.example.", dnsmessage.TypeAAAA, 0), 0))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, addrs := Addresses(answer); len(addrs) > maxAddresses {
			t.Fatal(len(addrs))
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, q := range [][]byte{
		nil, {0}, query(f, "inventory.", dnsmessage.TypeA, 0), query(f, "db.internal.", dnsmessage.TypeALL, 512),
		query(f, "many.example.", dnsmessage.TypeA, 4096), query(f, "7.0.96.10.in-addr.arpa.", dnsmessage.TypePTR, 0),
		query(f, "outside.example.", dnsmessage.TypeTXT, 0), query(f, "nowhere.", dnsmessage.TypeAAAA, 0)[:20],
	} {
		f.Add(q)
	}
	p := full{pod{answers: resolvable}}
	f.Fuzz(func(t *testing.T, q []byte) {
		answer := Answer(t.Context(), p, q, 0)
		if answer == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil || len(answer) > wire.MaxDatagram || !m.Response || m.ID != binary.BigEndian.Uint16(q) {
			t.Errorf("%x: %x, %v", q, answer, err)
		}
	})
}

// A slow query does not hold up another, and all are answered after the client has closed its direction.
func TestServeStream(t *testing.T) {
	release := make(chan struct{})
	p := slowPod{pod{answers: resolvable}, release}
	a, b := net.Pipe()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); ServeStream(t.Context(), p, half{b, r}) }()
	send := func(q []byte) { w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)) }
	receive := func() string {
		var size [2]byte
		io.ReadFull(a, size[:])
		raw := make([]byte, binary.BigEndian.Uint16(size[:]))
		io.ReadFull(a, raw)
		var m dnsmessage.Message
		if err := m.Unpack(raw); err != nil {
			t.Fatal(err)
		}
		return said(m)
	}
	go func() {
		send(query(t, "wait.example.", dnsmessage.TypeA, 0))
		send(query(t, "inventory.", dnsmessage.TypeA, 0))
		w.Close()
	}()
	got := []string{receive()}
	close(release)
	got = append(got, receive())
	if diff := cmp.Diff([]string{"Success 10.96.0.7", "NameError"}, got); diff != "" {
		t.Error(diff)
	}
	<-done
	a.Close()
}

// half is a connection whose reading direction ends by itself.
type half struct {
	net.Conn
	r io.Reader
}

func (h half) Read(p []byte) (int, error) { return h.r.Read(p) }
func (h half) CloseWrite() error          { return nil }

// slowPod resolves what it does not know only when it may.
type slowPod struct {
	pod
	release chan struct{}
}

func (p slowPod) Resolver() target.Resolver { return p }

func (p slowPod) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	select {
	case <-p.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return p.pod.LookupNetIP(ctx, network, host)
}
