package rules

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// PatternError is a pattern that cannot be used.
type PatternError struct {
	Pattern string
	Column  int // from 1, in characters
	Reason  string
	Hint    string // may be empty
}

func (e *PatternError) Error() string {
	s := fmt.Sprintf("the pattern %q, column %d: %s", e.Pattern, e.Column, e.Reason)
	if e.Hint != "" {
		s += "\nhint: " + e.Hint
	}
	return s
}

// CheckPattern parses a pattern as Compile does. The error is a *PatternError. Whether the patterns of a list are too complex together,
// only Compile finds out.
func CheckPattern(pattern string) error {
	_, err := parsePattern(pattern)
	return err
}

// maxPattern bounds a pattern in bytes; a path has at most 4096.
const maxPattern = 4096

func parsePattern(pattern string) (*syntax.Prog, error) {
	if len(pattern) > maxPattern {
		return nil, &PatternError{pattern[:16] + "…", maxPattern, fmt.Sprintf("it has %d bytes (at most %d)", len(pattern), maxPattern), ""}
	}
	if err := findUnsupported(pattern); err != nil {
		return nil, err
	}
	re, err := syntax.Parse(pattern, syntax.Perl|syntax.FoldCase)
	if err != nil {
		reason, at := err.Error(), 0
		var bad *syntax.Error
		if errors.As(err, &bad) {
			reason = string(bad.Code)
			if bad.Expr != "" {
				reason += fmt.Sprintf(" (%q)", bad.Expr)
			}
			at = max(0, strings.Index(pattern, bad.Expr))
		}
		return nil, &PatternError{pattern, column(pattern, at), reason, ""}
	}
	return syntax.Compile(re.Simplify())
}

func column(pattern string, at int) int { return 1 + utf8.RuneCountInString(pattern[:at]) }

// findUnsupported looks for what other regex engines have and RE2 leaves out, because the parser's own messages do not say that.
func findUnsupported(pattern string) error {
	refuse := func(at int, what string) error {
		return &PatternError{pattern, column(pattern, at), what + " is not supported (patterns are RE2)",
			"say it with two lists: `not_found` decides before `read_only`, `read_only` before `local`"}
	}
	inClass := 0 // where the character class began, plus 1
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case strings.HasPrefix(rest, `\Q`):
			end := strings.Index(rest, `\E`)
			if end < 0 {
				return nil
			}
			i += end + 1
		case rest[0] == '\\' && len(rest) > 1:
			if c := rest[1]; inClass == 0 && ('1' <= c && c <= '9' || c == 'k' && len(rest) > 2 && strings.IndexByte("<{'", rest[2]) >= 0) {
				return refuse(i, "a back-reference")
			}
			i++
		case inClass != 0:
			// A bracket directly after the opening one is an element, and so are those of [:alpha:].
			if strings.HasPrefix(rest, "[:") && strings.Contains(rest[2:], ":]") {
				i += 3 + strings.Index(rest[2:], ":]")
			} else if rest[0] == ']' && strings.TrimPrefix(pattern[inClass:i], "^") != "" {
				inClass = 0
			}
		case rest[0] == '[':
			inClass = i + 1
		case strings.HasPrefix(rest, "(?=") || strings.HasPrefix(rest, "(?!"):
			return refuse(i, "look-ahead")
		case strings.HasPrefix(rest, "(?<=") || strings.HasPrefix(rest, "(?<!"):
			return refuse(i, "look-behind")
		}
	}
	return nil
}
