package broker

import (
	"fmt"
	"path"

	"mirrord/launcher/config"
)

// mapping turns the program's paths into the pod's, by feature.fs.mapping. The program never sees the pod's: its paths stand in directories'
// descriptors, in events and in what was made local.
type mapping []config.PathMapping

func newMapping(fs *config.FS) (mapping, error) {
	m, err := fs.PathMappings()
	if err != nil {
		return nil, fmt.Errorf("feature.fs.mapping: %w", err)
	}
	return m, nil
}

// pod is the pod's path for one of the program's: the first pattern that matches replaces what it matched.
func (m mapping) pod(p string) string {
	if len(m) == 0 {
		return p
	}
	clean := path.Clean(p)
	for _, one := range m {
		if at := one.Pattern.FindStringSubmatchIndex(clean); at != nil {
			mapped := one.Pattern.ExpandString([]byte(clean[:at[0]]), one.Replacement, clean, at)
			return path.Clean("/"+string(mapped)+clean[at[1]:]) + after(p)
		}
	}
	return p
}

// after is the slash at a path's end, which says that it must be a directory.
func after(p string) string {
	if len(p) > 1 && p[len(p)-1] == '/' {
		return "/"
	}
	return ""
}

// program is the program's path for an answer of the pod about its path p: itself, when the pod only confirmed it.
func (m mapping) program(p, answer string) string {
	if len(m) > 0 && answer == path.Clean(m.pod(p)) {
		return path.Clean(p)
	}
	return answer
}
