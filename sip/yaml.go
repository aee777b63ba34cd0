package sip

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a description, in bytes and levels: the parser recurses.
const (
	maxDescription = 1 << 20
	maxNesting     = 200
)

// Fault is one thing that is wrong with a description.
type Fault struct {
	Line, Column int // from 1
	Message      string
	Hint         string // what to do; may be empty
}

// FileError is a description that cannot be used, with everything that is wrong with it in the order of the file.
type FileError struct {
	Path   string
	Faults []Fault // at least one
}

// Error tells every fault on a line of its own, followed by its hint.
func (e *FileError) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", e.Path, f.Line, f.Column, f.Message)
		if f.Hint != "" {
			fmt.Fprintf(&b, "\nhint: %s", f.Hint)
		}
	}
	return b.String()
}

// reader collects the faults of a whole file.
type reader struct{ faults []Fault }

func (r *reader) fault(n ast.Node, hint, format string, args ...any) {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // the mapping's own token is the first colon
	}
	r.faultAt(n.GetToken(), hint, fmt.Sprintf(format, args...))
}

func (r *reader) faultAt(t *token.Token, hint, message string) {
	message, _, _ = strings.Cut(message, "\n")
	f := Fault{Line: 1, Column: 1, Message: message, Hint: hint}
	if t != nil && t.Position != nil {
		f.Line, f.Column = max(1, t.Position.Line), max(1, t.Position.Column)
	}
	r.faults = append(r.faults, f)
}

func (r *reader) sorted() []Fault {
	slices.SortStableFunc(r.faults, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return r.faults
}

// document returns what raw consists of, nil after a fault.
func (r *reader) document(raw []byte) ast.Node {
	switch {
	case len(raw) > maxDescription:
		r.faultAt(nil, "", fmt.Sprintf("the file is larger than %d bytes", maxDescription))
		return nil
	case nesting(raw) > maxNesting:
		r.faultAt(nil, "", "the file nests too deep")
		return nil
	}
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) {
			r.faultAt(at.GetToken(), "", at.GetMessage())
		} else {
			r.faultAt(nil, "", err.Error())
		}
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body != nil:
			r.fault(doc.Body, "a file describes one system", "a second document")
			return nil
		default:
			body = doc.Body
		}
	}
	if body == nil {
		r.faultAt(nil, "it is a mapping with the keys mac and files", "the file is empty")
	}
	return body
}

// nesting is how deep the brackets and the indentation outside of texts could nest at most.
func nesting(raw []byte) int {
	deepest, brackets := 0, 0
	for line := range strings.Lines(string(raw)) {
		indent := len(line) - len(strings.TrimLeft(line, " -?:"))
		brackets += strings.Count(line, "{") + strings.Count(line, "[")
		deepest = max(deepest, brackets+indent/2)
		brackets = max(0, brackets-strings.Count(line, "}")-strings.Count(line, "]"))
	}
	return deepest
}

// mapping is n if it is one; a fault and nil otherwise.
func (r *reader) mapping(n ast.Node, what string) ast.MapNode {
	if t := n.Type(); t == ast.MappingType || t == ast.MappingValueType {
		return n.(ast.MapNode)
	}
	r.fault(n, "", "%s must be a mapping, not %s", what, kindOf(n))
	return nil
}

// fields gives the value of each key of a mapping to its reader; null is as good as absent.
func (r *reader) fields(n ast.Node, what string, readers map[string]func(ast.Node)) {
	r.each(n, what, func(key, value ast.Node, name string) {
		read := readers[name]
		if read == nil {
			known := make([]string, 0, len(readers))
			for k := range readers {
				known = append(known, k)
			}
			slices.Sort(known)
			r.fault(key, "known are: "+strings.Join(known, ", "), "unknown key %q in %s", name, what)
			return
		}
		if value.Type() != ast.NullType {
			read(value)
		}
	})
}

// each gives the entries of a mapping to read.
func (r *reader) each(n ast.Node, what string, read func(key, value ast.Node, name string)) {
	m := r.mapping(n, what)
	if m == nil {
		return
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		name, ok := text(it.Key())
		switch {
		case !ok:
			r.fault(it.Key(), "put quotes around it", "a key of %s is %s", what, kindOf(it.Key()))
		case seen[name]:
			r.fault(it.Key(), "", "%s has %q twice", what, name)
		default:
			seen[name] = true
			read(it.Key(), it.Value(), name)
		}
	}
}

// list gives each element of a list to read.
func (r *reader) list(n ast.Node, what string, read func(ast.Node)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fault(n, "", "%s must be a list, not %s", what, kindOf(n))
		return
	}
	for _, v := range s.Values {
		read(v)
	}
}

func (r *reader) text(n ast.Node, what string) string {
	s, ok := text(n)
	if !ok || strings.ContainsRune(s, 0) && what != "script" {
		r.fault(n, "", "%s must be a text, not %s", what, kindOf(n))
	}
	return s
}

func (r *reader) path(n ast.Node, what string) string {
	s := r.text(n, what)
	if !strings.HasPrefix(s, "/") {
		r.fault(n, "", "%s must be an absolute path", what)
	}
	return s
}

func (r *reader) boolean(n ast.Node, what string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.fault(n, "", "%s must be true or false", what)
		return false
	}
	return b.Value
}

// number reads a number in [0, most], in the base that its beginning says ("0755" is octal).
func (r *reader) number(n ast.Node, what string, most uint64) uint64 {
	s, _ := text(n)
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil || v > most {
		r.fault(n, "", "%s must be a number from 0 to %d", what, most)
		return 0
	}
	return v
}

// choice reads one of the names of a table.
func choice[T any](r *reader, n ast.Node, what string, table map[string]T) (v T) {
	s, _ := text(n)
	v, ok := table[s]
	if !ok {
		known := make([]string, 0, len(table))
		for k := range table {
			known = append(known, k)
		}
		slices.Sort(known)
		r.fault(n, "known are: "+strings.Join(known, ", "), "unknown %s %q", what, s)
	}
	return v
}

// text returns a scalar as it is written, without its quotes.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	}
	return "something that is not used here (an anchor, an alias, a tag)"
}
