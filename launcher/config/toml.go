package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/BurntSushi/toml"
)

// parseTOML reads TOML. Elements of a list have the place of the list.
func parseTOML(source string, data []byte) (*node, *Fault) {
	var values map[string]toml.Primitive
	meta, err := toml.Decode(string(data), &values)
	if err != nil {
		f := &Fault{Source: source, Problem: err.Error()}
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			f = placeOf(source, data, syntax.Position.Start).fault(syntax.Message)
		}
		return nil, f
	}
	t := tomlReader{source: source, data: data, meta: meta}
	return t.object(position{source, 1, 1}, values, 0), t.fault
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

func (t *tomlReader) value(p toml.Primitive, depth int) *node {
	at := position{source: t.source} // stays so for the a of `a.b = 1`, which the library gives no place
	var located toml.ParseError
	if errors.As(t.meta.PrimitiveDecode(p, &refuse{}), &located) && located.Position.Line > 0 {
		at = placeOf(t.source, t.data, located.Position.Start) // its own column is wrong at the start of a line
	}
	if depth > maxDepth {
		t.fault = at.fault(tooDeep)
		return &node{at: at}
	}
	var v any
	if err := t.meta.PrimitiveDecode(p, &v); err != nil {
		t.fault = at.fault(err.Error())
		return &node{at: at}
	}
	switch v := v.(type) {
	case bool:
		return &node{at: at, kind: boolean, text: fmt.Sprint(v)}
	case int64, float64:
		return &node{at: at, kind: number, text: fmt.Sprint(v)}
	case map[string]any:
		var values map[string]toml.Primitive
		_ = t.meta.PrimitiveDecode(p, &values) // a table always is one
		return t.object(at, values, depth)
	case []any, []map[string]any:
		var items []toml.Primitive
		_ = t.meta.PrimitiveDecode(p, &items)
		n := &node{at: at, kind: list}
		for _, item := range items {
			n.items = append(n.items, t.value(item, depth+1))
		}
		return n
	default: // string, dates
		return &node{at: at, kind: text, text: fmt.Sprint(v)}
	}
}

func (t *tomlReader) object(at position, values map[string]toml.Primitive, depth int) *node {
	n := &node{at: at, kind: object}
	for name, p := range values {
		v := t.value(p, depth+1)
		n.members = append(n.members, member{name, v.at, v})
	}
	slices.SortFunc(n.members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column), cmp.Compare(a.name, b.name))
	})
	if at.line == 0 && len(n.members) > 0 {
		n.at = n.members[0].at
	}
	return n
}
