package document

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/BurntSushi/toml"
)

// parseTOML reads TOML. Elements of a list have the place of the list.
func parseTOML(source string, data []byte) (*Node, *Fault) {
	var values map[string]toml.Primitive
	meta, err := toml.Decode(string(data), &values)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, placeOf(source, data, syntax.Position.Start).fault(syntax.Message)
		}
		return nil, Place{Source: source}.fault(err.Error())
	}
	t := tomlReader{source: source, data: data, meta: meta}
	return t.object(Place{source, 1, 1}, values, 0), t.fault
}

type tomlReader struct {
	source string
	data   []byte
	meta   toml.MetaData
	fault  *Fault
}

// refuse is how the place of a key is asked for: the library tells it only in errors.
type refuse struct{}

func (refuse) UnmarshalTOML(any) error { return errors.New("") }

func (t *tomlReader) value(p toml.Primitive, depth int) *Node {
	at := Place{Source: t.source} // stays so for the a of `a.b = 1`, which the library gives no place
	var located toml.ParseError
	if errors.As(t.meta.PrimitiveDecode(p, &refuse{}), &located) && located.Position.Line > 0 {
		at = placeOf(t.source, t.data, located.Position.Start) // its own column is wrong at the start of a line
	}
	if depth > maxDepth {
		t.fault = at.fault(tooDeep)
		return &Node{At: at}
	}
	var v any
	if err := t.meta.PrimitiveDecode(p, &v); err != nil {
		t.fault = at.fault(err.Error())
		return &Node{At: at}
	}
	switch v := v.(type) {
	case bool:
		return &Node{At: at, Kind: Boolean, Text: fmt.Sprint(v)}
	case int64, float64:
		return &Node{At: at, Kind: Number, Text: fmt.Sprint(v)}
	case map[string]any:
		var values map[string]toml.Primitive
		_ = t.meta.PrimitiveDecode(p, &values) // a table always is one
		return t.object(at, values, depth)
	case []any, []map[string]any:
		var items []toml.Primitive
		_ = t.meta.PrimitiveDecode(p, &items)
		n := &Node{At: at, Kind: List}
		for _, item := range items {
			n.Items = append(n.Items, t.value(item, depth+1))
		}
		return n
	default: // string, dates
		return &Node{At: at, Kind: Text, Text: fmt.Sprint(v)}
	}
}

func (t *tomlReader) object(at Place, values map[string]toml.Primitive, depth int) *Node {
	n := &Node{At: at, Kind: Object}
	for name, p := range values {
		v := t.value(p, depth+1)
		n.Members = append(n.Members, Member{name, v.At, v})
	}
	slices.SortFunc(n.Members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column), cmp.Compare(a.Name, b.Name))
	})
	if at.Line == 0 && len(n.Members) > 0 {
		n.At = n.Members[0].At
	}
	return n
}
