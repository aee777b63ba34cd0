package snapshot

import (
	"fmt"
	"path"
	"strings"
)

// Glob is a pattern of absolute paths: * ? and [] within a name, as path.Match has them, and ** for any number of names. What it matches is taken with all
// that is below.
type Glob struct {
	text  string
	names []string // "**" and patterns of path.Match
}

// ParseGlob reads a pattern.
func ParseGlob(text string) (Glob, error) {
	if !strings.HasPrefix(text, "/") {
		return Glob{}, fmt.Errorf("%q is not an absolute path of the pod\nhint: write it from the root: /srv/data/**", text)
	}
	g := Glob{text: text}
	for name := range strings.SplitSeq(text, "/") {
		switch {
		case name == "" || name == ".", name == "**" && len(g.names) > 0 && g.names[len(g.names)-1] == "**":
			continue
		case name == "..":
			return Glob{}, fmt.Errorf("%q has .. in it\nhint: write the path that is meant", text)
		}
		if _, err := path.Match(name, ""); err != nil {
			return Glob{}, fmt.Errorf("%q is no pattern: %w\nhint: a backslash before [ means the character itself", text, err)
		}
		g.names = append(g.names, name)
	}
	return g, nil
}

// literal is the pattern that matches one path.
func literal(p string) Glob {
	g := Glob{text: p}
	for name := range strings.SplitSeq(path.Clean("/"+p), "/") {
		if name != "" {
			g.names = append(g.names, plain.Replace(name))
		}
	}
	return g
}

// plain takes the meaning of characters in a pattern away.
var plain = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// exact is the name that a pattern alone matches, unless it has wildcards.
func exact(pattern string) (name string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*', '?', '[':
			return "", false
		case '\\':
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), true
}
