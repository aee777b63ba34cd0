package codesign

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds of what entitlements may be; the largest of Apple's have some 10 KiB.
const (
	maxEntitlements = 1 << 20 // bytes
	maxDepth        = 32
)

var errTooDeep = fmt.Errorf("is nested more than %d deep", maxDepth)

// parsePlist reads an XML property list whose outermost value is a dictionary. Values are bool, string, int64, float64, []byte (data),
// []any and map[string]any; a date is its text.
func parsePlist(b []byte) (map[string]any, error) {
	if len(b) > maxEntitlements {
		return nil, fmt.Errorf("has %d bytes", len(b))
	}
	p := plist{xml.NewDecoder(bytes.NewReader(b))}
	start, err := p.next()
	if err == nil && start != nil && start.Name.Local == "plist" {
		start, err = p.next()
	}
	if err != nil {
		return nil, err
	}
	if start == nil || start.Name.Local != "dict" {
		return nil, errors.New("is not a property list with a dictionary")
	}
	v, err := p.value(*start, 0)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

type plist struct{ d *xml.Decoder }

// next gives the next element that begins, or nil when the surrounding one ends first.
func (p plist) next() (*xml.StartElement, error) {
	for {
		t, err := p.d.Token()
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			return nil, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return nil, fmt.Errorf("has text %.20q between elements", t)
			}
		}
	}
}

// value reads the element that has begun, with its end.
func (p plist) value(start xml.StartElement, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch start.Name.Local {
	case "dict":
		return p.dict(depth)
	case "array":
		list := []any{}
		for {
			e, err := p.next()
			if err != nil || e == nil {
				return list, err
			}
			v, err := p.value(*e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	var s string
	if err := p.d.DecodeElement(&s, &start); err != nil {
		return nil, err
	}
	switch start.Name.Local {
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "string", "date":
		return s, nil
	case "integer":
		return strconv.ParseInt(strings.TrimSpace(s), 0, 64)
	case "real":
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if math.IsNaN(f) || math.IsInf(f, 0) { // neither equals itself in both forms, nor can it be said in JSON
			return nil, fmt.Errorf("has %.20q for a number", s)
		}
		return f, err
	case "data":
		return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	}
	return nil, fmt.Errorf("has an element %.20q", start.Name.Local)
}

func (p plist) dict(depth int) (any, error) {
	all := map[string]any{}
	for {
		e, err := p.next()
		if err != nil || e == nil {
			return all, err
		}
		var key string
		if e.Name.Local != "key" {
			return nil, fmt.Errorf("has %.20q where a key should be", e.Name.Local)
		}
		if err := p.d.DecodeElement(&key, e); err != nil {
			return nil, err
		}
		if e, err = p.next(); err != nil {
			return nil, err
		}
		if e == nil {
			return nil, fmt.Errorf("has no value for %.80q", key)
		}
		v, err := p.value(*e, depth+1)
		if err != nil {
			return nil, err
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("has %.80q twice", key) // readers differ in which they take
		}
		all[key] = v
	}
}

// Tags of DER, X.690, as Apple's libCoreEntitlements uses them: [APPLICATION 16] { version INTEGER, dictionary }, where a dictionary is
// [CONTEXT 16] of SEQUENCE { UTF8String, value }; before macOS 12 it was a SET, without the outermost wrapping.
const (
	derBool       = 0x01
	derInteger    = 0x02
	derOctets     = 0x04
	derString     = 0x0c
	derSequence   = 0x30
	derSet        = 0x31
	derVersioned  = 0x70
	derDictionary = 0xb0
)

// parseDER reads entitlements, or a launch constraint, whose outermost value is a dictionary. Values are as those of parsePlist.
func parseDER(b []byte) (map[string]any, error) {
	if len(b) > maxEntitlements {
		return nil, fmt.Errorf("has %d bytes", len(b))
	}
	tag, body, rest, err := derNext(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("has %d bytes after its end", len(rest))
	}
	if tag == derVersioned {
		if tag, _, rest, err = derNext(body); err != nil || tag != derInteger {
			return nil, errors.Join(errors.New("has no version"), err)
		}
		if tag, body, rest, err = derNext(rest); err != nil || len(rest) > 0 {
			return nil, errors.Join(errors.New("has no single dictionary"), err)
		}
	}
	if tag != derDictionary && tag != derSet {
		return nil, fmt.Errorf("begins with tag %#x, not with a dictionary", tag)
	}
	return derDict(body, 0)
}

// derNext splits off the first value.
func derNext(b []byte) (tag byte, body, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, nil, errors.New("is cut off")
	}
	tag, n, at := b[0], uint64(b[1]), 2
	if n >= 0x80 {
		width := int(n & 0x7f)
		if width == 0 || width > 4 || len(b) < 2+width {
			return 0, nil, nil, fmt.Errorf("has a length of %d bytes", width)
		}
		n = 0
		for _, c := range b[2 : 2+width] {
			n = n<<8 | uint64(c)
		}
		at += width
	}
	if tag&0x1f == 0x1f || n > uint64(len(b)-at) {
		return 0, nil, nil, fmt.Errorf("has %d bytes of tag %#x where %d are left", n, tag, len(b)-at)
	}
	return tag, b[at : at+int(n)], b[at+int(n):], nil
}

func derDict(b []byte, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	all := map[string]any{}
	for len(b) > 0 {
		tag, pair, rest, err := derNext(b)
		if err != nil {
			return nil, err
		}
		if tag != derSequence {
			return nil, fmt.Errorf("has tag %#x in a dictionary", tag)
		}
		tag, key, value, err := derNext(pair)
		if err != nil {
			return nil, err
		}
		if tag != derString {
			return nil, fmt.Errorf("has tag %#x for a key", tag)
		}
		tag, body, after, err := derNext(value)
		if err != nil {
			return nil, err
		}
		if len(after) > 0 {
			return nil, fmt.Errorf("has more than a value for %.80q", key)
		}
		if _, twice := all[string(key)]; twice {
			return nil, fmt.Errorf("has %.80q twice", key)
		}
		if all[string(key)], err = derValue(tag, body, depth+1); err != nil {
			return nil, err
		}
		b = rest
	}
	return all, nil
}

func derValue(tag byte, body []byte, depth int) (any, error) {
	switch tag {
	case derBool:
		if len(body) != 1 {
			return nil, fmt.Errorf("has a boolean of %d bytes", len(body))
		}
		return body[0] != 0, nil
	case derInteger:
		if len(body) == 0 || len(body) > 8 {
			return nil, fmt.Errorf("has an integer of %d bytes", len(body))
		}
		n := int64(int8(body[0]))
		for _, c := range body[1:] {
			n = n<<8 | int64(c)
		}
		return n, nil
	case derString:
		return string(body), nil
	case derOctets:
		return bytes.Clone(body), nil
	case derDictionary, derSet:
		return derDict(body, depth)
	case derSequence:
		if depth > maxDepth {
			return nil, errTooDeep
		}
		list := []any{}
		for len(body) > 0 {
			tag, item, rest, err := derNext(body)
			if err != nil {
				return nil, err
			}
			v, err := derValue(tag, item, depth+1)
			if err != nil {
				return nil, err
			}
			list, body = append(list, v), rest
		}
		return list, nil
	}
	return nil, fmt.Errorf("has a value of tag %#x", tag)
}
