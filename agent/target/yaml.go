package target

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxPodFile bounds pod.yaml in bytes; maxDepth how deep its values may seem to nest (the format needs 3, but texts may hold brackets).
const (
	maxPodFile = 1 << 20
	maxDepth   = 1000
)

// Fault is one thing that is wrong with a pod.yaml.
type Fault struct {
	Line, Column int // from 1
	Message      string
	Hint         string // what to do; may be empty
}

// FileError is a pod.yaml that cannot be used, with everything that is wrong with it in the order of the file.
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

// readPod reads the pod.yaml of the pod directory dir.
func readPod(dir string) (*pod, error) {
	path := filepath.Join(dir, podFile)
	raw, err := readSmall(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, derr := os.Stat(dir); derr != nil {
			return nil, fmt.Errorf("there is no pod directory %s\nhint: dir: names a directory with a %s and, for the pod's files, a rootfs", dir, podFile)
		}
		return nil, fmt.Errorf("%s does not exist\nhint: a pod directory has a %s; the least is `name: something`", path, podFile)
	case err != nil:
		return nil, fmt.Errorf("the pod directory's description: %w", err)
	}
	p, faults := parsePod(raw, filepath.Base(dir))
	if len(faults) > 0 {
		return nil, &FileError{Path: path, Faults: faults}
	}
	return p, nil
}

// readSmall reads a file of at most maxPodFile bytes.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPodFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPodFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPodFile)
	}
	return raw, nil
}

// document returns the mapping that a YAML file consists of, or what is wrong with the file.
func document(raw []byte) (ast.MapNode, *Fault) {
	const hint = "a pod.yaml is a mapping such as `name: cart`"
	if depth(raw) > maxDepth {
		return nil, &Fault{1, 1, "the file nests too deep", hint}
	}
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil, syntaxFault(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return nil, fault(doc.Body, "a second document", "a pod.yaml describes one pod")
		}
		body = doc.Body
	}
	if body == nil {
		return nil, &Fault{1, 1, "the file is empty", hint}
	}
	mapping, ok := body.(ast.MapNode)
	if !ok || body.Type() == ast.AliasType || body.Type() == ast.AnchorType {
		return nil, fault(body, "the file is not a mapping but "+kind(body), hint)
	}
	return mapping, nil
}

// depth is how deep the brackets and the indentation of raw could nest at most: the parser recurses, so it must not see thousands.
func depth(raw []byte) int {
	deepest, brackets := 0, 0
	for line := range strings.Lines(string(raw)) {
		indent := len(line) - len(strings.TrimLeft(line, " -?:"))
		for _, c := range line {
			switch c {
			case '{', '[':
				brackets++
			case '}', ']':
				brackets = max(0, brackets-1)
			}
			deepest = max(deepest, brackets+indent/2)
		}
	}
	return deepest
}

func syntaxFault(err error) *Fault {
	var at yaml.Error
	if errors.As(err, &at) {
		return faultAt(at.GetToken(), at.GetMessage(), "")
	}
	return &Fault{1, 1, firstLine(err.Error()), ""}
}

func fault(n ast.Node, message, hint string) *Fault {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // the mapping's own token is the first colon
	}
	return faultAt(n.GetToken(), message, hint)
}

func faultAt(t *token.Token, message, hint string) *Fault {
	f := &Fault{Line: 1, Column: 1, Message: firstLine(message), Hint: hint}
	if t != nil && t.Position != nil {
		f.Line, f.Column = max(1, t.Position.Line), max(1, t.Position.Column)
	}
	return f
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// text returns a scalar as it is written, without its quotes: `on`, 8080 and true stay what they are. null is not a text.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// kind names a node for people.
func kind(n ast.Node) string {
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
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias, which are not used here"
	case *ast.TagNode:
		return "a tag, which are not used here"
	default:
		return "something else"
	}
}
