package rules

import (
	"errors"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// errComplex is why patterns that are right alone may not be usable: their automaton would not fit.
var errComplex = errors.New("the patterns are too complex together\nhint: begin them with ^, and avoid .* and large repetitions in the middle")

// maxNFA bounds the instructions of all patterns of a list: \pL alone has about 700, and a few hundred patterns have to fit.
const maxNFA = 100_000

type nfaOp uint8

const (
	opBytes nfaOp = iota // a byte from lo to hi, then out
	opEmpty              // an empty width that must hold (^, $, \b), then out
	opAlt                // any of alts
	opMatch
)

type nfaInst struct {
	op     nfaOp
	lo, hi byte
	empty  syntax.EmptyOp
	out    int32
	alts   []int32
}

// nfa is the patterns as one program over bytes, where regexp/syntax has runes. A rune class becomes the byte sequences of its UTF-8.
type nfa struct {
	insts []nfaInst
	start []int32 // one per pattern
}

func (n *nfa) emit(i nfaInst) int32 {
	n.insts = append(n.insts, i)
	return int32(len(n.insts) - 1)
}

// add translates a pattern's program.
func (n *nfa) add(prog *syntax.Prog) error {
	// Instruction i of prog becomes base+i; the inner bytes of sequences come after.
	base := int32(len(n.insts))
	n.insts = append(n.insts, make([]nfaInst, len(prog.Inst))...)
	for i, inst := range prog.Inst {
		out := base + int32(inst.Out)
		var t nfaInst
		switch inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			t = nfaInst{op: opAlt, alts: []int32{out, base + int32(inst.Arg)}}
		case syntax.InstCapture, syntax.InstNop:
			t = nfaInst{op: opAlt, alts: []int32{out}}
		case syntax.InstEmptyWidth:
			t = nfaInst{op: opEmpty, empty: syntax.EmptyOp(inst.Arg), out: out}
		case syntax.InstMatch:
			t = nfaInst{op: opMatch}
		case syntax.InstFail:
			t = nfaInst{op: opAlt}
		default: // the rune instructions
			t = nfaInst{op: opAlt, alts: n.sequences(runes(inst), out)}
		}
		n.insts[base+int32(i)] = t
		if len(n.insts) > maxNFA {
			return errComplex
		}
	}
	n.start = append(n.start, base+int32(prog.Start))
	return nil
}

// runes returns the ranges of runes that a rune instruction takes, as pairs.
func runes(inst syntax.Inst) []rune {
	switch inst.Op {
	case syntax.InstRuneAny:
		return []rune{0, utf8.MaxRune}
	case syntax.InstRuneAnyNotNL:
		return []rune{0, '\n' - 1, '\n' + 1, utf8.MaxRune}
	}
	if len(inst.Rune) != 1 {
		return inst.Rune
	}
	r := inst.Rune[0]
	pairs := []rune{r, r}
	if syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			pairs = append(pairs, f, f)
		}
	}
	return pairs
}

// sequences emits the byte sequences of the ranges, which end in out, and returns where they begin. Equal ends are shared.
func (n *nfa) sequences(pairs []rune, out int32) []int32 {
	type end struct {
		lo, hi byte
		out    int32
	}
	shared := map[end]int32{}
	var starts []int32
	for i := 0; i+1 < len(pairs); i += 2 {
		utf8Ranges(pairs[i], pairs[i+1], func(lo, hi []byte) {
			to := out
			for j := len(lo) - 1; j >= 0; j-- {
				e := end{lo[j], hi[j], to}
				at, ok := shared[e]
				if !ok {
					at = n.emit(nfaInst{op: opBytes, lo: e.lo, hi: e.hi, out: to})
					shared[e] = at
				}
				to = at
			}
			starts = append(starts, to)
		})
	}
	return starts
}

// utf8Ranges cuts a range of runes into pieces whose encodings are the products of a range of bytes at each place.
func utf8Ranges(lo, hi rune, emit func(lo, hi []byte)) {
	if lo > hi {
		return
	}
	if lo <= 0xdfff && hi >= 0xd800 { // surrogates have no encoding
		utf8Ranges(lo, 0xd7ff, emit)
		utf8Ranges(0xe000, hi, emit)
		return
	}
	for _, last := range []rune{0x7f, 0x7ff, 0xffff} { // the last rune of 1, 2 and 3 bytes
		if lo <= last && last < hi {
			utf8Ranges(lo, last, emit)
			utf8Ranges(last+1, hi, emit)
			return
		}
	}
	for shift := 6; hi > 0x7f && shift < 24; shift += 6 {
		low := rune(1)<<shift - 1
		if lo&^low == hi&^low {
			break
		}
		if lo&low != 0 {
			utf8Ranges(lo, lo|low, emit)
			utf8Ranges((lo|low)+1, hi, emit)
			return
		}
		if hi&low != low {
			utf8Ranges(lo, hi&^low-1, emit)
			utf8Ranges(hi&^low, hi, emit)
			return
		}
	}
	emit(utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi))
}
