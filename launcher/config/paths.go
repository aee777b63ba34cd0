package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// PathMapping is one entry of feature.fs.mapping.
type PathMapping struct {
	Pattern     *regexp.Regexp // on the program's absolute path, without case
	Replacement string         // a template of regexp.Expand
}

// PathMappings are the entries of Mapping, the longest pattern first, so that the order does not depend on the file's format. The error is
// that of a pattern.
func (fs *FS) PathMappings() ([]PathMapping, error) {
	patterns := slices.SortedFunc(maps.Keys(fs.Mapping), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	var all []PathMapping
	for _, p := range patterns {
		re, err := regexp.Compile("(?i)" + p)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", p, err)
		}
		all = append(all, PathMapping{re, fs.Mapping[p]})
	}
	return all, nil
}

// MappedPatterns are the patterns of Mapping, in alphabetical order.
func (fs *FS) MappedPatterns() []string { return slices.Sorted(maps.Keys(fs.Mapping)) }
