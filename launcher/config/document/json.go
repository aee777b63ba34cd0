package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// parseJSON reads JSON, with the place of every key and value. A nil node is an empty file.
func parseJSON(source string, data []byte) (*Node, *Fault) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	j := jsonReader{source: source, data: data, tokens: json.NewDecoder(bytes.NewReader(data))}
	j.tokens.UseNumber()
	root, fault := j.value(0)
	if fault != nil {
		return nil, fault
	}
	if at, _, err := j.token(); err != io.EOF {
		return nil, at.fault("something follows the end of the configuration")
	}
	return root, nil
}

type jsonReader struct {
	source string
	data   []byte
	tokens *json.Decoder
}

// token returns the next token and where it begins.
func (j *jsonReader) token() (Place, json.Token, error) {
	offset := int(j.tokens.InputOffset())
	offset += len(j.data[offset:]) - len(bytes.TrimLeft(j.data[offset:], " \t\r\n,:"))
	t, err := j.tokens.Token()
	return placeOf(j.source, j.data, offset), t, err
}

func (j *jsonReader) value(depth int) (*Node, *Fault) {
	at, t, err := j.token()
	if err != nil {
		return nil, j.fault(at, err)
	}
	if depth > maxDepth {
		return nil, at.fault(tooDeep)
	}
	switch t := t.(type) {
	case bool:
		return &Node{At: at, Kind: Boolean, Text: fmt.Sprint(t)}, nil
	case json.Number:
		return &Node{At: at, Kind: Number, Text: t.String()}, nil
	case string:
		return &Node{At: at, Kind: Text, Text: t}, nil
	case json.Delim:
		if t == '{' {
			return j.object(at, depth)
		}
		return j.list(at, depth)
	}
	return &Node{At: at}, nil
}

func (j *jsonReader) list(at Place, depth int) (*Node, *Fault) {
	n := &Node{At: at, Kind: List}
	for j.tokens.More() {
		item, fault := j.value(depth + 1)
		if fault != nil {
			return nil, fault
		}
		n.Items = append(n.Items, item)
	}
	return n, j.end()
}

func (j *jsonReader) object(at Place, depth int) (*Node, *Fault) {
	n := &Node{At: at, Kind: Object}
	seen := map[string]bool{}
	for j.tokens.More() {
		at, t, err := j.token()
		if err != nil {
			return nil, j.fault(at, err)
		}
		name := t.(string) // the decoder has checked that
		if seen[name] {
			return nil, at.fault(fmt.Sprintf("the key %q is given twice", name))
		}
		seen[name] = true
		value, fault := j.value(depth + 1)
		if fault != nil {
			return nil, fault
		}
		n.Members = append(n.Members, Member{name, at, value})
	}
	return n, j.end()
}

// end reads the bracket that More has seen.
func (j *jsonReader) end() *Fault {
	if at, _, err := j.token(); err != nil {
		return j.fault(at, err)
	}
	return nil
}

func (j *jsonReader) fault(at Place, err error) *Fault {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return at.fault("the file ends before the configuration does")
	}
	return at.fault(err.Error())
}
