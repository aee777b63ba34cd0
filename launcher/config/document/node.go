package document

import "fmt"

// Node is a value with its place, whatever the format. It can also stand for the text of a variable or flag: Word.
type Node struct {
	At      Place
	Kind    Kind
	Text    string   // of a Boolean ("true", "false"), Number, Text or Word; empty for the others
	Items   []*Node  // of a List
	Members []Member // of an Object, in the order of the source
}

// Member is a name and its value in an object.
type Member struct {
	Name  string
	At    Place // the name's
	Value *Node
}

// Kind is what a Node is.
type Kind int

// The kinds. A document has no Word.
const (
	Null Kind = iota
	Boolean
	Number
	Text
	List
	Object
	Word // from a variable or flag: text that means what its reader wants
)

// String is the kind as a message names it.
func (k Kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "an object", "a string"}[k]
}

// String is the value as a message shows it.
func (n *Node) String() string {
	switch n.Kind {
	case Null, List, Object:
		return n.Kind.String()
	case Text, Word:
		return fmt.Sprintf("%q", n.Text)
	}
	return n.Text
}
