package rules

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

const (
	// maxPatternStates keeps the tables of a list of patterns to a few MiB, which every process of the session maps.
	maxPatternStates = 1 << 14
	// maxWork bounds the instructions looked at while an automaton is built, to a fraction of a second. 200 patterns like
	// `^/app/.*\.json$` need less.
	maxWork = 40_000_000
)

// compilePatterns makes one automaton that accepts, with the mask, every path in which one of the patterns matches somewhere. Like RE2 it
// takes no byte that is not UTF-8 for a character.
func compilePatterns(patterns []string, mask uint32) (*automaton, error) {
	b, err := newBuilder(patterns, mask)
	if err != nil {
		return nil, err
	}
	return b.build(maxWork)
}

// before is what the byte before a position was, as far as empty widths care.
type before byte

const (
	beforeBegin before = iota // the position is the beginning of the path
	beforeNewline
	beforeWord
	beforeOther
)

// runeFor stands for the byte in regexp/syntax's own test of empty widths.
var runeFor = [...]rune{beforeBegin: -1, beforeNewline: '\n', beforeWord: 'w', beforeOther: '/'}

// builder is the subset construction. A state is the instructions that wait for the next byte, and the context before it: empty widths are
// decided when that byte (or the end) is known.
type builder struct {
	nfa     *nfa
	mask    uint32
	empties syntax.EmptyOp // those that occur
	states  map[string]uint16
	todo    []dfaState // by number
	found   uint16     // the state of a path in which something matched; it is never left
	work    int

	mark  []int // by instruction, the closure that it was last put into
	round int
}

type dfaState struct {
	insts  []int32 // sorted; opBytes and opEmpty only
	before before
}

func newBuilder(patterns []string, mask uint32) (*builder, error) {
	var n nfa
	for _, p := range patterns {
		prog, err := parsePattern(p)
		if err != nil {
			return nil, err
		}
		if err := n.add(prog); err != nil {
			return nil, err
		}
	}
	return &builder{nfa: &n, mask: mask, states: map[string]uint16{}, mark: make([]int, len(n.insts))}, nil
}

func (b *builder) build(maxWork int) (*automaton, error) {
	for _, i := range b.nfa.insts {
		if i.op == opEmpty {
			b.empties |= i.empty
		}
	}
	a := &automaton{}
	samples := b.classes(a)
	a.classes = len(samples)
	b.state(dfaState{before: beforeBegin})
	b.found = b.state(dfaState{insts: []int32{-1}}) // a set that no other state has
	for s := 0; s < len(b.todo); s++ {
		if s == int(b.found) {
			a.accept = append(a.accept, b.mask)
			a.next = append(a.next, slices.Repeat([]uint16{b.found}, a.classes)...)
			continue
		}
		accept := uint32(0)
		if b.closure(b.todo[s], -1).matched {
			accept = b.mask
		}
		a.accept = append(a.accept, accept)
		var known [len(runeFor)]*closure // by what the next byte is to empty widths
		for _, c := range samples {
			next := b.context(c)
			if known[next] == nil {
				known[next] = b.closure(b.todo[s], runeFor[next])
			}
			a.next = append(a.next, b.step(known[next], c))
		}
		if len(b.todo) > maxPatternStates || b.work > maxWork {
			return nil, errComplex
		}
	}
	return a, nil
}

// classes divides the bytes into those that no instruction tells apart, and returns one of each class.
func (b *builder) classes(a *automaton) []byte {
	var first [257]bool // a class begins at this byte
	cut := func(lo, hi byte) { first[lo], first[int(hi)+1] = true, true }
	for _, i := range b.nfa.insts {
		if i.op == opBytes {
			cut(i.lo, i.hi)
		}
	}
	first[0] = true
	if b.empties != 0 {
		cut('\n', '\n')
		cut('0', '9')
		cut('A', 'Z')
		cut('_', '_')
		cut('a', 'z')
	}
	var samples []byte
	for c := range 256 {
		if first[c] {
			samples = append(samples, byte(c))
		}
		a.class[c] = uint8(len(samples) - 1)
	}
	return samples
}

// step is the state after the byte c, from the closure of the state before it.
func (b *builder) step(from *closure, c byte) uint16 {
	if from.matched {
		return b.found
	}
	b.round++
	b.work += len(from.insts)
	to := closure{}
	for _, i := range from.insts {
		if inst := &b.nfa.insts[i]; inst.op == opBytes && inst.lo <= c && c <= inst.hi {
			if b.follow(&to, inst.out, 0); to.matched {
				return b.found
			}
		}
	}
	slices.Sort(to.insts)
	return b.state(dfaState{to.insts, b.context(c)})
}

// context is what the byte is to the empty widths that occur.
func (b *builder) context(c byte) before {
	switch {
	case c == '\n' && b.empties&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0:
		return beforeNewline
	case syntax.IsWordChar(rune(c)) && b.empties&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0:
		return beforeWord
	}
	return beforeOther
}

// closure is the instructions that a state stands for once the next byte is known.
type closure struct {
	insts   []int32
	matched bool // no byte is needed any more
}

// closure follows the empty widths of a state, and of a match that begins here, knowing that the rune after is next (-1 at the end). That
// a match can so begin inside a character makes no difference: nothing but an empty \B could end there, and that is in every path.
func (b *builder) closure(s dfaState, next rune) *closure {
	b.round++
	c := &closure{}
	holds := syntax.EmptyOpContext(runeFor[s.before], next)
	for _, i := range s.insts {
		b.follow(c, i, holds)
	}
	for _, i := range b.nfa.start {
		b.follow(c, i, holds)
	}
	return c
}

// follow adds what is reached from instruction i without a byte, given the empty widths that hold. Those that do not hold (yet) are added
// too.
func (b *builder) follow(c *closure, i int32, holds syntax.EmptyOp) {
	stack := []int32{i}
	for len(stack) > 0 {
		i, stack = stack[len(stack)-1], stack[:len(stack)-1]
		b.work++
		if b.mark[i] == b.round {
			continue
		}
		b.mark[i] = b.round
		switch inst := &b.nfa.insts[i]; inst.op {
		case opMatch:
			c.matched = true
		case opAlt:
			stack = append(stack, inst.alts...)
		case opEmpty:
			if inst.empty&^holds == 0 {
				stack = append(stack, inst.out)
			} else {
				c.insts = append(c.insts, i)
			}
		case opBytes:
			c.insts = append(c.insts, i)
		}
	}
}

// state returns the number of a state, a new one when it was not met before.
func (b *builder) state(s dfaState) uint16 {
	key := make([]byte, 0, 1+4*len(s.insts))
	key = append(key, byte(s.before))
	for _, i := range s.insts {
		key = binary.LittleEndian.AppendUint32(key, uint32(i))
	}
	n, ok := b.states[string(key)]
	if !ok {
		n = uint16(len(b.todo))
		b.states[string(key)] = n
		b.todo = append(b.todo, s)
	}
	return n
}
