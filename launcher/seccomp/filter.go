//go:build linux && (amd64 || arm64)

package seccomp

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Rule hands the calls of one number to the supervisor, or has the kernel answer them.
type Rule struct {
	Number uint32      // a unix.SYS_ of the machine that this is built for; a filter has one rule for each
	When   []Condition // all must hold; none: always
	Errno  unix.Errno  // if not 0, the kernel answers with it and nobody is asked
}

// Condition is about one argument of a call. The filter sees values, never what they point to.
type Condition struct {
	Arg   int // 0 to 5
	Value uint64
	Not   bool     // the argument is anything but Value
	Or    []uint64 // further values of which it may be one
}

// Is and IsNot are conditions.
func Is(arg int, value uint64) Condition    { return Condition{Arg: arg, Value: value} }
func IsNot(arg int, value uint64) Condition { return Condition{Arg: arg, Value: value, Not: true} }

// OneOf is the condition that an argument has one of some values below 1<<32.
func OneOf(arg int, value uint64, or ...uint64) Condition {
	return Condition{Arg: arg, Value: value, Or: or}
}

// Offsets in struct seccomp_data (linux/seccomp.h), and what a filter answers.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16

	retAllow  = 0x7fff0000
	retErrno  = 0x00050000
	retNotify = 0x7fc00000
)

// maxInstructions is BPF_MAXINSNS.
const maxInstructions = 4096

// Filter is the program that installs the rules, as the kernel wants it: struct sock_filter after struct sock_filter. Calls that no rule names, and those of a
// foreign kind (32-bit programs, x32), are the kernel's alone.
func Filter(rules []Rule) ([]byte, error) {
	var p program
	p.load(dataArch)
	p.unless(auditArch, retAllow)
	p.load(dataNumber)
	seen := map[uint32]bool{}
	for _, r := range rules {
		if seen[r.Number] {
			return nil, errors.New("two rules for one call")
		}
		seen[r.Number] = true
		answer := uint32(retNotify)
		if r.Errno != 0 {
			answer = retErrno | uint32(r.Errno)
		}
		body := program{}
		for _, c := range r.When {
			body.check(c)
		}
		body.give(answer)
		body.land()
		p.jump(unix.BPF_JEQ, r.Number, 0, len(body))
		p = append(p, body...)
	}
	p.give(retAllow)
	if len(p) > maxInstructions {
		return nil, errors.New("too many rules")
	}
	var raw []byte
	for _, i := range p {
		raw = binary.LittleEndian.AppendUint16(raw, i.Code)
		raw = append(raw, i.Jt, i.Jf)
		raw = binary.LittleEndian.AppendUint32(raw, i.K)
	}
	return raw, nil
}

// program is a classic BPF program. In the body of a rule a jump whose Jf or Jt is past leads behind it, where the call is allowed.
type program []unix.SockFilter

const past = 0xff

func (p *program) load(offset uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

func (p *program) jump(how uint16, k uint32, yes, no int) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, Jt: uint8(yes), Jf: uint8(no), K: k})
}

func (p *program) give(answer uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: answer})
}

// unless ends with the answer if the value that was loaded is another than k.
func (p *program) unless(k, answer uint32) {
	p.jump(unix.BPF_JEQ, k, 1, 0)
	p.give(answer)
}

// check goes on only if the condition holds. Both machines are little-endian.
func (p *program) check(c Condition) {
	at, low, high := uint32(dataArgs+8*c.Arg), uint32(c.Value), uint32(c.Value>>32)
	p.load(at)
	if c.Not {
		p.jump(unix.BPF_JEQ, low, 0, 2) // another lower half: it holds
		p.load(at + 4)
		p.jump(unix.BPF_JEQ, high, past, 0)
		return
	}
	for i, other := range c.Or {
		p.jump(unix.BPF_JEQ, uint32(other), len(c.Or)-i, 0) // to the upper half
	}
	p.jump(unix.BPF_JEQ, low, 0, past)
	p.load(at + 4)
	p.jump(unix.BPF_JEQ, high, 0, past)
}

// land closes the body of a rule: what leads past its answer is allowed.
func (p *program) land() {
	if !slices.ContainsFunc(*p, func(i unix.SockFilter) bool { return i.Jt == past || i.Jf == past }) {
		return
	}
	end := len(*p)
	p.give(retAllow)
	for i := range *p {
		if (*p)[i].Code&7 != unix.BPF_JMP {
			continue
		}
		if (*p)[i].Jt == past {
			(*p)[i].Jt = uint8(end - i - 1)
		}
		if (*p)[i].Jf == past {
			(*p)[i].Jf = uint8(end - i - 1)
		}
	}
}
