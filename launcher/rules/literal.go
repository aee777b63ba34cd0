package rules

import (
	"encoding/binary"
	"maps"
	"path"
	"slices"
)

// maxStates is what a u16 can name.
const maxStates = 1<<16 - 1

// automaton is a deterministic automaton over bytes, as the file holds it. State 0 is the start.
type automaton struct {
	class   [256]uint8 // of each byte
	classes int
	accept  []uint32 // per state
	next    []uint16 // states × classes
}

func (a *automaton) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(a.accept)))
	b = binary.LittleEndian.AppendUint32(b, uint32(a.classes))
	b = append(b, a.class[:]...)
	for _, w := range a.accept {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	for _, s := range a.next {
		b = binary.LittleEndian.AppendUint16(b, s)
	}
	return b
}

// trie collects literals, without case, and becomes an automaton in one pass. The zero value is empty.
type trie struct{ nodes []trieNode }

type trieNode struct {
	next  map[byte]int // lower case
	at    uint32       // classes of a path that ends here
	after uint32       // classes of every path that comes through here
}

// leadingTo puts the folders above p into a class, each by itself: who resolves p (realpath, node at every start) looks at all of them.
func (t *trie) leadingTo(p string, c class) {
	for up := path.Dir(p); len(up) > 1; up = path.Dir(up) {
		t.exactly(up, c)
	}
}

// exactly puts the path s into a class, below also everything under it, beginning everything that starts with s. Empty is nothing, and
// below the root is only the root: a home or working directory of "/" must not make everything local.
func (t *trie) exactly(s string, c class) {
	if s != "" {
		t.node(s).at |= 1 << c
	}
}

func (t *trie) below(s string, c class) {
	if s != "" {
		t.exactly(s, c)
		t.beginning(s+"/", c) // never true of "//"
	}
}

func (t *trie) beginning(s string, c class) {
	if s != "" {
		t.node(s).after |= 1 << c
	}
}

func (t *trie) node(s string) *trieNode {
	if t.nodes == nil {
		t.nodes = []trieNode{{}}
	}
	at := 0
	for i := range len(s) {
		c := lower(s[i])
		to, ok := t.nodes[at].next[c]
		if !ok {
			to = len(t.nodes)
			t.nodes = append(t.nodes, trieNode{})
			if t.nodes[at].next == nil {
				t.nodes[at].next = map[byte]int{}
			}
			t.nodes[at].next[c] = to
		}
		at = to
	}
	return &t.nodes[at]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// alphabet gives each byte that occurs in a literal a class of its own, shared with its other case; the rest is class 0. It returns the
// bytes by class.
func (t *trie) alphabet(a *automaton) []byte {
	used := map[byte]bool{}
	for _, n := range t.nodes {
		for c := range n.next {
			used[c] = true
		}
	}
	letters := append([]byte{0}, slices.Sorted(maps.Keys(used))...)
	for class, c := range letters[1:] {
		a.class[c] = uint8(class + 1)
	}
	for c := byte('A'); c <= 'Z'; c++ {
		a.class[c] = a.class[lower(c)]
	}
	a.classes = len(letters)
	return letters
}

// compile makes the automaton that reads literals from the beginning of a path. Leaving the literals it stays in a state that holds the
// classes of what the path came through.
func (t *trie) compile() *automaton {
	a := &automaton{}
	letters := t.alphabet(a)
	a.accept = make([]uint32, len(t.nodes))
	a.next = make([]uint16, len(t.nodes)*a.classes)
	left := map[uint32]uint16{} // by classes, the state after leaving
	leave := func(mask uint32) uint16 {
		s, ok := left[mask]
		if !ok {
			s = uint16(len(a.accept))
			left[mask] = s
			a.accept = append(a.accept, mask)
			a.next = append(a.next, slices.Repeat([]uint16{s}, a.classes)...)
		}
		return s
	}
	var visit func(node int, mask uint32)
	visit = func(node int, mask uint32) {
		n := &t.nodes[node]
		mask |= n.after
		a.accept[node] = mask | n.at
		for class, c := range letters {
			if to, ok := n.next[c]; ok && class > 0 {
				a.next[node*a.classes+class] = uint16(to)
				visit(to, mask)
			} else {
				a.next[node*a.classes+class] = leave(mask)
			}
		}
	}
	visit(0, 0)
	return a
}

// compileAnywhere makes the automaton of Aho and Corasick, that finds literals wherever they stand: those of exactly at the end of a path,
// those of beginning everywhere.
func (t *trie) compileAnywhere() *automaton {
	a := &automaton{}
	letters := t.alphabet(a)
	a.accept = make([]uint32, len(t.nodes))
	a.next = make([]uint16, len(t.nodes)*a.classes)
	fail := make([]int, len(t.nodes)) // the longest other literal's beginning that the read bytes end with
	queue := []int{0}
	for len(queue) > 0 {
		node := queue[0]
		queue = queue[1:]
		n := &t.nodes[node]
		if node != 0 {
			n.after |= t.nodes[fail[node]].after
			n.at |= t.nodes[fail[node]].at
		}
		a.accept[node] = n.after | n.at
		for class, c := range letters {
			to, ok := n.next[c]
			ok = ok && class > 0
			through := 0 // where the bytes lead without this node
			if node != 0 {
				through = int(a.next[fail[node]*a.classes+class])
			}
			if ok {
				fail[to] = through
				queue = append(queue, to)
				through = to
			}
			if n.after != 0 {
				through = node // found, whatever follows
			}
			a.next[node*a.classes+class] = uint16(through)
		}
	}
	return a
}
