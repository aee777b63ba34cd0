package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Warning is something that the user should know and that stops nothing.
type Warning struct {
	Message string
	Hint    string // may be empty
}

// Fault is one thing wrong with the configuration.
type Fault struct {
	Source  string // the file as it was given, or the name of the variable or flag
	Line    int    // from 1; 0 when the source has no lines
	Column  int    // from 1; 0 when unknown
	Field   string // "feature.fs.mode"; empty when no field is at fault
	Problem string
	Hint    string // may be empty
}

// String is the fault as people read it: place, field and problem, then the hint on a line of its own.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(place(f.Source, f.Line, f.Column))
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

// place is "source:line:column" as editors and terminals understand it.
func place(source string, line, column int) string {
	if line > 0 {
		source += fmt.Sprintf(":%d", line)
		if column > 0 {
			source += fmt.Sprintf(":%d", column)
		}
	}
	return source
}

// Error is everything wrong with the configuration, never empty.
type Error struct{ Faults []Fault }

func (e *Error) Error() string {
	var lines []string
	if len(e.Faults) > 1 {
		lines = append(lines, fmt.Sprintf("%d faults in the configuration", len(e.Faults)))
	}
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// sorted puts the faults in the order of a reader: source by source as they were met, from top to bottom.
func sorted(faults []Fault) []Fault {
	met := map[string]int{}
	for _, f := range faults {
		if _, ok := met[f.Source]; !ok {
			met[f.Source] = len(met)
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(met[a.Source], met[b.Source]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return faults
}

// Nearest returns the candidate that is fewest edits away from word, and "" when all are too far to be meant.
func Nearest(word string, candidates []string) string {
	best, bound := "", max(2, len(word)/2)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < bound {
			best, bound = c, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes must be inserted, deleted or replaced.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}
