package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The messages of nfnetlink and nf_tables are those of linux/netfilter/nfnetlink.h and nf_tables.h. Written by hand they are less than what a library
// takes that could ask for an owner.

// message is one request about tables, chains or rules.
type message struct {
	kind  uint16 // NFT_MSG_*
	flags uint16 // NLM_F_*, beside those that all have
	body  []byte // attributes
}

// refusedError is the kernel's answer to one message of a batch.
type refusedError struct {
	kind  uint16 // the message's; that of a batch's own frame is NFNL_MSG_BATCH_BEGIN
	errno unix.Errno
}

func (e *refusedError) Error() string { return e.errno.Error() }
func (e *refusedError) Unwrap() error { return e.errno }

// commit has the kernel carry out all messages, or none. It answers before the call that sends them returns. The error is a *refusedError if the kernel refused one.
func commit(socket int, messages ...message) error {
	batch := packet(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	for i, m := range messages {
		batch = append(batch, packet(unix.NFNL_SUBSYS_NFTABLES<<8|m.kind, m.flags|unix.NLM_F_ACK, uint32(i+1), unix.NFPROTO_INET, 0, m.body)...)
	}
	batch = append(batch, packet(unix.NFNL_MSG_BATCH_END, 0, uint32(len(messages)+1), unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)...)
	if err := unix.Sendto(socket, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var first error
	for answers, buf := 0, make([]byte, 8<<10); ; answers++ {
		n, _, err := unix.Recvfrom(socket, buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN && answers == 0:
			return errors.New("the kernel does not answer")
		case err == unix.EAGAIN:
			return first
		case err != nil:
			return err
		}
		parsed, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range parsed {
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				return fmt.Errorf("the kernel answers with a message of type %d", m.Header.Type)
			}
			errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			if errno == 0 || first != nil {
				continue
			}
			refused := &refusedError{kind: unix.NFNL_MSG_BATCH_BEGIN, errno: errno}
			if i := int(m.Header.Seq); i > 0 && i <= len(messages) {
				refused.kind = messages[i-1].kind
			}
			first = refused
		}
	}
}

// packet is one message of netlink with the header that all of netfilter's have.
func packet(kind, flags uint16, seq uint32, family byte, resource uint16, body []byte) []byte {
	p := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+4+len(body)))
	p = binary.NativeEndian.AppendUint16(p, kind)
	p = binary.NativeEndian.AppendUint16(p, unix.NLM_F_REQUEST|flags)
	p = binary.NativeEndian.AppendUint32(p, seq)
	p = binary.NativeEndian.AppendUint32(p, 0) // the sender: the kernel knows
	p = append(p, family, unix.NFNETLINK_V0)
	p = binary.BigEndian.AppendUint16(p, resource)
	return append(p, body...) // a multiple of 4 bytes
}

// attr is one attribute. Its value is the parts one after the other.
func attr(kind uint16, parts ...[]byte) []byte {
	value := slices.Concat(parts...)
	a := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	a = binary.NativeEndian.AppendUint16(a, kind)
	a = append(a, value...)
	return append(a, make([]byte, -len(a)&3)...)
}

// nest is an attribute of attributes.
func nest(kind uint16, attrs ...[]byte) []byte { return attr(kind|unix.NLA_F_NESTED, attrs...) }

// number is an attribute whose value is a number in nf_tables' order.
func number(kind uint16, n uint32) []byte { return attr(kind, binary.BigEndian.AppendUint32(nil, n)) }

// text is an attribute whose value is a string.
func text(kind uint16, s string) []byte { return attr(kind, []byte(s), []byte{0}) }

// tableOwner is NFT_TABLE_F_OWNER: the table ends with the socket that made it.
const tableOwner = 2

// nftTable makes a table that redirects what begins a connection to the port to another, which each family (NFPROTO_*) has in to.
func nftTable(name string, port uint16, to map[byte]uint16) []message {
	// EXCL: without it, a table that is there is as good.
	all := []message{{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE | unix.NLM_F_EXCL, slices.Concat(text(unix.NFTA_TABLE_NAME, name), number(unix.NFTA_TABLE_FLAGS, tableOwner))}}
	for _, hook := range []struct {
		chain  string
		number uint32
	}{{"prerouting", unix.NF_INET_PRE_ROUTING}, {"output", unix.NF_INET_LOCAL_OUT}} { // from outside, from the pod itself
		priority := int32(nftPriority)
		all = append(all, message{unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, slices.Concat(
			text(unix.NFTA_CHAIN_TABLE, name),
			text(unix.NFTA_CHAIN_NAME, hook.chain),
			nest(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, hook.number), number(unix.NFTA_HOOK_PRIORITY, uint32(priority))),
			text(unix.NFTA_CHAIN_TYPE, "nat"))})
		for family, listener := range to {
			all = append(all, message{unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_APPEND, slices.Concat(
				text(unix.NFTA_RULE_TABLE, name),
				text(unix.NFTA_RULE_CHAIN, hook.chain),
				nest(unix.NFTA_RULE_EXPRESSIONS, redirection(family, port, listener)...))})
		}
	}
	return all
}

// nftDelete takes a table away, with all that is in it.
func nftDelete(name string) message {
	return message{unix.NFT_MSG_DELTABLE, 0, text(unix.NFTA_TABLE_NAME, name)}
}

// redirection is, in nft's words: meta nfproto FAMILY meta mark != MARK meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn tcp dport PORT fib daddr type local
// dnat to :LISTENER. Connections to other hosts pass the output hook too, and those that the pod forwards the other. The address stays: nft's redirect would replace it by
// one of the interface's, which link-local clients in the pod do not reach.
func redirection(family byte, port, listener uint16) [][]byte {
	const fin, syn, rst, ack = 1, 2, 4, 16
	return [][]byte{
		meta(unix.NFT_META_NFPROTO), compare(unix.NFT_CMP_EQ, family),
		meta(unix.NFT_META_MARK), compare(unix.NFT_CMP_NEQ, binary.NativeEndian.AppendUint32(nil, nftMark)...),
		meta(unix.NFT_META_L4PROTO), compare(unix.NFT_CMP_EQ, unix.IPPROTO_TCP),
		tcp(13, 1),
		expression("bitwise", number(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_LEN, 1),
			value(unix.NFTA_BITWISE_MASK, fin|syn|rst|ack), value(unix.NFTA_BITWISE_XOR, 0)),
		compare(unix.NFT_CMP_EQ, syn),
		tcp(2, 2), compare(unix.NFT_CMP_EQ, portBytes(port)...),
		expression("fib", number(unix.NFTA_FIB_DREG, unix.NFT_REG_1), number(unix.NFTA_FIB_RESULT, unix.NFT_FIB_RESULT_ADDRTYPE), number(unix.NFTA_FIB_FLAGS, unix.NFTA_FIB_F_DADDR)),
		compare(unix.NFT_CMP_EQ, binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)...),
		expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1), value(unix.NFTA_IMMEDIATE_DATA, portBytes(listener)...)),
		expression("nat", number(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT), number(unix.NFTA_NAT_FAMILY, uint32(family)), number(unix.NFTA_NAT_REG_PROTO_MIN, unix.NFT_REG_1)),
	}
}

// expression is one step of a rule; all use the first register.
func expression(name string, attrs ...[]byte) []byte {
	return nest(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, name), nest(unix.NFTA_EXPR_DATA, attrs...))
}

func meta(key uint32) []byte {
	return expression("meta", number(unix.NFTA_META_DREG, unix.NFT_REG_1), number(unix.NFTA_META_KEY, key))
}

// tcp takes bytes of a packet's TCP header.
func tcp(offset, length uint32) []byte {
	return expression("payload", number(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1), number(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_TRANSPORT_HEADER),
		number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, length))
}

func compare(op uint32, with ...byte) []byte {
	return expression("cmp", number(unix.NFTA_CMP_SREG, unix.NFT_REG_1), number(unix.NFTA_CMP_OP, op), value(unix.NFTA_CMP_DATA, with...))
}

func value(kind uint16, bytes ...byte) []byte { return nest(kind, attr(unix.NFTA_DATA_VALUE, bytes)) }

// portBytes is a port in the network's order.
func portBytes(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// networkOrder reads a port that lies in memory in the network's order.
func networkOrder(raw uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, raw))
}
