package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parseYAML reads YAML. A nil node is an empty document.
func parseYAML(source string, data []byte) (*node, *Fault) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		f := &Fault{Source: source, Problem: err.Error()}
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			f.Line, f.Column, f.Problem = syntax.Token.Position.Line, syntax.Token.Position.Column, syntax.Message
		}
		return nil, f
	}
	y := yamlReader{source: source, anchors: map[string]*node{}}
	var root *node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		n := y.value(doc.Body, 0)
		if root != nil {
			y.fail(n.at, "a second document begins here; a configuration is one")
		}
		root = n
	}
	return root, y.fault
}

type yamlReader struct {
	source  string
	anchors map[string]*node // values are shared, not copied, so that aliases of aliases cannot grow
	fault   *Fault           // the first
}

func (y *yamlReader) fail(at position, problem string) *node {
	if y.fault == nil {
		y.fault = at.fault(problem)
	}
	return &node{at: at}
}

func (y *yamlReader) position(n ast.Node) position {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return position{source: y.source}
	}
	p := n.GetToken().Position
	return position{y.source, p.Line, p.Column}
}

func (y *yamlReader) value(n ast.Node, depth int) *node {
	at := y.position(n)
	if depth > maxDepth {
		return y.fail(at, tooDeep)
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return &node{at: at}
	case *ast.BoolNode:
		return &node{at: at, kind: boolean, text: fmt.Sprint(n.Value)}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return &node{at: at, kind: number, text: n.GetToken().Value}
	case *ast.StringNode:
		return &node{at: at, kind: text, text: n.Value}
	case *ast.LiteralNode:
		return &node{at: at, kind: text, text: n.Value.Value}
	case *ast.TagNode:
		v := *y.value(n.Value, depth+1)
		if n.GetToken().Value == "!!str" {
			v.kind = text
		}
		return &v
	case *ast.AnchorNode:
		v := y.value(n.Value, depth+1)
		y.anchors[n.Name.String()] = v
		return v
	case *ast.AliasNode:
		if v := y.anchors[n.Value.String()]; v != nil {
			return v
		}
		return y.fail(at, fmt.Sprintf("no anchor %q comes before this alias", n.Value))
	case *ast.SequenceNode:
		v := &node{at: at, kind: list}
		for _, item := range n.Values {
			v.items = append(v.items, y.value(item, depth+1))
		}
		return v
	case *ast.MappingNode:
		return y.object(at, n.Values, depth)
	case *ast.MappingValueNode:
		return y.object(at, []*ast.MappingValueNode{n}, depth)
	}
	return y.fail(at, fmt.Sprintf("%s is not understood here", n.Type()))
}

func (y *yamlReader) object(at position, values []*ast.MappingValueNode, depth int) *node {
	v := &node{at: at, kind: object}
	for _, pair := range values {
		key, ok := pair.Key.(ast.ScalarNode)
		if !ok || pair.Key.IsMergeKey() {
			y.fail(y.position(pair.Key), "only plain keys are understood")
			continue
		}
		name := key.GetToken().Value
		v.members = append(v.members, member{name, y.position(key), y.value(pair.Value, depth+1)})
	}
	if len(v.members) > 0 && at.column > v.members[0].at.column {
		v.at = v.members[0].at // goccy puts a block mapping at its first colon
	}
	return v
}
