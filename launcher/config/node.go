package config

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// node is a value of a configuration with its place, whatever the format.
type node struct {
	at      position
	kind    kind
	text    string   // of a boolean, number, text or word
	items   []*node  // of a list
	members []member // of an object, in the order of the source
}

type member struct {
	name  string
	at    position
	value *node
}

type position struct {
	source       string
	line, column int // 0 when unknown
}

type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	object
	word // from a variable or flag: text that means what its key wants
)

func (k kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "an object", "a string"}[k]
}

// String is the value as a message shows it.
func (n *node) String() string {
	switch n.kind {
	case null, list, object:
		return n.kind.String()
	case text, word:
		return fmt.Sprintf("%q", n.text)
	}
	return n.text
}

const (
	maxDepth = 32 // the deepest key of ours has 5
	tooDeep  = "is nested too deeply"
)

// placeOf is the position of a byte of a file.
func placeOf(source string, data []byte, offset int) position {
	before := data[:min(max(0, offset), len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	return position{source, line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])}
}

func (at position) fault(problem string) *Fault {
	return &Fault{Source: at.source, Line: at.line, Column: at.column, Problem: problem}
}
