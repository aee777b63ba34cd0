package environment

import (
	"fmt"
	"strings"

	"mirrord/launcher/config/document"
)

// ParseFile reads an env file, source in faults: lines of `[export ]NAME=value`. A value is bare (a ` #` begins a comment), 'literal', or "with \n, \t, \", \\, \$"; quoted
// ones may span lines. Nothing is expanded. Of a name that is there twice the last value counts. With faults the variables are those that could be read.
func ParseFile(source, data string) (map[string]string, []document.Fault) {
	values := map[string]string{}
	var faults []document.Fault
	line := 0
	data = strings.ReplaceAll(data, "\r\n", "\n")
	for data != "" {
		line++
		var text string
		text, data, _ = strings.Cut(data, "\n")
		if text = strings.TrimLeft(text, " \t"); text == "" || text[0] == '#' {
			continue
		}
		fail := func(problem, hint string) {
			faults = append(faults, document.Fault{Place: document.Place{Source: source, Line: line}, Problem: problem, Hint: hint})
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(text, "export "), "=")
		name, value = strings.TrimSpace(name), strings.TrimLeft(value, " \t")
		if !ok || name == "" || strings.ContainsAny(name, " \t\"'\x00") {
			fail("is not NAME=value", "a comment begins with #")
			continue
		}
		if value == "" || value[0] != '"' && value[0] != '\'' {
			bare, _, _ := strings.Cut(" "+value, " #")
			if value = strings.TrimSpace(bare); Unusable(name, value) != "" {
				fail(fmt.Sprintf("the %s", Unusable(name, value)), "")
			}
			values[name] = value
			continue
		}
		whole := value
		if data != "" {
			whole += "\n" + data
		}
		unquoted, rest, ok := unquote(whole)
		if !ok {
			fail(fmt.Sprintf("the quote of %s is not closed", name), "")
			continue
		}
		if Unusable(name, unquoted) != "" {
			fail(fmt.Sprintf("the %s", Unusable(name, unquoted)), "")
		}
		values[name] = unquoted
		// What is left of the last line of the value may only be a comment.
		line += strings.Count(whole[:len(whole)-len(rest)], "\n")
		tail, after, _ := strings.Cut(rest, "\n")
		if tail = strings.TrimSpace(tail); tail != "" && tail[0] != '#' {
			fail(fmt.Sprintf("%q follows the closing quote", tail), "")
		}
		data = after
	}
	return values, faults
}

// unquote reads a quoted value at the beginning of s and returns what follows it.
func unquote(s string) (value, rest string, ok bool) {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		if c == quote {
			return b.String(), s[i+1:], true
		}
		if c == '\\' && quote == '"' && i+1 < len(s) {
			i++
			switch c = s[i]; c {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case '"', '\\', '$':
			default:
				b.WriteByte('\\')
			}
		}
		b.WriteByte(c)
	}
	return "", "", false
}
