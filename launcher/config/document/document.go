// Package document reads configuration files of every format as one tree of values, each with its place, and says what is wrong with such a text, and where.
// What the values mean is not known here.
package document

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const (
	maxDepth = 32 // the deepest key of a configuration has 5
	tooDeep  = "is nested too deeply"
)

// Parse reads the text of a file. The format is what the name's end says; what has none (a pipe, stdin) is JSON when it begins like an object,
// else YAML. Both are nil for an empty file. The fault is the first that was met, and beside it the tree means nothing. What a YAML file names more than once is one Node in several places, so a walk
// through all of them may take far longer than the file is long.
func Parse(name string, data []byte) (*Node, *Fault) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // the mark that some editors begin with
	if !utf8.Valid(data) {
		return nil, Place{Source: name}.fault("is not UTF-8 text")
	}
	if f := template(name, string(data)); f != nil {
		return nil, f
	}
	ext := strings.ToLower(filepath.Ext(name))
	if ext == ".json" || ext == "" && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parseJSON(name, data)
	}
	if nestedBeyondReason(string(data)) {
		return nil, Place{Source: name}.fault(tooDeep)
	}
	switch ext {
	case ".toml":
		return parseTOML(name, data)
	case ".yaml", ".yml", "":
		return parseYAML(name, data)
	}
	f := Place{Source: name}.fault(fmt.Sprintf("ends in %q, which is no known format", ext))
	f.Hint = "json, yaml, yml and toml are read"
	return nil, f
}

// nestedBeyondReason keeps from the YAML and TOML libraries what takes them minutes: thousands of "- ", dotted keys or brackets in each
// other. It counts too much (in strings, say), but nothing real comes near.
func nestedBeyondReason(data string) bool {
	open := 0
	for line := range strings.SplitSeq(data, "\n") {
		key, _, isPair := strings.Cut(line, "=")
		if strings.Count(line, "- ") > 1000 || isPair && strings.Count(key, ".") > 1000 {
			return true
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				open++
			case ']', '}':
				open = max(0, open-1)
			}
			if open > 200 {
				return true
			}
		}
	}
	return false
}

// template finds the braces of the peer's templates, which would otherwise reach the program as text.
func template(name, data string) *Fault {
	at := -1
	for _, brace := range []string{"{{", "{%"} {
		if i := strings.Index(data, brace); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	f := placeOf(name, []byte(data), at).fault(fmt.Sprintf("templates (%q) are not rendered", data[at:at+2]))
	f.Hint = "write the value itself, or give it by a flag or a variable"
	return f
}
