// Package reference is the table of the configuration's keys for people and editors: a sentence about each, and the JSON Schema of a configuration file.
package reference

import (
	"encoding/json"
	"reflect"
	"strings"

	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
)

// Schema is the JSON Schema (draft-07, which every editor knows) of a configuration file, indented. It is made from the table of keys and from
// config.Config, so it says what config.Load accepts. Load takes a little more: null for a key that is not given, and words without regard to case.
func Schema() []byte {
	root := table(config.Keys()).section("")
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

// table is all keys.
type table []config.Key

// section is the schema of an object with the keys below path.
func (t table) section(path string) schema {
	prefix := strings.TrimPrefix(path+".", ".") // the root's is empty
	properties := schema{}
	for _, k := range t {
		if name, ok := strings.CutPrefix(k.Path, prefix); ok && !strings.Contains(name, ".") {
			properties[name] = t.schema(k)
		}
	}
	return schema{"properties": properties, "additionalProperties": false}
}

func (t table) schema(k config.Key) schema {
	s := schema{}
	switch {
	case k.Class == "unbuilt":
		s = onlyFine(k.Fine)
		if k.Section {
			below := t.section(k.Path)
			below["type"] = "object"
			s = schema{"anyOf": []schema{s, below}}
		}
	case k.Class == "ignored":
	case k.Section:
		s = t.withShorthand(k)
	default:
		field, known := fieldOf(k.Path)
		if k.Words != nil {
			s = schema{"type": "string", "enum": k.Words}
		} else if known {
			s = valueSchema(field.Type())
		} else if k.Text {
			s["type"] = "string"
		}
		if known {
			if d := defaultOf(field); d != nil {
				s["default"] = d
			}
		}
	}
	s["description"] = description(k)
	if k.Class != "works" {
		s["deprecated"] = true
	}
	return s
}

// withShorthand is a section, and the values that may stand in place of its object.
func (t table) withShorthand(k config.Key) schema {
	s := t.section(k.Path)
	types := []string{"object"}
	if k.Boolean {
		types = append(types, "boolean")
	}
	if len(k.Words) == 0 && k.Text {
		types = append(types, "string")
	}
	s["type"] = types
	if len(k.Words) == 0 {
		return s
	}
	return schema{"anyOf": []schema{s, {"type": "string", "enum": k.Words}}}
}

// fieldOf finds what a key sets in the default configuration, by the names in its JSON form.
func fieldOf(path string) (reflect.Value, bool) {
	v := reflect.ValueOf(config.Default()).Elem()
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
func description(k config.Key) string {
	text := Describe(k.Path)
	switch k.Class {
	case "ignored":
		text += ". Without effect here: one warning"
	case "unbuilt":
		text += ". Not built yet"
		if k.Hint != "" {
			text += ": " + k.Hint
		}
	}
	return text
}
