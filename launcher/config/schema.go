package config

import (
	"encoding/json"
	"reflect"
	"strings"

	"mirrord/launcher/config/document"
	"mirrord/launcher/config/traffic"
)

// Schema is the JSON Schema (draft-07, which every editor knows) of a configuration file, indented. It is made from the table of keys and from
// Config, so it says what Load accepts. Load takes a little more: null for a key that is not given, and words without regard to case.
func Schema() []byte {
	root := section("")
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "mirrord configuration"
	root["type"] = "object"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // strings, numbers and maps only
	}
	return append(text, '\n')
}

type schema = map[string]any

// section is the schema of an object with the keys below path.
func section(path string) schema {
	properties := schema{}
	for _, name := range children(path) {
		k, _ := lookup(strings.TrimPrefix(path+"."+name, "."))
		properties[name] = k.schema()
	}
	return schema{"properties": properties, "additionalProperties": false}
}

func (k key) schema() schema {
	s := schema{}
	switch {
	case k.class == unbuilt:
		s = onlyFine(k.fine)
		if len(children(k.path)) > 0 {
			below := section(k.path)
			below["type"] = "object"
			s = schema{"anyOf": []schema{s, below}}
		}
	case k.class == ignored:
	case len(children(k.path)) > 0:
		s = k.withShorthand()
	default:
		field, known := fieldOf(k.path)
		if words := k.words(); words != nil {
			s = schema{"type": "string", "enum": words}
		} else if known {
			s = valueSchema(field.Type())
		} else if k.accepts(&document.Node{Kind: document.Text, Text: "dir:x"}) {
			s["type"] = "string"
		}
		if known {
			if d := defaultOf(field); d != nil {
				s["default"] = d
			}
		}
	}
	s["description"] = k.description()
	if k.class != works {
		s["deprecated"] = true
	}
	return s
}

// withShorthand is a section, and the values that may stand in place of its object: what its setter takes.
func (k key) withShorthand() schema {
	s := section(k.path)
	types := []string{"object"}
	if k.accepts(&document.Node{Kind: document.Boolean, Text: "true"}) {
		types = append(types, "boolean")
	}
	words := k.words()
	if len(words) == 0 && k.accepts(&document.Node{Kind: document.Text, Text: "dir:x"}) {
		types = append(types, "string")
	}
	s["type"] = types
	if len(words) == 0 {
		return s
	}
	return schema{"anyOf": []schema{s, {"type": "string", "enum": words}}}
}

// accepts asks the decoder.
func (k key) accepts(n *document.Node) bool {
	d := newDecoder()
	if k.set != nil {
		k.set(d, n)
	}
	return k.set != nil && len(d.faults) == 0
}

// modes are all words that some mode of the peer has.
var modes = []string{"read", "write", "overlay", "local", "localwithoverrides", "mirror", "steal", "off"}

// words are those that the key takes; nil for one that takes any text or none.
func (k key) words() (words []string) {
	for _, mode := range modes {
		if k.accepts(&document.Node{Kind: document.Text, Text: mode}) {
			words = append(words, mode)
		}
	}
	if len(words) == len(modes) {
		return nil
	}
	return words
}

// parent is the section of a key, "" for one of the root.
func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '.'))] }

// fieldOf finds what a key sets in the default configuration, by the names in its JSON form.
func fieldOf(path string) (reflect.Value, bool) {
	v := reflect.ValueOf(Default()).Elem()
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() != reflect.Struct {
			return reflect.Value{}, false
		}
		field, ok := v.Type().FieldByNameFunc(func(f string) bool {
			sf, _ := v.Type().FieldByName(f)
			tag, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
			return tag == name
		})
		if !ok {
			return reflect.Value{}, false
		}
		v = v.FieldByIndex(field.Index)
	}
	return v, true
}

// valueSchema is the schema of the values that a setter for this type takes. A list may be given as its only element. A type that is not known
// here takes anything.
func valueSchema(t reflect.Type) schema {
	switch {
	case t.Kind() == reflect.Bool:
		return schema{"type": "boolean"}
	case t == reflect.TypeFor[traffic.Rule](), t.Kind() == reflect.String:
		return schema{"type": "string"}
	case t.Kind() == reflect.Uint16:
		return schema{"type": "integer", "minimum": 1, "maximum": 65535}
	case t.Kind() == reflect.Array:
		return schema{"type": "array", "items": valueSchema(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case t.Kind() == reflect.Slice:
		element := valueSchema(t.Elem())
		if len(element) == 0 {
			return schema{}
		}
		return schema{"anyOf": []schema{{"type": "array", "items": element}, element}}
	case t.Kind() == reflect.Map:
		return schema{"type": "object", "additionalProperties": schema{"type": []string{"string", "number", "boolean", "null"}}}
	}
	return schema{}
}

// defaultOf is what holds when the key is not given; nil when that is nothing.
func defaultOf(field reflect.Value) any {
	switch {
	case field.Kind() == reflect.Bool:
		return field.Bool()
	case field.Kind() == reflect.String && field.Interface() != any(traffic.Unset) && !field.IsZero():
		return field.String()
	}
	return nil
}

// onlyFine is the schema of the one value of an unbuilt key that is no error.
func onlyFine(fine string) schema {
	switch fine {
	case "":
		return schema{"not": schema{}}
	case "[]":
		return schema{"const": []string{}}
	case "{}":
		return schema{"const": schema{}}
	case "true", "false":
		return schema{"const": fine == "true"}
	}
	return schema{"const": fine}
}

// description is the sentence about a key and, if it does not work, what becomes of it.
func (k key) description() string {
	text := describe(k.path)
	switch {
	case k.class == ignored:
		text += ". Without effect here: one warning"
	case k.class == unbuilt:
		text += ". Not built yet"
		if k.hint != "" {
			text += ": " + k.hint
		}
	}
	return text
}
