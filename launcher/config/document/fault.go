package document

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Place is where something stands.
type Place struct {
	Source string // the file as it was given, or the name of the variable or flag
	Line   int    // from 1; 0 when the source has no lines
	Column int    // in characters, from 1; 0 when unknown
}

// String is "source:line:column" as editors and terminals understand it.
func (at Place) String() string {
	text := at.Source
	if at.Line > 0 {
		text += fmt.Sprintf(":%d", at.Line)
		if at.Column > 0 {
			text += fmt.Sprintf(":%d", at.Column)
		}
	}
	return text
}

func (at Place) fault(problem string) *Fault { return &Fault{Place: at, Problem: problem} }

// placeOf is the place of a byte of a file.
func placeOf(source string, data []byte, offset int) Place {
	before := data[:min(max(0, offset), len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	return Place{source, line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])}
}

// Fault is one thing wrong with what a user wrote.
type Fault struct {
	Place
	Field   string // "feature.fs.mode"; empty when no field is at fault
	Problem string
	Hint    string // may be empty
}

// String is the fault as people read it: place, field and problem, then the hint on a line of its own.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Place.String())
	if f.Field != "" {
		fmt.Fprintf(&b, ": field `%s`", f.Field)
	} else {
		b.WriteByte(':')
	}
	b.WriteString(" " + f.Problem)
	if f.Hint != "" {
		b.WriteString("\nhint: " + f.Hint)
	}
	return b.String()
}
