package document

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parseYAML reads YAML. A nil node is an empty document.
func parseYAML(source string, data []byte) (*Node, *Fault) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		f := Place{Source: source}.fault(err.Error())
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			f.Line, f.Column, f.Problem = syntax.Token.Position.Line, syntax.Token.Position.Column, syntax.Message
		}
		return nil, f
	}
	y := yamlReader{source: source, anchors: map[string]*Node{}}
	var root *Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		n := y.value(doc.Body, 0)
		if root != nil {
			y.fail(n.At, "a second document begins here; a configuration is one")
		}
		root = n
	}
	return root, y.fault
}

type yamlReader struct {
	source  string
	anchors map[string]*Node // values are shared, not copied, so that aliases of aliases cannot grow
	fault   *Fault           // the first
}

func (y *yamlReader) fail(at Place, problem string) *Node {
	if y.fault == nil {
		y.fault = at.fault(problem)
	}
	return &Node{At: at}
}

func (y *yamlReader) place(n ast.Node) Place {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return Place{Source: y.source}
	}
	p := n.GetToken().Position
	return Place{y.source, p.Line, p.Column}
}

func (y *yamlReader) value(n ast.Node, depth int) *Node {
	at := y.place(n)
	if depth > maxDepth {
		return y.fail(at, tooDeep)
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return &Node{At: at}
	case *ast.BoolNode:
		return &Node{At: at, Kind: Boolean, Text: fmt.Sprint(n.Value)}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return &Node{At: at, Kind: Number, Text: n.GetToken().Value}
	case *ast.StringNode:
		return &Node{At: at, Kind: Text, Text: n.Value}
	case *ast.LiteralNode:
		return &Node{At: at, Kind: Text, Text: n.Value.Value}
	case *ast.TagNode:
		v := *y.value(n.Value, depth+1)
		if n.GetToken().Value == "!!str" {
			v.Kind = Text
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
		v := &Node{At: at, Kind: List}
		for _, item := range n.Values {
			v.Items = append(v.Items, y.value(item, depth+1))
		}
		return v
	case *ast.MappingNode:
		return y.object(at, n.Values, depth)
	case *ast.MappingValueNode:
		return y.object(at, []*ast.MappingValueNode{n}, depth)
	}
	return y.fail(at, fmt.Sprintf("%s is not understood here", n.Type()))
}

func (y *yamlReader) object(at Place, values []*ast.MappingValueNode, depth int) *Node {
	v := &Node{At: at, Kind: Object}
	for _, pair := range values {
		key, ok := pair.Key.(ast.ScalarNode)
		if !ok || pair.Key.IsMergeKey() {
			y.fail(y.place(pair.Key), "only plain keys are understood")
			continue
		}
		name := key.GetToken().Value
		v.Members = append(v.Members, Member{name, y.place(key), y.value(pair.Value, depth+1)})
	}
	if len(v.Members) > 0 && at.Column > v.Members[0].At.Column {
		v.At = v.Members[0].At // goccy puts a block mapping at its first colon
	}
	return v
}
